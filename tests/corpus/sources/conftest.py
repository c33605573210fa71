from __future__ import annotations

from collections.abc import Iterator

import pytest

from kajiya.core.errors import DataError
from support.web import Web, web


@pytest.fixture
def problems() -> list[DataError]:
    """What a source reports: pass `problems.append`."""
    return []


@pytest.fixture
def served() -> Iterator[Web]:
    """A web of hosts on this machine."""
    with web() as found:
        yield found
