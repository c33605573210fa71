"""Training and reading with a tokenizer: ours against SentencePiece and `tokenizers` alone, same text.

On works of Aozora Bunko where the archive is at hand (`shared/data` beside the repository), else on this
project's own pages in Japanese, over and over, which are too few to say much about training. The ids
that both sides give are compared as well.
"""

from __future__ import annotations

import itertools
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from common import Result, options, report

ROOT = Path(__file__).resolve().parents[1]
ARCHIVE = ROOT.parent / "shared/data/aozora/aozora-public-domain.tar.xz"


def main() -> None:
    arguments = options(__doc__)
    quick = bool(arguments.quick)
    vocabulary, learnt, read = (4000, 700_000, 700_000) if quick else (16_000, 4_000_000, 4_000_000)
    texts = list(documents(learnt + read))
    half = cut_at(texts, learnt)
    with tempfile.TemporaryDirectory() as folder:
        results = train(texts[:half], vocabulary, Path(folder))
        results += encode(texts[half:], Path(folder))
    report(results, arguments.json)


def documents(characters: int) -> Iterator[str]:
    """Texts of about so many characters."""
    if ARCHIVE.is_file():
        from kajiya.corpus.sources.aozora import AozoraSource, read_aozora

        source: Iterator[str] = (
            document.text for document in read_aozora(AozoraSource(path=str(ARCHIVE)))
        )
    else:
        pages = sorted((ROOT / "docs" / "ja").glob("*.md"))
        source = itertools.cycle(page.read_text(encoding="utf-8") for page in pages)
    while characters > 0:
        text = next(source)
        characters -= len(text)
        yield text


def cut_at(texts: Sequence[str], characters: int) -> int:
    """How many of the first texts have so many characters."""
    total = itertools.accumulate(map(len, texts))
    return next((i for i, size in enumerate(total, 1) if size >= characters), len(texts))


def train(texts: list[str], size: int, folder: Path) -> list[Result]:
    """A vocabulary of `size` pieces each, from the same texts; ours are left in `folder`."""
    import sentencepiece
    from tokenizers import Tokenizer, pre_tokenizers
    from tokenizers.models import BPE
    from tokenizers.trainers import BpeTrainer

    from kajiya.tokenizer.sample import sample_sentences, sentences
    from kajiya.tokenizer.settings import TokenizerConfig
    from kajiya.tokenizer.train import train_tokenizer
    from kajiya.tokenizer.unigram import train_unigram

    for name in ("unigram", "byte-bpe"):
        (folder / name).mkdir()
    characters = sum(map(len, texts))

    def unigram() -> None:
        config = TokenizerConfig(vocab_size=size)
        train_unigram(sample_sentences(texts, characters), folder / "unigram", config)

    def theirs() -> None:
        lines = (line.rstrip("\n") for text in texts for line in sentences(text))
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=(line for line in lines if line.strip()),
            model_prefix=str(folder / "sentencepiece"),
            vocab_size=size,
            byte_fallback=True,
            split_digits=True,
            normalization_rule_name="identity",
            max_sentencepiece_length=16,
            num_threads=os.cpu_count() or 1,
            minloglevel=2,
        )

    def byte_level() -> None:
        train_tokenizer(texts, size, folder / "byte-bpe")

    def tokenizers_alone() -> None:
        tokenizer = Tokenizer(BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Digits(individual_digits=True),
                pre_tokenizers.ByteLevel(add_prefix_space=False),
            ]
        )
        trainer = BpeTrainer(
            vocab_size=size,
            min_frequency=2,
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        )
        tokenizer.train_from_iterator(texts, trainer)

    what = f"training {size:,} pieces on {characters / 1e6:.1f} M characters"
    pairs = (
        (f"{what}, unigram", unigram, "SentencePiece", theirs),
        (f"{what}, byte-level BPE", byte_level, "tokenizers", tokenizers_alone),
    )
    results = []
    for name, ours, peer_name, peer in pairs:
        seconds, their_seconds = timed(ours)[0], timed(peer)[0]
        ratio = their_seconds / seconds
        results.append(Result(name, "s", seconds, their_seconds, peer_name, ratio, None))
    return results


def encode(texts: list[str], folder: Path) -> list[Result]:
    """M characters a second of both of our kinds, and of World."""
    import sentencepiece
    from tokenizers import Tokenizer

    from kajiya.tokenizer.chat import ChatTokenizer
    from kajiya.tokenizer.world import write_world_tokenizer

    (folder / "world").mkdir()
    write_world_tokenizer(folder / "world")
    characters = sum(map(len, texts)) / 1e6
    results = []
    for kind in ("unigram", "byte-bpe", "world"):
        alone = Tokenizer.from_file(str(folder / kind / "tokenizer.json"))
        peers: dict[str, Callable[[], list[list[int]]]] = {
            "tokenizers": lambda alone=alone: [  # type: ignore[misc]
                found.ids for found in alone.encode_batch_fast(texts, add_special_tokens=False)
            ]
        }
        if kind == "unigram":
            processor = sentencepiece.SentencePieceProcessor(
                model_file=str(folder / kind / "tokenizer.model")
            )
            peers["SentencePiece"] = lambda processor=processor: processor.encode(texts)  # type: ignore[misc]
        ours = ChatTokenizer.load(folder / kind)
        ours.encode_texts(texts[:1])
        seconds, ids = timed(lambda ours=ours: ours.encode_texts(texts))  # type: ignore[misc]
        for name, peer in peers.items():
            their_seconds, their_ids = timed(peer)
            different = sum(a != b for a, b in zip(ids, their_ids, strict=True))
            if different:
                print(
                    f"  {kind}: {different} of {len(texts)} texts differ from {name}",
                    file=sys.stderr,
                )
            results.append(
                Result(
                    f"reading {characters:.1f} M characters, {kind}",
                    "M characters/s",
                    characters / seconds,
                    characters / their_seconds,
                    name,
                    their_seconds / seconds,
                    None,
                )
            )
    return results


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """The seconds that `work` takes, and what it returns."""
    started = time.perf_counter()
    found = work()
    return time.perf_counter() - started, found


if __name__ == "__main__":
    main()
