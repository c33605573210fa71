"""The `rwkv` package as the reference that our models agree with."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor


@cache
def _module(version: int) -> Any:
    """The package's model code, which chooses the version by the environment when it is read."""
    package = importlib.util.find_spec("rwkv")
    assert package is not None and package.submodule_search_locations is not None
    path = Path(package.submodule_search_locations[0]) / "model.py"
    spec = importlib.util.spec_from_file_location(f"rwkv_reference_v{version}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    # Version 7 is scripted whatever the environment says, which is deprecated and slow to start.
    plain = {"ScriptModule": torch.nn.Module, "script_method": _same, "script": _same}
    with mock.patch.multiple(torch.jit, **plain):
        spec.loader.exec_module(module)
    return module


def _same(function: Any) -> Any:
    return function


class Reference:
    """An official `.pth` run by the package in fp32 on the processor."""

    def __init__(self, weights: Path, version: int) -> None:
        settings = {
            "RWKV_V7_ON": str(int(version == 7)),
            "RWKV_JIT_ON": "0",
            "RWKV_CUDA_ON": "0",
        }
        with mock.patch.dict("os.environ", settings):
            module = _module(version)
            self._model = module.RWKV(str(weights.with_suffix("")), "cpu fp32", **_quiet(version))

    def logits(self, tokens: Sequence[int], state: list[Tensor] | None = None) -> Tensor:
        """Of every position, read at once: `[time, vocabulary]`; `state` as `self.state` returns it."""
        return self._run(list(tokens), state, True)[0].reshape(len(tokens), -1)

    def logits_step_by_step(self, tokens: Sequence[int]) -> Tensor:
        """The same, read a token at a time."""
        state, rows = None, []
        for token in tokens:
            row, state = self._run([token], state, False)
            rows.append(row.reshape(-1).clone())
        return torch.stack(rows)

    def state(self, tokens: Sequence[int]) -> list[Tensor]:
        """After the tokens: three tensors a layer."""
        state: list[Tensor] = self._run(list(tokens), None, False)[1]
        return state

    def _run(self, tokens: list[int], state: Any, full: bool) -> tuple[Tensor, Any]:
        with mock.patch.dict("os.environ", {"RWKV_CUDA_ON": "0"}):
            result: tuple[Tensor, Any] = self._model.forward(tokens, state, full)
        return result


def _quiet(version: int) -> dict[str, bool]:
    return {"verbose": False} if version < 7 else {}
