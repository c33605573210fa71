"""Training RWKV-7: its chunks against the plain recurrence, and a model against a Llama of equal size.

The kernel runs alone in fp32, forward and backward. The models have 8 layers of width 256, our
starter's vocabulary and bf16 weights; a step is the loss of all tokens and its gradients, without an
optimiser. Each model and context is a process of its own, so that its peak memory is its own.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any, cast

from common import Result, options, report

SIDE = "--side"  # internal: this process is one model at one context
SIZE = "8x256"
TOKENIZER = (
    Path(__file__).parents[1] / "starters/kajiya-starter-rwkv7/src/kajiya_starter_rwkv7/data"
)


def main() -> None:
    arguments = options(__doc__)
    quick = bool(arguments.quick)
    results = [kernel(quick)]
    for context in (2048,) if quick else (512, 2048, 8192):
        tokens = 2048 if quick else 8192
        ours = model_in_a_process("rwkv7", context, tokens)
        theirs = model_in_a_process("llama", context, tokens)
        peer = "Llama of transformers"
        results += [
            Result(
                f"training step, context {context}",
                "tokens/s",
                ours[0],
                theirs[0],
                peer,
                ours[0] / theirs[0],
                None,
            ),
            Result(
                f"peak memory of it, {tokens} tokens a step",
                "MB",
                ours[1],
                theirs[1],
                peer,
                theirs[1] / ours[1],
                None,
            ),
        ]
    report(results, arguments.json)


def kernel(quick: bool) -> Result:
    """Forward and backward of the WKV operation in fp32, 8 rows, 4 heads of 64."""
    import torch

    from kajiya.models.rwkv7.chunked import chunked
    from kajiya.models.rwkv7.recurrent import recurrence

    rows, length, heads, size = 8, 256 if quick else 512, 4, 64
    torch.manual_seed(0)
    shape = (rows, length, heads, size)
    r, k, v = (torch.randn(shape) for _ in range(3))
    w, a = -0.6 * torch.rand(shape), torch.rand(shape)
    kk = torch.nn.functional.normalize(torch.randn(shape), dim=-1)
    state = torch.zeros(rows, heads, size, size)
    given = [x.requires_grad_() for x in (r, w, k, v, kk, a)]

    def step(function: Any) -> None:
        y, _ = function(*given, state)
        torch.autograd.grad(y.sum(), given)

    tokens = rows * length
    ours = tokens / seconds(lambda: step(chunked), 5)
    theirs = tokens / seconds(lambda: step(recurrence), 2)
    name = f"WKV operation, {rows} rows of {length}, width {heads * size}"
    return Result(name, "tokens/s", ours, theirs, "plain recurrence", ours / theirs, 4.0)


def seconds(work: Callable[[], None], times: int) -> float:
    """The median of some runs after one that warms up."""
    work()
    found = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        found.append(time.perf_counter() - start)
    return median(found)


def model_in_a_process(arch: str, context: int, tokens: int) -> tuple[float, float]:
    """Tokens a second and peak memory in MB."""
    command = [sys.executable, __file__, SIDE, arch, str(context), str(tokens)]
    run = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    speed, memory = json.loads(run.stdout.splitlines()[-1])
    return speed, memory


def run_side(arch: str, context: int, tokens: int) -> None:
    """What the process of one model does; prints its figures as JSON."""
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    from kajiya.models.architectures import register
    from kajiya.models.creating import Architecture, create_model
    from kajiya.training.objectives.language_model import language_model_loss

    logging.disable_progress_bar()
    register()
    with tempfile.TemporaryDirectory() as folder:
        create_model(cast(Architecture, arch), SIZE, TOKENIZER, Path(folder))
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16)
    model.train()
    rows = max(1, tokens // context)
    torch.manual_seed(0)
    ids = torch.randint(0, 8000, (rows, context + 1))
    positions = torch.arange(context).expand(rows, context)

    def step() -> None:
        language_model_loss(model, ids[:, :-1], ids[:, 1:], positions, 0.0).backward()
        model.zero_grad()

    speed = rows * context / seconds(step, 3)
    print(json.dumps([speed, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]))


if __name__ == "__main__":
    if sys.argv[1:2] == [SIDE]:
        run_side(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
    else:
        main()
