"""What `make run` does: forge the example company's model, say how long each part took, serve it.

`--no-serve` ends instead of serving; all other arguments go to `kajiya forge`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from kajiya.core.errors import KajiyaError
from kajiya.core.language import tr
from kajiya.core.workspace import Workspace
from kajiya.forge.plan import DEFAULT_BASE
from kajiya.models.resolve import resolve
from kajiya.store.artifacts import ArtifactStore

ROOT = Path(__file__).resolve().parent.parent
DATA = "examples/company-faq/faq.csv"
NAME = "company-faq"


def main(arguments: list[str]) -> int:
    serve = "--no-serve" not in arguments
    options = [argument for argument in arguments if argument != "--no-serve"]
    workspace = Workspace.current()
    kajiya = [sys.executable, "-m", "kajiya.cli.main"]

    print(tr(f"Preparing {DEFAULT_BASE} …", f"{DEFAULT_BASE} を準備しています…"), flush=True)
    started = time.monotonic()
    resolve(DEFAULT_BASE, workspace)
    conversion = time.monotonic() - started

    command = [*kajiya, "forge", DATA, "--name", NAME, *options]
    started = time.monotonic()
    status = subprocess.run(command, cwd=ROOT, check=False).returncode
    if status:
        return status
    whole = time.monotonic() - started
    if not {"--dry-run", "--detach"} & set(options):
        report(workspace, conversion, whole)
    if serve:
        os.chdir(ROOT)
        os.execv(sys.executable, [*kajiya, "serve", NAME])  # noqa: S606
    return 0


def report(workspace: Workspace, conversion: float, whole: float) -> None:
    """How long install, conversion and training took, in seconds."""
    tuned = ArtifactStore(workspace).get(NAME, "adapter")
    training = float(tuned.manifest.details["seconds"])
    installed = Path(sys.prefix) / "install.json"
    rows = [
        (tr("base model made ready", "基のモデルの準備"), conversion),
        (tr("training", "学習"), training),
        (tr("checks, export and evaluation", "点検・変換・評価"), whole - training),
    ]
    if installed.exists():
        seconds = json.loads(installed.read_text(encoding="utf-8"))["seconds"]
        rows.insert(0, (tr("last installation", "最後のインストール"), float(seconds)))
    print()
    for title, seconds in rows:
        print(f"  {seconds:7.1f} s  {title}", flush=True)
    program = Path(sys.executable).with_name("kajiya")
    print(tr(f"\n`kajiya` is {program}", f"\n`kajiya` は {program} です"), flush=True)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KajiyaError as error:
        sys.exit(str(error))
