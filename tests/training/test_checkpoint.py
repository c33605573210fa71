"""Checkpoints come back bit for bit, or are passed over, or say whose they are."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from kajiya.core.errors import ConflictError
from kajiya.core.files import sha256_file
from kajiya.training.checkpoint import Checkpoints, Position, Snapshot, restore_rng, rng_state


def snapshot(step: int) -> Snapshot:
    torch.manual_seed(step)
    weights = {"a": torch.randn(3, 4), "b": torch.randn(2).bfloat16()}
    optimizer = torch.optim.AdamW([torch.nn.Parameter(weights["a"])])
    return Snapshot(
        Position(step, best_loss=0.1 * step, best_step=step, seconds=1.5),
        weights,
        {"a": torch.randn(3, 4)},
        optimizer.state_dict(),
        rng_state(),
    )


@pytest.fixture
def checkpoints(tmp_path: Path) -> Checkpoints:
    made = Checkpoints(tmp_path, "print")
    for step in (1, 2):
        made.save(snapshot(step))
    return made


def test_round_trip(checkpoints: Checkpoints) -> None:
    wanted, found = snapshot(2), checkpoints.load()
    assert found is not None and found.best is not None and wanted.best is not None
    assert found.position == wanted.position
    assert all(torch.equal(found.parameters[name], wanted.parameters[name]) for name in ("a", "b"))
    assert torch.equal(found.best["a"], wanted.best["a"])
    assert found.optimizer == wanted.optimizer
    restore_rng(found.rng)
    after = torch.randn(5)
    restore_rng(wanted.rng)
    assert torch.equal(after, torch.randn(5))


def test_nothing_is_no_checkpoint(tmp_path: Path) -> None:
    assert Checkpoints(tmp_path / "none", "print").load() is None


def test_the_newest_two_are_kept(checkpoints: Checkpoints) -> None:
    for step in (3, 10):
        checkpoints.save(snapshot(step))
    assert {path.name for path in checkpoints.folder.iterdir()} == {"step-3", "step-10"}


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("damage", [_truncate, _flip, Path.unlink])
@pytest.mark.parametrize("file", ["parameters.safetensors", "best.safetensors", "state.pt"])
def test_a_damaged_checkpoint_gives_way_to_the_one_before(
    checkpoints: Checkpoints, file: str, damage: Callable[[Path], None]
) -> None:
    damage(checkpoints.folder / "step-2" / file)
    found = checkpoints.load()
    assert found is not None and found.position.step == 1


@pytest.mark.parametrize("damage", [_truncate, Path.unlink])
def test_a_damaged_marker_too(checkpoints: Checkpoints, damage: Callable[[Path], None]) -> None:
    damage(checkpoints.folder / "step-2" / "complete.json")
    found = checkpoints.load()
    assert found is not None and found.position.step == 1


def test_all_damaged_is_a_start_from_the_beginning(checkpoints: Checkpoints) -> None:
    for folder in checkpoints.folder.iterdir():
        _flip(folder / "parameters.safetensors")
    assert checkpoints.load() is None


def test_a_damaged_checkpoint_can_be_written_again(checkpoints: Checkpoints) -> None:
    _flip(checkpoints.folder / "step-2" / "state.pt")
    assert checkpoints.load() is not None
    checkpoints.save(snapshot(2))
    found = checkpoints.load()
    assert found is not None and found.position.step == 2


def test_other_data_is_refused(checkpoints: Checkpoints) -> None:
    with pytest.raises(ConflictError, match="other data") as caught:
        Checkpoints(checkpoints.folder, "another").load()
    assert "step-2" in caught.value.where


class _Canary:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., None], tuple[Path]]:
        return Path.touch, (self.path,)


def test_a_pickle_in_a_checkpoint_is_not_run(checkpoints: Checkpoints, tmp_path: Path) -> None:
    folder, canary = checkpoints.folder / "step-2", tmp_path / "canary"
    torch.save({"optimizer": _Canary(canary), "rng": {}}, folder / "state.pt")
    marker = json.loads((folder / "complete.json").read_text())
    marker["files"]["state.pt"] = sha256_file(folder / "state.pt")
    (folder / "complete.json").write_text(json.dumps(marker))
    found = checkpoints.load()
    assert found is not None and found.position.step == 1
    assert not canary.exists()
    pickle.loads(pickle.dumps(_Canary(canary)))
    assert canary.exists()  # it would have sung
