"""Web archives made here, whole and damaged."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kajiya.core.errors import DataError
from kajiya.corpus.document import Document
from kajiya.corpus.sources.source import Problems, stop
from kajiya.corpus.sources.warc import WarcSource, read_warc

TEXT = "町の中心にある古い建物で、毎週土曜日に市場が開かれる。遠くからも人が訪れ、夕方までにぎわいが続く。"


def page(number: int) -> bytes:
    paragraphs = "".join(
        f"<p>{number}番目の{name}は、{TEXT}</p>" for name in ("公会堂", "駅舎", "図書館")
    )
    return f"<html lang=ja><title>頁{number}</title><body>{paragraphs}</body></html>".encode()


def record(
    number: int,
    body: bytes | None = None,
    kind: str = "text/html; charset=utf-8",
    status: str = "200 OK",
    headers: str = "",
    record_type: str = "response",
) -> bytes:
    http = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\n{headers}\r\n".encode()
    http += page(number) if body is None else body
    head = f"""WARC/1.0
WARC-Type: {record_type}
WARC-Record-ID: <urn:uuid:00000000-0000-0000-0000-{number:012}>
WARC-Target-URI: https://x.example/{number}
WARC-Date: 2026-01-02T03:04:05Z
Content-Type: application/http; msgtype={record_type}
Content-Length: {len(http)}

"""
    return head.replace("\n", "\r\n").encode() + http + b"\r\n\r\n"


def read(path: Path, problems: Problems = stop) -> list[Document]:
    return list(read_warc(WarcSource(path=str(path)), problems))


def numbers(found: list[Document]) -> list[int]:
    return [int(document.id[-12:]) for document in found]


@pytest.mark.parametrize("name", ["a.warc", "a.warc.gz"])
def test_pages_of_an_archive(tmp_path: Path, name: str) -> None:
    packed = gzip.compress(page(6))
    chunked = b"%x\r\n%s\r\n0\r\n\r\n" % (len(page(7)), page(7))
    records = [
        record(0, b"software: x", record_type="warcinfo"),
        record(1),
        record(2, record_type="request"),
        record(3, status="404 Not Found"),
        record(4, b"\x89PNG", "image/png"),
        record(5, TEXT.encode("cp932"), "text/plain; charset=Shift_JIS"),
        record(6, packed, headers="Content-Encoding: gzip\r\n"),
        record(7, chunked, headers="Transfer-Encoding: chunked\r\n"),
    ]
    pack = gzip.compress if name.endswith("gz") else bytes
    (tmp_path / name).write_bytes(b"".join(map(pack, records)))
    found = read(tmp_path)
    assert numbers(found) == [1, 5, 6, 7]
    assert found[0].text.count(TEXT) == 3
    assert (found[0].title, found[0].language, found[0].domain) == ("頁1", "ja", "web")
    assert (found[0].url, found[0].collected_at) == ("https://x.example/1", "2026-01-02")
    assert found[1].text == TEXT + "\n"
    assert found[3].text.count(TEXT) == 3


@pytest.mark.parametrize("packed", [True, False])
def test_reading_goes_on_after_damage(
    tmp_path: Path, packed: bool, problems: list[DataError]
) -> None:
    records = [record(number) for number in range(6)]
    if packed:
        records = [gzip.compress(raw) for raw in records]
        records[2] = records[2][:100] + b"\0" * 50 + records[2][150:]
    else:
        records[2] = records[2].replace(b"WARC/1.0", b"KRAM/9.9")
    path = tmp_path / ("a.warc.gz" if packed else "a.warc")
    path.write_bytes(b"".join(records))
    assert numbers(read(path, problems.append)) == [0, 1, 3, 4, 5]
    assert len(problems) == 1
    assert problems[0].where.startswith(f"{path}, byte ")


@pytest.mark.parametrize("cut", [30, 200, 300])
def test_an_archive_that_is_cut_off(tmp_path: Path, cut: int, problems: list[DataError]) -> None:
    records = [gzip.compress(record(number)) for number in range(4)]
    path = tmp_path / "a.warc.gz"
    path.write_bytes(b"".join(records)[:-cut])
    assert numbers(read(path, problems.append)) == [0, 1, 2]
    assert len(problems) == 1


def test_bombs_are_passed_over(tmp_path: Path, problems: list[DataError]) -> None:
    bomb = gzip.compress(b"<p>" + b"a" * 30_000_000)
    records = [
        gzip.compress(record(0, bomb, headers="Content-Encoding: gzip\r\n")),
        gzip.compress(record(1, b"a" * 30_000_000)),
        gzip.compress(record(2, b"<div>" * 200_000)),
        gzip.compress(record(3).replace(b"Content-Length: ", b"Content-Length: 99999")),
        gzip.compress(record(4)),
    ]
    (tmp_path / "a.warc.gz").write_bytes(b"".join(records))
    assert numbers(read(tmp_path, problems.append))[-1] == 4
    assert [problem.message.startswith("larger than 20 MB") for problem in problems][:2] == [
        True,
        True,
    ]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2000), st.binary(min_size=1, max_size=20))
def test_any_damage_leaves_the_other_records(
    tmp_path_factory: pytest.TempPathFactory, at: int, junk: bytes
) -> None:
    path = tmp_path_factory.mktemp("warc") / "a.warc.gz"
    plain = "text/plain; charset=utf-8"
    records = [gzip.compress(record(n, f"{n} {TEXT}".encode(), plain)) for n in range(6)]
    raw = bytearray(b"".join(records))
    at %= len(raw)
    raw[at : at + len(junk)] = junk[: len(raw) - at]
    path.write_bytes(raw)
    found = read(path, lambda problem: None)
    whole = {document.text for document in found} & {f"{n} {TEXT}\n" for n in range(6)}
    assert len(whole) >= 4
