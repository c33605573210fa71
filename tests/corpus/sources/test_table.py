"""Rows as documents: JSON Lines, CSV and Parquet, whole and damaged."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from kajiya.core.errors import ConfigError, DataError, NotFoundError
from kajiya.corpus.document import Document
from kajiya.corpus.sources.source import Problems, stop
from kajiya.corpus.sources.table import TableSource, read_table

LEADS = Path(__file__).parents[4] / "shared/data/wikipedia-ja/leads.jsonl"
ROWS = [
    {"text": "一つ目の文章。", "title": "一", "licence": "CC0-1.0", "n": "1"},
    {"text": "二つ目,\n改行の「\"文\"」。", "title": "二", "licence": "", "n": "2"},
]  # fmt: skip


def read(path: Path, problems: Problems = stop, **given: Any) -> list[Document]:
    return list(read_table(TableSource(path=str(path), **given), problems))


def json_lines(rows: list[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows)


def cells(rows: list[dict[str, Any]], delimiter: str = ",") -> bytes:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def parquet(rows: list[dict[str, Any]]) -> bytes:
    file = io.BytesIO()
    pl.DataFrame(rows).write_parquet(file)
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "raw"),
    [
        ("a.jsonl", json_lines(ROWS)),
        ("a.csv", cells(ROWS)),
        ("a.tsv", cells(ROWS, "\t")),
        ("a.parquet", parquet(ROWS)),
        ("a.csv", cells(ROWS).decode().encode("cp932")),
        ("a.csv", cells(ROWS).decode().encode("utf-8-sig")),
        ("a.jsonl", json_lines(ROWS).decode().encode("utf-16")),
    ],
)
def test_rows_of_every_kind_of_file(tmp_path: Path, name: str, raw: bytes) -> None:
    (tmp_path / name).write_bytes(raw)
    one, two = read(tmp_path, licence="MIT", name="mine")
    assert (one.text, one.title, one.licence, one.source) == (
        "一つ目の文章。\n",
        "一",
        "CC0-1.0",
        "mine",
    )
    assert two.text == '二つ目,\n改行の「"文"」。\n'
    assert two.licence == "MIT"
    first = 1 if name.endswith(("jsonl", "parquet")) else 2
    assert [one.id, two.id] == [f"{name}:{first}", f"{name}:{first + 1}"]


@pytest.mark.parametrize(
    ("suffix", "pack"),
    [
        (".gz", gzip.compress),
        (".bz2", bz2.compress),
        (".xz", lzma.compress),
        (".zst", lambda raw: zstandard.ZstdCompressor().compress(raw)),
    ],
)
def test_packed_files_whole_and_cut_off(
    tmp_path: Path, suffix: str, pack: Callable[[bytes], bytes], problems: list[DataError]
) -> None:
    for kind, raw in ((".jsonl", json_lines(ROWS)), (".csv", cells(ROWS))):
        path = tmp_path / f"a{kind}{suffix}"
        path.write_bytes(pack(raw))
        assert [document.title for document in read(path)] == ["一", "二"]
    rows = [{"text": f"{n}番目の行: {n * n:x}"} for n in range(20_000)]
    path = tmp_path / f"b.jsonl{suffix}"
    path.write_bytes(pack(json_lines(rows))[:-2000])
    found = read(path, problems.append)
    assert found == read_all(rows, f"b.jsonl{suffix}")[: len(found)]
    assert len(problems) == 1
    assert str(path) in problems[0].where


def read_all(rows: list[dict[str, Any]], name: str) -> list[Document]:
    source = TableSource(path="x")
    return [source.document(f"{name}:{n}", row["text"]) for n, row in enumerate(rows, 1)]


def test_names_of_columns(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(json_lines([{"id": 7, "body": "本文", "license": "MIT", "lang": "ja"}]))
    [found] = read(path, text="body", columns={"language": "lang", "id": "id"})
    assert (found.id, found.licence, found.language) == ("7", "MIT", "ja")
    [found] = read(path, text="body")
    assert found.id == "a.jsonl:1"
    with pytest.raises(ConfigError, match=r"columns\.colour"):
        TableSource.checked({"path": "a", "columns": {"colour": "c"}})


@pytest.mark.parametrize("name", ["a.csv", "a.parquet"])
def test_a_column_that_is_not_there(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(cells(ROWS) if name == "a.csv" else parquet(ROWS))
    with pytest.raises(DataError, match=r"no column 'body'.*'title'"):
        read(tmp_path, text="body")


@pytest.mark.parametrize(
    "line",
    [
        *(b"{", b"[1]", b"3", b"{}", b'{"text": null}', b'{"text": ["a"]}', b"\xff\xfe\xff", b'{"text": "\x83\x65"}'),
        *(b"[" * 200_000, b'{"text": ' + b"9" * 5000 + b"}", b"\0\0"),
    ],
)  # fmt: skip
def test_a_damaged_line_is_named_and_passed_over(
    tmp_path: Path, line: bytes, problems: list[DataError]
) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes('{"text": "前"}\n'.encode() + line + '\n{"text": "後"}\n'.encode())
    found = read(path, problems.append, encoding="utf-8")
    assert [document.text for document in found] == ["前\n", "後\n"]
    assert found[1].id == "a.jsonl:3"
    assert len(problems) == 1
    assert "2" in problems[0].where


def test_a_very_long_line_is_passed_over_without_being_held(
    tmp_path: Path, problems: list[DataError]
) -> None:
    path = tmp_path / "a.jsonl.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write('{"text": "前"}\n{"text": "'.encode())
        for _ in range(100):
            file.write(b"a" * 1_000_000)
        file.write('"}\n{"text": "後"}\n'.encode())
    tracemalloc.start()
    found = read(path, problems.append)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [document.id for document in found] == ["a.jsonl.gz:1", "a.jsonl.gz:3"]
    assert "16,000,000" in problems[0].message
    assert peak < 80_000_000


def test_rows_of_a_csv_with_too_many_cells(tmp_path: Path, problems: list[DataError]) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text,title\n一,a\n二,b,c\n三\n四,d\n", "utf-8")
    found = read(path, problems.append)
    assert [(document.id, document.text) for document in found] == [
        ("a.csv:2", "一\n"),
        ("a.csv:5", "四\n"),
    ]
    assert [problem.where for problem in problems] == [f"{path}, row 3", f"{path}, row 4"]


def test_a_csv_with_broken_characters(tmp_path: Path, problems: list[DataError]) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes("text\n一\n".encode() + b"\x83\x65\xff\n" + "三\n".encode())
    found = read(path, problems.append, encoding="utf-8")
    assert [document.text for document in found] == ["一\n", "三\n"]
    assert [problem.where for problem in problems] == [f"{path}, row 3"]


def test_an_open_quotation_mark_does_not_swallow_the_file_silently(
    tmp_path: Path, problems: list[DataError]
) -> None:
    path = tmp_path / "a.csv"
    path.write_text('text,title\n一,a\n"二,b\n' + "行,x\n" * 10, "utf-8")
    (tmp_path / "b.csv").write_text("text\n次のファイル\n", "utf-8")
    found = read(tmp_path, problems.append)
    assert found[-1].text == "次のファイル\n"
    assert len(problems) == 1
    assert "a.csv" in problems[0].where


@pytest.mark.parametrize("cut", [4, 100, -4, -20])
def test_a_damaged_parquet_file_is_named(
    tmp_path: Path, cut: int, problems: list[DataError]
) -> None:
    (tmp_path / "a.parquet").write_bytes(parquet(ROWS)[:cut])
    (tmp_path / "b.parquet").write_bytes(parquet(ROWS))
    assert len(read(tmp_path, problems.append)) == 2
    assert ["a.parquet" in problem.where for problem in problems] == [True]


def test_a_million_columns_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text" + ",x" * 100_000 + "\n1\n", "utf-8")
    with pytest.raises(DataError, match="columns"):
        read(path)


def test_what_is_not_there(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "a.jsonl"):
        with pytest.raises(NotFoundError):
            read(path)


TEXTS = st.lists(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"), min_size=1).filter(
        lambda text: bool(text.strip())
    ),
    min_size=1,
    max_size=8,
)


@settings(deadline=None)
@given(TEXTS)
def test_any_text_comes_back(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    folder = tmp_path_factory.mktemp("any")
    rows = [{"text": text, "title": "t"} for text in texts]
    for name, raw in (
        ("a.jsonl", json_lines(rows)),
        ("a.csv", cells(rows)),
        ("a.parquet", parquet(rows)),
    ):
        (folder / name).write_bytes(raw)
        found = read(folder / name, encoding="utf-8")
        assert [document.text for document in found] == [text.strip() + "\n" for text in texts]


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_reported(
    tmp_path_factory: pytest.TempPathFactory, raw: bytes
) -> None:
    folder = tmp_path_factory.mktemp("bytes")
    for name in (
        "a.jsonl",
        "a.csv",
        "a.parquet",
        "a.jsonl.gz",
        "a.csv.bz2",
        "a.jsonl.zst",
        "a.jsonl.xz",
    ):
        (folder / name).write_bytes(raw)
    for document in read(folder, lambda problem: None):
        document.text.encode()


def test_real_leads() -> None:
    if not LEADS.exists():
        pytest.skip(f"the shared data is not here: {LEADS}")
    found = read(LEADS, columns={"id": "id"}, licence="CC-BY-SA-4.0", language="ja")
    assert len(found) == len({document.id for document in found}) == 3979
    assert found[0].id == "wiki00010002"


@pytest.mark.parametrize("encoding", ["utf-8", "cp932", "euc_jp"])
def test_the_encoding_is_told_also_where_a_character_is_broken(
    tmp_path: Path, problems: list[DataError], encoding: str
) -> None:
    """UTF-8 is not taken for CP932, which nearly any bytes are."""
    row = '{"text": "吾輩は猫である。名前はまだ無い。"}\n'.encode(encoding)
    broken = '{"text": "どこで生れたか"}\n'.encode().replace("か".encode(), b"\xe3\x81")
    (tmp_path / "a.jsonl").write_bytes(row + (broken if encoding == "utf-8" else b"") + row)
    found = read(tmp_path / "a.jsonl", problems.append)
    assert [document.text for document in found] == ["吾輩は猫である。名前はまだ無い。\n"] * 2
    assert len(problems) == (encoding == "utf-8")
