"""Checkpoints from which a killed run goes on as if nothing had happened, bit for bit.

A checkpoint is a folder `step-N` that appears whole or not at all. It holds the trained parameters,
the optimiser's state, the state of the random generators and the position in the data; not the frozen
base, which is named by its fingerprint.
"""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from kajiya.core.errors import ConflictError
from kajiya.core.files import atomic_folder, sha256_file, write_json
from kajiya.core.language import tr

_STEP = re.compile(r"step-(\d+)")
_KEEP = 2
_MARKER = "complete.json"

Parameters = dict[str, Tensor]


@dataclass
class Position:
    """How far a run is, and its latest losses. `step` updates are done, over `tokens` tokens, in `seconds` with evaluations."""

    step: int = 0
    held_out_loss: float | None = None
    best_loss: float | None = None
    best_step: int = 0
    seconds: float = 0.0
    tokens: int = 0
    train_loss: float | None = None


@dataclass
class Snapshot:
    """All that is needed to go on."""

    position: Position
    parameters: Parameters
    best: Parameters | None
    optimizer: dict[str, Any]
    rng: dict[str, Tensor]


class Checkpoints:
    """The checkpoints of one run, in `folder`; `fingerprint` says what data, base and options it has."""

    def __init__(self, folder: Path, fingerprint: str) -> None:
        self.folder = folder
        self.fingerprint = fingerprint

    def save(self, snapshot: Snapshot) -> Path:
        """Write the checkpoint of `snapshot.position.step` and drop all but the newest two."""
        target = self.folder / f"step-{snapshot.position.step}"
        if target.exists():
            if self._read(target) is not None:
                return target
            shutil.rmtree(target)
        with atomic_folder(target) as folder:
            save_file(snapshot.parameters, folder / "parameters.safetensors")
            if snapshot.best is not None:
                save_file(snapshot.best, folder / "best.safetensors")
            state = {"optimizer": snapshot.optimizer, "rng": snapshot.rng}
            torch.save(state, folder / "state.pt")
            marker = {
                "fingerprint": self.fingerprint,
                "position": asdict(snapshot.position),
                "files": {file.name: sha256_file(file) for file in sorted(folder.iterdir())},
            }
            write_json(folder / _MARKER, marker)
        for old in self._complete()[:-_KEEP]:
            shutil.rmtree(old)
        return target

    def load(self) -> Snapshot | None:
        """The newest undamaged checkpoint, or `None` if there is none.

        Raises `ConflictError` if it was made with other data, another base or other options.
        """
        for folder in reversed(self._complete()):
            if (snapshot := self._read(folder)) is not None:
                return snapshot
        return None

    def _read(self, folder: Path) -> Snapshot | None:
        """The checkpoint in `folder`, or `None` if anything in it is damaged."""
        try:
            marker = json.loads((folder / _MARKER).read_text(encoding="utf-8"))
            theirs, files = marker["fingerprint"], marker["files"]
            sound = all(sha256_file(folder / name) == digest for name, digest in files.items())
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None
        if theirs != self.fingerprint:
            raise ConflictError(
                tr(
                    "this checkpoint belongs to other data, another base or other options",
                    "この途中経過は、別のデータ・モデル・設定のものです",
                ),
                where=str(folder),
                fix=tr("start a new job", "新しいジョブとして始めてください"),
            )
        if not sound:
            return None
        try:
            state = torch.load(folder / "state.pt", weights_only=True, map_location="cpu")
        except UnpicklingError:  # sound, so it was written so: not by us
            return None
        best = folder / "best.safetensors"
        return Snapshot(
            position=Position(**marker["position"]),
            parameters=load_file(folder / "parameters.safetensors"),
            best=load_file(best) if best.exists() else None,
            optimizer=state["optimizer"],
            rng=state["rng"],
        )

    def _complete(self) -> list[Path]:
        """Folders of complete checkpoints, oldest first."""
        found = []
        for path in self.folder.glob("step-*"):
            match = _STEP.fullmatch(path.name)
            if match and (path / _MARKER).is_file():
                found.append((int(match[1]), path))
        return [path for _, path in sorted(found)]


def rng_state() -> dict[str, Tensor]:
    """The state of torch's generators, on the CPU and on every GPU."""
    state = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        state |= {f"cuda:{i}": s for i, s in enumerate(torch.cuda.get_rng_state_all())}
    return state


def restore_rng(state: dict[str, Tensor]) -> None:
    """Put the generators back into `state`."""
    torch.set_rng_state(state["cpu"])
    for name, value in state.items():
        if name != "cpu":
            torch.cuda.set_rng_state(value, name)
