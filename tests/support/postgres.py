"""A PostgreSQL server of the tests' own: on a socket in a folder, gone when the block ends."""

from __future__ import annotations

import contextlib
import getpass
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import URL

from support.waiting import wait_until


def _program(name: str) -> str:
    found = shutil.which(name) or next(
        (str(path) for path in sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))), None
    )
    if found is None:
        pytest.skip(f"PostgreSQL's {name} is not installed (Debian: apt install postgresql)")
    return found


class PostgresServer:
    """Where it listens; `new_database` makes an empty one."""

    def __init__(self, folder: Path, user: str) -> None:
        self._folder, self._user, self._made = folder, user, 0

    def url(self, database: str) -> str:
        url = URL.create(
            "postgresql", username=self._user, database=database, query={"host": str(self._folder)}
        )
        return url.render_as_string(hide_password=False)

    def new_database(self, template: str = "template1") -> str:
        """The name of a copy of `template`."""
        self._made += 1
        name = f"test{self._made}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return name

    def execute(self, statement: str) -> None:
        url = self.url("postgres").replace("postgresql:", "postgresql+psycopg:")
        engine = create_engine(url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text(statement))
        engine.dispose()


@contextlib.contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """Start one; skips where it is not installed. It refuses to run as root, so then as `nobody`."""
    initdb, postgres = _program("initdb"), _program("postgres")
    user = "nobody" if os.getuid() == 0 else getpass.getuser()
    other: dict[str, Any] = (
        {"user": user, "group": pwd.getpwnam(user).pw_gid} if os.getuid() == 0 else {}
    )
    # Not in pytest's own folders, which `nobody` may not enter.
    with tempfile.TemporaryDirectory(prefix="kajiya-pg-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        shutil.chown(folder, user)
        data = folder / "data"
        subprocess.run(
            [
                initdb,
                "-D",
                data,
                "-U",
                user,
                "-A",
                "trust",
                "-E",
                "UTF8",
                "--locale=C",
                "--no-sync",
            ],
            check=True,
            capture_output=True,
            cwd=folder,
            **other,
        )
        options = [
            "-c",
            "listen_addresses=",
            "-c",
            "fsync=off",
            "-c",
            f"unix_socket_directories={folder}",
        ]
        log = folder / "log"
        with log.open("w") as written:
            process = subprocess.Popen(
                [postgres, "-D", data, *options], cwd=folder, stderr=written, **other
            )
        try:
            wait_until(lambda: "ready to accept connections" in log.read_text())
            yield PostgresServer(folder, user)
        finally:
            process.send_signal(signal.SIGINT)  # SIGTERM would wait for all clients to leave
            process.wait()
