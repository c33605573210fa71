"""Keeps a server that is not ours from outliving us: `python -m kajiya.inference.guardian --fd N COMMAND…`.

Runs COMMAND in a session of its own and ends with its exit code. When the other end of the socket N is
gone, however its owner died, all of COMMAND's processes are asked to end, and then made to.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import threading

_GRACE_SECONDS = 10


def main() -> None:
    """The process's whole life."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--fd", type=int, required=True)
    parser.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    child = subprocess.Popen(options.command, start_new_session=True)
    threading.Thread(target=_watch, args=(options.fd, child), daemon=True).start()
    code = child.wait()
    _signal(child, signal.SIGKILL)  # what it started may still be there
    sys.exit(code if code >= 0 else 128 - code)


def _watch(descriptor: int, child: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(OSError):
        os.read(descriptor, 1)  # nothing is ever sent: this returns when the other end is gone
    _signal(child, signal.SIGTERM)
    try:
        child.wait(_GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        _signal(child, signal.SIGKILL)


def _signal(child: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, number)


if __name__ == "__main__":
    main()
