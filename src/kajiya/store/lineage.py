"""Where an artifact came from: the tree of its parents, up to what came from outside."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from kajiya.store.folders import Artifact
from kajiya.store.manifest import Manifest, Parent

State = Literal["present", "missing", "changed"]
Lookup = Callable[[Parent], Artifact | None]


@dataclass(frozen=True)
class LineageNode:
    """One artifact in a lineage, and what it was made from.

    `role` is what it was to its child (empty at the top). `state` is `missing` if it is not in the
    store any more, and `changed` if another artifact lies under its reference now; then `manifest`
    is None and its own parents are not known.
    """

    kind: str
    reference: str
    role: str
    state: State
    manifest: Manifest | None
    parents: tuple[LineageNode, ...]


def trace(manifest: Manifest, lookup: Lookup) -> LineageNode:
    """The lineage of `manifest`; `lookup` finds what lies under a parent's reference now."""
    return LineageNode(
        manifest.kind, manifest.reference, "", "present", manifest, _above(manifest.parents, lookup)
    )


def _above(parents: Sequence[Parent], lookup: Lookup) -> tuple[LineageNode, ...]:
    # A manifest holds its parents' hashes, so no chain of parents can come back to where it began.
    nodes = []
    for parent in parents:
        found = lookup(parent)
        if found is None:
            node = LineageNode(parent.kind, parent.reference, parent.role, "missing", None, ())
        elif found.manifest_sha256 != parent.manifest_sha256:
            node = LineageNode(parent.kind, parent.reference, parent.role, "changed", None, ())
        else:
            node = LineageNode(
                parent.kind,
                parent.reference,
                parent.role,
                "present",
                found.manifest,
                _above(found.manifest.parents, lookup),
            )
        nodes.append(node)
    return tuple(nodes)
