"""Answers in the form of the Diet library's interface, recorded here and served over HTTP."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from kajiya.core.errors import ConfigError, DataError
from kajiya.corpus.sources.diet import DietSource, read_diet
from support.web import Web


def meeting(number: int, speeches: list[str]) -> dict[str, Any]:
    id = f"1204012{number:02}X00120260115"
    said = ["会議録情報", *speeches]
    return {
        "issueID": id,
        "imageKind": "会議録",
        "searchObject": 0,
        "session": 220,
        "nameOfHouse": "衆議院",
        "nameOfMeeting": "本会議",
        "issue": f"第{number}号",
        "date": "2026-01-15",
        "closing": None,
        "speechRecord": [
            {
                "speechID": f"{id}_{order:03}",
                "speechOrder": order,
                "speaker": "会議録情報" if order == 0 else "議長",
                "speakerYomi": None,
                "speech": speech,
                "startPage": 0,
                "speechURL": f"https://kokkai.ndl.go.jp/txt/{id}/{order}",
            }
            for order, speech in enumerate(said)
        ],
        "meetingURL": f"https://kokkai.ndl.go.jp/txt/{id}",
        "pdfURL": None,
    }


def serve(served: Web, meetings: list[dict[str, Any]], at_once: int = 10) -> None:
    for start in range(1, len(meetings) + 1, at_once):
        after = start + at_once if start + at_once <= len(meetings) else None
        some = meetings[start - 1 : start - 1 + at_once]
        answer = {
            "numberOfRecords": len(meetings),
            "numberOfReturn": len(some),
            "startRecord": start,
            "nextRecordPosition": after,
            "meetingRecord": some,
        }
        served.page(path(start), json.dumps(answer, ensure_ascii=False), "application/json")


def path(start: int, **more: str) -> str:
    query = {"from": "2026-01-01", "until": "2026-01-31", **more}
    return "/api/meeting?" + urlencode(
        query | {"startRecord": start, "maximumRecords": 10, "recordPacking": "json"}
    )


def settings(served: Web, folder: Path, **changes: Any) -> DietSource:
    given = {
        "since": "2026-01-01",
        "until": "2026-01-31",
        "hosts": [served.host("kokkai.example")],
        "folder": str(folder),
        "network": True,
    }
    return DietSource.checked(given | changes)


def read(served: Web, given: DietSource, *more: Any) -> list[Any]:
    with served.fetcher(given) as fetcher:
        api = served.url("/api/meeting", "kokkai.example")
        return list(read_diet(given, *more, fetcher=fetcher, api=api))


def test_meetings_of_all_pages(served: Web, tmp_path: Path) -> None:
    serve(
        served,
        [meeting(n, [f"○議長　第{n}回を開きます。\r\n\r\n", "異議なし"]) for n in range(1, 13)],
    )
    found = read(served, settings(served, tmp_path))
    assert len(found) == 12
    assert found[0].text == "○議長　第1回を開きます。\n\n異議なし\n"
    assert found[0].title == "衆議院 本会議 第1号 2026-01-15"
    assert found[11].url.endswith("/txt/120401212X00120260115")
    assert (found[0].language, found[0].domain) == ("ja", "proceedings")
    assert len({document.id for document in found}) == 12
    assert served.paths() == ["/robots.txt", path(1), path(11)]
    assert served.slept[1:] == [3.0, 3.0]
    assert read(served, settings(served, tmp_path, network=False)) == found


def test_what_is_asked_for(served: Web, tmp_path: Path) -> None:
    given = settings(served, tmp_path, house="参議院", words="橋 道路")
    with pytest.raises(DataError, match="404"):
        read(served, given)
    asked = parse_qs(urlsplit(served.paths()[-1]).query)
    assert asked["nameOfHouse"] == ["参議院"]
    assert asked["any"] == ["橋 道路"]
    assert "nameOfMeeting" not in asked


def test_a_meeting_without_its_fields_is_reported(
    served: Web, tmp_path: Path, problems: list[DataError]
) -> None:
    bad = meeting(2, ["x"])
    del bad["speechRecord"]
    odd = meeting(3, ["x"])
    odd["speechRecord"][0]["speechOrder"] = "first"
    serve(served, [meeting(1, ["一"]), bad, odd, meeting(4, ["四"])])
    found = read(served, settings(served, tmp_path), problems.append)
    assert [document.text for document in found] == ["一\n", "四\n"]
    assert [problem.where.rpartition(": ")[2] for problem in problems] == ["2", "3"]


@pytest.mark.parametrize(
    "body", ["", "[]", "[" * 100_000, '{"message": "期間が不正です"}', "<html>"]
)
def test_an_answer_of_another_kind_ends_the_reading(served: Web, tmp_path: Path, body: str) -> None:
    served.page(path(1), body, "application/json")
    with pytest.raises(DataError, match="not an answer"):
        read(served, settings(served, tmp_path))


def test_positions_that_do_not_advance_end_the_reading(served: Web, tmp_path: Path) -> None:
    answer = {"numberOfRecords": 1, "nextRecordPosition": 1, "meetingRecord": [meeting(1, ["一"])]}
    served.page(path(1), json.dumps(answer), "application/json")
    assert len(read(served, settings(served, tmp_path))) == 1


def test_the_interface_is_left_alone_unless_asked_for(tmp_path: Path) -> None:
    given = DietSource(since="2026-01-01", until="2026-01-31", folder=str(tmp_path))
    with pytest.raises(ConfigError, match="network"):
        list(read_diet(given))
