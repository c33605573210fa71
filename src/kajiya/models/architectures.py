"""Makes our own architectures known to the Auto classes of `transformers`."""

from __future__ import annotations


def register() -> None:
    """Let `AutoConfig`, `AutoModel` and `AutoModelForCausalLM` load our models; may be called again."""
    from transformers import AutoConfig, AutoModel, AutoModelForCausalLM

    from kajiya.models.rwkv6 import Rwkv6Config, Rwkv6ForCausalLM, Rwkv6Model
    from kajiya.models.rwkv7 import Rwkv7Config, Rwkv7ForCausalLM, Rwkv7Model

    AutoConfig.register(Rwkv6Config.model_type, Rwkv6Config, exist_ok=True)
    AutoModel.register(Rwkv6Config, Rwkv6Model, exist_ok=True)
    AutoModelForCausalLM.register(Rwkv6Config, Rwkv6ForCausalLM, exist_ok=True)
    AutoConfig.register(Rwkv7Config.model_type, Rwkv7Config, exist_ok=True)
    AutoModel.register(Rwkv7Config, Rwkv7Model, exist_ok=True)
    AutoModelForCausalLM.register(Rwkv7Config, Rwkv7ForCausalLM, exist_ok=True)
