"""What an engine needs in order to serve a model: files on disk, nothing of the store or the network."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

EngineName = Literal["llamacpp", "rwkv"]


@dataclass(frozen=True)
class ServableModel:
    """A base and the adapters that make it the model called `name`.

    `folder` holds `tokenizer.json`, `tokenizer_config.json` and perhaps `chat_template.jinja`. For
    llama.cpp, `weights` is a GGUF file and `adapters` maps a name to a LoRA in GGUF; for our RWKV engine,
    `weights` is the model's folder and an adapter the folder with its `state.safetensors`.
    `context_length` is the model's own, in tokens; `reference` the artifact's name and version, where it
    is one.
    """

    name: str
    weights: Path
    folder: Path
    adapters: dict[str, Path] = field(default_factory=dict)
    context_length: int = 2048
    engine: EngineName = "llamacpp"
    reference: str = ""

    def mixture(self) -> tuple[tuple[str, float], ...]:
        """The adapters as `GenerateRequest.adapters` wants them: each applied in full."""
        return tuple((name, 1.0) for name in self.adapters)


def group_by_base(models: Iterable[ServableModel]) -> list[tuple[ServableModel, ...]]:
    """Models that can share one loaded base, so that ten tunings of a base load it once.

    Two models whose adapters have the same name but other files do not share.
    """
    groups: list[list[ServableModel]] = []
    for model in models:
        home = next((group for group in groups if _fits(model, group)), None)
        if home is None:
            groups.append([model])
        else:
            home.append(model)
    return [tuple(group) for group in groups]


def _fits(model: ServableModel, group: list[ServableModel]) -> bool:
    return all(
        other.weights == model.weights
        and all(other.adapters.get(name, path) == path for name, path in model.adapters.items())
        for other in group
    )
