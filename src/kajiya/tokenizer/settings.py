"""What a new tokenizer is to be like."""

from __future__ import annotations

from typing import Literal

from kajiya.core.config import Config, option

MILLION = 1_000_000


class TokenizerConfig(Config):
    """How a tokenizer is trained. Lengths are in characters."""

    algorithm: Literal["unigram", "byte-bpe"] = option(
        "unigram",
        en="Algorithm",
        ja="方式",
        help=(
            "unigram (SentencePiece) needs the fewest tokens for Japanese; byte-bpe can be exported to GGUF",
            "unigram (SentencePiece) は日本語のトークン数が最も少なく、byte-bpe は GGUF に書き出せます",
        ),
    )
    vocab_size: int = option(
        50_000,
        en="Vocabulary",
        ja="語彙の大きさ",
        help=("pieces at most, all bytes among them", "すべてのバイトを含む、最大の個数"),
        ge=300,
        le=1 << 20,
    )
    sample_characters: int = option(
        300 * MILLION,
        en="Sample",
        ja="学習に使う文字数",
        help=(
            "characters drawn at random from more text",
            "これより多い文書からは無作為に選びます",
        ),
        ge=1000,
    )
    longest: int = option(16, en="Longest piece", ja="トークンの最大文字数", ge=1, le=64)
    longest_japanese: int = option(
        8,
        en="Longest Japanese piece",
        ja="日本語トークンの最大文字数",
        help=(
            "longer ones are quotations, learnt by heart",
            "長いものは引用の丸暗記になりがちです",
        ),
        ge=1,
        le=64,
    )
    presplit: Literal["none", "sudachi"] = option(
        "none",
        en="Cut into words first",
        ja="単語への事前分割",
        help=(
            "no piece of a unigram tokenizer then crosses a word's end; only while training",
            "unigram のトークンが単語をまたがなくなります。学習時だけ使います",
        ),
    )
    seed: int = option(0, en="Seed", ja="乱数の種", ge=0)
