"""Community `.pth` states: read where they are plain, refused with the reason where they are not."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from kajiya.core.errors import ConfigError, ConflictError, FormatError, NotFoundError
from kajiya.core.workspace import Workspace
from kajiya.models.formats.rwkv.pth import write_pth
from kajiya.models.recurrent.state_pth import read_state_pth, write_state_pth
from kajiya.models.recurrent.tuned import load_state, weights_sha256, write_into
from kajiya.models.states import import_state, mix_adapters, state_of
from kajiya.store.artifacts import Artifact, ArtifactStore
from support.recurrent import register_rwkv, tiny_rwkv
from support.rwkv_package import Reference
from support.tiny_models import register_base

SHAPE = (2, 16, 16)


def layers(count: int = 2, seed: int = 0, prefix: str = "") -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        f"{prefix}blocks.{i}.att.time_state": torch.randn(SHAPE, generator=generator)
        for i in range(count)
    }


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    workspace = Workspace(tmp_path_factory.mktemp("states") / "home").create()
    register_rwkv(workspace)
    return workspace


def base_of(workspace: Workspace) -> Artifact:
    return ArtifactStore(workspace).get("tiny-rwkv", "model")


def adapters(workspace: Workspace) -> list[str]:
    return [artifact.reference for artifact in ArtifactStore(workspace).list("adapter")]


@pytest.mark.parametrize("prefix", ["", "model."])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_reading(tmp_path: Path, prefix: str, dtype: torch.dtype) -> None:
    tensors = {name: tensor.to(dtype) for name, tensor in layers(12, prefix=prefix).items()}
    torch.save(tensors, tmp_path / "state.pth")
    values = read_state_pth(tmp_path / "state.pth")
    assert (values.shape, values.dtype) == ((12, *SHAPE), torch.float32)
    assert torch.equal(values[10], tensors[f"{prefix}blocks.10.att.time_state"].float())


def test_writing_is_the_reverse(tmp_path: Path) -> None:
    values = torch.randn(3, *SHAPE)
    write_state_pth(values, tmp_path / "state.pth")
    assert torch.equal(read_state_pth(tmp_path / "state.pth"), values)
    raw = torch.load(tmp_path / "state.pth", weights_only=True)
    assert list(raw) == [f"blocks.{i}.att.time_state" for i in range(3)]
    # Each tensor brings its own numbers only.
    assert raw["blocks.0.att.time_state"].untyped_storage().nbytes() == 4 * values[0].numel()


@pytest.mark.parametrize("family", ["rwkv7", "rwkv6"])
def test_the_rwkv_package_starts_from_the_same_state(tmp_path: Path, family: str) -> None:
    """A wrong transpose is silent, so the numbers are compared: the v6 runtime itself transposes."""
    model = tiny_rwkv(family)
    model.save_pretrained(tmp_path / "model")
    write_pth(tmp_path / "model", tmp_path / "model.pth")
    reference = Reference(tmp_path / "model.pth", version=int(family[-1]))
    torch.save(layers(), tmp_path / "state.pth")
    ids = [9, 30, 12, 44, 51, 7]
    plain = model(torch.tensor([ids])).logits[0]
    write_into(model, read_state_pth(tmp_path / "state.pth"))
    ours = model(torch.tensor([ids])).logits[0]
    state = []
    for tensor in torch.load(tmp_path / "state.pth", weights_only=True).values():
        wkv = tensor.transpose(1, 2).contiguous() if family == "rwkv6" else tensor
        state += [torch.zeros(32), wkv, torch.zeros(32)]
    theirs = reference.logits(ids, state)
    scale = theirs.abs().max()
    assert (ours - theirs).abs().max() < 1e-4 * scale
    assert (ours - plain).abs().max() > 0.01 * scale


class _Canary:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., None], tuple[Path]]:
        return Path.touch, (self.path,)


def hostile(folder: Path, kind: str) -> Path:
    """A file that should not be read, and would write `canary` if its code ran."""
    path, canary = folder / "state.pth", _Canary(folder / "canary")
    good: dict[str, Any] = dict(layers())
    if kind.startswith("pickle"):
        values = {**good, "blocks.2.att.time_state": canary}
        path.write_bytes(pickle.dumps(values, protocol=int(kind[-1])))
    elif kind == "torch":
        torch.save({**good, "blocks.2.att.time_state": canary}, path)
    elif kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", pickle.dumps(canary))
            archive.writestr("archive/version", "3")
    elif kind == "expanded":
        torch.save({"blocks.0.att.time_state": torch.zeros(1).expand(1 << 30, 16, 16)}, path)
    elif kind == "sparse":
        torch.save({"blocks.0.att.time_state": torch.ones(SHAPE).to_sparse()}, path)
    else:
        values = {
            "model": {**good, "emb.weight": torch.ones(8, 4)},
            "list": [torch.ones(SHAPE)],
            "numbers": {"blocks.0.att.time_state": 7},
            "shape": {"blocks.0.att.time_state": torch.ones(2, 16, 8)},
            "gap": {"blocks.1.att.time_state": torch.ones(SHAPE)},
            "nan": {"blocks.0.att.time_state": torch.full(SHAPE, float("inf"))},
        }[kind]
        torch.save(values, path)
    return path


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("pickle 2", "could run as code|no .pth file"),
        ("pickle 4", "could run as code|no .pth file"),
        ("torch", "could run as code"),
        ("zip", "could run as code|no .pth file"),
        ("expanded", "larger than the file"),
        ("sparse", "no plain"),
        ("model", "more than an initial state: emb.weight"),
        ("list", "no named tensors"),
        ("numbers", "no plain tensor"),
        ("shape", r"\[2, 16, 8\]"),
        ("gap", "layers are"),
        ("nan", "not finite"),
    ],
)
def test_hostile_files(tmp_path: Path, workspace: Workspace, kind: str, message: str) -> None:
    before = adapters(workspace)
    with pytest.raises(FormatError, match=message):
        import_state(hostile(tmp_path, kind), "tiny-rwkv", "bad", workspace)
    assert not (tmp_path / "canary").exists()
    assert adapters(workspace) == before


@pytest.mark.parametrize("keep", [0, 10, 900, 4000])
def test_files_cut_short(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "state.pth"
    torch.save(layers(), path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(FormatError):
        read_state_pth(path)


def test_imported_it_is_an_adapter_of_its_base(tmp_path: Path, workspace: Workspace) -> None:
    torch.save(layers(), tmp_path / "fox.pth")
    made = import_state(tmp_path / "fox.pth", "tiny-rwkv", "fox", workspace, "CC0-1.0")
    base = base_of(workspace)
    state = load_state(made.folder, weights_sha256(base.folder))
    assert torch.equal(state.values, torch.stack(list(layers().values())))
    assert state.recipe["imported"] == "fox.pth" and len(state.recipe["sha256"]) == 64
    assert made.manifest.config["method"] == "state"
    assert [(p.role, p.reference) for p in made.manifest.parents] == [("base", base.reference)]
    assert made.manifest.licence[0].name == "CC0-1.0"
    assert str(tmp_path) not in (made.folder / "manifest.json").read_text()
    # Its own file can be imported again, for the same weights only.
    again = import_state(made.folder / "state.safetensors", "tiny-rwkv", "again", workspace)
    assert torch.equal(state_of(again).values, state.values)
    register_rwkv(workspace, "other-rwkv", seed=1)
    with pytest.raises(ConflictError, match="learnt for"):
        import_state(made.folder / "state.safetensors", "other-rwkv", "bad", workspace)


def test_what_does_not_fit_the_base(tmp_path: Path, workspace: Workspace) -> None:
    torch.save(layers(3), tmp_path / "state.pth")
    with pytest.raises(FormatError, match="the model's are"):
        import_state(tmp_path / "state.pth", "tiny-rwkv", "bad", workspace)
    register_base(workspace, "tiny-llama")
    with pytest.raises(ConfigError, match="not a recurrent model"):
        import_state(tmp_path / "state.pth", "tiny-llama", "bad", workspace)
    with pytest.raises(NotFoundError):
        import_state(tmp_path / "none.pth", "tiny-rwkv", "bad", workspace)


def test_mixed_adapters(tmp_path: Path, workspace: Workspace) -> None:
    parts = []
    for seed, name in enumerate(("dry", "wet")):
        torch.save(layers(seed=seed), tmp_path / f"{name}.pth")
        parts.append(import_state(tmp_path / f"{name}.pth", "tiny-rwkv", name, workspace))
    made = mix_adapters([("dry", 0.25), ("wet:1", 0.5)], "damp", workspace)
    expected = 0.25 * state_of(parts[0]).values + 0.5 * state_of(parts[1]).values
    torch.testing.assert_close(state_of(made).values, expected)
    roles = [(parent.role, parent.reference) for parent in made.manifest.parents]
    assert roles == [("base", "tiny-rwkv:1"), ("mixed", "dry:1"), ("mixed", "wet:1")]
    with pytest.raises(FormatError, match="not an initial state alone"):
        mix_adapters([("tiny-rwkv", 1.0)], "bad", workspace)
