"""Which models can be tuned here in how much memory, and for each that cannot, why. Never imports torch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from kajiya.core.errors import ConfigError
from kajiya.core.hardware import GIB, Hardware
from kajiya.core.language import tr
from kajiya.core.workspace import Workspace
from kajiya.forge.plan import check_comparable, check_method
from kajiya.models.starters import PREFIX, STARTERS, Starter, is_installed
from kajiya.store.artifacts import Artifact, ArtifactStore
from kajiya.training.config import TuneConfig
from kajiya.training.estimate import Estimate, Shape, Sizes, estimate

PRESETS = (12, 16, 24)  # GB, the sizes in which graphics cards are sold


@dataclass(frozen=True)
class Room:
    """An amount of memory to choose. `obstacle` says why this machine cannot give it; empty if it can."""

    gigabytes: float
    own: bool
    obstacle: str


@dataclass(frozen=True)
class Offer:
    """A base model that somebody may want to tune.

    `reference` is what a job takes as its base; `source` is where an imported one came from. `memory` in bytes and `parameters` are None where its
    shape is not known. `obstacle` is empty if it can be tuned; otherwise `fix` says what would help.
    """

    reference: str
    title: str
    description: str
    parameters: int | None = None
    memory: int | None = None
    obstacle: str = ""
    fix: str = ""
    source: str = ""

    def is_named(self, reference: str) -> bool:
        """Whether somebody who says `reference` means this one."""
        return bool(reference) and reference in (self.reference, self.title, self.source)


def own_memory(hardware: Hardware) -> int:
    """Bytes that a training on this machine may use at most: of its largest GPU, else what is free."""
    return max((gpu.memory for gpu in hardware.gpus), default=hardware.memory_available)


def rooms(hardware: Hardware) -> tuple[Room, ...]:
    """This machine's own memory, and the presets."""
    own = own_memory(hardware)
    has = tr(
        f"this machine has {own / GIB:.1f} GB", f"この機械で使えるのは {own / GIB:.1f} GB です"
    )
    presets = (Room(size, False, has if size * GIB > own else "") for size in PRESETS)
    return (Room(round(own / GIB, 1), True, ""), *presets)


def offers(
    workspace: Workspace,
    config: TuneConfig,
    hardware: Hardware,
    room: int,
    sizes: Sizes | None = None,
) -> tuple[Offer, ...]:
    """Every base model of the workspace and every starter, the usable ones first, smaller ones first.

    `room` is in bytes. Without `sizes`, a full step of short rows is assumed.
    """
    bases = _newest(ArtifactStore(workspace).list("model"))
    imported = {base.manifest.config.get("source") for base in bases}
    found = [_of_base(base, workspace, config, hardware, room, sizes) for base in bases]
    found += [
        _of_starter(starter, workspace, config, hardware, room, sizes)
        for starter in STARTERS.values()
        if f"{PREFIX}{starter.name}" not in imported
    ]
    return tuple(sorted(found, key=lambda o: (o.obstacle != "", o.parameters or 0, o.reference)))


def estimate_base(
    shape: Shape, sizes: Sizes | None, config: TuneConfig, hardware: Hardware, cache: Path
) -> Estimate:
    """What tuning a model of this shape will need; without `sizes`, only its memory means something."""
    tokens = config.batch_tokens
    return estimate(shape, sizes or Sizes(1, tokens, tokens, tokens), config, hardware, cache)


def shape_of(reference: str, workspace: Workspace) -> Shape | None:
    """The shape of a starter or of a model of the workspace; None where it cannot be told."""
    if reference.startswith(PREFIX):
        starter = STARTERS.get(reference.removeprefix(PREFIX))
        return Shape.of(starter.shape) if starter and starter.shape else None
    return _shape(ArtifactStore(workspace).get(reference, "model"))


def _newest(bases: Sequence[Artifact]) -> tuple[Artifact, ...]:
    return tuple({base.name: base for base in bases}.values())  # they come by name and version


def _shape(base: Artifact) -> Shape | None:
    try:
        return Shape.read(base.folder)
    except (OSError, ValueError, KeyError, TypeError, json.JSONDecodeError):
        return None


def _of_base(
    base: Artifact,
    workspace: Workspace,
    config: TuneConfig,
    hardware: Hardware,
    room: int,
    sizes: Sizes | None,
) -> Offer:
    shape = _shape(base)
    source = str(base.manifest.config.get("source", ""))
    starter = STARTERS.get(source.removeprefix(PREFIX)) if source.startswith(PREFIX) else None
    description = starter.description if starter else base.manifest.description
    offer = Offer(base.reference, base.name, description, source=source)
    if shape is None:
        return _refused(
            offer,
            tr("its kind cannot be tuned here", "この種類のモデルはここでは学習できません"),
        )
    try:
        check_method(config, base)
        check_comparable(config, base)
        obstacle = ""
    except ConfigError as error:
        obstacle = error.message
    return _measured(offer, shape, workspace, config, hardware, room, sizes, obstacle)


def _of_starter(
    starter: Starter,
    workspace: Workspace,
    config: TuneConfig,
    hardware: Hardware,
    room: int,
    sizes: Sizes | None,
) -> Offer:
    offer = Offer(f"{PREFIX}{starter.name}", starter.name, starter.description)
    if not starter.shape:
        return _refused(offer, tr("its size is not known", "大きさが分かりません"))
    shape = Shape.of(starter.shape)
    if not is_installed(starter):
        missing = tr("it is not installed", "インストールされていません")
        found = _measured(offer, shape, workspace, config, hardware, room, sizes, missing)
        return replace(found, fix=starter.install)
    obstacle = ""
    if config.tunes_state and not shape.state:
        obstacle = tr("it is not RWKV and has no state", "RWKV ではないため初期状態がありません")
    return _measured(offer, shape, workspace, config, hardware, room, sizes, obstacle)


def _measured(
    offer: Offer,
    shape: Shape,
    workspace: Workspace,
    config: TuneConfig,
    hardware: Hardware,
    room: int,
    sizes: Sizes | None,
    obstacle: str,
) -> Offer:
    if obstacle:  # the method may not even be one whose memory can be told
        return replace(offer, parameters=shape.parameters, obstacle=obstacle)
    memory = estimate_base(shape, sizes, config, hardware, workspace.cache).memory
    measured = replace(offer, parameters=shape.parameters, memory=memory)
    if memory <= room:
        return measured
    return replace(
        measured,
        obstacle=tr(
            f"needs about {memory / GIB:.1f} GB of memory, of {room / GIB:.1f} GB",
            f"メモリが約 {memory / GIB:.1f} GB 必要です (上限 {room / GIB:.1f} GB)",
        ),
        fix=tr(
            "choose more memory, or fewer tokens per step",
            "メモリを増やすか、1ステップのトークン数を減らしてください",
        ),
    )


def _refused(offer: Offer, obstacle: str) -> Offer:
    return replace(offer, obstacle=obstacle)
