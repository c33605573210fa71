"""Fixtures for all parts."""

from __future__ import annotations

import dataclasses
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kajiya.core import language
from kajiya.core.workspace import Workspace
from kajiya.inference.bundle import ServableModel
from kajiya.models.resolve import resolve
from kajiya.models.starters import PREFIX, find_starter, is_installed
from kajiya.store.database import Database
from support.postgres import PostgresServer, postgres_server
from support.tiny_llama import make_adapter, make_model


@pytest.fixture(scope="session", autouse=True)
def _interruptible() -> None:
    """A shell that starts the tests in the background has Ctrl-C ignored, and children inherit that."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _english(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(language.ENVIRONMENT, "en")


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server for all tests; skips where PostgreSQL is not installed."""
    with postgres_server() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def new_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database with nothing in it, of either kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'new.db'}"
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.url(server.new_database())


@pytest.fixture(scope="session")
def new_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty database at the newest version, since making one costs more than most tests."""
    path = tmp_path_factory.mktemp("database") / "kajiya.db"
    Database.open_file(path)
    return path


@pytest.fixture(scope="session")
def postgres_template(postgres: PostgresServer) -> str:
    """The same in PostgreSQL."""
    name = postgres.new_database()
    Database.open_url(postgres.url(name)).close()
    return name


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database at the newest version, of either kind."""
    if request.param == "sqlite":
        path = shutil.copyfile(request.getfixturevalue("new_database"), tmp_path / "accounts.db")
        return f"sqlite:///{path}"
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.url(server.new_database(request.getfixturevalue("postgres_template")))


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """That database, open; it is impatient."""
    made = Database.open_url(database_url, patience=2)
    yield made
    made.close()


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> ServableModel:
    """A two-megabyte Llama that llama.cpp really runs; see `support.tiny_llama`."""
    return make_model(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def tuned_model(tiny_model: ServableModel) -> ServableModel:
    """The tiny model with an adapter that makes it say " legal" for ever."""
    path = make_adapter(tiny_model, tiny_model.folder / "legal.gguf")
    return dataclasses.replace(tiny_model, name="tuned", adapters={"legal": path})


@pytest.fixture(scope="session")
def starter_model(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A starter model's folder by its name, its GGUF inside; skips where it is not installed.

    Converted into a workspace that all tests share: the one named by `KAJIYA_TEST_HOME`, which
    stays for next time, or a temporary one.
    """
    home = os.environ.get("KAJIYA_TEST_HOME")

    def get(name: str) -> Path:
        starter = find_starter(name)
        if not is_installed(starter):
            pytest.skip(f"{name} is not installed: {starter.install}")
        folder = Path(home) if home else tmp_path_factory.getbasetemp() / "starters"
        return resolve(f"{PREFIX}{name}", Workspace(folder)).folder

    return get


@pytest.fixture(scope="session")
def starter_folder(starter_model: Callable[[str], Path]) -> Path:
    """The default base model's folder."""
    return starter_model("gemma-3-270m")
