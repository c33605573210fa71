from __future__ import annotations

import json
from pathlib import Path

import pytest

from kajiya.core.errors import DataError, NotFoundError
from kajiya.corpus.sources.text import read_text


def test_files_and_folders(tmp_path: Path) -> None:
    (tmp_path / "b.txt").write_bytes("日本語の文章です。".encode("cp932"))
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/a.md").write_text("# 題\n本文\n\n", "utf-8")
    (tmp_path / "sub/skipped.csv").write_text("a,b", "utf-8")
    lines = [
        json.dumps({"text": "一"}),
        "",
        json.dumps({"text": " "}),
        json.dumps({"text": "二\n"}),
    ]
    (tmp_path / "c.jsonl").write_text("\n".join(lines), "utf-8")
    found = list(read_text([tmp_path]))
    assert [document.text for document in found] == [
        "日本語の文章です。\n",
        "一\n",
        "二\n",
        "# 題\n本文\n",
    ]
    assert len({document.id for document in found}) == len(found)


@pytest.mark.parametrize("line", ["[1]", "{}", '{"text": 3}', "{", '"text"'])
def test_a_line_without_text_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "c.jsonl"
    path.write_text('{"text": "一"}\n' + line, "utf-8")
    with pytest.raises(DataError, match=r"c\.jsonl, (line|row) 2"):
        list(read_text([path]))


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        list(read_text([tmp_path / "x.txt"]))
    with pytest.raises(NotFoundError, match="holds no file"):
        list(read_text([tmp_path]))
