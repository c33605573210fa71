"""The starter in `starters/` is the one that is pinned, and says what it is."""

from __future__ import annotations

import hashlib
import json
import tomllib
from pathlib import Path

from kajiya.models.starters import find_starter

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "starters/kajiya-starter-rwkv7"
STARTER = find_starter("rwkv7-aozora")


def test_the_files_are_the_pinned_ones() -> None:
    digest = hashlib.sha256()
    for part in STARTER.parts:
        digest.update((PACKAGE / "src" / part.path).read_bytes())
    assert digest.hexdigest() == STARTER.sha256
    project = tomllib.loads((PACKAGE / "pyproject.toml").read_text("utf-8"))["project"]
    assert (project["name"], project["version"]) == (STARTER.parts[0].distribution, STARTER.version)
    assert (ROOT / STARTER.install.removeprefix("pip install ")).samefile(PACKAGE)


def test_the_card_has_the_data_the_licence_and_the_curve() -> None:
    data = PACKAGE / "src/kajiya_starter_rwkv7/data"
    assert (data / "model.safetensors").stat().st_size <= 64 * 1000**2
    works = (data / "works.tsv").read_text("utf-8").splitlines()[1:]
    assert sum(work.endswith("\theld-out") for work in works) >= 10
    log = [
        json.loads(line) for line in (data / "training_log.jsonl").read_text("utf-8").splitlines()
    ]
    last = [line for line in log if "held_out_bits_per_byte" in line][-1]
    for name in ("README.md", "README.ja.md"):
        card = (PACKAGE / name).read_text("utf-8")
        assert f"{last['held_out_bits_per_byte']:.3f}" in card
        assert f"{len(works):,}" in card
        assert "Apache-2.0" in card
        assert "curve.svg" in card
    assert "<svg" in (PACKAGE / "curve.svg").read_text("utf-8")
