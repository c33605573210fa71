"""Tunes a model on the persona example at several learning rates and prints what became of each.

    python scripts/sweep_state_rate.py MODEL --rates 1 0.3 0.1 0.03 0.01
    python scripts/sweep_state_rate.py MODEL --method lora --rates 1e-3 3e-4 --rank 4

One line a run: trained parameters, the adapter's size, time, losses, and the share of answers to the
held-out questions that carry a speech marker, greedy and sampled. The adapter is measured as it is read
back from its files.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from kajiya.core.errors import JobError, KajiyaError
from kajiya.core.workspace import Workspace
from kajiya.data.check import check_file
from kajiya.evaluation.markers import marker_share, read_markers
from kajiya.evaluation.recurrent import answer_questions
from kajiya.models.resolve import resolve_folder
from kajiya.tokenizer.chat import ChatTokenizer
from kajiya.training.adapters.kinds import load_adapter
from kajiya.training.config import TuneConfig
from kajiya.training.tune import load_base, tune

PERSONA = Path(__file__).resolve().parent.parent / "examples" / "persona"
HEADINGS = (
    *("method", "rate", "trained", "size", "seconds", "loss", "held-out loss"),
    *("markers, greedy", "sampled"),
)


class Quiet:
    """A reporter that shows on one line of the terminal how far a run is."""

    def progress(self, stage: str, done: float, total: float = 0, **_: Any) -> None:
        if sys.stderr.isatty():
            print(f"\r{stage} {done:.0f}/{total:.0f}  ", end="", file=sys.stderr, flush=True)

    def metric(self, step: int, **_: float) -> None: ...

    def log(self, message: str) -> None: ...

    def should_stop(self) -> bool:
        return False

    def sample(self, step: int, question: str, answer: str, expected: str = "") -> None: ...

    def should_finish(self) -> bool:
        return False


@dataclass(frozen=True)
class Measured:
    """What a model says to the held-out questions."""

    greedy: list[str]
    sampled: list[str]


class Sweep:
    """One base, one set of data, many adapters."""

    def __init__(self, folder: Path, data: Path, tokens: int) -> None:
        self.folder, self.tokens = folder, tokens
        self.tokenizer = ChatTokenizer.load(folder)
        self.rows = check_file(data / "persona.csv").rows
        self.held_out = check_file(data / "held-out.csv").rows
        self.markers = read_markers(data / "markers.txt")

    def measure(self, model: Any) -> Measured:
        """Ask `model` the held-out questions, greedily and at temperature 0.8."""
        questions = [row.messages[0].content for row in self.held_out]
        options = {"max_tokens": self.tokens}
        return Measured(
            answer_questions(model, self.tokenizer, questions, **options),
            answer_questions(model, self.tokenizer, questions, temperature=0.8, **options),
        )

    def base_line(self, config: TuneConfig) -> list[str]:
        """The table's line of the untuned model."""
        model = load_base(self.folder, config).eval()
        return ["base", *["–"] * 6, *self._shares(self.measure(model))]

    def line(self, config: TuneConfig, samples: int) -> list[str]:
        """The table's line of one tuning; prints some answers to standard error."""
        head = [config.method, f"{config.learning_rate:g}"]
        with tempfile.TemporaryDirectory() as scratch:
            target = Path(scratch) / "adapter"
            began = time.monotonic()
            try:
                outcome = tune(
                    self.folder,
                    "sweep",
                    self.rows,
                    self.held_out,
                    config,
                    Path(scratch) / "checkpoints",
                    target,
                    Quiet(),
                )
            except JobError as error:
                return [*head, *["–"] * 5, error.message, ""]
            seconds = time.monotonic() - began
            model = load_adapter(load_base(self.folder, config), target, self.folder)
            sizes = sum(file.stat().st_size for file in target.glob("*.safetensors"))
            trained = sum(
                parameter.numel()
                for name, parameter in model.named_parameters()
                if "lora_" in name or name.endswith("time_state")
            )
        said = self.measure(model)
        for text in said.greedy[:samples]:
            print(f"  {text}", file=sys.stderr)
        return [
            *head,
            f"{trained:,}",
            f"{sizes / 1024:,.0f} KiB",
            f"{seconds:.0f}",
            f"{outcome.train_loss:.3f}",
            f"{outcome.held_out_loss:.3f}",
            *self._shares(said),
        ]

    def _shares(self, said: Measured) -> list[str]:
        answers = (said.greedy, said.sampled)
        return [f"{marker_share(texts, self.markers):.0%}" for texts in answers]


def main(arguments: list[str]) -> int:
    """Parse the arguments, run the sweep, print the table as it grows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="a model's folder or reference")
    parser.add_argument("--rates", type=float, nargs="+", default=[1, 0.3, 0.1, 0.03, 0.01, 1e-3])
    parser.add_argument("--method", default="state", choices=["state", "lora", "lora+state"])
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--epochs", type=int, default=7)
    parser.add_argument("--batch-tokens", type=int, default=448)
    parser.add_argument("--question-dropout", type=float, default=0.5)
    parser.add_argument("--keep", default="best", choices=["best", "last"])
    parser.add_argument("--tokens", type=int, default=64, help="longest answer")
    parser.add_argument("--samples", type=int, default=0, help="answers to show of each run")
    parser.add_argument("--data", type=Path, default=PERSONA)
    options = vars(parser.parse_args(arguments))
    model, rates, data = options.pop("model"), options.pop("rates"), options.pop("data")
    tokens, samples = options.pop("tokens"), options.pop("samples")
    torch.manual_seed(0)
    sweep = Sweep(resolve_folder(model, Workspace.current()), data, tokens)
    print("| " + " | ".join(HEADINGS) + " |\n|" + "---|" * len(HEADINGS), flush=True)
    print("| " + " | ".join(sweep.base_line(TuneConfig.checked(options))) + " |", flush=True)
    for rate in rates:
        config = TuneConfig.checked({**options, "learning_rate": rate})
        print("| " + " | ".join(sweep.line(config, samples)) + " |", flush=True)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KajiyaError as error:
        sys.exit(str(error))
