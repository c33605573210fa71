from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from kajiya.core.workspace import Workspace
from kajiya.jobs import processes
from kajiya.jobs.supervisor import Supervisor
from support.tiny_models import register_base


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace with a tiny random base model, "tiny-base"."""
    workspace = Workspace(tmp_path_factory.mktemp("forge") / "home").create()
    register_base(workspace)
    return workspace


@pytest.fixture(scope="module")
def supervisor(workspace: Workspace) -> Iterator[Supervisor]:
    supervisor = Supervisor(workspace)
    yield supervisor
    for job in supervisor.list():
        for process in processes.members(job.folder):
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve questions and answers, with two paraphrases in a file beside it."""
    folder = tmp_path_factory.mktemp("data")
    rows = [f"Where is room {n}?,On floor {n % 4}.,floor {n % 4}" for n in range(12)]
    header = "question,answer,key_fact"
    (folder / "faq.csv").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    held_out = [f"Room {n}?,On floor {n % 4}.,floor {n % 4}" for n in (3, 8)]
    (folder / "paraphrases.csv").write_text("\n".join([header, *held_out]) + "\n", encoding="utf-8")
    return folder / "faq.csv"
