"""A state alone, a LoRA on RWKV-7, and both: what is trained, how fast, and that a run goes on exactly."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch

from kajiya.core.errors import ConfigError, ConflictError
from kajiya.data.rows import Row
from kajiya.models.recurrent.tuned import load_state, read_from, weights_sha256
from kajiya.tokenizer.chat import ChatTokenizer
from kajiya.tokenizer.messages import Message
from kajiya.training.adapters.kinds import add_adapter, load_adapter, rate_scale, save_adapter
from kajiya.training.batches import collate
from kajiya.training.checkpoint import Checkpoints
from kajiya.training.config import TuneConfig
from kajiya.training.kernels.install import use_fast_kernels
from kajiya.training.loop import Loop, Outcome
from kajiya.training.objectives.supervised import supervised_loss
from kajiya.training.tune import load_base, tune
from support.recurrent import make_rwkv_folder, tiny_rwkv, tiny_rwkv7
from support.tiny_models import tiny_torch_model
from support.tuning import VOCABULARY, Recorder, examples, reference_loss

METHODS = ["state", "lora", "lora+state"]
FAMILIES = ["rwkv7", "rwkv6"]
ROWS = examples(12, 18, 24, 15, 20, 11, 17, 23)
HELD_OUT = examples(14, 19, seed=5)
IDS = torch.tensor([[9, 30, 12, 44, 51]])


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_rwkv_folder(tmp_path_factory.mktemp("base") / "model")


def make(folder: Path, recorder: Recorder, **options: Any) -> Loop:
    values = {"rank": 4, "epochs": 2, "batch_tokens": 64, "precision": "fp32", **options}
    config = TuneConfig.checked(values)
    torch.manual_seed(config.seed)
    model = add_adapter(tiny_rwkv7(), config)
    use_fast_kernels(model, longest=64)
    model.train()
    checkpoints = Checkpoints(folder, "same")
    return Loop(model, ROWS, HELD_OUT, config, checkpoints, recorder, pad_id=0)


def trained(model: Any) -> dict[str, torch.Tensor]:
    return {n: p.detach().clone() for n, p in model.named_parameters() if p.requires_grad}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("method", METHODS)
def test_only_the_adapter_is_trained(method: str, family: str) -> None:
    model = add_adapter(tiny_rwkv(family), TuneConfig.checked({"method": method, "rank": 4}))
    names = trained(model)
    states = {name: p for name, p in names.items() if name.endswith("att.time_state")}
    loras = {name: p for name, p in names.items() if "lora_" in name}
    assert names.keys() == states.keys() | loras.keys()
    assert len(states) == (2 if "state" in method else 0)
    # Both factors on each linear layer: those of the time mix, and of the channel mix.
    linear = {"rwkv7": 4 + 2, "rwkv6": 5 + 3}[family]
    assert len(loras) == (2 * 2 * linear if "lora" in method else 0)
    assert not any("head" in name or "emb" in name for name in names)
    assert all(p.dtype == torch.float32 and not p.any() for p in states.values())


@pytest.mark.parametrize("method", METHODS)
def test_a_fresh_adapter_changes_nothing(method: str) -> None:
    plain = tiny_rwkv7()
    tuned = add_adapter(copy.deepcopy(plain), TuneConfig.checked({"method": method, "rank": 4}))
    torch.testing.assert_close(tuned(IDS).logits, plain(IDS).logits)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("method", METHODS)
def test_every_part_gets_the_gradient_of_the_whole_models_loss(method: str, family: str) -> None:
    """Labels only, fused LoRA and chunked recurrence against plain logits through PEFT's own layers."""
    config = TuneConfig.checked({"method": method, "rank": 4})
    gradients = []
    for fused in (True, False):
        torch.manual_seed(3)
        model = add_adapter(tiny_rwkv(family), config).train()
        with torch.no_grad():
            for parameter in trained_parameters(model):
                parameter.add_(torch.randn_like(parameter) * 0.1)
        if not fused:
            for module in model.modules():
                module.__dict__.pop("forward", None)  # back to PEFT's
        batch = collate(ROWS, 0)
        (supervised_loss(model, batch) if fused else reference_loss(model, batch)).backward()
        gradients.append({n: p.grad for n, p in model.named_parameters() if p.requires_grad})
    ours, theirs = gradients
    for name, gradient in theirs.items():
        scale = gradient.abs().max()
        assert scale > 0, name
        assert (ours[name] - gradient).abs().max() < 1e-3 * scale, name


def trained_parameters(model: Any) -> list[torch.nn.Parameter]:
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


@pytest.mark.parametrize("family", FAMILIES)
def test_packed_rows_each_start_from_the_state(family: str) -> None:
    model = add_adapter(tiny_rwkv(family), TuneConfig.checked({"method": "state"})).train()
    with torch.no_grad():
        for parameter in trained_parameters(model):
            parameter.copy_(torch.randn_like(parameter))
    losses, gradients = [], []
    for packing in (False, True):
        model.zero_grad(set_to_none=True)
        loss = supervised_loss(model, collate(ROWS, 0, packing))
        loss.backward()
        losses.append(loss.item())
        gradients.append(torch.stack([p.grad for p in trained_parameters(model)]))
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("method", METHODS)
def test_the_loss_goes_down(tmp_path: Path, method: str) -> None:
    recorder = Recorder()
    options = {"epochs": 20, "question_dropout": 0, "batch_tokens": 256, "evaluations": 1}
    rate = {"state": 0.1, "lora": 1e-2, "lora+state": 1e-2}[method]
    make(tmp_path, recorder, method=method, learning_rate=rate, **options).run()
    losses = list(recorder.series("loss").values())
    # Labels are random, and a thousand numbers before a random model cannot say much about them.
    assert losses[-1] < {"state": 0.995}.get(method, 0.7) * losses[0]


@pytest.mark.parametrize("method", ["state", "lora+state"])
@pytest.mark.parametrize("packing", [False, True])
def test_a_run_stopped_at_any_step_ends_as_if_it_had_not_been(
    tmp_path: Path, method: str, packing: bool
) -> None:
    options = {"method": method, "packing": packing, "dropout": 0.1}
    whole = make(tmp_path / "whole", Recorder(), **options)
    total = whole.run().total_steps
    for step in (1, total // 2, total - 1):
        folder = tmp_path / f"stopped-{step}"
        assert make(folder, Recorder(stop_after=step), **options).run().stopped
        resumed = make(folder, Recorder(), **options)
        torch.manual_seed(999)  # whatever the new process has drawn
        assert resumed.run().steps == total
        ours, theirs = trained(resumed.model), trained(whole.model)
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
        assert any(value.any() for name, value in ours.items() if "time_state" in name)


def test_learning_rates_by_what_is_learnt() -> None:
    alone = TuneConfig.checked({"method": "state"})
    assert alone.learning_rate > 10 * TuneConfig().learning_rate
    assert TuneConfig.checked({"method": "state", "learning_rate": 0.5}).learning_rate == 0.5
    assert rate_scale("model.blocks.0.att.time_state", alone) == 1
    both = TuneConfig.checked({"method": "lora+state", "state_ratio": 50, "b_ratio": 4})
    assert both.learning_rate == TuneConfig().learning_rate
    assert rate_scale("base_model.model.model.blocks.0.att.time_state", both) == 50
    assert rate_scale("…key.lora_B.default.weight", both) == 4
    assert rate_scale("…key.lora_A.default.weight", both) == 1
    # What a job has written down means the same when it is read again.
    assert TuneConfig.checked(alone.model_dump()) == alone


def test_rates_reach_the_optimiser(tmp_path: Path) -> None:
    loop = make(tmp_path, Recorder(), method="lora+state", state_ratio=50, b_ratio=4)
    sizes = {g["scale"]: sum(p.numel() for p in g["params"]) for g in loop.optimizer.param_groups}
    assert sizes.keys() == {1.0, 4.0, 50.0}
    assert sizes[50.0] == 2 * 2 * 16 * 16


def test_a_transformer_has_no_state_to_tune() -> None:
    with pytest.raises(ConfigError, match="RWKV"):
        add_adapter(tiny_torch_model("llama", VOCABULARY), TuneConfig.checked({"method": "state"}))


def run_tune(base: Path, folder: Path, method: str) -> tuple[Outcome, Path]:
    rows = [
        Row(str(n), (Message("user", f"room {n}?"), Message("assistant", f"floor {n % 4}")))
        for n in range(8)
    ]
    config = TuneConfig.checked({"method": method, "rank": 4, "epochs": 2, "batch_tokens": 128})
    target = folder / "adapter"
    outcome = tune(base, "tiny:1", rows, [], config, folder / "checkpoints", target, Recorder())
    return outcome, target


@pytest.mark.parametrize("method", METHODS)
def test_what_is_saved_answers_as_what_was_trained(base: Path, tmp_path: Path, method: str) -> None:
    outcome, target = run_tune(base, tmp_path, method)
    assert outcome.steps == outcome.total_steps > 1
    files = {file.name for file in target.iterdir()}
    assert ("state.safetensors" in files) == ("state" in method)
    assert ("adapter_model.safetensors" in files) == ("lora" in method)
    config = TuneConfig.checked({"method": method, "rank": 4})
    loaded = load_adapter(load_base(base, config), target, base)
    ids = torch.tensor([ChatTokenizer.load(base).encode("room 3?")])
    plain = load_base(base, config)(ids).logits
    assert not torch.equal(loaded(ids).logits, plain)
    if "lora" in method:
        again = tmp_path / "again"
        save_adapter(loaded, again, base, "tiny:1", config)
        name = "adapter_model.safetensors"
        assert (again / name).read_bytes() == (target / name).read_bytes()
    if "state" in method:
        state = load_state(target, weights_sha256(base))
        assert state.recipe["method"] == method
        assert torch.equal(state.values, read_from(loaded))
        assert state.values.any()


def test_a_state_is_refused_by_other_weights(base: Path, tmp_path: Path) -> None:
    _, target = run_tune(base, tmp_path, "state")
    other = make_rwkv_folder(tmp_path / "other", seed=1)
    with pytest.raises(ConflictError) as caught:
        load_adapter(load_base(other, TuneConfig()), target, other)
    assert weights_sha256(base) in str(caught.value)
    assert weights_sha256(other) in str(caught.value)
