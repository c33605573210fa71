"""Reads items of hostile formats in a process of their own: `python -m kajiya.corpus.sources.apart READER`.

PDFium and libxml2 are native code, and a crafted file may crash them, keep them busy for ever or make
them fill the memory; a crafted feed may keep feedparser busy. Then the process ends, the item is reported, and the next one has a new process.
This protects against accidents and bombs; it is no sandbox.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import struct
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from importlib import import_module
from types import TracebackType
from typing import IO, Literal, Self

from kajiya.core import language
from kajiya.core.errors import DataError
from kajiya.core.language import tr
from kajiya.corpus.sources.extract import Extract
from kajiya.corpus.sources.opened import too_large

Reader = Literal["html", "pdf", "feed"]
SECONDS = 30  # for one item
_MEMORY = 3 << 30  # bytes of address space
_LONGEST = 64_000_000  # characters of one item's text
_SIZE = struct.Struct(">Q")


class Apart:
    """A reader in a process of its own, started when it is first needed."""

    def __init__(self, reader: Reader, seconds: int = SECONDS) -> None:
        self._reader = reader
        self._seconds = seconds
        self._process: subprocess.Popen[bytes] | None = None

    def __call__(self, raw: bytes, hint: str = "", *, where: str) -> Extract:
        """What the reader finds in a file or page; `hint` is the content type that a server declared.

        Raises `DataError`, also where the reader crashed or took more than its time or memory.
        """
        return self.all(raw, hint, where=where)[0]

    def all(self, raw: bytes, hint: str = "", *, where: str) -> list[Extract]:
        """The same for what holds several, a feed; `hint` is its address."""
        process = self._process = self._process or self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            _write(process.stdin, hint.encode(errors="replace"))
            _write(process.stdin, raw)
            answer = _read(process.stdout)
        except (BrokenPipeError, EOFError):
            raise self._ended(process, where) from None
        found = json.loads(answer)
        if isinstance(found, list):
            return [Extract(**each) for each in found]
        raise DataError(found["message"], where=where, fix=found["fix"])

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", __name__, self._reader, str(self._seconds)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, language.ENVIRONMENT: language.current()},
        )

    def _ended(self, process: subprocess.Popen[bytes], where: str) -> DataError:
        self.close()
        if process.returncode == -signal.SIGALRM:
            message = tr(
                f"reading took more than {self._seconds} seconds",
                f"読み取りが {self._seconds} 秒を超えました",
            )
        else:
            message = tr(
                f"the reader of {self._reader} files ended with it (status {process.returncode})",
                f"{self._reader} を読むプロセスが異常終了しました (状態 {process.returncode})",
            )
        return DataError(
            message,
            where=where,
            fix=tr("remove or mend this item", "このファイルを除くか、直してください"),
        )

    def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            with process:  # closes the pipes and waits
                pass

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _write(pipe: IO[bytes], data: bytes) -> None:
    pipe.write(_SIZE.pack(len(data)))
    pipe.write(data)
    pipe.flush()


def _read(pipe: IO[bytes]) -> bytes:
    head = pipe.read(_SIZE.size)
    if len(head) < _SIZE.size:
        raise EOFError
    (size,) = _SIZE.unpack(head)
    data = pipe.read(size)
    if len(data) < size:
        raise EOFError
    return data


def _function(reader: str) -> Callable[[bytes, str], list[Extract]]:
    """The reader, its library loaded: that is not the first item's time."""
    if reader == "feed":
        import_module("feedparser")
        from kajiya.corpus.sources.feed import extract_feed

        return extract_feed
    if reader == "html":
        import_module("trafilatura")
        from kajiya.corpus.sources.html import extract_html

        return lambda raw, hint: [extract_html(raw, hint)]
    import_module("pypdfium2")
    from kajiya.corpus.sources.pdf import extract_pdf

    return lambda raw, hint: [extract_pdf(raw)]


def _serve(reader: str, seconds: int) -> None:
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not be taken for an answer
    function = _function(reader)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    while True:
        try:
            hint, raw = _read(sys.stdin.buffer).decode(), _read(sys.stdin.buffer)
        except EOFError:
            return
        signal.alarm(seconds)  # ends this process, also within native code and without a parent
        try:
            found = function(raw, hint)
            if sum(len(each.text) for each in found) > _LONGEST:
                raise too_large("", _LONGEST)
            answer: list[dict[str, str]] | dict[str, str] = [asdict(each) for each in found]
        except DataError as error:
            answer = {"message": error.message, "fix": error.fix}
        except (Exception, RecursionError, MemoryError) as error:
            answer = {
                "message": tr(f"cannot be read: {error!r}", f"読めません: {error!r}")[:500],
                "fix": tr("remove or mend this item", "このファイルを除くか、直してください"),
            }
        signal.alarm(0)
        _write(answers, json.dumps(answer).encode())


if __name__ == "__main__":
    _serve(sys.argv[1], int(sys.argv[2]))
