"""Files that cannot be used: each is refused for its own reason, and nothing is left behind."""

from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kajiya.core import language
from kajiya.core.errors import ConfigError
from kajiya.core.workspace import Workspace
from kajiya.data.check import check_file
from kajiya.data.dataset import register_dataset
from kajiya.data.problems import TableError
from kajiya.store.artifacts import ArtifactStore

GOOD = "質問,回答\n始業は?,8時25分です\n"


def _archive(*names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, "x")
    return buffer.getvalue()


def _parquet(**columns: list[object]) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer)
    return buffer.getvalue()


def _messages(*turns: object) -> bytes:
    return json.dumps({"messages": list(turns)}).encode()


USER, ASSISTANT = {"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}
LONG_QUOTE = '質問,回答\na,"b\n' + "c,d\n" * 50_000
# name of the file: (its bytes, the code of the problem, words of the message, where)
FILES: dict[str, tuple[bytes, str, str, str]] = {
    "empty.csv": (b"", "empty", "empty", "empty.csv"),
    "mark_only.csv": (b"\xef\xbb\xbf", "empty", "empty", "mark_only.csv"),
    "newlines.csv": (b"\n\r\n\n", "empty", "empty", "newlines.csv"),
    "newlines.jsonl": (b"\n\n", "empty", "empty", "newlines.jsonl"),
    "empty_list.json": (b"[]", "empty", "empty", "empty_list.json"),
    "header.csv": ("質問,回答\n".encode(), "header_only", "no row", "header.csv"),
    "header.parquet": (_parquet(質問=[], 回答=[]), "header_only", "no row", "header.parquet"),
    "nul.csv": ("質問,回答\nあ,い\nう\0,え\n".encode(), "nul", "NUL", "line 3"),
    "nul_ascii.csv": (b"question,answer\na,\0b\n", "nul", "NUL", "line 2"),
    "utf8_broken.csv": ("質問,回答\nあ,い\n".encode() + b"\xe3\x81,x\n" + "か,き\n".encode() * 9, "encoding", "E3", "line 3"),
    "utf8_mark_broken.csv": (b"\xef\xbb\xbf" + "質問,回答\n".encode() + b"\xff,x\n", "encoding", "byte 18 (FF)", "line 2"),
    "surrogate.csv": ("質問,回答\n".encode() + b"\xed\xa0\x80,x\n", "encoding", "byte 15", "line 2"),
    "cp932_broken.csv": ("質問,回答\n".encode("cp932") + b"\x82\xa0\x82\x20,\xfd\xff\n", "encoding", "CP932", "line 2"),
    "utf16_odd.csv": (GOOD.encode("utf-16")[:-1], "utf16_odd", "odd number", "utf16_odd.csv"),
    "utf16_pair.csv": (b"\xff\xfe" + "質問,".encode("utf-16-le") + b"\x00\xd8,\x00", "encoding", "UTF-16", "line 1"),
    "ragged_long.csv": ("質問,回答\na,b\nc,d,e\n".encode(), "ragged", "2 columns, this row has 3", "row 3"),
    "ragged_short.csv": ("質問,回答,要点\na,b,c\nd,e\n".encode(), "ragged", "3 columns, this row has 2", "row 3"),
    "ragged_below.csv": ('質問,回答\n"a\nb",c\nd\n'.encode(), "ragged", "this row has 1", "row 3 (line 4)"),
    "unclosed.csv": ('質問,回答\na,b\n"c,d\n'.encode(), "unclosed_quote", "never closed", "row 3"),
    "unclosed_long.csv": (LONG_QUOTE.encode(), "cell_too_large", "131,072", "row 2"),
    "after_quote.csv": ('質問,回答\n"a"b,c\n'.encode(), "quote", "follows a closing", "row 2"),
    "twice.csv": ("質問,回答,回答\na,b,c\n".encode(), "duplicate_columns", "'回答'", "row 1"),
    "big_cell.csv": (b"question,answer\na," + b"b" * 10_000_000, "cell_too_large", "131,072", "row 2"),
    "big_cell.jsonl": (json.dumps({"q": "a", "a": "b" * 200_000}).encode(), "cell_too_large", "131,072", "line 1"),
    "big_cell.parquet": (_parquet(q=["a"], a=["b" * 200_000]), "cell_too_large", "131,072", "row 1"),
    "long_line.csv": (b"question,answer\n" + b"a" * 17_000_000, "row_too_large", "16,000,000", "line 2"),
    "columns.csv": (",".join(f"c{i}" for i in range(1_000_000)).encode(), "columns", "1,000,000", "columns.csv"),
    "columns.jsonl": (json.dumps({f"c{i}": "" for i in range(1_001)}).encode(), "columns", "1,001", "line 1"),
    "columns_together.jsonl": ("\n".join(json.dumps({f"c{i}": "x"}) for i in range(1_001)).encode(), "columns", "1,001", "columns_together"),
    "columns.parquet": (_parquet(**{f"c{i}": [1] for i in range(1_001)}), "columns", "1,001", "columns.parquet"),
    "unknown.csv": (b"name,age\na,b\n", "missing_columns", "'name', 'age'", "unknown.csv"),
    "no_answer.csv": ("質問,分類\na,b\n".encode(), "missing_columns", "the answer", "no_answer.csv"),
    "either.csv": ("質問,Question,回答\na,b,c\n".encode(), "ambiguous_columns", "'質問', 'Question'", "either.csv"),
    "nothing_left.csv": ("質問,回答\na,\n,b\n,\n".encode(), "nothing_left", "no row is left", "nothing_left.csv"),
    "book.xlsx": (_archive("[Content_Types].xml", "xl/workbook.xml"), "xlsx", "Excel", "book.xlsx"),
    "book.csv": (_archive("[Content_Types].xml", "xl/workbook.xml"), "xlsx", "Excel", "book.csv"),
    "old.xls": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(512), "xls", "old Excel", "old.xls"),
    "pack.zip": (_archive("a.csv"), "zip", "ZIP", "pack.zip"),
    "pack.csv.gz": (gzip.compress(GOOD.encode()), "gzip", "gzip", "pack.csv.gz"),
    "pack.7z": (b"7z\xbc\xaf\x27\x1c" + bytes(99), "archive", "7-Zip", "pack.7z"),
    "paper.pdf": (b"%PDF-1.7\n" + bytes(99), "pdf", "PDF", "paper.pdf"),
    "picture.csv": (b"\x89PNG\r\n\x1a\n" + bytes(99), "image", "PNG", "picture.csv"),
    "page.csv": (b"\n <!DOCTYPE html><table><tr><td>a</td></tr></table>", "html", "HTML", "page.csv"),
    "text.csv": (b"{\\rtf1 a}", "rtf", "rich text", "text.csv"),
    "data.sqlite": (b"SQLite format 3\x00" + bytes(99), "sqlite", "SQLite", "data.sqlite"),
    "pickle.csv": (pickle.dumps({"question": "a"}, protocol=4), "pickle", "pickle", "pickle.csv"),
    "object.json": (b'{"question": "a",\n "answer": "b"}', "json_object", "one JSON object", "object.json"),
    "numbers.json": (b"[1, 2]", "json_not_object", "an object is needed", "row 1"),
    "text.json": (b'"a"', "json_not_object", "an object is needed", "text.json"),
    "arrays.jsonl": (b'["a", "b"]\n["c", "d"]\n', "json_not_object", "an object is needed", "line 1"),
    "later_array.jsonl": (b'{"q": "a", "a": "b"}\n[1]\n', "json_not_object", "an object is needed", "line 2"),
    "cut.jsonl": (b'{"q": "a", "a": "b"}\n{"q": "a', "json", "Unterminated string", "line 2"),
    "python.jsonl": (b"{'q': 'a', 'a': 'b'}\n", "json", "double quotes", "line 1"),
    "cut.json": (b'[{"q": "a", "a": "b"},\n', "json", "not valid JSON", "cut.json"),
    "deep.json": (b"[" * 200_000, "json_depth", "nested too deeply", "deep.json"),
    "deep.jsonl": (b'{"q": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "json_depth", "nested too deeply", "line 1"),
    "same_key.jsonl": (b'{"q": "a", "q": "b", "a": "c"}', "duplicate_key", "'q'", "line 1"),
    "surrogate.jsonl": (b'{"q": "\\ud800", "a": "b"}', "surrogate", "half of a character", "line 1"),
    "nested.jsonl": (b'{"q": {"text": "a"}, "a": "b"}', "nested", "a list or an object", "row 1"),
    "nested.parquet": (_parquet(q=[["a"]], a=["b"]), "nested", "a list or an object", "row 1"),
    "roles.jsonl": (_messages(USER, {"role": "tool", "content": "x"}, ASSISTANT), "messages_role", "'tool'", "row 1"),
    "no_assistant.jsonl": (_messages(USER), "messages_no_assistant", "no assistant", "row 1"),
    "order.jsonl": (_messages(USER, USER, ASSISTANT), "messages_order", "take turns", "row 1"),
    "assistant_first.jsonl": (_messages(ASSISTANT, USER, ASSISTANT), "messages_order", "the user first", "row 1"),
    "late_system.jsonl": (_messages(USER, ASSISTANT, {"role": "system", "content": "x"}, USER, ASSISTANT), "messages_order", "take turns", "row 1"),
    "parts.jsonl": (_messages({"role": "user", "content": [1]}, ASSISTANT), "messages_form", "list of turns", "row 1"),
    "messages.csv": (b"messages\nhello\n", "messages_form", "list of turns", "row 2"),
    "cut.parquet": (_parquet(q=["a"], a=["b"])[:-20], "parquet", "Parquet", "cut.parquet"),
    "not.parquet": (GOOD.encode(), "parquet", "Parquet", "not.parquet"),
    "middle.parquet": (b"PAR1" + bytes(50) + b"PAR1", "parquet", "Parquet", "middle.parquet"),
}  # fmt: skip


def _listing(folder: Path) -> list[tuple[str, int, int]]:
    return sorted((str(p), p.lstat().st_size, p.lstat().st_mtime_ns) for p in folder.rglob("*"))


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    workspace = Workspace(tmp_path / "home").create()
    (workspace.cache / "kept").write_text("kept")
    return workspace


def _refused(path: Path, workspace: Workspace, limit: int = 200_000_000) -> TableError:
    """The problem found when a file is to become a dataset; the workspace must not change."""
    before = _listing(workspace.home)
    with pytest.raises(TableError) as caught:
        register_dataset(
            ArtifactStore(workspace), check_file(path, limit_bytes=limit), "data", str(path)
        )
    assert _listing(workspace.home) == before
    return caught.value


@pytest.mark.parametrize("name", FILES)
def test_each_is_refused_for_its_own_reason(
    name: str, tmp_path: Path, workspace: Workspace
) -> None:
    content, code, words, where = FILES[name]
    path = tmp_path / name
    path.write_bytes(content)
    error = _refused(path, workspace)
    assert (error.code, error.as_dict()["code"]) == (code, code)
    assert words in error.message
    assert where in error.where
    assert error.fix


@pytest.mark.parametrize("name", FILES)
def test_the_reasons_are_told_in_japanese_too(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(FILES[name][0])
    with language.use("ja"), pytest.raises(TableError) as caught:
        check_file(path).raise_for_errors()
    assert all(
        any("ぁ" <= c <= "ん" for c in text) for text in (caught.value.message, caught.value.fix)
    )


def _sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(10_000_000_000)


PLACES: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "sparse": (_sparse, "too_large", "10,000.0 MB, the limit is 200.0 MB"),
    "missing": (lambda path: None, "missing", "no such file"),
    "folder": (Path.mkdir, "directory", "folder"),
    "loop": (lambda path: path.symlink_to(path), "link_loop", "back to itself"),
    "dangling": (lambda path: path.symlink_to(path / "x"), "link_loop", "back to itself"),
    "pipe": (os.mkfifo, "not_a_file", "pipe"),
    "device": (lambda path: path.symlink_to("/dev/zero"), "not_a_file", "device"),
}


@pytest.mark.parametrize("name", PLACES)
def test_what_is_no_readable_file_is_refused(
    name: str, tmp_path: Path, workspace: Workspace
) -> None:
    make, code, words = PLACES[name]
    path = tmp_path / "data.csv"
    make(path)
    error = _refused(path, workspace)
    assert error.code == code
    assert words in error.message


def test_paths_that_cannot_be(tmp_path: Path, workspace: Workspace) -> None:
    (tmp_path / "file").write_text(GOOD)
    for path in (tmp_path / "file" / "x.csv", tmp_path / ("x" * 300), tmp_path / "a\0b"):
        assert _refused(path, workspace).code == "missing"


def test_a_file_that_may_not_be_read(
    tmp_path: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "data.csv"
    path.write_text(GOOD)

    def denied(*_: object, **__: object) -> int:
        raise PermissionError(13, "Permission denied")  # as it is for anyone but root

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", denied)
        with pytest.raises(TableError) as caught:
            check_file(path)
    assert caught.value.code == "unreadable"
    assert "Permission denied" in caught.value.message


def test_the_limit_is_the_users(tmp_path: Path, workspace: Workspace) -> None:
    path = tmp_path / "data.csv"
    path.write_text(GOOD)
    assert _refused(path, workspace, limit=10).code == "too_large"
    assert len(check_file(path, limit_bytes=path.stat().st_size).rows) == 1


def test_a_small_parquet_file_of_much_text_is_refused(tmp_path: Path, workspace: Workspace) -> None:
    path = tmp_path / "bomb.parquet"
    path.write_bytes(_parquet(q=["x" * 100_000] * 2_000, a=["y"] * 2_000))
    assert path.stat().st_size < 1_000_000
    assert _refused(path, workspace, limit=1_000_000).code == "too_large"


def test_problems_survive_the_way_between_processes() -> None:
    error = pickle.loads(pickle.dumps(TableError("ragged", "m", where="w", fix="f")))
    assert (error.code, error.message, error.where, error.fix) == ("ragged", "m", "w", "f")


@pytest.mark.parametrize(
    ("mapping", "words"),
    [
        ({"question": "なし"}, "no column 'なし'"),
        ({"colour": "質問"}, "cannot be mapped to 'colour'"),
    ],
)
def test_wrong_mappings(tmp_path: Path, mapping: dict[str, str], words: str) -> None:
    path = tmp_path / "data.csv"
    path.write_text(GOOD)
    with pytest.raises(ConfigError, match=words):
        check_file(path, columns=mapping)
