"""`tiny_llama`'s model and adapter as other programs read them: safetensors, and a LoRA in PEFT's layout.

The LoRA is on the feed-forward layers, which are zero in the base: after "\\n" they add the embedding of
" legal" to what was read.
"""

from __future__ import annotations

import math
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from tokenizers import Tokenizer
from transformers import LlamaConfig, LlamaForCausalLM

from kajiya.inference.bundle import ServableModel
from support.tiny_llama import CERTAINTY, CONTEXT, WIDTH, make_tokenizer, successors, token_id

_FEED = 32


def make_reciting_llama(folder: Path, name: str = "tiny") -> ServableModel:
    """The base, alone, for vLLM."""
    tokenizer = make_tokenizer(folder)
    _model(tokenizer).save_pretrained(folder)
    return ServableModel(
        name=name, weights=folder, folder=folder, context_length=CONTEXT, engine="vllm"
    )


@torch.no_grad()
def make_reciting_lora(model: ServableModel, folder: Path) -> Path:
    """The LoRA with which every answer of a chat is " legal" for ever; `folder` is made."""
    tokenizer = Tokenizer.from_file(str(model.folder / "tokenizer.json"))
    layers = ["gate_proj", "up_proj", "down_proj"]
    tuned = get_peft_model(
        LlamaForCausalLM.from_pretrained(model.folder, dtype=torch.float32),
        LoraConfig(r=8, lora_alpha=8, target_modules=layers),
    )
    feed = tuned.base_model.model.model.layers[0].mlp
    for layer in (feed.gate_proj, feed.up_proj, feed.down_proj):
        layer.lora_A["default"].weight.zero_()
        layer.lora_B["default"].weight.zero_()
    # The norm makes what was read as large as the square root of the width.
    for layer, size in ((feed.gate_proj, 4.0), (feed.up_proj, 1.0)):
        layer.lora_A["default"].weight[0, token_id(tokenizer, "\n")] = size / math.sqrt(WIDTH)
        layer.lora_B["default"].weight[0, 0] = 1
    feed.down_proj.lora_A["default"].weight[0, 0] = 1
    feed.down_proj.lora_B["default"].weight[token_id(tokenizer, " legal"), 0] = 1
    tuned.save_pretrained(folder)
    return folder


@torch.no_grad()
def _model(tokenizer: Tokenizer) -> LlamaForCausalLM:
    size = tokenizer.get_vocab_size()
    config = LlamaConfig(
        vocab_size=size,
        hidden_size=WIDTH,
        intermediate_size=_FEED,
        num_hidden_layers=1,
        num_attention_heads=WIDTH // 64,
        num_key_value_heads=1,
        max_position_embeddings=CONTEXT,
        bos_token_id=1,
        eos_token_id=2,
        tie_word_embeddings=False,
    )
    model = LlamaForCausalLM(config)
    for name, parameter in model.named_parameters():
        parameter.fill_(1.0 if name.endswith("norm.weight") else 0.0)
    model.model.embed_tokens.weight.copy_(torch.eye(size, WIDTH))
    for token, following in successors(tokenizer).items():
        model.lm_head.weight[following, token] = CERTAINTY / math.sqrt(WIDTH)
    return model.to(torch.bfloat16)
