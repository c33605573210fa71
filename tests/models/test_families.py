"""Every family through GGUF and back, and against llama.cpp on the same file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForCausalLM

from kajiya.core.errors import FormatError
from kajiya.models.formats.gguf_reader import import_gguf
from kajiya.models.formats.gguf_writer import Precision, write_model
from support.llama_logprobs import LlamaCppLogprobs, largest_difference, torch_next
from support.tiny_models import FAMILIES, TEXTS, make_folder

FolderOf = Callable[[str], Path]
# llama.cpp looks GELU up in a table of 16-bit numbers; Llama's SiLU is computed exactly.
TOLERANCE = {"llama": 1e-4, "llama3-rope": 1e-4}


@pytest.mark.parametrize("family", FAMILIES)
def test_round_trip(family_folder: FolderOf, family: str, tmp_path: Path) -> None:
    folder = family_folder(family)
    import_gguf(folder / "model.gguf", tmp_path)
    ours, theirs = (
        load_file(tmp_path / "model.safetensors"),
        load_file(folder / "model.safetensors"),
    )
    assert ours.keys() == theirs.keys()
    for name, tensor in theirs.items():
        assert ours[name].dtype == torch.bfloat16
        if name.endswith("norm.weight"):  # Gemma's are stored as 1 + w, rounded to 32 bits
            torch.testing.assert_close(ours[name], tensor, rtol=0, atol=1e-3)
        else:
            assert torch.equal(ours[name], tensor), name
    read, wrote = (AutoConfig.from_pretrained(path).to_dict() for path in (tmp_path, folder))
    unlike = {key for key in wrote if read.get(key) != wrote[key]} - {"rms_norm_eps", "head_dim"}
    assert unlike <= {"transformers_version", "name_or_path", "_name_or_path"}, {
        key: (wrote[key], read.get(key)) for key in unlike
    }
    assert read["rms_norm_eps"] == pytest.approx(wrote["rms_norm_eps"], rel=1e-6)
    assert read["head_dim"] == wrote["head_dim"]


@pytest.mark.parametrize("family", FAMILIES)
def test_llama_cpp_computes_the_same(family_folder: FolderOf, family: str) -> None:
    folder = family_folder(family)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    engine = LlamaCppLogprobs(folder / "model.gguf")
    letter = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]["x"]
    differences = {}
    for length in (1, 7, 60, 200):  # windows of 8 in gemma2 and gemma3
        prompt = [(7 * i * i + 13) % (model.config.vocab_size - 10) + 8 for i in range(length)]
        found = engine.next(prompt, letter)
        assert len(found) == 20
        differences[length] = largest_difference(torch_next(model, prompt), found)
    assert max(differences.values()) < TOLERANCE.get(family, 3e-3), differences


@pytest.mark.parametrize("family", FAMILIES)
def test_llama_cpp_cuts_text_into_the_same_tokens(family_folder: FolderOf, family: str) -> None:
    from tokenizers import Tokenizer

    folder = family_folder(family)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    engine = LlamaCppLogprobs(folder / "model.gguf")
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    letter = tokenizer.token_to_id("x")
    for text in (*TEXTS, "始業時刻ですか", "  two  spaces\tand a tab", "🗾鍛冶屋 the fox, 12時"):
        ids = tokenizer.encode(text).ids
        answer = engine.ask(text, logprobs=20, logit_bias=[[letter, 1000.0]])
        assert answer["usage"]["prompt_tokens"] == len(ids), text
        # The same number of other tokens would lead somewhere else.
        top = answer["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
        theirs = {entry["id"]: entry["logprob"] for entry in top}
        assert largest_difference(torch_next(model, ids), theirs) < 3e-3, text


@pytest.mark.parametrize(
    ("precision", "tolerance"), [("bf16", 1e-9), ("f16", 1e-3), ("q8_0", 2e-2)]
)
def test_precisions(
    family_folder: FolderOf, precision: Precision, tolerance: float, tmp_path: Path
) -> None:
    folder = family_folder("gemma3")
    write_model(folder, tmp_path / "model.gguf", precision)
    assert (tmp_path / "model.gguf").stat().st_size < (folder / "model.gguf").stat().st_size * 0.8
    (tmp_path / "back").mkdir()
    import_gguf(tmp_path / "model.gguf", tmp_path / "back")
    name = "model.layers.0.mlp.up_proj.weight"
    ours = load_file(tmp_path / "back" / "model.safetensors")[name]
    theirs = load_file(folder / "model.safetensors")[name]
    torch.testing.assert_close(ours, theirs, rtol=0, atol=tolerance)


@pytest.mark.parametrize(
    ("family", "change"),
    [
        ("gemma3", {"query_pre_attn_scalar": 99}),
        ("gemma3", {"layer_types": ["full_attention"] * 6}),
        ("llama", {"rope_parameters": {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}}),
    ],
)
def test_what_gguf_cannot_say_is_refused(
    family: str, change: dict[str, object], tmp_path: Path
) -> None:
    folder = make_folder(tmp_path / "model", family)
    config = json.loads((folder / "config.json").read_text()) | change
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(FormatError, match="GGUF cannot say") as caught:
        write_model(folder, tmp_path / "model.gguf")
    assert next(iter(change)) in caught.value.where
    assert not (tmp_path / "model.gguf").exists()


def test_linear_rope_scaling_is_kept(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "model", "llama")
    config = json.loads((folder / "config.json").read_text())
    rope = {"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0}
    (folder / "config.json").write_text(json.dumps(config | {"rope_parameters": rope}))
    write_model(folder, tmp_path / "model.gguf", "f32")
    (tmp_path / "back").mkdir()
    import_gguf(tmp_path / "model.gguf", tmp_path / "back")
    assert AutoConfig.from_pretrained(tmp_path / "back").rope_parameters == rope
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    prompt = list(range(20, 80))
    found = LlamaCppLogprobs(tmp_path / "model.gguf").next(prompt, 90)
    assert largest_difference(torch_next(model, prompt), found) < 1e-4
