"""Locks between processes: exclusive, shared with a child on purpose only, gone with their holder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from kajiya.core.locks import is_locked, locked

WAIT = [sys.executable, "-c", "import sys; sys.stdin.readline()"]


def test_a_lock_is_held_inside_the_block_only(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert not is_locked(path)
    with locked(path):
        assert is_locked(path)
        with pytest.raises(TimeoutError), locked(path, 0.05):
            pass
    assert not is_locked(path)
    with locked(path, 0.05):
        pass


def test_a_child_that_is_given_the_lock_keeps_it_until_it_dies(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with locked(path) as descriptor:
        child = subprocess.Popen(WAIT, stdin=subprocess.PIPE, pass_fds=(descriptor,))
    assert is_locked(path)
    child.kill()
    child.communicate()
    assert not is_locked(path)


def test_a_child_that_is_not_given_the_lock_does_not_keep_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with locked(path):
        child = subprocess.Popen(WAIT, stdin=subprocess.PIPE)
    assert not is_locked(path)
    child.communicate(b"\n")
