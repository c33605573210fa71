"""Small tokenizers of the two kinds that models have, as folders on disk."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tokenizers import AddedToken, Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer

from kajiya.tokenizer.chat import ChatTokenizer

TEXTS = (
    "本社の始業時刻は何時何分ですか。",
    "昼休みは12時20分に始まり、長さは55分間です。",
    "The quick brown fox, the lazy dog.\n\nuser model assistant system",
    "### 指示:\n質問\n\n### 応答:\n回答",
)
MakeFolder = Callable[..., Path]


def _byte_level(specials: list[str]) -> Tokenizer:
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = BpeTrainer(
        vocab_size=500, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    tokenizer.add_special_tokens(specials)
    return tokenizer


def _sentencepiece(specials: list[str]) -> Tokenizer:
    """Byte fallback, and the old Llama habit of a space before each stretch of text."""
    pieces = ["<unk>", *specials, *(f"<0x{byte:02X}>" for byte in range(256)), "▁"]
    pieces += sorted({character for text in TEXTS for character in text.replace(" ", "▁")} - {"▁"})
    merges = [("▁", "t"), ("h", "e"), ("▁t", "he"), ("時", "刻"), ("回", "答")]
    pieces += [left + right for left, right in merges]
    vocabulary = {piece: index for index, piece in enumerate(dict.fromkeys(pieces))}
    tokenizer = Tokenizer(
        BPE(vocab=vocabulary, merges=merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True)
    )
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(content=" ", left=1, right=0),
        ]
    )
    tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in specials])
    return tokenizer


KINDS = {"byte_level": _byte_level, "sentencepiece": _sentencepiece}
FAMILIES: dict[str, tuple[list[str], str, str]] = {
    "gemma": (["<pad>", "<eos>", "<bos>", "<start_of_turn>", "<end_of_turn>"], "<bos>", "<eos>"),
    "chatml": (["<|endoftext|>", "<|im_start|>", "<|im_end|>"], "<|endoftext|>", "<|im_end|>"),
    "plain": (["<s>", "</s>"], "<s>", "</s>"),
}


@pytest.fixture
def make_folder(tmp_path: Path) -> MakeFolder:
    """Write a model folder's tokenizer files: a kind of tokenizer with a family's special tokens."""

    def make(
        kind: str = "byte_level",
        family: str = "gemma",
        template: str | None = None,
        adds_bos: bool = False,
        **config: Any,
    ) -> Path:
        specials, bos, eos = FAMILIES[family]
        tokenizer = KINDS[kind](specials)
        if adds_bos:
            tokenizer.post_processor = processors.TemplateProcessing(
                single=f"{bos} $A", special_tokens=[(bos, tokenizer.token_to_id(bos))]
            )
        folder = tmp_path / f"{kind}-{family}"
        folder.mkdir(exist_ok=True)
        tokenizer.save(str(folder / "tokenizer.json"))
        written = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": bos,
            "eos_token": eos,
            **config,
        }
        (folder / "tokenizer_config.json").write_text(json.dumps(written))
        if template is not None:
            (folder / "chat_template.jinja").write_text(template)
        return folder

    return make


@pytest.fixture(params=[(kind, family) for kind in KINDS for family in FAMILIES], ids="-".join)
def chat_tokenizer(request: pytest.FixtureRequest, make_folder: MakeFolder) -> ChatTokenizer:
    """Every kind of tokenizer with every default template."""
    kind, family = request.param
    return ChatTokenizer.load(make_folder(kind, family))
