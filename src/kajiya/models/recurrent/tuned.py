"""Tuned initial states: what state tuning makes, as a file, checked when it is read, and mixed.

`state.safetensors` holds `blocks.{i}.att.time_state` `[heads, value, key]` in 32 bits, and says in its
metadata which way round the matrices are, which weights they were learnt for and how. A square matrix
does not show a wrong transpose, and a state for other weights does not show that it is: so both are
written down, and a reader compares. `state_config.json` beside it repeats the metadata for people.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from kajiya.core.errors import ConfigError, ConflictError, FormatError
from kajiya.core.files import replacing, sha256_file, write_json
from kajiya.core.language import tr
from kajiya.models.recurrent.state import add_time_state
from kajiya.models.resolve import STATE_FILE

CONFIG_FILE = "state_config.json"
ORIENTATION = "value,key"
_FORMAT = "1"
_NAME = re.compile(r"blocks\.(\d{1,4})\.att\.time_state")
_KEYS = ("format", "orientation", "model_type", "base", "base_sha256", "recipe")


@dataclass(frozen=True)
class TunedState:
    """An initial state `values` `[layers, heads, value, key]` in 32 bits, and where it belongs.

    `base` is the model's reference and `base_sha256` the `weights_sha256` of its folder; `recipe` says
    how the state came about (options of the tuning, or the states it was mixed from).
    """

    values: Tensor
    model_type: str
    base: str
    base_sha256: str
    recipe: Mapping[str, Any] = field(default_factory=dict)


def weights_sha256(folder: Path) -> str:
    """SHA-256 of a model folder's weights: of the one safetensors file, or of the list of several.

    The list is what `sha256sum *.safetensors` prints. Raises `FormatError` if there are none.
    """
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise FormatError(
            tr("there are no *.safetensors weights", "*.safetensors がありません"),
            where=str(folder),
        )
    digests = [sha256_file(file) for file in files]
    if len(files) == 1:
        return digests[0]
    lines = (f"{digest}  {file.name}\n" for digest, file in zip(digests, files, strict=True))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def save_state(state: TunedState, folder: Path) -> None:
    """Write `state.safetensors` and `state_config.json` into `folder`, each whole or not at all."""
    known = {
        "format": _FORMAT,
        "orientation": ORIENTATION,
        "model_type": state.model_type,
        "base": state.base,
        "base_sha256": state.base_sha256,
    }
    recipe = json.dumps(dict(state.recipe), ensure_ascii=False, sort_keys=True)
    tensors = {
        f"blocks.{index}.att.time_state": values.contiguous()
        for index, values in enumerate(state.values.detach().float().cpu().unbind())
    }
    with replacing(folder / STATE_FILE) as scratch:
        save_file(tensors, scratch, metadata={**known, "recipe": recipe})
        scratch.chmod(0o644)
    layers, heads, size, _ = state.values.shape
    shape = {"layers": layers, "heads": heads, "head_size": size}
    write_json(folder / CONFIG_FILE, {**known, **shape, "recipe": dict(state.recipe)})


def load_state(path: Path, base_sha256: str | None = None) -> TunedState:
    """Read a `state.safetensors` (or the one in a folder), for weights of this SHA-256 if it is given.

    Raises `FormatError` if it is damaged, not an initial state, or not `[value, key]`, and
    `ConflictError`, naming both digests, if it was learnt for other weights.
    """
    file = path / STATE_FILE if path.is_dir() else path
    try:
        with safe_open(file, framework="pt") as opened:
            known: dict[str, str] = opened.metadata() or {}
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise FormatError(
            tr(
                f"not a complete safetensors file ({error})",
                f"safetensors として読めません ({error})",
            ),
            where=str(file),
        ) from None
    recipe = _check_metadata(known, file)
    if base_sha256 is not None and known["base_sha256"] != base_sha256:
        raise ConflictError(
            tr(
                f"this state was learnt for {known['base']} with weights of SHA-256"
                f" {known['base_sha256']}, not for weights of SHA-256 {base_sha256}",
                f"この初期状態は {known['base']} (重みの SHA-256 {known['base_sha256']}) のもので、"
                f"SHA-256 {base_sha256} の重みには使えません",
            ),
            where=str(file),
            fix=tr("use it with its own base", "対応する基のモデルで使ってください"),
        )
    return TunedState(
        stack_layers(tensors, str(file)),
        known["model_type"],
        known["base"],
        known["base_sha256"],
        recipe,
    )


def _check_metadata(known: Mapping[str, str], file: Path) -> dict[str, Any]:
    """What the metadata must say; returns the recipe."""
    missing = [key for key in _KEYS if key not in known]
    if missing:
        raise FormatError(
            tr(
                f"its metadata does not say: {', '.join(missing)}",
                f"メタデータに {', '.join(missing)} がありません",
            ),
            where=str(file),
            fix=tr(
                "import it: kajiya models import FILE.pth --base MODEL",
                "取り込んでください: kajiya models import FILE.pth --base MODEL",
            ),
        )
    if known["format"] != _FORMAT:
        raise FormatError(
            tr("made by a newer Kajiya", "新しい Kajiya で作られたファイルです"), where=str(file)
        )
    if known["orientation"] != ORIENTATION:
        raise FormatError(
            tr(
                f"its matrices are [{known['orientation']}], [{ORIENTATION}] is expected",
                f"行列の向きが [{known['orientation']}] です ([{ORIENTATION}] が必要です)",
            ),
            where=str(file),
        )
    try:
        recipe = json.loads(known["recipe"])
        if isinstance(recipe, dict):
            return recipe
    except (ValueError, RecursionError):
        pass
    raise FormatError(tr("its recipe is damaged", "学習条件の記録が壊れています"), where=str(file))


def stack_layers(tensors: Mapping[str, Tensor], where: str) -> Tensor:
    """`blocks.{i}.att.time_state` of all layers as one `[layers, heads, value, key]` in 32 bits.

    Raises `FormatError` for other names, a layer that is missing, shapes that are not `[heads, n, n]`
    and alike, and numbers that are not finite.
    """
    layers: dict[int, Tensor] = {}
    for name, tensor in tensors.items():
        match = _NAME.fullmatch(name)
        if match is None:
            raise FormatError(
                tr(
                    f"{name!r} is no part of an initial state",
                    f"{name!r} は初期状態に含まれません",
                ),
                where=where,
            )
        layers[int(match[1])] = tensor
    problem = _problem(layers)
    if problem:
        raise FormatError(problem, where=where)
    values = torch.stack([layers[index].float() for index in range(len(layers))])
    if not values.isfinite().all():
        raise FormatError(
            tr("it holds numbers that are not finite", "有限でない数が含まれています"), where=where
        )
    return values


def _problem(layers: Mapping[int, Tensor]) -> str:
    if sorted(layers) != list(range(len(layers))) or not layers:
        return tr(
            f"the layers are {sorted(layers)}, not 0, 1, 2 …",
            f"層の番号が {sorted(layers)} で、0, 1, 2 … ではありません",
        )
    first = layers[0].shape
    for index, tensor in layers.items():
        if tensor.ndim != 3 or tensor.shape[1] != tensor.shape[2] or tensor.shape != first:
            return tr(
                f"layer {index} is {list(tensor.shape)}; [heads, size, size] as in layer 0 is expected",
                f"第 {index} 層の形が {list(tensor.shape)} です (第 0 層と同じ [heads, size, size] が必要です)",
            )
        if not tensor.is_floating_point():
            return tr(
                f"layer {index} holds {tensor.dtype}, not floating-point numbers",
                f"第 {index} 層の型が {tensor.dtype} で、浮動小数点数ではありません",
            )
    return ""


def check_shape(values: Tensor, config: Mapping[str, Any], where: str) -> None:
    """Raise `FormatError` if `values` does not fit a model with these `config.json` values."""
    size = int(config["head_size"])
    wanted = [int(config["num_hidden_layers"]), int(config["hidden_size"]) // size, size, size]
    if list(values.shape) != wanted:
        raise FormatError(
            tr(
                f"its layers, heads and sizes are {list(values.shape)}, the model's are {wanted}",
                f"層・ヘッド・大きさが {list(values.shape)} で、モデルの {wanted} と合いません",
            ),
            where=where,
        )


def mix_states(states: Sequence[tuple[TunedState, float]]) -> TunedState:
    """The weighted sum of states of one base: a mixture of what each of them brings about.

    Weights that sum to 1 give a mean, one state with a weight below 1 a fainter form of itself. Raises
    `ConfigError` for no states, `ConflictError` if they belong to different weights.
    """
    if not states:
        raise ConfigError(tr("no states to mix", "混ぜる初期状態がありません"), where="states")
    first = states[0][0]
    for state, _ in states[1:]:
        if state.base_sha256 != first.base_sha256 or state.values.shape != first.values.shape:
            raise ConflictError(
                tr(
                    f"states of different models cannot be mixed: {first.base} ({first.base_sha256})"
                    f" and {state.base} ({state.base_sha256})",
                    f"異なるモデルの初期状態は混ぜられません: {first.base} ({first.base_sha256})"
                    f" と {state.base} ({state.base_sha256})",
                )
            )
    values = torch.stack([state.values * weight for state, weight in states]).sum(0)
    recipe = {
        "mixed": [{"weight": weight, "recipe": dict(state.recipe)} for state, weight in states]
    }
    return TunedState(values, first.model_type, first.base, first.base_sha256, recipe)


def read_from(model: nn.Module) -> Tensor:
    """The initial states of a model that has them, `[layers, heads, value, key]`."""
    return torch.stack([parameter.detach().float() for parameter in add_time_state(model).values()])


@torch.no_grad()
def write_into(model: nn.Module, values: Tensor) -> None:
    """Have every document that `model` reads start from `values` `[layers, heads, value, key]`."""
    for parameter, layer in zip(add_time_state(model).values(), values, strict=True):
        parameter.copy_(layer)
