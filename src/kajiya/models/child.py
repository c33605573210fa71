"""Work that needs torch, done in a process of its own so that its caller never imports it.

A program started here prints its result last on standard output, or, failing, the fields of a
`KajiyaError` as JSON last on standard error and exits with status 1.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable

from kajiya.core import errors
from kajiya.core.errors import KajiyaError, ResourceError
from kajiya.core.language import tr
from kajiya.core.workspace import Workspace


def run_module(
    module: str, *arguments: str, workspace: Workspace, seconds: float | None = None
) -> str:
    """Run `python -m module arguments…`; returns the last line it printed, raises what it raised.

    After `seconds` it is ended, and `ResourceError` raised.
    """
    try:
        # -P: nothing that lies in the working folder can stand in for a module.
        result = subprocess.run(
            [sys.executable, "-P", "-m", module, *arguments],
            capture_output=True,
            text=True,
            env=workspace.environment(),
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ResourceError(
            tr(f"not done after {seconds:g} seconds", f"{seconds:g} 秒以内に終わりませんでした")
        ) from None
    if result.returncode == 0:
        return (result.stdout.strip().splitlines() or [""])[-1]
    raise _raised(result.stderr, result.returncode, arguments[0] if arguments else module)


def report(work: Callable[[], str]) -> int:
    """The other side of `run_module`: print what `work` returns, or the error it raises."""
    try:
        print(work())
    except KajiyaError as error:
        print(json.dumps(error.as_dict(), ensure_ascii=False), file=sys.stderr)
        return 1
    return 0


def _raised(stderr: str, status: int, where: str) -> KajiyaError:
    """The error that a child printed, or its last words if it crashed."""
    lines = [line for line in stderr.splitlines() if line.strip()]
    last = lines[-1] if lines else ""
    try:
        said = json.loads(last)
        kinds = {
            kind.code: kind
            for kind in vars(errors).values()
            if isinstance(kind, type) and issubclass(kind, KajiyaError)
        }
        kind = kinds.get(said["code"], KajiyaError)
        return kind(said["message"], where=said["where"], fix=said["fix"])
    except (ValueError, KeyError, TypeError):
        pass
    if status == -signal.SIGKILL:
        return ResourceError(
            tr(
                "the work was killed, most likely for want of memory",
                "処理が強制終了されました (メモリ不足と思われます)",
            ),
            where=where,
            fix=tr(
                "close other programs and try again", "ほかのプログラムを閉じてやり直してください"
            ),
        )
    return KajiyaError(
        tr(
            f"the work failed (status {status}): {last}",
            f"処理に失敗しました (終了コード {status}): {last}",
        ),
        where=where,
    )
