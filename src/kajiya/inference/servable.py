"""From a reference to what an engine loads: the base as its engine reads it, and the adapters over it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from kajiya.core.errors import FormatError
from kajiya.core.language import tr
from kajiya.core.locks import locked
from kajiya.core.workspace import Workspace
from kajiya.inference.bundle import EngineName, Model, RemoteModel, ServableModel
from kajiya.inference.remotes import PREFIX, find_remote
from kajiya.models.child import run_module
from kajiya.models.resolve import GGUF_FILE, LORA_FILE, STATE_FILE, base_of, resolve
from kajiya.store.artifacts import Artifact

ADAPTER_FILE = "adapter.gguf"
_ADAPTER_FILES: dict[EngineName, tuple[str, ...]] = {
    "llamacpp": (ADAPTER_FILE,),
    "rwkv": (STATE_FILE, LORA_FILE),
    "vllm": (LORA_FILE,),
}
_DEFAULT_CONTEXT = 2048
_OURS = ("rwkv6", "rwkv7")  # model types that our own engine runs


def resolve_servable(reference: str, workspace: Workspace, *, vllm: bool = False) -> Model:
    """The model or adapter `reference` names, ready for an engine; imported or converted if need be.

    `remote:NAME` is a model elsewhere. With `vllm`, vLLM is to run what it can run: all but RWKV. Raises
    `NotFoundError` for an unknown name and `FormatError` for what its engine cannot read.
    """
    if reference.startswith(PREFIX):
        name = reference.removeprefix(PREFIX)
        return RemoteModel(name, find_remote(name, workspace))
    artifact = resolve(reference, workspace)
    asked = ":" in reference and not reference.startswith(("starter:", "hf:"))
    adapters = {artifact.reference: artifact.folder} if artifact.kind == "adapter" else {}
    name = artifact.reference if asked else artifact.name
    base = base_of(artifact, workspace)
    engine: EngineName = "vllm" if vllm and engine_of(base) == "llamacpp" else engine_of(base)
    model = servable(name, base, adapters, workspace, engine)
    return replace(model, reference=artifact.reference)


def servable(
    name: str,
    base: Artifact,
    adapters: Mapping[str, Path],
    workspace: Workspace,
    engine: EngineName | None = None,
) -> ServableModel:
    """`base` with the adapters in the folders `adapters`, to be called `name`; converted if need be.

    Raises `FormatError` for a base or an adapter that the engine cannot read.
    """
    engine = engine or engine_of(base)
    if engine == "vllm" and not any(base.folder.glob("*.safetensors")):
        raise FormatError(
            tr("vLLM needs it as safetensors", "vLLM には safetensors 形式が必要です"),
            where=base.reference,
        )
    return ServableModel(
        name=name,
        weights=base_gguf(base, workspace) if engine == "llamacpp" else base.folder,
        folder=base.folder,
        adapters={key: _adapter(folder, engine) for key, folder in adapters.items()},
        context_length=int(base.manifest.details.get("context_length") or _DEFAULT_CONTEXT),
        engine=engine,
    )


def engine_of(base: Artifact) -> EngineName:
    """Which engine runs this base, if nothing else is wanted."""
    return "rwkv" if base.manifest.config.get("model_type") in _OURS else "llamacpp"


def _adapter(folder: Path, engine: EngineName) -> Path:
    """What `engine` reads of an adapter: its folder, or its LoRA in GGUF; any of the files will do."""
    files = _ADAPTER_FILES[engine]
    if not any((folder / file).is_file() for file in files):
        missing = " / ".join(files)
        raise FormatError(tr(f"it has no {missing}", f"{missing} がありません"), where=folder.name)
    return folder / ADAPTER_FILE if engine == "llamacpp" else folder


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
