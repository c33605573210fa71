"""RWKV-6 (Peng et al. 2024, arXiv:2404.05892): models of the generation before RWKV-7, to run and to tune."""

from kajiya.models.rwkv6.config import Rwkv6Config
from kajiya.models.rwkv6.model import Rwkv6ForCausalLM, Rwkv6Model

__all__ = ["Rwkv6Config", "Rwkv6ForCausalLM", "Rwkv6Model"]
