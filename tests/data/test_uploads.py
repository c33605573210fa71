"""Uploads: whole or not there, never larger than allowed, never named by their sender on disk."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kajiya.core.errors import NotFoundError
from kajiya.core.workspace import Workspace
from kajiya.data.check import check_file
from kajiya.data.problems import TableError
from kajiya.data.uploads import Uploads, shown_name

CSV = "質問,回答\n始業は?,8時です。\n"


@pytest.fixture
def uploads(tmp_path: Path) -> Uploads:
    return Uploads(Workspace(tmp_path / "home"), limit_bytes=1000)


def receive(uploads: Uploads, name: str, *pieces: bytes, size: int | None = None) -> str:
    with uploads.receive(name, size) as incoming:
        for piece in pieces:
            incoming.write(piece)
    return incoming.id


def left_over(uploads: Uploads) -> list[str]:
    return sorted(path.name for path in uploads._root.iterdir())


def test_a_file_comes_in_and_is_read(uploads: Uploads) -> None:
    upload = uploads.get(receive(uploads, "社内FAQ.csv", CSV.encode()[:9], CSV.encode()[9:]))
    assert (upload.name, upload.suffix, upload.size) == ("社内FAQ.csv", ".csv", len(CSV.encode()))
    assert check_file(uploads.path(upload), name=upload.name).name == "社内FAQ.csv"
    assert left_over(uploads) == [upload.id]
    uploads.remove(upload.id)
    assert left_over(uploads) == []
    with pytest.raises(NotFoundError, match="upload is not here"):
        uploads.get(upload.id)


@pytest.mark.parametrize("said", [1001, None, 10])
def test_what_is_too_large_is_refused_and_leaves_nothing(
    uploads: Uploads, said: int | None
) -> None:
    with pytest.raises(TableError) as caught:
        receive(uploads, "big.csv", b"x" * 600, b"x" * 401, size=said)
    assert caught.value.code == "too_large"
    assert not uploads._root.exists() or left_over(uploads) == []


def test_what_breaks_off_or_is_empty_leaves_nothing(uploads: Uploads) -> None:
    with pytest.raises(TableError, match="empty"):
        receive(uploads, "empty.csv")
    with pytest.raises(ConnectionError), uploads.receive("half.csv") as incoming:
        incoming.write(b"question,ans")
        raise ConnectionError
    assert left_over(uploads) == []


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("../../etc/passwd", "passwd"),
        ("..\\..\\boot.csv", "boot.csv"),
        ("/etc/cron.d/x.csv", "x.csv"),
        ("C:\\a\\b.csv", "b.csv"),
        ("..", ".."),
        ("a\x00b\nc\x1b[31m.csv", "ab c.csv"),
        ("\u202egnp.csv", "gnp.csv"),
        ("<img src=x onerror=alert(1)>.csv", "<img src=x onerror=alert(1)>.csv"),
        ("か\u3099.csv", "が.csv"),
        ("", "a file without a name"),
        ("%2e%2e%2fx.csv", "%2e%2e%2fx.csv"),
    ],
)
def test_hostile_names_are_only_shown(uploads: Uploads, name: str, shown: str) -> None:
    assert shown_name(name) == shown
    upload = uploads.get(receive(uploads, name, b"x"))
    assert upload.name == shown
    path = uploads.path(upload)
    assert path.parent.parent == uploads._root
    assert path.name in ("data", "data.csv")
    assert len(shown_name("長" * 500 + ".csv")) == 120


@pytest.mark.parametrize("upload_id", ["", "..", "../x", "20261122-101010-zzz", "a" * 300, "\x00"])
def test_other_ids_name_nothing(uploads: Uploads, upload_id: str) -> None:
    receive(uploads, "a.csv", b"x")
    with pytest.raises(NotFoundError):
        uploads.get(upload_id)
    uploads.remove(upload_id)
    assert len(left_over(uploads)) == 1


def test_what_nobody_came_back_for_goes(uploads: Uploads) -> None:
    old, new = (receive(uploads, f"{n}.csv", b"x") for n in "ab")
    killed = uploads._root / f".{new}.abc.tmp"  # as a killed server leaves it
    killed.mkdir()
    for folder in (uploads._root / old, killed):
        os.utime(folder, (0, 0))
    receive(uploads, "c.csv", b"x")
    assert new in left_over(uploads) and old not in left_over(uploads)
    assert not killed.exists()
