"""Mixtures as sliders: how much of each adapter, and the model name that says so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from kajiya.server.access.caller import Caller
from kajiya.server.gateway import Gateway
from kajiya.server.names import Part, parse_mixture

_STEP = 1e-6  # weights that a name can tell apart


@dataclass(frozen=True)
class Slider:
    """An adapter and how much of it a name asks for; `own` if the model itself has it in full."""

    reference: str
    weight: float
    own: bool


def base_name(name: str) -> str:
    """The model that a name begins with."""
    return name.partition("+")[0]


def sliders(gateway: Gateway, caller: Caller, name: str) -> list[Slider]:
    """Every adapter that can be mixed into `name`, which is served; empty where there are none."""
    served = gateway.look_up(caller, name)
    known = gateway.adapters(served.engine)
    weights = dict.fromkeys(known, 0.0)
    for reference, weight in served.mixture:
        weights[reference] += weight
    return [Slider(each, round(weights[each], 6), each in served.model.adapters) for each in known]


def mixture(gateway: Gateway, caller: Caller, name: str, weights: Mapping[str, float]) -> str:
    """The name that asks for the model `name` begins with and these weights of its engine's adapters.

    What is not in `weights` stays as it is in the model. Raises `ApiError` for a weight or an adapter that
    cannot be.
    """
    base = base_name(name)
    parts = []
    for slider in sliders(gateway, caller, base):
        more = weights.get(slider.reference, slider.weight) - slider.weight
        if abs(more) >= _STEP:
            stem, _, version = slider.reference.rpartition(":")
            part = Part(stem, int(version), more) if stem else Part(version, weight=more)
            parts.append(str(part))
    made = "+".join([base, *parts])
    if parts:
        parse_mixture(made)
    gateway.look_up(caller, made)
    return made
