"""A Llama of two megabytes that says exactly what a test wants, really run by llama.cpp.

Its attention and feed-forward weights are zero and its embeddings one-hot, so it is a table from the
last token to the next: after the assistant's "\\n" it recites `STORY` for ever, after "!" it stops.
A LoRA on the output layer makes it begin elsewhere. The logits leave other tokens a chance, so
sampling at a high temperature really varies.
"""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
from gguf import GGUFWriter, TokenType
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from kajiya.inference.bundle import ServableModel

CONTEXT = 16384
WORDS = [" the", " quick", " brown", " fox", " jumps", " over", " lazy", " dog", " legal", " tone"]
# All bytes differ, so that each token has one successor; each character is three or four tokens.
KANJI = "鍛冶語🔥"
STORY = " the quick brown fox" + KANJI + " jumps over"
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
TEMPLATE = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
_HEADS, _WIDTH_OF_HEAD, _FEED = 5, 64, 32
WIDTH = _HEADS * _WIDTH_OF_HEAD
CERTAINTY = 9.0


def make_tokenizer(folder: Path) -> Tokenizer:
    """Byte-level BPE with each of `WORDS` as a token; saved as a model folder has it."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=WIDTH,
        special_tokens=SPECIAL,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(["".join(WORDS)] * 4, trainer)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>", "chat_template": TEMPLATE}
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    return tokenizer


def make_model(folder: Path, name: str = "tiny") -> ServableModel:
    """The base, alone."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = make_tokenizer(folder)
    path = folder / "tiny.gguf"
    _write_base(path, tokenizer)
    return ServableModel(name=name, weights=path, folder=folder, context_length=CONTEXT)


def make_adapter(model: ServableModel, path: Path, first_word: str = " legal") -> Path:
    """A LoRA that makes every answer of a chat begin with `first_word`."""
    tokenizer = Tokenizer.from_file(str(model.folder / "tokenizer.json"))
    a = np.zeros((1, WIDTH), np.float32)
    b = np.zeros((tokenizer.get_vocab_size(), 1), np.float32)
    a[0, token_id(tokenizer, "\n")] = 1
    b[token_id(tokenizer, first_word), 0] = 2 * CERTAINTY / np.sqrt(WIDTH)
    writer = GGUFWriter(str(path), "llama")
    writer.add_string("general.type", "adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", 1.0)
    writer.add_tensor("output.weight.lora_a", a)
    writer.add_tensor("output.weight.lora_b", b)
    _finish(writer)
    return path


def token_id(tokenizer: Tokenizer, text: str) -> int:
    """The one token that `text` is."""
    (token,) = tokenizer.encode(text).ids
    return int(token)


def successors(tokenizer: Tokenizer) -> dict[int, int]:
    """The token that follows each; after others, anything may come."""
    story = tokenizer.encode(STORY).ids
    assert len(set(story)) == len(story), "each token of the story must be unique"
    legal = token_id(tokenizer, " legal")
    return {
        **dict(pairwise(story)),
        story[-1]: story[0],
        token_id(tokenizer, "\n"): story[0],
        legal: legal,
        token_id(tokenizer, "!"): SPECIAL.index("<|im_end|>"),
        token_id(tokenizer, "?"): token_id(tokenizer, "!"),
    }


def _write_base(path: Path, tokenizer: Tokenizer) -> None:
    size = tokenizer.get_vocab_size()
    assert size <= WIDTH
    tokens = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    merges = json.loads(tokenizer.to_str())["model"]["merges"]
    writer = GGUFWriter(str(path), "llama")
    writer.add_name("tiny")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(1)
    writer.add_feed_forward_length(_FEED)
    writer.add_head_count(_HEADS)
    writer.add_head_count_kv(1)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(size)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    writer.add_token_list([token for token, _ in tokens])
    kinds = [TokenType.CONTROL if token in SPECIAL else TokenType.NORMAL for token, _ in tokens]
    writer.add_token_types(kinds)
    writer.add_token_merges([" ".join(merge) for merge in merges])
    writer.add_bos_token_id(SPECIAL.index("<|im_start|>"))
    writer.add_eos_token_id(SPECIAL.index("<|im_end|>"))
    writer.add_add_bos_token(False)
    output = np.zeros((size, WIDTH), np.float32)
    for token, following in successors(tokenizer).items():
        output[following, token] = CERTAINTY / np.sqrt(WIDTH)
    narrow = _WIDTH_OF_HEAD
    tensors = {
        "token_embd": np.eye(size, WIDTH, dtype=np.float32),
        "output": output,
        "output_norm": np.ones(WIDTH, np.float32),
        "blk.0.attn_norm": np.ones(WIDTH, np.float32),
        "blk.0.ffn_norm": np.ones(WIDTH, np.float32),
        "blk.0.attn_q": np.zeros((WIDTH, WIDTH), np.float32),
        "blk.0.attn_k": np.zeros((narrow, WIDTH), np.float32),
        "blk.0.attn_v": np.zeros((narrow, WIDTH), np.float32),
        "blk.0.attn_output": np.zeros((WIDTH, WIDTH), np.float32),
        "blk.0.ffn_gate": np.zeros((_FEED, WIDTH), np.float32),
        "blk.0.ffn_up": np.zeros((_FEED, WIDTH), np.float32),
        "blk.0.ffn_down": np.zeros((WIDTH, _FEED), np.float32),
    }
    for name, values in tensors.items():
        writer.add_tensor(f"{name}.weight", values)
    _finish(writer)


def _finish(writer: GGUFWriter) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
