from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from kajiya.inference.bundle import ServableModel
from kajiya.inference.client import WorkerEngine
from kajiya.inference.protocol import EngineSettings


@pytest.fixture(scope="session")
def small() -> EngineSettings:
    """Two slots, one thread."""
    return EngineSettings(slots=2, context_length=16384, threads=1)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine(
    tiny_model: ServableModel,
    tuned_model: ServableModel,
    small: EngineSettings,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[WorkerEngine]:
    """Serves the bare base as "tiny" and the base with an adapter as "tuned"."""
    log = tmp_path_factory.mktemp("log") / "engine.log"
    made = WorkerEngine([tiny_model, tuned_model], small, log=log)
    await made.start()
    yield made
    await made.close()
