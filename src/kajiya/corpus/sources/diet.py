"""Proceedings of the National Diet of Japan, by the library's public interface (kokkai.ndl.go.jp/api.html).

The interface asks for one request at a time and some seconds in between. The speeches are their
speakers' works: see the notes on licences in docs/corpus-sources.md.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Literal
from urllib.parse import urlencode

from kajiya.core.config import option
from kajiya.core.errors import DataError
from kajiya.core.language import tr
from kajiya.corpus.document import Document
from kajiya.corpus.sources.fetch import Fetcher
from kajiya.corpus.sources.kept import Answer
from kajiya.corpus.sources.network import Host, NetworkSource
from kajiya.corpus.sources.source import Problems, stop

API = "https://kokkai.ndl.go.jp/api/meeting"
_AT_ONCE = 10  # meetings in an answer, the most that there can be
_DATE = r"^\d{4}-\d{2}-\d{2}$"


class DietSource(NetworkSource):
    """Meetings of the Diet between two days."""

    kind: Literal["diet"] = option("diet", en="Kind of source", ja="情報源の種類")
    since: str = option(en="From (YYYY-MM-DD)", ja="開始日 (YYYY-MM-DD)", pattern=_DATE)
    until: str = option(
        en="Until (YYYY-MM-DD)",
        ja="終了日 (YYYY-MM-DD)",
        help=(
            "a day that is over: proceedings are added weeks later",
            "会議録は数週間後に追加されるため、十分に過去の日付にする",
        ),
        pattern=_DATE,
    )
    house: Literal["", "衆議院", "参議院", "両院", "両院協議会"] = option("", en="House", ja="院名")
    meeting: str = option("", en="Name of the meeting holds", ja="会議名に含む語")
    words: str = option("", en="Words in the speeches", ja="発言に含む語")
    hosts: list[Host] = option(
        lambda: ["kokkai.ndl.go.jp"], en="Allowed hosts", ja="許可するホスト", min_length=1
    )
    pause: float = option(3.0, en="Pause (seconds)", ja="間隔 (秒)", ge=2, le=600)
    language: str = option("ja", en="Language", ja="言語")
    domain: str = option("proceedings", en="Kind of text", ja="文書の種別")


def read_diet(
    settings: DietSource,
    problems: Problems = stop,
    fetcher: Fetcher | None = None,
    api: str = API,
) -> Iterator[Document]:
    """A document a meeting, its id the interface's `issueID`; the list of those present is left out.

    `problems` is told of meetings that are not as they should be. Raises `DataError` where the
    interface refuses or fails, `ConfigError` where it would be asked while the network is off.
    """
    with fetcher or Fetcher(settings) as open_fetcher:
        position: int | None = 1
        while position:
            answer = open_fetcher.get(f"{api}?{urlencode(_query(settings, position))}")
            found = _parsed(answer)
            for place, meeting in enumerate(found.get("meetingRecord") or [], position):
                try:
                    yield _document(settings, meeting, answer)
                except (KeyError, TypeError, ValueError, AttributeError):
                    problems(
                        DataError(
                            tr("a meeting without its fields", "項目の欠けた会議録です"),
                            where=f"{answer.url}: {place}",
                        )
                    )
            following = found.get("nextRecordPosition")
            position = following if isinstance(following, int) and following > position else None


def _query(settings: DietSource, position: int) -> dict[str, str | int]:
    wanted = {
        "from": settings.since,
        "until": settings.until,
        "nameOfHouse": settings.house,
        "nameOfMeeting": settings.meeting,
        "any": settings.words,
    }
    return {
        **{name: value for name, value in wanted.items() if value},
        "startRecord": position,
        "maximumRecords": _AT_ONCE,
        "recordPacking": "json",
    }


def _parsed(answer: Answer) -> dict[str, Any]:
    try:
        found = json.loads(answer.body)
        if "numberOfRecords" in found:
            return dict(found)
        reason = str(found.get("message", ""))[:200]
    except (ValueError, RecursionError, TypeError, AttributeError) as error:
        reason = str(error)
    raise DataError(
        tr(f"not an answer of the interface: {reason}", f"API の応答ではありません: {reason}"),
        where=answer.url,
        fix=tr("check the dates and words", "日付と検索語を確かめてください"),
    )


def _document(settings: DietSource, meeting: dict[str, Any], answer: Answer) -> Document:
    speeches = sorted(meeting["speechRecord"], key=lambda speech: int(speech["speechOrder"]))
    said = [
        str(speech["speech"]).replace("\r\n", "\n").strip()
        for speech in speeches
        if int(speech["speechOrder"])
    ]
    return settings.document(
        str(meeting["issueID"]),
        "\n\n".join(said),
        title=" ".join(
            str(meeting[name]) for name in ("nameOfHouse", "nameOfMeeting", "issue", "date")
        ),
        url=str(meeting.get("meetingURL") or ""),
        collected_at=answer.fetched_at,
    )
