"""The sample of sentences: whole, random, repeatable, bounded."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kajiya.tokenizer.sample import sample_sentences, sentences

TEXT = st.text(st.sampled_from("あ。\nいx "), max_size=200)


@given(TEXT)
def test_sentences_are_the_text_in_parts(text: str) -> None:
    parts = list(sentences(text))
    assert "".join(parts) == text
    assert all("。" not in part[:-1] and "\n" not in part[:-1] and part for part in parts)


def test_a_line_without_an_end_is_cut() -> None:
    parts = list(sentences("あ" * 2500))
    assert [len(part) for part in parts] == [1000, 1000, 500]


@given(st.lists(TEXT, max_size=20), st.integers(1, 300), st.integers(0, 3))
def test_a_sample_fits_and_keeps_the_order(texts: list[str], size: int, seed: int) -> None:
    everything = [sentence for text in texts for sentence in sentences(text)]
    sample = sample_sentences(texts, size, seed)
    assert sample.seen == sum(map(len, texts))
    assert sample.characters == sum(map(len, sample.sentences)) <= size
    left = iter(everything)
    assert all(sentence in left for sentence in sample.sentences)
    assert sample == sample_sentences(iter(texts), size, seed)
    if sample.seen <= size:
        assert sample.sentences == everything


def test_a_sample_depends_on_the_sentences_not_on_how_they_are_grouped() -> None:
    several = [f"文{number}。" for number in range(500)]
    assert sample_sentences(several, 300) == sample_sentences(["".join(several)], 300)


def test_a_sample_is_spread_over_all_of_the_text() -> None:
    several = [f"文{number:04}。" for number in range(5000)]
    drawn = sample_sentences(several, 6000).sentences
    assert 900 < len(drawn) <= 1000
    numbers = [int(sentence[1:5]) for sentence in drawn]
    assert all(60 < sum(n // 500 == tenth for n in numbers) < 140 for tenth in range(10))
    assert sample_sentences(several, 6000, seed=1).sentences != drawn


def test_it_tells_how_far_it_is() -> None:
    told: list[int] = []
    sample_sentences(["あい。", "う"], 100, 0, told.append)
    assert told == [3, 4]


def test_half_characters_are_replaced() -> None:
    assert sample_sentences(["あ\ud800い", "\ud83d\udd25"], 100).sentences == ["あ\ufffdい", "🔥"]
