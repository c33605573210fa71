"""Where characters of a changed text were."""

from __future__ import annotations

import numpy as np
import pytest

from kajiya.core.text import OffsetMap


def test_an_unchanged_text() -> None:
    offsets = OffsetMap.unchanged(3)
    assert len(offsets) == 3
    assert offsets.span(0, 3) == (0, 3)
    assert offsets.span(1, 1) == (1, 1)
    assert offsets.span(3, 3) == (3, 3)


def test_removed_and_joined_characters() -> None:
    offsets = OffsetMap(np.array([0, 2, 5]), np.array([1, 4, 6]))  # a, b+mark, c; 1 and 4 removed
    assert offsets.span(1, 2) == (2, 4)
    assert offsets.span(0, 3) == (0, 6)
    assert offsets.span(3, 3) == (6, 6)
    kept = offsets.keep(np.array([True, False, True]))
    assert kept.span(1, 2) == (5, 6)
    assert kept.span(0, 2) == (0, 6)


def test_an_empty_text_and_what_is_outside() -> None:
    offsets = OffsetMap.unchanged(0)
    assert offsets.span(0, 0) == (0, 0)
    with pytest.raises(IndexError, match="0:1 of 0"):
        offsets.span(0, 1)
    with pytest.raises(IndexError):
        OffsetMap.unchanged(5).span(3, 2)
