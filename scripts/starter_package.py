"""The package of our own starter: its files, its model card in two languages, and the curve.

Used by `pretrain_starter.py`; every figure in the card comes from the training's own log.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from statistics import median
from typing import Any

from starter_curve import Curve, draw

from kajiya.core.files import write_text
from kajiya.corpus.build import Corpus
from kajiya.models.starters import find_starter
from kajiya.training.pretrain import LOG_FILE
from kajiya.training.pretrain_config import PretrainConfig
from kajiya.training.training_log import TrainingLog

WORKS_FILE = "works.tsv"
MODEL_FILES = tuple(Path(part.path).name for part in find_starter("rwkv7-aozora").parts)
_LARGEST = 64 * 1000**2  # bytes of weights
_NAMES = {"rwkv7": "RWKV-7", "llama": "Llama-style"}
_CARD = Path(__file__).with_name("starter_card.md")
_CARD_JA = Path(__file__).with_name("starter_card.ja.md")


def write_package(work: Path, package: Path) -> str:
    """Fill `package` with what `work` holds; returns the SHA-256 of the model's files, joined."""
    data = package / "src" / "kajiya_starter_rwkv7" / "data"
    data.mkdir(parents=True, exist_ok=True)
    model = work / "rwkv7" / "model"
    if (model / "model.safetensors").stat().st_size > _LARGEST:
        raise SystemExit("the weights are larger than 64 MB")
    digest = hashlib.sha256()
    for name in MODEL_FILES:
        source = work / name if name == WORKS_FILE else model / name
        shutil.copyfile(source, data / name)
        digest.update(source.read_bytes())
    logs = {arch: _log(work, arch) for arch in _NAMES if (work / arch / "model").exists()}
    for arch, log in logs.items():
        if arch != "rwkv7":
            lines = [json.dumps(line, ensure_ascii=False) for line in log]
            write_text(package / f"training_log_{arch}.jsonl", "\n".join(lines) + "\n")
    curves = [Curve(_NAMES[arch], *_points(log)) for arch, log in logs.items()]
    write_text(package / "curve.svg", draw(curves, "tokens", "bits per byte, held-out works"))
    values = _figures(work, logs)
    for source, name in ((_CARD, "README.md"), (_CARD_JA, "README.ja.md")):
        write_text(package / name, source.read_text(encoding="utf-8").format_map(values))
    return digest.hexdigest()


def _log(work: Path, arch: str) -> list[dict[str, Any]]:
    return TrainingLog(work / arch / "model" / LOG_FILE).read()


def _points(log: list[dict[str, Any]]) -> tuple[list[float], list[float]]:
    """Tokens and bits per byte of each evaluation."""
    found = [line for line in log if "held_out_bits_per_byte" in line]
    return [line["tokens"] for line in found], [line["held_out_bits_per_byte"] for line in found]


def _figures(work: Path, logs: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """What the card's placeholders stand for."""
    corpus = Corpus.open(work / "corpus")
    settings = PretrainConfig.load(work / "rwkv7" / "config.yaml")
    config = json.loads((work / "rwkv7" / "model" / "config.json").read_text(encoding="utf-8"))
    last = logs["rwkv7"][-1]
    samples = [line["samples"] for line in logs["rwkv7"] if "samples" in line][-1]
    rows = []
    for arch, log in logs.items():
        tokens, bits = _points(log)
        # The median: whoever trains for an hour pauses, or does other work meanwhile.
        speed = median(line["tokens_per_second"] for line in log if "tokens_per_second" in line)
        rows.append(
            f"| {_NAMES[arch]} | {_parameters(work, arch):.2f} M | {tokens[-1]:,} |"
            f" {bits[0]:.3f} | **{bits[-1]:.3f}** | {speed:,.0f} |"
        )
    return {
        "layers": config["num_hidden_layers"],
        "width": config["hidden_size"],
        "vocabulary": config["vocab_size"],
        "parameters": f"{_parameters(work, 'rwkv7'):.1f}",
        "works": f"{corpus.documents:,}",
        "text": f"{corpus.size / 1e6:.0f}",
        "corpus_tokens": f"{corpus.tokens:,}",
        "tokens": f"{last['tokens']:,}",
        "share": f"{100 * last['tokens'] / corpus.tokens:.0f}",
        "held_out": len(corpus.held_out),
        "held_out_size": f"{corpus.held_out_size / 1000:.0f}",
        "context": settings.context,
        "step_tokens": f"{settings.context * settings.batch_rows:,}",
        "rate": f"{settings.learning_rate:g}",
        "table": "\n".join(rows),
        "samples": "\n\n".join("> " + text.replace("\n", "\n> ") for text in samples),
    }


def _parameters(work: Path, arch: str) -> float:
    """Millions of parameters."""
    from safetensors import safe_open

    total = 0
    with safe_open(work / arch / "model" / "model.safetensors", framework="np") as tensors:
        for name in tensors.keys():  # noqa: SIM118
            size = 1
            for length in tensors.get_slice(name).get_shape():
                size *= length
            total += size
    return total / 1e6
