"""Fixtures for all parts."""

from __future__ import annotations

import dataclasses
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from kajiya.core import language
from kajiya.core.workspace import Workspace
from kajiya.inference.bundle import ServableModel
from kajiya.models.resolve import resolve
from kajiya.models.starters import PREFIX, find_starter, is_installed
from support.tiny_llama import make_adapter, make_model


@pytest.fixture(scope="session", autouse=True)
def _interruptible() -> None:
    """A shell that starts the tests in the background has Ctrl-C ignored, and children inherit that."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _english(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(language.ENVIRONMENT, "en")


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
