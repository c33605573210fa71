"""Peak memory of all of a corpus's stages as the input grows tenfold: it should not grow with it.

Each size is followed by a process of its own, with one worker: rules, personal data, duplicates, repeated
lines, a tokenizer of its own, shards and the report.
"""

from __future__ import annotations

import json
import random
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from common import Result, options, report
from kajiya.corpus.recipe import load_recipe
from kajiya.corpus.run.build import build
from kajiya.corpus.run.executors import Here
from kajiya.corpus.run.stage import Run
from kajiya.corpus.run.watch import Silent

_LETTERS = [chr(code) for code in (*range(0x3042, 0x3090), *range(0x5000, 0x5040))]
_RECIPE = """
sources: [{kind: table, path: texts.jsonl, language: ja, licence: CC0-1.0}]
rules: kajiya-ja
personal: {}
duplicates: {lines: {}}
tokenizer: {algorithm: byte-bpe, vocab_size: 2000, sample_characters: 300000}
shards: {size_mb: 4}
part_mb: 1
"""


def main() -> None:
    if sys.argv[1:2] == ["one"]:
        print(peak(Path(sys.argv[2])))
        return
    arguments = options(__doc__)
    few, many = (1, 10) if arguments.quick else (8, 80)
    small, large = (memory(megabytes) for megabytes in (few, many))
    name = f"corpus: peak memory of all stages, {many} MB of text against {few} MB"
    report(
        [Result(name, "MB", large, small, f"{few} MB", small / large, 0.9)],
        arguments.json,
    )


def memory(megabytes: int) -> float:
    """The peak memory in MB of a process that makes a corpus of so much text."""
    with tempfile.TemporaryDirectory() as name:
        write_texts(Path(name), megabytes)
        command = [sys.executable, __file__, "one", name]
        return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def peak(folder: Path) -> float:
    build(Run(folder / "run", load_recipe(folder / "recipe.yaml"), Here(), Silent()), "")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def write_texts(folder: Path, megabytes: int) -> None:
    """Documents of about 6 kB, all different, that the rules keep; and a recipe for them."""
    dice = random.Random(0)
    with (folder / "texts.jsonl").open("w", encoding="utf-8") as file:
        for _ in range(megabytes * 1_000_000 // 6_000):
            lines = ["".join(dice.choices(_LETTERS, k=35)) + "。" for _ in range(55)]
            file.write(json.dumps({"text": "\n".join(lines)}, ensure_ascii=False) + "\n")
    (folder / "recipe.yaml").write_text(_RECIPE, encoding="utf-8")


if __name__ == "__main__":
    main()
