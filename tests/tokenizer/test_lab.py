"""Tokenizers side by side, on sentences whose tokens can be counted by hand; and OpenAI's."""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kajiya.core import language
from kajiya.core.errors import ConfigError, FormatError, NotFoundError
from kajiya.tokenizer.lab import EXAMPLE, Measures, Text, measure, pieces
from kajiya.tokenizer.lab_page import render_page
from kajiya.tokenizer.sample import sample_sentences
from kajiya.tokenizer.settings import TokenizerConfig
from kajiya.tokenizer.train import train_tokenizer
from kajiya.tokenizer.unigram import train_unigram
from kajiya.tokenizer.vocabularies import Vocabulary, open_vocabulary
from support.japanese import japanese_texts

# Bytes; one token of a whole character, one of two characters, one of half a character.
TOKENS = [b"", *(bytes([byte]) for byte in range(256)), "日".encode(), "日本".encode(), b"\xe8\xaa"]


def by_hand(ids: list[int]) -> Vocabulary:
    return Vocabulary("hand", TOKENS, lambda texts: [ids for _ in texts], frozenset([0]))


def test_what_is_counted() -> None:
    # 日本 語(two tokens: E8 AA, 9E) 日 A, and something unknown
    found = measure(by_hand([258, 259, 1 + 0x9E, 257, 1 + 0x41, 0]), [Text("t", "日本語日A?")])
    assert (found.characters, found.bytes, found.tokens) == (6, 14, 6)
    assert (found.partial, found.unknown, found.uncovered, found.used) == (2, 1, 2, 6)
    assert found.characters_per_token == 1
    assert found.coverage == pytest.approx(4 / 6)
    assert found.fallback == pytest.approx(2 / 6)
    assert found.cost(300) == 300


def test_the_worst_texts_come_first() -> None:
    vocabulary = Vocabulary("v", TOKENS, lambda texts: [[1] * t.count("x") for t in texts])
    texts = [Text(str(n), "x" * n + "." * (60 - n)) for n in range(1, 41)]
    found = measure(vocabulary, [*texts, Text("short", "xxx")])
    assert [worst.title for worst in found.worst] == ["40", "39", "38", "37", "36"]
    assert found.worst[0].tokens == 40 and found.worst[0].characters == 60


def test_no_text() -> None:
    found = measure(by_hand([]), [])
    assert (found.characters_per_token, found.coverage, found.cost(5)) == (0, 1, 0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("lab")
    for name in ("unigram", "bpe"):
        (made / name).mkdir()
    sample = sample_sentences(japanese_texts(), 10**6)
    train_unigram(sample, made / "unigram", TokenizerConfig(vocab_size=2000))
    train_tokenizer(sample.sentences, 2500, made / "bpe")
    return made


@pytest.mark.parametrize(
    "source", ["unigram", "unigram/tokenizer.model", "unigram/tokenizer.json", "bpe", "world"]
)
def test_tokens_are_the_bytes_of_the_text(folder: Path, source: str) -> None:
    vocabulary = open_vocabulary(source if source == "world" else str(folder / source))
    for text in (*japanese_texts(), EXAMPLE, "<|endoftext|> 🔥\n"):
        found = pieces(vocabulary, text)
        assert b"".join(piece.bytes for piece in found).decode() == text


@settings(deadline=None)
@given(text=st.text(max_size=40))
def test_a_character_is_covered_or_in_parts(folder: Path, text: str) -> None:
    vocabulary = open_vocabulary(str(folder / "unigram" / "tokenizer.model"))
    found = measure(vocabulary, [Text("", text)])
    whole = sum(len(piece.text) for piece in pieces(vocabulary, text) if piece.text is not None)
    assert found.characters == len(text) == whole + found.uncovered


def test_both_files_of_a_unigram_are_measured_alike(folder: Path) -> None:
    texts = [Text(str(n), text) for n, text in enumerate(japanese_texts())]
    files = ("tokenizer.json", "tokenizer.model")
    one, two = (measure(open_vocabulary(str(folder / "unigram" / f), "x"), texts) for f in files)
    assert one == two


def openai_vocabularies() -> Path:
    try:
        folder = Path(
            str(distribution("litellm").locate_file("litellm/litellm_core_utils/tokenizers"))
        )
    except PackageNotFoundError:
        pytest.skip("OpenAI's vocabularies are not here: pip install --no-deps litellm==1.109.1")
    pytest.importorskip("tiktoken", reason="tiktoken is not installed")
    return folder


# GPT-3's merges are p50k_base's (r50k_base, and runs of spaces, of which there are none here).
@pytest.mark.parametrize(
    ("name", "tokens"), [("p50k_base", 66), ("cl100k_base", 49), ("o200k_base", 34)]
)
def test_the_51_characters(name: str, tokens: int) -> None:
    openai_vocabularies()
    vocabulary = open_vocabulary(f"tiktoken:{name}")
    assert len(EXAMPLE) == 51
    found = pieces(vocabulary, EXAMPLE)
    assert len(found) == tokens
    assert b"".join(piece.bytes for piece in found).decode() == EXAMPLE


def test_the_51_characters_in_the_world_vocabulary() -> None:
    assert len(pieces(open_vocabulary("world"), EXAMPLE)) == 38


def test_a_vocabulary_of_openai_that_is_not_here(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("tiktoken", reason="tiktoken is not installed")
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    with pytest.raises(NotFoundError, match="TIKTOKEN_CACHE_DIR"):
        open_vocabulary("tiktoken:r50k_base")
    with pytest.raises(ConfigError, match="o200k_base"):
        open_vocabulary("tiktoken:gpt-9")


def test_a_damaged_vocabulary_of_openai_is_not_fetched_anew(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    load = pytest.importorskip("tiktoken.load", reason="tiktoken is not installed")
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    damaged = tmp_path / "0ea1e91bbb3a60f729a8dc8f777fd2fc07cd8df4"
    damaged.write_bytes(b"AA== 0\n")

    def fetch(path: str) -> bytes:
        raise AssertionError(f"fetched {path}")

    monkeypatch.setattr(load, "read_file", fetch)
    with pytest.raises(FormatError, match="0ea1e91"):
        open_vocabulary("tiktoken:r50k_base")
    assert damaged.exists()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("tokenizer.json", b"{"),
        ("tokenizer.json", b'{"model": {"type": "BPE"}}'),
        ("x.model", b"\xff\xff\xff"),
        ("x.model", b""),
    ],
)
def test_broken_files_are_refused_by_name(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(FormatError, match=re.escape(str(tmp_path / name))):
        open_vocabulary(str(tmp_path / name))
    with pytest.raises(FormatError):
        open_vocabulary(str(tmp_path))


def test_what_is_not_there(tmp_path: Path) -> None:
    for source in (tmp_path, tmp_path / "tokenizer.json"):
        with pytest.raises(NotFoundError):
            open_vocabulary(str(source))


@pytest.mark.parametrize(
    ("tongue", "title"), [("en", "Tokenizers compared"), ("ja", "トークナイザの比較")]
)
def test_the_page(folder: Path, tongue: language.Language, title: str) -> None:
    vocabulary = open_vocabulary("world", "<b>world</b>")
    texts = [Text("<script>alert(1)</script>", text) for text in japanese_texts()]
    found: list[Measures] = [measure(vocabulary, texts)]
    sentence = "<img src=x> 鍛冶𠮟\n"
    cut = {"<b>world</b>": pieces(vocabulary, sentence)}
    with language.use(tongue):
        page = render_page(found, sentence, cut, {"<b>world</b>": 100.0})
    assert title in page and f'lang="{tongue}"' in page
    assert "<script" not in page and "<img" not in page and "<b>world" not in page
    assert "http://" not in page and "https://" not in page
    parts = [p.bytes.hex() for several in cut.values() for p in several if p.text is None]
    assert parts and all(f">{part}<" in page for part in parts)
    assert "⏎" in page
    assert f"{found[0].characters_per_token:.3f}" in page


def test_the_page_of_a_sentence_alone() -> None:
    page = render_page([], EXAMPLE, {"world": pieces(open_vocabulary("world"), EXAMPLE)}, {})
    assert "38 tokens" in page and "51 characters" in page
