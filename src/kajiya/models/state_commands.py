"""Asks for initial states to be imported, mixed or written, in a process of its own. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kajiya.core.errors import ConfigError
from kajiya.core.files import check_name
from kajiya.core.language import tr
from kajiya.core.workspace import Workspace
from kajiya.models.child import run_module
from kajiya.store.artifacts import Artifact, ArtifactStore

_MODULE = "kajiya.models.states"


def import_state(
    path: Path, base: str, name: str, workspace: Workspace, licence: str = ""
) -> Artifact:
    """Register a `.pth` or `.safetensors` as adapter `name` of `base`; raises what `states` raises."""
    source = str(path.expanduser().absolute())
    reference = run_module(
        _MODULE, "import", source, base, check_name(name), licence, workspace=workspace
    )
    return ArtifactStore(workspace).get(reference, "adapter")


def mix_states(parts: Sequence[tuple[str, float]], name: str, workspace: Workspace) -> Artifact:
    """Register the weighted sum of adapters' states as adapter `name`; raises what `states` raises."""
    words = [word for reference, weight in parts for word in (reference, repr(weight))]
    reference = run_module(_MODULE, "mix", check_name(name), *words, workspace=workspace)
    return ArtifactStore(workspace).get(reference, "adapter")


def export_state(adapter: Artifact, target: Path, workspace: Workspace) -> None:
    """Write an adapter's initial state as a `.pth`."""
    run_module(_MODULE, "export", str(adapter.folder), str(target), workspace=workspace)


def parse_part(text: str) -> tuple[str, float]:
    """`NAME:0.7` or `NAME:2:0.7` as a reference and a weight.

    The last number is the weight, so it must be there; raises `ConfigError` otherwise.
    """
    reference, _, weight = text.rpartition(":")
    try:
        if reference:
            return reference, float(weight)
    except ValueError:
        pass
    raise ConfigError(
        tr("a weight is missing", "重みがありません"),
        where=text,
        fix=tr("write NAME:0.7 or NAME:2:0.7", "名前:0.7 または 名前:2:0.7 と書いてください"),
    )
