"""From a reference that people write to an artifact: `name`, `name:2`, `starter:…`, `hf:…`, a path.

A source that is not in the workspace yet is imported on first use, in a process of its own, so nothing
here imports torch.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from kajiya.core.errors import FormatError, NotFoundError
from kajiya.core.files import sha256_file
from kajiya.core.language import tr
from kajiya.core.locks import locked
from kajiya.core.workspace import Workspace
from kajiya.models.child import run_module
from kajiya.models.starters import PREFIX, STARTERS, find_starter
from kajiya.store.artifacts import Artifact, ArtifactStore

HUB = "hf:"
GGUF_FILE = "base.gguf"  # in a base's folder, where it came as GGUF
LORA_FILE = "adapter_model.safetensors"  # in an adapter's folder, if it has a LoRA
STATE_FILE = "state.safetensors"  # in an adapter's folder, if it has an initial state
KINDS = ("adapter", "model")


def resolve(reference: str, workspace: Workspace) -> Artifact:
    """The model or adapter that `reference` names, imported first if it is a source outside.

    Raises `NotFoundError` naming close matches, or whatever the import raised.
    """
    if reference.startswith((PREFIX, HUB)) or _is_path(reference):
        return _imported(reference, workspace)
    store = ArtifactStore(workspace)
    for kind in KINDS:
        try:
            return store.get(reference, kind)
        except NotFoundError:
            continue
    names = sorted({a.name for kind in KINDS for a in store.list(kind)})
    known = [*names, *(f"{PREFIX}{name}" for name in STARTERS)]
    raise NotFoundError(
        tr(f"there is no model {reference!r}", f"モデル {reference!r} はありません"),
        fix=tr(f"known: {', '.join(known)}", f"使えるもの: {', '.join(known)}"),
    )


def base_of(artifact: Artifact, workspace: Workspace) -> Artifact:
    """The base model of an adapter; a model is its own base."""
    if artifact.kind == "model":
        return artifact
    for parent in artifact.manifest.parents:
        if parent.role == "base":
            return ArtifactStore(workspace).get(parent.reference, parent.kind)
    raise FormatError(
        tr("its manifest names no base model", "基になるモデルが記録されていません"),
        where=artifact.reference,
    )


def resolve_folder(reference: str, workspace: Workspace) -> Path:
    """The folder with configuration, weights and tokenizer of the base that `reference` stands on.

    A path to a folder with a `tokenizer.json` is taken as it is, without importing it.
    """
    path = Path(reference).expanduser()
    if _is_path(reference) and (path / "tokenizer.json").is_file():
        return path
    return base_of(resolve(reference, workspace), workspace).folder


def name_for(source: str) -> str:
    """The name under which a source is registered: `hf:org/Some-Model` → `Some-Model`."""
    if source.startswith(PREFIX):
        return find_starter(source).name
    stem = source.removeprefix(HUB).rstrip("/").rsplit("/", 1)[-1]
    stem = stem.removesuffix(".gguf").removesuffix(".pth")
    return re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip("-.") or "model"


def import_source(source: str, name: str, workspace: Workspace, licence: str = "") -> Artifact:
    """Import `source` under `name` in a child process; raises what the child raised."""
    reference = run_module("kajiya.models.importing", source, name, licence, workspace=workspace)
    return ArtifactStore(workspace).get(reference, "model")


def source_sha256(path: Path) -> str:
    """A digest of a model file, or of a model folder's configuration, tokenizer and weights."""
    if path.is_file():
        return sha256_file(path)
    files = [path / name for name in ("config.json", "tokenizer.json", "tokenizer_config.json")]
    files += sorted(path.glob("*.safetensors"))
    lines = [f"{file.name} {sha256_file(file)}" for file in files if file.is_file()]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _imported(source: str, workspace: Workspace) -> Artifact:
    """The newest import of `source`, made now if there is none; one process imports at a time."""
    if source.startswith(PREFIX):
        find_starter(source)
    wanted = {"source": source}
    if _is_path(source):
        path = Path(source).expanduser().resolve()
        if not path.exists():
            raise NotFoundError(
                tr("there is no such file or folder", "ファイルもフォルダもありません"),
                where=source,
            )
        # Of a path only the last part is kept: what it holds decides whether it is the same.
        source = str(path)
        wanted = {"source": path.name, "source_sha256": source_sha256(path)}
    store = ArtifactStore(workspace)
    workspace.create()
    with locked(workspace.cache / "import.lock"):
        for artifact in reversed(store.list("model")):
            if wanted.items() <= artifact.manifest.config.items():
                return artifact
        return import_source(source, name_for(source), workspace)


def _is_path(reference: str) -> bool:
    return ("/" in reference.removeprefix(HUB) and not reference.startswith(HUB)) or (
        reference.endswith((".gguf", ".pth"))
        or reference in (".", "..")
        or reference.startswith("~")
    )
