"""RWKV-7 (Peng et al. 2025, arXiv:2503.14456): a recurrent language model of constant memory."""

from kajiya.models.rwkv7.config import PRESETS, Preset, Rwkv7Config, preset
from kajiya.models.rwkv7.model import Rwkv7ForCausalLM, Rwkv7Model
from kajiya.models.rwkv7.state import Rwkv7State, add_time_state

__all__ = [
    "PRESETS",
    "Preset",
    "Rwkv7Config",
    "Rwkv7ForCausalLM",
    "Rwkv7Model",
    "Rwkv7State",
    "add_time_state",
    "preset",
]
