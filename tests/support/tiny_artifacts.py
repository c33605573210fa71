"""The tiny model and adapters over it as artifacts of a workspace, as a tuning leaves them."""

from __future__ import annotations

import shutil

from kajiya.core.workspace import Workspace
from kajiya.inference.bundle import ServableModel
from kajiya.inference.servable import ADAPTER_FILE
from kajiya.models.resolve import GGUF_FILE
from kajiya.store.artifacts import Artifact, ArtifactStore
from support.tiny_llama import make_adapter


def register_model(workspace: Workspace, model: ServableModel, name: str) -> Artifact:
    """The next version of the base `name`, with the files of `model`."""
    with ArtifactStore(workspace).draft("model", name) as draft:
        for file in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copy(model.folder / file, draft.folder)
        shutil.copy(model.weights, draft.folder / GGUF_FILE)
        draft.details["context_length"] = model.context_length
    return draft.artifact


def register_adapter(
    workspace: Workspace, base: Artifact, model: ServableModel, name: str, first_word: str
) -> Artifact:
    """The next version of the adapter `name`: answers begin with `first_word`."""
    store = ArtifactStore(workspace)
    with store.draft("adapter", name, parents=[base.as_parent("base")]) as draft:
        make_adapter(model, draft.folder / ADAPTER_FILE, first_word)
    return draft.artifact
