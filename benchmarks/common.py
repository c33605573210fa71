"""What every benchmark shares: its options, its result rows, and how they are printed and written."""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from kajiya.core.workspace import Workspace


@dataclass(frozen=True)
class Result:
    """One measurement against a named peer. A `ratio` above 1 means that we are better."""

    name: str
    unit: str
    ours: float
    peer: float
    peer_name: str
    ratio: float
    target: float | None


def options(description: str | None, **numbers: str) -> argparse.Namespace:
    """`--quick` and `--json FILE`, and by name and help what else is a number, 0 if not given."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="under 45 s, same shape of work")
    parser.add_argument(
        "--json", metavar="FILE", help="write the results as JSON; - is standard output"
    )
    for name, text in numbers.items():
        parser.add_argument(f"--{name}", type=float, default=0.0, help=text)
    chosen = parser.parse_args()
    # Both sides run in the environment that our jobs run in; it is read when a process starts.
    environment = Workspace.current().environment()
    if any(os.environ.get(name) != value for name, value in environment.items()):
        os.execve(sys.executable, [sys.executable, *sys.argv], environment)
    return chosen


def report(results: list[Result], target: str | None) -> None:
    """Print a line a result, and write JSON where asked."""
    out = sys.stderr if target == "-" else sys.stdout
    for r in results:
        goal = "" if r.target is None else f"  (target {r.target:g})"
        print(
            f"{r.name}: {r.ours:.4g} {r.unit}, {r.peer_name} {r.peer:.4g} {r.unit}, ratio {r.ratio:.2f}{goal}",
            file=out,
        )
    text = json.dumps([asdict(r) for r in results], indent=2)
    if target == "-":
        print(text)
    elif target:
        Path(target).write_text(text + "\n", encoding="utf-8")


def make_random_rwkv7(folder: Path, size: str) -> None:
    """An RWKV-7 of a preset's size with random weights and the World tokenizer, as a model folder."""
    import torch

    from kajiya.models.rwkv7 import Rwkv7ForCausalLM
    from kajiya.models.rwkv7.config import preset
    from kajiya.tokenizer.world import VOCAB_SIZE, write_world_tokenizer

    torch.manual_seed(0)
    model = Rwkv7ForCausalLM(preset(size, VOCAB_SIZE))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.normal_(0, parameter.shape[1] ** -0.5)
    model.to(torch.bfloat16).save_pretrained(folder)
    write_world_tokenizer(folder)
