"""Writing with RWKV-7: our engine against llama.cpp on the same weights in 8 bits, and the `rwkv` package.

Every sequence reads nine tokens and writes greedily, all at the same time. The clock runs from the first token
that anyone writes to the last, so that reading the first prompt does not count, and reading the others does.
Weights are random. Every side runs in a process of its own; llama.cpp through `xllamacpp`, with Q8_0 of the same
model. The `rwkv` package runs one sequence at a time, in bf16.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from common import Result, make_random_rwkv7, options, report
from kajiya.core.hardware import physical_cores

# Writes so many tokens after a prompt; returns when the first came, by `time.perf_counter`.
Write = Callable[[list[int], int], float]
SIDE = "--side"  # internal: this process is one side
PROMPT = [510, 33, 1022, 98, 47, 3000, 17, 205]
TARGETS = {1: 1.0, 8: 1.5, 32: 3.0}
FULL = {"sizes": ("0.1B", "0.4B"), "batches": (1, 8, 32), "tokens": 128}
QUICK = {"sizes": ("4M",), "batches": (1, 8), "tokens": 48}
LLAMA, PACKAGE = "llama.cpp, Q8_0", "rwkv package, bf16"


def main() -> None:
    arguments = options(__doc__)
    plan: dict[str, Any] = QUICK if arguments.quick else FULL
    results = []
    for size in plan["sizes"]:
        with tempfile.TemporaryDirectory() as folder:
            measure("make", size, Path(folder), [], 0)
            found = {
                side: measure(side, size, Path(folder), plan["batches"], plan["tokens"])
                for side in ("ours", "llama")
            }
            package = measure("rwkv", size, Path(folder), [1], plan["tokens"] // 4)
        for batch in plan["batches"]:
            ours, theirs = found["ours"][str(batch)], found["llama"][str(batch)]
            name = f"writing, RWKV-7 {size}, int8, {batch} sequence{'s' * (batch > 1)}"
            results.append(
                Result(name, "tokens/s", ours, theirs, LLAMA, ours / theirs, TARGETS[batch])
            )
            print(f"  {name}: {ours:.1f}, {LLAMA} {theirs:.1f}", file=sys.stderr, flush=True)
        ours, theirs = found["ours"]["1"], package["1"]
        name = f"writing, RWKV-7 {size}, int8, 1 sequence"
        results.append(Result(name, "tokens/s", ours, theirs, PACKAGE, ours / theirs, None))
    report(results, arguments.json)


def measure(
    side: str, size: str, folder: Path, batches: list[int], tokens: int
) -> dict[str, float]:
    """Tokens a second by batch size, from a process of its own; `make` writes the weights instead."""
    job = json.dumps([side, size, str(folder), batches, tokens])
    run = subprocess.run([sys.executable, __file__, SIDE, job], stdout=subprocess.PIPE, check=True)
    found: dict[str, float] = json.loads(run.stdout.splitlines()[-1])
    return found


def run_side(side: str, size: str, folder: Path, batches: list[int], tokens: int) -> None:
    """What the process of one side does; prints its figures as JSON last."""
    if side == "make":
        make(size, folder)
        print("{}")
        return
    open_engine = {"ours": ours, "llama": llama, "rwkv": package}[side]
    print(json.dumps({batch: speed(open_engine, folder, batch, tokens) for batch in batches}))


def speed(
    open_engine: Callable[[Path, int], Write], folder: Path, batch: int, tokens: int
) -> float:
    """Tokens a second of `batch` sequences together, the better of two runs after a short one."""
    write = open_engine(folder, batch)
    together(write, batch, 8)
    return max(together(write, batch, tokens) for _ in range(2))


def together(write: Write, batch: int, tokens: int) -> float:
    """Tokens a second of all sequences, each with a prompt of its own."""
    prompts = [[100 + number, *PROMPT] for number in range(batch)]
    with ThreadPoolExecutor(batch) as pool:
        first = min(pool.map(write, prompts, [tokens] * batch))
    return batch * tokens / (time.perf_counter() - first)


def make(size: str, folder: Path) -> None:
    """Random weights as a model folder, as GGUF in 8 bits, and as an official `.pth`."""
    from kajiya.models.formats.gguf_writer import write_model
    from kajiya.models.formats.rwkv.pth import write_pth

    make_random_rwkv7(folder, size)
    write_model(folder, folder / "model.gguf", "q8_0", size)
    write_pth(folder, folder / "model.pth")


def ours(folder: Path, batch: int) -> Write:
    from kajiya.inference.protocol import EngineSettings
    from kajiya.inference.rwkv.engine import RwkvEngine

    settings = EngineSettings(slots=batch, context_length=512)
    return through(RwkvEngine(folder, {}, settings))


def llama(folder: Path, batch: int) -> Write:
    from kajiya.inference.llamacpp import LlamaCpp
    from kajiya.inference.protocol import EngineSettings
    from kajiya.tokenizer.chat import ChatTokenizer

    settings = EngineSettings(slots=batch, context_length=512)
    tokenizer = ChatTokenizer.load(folder)
    return through(LlamaCpp(folder / "model.gguf", {}, settings, 512, tokenizer))


def through(engine: Any) -> Write:
    """Both engines are asked in the same way."""
    from kajiya.inference.protocol import GenerateChunk, GenerateRequest

    def write(prompt: list[int], tokens: int) -> float:
        written, first = 0, 0.0

        def take(chunk: GenerateChunk) -> bool:
            nonlocal written, first
            if chunk.text:
                first = first or time.perf_counter()
            written = chunk.usage.completion_tokens if chunk.usage else written
            return False

        request = GenerateRequest(
            model="m", tokens=(0,), temperature=0, max_tokens=tokens, reuse_prompt=False
        )
        engine.complete(prompt, request, take)
        if written != tokens:
            raise RuntimeError(f"{written} tokens instead of {tokens}")
        return first

    return write


def package(folder: Path, batch: int) -> Write:
    import os

    os.environ |= {"RWKV_V7_ON": "1", "RWKV_JIT_ON": "0", "RWKV_CUDA_ON": "0"}
    import torch
    from rwkv.model import RWKV

    torch.set_num_threads(physical_cores())
    model = RWKV(model=str(folder / "model"), strategy="cpu bf16")

    def write(prompt: list[int], tokens: int) -> float:
        logits, state = model.forward(prompt, None)
        first = time.perf_counter()
        for _ in range(tokens):
            logits, state = model.forward([int(logits.argmax())], state)
        return first

    return write


if __name__ == "__main__":
    if SIDE in sys.argv:
        job = json.loads(sys.argv[-1])
        run_side(job[0], job[1], Path(job[2]), job[3], job[4])
    else:
        main()
