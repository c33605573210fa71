"""The same table gives the same rows, whatever kind of file it is in."""

from __future__ import annotations

import codecs
import csv
import io
import json
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kajiya.data.check import check_file
from kajiya.data.read import open_table

ROWS = [
    ("本社の始業時刻は何時ですか。", "8時25分です。\n体操もします。"),
    ("①~髙﨑ー株 の電話は?", '「ヒバリ」と"ヒバリ",両方あります'),
    ("ｶﾅ と カナ", "はい、できます"),
]


def _csv(delimiter: str = ",", line_end: str = "\n") -> str:
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, delimiter=delimiter, lineterminator=line_end, quoting=csv.QUOTE_ALL)
    writer.writerows([("質問", "回答"), *ROWS])
    return buffer.getvalue()


def _read(path: Path) -> list[tuple[str, str]]:
    return [(row.messages[0].content, row.messages[1].content) for row in check_file(path).rows]


@pytest.mark.parametrize(
    ("encoding", "mark", "found"),
    [
        ("utf-8", b"", "utf-8"),
        ("utf-8", codecs.BOM_UTF8, "utf-8"),
        ("utf-16-le", codecs.BOM_UTF16_LE, "utf-16-le"),
        ("utf-16-be", codecs.BOM_UTF16_BE, "utf-16-be"),
        ("utf-16-le", b"", "utf-16-le"),
        ("utf-16-be", b"", "utf-16-be"),
        ("cp932", b"", "cp932"),
    ],
)
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_every_encoding_delimiter_and_line_end(
    tmp_path: Path, encoding: str, mark: bytes, found: str, delimiter: str, line_end: str
) -> None:
    path = tmp_path / "data.csv"
    path.write_bytes(mark + _csv(delimiter, line_end).encode(encoding))
    assert _read(path) == ROWS
    checked = check_file(path)
    assert checked.encoding == found
    assert checked.format == ("tsv" if delimiter == "\t" else "csv")


def test_euc_jp(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_bytes("質問,回答\n始業は何時ですか。,八時です。\n".encode("euc-jp"))
    assert _read(path) == [("始業は何時ですか。", "八時です。")]


def test_utf16_of_latin_letters_without_a_mark(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_bytes("question,answer\nwhen?,now\n".encode("utf-16-be"))
    assert _read(path) == [("when?", "now")]


@pytest.mark.parametrize("name", ["data.jsonl", "data.json", "data", "list.json", "list.txt"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp932"])
def test_json(tmp_path: Path, name: str, encoding: str) -> None:
    objects = [{"question": question, "answer": answer} for question, answer in ROWS]
    lines = "\n".join(json.dumps(item, ensure_ascii=False) for item in objects)
    text = json.dumps(objects, ensure_ascii=False, indent=1) if name.startswith("list") else lines
    path = tmp_path / name
    path.write_bytes(text.encode(encoding))
    assert _read(path) == ROWS


@pytest.mark.parametrize("name", ["data.parquet", "data.csv"])
def test_parquet(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    columns = {"質問": [q for q, _ in ROWS], "回答": [a for _, a in ROWS], "番号": [3, 1, 2]}
    pq.write_table(pa.table(columns), path)
    assert _read(path) == ROWS
    assert [row.id for row in check_file(path).rows] == ["3", "1", "2"]


def test_conversations_in_each_known_form(tmp_path: Path) -> None:
    openai = {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}
    sharegpt = {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]}
    trailing = {"messages": [*openai["messages"], {"role": "user", "content": "more?"}]}
    ids = set()
    for number, item in enumerate((openai, sharegpt, trailing, {"q": "q", "a": "a"})):
        path = tmp_path / f"{number}.jsonl"
        path.write_text(json.dumps(item))
        (row,) = check_file(path).rows
        ids.add((row.id, row.messages))
    assert len(ids) == 1
    table = tmp_path / "table.csv"
    with table.open("w", newline="") as file:
        csv.writer(file).writerows([["messages", "system"], [json.dumps(openai["messages"]), "係"]])
    (row,) = check_file(table).rows
    assert [message.role for message in row.messages] == ["system", "user", "assistant"]


def test_rows_are_numbered_as_in_a_spreadsheet(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_text('\n質問,回答\n"a\nb",c\n\n d ,e\n')
    with open_table(path) as table:
        places = [(record.row, record.line) for record in table.records]
    assert places == [(3, 3), (5, 6)]


def test_columns_without_a_name_and_trailing_blanks_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_text("質問,回答,,\na,b,x,\n,,,\n \n")
    checked = check_file(path)
    assert [row.messages[1].content for row in checked.rows] == ["b"]
    assert [finding.code for finding in checked.findings] == ["blank", "short_answer"][::-1]


def test_numbers_in_json_stay_as_written(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    path.write_text('{"q": 1.50, "a": 12345678901234567890, "id": true}\n{"q": "x", "a": null}')
    (row,) = check_file(path).rows
    assert (row.id, row.messages[0].content, row.messages[1].content) == (
        "true",
        "1.50",
        "12345678901234567890",
    )


CELL = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0\r\ufeff"), max_size=30
)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(CELL, CELL), min_size=1, max_size=6),
    st.sampled_from([",", ";", "\t"]),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
)
def test_any_text_survives(
    rows: list[tuple[str, str]], delimiter: str, line_end: str, encoding: str
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "data.csv"
        with path.open("w", encoding=encoding, newline="") as file:
            writer = csv.writer(
                file, delimiter=delimiter, lineterminator=line_end, quoting=csv.QUOTE_ALL
            )
            writer.writerows([("質問", "回答"), *rows, ("end", "end")])
        with open_table(path) as table:
            found = [tuple(record.values.values()) for record in table.records]
    assert [row for row in found if any(cell.strip() for cell in row)] == [
        row for row in [*rows, ("end", "end")] if any(cell.strip() for cell in row)
    ]
