"""Near-duplicates: speed, recall and false merges against datatrove, datasketch and rensa, and our memory.

All get the same documents (pieces of Aozora Bunko's works, each with an edited copy whose true Jaccard
similarity is known), the same runs of 5 characters and the same 25 bands of 8 hashes, in one process and
thread. What they remove is compared: at a similarity of 0.8 one of a pair must go, below 0.5 neither.
"""

from __future__ import annotations

import importlib
import logging
import math
import random
import resource
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl

from common import Result, options, report
from kajiya.corpus.document import Document, to_frame
from kajiya.corpus.duplicates.find import near_duplicates
from kajiya.corpus.duplicates.settings import NearSettings
from kajiya.corpus.sources.aozora import AozoraSource, read_aozora

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
ARCHIVE = Path(__file__).parents[2] / "shared/data/aozora/aozora-public-domain.tar.xz"
BANDS, ROWS, WIDTH = 25, 8, 5
NEAR, FAR = 0.8, 0.5


def main() -> None:
    if sys.argv[1:2] == ["peak"]:
        print(peak(int(sys.argv[2])))
        return
    arguments = options(__doc__)
    support = importlib.import_module("support.edited_texts")
    texts = documents(300 if arguments.quick else 3000, support)
    truth = [support.jaccard(*texts[i : i + 2]) for i in range(0, len(texts), 2)]
    size = sum(len(text.encode()) for text in texts) / 1e6
    near = [i for i, similarity in enumerate(truth) if similarity >= NEAR]
    far = [i for i, similarity in enumerate(truth) if similarity < FAR]
    print(
        f"  {len(texts)} documents, {size:.1f} MB; {len(near)} pairs from {NEAR}, {len(far)} below {FAR}",
        file=sys.stderr,
    )

    def measure(find: Callable[[list[str]], set[int]]) -> tuple[float, float, float]:
        started = time.perf_counter()
        removed = find(texts)
        seconds = time.perf_counter() - started
        pairs = {number // 2 for number in removed}
        recall = sum(pair in pairs for pair in near) / len(near)
        return size / seconds, 100 * recall, 100 * sum(pair in pairs for pair in far) / len(far)

    kajiya(texts[:20])  # compiled and the tables made
    speed, recall, false = measure(kajiya)
    results = []
    for name, find in (("datatrove", datatrove), ("datasketch", datasketch), ("rensa", rensa)):
        theirs = measure(find)
        results += [
            Result("near-duplicates", "MB/s", speed, theirs[0], name, speed / theirs[0], None),
            Result(
                f"near-duplicates: recall at Jaccard ≥ {NEAR}",
                "%",
                recall,
                theirs[1],
                name,
                recall / theirs[1],
                0.95 if name == "datatrove" else None,
            ),
            Result(
                f"near-duplicates: pairs below {FAR} merged",
                "%",
                false,
                theirs[2],
                name,
                math.inf if not false and theirs[2] else 1.0,
                None,
            ),
        ]
    few, many = (2000, 20_000) if arguments.quick else (10_000, 100_000)
    small, large = (memory(count) for count in (few, many))
    name = f"near-duplicates: peak memory at {many} documents against {few}"
    results.append(Result(name, "MB", large, small, "itself", small / large, None))
    report(results, arguments.json)


def documents(pairs: int, support: object) -> list[str]:
    """Pieces of works, no two of the same work, each followed by its edited copy."""
    generator = random.Random(0)
    edited: Callable[[str, int, random.Random], str] = support.edited  # type: ignore[attr-defined]
    texts: list[str] = []
    groups: set[str] = set()
    for work in read_aozora(AozoraSource(path=str(ARCHIVE))):
        if work.group in groups or len(work.text) < 1000:
            continue
        groups.add(work.group)
        start = generator.randrange(len(work.text) // 2)
        text = work.text[start : start + round(10 ** generator.uniform(2.3, 3.7))]
        edits = round(len(text) * generator.uniform(0, 0.15))
        texts += [text, edited(text, edits, generator)]
        if len(texts) == 2 * pairs:
            break
    return texts


def kajiya(texts: list[str]) -> set[int]:
    """What our default settings remove."""
    frame = to_frame(Document(id=str(i), text=text, group="") for i, text in enumerate(texts))
    with tempfile.TemporaryDirectory() as folder:
        found = near_duplicates([frame], NearSettings(bands=BANDS, rows=ROWS), Path(folder))
        dropped = found.table().filter(~pl.col("keep")).collect()
    return {int(name) for name in dropped["id"]}


def datatrove(texts: list[str]) -> set[int]:
    """What datatrove's three steps remove, with characters as its words and no normalisation."""
    from datatrove.data import Document as Page
    from datatrove.pipeline.dedup import (
        MinhashConfig,
        MinhashDedupBuckets,
        MinhashDedupCluster,
        MinhashDedupSignature,
    )
    from datatrove.utils.text import TextNormConfig
    from datatrove.utils.word_tokenizers import WordTokenizer
    from loguru import logger
    from xxhash import xxh64_intdigest

    logger.remove()

    class Characters(WordTokenizer):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()

        def word_tokenize(self, text: str) -> list[str]:
            return list(text)

        def sent_tokenize(self, text: str) -> list[str]:
            return [text]

        def span_tokenize(self, text: str) -> list[tuple[int, int]]:
            return [(0, len(text))]

    as_it_is = TextNormConfig(
        lowercase=False,
        norm_whitespace=False,
        remove_punctuation=False,
        norm_unicode_diacritics=False,
        norm_numbers=False,
    )
    config = MinhashConfig(
        n_grams=WIDTH, num_buckets=BANDS, hashes_per_bucket=ROWS, norm_config=as_it_is
    )
    with tempfile.TemporaryDirectory() as folder:
        names = [f"{folder}/{name}" for name in ("signatures", "buckets", "removed")]
        pages = (Page(text=text, id=str(i)) for i, text in enumerate(texts))
        step = MinhashDedupSignature(names[0], config, language=Characters())
        # Its own hash (of the same kind) gives xxhash a string, which version 4 refuses.
        step._hash_func = lambda shingle: xxh64_intdigest(shingle.encode())
        step.run(pages)
        for bucket in range(BANDS):
            MinhashDedupBuckets(names[0], names[1], config=config).run(None, bucket, BANDS)
        MinhashDedupCluster(names[1], names[2], config).run()
        removed = Path(names[2], "000000.remove").read_bytes()
    return {number for (number,) in struct.iter_unpack("<I", removed)}


def datasketch(texts: list[str]) -> set[int]:
    """What resembles an earlier text by datasketch's index."""
    from datasketch import MinHash, MinHashLSH

    index = MinHashLSH(num_perm=BANDS * ROWS, params=(BANDS, ROWS))
    removed = set()
    for number, text in enumerate(texts):
        sketch = MinHash(num_perm=BANDS * ROWS)
        sketch.update_batch([shingle.encode() for shingle in shingles(text)])
        if index.query(sketch):
            removed.add(number)
        else:
            index.insert(number, sketch)
    return removed


def rensa(texts: list[str]) -> set[int]:
    """What resembles an earlier text by rensa's index."""
    from rensa import RMinHash, RMinHashLSH

    index = RMinHashLSH(threshold=NEAR, num_perm=BANDS * ROWS, num_bands=BANDS)
    removed = set()
    for number, text in enumerate(texts):
        sketch = RMinHash(num_perm=BANDS * ROWS, seed=42)
        sketch.update(shingles(text))
        if index.query(sketch):
            removed.add(number)
        else:
            index.insert(number, sketch)
    return removed


def shingles(text: str) -> list[str]:
    return [text[i : i + WIDTH] for i in range(max(1, len(text) - WIDTH + 1))]


def memory(count: int) -> float:
    """The peak memory in MB of a process that goes through so many documents."""
    command = [sys.executable, __file__, "peak", str(count)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def peak(count: int) -> float:
    def batches() -> Iterator[pl.DataFrame]:
        generator = random.Random(0)
        letters = [chr(code) for code in range(0x4E00, 0x5A00)]
        for start in range(0, count, 1000):
            texts = ["".join(generator.choices(letters, k=1000)) for _ in range(900)]
            texts += texts[:100]
            yield to_frame(
                Document(id=str(start + i), text=text, group="") for i, text in enumerate(texts)
            )

    with tempfile.TemporaryDirectory() as folder:
        near_duplicates(batches(), NearSettings(), Path(folder))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    logging.disable(logging.INFO)
    main()
