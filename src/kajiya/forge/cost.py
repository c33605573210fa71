"""What a training costs in yen on this machine, and on a rented one, with every assumption stated.

The rented machine is the one of published figures: a node of eight A100 for 140,000 yen a day, each
card as fast as in the training of Llama 1 7B (Touvron et al. 2023, arXiv:2302.13971: 82,432 GPU-hours
for 1 T tokens).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kajiya.core.config import Config, option
from kajiya.core.hardware import Hardware
from kajiya.core.workspace import Workspace

_FILE = "cost.yaml"
_WATTS, _WATTS_GPU = 100.0, 500.0  # a whole office computer at work; one with a large graphics card
_LLAMA_OPERATIONS = 6 * 6.7e9 * 1e12  # 6 a parameter and token
_LLAMA_HOURS = 82_432


class CostSettings(Config):
    """Assumptions about prices; a power of 0 watts means: guess from whether there is a GPU."""

    watts: float = option(
        0.0,
        en="Power while training, W",
        ja="学習中の消費電力 (W)",
        ge=0,
        le=100_000,
        help=(
            f"Of the whole machine. 0: {_WATTS:g} W, or {_WATTS_GPU:g} W with a GPU",
            f"機械全体。0 なら {_WATTS:g} W (GPU があれば {_WATTS_GPU:g} W) とみなす",
        ),
    )
    yen_per_kwh: float = option(
        31.0,
        en="Electricity, yen per kWh",
        ja="電気料金 (円/kWh)",
        ge=0,
        le=10_000,
        help=("Catalogues in Japan reckon with 31", "家電の目安単価は 31 円"),
    )
    cloud_yen_per_day: float = option(
        140_000.0,
        en="Rented node, yen a day",
        ja="クラウドの料金 (円/日)",
        ge=0,
        help=("Of a node with eight A100", "A100 を 8 枚積んだ 1 台の 1 日分"),
    )
    cloud_gpus: int = option(8, en="GPUs in the rented node", ja="クラウドの GPU 数", ge=1)

    @classmethod
    def of(cls, workspace: Workspace) -> CostSettings:
        """This workspace's, or the defaults."""
        path = _path(workspace)
        return cls.load(path) if path.is_file() else cls()

    def keep(self, workspace: Workspace) -> None:
        """Use these from now on."""
        self.save(_path(workspace))


def _path(workspace: Workspace) -> Path:
    return workspace.home / _FILE


@dataclass(frozen=True)
class Cost:
    """In yen. `cloud` is for the time the same work takes there, `cloud_hour` the least to be rented."""

    watts: float
    kwh: float
    yen: float
    cloud: float
    cloud_seconds: float
    cloud_hour: float


def cost(seconds: float, operations: float, hardware: Hardware, settings: CostSettings) -> Cost:
    """The cost of a training that takes `seconds` here and so many floating-point operations."""
    watts = settings.watts or (_WATTS_GPU if hardware.gpus else _WATTS)
    kwh = watts * seconds / 3.6e6
    speed = _LLAMA_OPERATIONS / (_LLAMA_HOURS * 3600)
    hour = settings.cloud_yen_per_day / 24 / settings.cloud_gpus
    elsewhere = operations / speed
    return Cost(
        watts=watts,
        kwh=kwh,
        yen=kwh * settings.yen_per_kwh,
        cloud=hour * elsewhere / 3600,
        cloud_seconds=elsewhere,
        cloud_hour=hour,
    )
