"""A trained RWKV-7 reads 20,000 characters in llama.cpp as it does here."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from kajiya.models.formats.gguf_writer import write_model
from kajiya.models.rwkv7 import Rwkv7Config, Rwkv7ForCausalLM
from kajiya.tokenizer.chat import ChatTokenizer
from kajiya.tokenizer.train import train_tokenizer
from support.llama_logprobs import LlamaCppLogprobs

LEADS = Path(__file__).resolve().parents[4] / "shared" / "data" / "wikipedia-ja" / "leads.jsonl"
HELD_OUT = 20_000  # characters


def train(folder: Path, text: str) -> None:
    """A tokenizer of 2,048 tokens and a small model, a minute on two cores: enough for grammar."""
    train_tokenizer([text], 2048, folder)
    ids = torch.tensor(ChatTokenizer.load(folder).encode(text))
    torch.manual_seed(0)
    config = Rwkv7Config(vocab_size=2048, hidden_size=128, num_hidden_layers=3)
    model = Rwkv7ForCausalLM(config)
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3, betas=(0.9, 0.99))
    for _ in range(150):
        starts = torch.randint(len(ids) - 128, (8, 1))
        batch = ids[starts + torch.arange(128)]
        loss = model(input_ids=batch, labels=batch).loss
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    model.save_pretrained(folder)


@pytest.mark.real
@pytest.mark.skipif(not LEADS.is_file(), reason="the shared data is not beside the project")
def test_perplexity_is_the_same(tmp_path: Path) -> None:
    lines = LEADS.read_text(encoding="utf-8").splitlines()
    text = "\n".join(json.loads(line)["text"] for line in lines)
    train(tmp_path, text[HELD_OUT:500_000])
    write_model(tmp_path, tmp_path / "m.gguf", "f16")
    ids = ChatTokenizer.load(tmp_path).encode(text[:HELD_OUT])
    model = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0, :-1]
    ours = torch.log_softmax(logits, -1).gather(1, torch.tensor(ids[1:])[:, None])[:, 0].tolist()
    theirs = LlamaCppLogprobs(tmp_path / "m.gguf", context=len(ids) + 8).loglikelihood(ids)
    told = [(a, b) for a, b in zip(ours, theirs, strict=True) if b is not None]
    mean = sum(a for a, _ in told) / len(told), sum(b for _, b in told) / len(told)
    perplexity = [math.exp(-value) for value in mean]
    print(f"{len(ids)} tokens, {len(told)} of whole characters: perplexity {perplexity}")
    assert len(told) > 0.7 * len(ids)
    assert perplexity[0] < 400  # of 2,048: it has learnt something
    assert perplexity[1] == pytest.approx(perplexity[0], rel=1e-3)
