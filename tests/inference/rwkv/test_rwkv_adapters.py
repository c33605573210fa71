"""Tuned states and LoRA by name, mixed by weight, side by side in one batch."""

from __future__ import annotations

import json
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from test_rwkv_engine import as_text, prompts
from transformers import AutoModelForCausalLM

from kajiya.core.errors import ConflictError, FormatError
from kajiya.inference.protocol import GenerateChunk, RequestError
from kajiya.inference.rwkv.engine import RwkvEngine
from kajiya.models.recurrent.tuned import (
    TunedState,
    load_state,
    save_state,
    weights_sha256,
    write_into,
)
from support.engine_answers import ask, ask_together, wish
from support.waiting import wait_until


def load(folder: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


@pytest.fixture(scope="module")
def states(rwkv_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two random states."""
    torch.manual_seed(0)
    found = {}
    for name in ("calm", "loud"):
        found[name] = tmp_path_factory.mktemp("state") / name
        found[name].mkdir()
        values = torch.randn(3, 2, 64, 64) * 3
        save_state(TunedState(values, "rwkv7", "r", weights_sha256(rwkv_folder)), found[name])
    return found


@pytest.fixture(scope="module")
def loras(rwkv_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two random LoRAs of different ranks."""
    found = {}
    for seed, (name, rank) in enumerate((("legal", 4), ("tone", 20))):
        torch.manual_seed(seed)
        config = LoraConfig(
            r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM"
        )
        tuned = get_peft_model(load(rwkv_folder), config)
        with torch.no_grad():
            for key, parameter in tuned.named_parameters():
                if ".lora_B." in key:
                    parameter.normal_(0, 0.05)
        found[name] = tmp_path_factory.mktemp("lora") / name
        tuned.save_pretrained(found[name], save_embedding_layers=False)
    return found


@pytest.fixture(scope="module")
def engine(make_engine: Any, states: dict[str, Path], loras: dict[str, Path]) -> RwkvEngine:
    made: RwkvEngine = make_engine({**states, **loras})
    return made


def test_mixed_states_are_what_the_model_starts_from(
    engine: RwkvEngine, rwkv_folder: Path, states: dict[str, Path]
) -> None:
    model = load(rwkv_folder)
    calm, loud = (load_state(states[name]).values for name in ("calm", "loud"))
    asked = prompts(8, longest=5)  # a state is soon forgotten by a random model
    plain = [ask(engine, prompt) for prompt in asked]
    for mixture, values in (
        ((("calm", 1.0),), calm),
        ((("calm", 0.7), ("loud", 0.3)), 0.7 * calm + 0.3 * loud),
    ):
        write_into(model, values)
        answers = [ask(engine, prompt, adapters=mixture) for prompt in asked]
        assert answers == [as_text(engine, model, prompt, 12) for prompt in asked]
        assert answers != plain
    assert [ask(engine, prompt) for prompt in asked] == plain


def test_mixed_loras_are_what_peft_adds(
    engine: RwkvEngine, rwkv_folder: Path, loras: dict[str, Path]
) -> None:
    tuned = PeftModel.from_pretrained(load(rwkv_folder), loras["legal"], adapter_name="legal")
    tuned.load_adapter(loras["tone"], adapter_name="tone")
    for number, weights in enumerate(((1.0, 0.0), (0.0, 1.0), (0.7, 0.3))):
        tuned.add_weighted_adapter(["legal", "tone"], list(weights), f"mix{number}", "cat")
        tuned.set_adapter(f"mix{number}")
        mixture = tuple(zip(("legal", "tone"), weights, strict=True))
        for prompt in prompts(6):
            expected = as_text(engine, tuned, prompt, 12)
            assert ask(engine, prompt, adapters=mixture) == expected


@pytest.mark.parametrize("many", [False, True])
def test_every_request_has_its_own(
    make_engine: Any,
    states: dict[str, Path],
    loras: dict[str, Path],
    many: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def threshold(*_: Any) -> int:
        return 1 if many else 1000

    monkeypatch.setattr("kajiya.inference.rwkv.steppers._threshold", threshold)
    engine = make_engine({**states, **loras}, weights="int8")
    names = ("calm", "legal", "loud", "tone")
    wishes = [
        (prompt, {"adapters": ((names[i % 4], 0.5 + i / 20),) if i % 5 else ()})
        for i, prompt in enumerate(prompts(20))
    ]
    alone = [ask(engine, prompt, **options) for prompt, options in wishes]
    together = ask_together(engine, wishes)
    # torch's products round differently for batches of other sizes; ours do not.
    same = sum(a == b for a, b in zip(alone, together, strict=True))
    assert same >= (15 if many else 20)


def test_adapters_come_and_go_between_the_steps_of_others(
    make_engine: Any, engine: RwkvEngine, states: dict[str, Path], loras: dict[str, Path]
) -> None:
    changing = make_engine({"tone": loras["tone"]}, prefix_cache=16)
    mixture = (("legal", 0.3), ("tone", 0.7))
    wishes = [
        (prompt, {"adapters": (("tone", 1.0),) if i % 2 else (), "max_tokens": 60})
        for i, prompt in enumerate(prompts(6))
    ]
    expected = [ask(engine, prompt, **options) for prompt, options in wishes]
    with ThreadPoolExecutor(1) as pool:
        for _ in range(3):
            running = pool.submit(ask_together, changing, wishes)
            changing.add_adapter("legal", loras["legal"])
            changing.add_adapter("calm", states["calm"])
            for prompt in prompts(3):
                own = {"adapters": (*mixture, ("calm", 0.5))}
                assert ask(changing, prompt, **own) == ask(engine, prompt, **own)
            changing.remove_adapter("calm")
            changing.remove_adapter("legal")
            with pytest.raises(RequestError, match="legal"):
                ask(changing, prompts(1)[0], adapters=mixture)
            assert running.result() == expected
    assert changing.capabilities.adapters == ("tone",)


def test_an_adapter_in_use_is_removed_when_its_last_answer_ends(
    make_engine: Any, engine: RwkvEngine, loras: dict[str, Path]
) -> None:
    changing = make_engine(loras)
    (prompt,) = prompts(1)
    begun, go_on = threading.Event(), threading.Event()
    written: list[str] = []

    def take(chunk: GenerateChunk) -> bool:
        written.append(chunk.text)
        if chunk.text:
            begun.set()
            go_on.wait(30)
        return False

    own = {"adapters": (("legal", 1.0),), "max_tokens": 30}
    with ThreadPoolExecutor(2) as pool:
        answer = pool.submit(changing.complete, prompt, wish(**own), take)
        assert begun.wait(30)
        removal = pool.submit(changing.remove_adapter, "legal")
        wait_until(lambda: "legal" not in changing.capabilities.adapters)
        go_on.set()
        answer.result()
        removal.result()
    assert "".join(written) == ask(engine, prompt, **own)
    with pytest.raises(RequestError, match="legal"):
        ask(changing, prompt, **own)


def test_adapters_that_do_not_fit(
    make_engine: Any, loras: dict[str, Path], states: dict[str, Path], tmp_path: Path
) -> None:
    strange = shutil.copytree(loras["legal"], tmp_path / "strange")
    config = json.loads((strange / "adapter_config.json").read_text())
    del config["r"]
    (strange / "adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(FormatError, match="strange"):
        make_engine({"strange": strange})
    broken = shutil.copytree(loras["legal"], tmp_path / "broken")
    (broken / "adapter_model.safetensors").write_bytes(b"\x10" * 50)
    with pytest.raises(FormatError, match="broken"):
        make_engine({"broken": broken})
    other = tmp_path / "other"
    other.mkdir()
    values = load_state(states["calm"]).values
    save_state(TunedState(values, "rwkv7", "r", "0" * 64), other)
    with pytest.raises(ConflictError, match="0000"):
        make_engine({"other": other})
