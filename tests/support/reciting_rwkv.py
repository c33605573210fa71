"""An RWKV-7 that says what `tiny_llama`'s model says, and a tuned state that makes it say " legal".

Its embeddings are one-hot and its matrices zero, so it is a table from the last token to the next. Only
one number of the state is ever read: the adapter sets it, nothing changes it, and it adds the embedding
of " legal" to whatever was read.
"""

from __future__ import annotations

import math
from pathlib import Path

import torch
from tokenizers import Tokenizer

from kajiya.inference.bundle import ServableModel
from kajiya.models.recurrent.tuned import TunedState, save_state, weights_sha256
from kajiya.models.rwkv7 import Rwkv7Config, Rwkv7ForCausalLM
from support.tiny_llama import CERTAINTY, CONTEXT, WIDTH, make_tokenizer, successors, token_id

_HEAD = 64
_READ = (
    0.141  # what the state holds; ten times less is hardly noticed beside the group norm's epsilon
)
_STRENGTH = 8.0


def make_reciting_rwkv(folder: Path, name: str = "tiny") -> ServableModel:
    """The base, alone."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = make_tokenizer(folder)
    _model(tokenizer).save_pretrained(folder)
    return ServableModel(
        name=name, weights=folder, folder=folder, context_length=CONTEXT, engine="rwkv"
    )


def make_reciting_state(model: ServableModel, folder: Path) -> Path:
    """The state with which every answer is " legal" for ever; `folder` is made."""
    folder.mkdir()
    values = torch.zeros(1, WIDTH // _HEAD, _HEAD, _HEAD)
    values[0, 0, 0, 0], values[0, 0, 1, 0] = _READ, -_READ
    save_state(TunedState(values, "rwkv7", model.name, weights_sha256(model.folder)), folder)
    return folder


@torch.no_grad()
def _model(tokenizer: Tokenizer) -> Rwkv7ForCausalLM:
    size = tokenizer.get_vocab_size()
    ranks = dict.fromkeys(("decay_rank", "rate_rank", "value_rank", "gate_rank"), 16)
    config = Rwkv7Config(
        vocab_size=size, hidden_size=WIDTH, num_hidden_layers=1, intermediate_size=_HEAD, **ranks
    )
    model = Rwkv7ForCausalLM(config)
    for parameter in model.parameters():
        parameter.zero_()
    block = model.model.blocks[0]
    for norm in (block.ln0, block.ln2, model.model.ln_out, block.att.ln_x):
        norm.weight.fill_(1)
    block.ln1.bias.fill_(1)  # the time mix sees ones whatever was read
    block.att.receptance.weight[0] = 1 / WIDTH
    block.att.w0.fill_(-20)  # nothing is forgotten
    block.att.g2.fill_(2 / 16)  # the gate lets everything through
    block.att.output.weight[token_id(tokenizer, " legal"), 0] = _STRENGTH
    model.model.emb.weight.copy_(torch.eye(size, WIDTH))
    for token, following in successors(tokenizer).items():
        model.head.weight[following, token] = CERTAINTY / math.sqrt(WIDTH)
    return model.to(torch.bfloat16)
