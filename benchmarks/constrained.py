"""Answers that must follow a JSON schema, over fifty schemas: all valid? And what does it cost a token?

By our RWKV engine with the starter `rwkv7-aozora`, which has never seen JSON, at temperature 1, many at a
time. The same engine writing freely as many tokens is the peer.
"""

from __future__ import annotations

import importlib
import json
import random
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from common import Result, options, report
from kajiya.core.workspace import Workspace

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
SLOTS = 16
PROMPT = "会社と商品について、次の形で答えよ。"


def main() -> None:
    arguments = options(__doc__)
    import jsonschema

    from kajiya.inference.protocol import Constraint, EngineSettings, GenerateChunk, GenerateRequest
    from kajiya.inference.rwkv.engine import RwkvEngine
    from kajiya.models.resolve import resolve
    from kajiya.tokenizer.chat import ChatTokenizer

    folder = resolve("starter:rwkv7-aozora", Workspace.current()).folder
    engine = RwkvEngine(folder, {}, EngineSettings(slots=SLOTS, context_length=1024))
    prompt = ChatTokenizer.load(folder).encode(PROMPT)
    wanted = importlib.import_module("support.schemas").schemas()

    def write(job: tuple[int, dict[str, Any] | None, int]) -> tuple[str, int, str | None]:
        seed, schema, most = job
        pieces: list[GenerateChunk] = []

        def take(chunk: GenerateChunk) -> bool:
            pieces.append(chunk)
            return False

        form = None if schema is None else Constraint(kind="json_schema", value=json.dumps(schema))
        request = GenerateRequest(
            model="m", tokens=(0,), seed=seed, max_tokens=most, constraint=form
        )
        engine.complete(prompt, request, take)
        last = pieces[-1].usage
        text = "".join(piece.text for piece in pieces)
        return text, last.completion_tokens if last else 0, pieces[-1].finish_reason

    def run(jobs: list[tuple[int, dict[str, Any] | None, int]]) -> tuple[list[Any], float]:
        started = time.perf_counter()
        with ThreadPoolExecutor(SLOTS) as pool:
            return list(pool.map(write, jobs)), time.perf_counter() - started

    count = 300 if arguments.quick else 10_000
    jobs: list[tuple[int, dict[str, Any] | None, int]] = [
        (seed, wanted[seed % len(wanted)], 300) for seed in range(count)
    ]
    random.Random(0).shuffle(jobs)
    run(jobs[:SLOTS])
    answers, seconds = run(jobs)
    valid, cut = 0, 0
    for (text, _, reason), (_, schema, _) in zip(answers, jobs, strict=True):
        cut += reason == "length"
        try:
            jsonschema.validate(json.loads(text), schema or {})
            valid += 1
        except (ValueError, jsonschema.ValidationError):
            print(f"  not valid ({reason}): {text[:100]!r}", file=sys.stderr)
    tokens = sum(written for _, written, _ in answers)
    few: list[tuple[int, dict[str, Any] | None, int]] = [
        (seed + count, None, max(written, 1)) for seed, (_, written, _) in enumerate(answers)
    ]
    free, free_seconds = run(few[: max(len(few) // 4, 100)])
    free_tokens = sum(written for _, written, _ in free)
    engine.close()
    each, free_each = 1e6 * seconds / tokens, 1e6 * free_seconds / free_tokens
    name = f"{count} documents of {len(wanted)} JSON schemas"
    print(f"  {cut} of them cut off at 300 tokens; {tokens} tokens", file=sys.stderr)
    report(
        [
            Result(f"{name}: valid", "%", 100 * valid / count, 100.0, "all", valid / count, 1.0),
            Result(
                f"{name}: time a token, {SLOTS} at a time",
                "µs",
                each,
                free_each,
                "the same engine, free",
                free_each / each,
                None,
            ),
        ],
        arguments.json,
    )


if __name__ == "__main__":
    main()
