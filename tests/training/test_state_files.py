"""State files say what they are, and are refused when that is wrong; states can be mixed."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from kajiya.core.errors import ConfigError, ConflictError, FormatError
from kajiya.models.recurrent.tuned import (
    TunedState,
    check_shape,
    load_state,
    mix_states,
    read_from,
    save_state,
    weights_sha256,
    write_into,
)
from support.recurrent import tiny_rwkv7

DIGEST = "a" * 64
FILE = "state.safetensors"


def make(seed: int = 0, digest: str = DIGEST, layers: int = 2) -> TunedState:
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn((layers, 2, 16, 16), generator=generator)
    return TunedState(values, "rwkv7", "tiny:1", digest, {"method": "state", "epochs": 7})


def rewrite(folder: Path, tensors: dict[str, Tensor] | None = None, **metadata: str | None) -> None:
    """Change tensors or metadata of a saved state; a value of None is left out."""
    with safe_open(folder / FILE, framework="pt") as opened:
        known = {**opened.metadata(), **metadata}
    found = load_file(folder / FILE) if tensors is None else tensors
    save_file(found, folder / FILE, {k: v for k, v in known.items() if v is not None})


def test_what_is_saved_is_read_back(tmp_path: Path) -> None:
    state = make()
    save_state(state, tmp_path)
    read = load_state(tmp_path, DIGEST)
    assert torch.equal(read.values, state.values)
    assert (read.model_type, read.base, read.base_sha256) == ("rwkv7", "tiny:1", DIGEST)
    assert read.recipe == state.recipe
    assert torch.equal(load_state(tmp_path / FILE).values, state.values)
    told = json.loads((tmp_path / "state_config.json").read_text())
    assert (told["orientation"], told["layers"], told["heads"]) == ("value,key", 2, 2)
    assert {path.name for path in tmp_path.iterdir()} == {FILE, "state_config.json"}


def test_the_names_and_the_orientation_are_the_models(tmp_path: Path) -> None:
    """S += v kᵀ with S[value, key]: a state with one row set is read by that value only."""
    model = tiny_rwkv7()
    values = torch.zeros(2, 2, 16, 16)
    values[0, 1, 3, 5] = 7.0
    save_state(TunedState(values, "rwkv7", "tiny:1", DIGEST), tmp_path)
    tensors = load_file(tmp_path / FILE)
    assert tensors.keys() == {f"blocks.{i}.att.time_state" for i in range(2)}
    assert tensors["blocks.0.att.time_state"][1, 3, 5] == 7.0
    write_into(model, load_state(tmp_path).values)
    assert model.model.blocks[0].att.time_state[1, 3, 5] == 7.0
    out = model(torch.tensor([[5]]), use_cache=True)
    touched = (out.state.wkv[0, 0, 1] - tiny_state_after(model)).abs() > 1e-3
    assert touched.any(1).nonzero().flatten().tolist() == [3]
    assert torch.equal(read_from(model), values)


def tiny_state_after(model: torch.nn.Module) -> Tensor:
    plain = tiny_rwkv7()
    state: Tensor = plain(torch.tensor([[5]]), use_cache=True).state.wkv[0, 0, 1]
    return state


def test_other_weights_are_refused_naming_both(tmp_path: Path) -> None:
    save_state(make(), tmp_path)
    with pytest.raises(ConflictError, match="tiny:1") as caught:
        load_state(tmp_path, "b" * 64)
    assert DIGEST in caught.value.message and "b" * 64 in caught.value.message


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"orientation": "key,value"}, r"\[key,value\], \[value,key\] is expected"),
        ({"orientation": None}, "does not say: orientation"),
        ({"base_sha256": None, "base": None}, "does not say: base, base_sha256"),
        ({"format": "2"}, "newer"),
        ({"recipe": "{"}, "recipe is damaged"),
        ({"recipe": "[]"}, "recipe is damaged"),
    ],
)
def test_metadata_that_is_wrong(
    tmp_path: Path, metadata: dict[str, str | None], message: str
) -> None:
    save_state(make(), tmp_path)
    rewrite(tmp_path, **metadata)
    with pytest.raises(FormatError, match=message):
        load_state(tmp_path)


NAMES = ("blocks.0.att.time_state", "blocks.1.att.time_state")


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"emb.weight": torch.ones(4, 4)}, "'emb.weight' is no part"),
        ({NAMES[1]: torch.ones(2, 16, 16)}, "layers are"),
        ({}, "layers are"),
        ({NAMES[0]: torch.ones(2, 16, 8)}, r"layer 0 is \[2, 16, 8\]"),
        ({NAMES[0]: torch.ones(2, 16)}, r"layer 0 is \[2, 16\]"),
        ({NAMES[0]: torch.ones(2, 16, 16), NAMES[1]: torch.ones(4, 8, 8)}, "layer 1 is"),
        ({NAMES[0]: torch.ones(2, 16, 16, dtype=torch.int32)}, "not floating-point"),
        ({NAMES[0]: torch.full((2, 16, 16), float("nan"))}, "not finite"),
    ],
)
def test_tensors_that_are_wrong(tmp_path: Path, tensors: dict[str, Tensor], message: str) -> None:
    save_state(make(), tmp_path)
    rewrite(tmp_path, tensors)
    with pytest.raises(FormatError, match=message):
        load_state(tmp_path)


@pytest.mark.parametrize("keep", [0, 7, 300, 4000])
def test_a_file_that_is_cut_short(tmp_path: Path, keep: int) -> None:
    save_state(make(), tmp_path)
    (tmp_path / FILE).write_bytes((tmp_path / FILE).read_bytes()[:keep])
    with pytest.raises(FormatError, match="not a complete safetensors file"):
        load_state(tmp_path)


def test_a_state_must_fit_the_model() -> None:
    config = tiny_rwkv7().config.to_dict()
    check_shape(make().values, config, "state")
    with pytest.raises(FormatError, match=r"\[3, 2, 16, 16\], the model's are \[2, 2, 16, 16\]"):
        check_shape(make(layers=3).values, config, "state")


def test_a_mixture_is_the_weighted_sum() -> None:
    first, second = make(0), make(1)
    mixed = mix_states([(first, 0.7), (second, 0.3)])
    torch.testing.assert_close(mixed.values, 0.7 * first.values + 0.3 * second.values)
    assert (mixed.base, mixed.base_sha256) == (first.base, DIGEST)
    assert [part["weight"] for part in mixed.recipe["mixed"]] == [0.7, 0.3]
    assert torch.equal(mix_states([(first, 1.0)]).values, first.values)
    with pytest.raises(ConflictError, match="different models"):
        mix_states([(first, 0.5), (make(1, digest="b" * 64), 0.5)])
    with pytest.raises(ConfigError):
        mix_states([])


def test_the_digest_of_weights(tmp_path: Path) -> None:
    with pytest.raises(FormatError):
        weights_sha256(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"one")
    (tmp_path / "config.json").write_text("{}")
    assert weights_sha256(tmp_path) == hashlib.sha256(b"one").hexdigest()
    (tmp_path / "more.safetensors").write_bytes(b"two")
    assert weights_sha256(tmp_path) not in (hashlib.sha256(b"one").hexdigest(), "")
