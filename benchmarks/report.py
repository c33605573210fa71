"""Runs every benchmark here and writes docs/benchmarks.md: `python benchmarks/report.py [--quick]`.

Each runs in a process of its own and compares with its peer in that one run; only ratios travel from
machine to machine, so the page says on which one they were measured.
"""

from __future__ import annotations

import argparse
import datetime
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from kajiya import __version__
from kajiya.core.files import write_text
from kajiya.core.hardware import GIB, probe

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent / "docs" / "benchmarks.md"
NOT_BENCHMARKS = ("common.py", Path(__file__).name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="less work in each, less exact")
    quick: bool = parser.parse_args().quick
    results: list[dict[str, Any]] = []
    for script in sorted(HERE.glob("*.py")):
        if script.name not in NOT_BENCHMARKS:
            print(f"==> {script.name}", flush=True)
            results += run(script, quick)
    write_text(PAGE, page(results, quick))
    print(f"wrote {PAGE.relative_to(Path.cwd()) if PAGE.is_relative_to(Path.cwd()) else PAGE}")


def run(script: Path, quick: bool) -> list[dict[str, Any]]:
    """The results of one benchmark; ends the program if it fails."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "results.json"
        command = [
            sys.executable,
            str(script),
            "--json",
            str(file),
            *(["--quick"] if quick else []),
        ]
        if subprocess.run(command, check=False).returncode:
            sys.exit(f"{script.name} failed; {PAGE.name} is as it was")
        found: list[dict[str, Any]] = json.loads(file.read_text(encoding="utf-8"))
        return found


def page(results: list[dict[str, Any]], quick: bool) -> str:
    """The page: the machine, and a row a result."""
    machine = probe(HERE)
    gpus = ", ".join(gpu.name for gpu in machine.gpus) or "no GPU"
    today = datetime.datetime.now(tz=datetime.UTC).date().isoformat()
    how = "quick runs" if quick else "full runs"
    lines = [
        "# Benchmarks",
        "",
        "Made by `make bench`; do not edit by hand.",
        "",
        f"Kajiya {__version__}, {today}, {how}: {machine.processor}, {machine.cores} cores,"
        f" {machine.memory / GIB:.0f} GB, {gpus}.",
        "",
        "| what | unit | Kajiya | peer | its value | ratio | target |",
        "|---|---|---|---|---|---|---|",
    ]
    for result in results:
        target = "" if result["target"] is None else f"{result['target']:g}"
        lines.append(
            f"| {result['name']} | {result['unit']} | {result['ours']:.4g} | {result['peer_name']}"
            f" | {result['peer']:.4g} | {result['ratio']:.2f} | {target} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
