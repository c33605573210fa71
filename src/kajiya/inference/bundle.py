"""What an engine needs in order to serve a model: files on disk, or where somebody else serves it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from kajiya.inference.remotes import Remote

EngineName = Literal["llamacpp", "rwkv", "vllm"]


@dataclass(frozen=True)
class ServableModel:
    """A base and the adapters that make it the model called `name`.

    `folder` holds `tokenizer.json`, `tokenizer_config.json` and perhaps `chat_template.jinja`. For
    llama.cpp, `weights` is a GGUF file and `adapters` maps a name to a LoRA in GGUF; for our RWKV engine,
    `weights` is the model's folder and an adapter the folder with its `state.safetensors`; for vLLM,
    `weights` is the model's folder too and an adapter a LoRA's folder as PEFT writes it.
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


@dataclass(frozen=True)
class RemoteModel:
    """A model called `name` here that an endpoint elsewhere serves: no artifact, and no adapters of ours."""

    name: str
    remote: Remote
    adapters: Mapping[str, Path] = field(default_factory=dict)
    reference: str = ""

    def mixture(self) -> tuple[tuple[str, float], ...]:
        """No adapters of ours."""
        return ()


Model = ServableModel | RemoteModel


def group_by_base(models: Iterable[Model]) -> list[tuple[Model, ...]]:
    """Models that can share one loaded base, so that ten tunings of a base load it once.

    Two models whose adapters have the same name but other files do not share.
    """
    groups: list[list[Model]] = []
    for model in models:
        home = next((group for group in groups if fits(model, group)), None)
        if home is None:
            groups.append([model])
        else:
            home.append(model)
    return [tuple(group) for group in groups]


def fits(model: Model, group: Sequence[Model]) -> bool:
    """Whether `model` can share the base that those of `group` have."""
    return isinstance(model, ServableModel) and all(
        isinstance(other, ServableModel)
        and other.engine == model.engine
        and other.weights == model.weights
        and all(other.adapters.get(name, path) == path for name, path in model.adapters.items())
        for other in group
    )
