"""Fixtures for all parts."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from kajiya.core import language
from kajiya.inference.bundle import ServableModel
from support.tiny_llama import make_adapter, make_model


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
def starter_folder() -> Path:
    """A starter model's folder, with its GGUF beside; skipped where it is not installed."""
    pytest.skip("no starter model is set up for these tests")
