"""What a check says of rows, which of them it keeps, and how they are counted and set aside."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from kajiya.core.errors import FormatError, NotFoundError
from kajiya.core.workspace import Workspace
from kajiya.data.check import CheckedData, check_file
from kajiya.data.dataset import load_dataset, register_dataset, write_dataset
from kajiya.data.problems import TableError
from kajiya.data.split import split_rows
from kajiya.store.artifacts import ArtifactStore
from kajiya.tokenizer.chat import ChatTokenizer


def _check(
    folder: Path, *rows: tuple[str, ...], header: str = "質問,回答", **options: object
) -> CheckedData:
    path = folder / "data.csv"
    with path.open("w", newline="") as file:
        file.write(header + "\n")
        csv.writer(file).writerows(rows)
    return check_file(path, **options)  # type: ignore[arg-type]


def _found(checked: CheckedData) -> list[tuple[str, str, int, str]]:
    return [(found.level, found.code, found.row, found.column) for found in checked.findings]


def test_the_example_has_no_findings(faq: Path, byte_tokenizer: ChatTokenizer) -> None:
    checked = check_file(faq, tokenizer=byte_tokenizer)
    assert checked.findings == ()
    assert (checked.format, checked.encoding, len(checked.rows)) == ("csv", "utf-8", 120)
    assert checked.columns.as_dict() == {
        "question": "質問",
        "answer": "回答",
        "id": "番号",
        "key_fact": "要点",
        "category": "分類",
    }
    first = checked.rows[0]
    assert (first.id, first.key_fact, first.category, first.source_row) == (
        "faq-001",
        "8時25分",
        "勤怠",
        2,
    )


@pytest.mark.parametrize(
    ("row", "finding"),
    [
        (("", "回答です"), ("warning", "empty_cell", 3, "質問")),
        (("質問", " 　"), ("warning", "empty_cell", 3, "回答")),
        (("", ""), ("warning", "blank", 3, "")),
        (("始業は?", "8時25分です"), ("warning", "duplicate", 3, "")),
        ((" 始業は？", "８時25分です\n"), ("warning", "duplicate", 3, "")),
        (("始業は?", "9時です"), ("warning", "conflict", 3, "質問")),
        (("=SUM(A1)", "合計です"), ("notice", "formula", 3, "質問")),
        (("質問", "@foo です"), ("notice", "formula", 3, "回答")),
        (("質問", "+81です"), ("notice", "formula", 3, "回答")),
        (("質問", "回\x07答です"), ("warning", "control", 3, "回答")),
        (("質問\u202e", "回答です"), ("warning", "control", 3, "質問")),
        (("質\ufffd問", "回答です"), ("warning", "replacement", 3, "質問")),
        (("縺薙ｓ縺ｫ縺｡縺ｯ", "回答です"), ("warning", "mojibake", 3, "質問")),
        (("質問", "ã\x81“ã‚“ã\x81«ã\x81¡ã\x81¯"), ("warning", "mojibake", 3, "回答")),
        (("質問", "a"), ("notice", "short_answer", 3, "回答")),
        (("質問", "あ" * 3_000), ("warning", "long", 3, "")),
    ],
)
def test_rows_are_reported_by_row_and_column(
    tmp_path: Path, row: tuple[str, str], finding: tuple[str, str, int, str]
) -> None:
    checked = _check(tmp_path, ("始業は?", "8時25分です"), row)
    assert finding in _found(checked)
    left_out = finding[1] in ("empty_cell", "blank", "duplicate")
    assert len(checked.rows) == (1 if left_out else 2)
    assert (checked.statistics.rows, checked.statistics.kept) == (2, len(checked.rows))


def test_key_facts_must_be_in_the_answer(tmp_path: Path) -> None:
    rows = [("a", "8 時 ２５分です", "8時25分"), ("b", "9時です", "8時25分"), ("c", "はい", "")]
    checked = _check(tmp_path, *rows, header="質問,回答,要点")
    assert _found(checked) == [("warning", "key_fact", 3, "要点")]
    assert checked.rows[0].key_fact == "8時25分"


def test_rows_longer_than_the_context_are_left_out(
    tmp_path: Path, byte_tokenizer: ChatTokenizer
) -> None:
    short = byte_tokenizer.encode_training(
        check_rows := _check(tmp_path, ("始業は?", "8時です")).rows[0].messages
    )[0]
    checked = _check(
        tmp_path,
        ("始業は?", "8時です"),
        ("始業は?", "8時です。"),
        tokenizer=byte_tokenizer,
        max_tokens=len(short),
    )
    assert _found(checked) == [("warning", "conflict", 3, "質問"), ("warning", "too_long", 3, "")]
    assert [row.messages for row in checked.rows] == [check_rows]


def test_tokens_are_counted_as_training_sees_them(faq: Path, byte_tokenizer: ChatTokenizer) -> None:
    checked = check_file(faq, tokenizer=byte_tokenizer)
    pairs = [byte_tokenizer.encode_training(row.messages) for row in checked.rows]
    statistics = checked.statistics
    assert statistics.tokens and statistics.label_tokens and statistics.prompt_tokens
    lengths = sorted(len(ids) for ids, _ in pairs)
    assert (statistics.tokens.minimum, statistics.tokens.maximum) == (lengths[0], lengths[-1])
    assert statistics.tokens.total == sum(lengths)
    assert statistics.label_tokens.total == sum(sum(trained) for _, trained in pairs)
    assert statistics.prompt_tokens.total == sum(lengths) - statistics.label_tokens.total
    assert lengths[0] <= statistics.tokens.median <= statistics.tokens.p95 <= lengths[-1]
    assert check_file(faq).statistics.tokens is None


def test_ids_do_not_depend_on_file_order_or_looks(tmp_path: Path) -> None:
    rows = [("始業は?", "8時です"), ("昼は?", "12時です"), ("夜は?", "なし")]
    ids = [row.id for row in _check(tmp_path, *rows).rows]
    other = _check(tmp_path, *[(f" {q}", f"{a}\n") for q, a in reversed(rows)], header="Ｑ,答え")
    assert [row.id for row in other.rows] == ids[::-1]
    assert len(set(ids)) == 3 and all(len(name) == 16 for name in ids)


def test_ids_given_twice_are_told_apart(tmp_path: Path) -> None:
    rows = [("x", "a", "aa"), ("x", "b", "bb"), ("x-2", "c", "cc"), ("", "d", "dd")]
    checked = _check(tmp_path, *rows, header="番号,質問,回答")
    ids = [row.id for row in checked.rows]
    assert ids[:2] == ["x", "x-2"] and len(set(ids)) == 4
    assert _found(checked) == [
        ("warning", "duplicate_id", 3, "番号"),
        ("warning", "duplicate_id", 4, "番号"),
    ]


def test_all_errors_are_listed_and_the_first_is_raised(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    lines = [{"q": ["x"], "a": "b"}, {"q": "good", "a": "good"}, {"q": "x", "a": {"y": 1}}]
    path.write_text("\n".join(map(json.dumps, lines)))
    checked = check_file(path)
    assert [(found.code, found.row, found.column) for found in checked.errors] == [
        ("nested", 1, "q"),
        ("nested", 3, "a"),
    ]
    with pytest.raises(TableError, match="and 1 more"):
        write_dataset(tmp_path, checked)
    assert not (tmp_path / "rows.jsonl").exists()


def test_the_input_stands_below_the_instruction(tmp_path: Path) -> None:
    rows = [("要約して", "長い文章", "短い文章"), ("挨拶して", "", "こんにちは")]
    checked = _check(tmp_path, *rows, header="指示,入力,出力")
    assert [row.messages[0].content for row in checked.rows] == ["要約して\n\n長い文章", "挨拶して"]


def test_a_few_rows_are_held_out_always_the_same(faq: Path) -> None:
    rows = check_file(faq).rows
    split = split_rows(rows)
    assert len(split.held_out) == 6
    assert sorted((*split.train, *split.held_out), key=lambda row: row.id) == sorted(
        rows, key=lambda row: row.id
    )
    assert set(split_rows(rows[::-1]).held_out) == set(split.held_out)
    assert set(split_rows(rows, seed=1).held_out) != set(split.held_out)
    assert split_rows(rows[:19]).held_out == ()
    assert split_rows(rows, share=0).held_out == ()
    assert len(split_rows(rows[:20]).held_out) == 1
    assert len(split_rows(rows, share=0.5, most=10).held_out) == 10


def test_adding_a_row_moves_few_others(faq: Path) -> None:
    rows = check_file(faq).rows
    before, after = set(split_rows(rows[:-1]).held_out), set(split_rows(rows).held_out)
    assert len(before ^ after) <= 2


def test_datasets_are_read_as_written(faq: Path, tmp_path: Path) -> None:
    checked = check_file(faq)
    written = write_dataset(tmp_path, checked)
    loaded = load_dataset(tmp_path)
    assert loaded == written
    assert loaded.rows == checked.rows and len(loaded) == 120
    assert loaded.report["statistics"]["kept"] == 120


@pytest.mark.parametrize(
    "line", ["{", "[]", '{"id": "a", "messages": []}', '{"id": 1, "messages": 2}']
)
def test_damaged_datasets_are_refused(faq: Path, tmp_path: Path, line: str) -> None:
    write_dataset(tmp_path, check_file(faq))
    with (tmp_path / "rows.jsonl").open("a") as file:
        file.write(line + "\n")
    with pytest.raises(FormatError, match=r"rows\.jsonl:121"):
        load_dataset(tmp_path)


def test_other_folders_are_no_datasets(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="not a dataset"):
        load_dataset(tmp_path)


def test_a_dataset_becomes_an_artifact(faq: Path, tmp_path: Path) -> None:
    store = ArtifactStore(Workspace(tmp_path / "home"))
    artifact = register_dataset(store, check_file(faq), "company-faq", "faq.csv")
    assert artifact.reference == "company-faq:1"
    found = store.get("company-faq", "dataset")
    assert len(load_dataset(found.folder)) == 120
    assert found.manifest.details["rows"] == 120
    assert found.manifest.config["source"] == "faq.csv"
