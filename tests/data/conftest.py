"""A folder to write files into, and a tokenizer small enough to train in a test."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE

from kajiya.tokenizer.chat import ChatTokenizer

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def faq() -> Path:
    """The example: 120 rows of a fictional company's questions and answers."""
    return REPOSITORY / "examples" / "company-faq" / "faq.csv"


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder whose tokenizer knows bytes only, with ChatML's turn tokens."""
    folder = tmp_path_factory.mktemp("bytes")
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(BPE(vocab={byte: i for i, byte in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<|im_start|>", "<|im_end|>"])
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<|im_end|>"}))
    return folder


@pytest.fixture(scope="session")
def byte_tokenizer(model_folder: Path) -> ChatTokenizer:
    return ChatTokenizer.load(model_folder)
