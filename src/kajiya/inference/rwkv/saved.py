"""Where a conversation has got to, as a file: a later request goes on from there without reading it again.

Says nothing about who may use which file.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from kajiya.core.files import replacing
from kajiya.core.language import tr
from kajiya.inference.protocol import RequestError
from kajiya.inference.rwkv.initial import InitialStates
from kajiya.models.recurrent.state import RecurrentState

_PARTS = ("att_shift", "wkv", "ffn_shift")


@dataclass(frozen=True)
class SavedState:
    """The `state` (a batch of one) after `tokens` tokens, and what comes next and is not in it yet."""

    state: RecurrentState
    tokens: int
    unread: tuple[int, ...]


class SavedStates:
    """Reads and writes states of the model that begins from `initial`."""

    def __init__(self, initial: InitialStates) -> None:
        self._initial = initial
        zero = initial.mixed(())
        self._shapes = {name: tuple(getattr(zero, name).shape) for name in _PARTS}

    def save(self, path: Path, saved: SavedState, model: str) -> None:
        """Write `path`, whole or not at all, readable by its owner only; `model` is what it is called."""
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        tensors = {name: getattr(saved.state, name).float().contiguous() for name in _PARTS}
        known = {
            "base_sha256": self._initial.base_sha256,
            "model": model,
            "tokens": str(saved.tokens),
            "unread": json.dumps(saved.unread),
        }
        with replacing(path) as scratch:
            save_file(tensors, scratch, metadata=known)
            scratch.chmod(0o600)

    def load(self, path: Path) -> SavedState:
        """The state in `path`; `RequestError` if it is gone, damaged, or of another model."""
        try:
            with safe_open(path, framework="pt") as opened:
                known: dict[str, str] = opened.metadata() or {}
                shapes = {name: tuple(opened.get_slice(name).get_shape()) for name in opened.keys()}  # noqa: SIM118
                fits = (
                    shapes == self._shapes and known.get("base_sha256") == self._initial.base_sha256
                )
                state = RecurrentState(*map(opened.get_tensor, _PARTS)) if fits else None
        except FileNotFoundError:
            raise RequestError(tr("there is no such state", "その状態はありません")) from None
        except (SafetensorError, OSError) as error:
            raise _refused(f"{error}") from None
        if state is None:
            raise RequestError(
                tr("this state belongs to another model", "この状態は別のモデルのものです"),
                fix=tr("ask the model that made it", "作ったモデルに送ってください"),
            )
        return SavedState(state, *_counted(known, state))


def _counted(known: dict[str, str], state: RecurrentState) -> tuple[int, tuple[int, ...]]:
    """The numbers in the metadata; `RequestError` if they, or those of the state, cannot be."""
    try:
        tokens, unread = int(known["tokens"]), json.loads(known["unread"])
    except (KeyError, ValueError, RecursionError) as error:
        raise _refused(repr(error)) from None
    whole = isinstance(unread, list) and all(type(token) is int for token in unread)
    finite = all(bool(torch.isfinite(part).all()) for part in _tensors(state))
    if tokens < 0 or not whole or not finite:
        raise _refused("NaN / metadata")
    return tokens, tuple(unread)


def _tensors(state: RecurrentState) -> list[Any]:
    return [getattr(state, name) for name in _PARTS]


def _refused(reason: str) -> RequestError:
    return RequestError(
        tr(f"the saved state is damaged ({reason})", f"保存した状態が壊れています ({reason})")
    )
