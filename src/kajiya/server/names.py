"""What `model` may say: `name`, `name:version`, or a mixture such as `base+legal:0.7+tone:2:0.3`.

In a mixture each part after the first is an adapter with, if need be, its version and its weight. A
weight is written with a point, so that it cannot be taken for a version; without one it is 1. Only reads
and writes such names; whether there is a model of that name is the gateway's business.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from kajiya.core.language import tr
from kajiya.server.errors import ApiError

MAX_ADAPTERS = 8
MAX_WEIGHT = 4.0
_LONGEST = 1000  # characters
_PART = re.compile(
    r"(?P<name>[^:+]{1,200})(:(?P<version>[1-9][0-9]{0,8}))?(:(?P<weight>-?[0-9]{1,2}\.[0-9]{1,6}))?",
    re.ASCII,
)


@dataclass(frozen=True)
class Part:
    """An adapter in a mixture: the newest version where none is named."""

    name: str
    version: int | None = None
    weight: float = 1.0

    @property
    def reference(self) -> str:
        return self.name if self.version is None else f"{self.name}:{self.version}"

    def __str__(self) -> str:
        whole, _, part = f"{self.weight:.6f}".partition(".")
        return f"{self.reference}:{whole}.{part.rstrip('0') or '0'}"

    def newest(self, references: list[str]) -> str | None:
        """Which of these `name` or `name:version` is meant, if any."""
        if self.reference in references or self.version is not None:
            return self.reference if self.reference in references else None
        versions = [
            int(number)
            for name, _, number in (reference.rpartition(":") for reference in references)
            if name == self.name and number.isdecimal()
        ]
        return f"{self.name}:{max(versions)}" if versions else None


def parse_mixture(text: str) -> tuple[str, tuple[Part, ...]]:
    """The model that a mixture begins with, and the adapters over it; a 400 if it is none."""
    base, *rest = text.split("+") if len(text) <= _LONGEST else [""]
    matches = [_PART.fullmatch(part) for part in rest]
    if not base or None in matches:
        raise _bad(
            tr(
                "A mixture is written base+adapter:0.7+other:0.3: weights with a point, versions without (adapter:2:0.7)",
                "混ぜる場合は base+adapter:0.7+other:0.3 のように書きます(重みには小数点を付け、版は adapter:2:0.7 のように書きます)",
            )
        )
    parts = tuple(
        Part(
            match["name"],
            int(match["version"]) if match["version"] else None,
            float(match["weight"]) if match["weight"] else 1.0,
        )
        for match in matches
        if match
    )
    if len(parts) > MAX_ADAPTERS or any(abs(part.weight) > MAX_WEIGHT for part in parts):
        raise _bad(
            tr(
                f"A mixture has at most {MAX_ADAPTERS} adapters, with weights from -{MAX_WEIGHT} to {MAX_WEIGHT}",
                f"混ぜられるアダプターは {MAX_ADAPTERS} 個まで、重みは -{MAX_WEIGHT} から {MAX_WEIGHT} までです",
            )
        )
    return base, parts


def _bad(message: str) -> ApiError:
    return ApiError(400, message, param="model", code="invalid_model")
