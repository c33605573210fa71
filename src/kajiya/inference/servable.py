"""From a reference to what an engine loads: the base as its engine reads it, and the adapters over it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from kajiya.core.errors import FormatError
from kajiya.core.language import tr
from kajiya.core.locks import locked
from kajiya.core.workspace import Workspace
from kajiya.inference.bundle import EngineName, ServableModel
from kajiya.models.child import run_module
from kajiya.models.resolve import GGUF_FILE, LORA_FILE, STATE_FILE, base_of, resolve
from kajiya.store.artifacts import Artifact

ADAPTER_FILE = "adapter.gguf"
_DEFAULT_CONTEXT = 2048
_OURS = ("rwkv6", "rwkv7")  # model types that our own engine runs


def resolve_servable(reference: str, workspace: Workspace) -> ServableModel:
    """The model or adapter `reference` names, ready for an engine; imported or converted if need be.

    Raises `NotFoundError` for an unknown name and `FormatError` for an adapter its engine cannot read.
    """
    artifact = resolve(reference, workspace)
    asked = ":" in reference and not reference.startswith(("starter:", "hf:"))
    adapters = {artifact.reference: artifact.folder} if artifact.kind == "adapter" else {}
    name = artifact.reference if asked else artifact.name
    model = servable(name, base_of(artifact, workspace), adapters, workspace)
    return replace(model, reference=artifact.reference)


def servable(
    name: str, base: Artifact, adapters: Mapping[str, Path], workspace: Workspace
) -> ServableModel:
    """`base` with the adapters in the folders `adapters`, to be called `name`; converted if need be.

    Raises `FormatError` for an adapter that the engine of this base cannot read.
    """
    engine = engine_of(base)
    return ServableModel(
        name=name,
        weights=base.folder if engine == "rwkv" else base_gguf(base, workspace),
        folder=base.folder,
        adapters={key: _adapter(folder, engine) for key, folder in adapters.items()},
        context_length=int(base.manifest.details.get("context_length") or _DEFAULT_CONTEXT),
        engine=engine,
    )


def engine_of(base: Artifact) -> EngineName:
    """Which engine runs this base."""
    return "rwkv" if base.manifest.config.get("model_type") in _OURS else "llamacpp"


def _adapter(folder: Path, engine: EngineName) -> Path:
    """What `engine` reads of an adapter: its folder, or its LoRA in GGUF."""
    files = (STATE_FILE, LORA_FILE) if engine == "rwkv" else (ADAPTER_FILE,)
    if not any((folder / file).is_file() for file in files):
        missing = " / ".join(files)
        raise FormatError(tr(f"it has no {missing}", f"{missing} がありません"), where=folder.name)
    return folder if engine == "rwkv" else folder / ADAPTER_FILE


def base_gguf(base: Artifact, workspace: Workspace) -> Path:
    """The GGUF file of a base model: the one it came as, or one made once (8 bits) and kept.

    Made in a process of its own, since that needs torch; raises what that raised.
    """
    original = base.folder / GGUF_FILE
    if original.is_file():
        return original
    made = (
        workspace.cache
        / "gguf"
        / f"{base.name}-{base.version}-{base.manifest_sha256[:12]}-q8_0.gguf"
    )
    made.parent.mkdir(parents=True, exist_ok=True)
    with locked(made.with_suffix(".lock")):
        if not made.is_file():
            folder = str(base.folder)
            run_module(
                "kajiya.models.converting",
                folder,
                "",
                "q8_0",
                str(made),
                base.name,
                workspace=workspace,
            )
    return made
