"""Rules for Japanese web pages: our `swallow-v1` against HojiChar's and datatrove's filters, and a literal reference.

All get the same documents, pages cut from Aozora Bunko's works and Wikipedia's leads, in one process; MB/s of
UTF-8 are by the processor time of all threads. Ours and the reference measure every statistic of every document.
HojiChar's filters are those for the same traits, its n-gram filter once for each length; datatrove's is its
repetition filter with characters for words (its own tokenizer for Japanese needs spaCy and is slower). Both stop
at the first thing that fails. The reference is the one that the tests compare with; how many of the
decisions are the same is measured here too. Needs HojiChar and datatrove (`dev` extra).
"""

from __future__ import annotations

import importlib
import json
import logging
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path

from common import Result, options, report
from kajiya.corpus.document import Document, to_frame
from kajiya.corpus.rules.preset import load_preset
from kajiya.corpus.sources.aozora import AozoraSource, read_aozora

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared/data"
sys.path.insert(0, str(ROOT / "tests"))


def main() -> None:
    arguments = options(__doc__)
    texts = pages(1.5 if arguments.quick else 8)
    frame = to_frame(Document(str(i), text, "") for i, text in enumerate(texts))
    print(f"  {len(texts)} pages, {megabytes(texts):.1f} MB", file=sys.stderr)
    preset = load_preset("swallow-v1")
    preset.apply(frame[:10])  # compiles
    ours = max(megabytes(texts) / seconds(lambda: preset.apply(frame)) for _ in range(3))
    kept = preset.apply(frame)["reason"].is_null().to_list()

    reference = importlib.import_module("support.swallow_rules")
    every = max(1, len(texts) // (100 if arguments.quick else 1000))
    decisions: list[bool] = []

    def literally(text: str) -> None:
        decisions.append(reference.is_kept(reference.statistics(reference.clean(text))))

    speeds = [
        ("HojiChar", speed(hojichar(), texts), 10.0),
        ("datatrove", speed(datatrove(), texts), 10.0),
        ("the literal reference", speed(literally, texts[::every]), None),
    ]
    results = [
        Result("rules of swallow-v1", "MB/s a core", ours, theirs, name, ours / theirs, target)
        for name, theirs, target in speeds
    ]
    same = sum(one == other for one, other in zip(decisions, kept[::every], strict=True))
    agreed = 100 * same / len(decisions)
    what = f"same decision as the literal reference, {len(decisions)} pages, {sum(decisions)} kept"
    results.append(Result(what, "%", agreed, 99.9, "wanted", agreed / 99.9, 1.0))
    report(results, arguments.json)


def pages(size: float) -> list[str]:
    """About `size` megabytes: pieces of 500 to 6,000 characters of works, and leads with a few lines around them."""
    rng = random.Random(0)
    found: list[str] = []
    with (SHARED / "wikipedia-ja/leads.jsonl").open(encoding="utf-8") as file:
        leads = [json.loads(line)["text"] for line in file]
    rng.shuffle(leads)
    for work in read_aozora(AozoraSource(path=str(SHARED / "aozora/aozora-public-domain.tar.xz"))):
        begin = 0
        for _ in range(10):  # of a work
            length = rng.randrange(500, 6000)
            found.append(work.text[begin : begin + length])
            begin += length
            if begin >= len(work.text):
                break
        if leads:
            found.append(f"{leads.pop()}\n\nホーム | 利用規約 | お問い合わせ\n")
        if megabytes(found) > size:
            break
    rng.shuffle(found)
    return found


def seconds(work: Callable[[], object]) -> float:
    """Of the processor, all threads together."""
    start = time.process_time()
    work()
    return time.process_time() - start


def speed(run: Callable[[str], object], texts: list[str]) -> float:
    """Megabytes a second, one text after the other."""
    return megabytes(texts) / seconds(lambda: [run(text) for text in texts])


def megabytes(texts: list[str]) -> float:
    return sum(len(text.encode()) for text in texts) / 1e6


def hojichar() -> Callable[[str], object]:
    """HojiChar's filters for what `swallow-v1` looks at."""
    logging.disable(logging.WARNING)
    compose = importlib.import_module("hojichar").Compose
    filters = importlib.import_module("hojichar.filters.document_filters")
    tokenization = importlib.import_module("hojichar.filters.tokenization")
    chain = [
        filters.DocumentLengthFilter(min_doc_len=400),
        filters.AcceptJapanese(),
        filters.DiscardRareKuten(max_average_sentence_length=90),
        filters.DiscardTooManyEndingEllipsis(threshold=0.2),
        *(filters.CharRepetitionRatioFilter(ngram_size=size) for size in range(2, 11)),
        filters.DiscardAdultContentJa(),
        filters.DiscardDiscriminationContentJa(),
        filters.DiscardViolenceContentJa(),
        tokenization.SentenceTokenizer(),
        filters.HeaderFooterTagsRemover(),
        tokenization.MergeTokens(),
    ]
    filtered: Callable[[str], object] = compose(chain)
    return filtered


def datatrove() -> Callable[[str], object]:
    """datatrove's repetition filter over characters."""
    gopher = importlib.import_module("datatrove.pipeline.filters.gopher_repetition_filter")
    document = importlib.import_module("datatrove.data").Document
    gopher.split_into_words = lambda text, language: list(text)  # type: ignore[attr-defined]
    rules = gopher.GopherRepetitionFilter(language="jpn")
    return lambda text: rules.filter(document(text=text, id=""))


if __name__ == "__main__":
    main()
