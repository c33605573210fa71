from __future__ import annotations

from collections.abc import Iterator

import openai
import pytest

from kajiya.inference.bundle import ServableModel
from support.tiny_server import Running, running


@pytest.fixture(scope="session")
def server(
    tuned_model: ServableModel, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    """Serves "tiny" and "org/tuned:1" from one base with four slots."""
    with running(tuned_model.folder, tmp_path_factory.mktemp("home")) as made:
        yield made


@pytest.fixture
def client(server: Running) -> Iterator[openai.OpenAI]:
    with server.openai() as made:
        yield made
