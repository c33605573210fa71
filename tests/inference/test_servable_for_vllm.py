"""What of the workspace vLLM is given."""

from __future__ import annotations

from pathlib import Path

import pytest

from kajiya.core.errors import FormatError
from kajiya.core.workspace import Workspace
from kajiya.inference.bundle import ServableModel
from kajiya.inference.servable import resolve_servable
from kajiya.store.artifacts import Artifact, ArtifactStore, Parent
from support.tiny_models import register_base


def tuned(workspace: Workspace, base: Artifact, name: str, file: str) -> None:
    """An adapter over `base` of which only the file's name matters here."""
    parent = Parent(
        role="base",
        kind="model",
        reference=base.reference,
        manifest_sha256=base.manifest_sha256,
    )
    with ArtifactStore(workspace).draft("adapter", name, parents=[parent]) as draft:
        (draft.folder / file).write_bytes(b"weights")


def test_the_folders_of_base_and_adapter(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path).create()
    base = register_base(workspace)
    tuned(workspace, base, "faq", "adapter_model.safetensors")
    tuned(workspace, base, "old", "adapter.gguf")
    model = resolve_servable("faq", workspace, vllm=True)
    assert isinstance(model, ServableModel)
    assert (model.engine, model.weights, model.folder) == ("vllm", base.folder, base.folder)
    (folder,) = model.adapters.values()
    assert (folder / "adapter_model.safetensors").is_file()
    usual = resolve_servable("tiny-base", workspace)
    assert isinstance(usual, ServableModel)
    assert usual.engine == "llamacpp"
    with pytest.raises(FormatError, match=r"adapter_model\.safetensors"):
        resolve_servable("old", workspace, vllm=True)


def test_a_base_without_safetensors(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path).create()
    with ArtifactStore(workspace).draft("model", "only-gguf") as draft:
        (draft.folder / "base.gguf").write_bytes(b"GGUF")
    with pytest.raises(FormatError, match="safetensors"):
        resolve_servable("only-gguf", workspace, vllm=True)
