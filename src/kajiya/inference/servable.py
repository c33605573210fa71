"""From a reference to what an engine loads: the base as its engine reads it, and the adapters over it."""

from __future__ import annotations

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
    base = base_of(artifact, workspace)
    engine: EngineName = "rwkv" if base.manifest.config.get("model_type") in _OURS else "llamacpp"
    return ServableModel(
        name=artifact.reference
        if ":" in reference and not reference.startswith(("starter:", "hf:"))
        else artifact.name,
        weights=base.folder if engine == "rwkv" else base_gguf(base, workspace),
        folder=base.folder,
        adapters={artifact.reference: _adapter(artifact, engine)}
        if artifact.kind == "adapter"
        else {},
        context_length=int(base.manifest.details.get("context_length") or _DEFAULT_CONTEXT),
        engine=engine,
    )


def _adapter(artifact: Artifact, engine: EngineName) -> Path:
    """What `engine` reads of an adapter: its folder, or its LoRA in GGUF."""
    files = (STATE_FILE, LORA_FILE) if engine == "rwkv" else (ADAPTER_FILE,)
    if not any((artifact.folder / file).is_file() for file in files):
        missing = " / ".join(files)
        raise FormatError(
            tr(f"it has no {missing}", f"{missing} がありません"), where=artifact.reference
        )
    return artifact.folder if engine == "rwkv" else artifact.folder / ADAPTER_FILE


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
