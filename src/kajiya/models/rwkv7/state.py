"""The state of RWKV-7; see `kajiya.models.recurrent.state`."""

from kajiya.models.recurrent.state import LayerState, add_time_state, mix
from kajiya.models.recurrent.state import RecurrentState as Rwkv7State

__all__ = ["LayerState", "Rwkv7State", "add_time_state", "mix"]
