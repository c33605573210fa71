"""Dumps of a wiki, made here in the form of Wikimedia's."""

from __future__ import annotations

import bz2
import gzip
import tracemalloc
from pathlib import Path

import pytest

from kajiya.core.errors import DataError
from kajiya.corpus.document import Document
from kajiya.corpus.sources.mediawiki import MediaWikiSource, read_mediawiki
from kajiya.corpus.sources.source import Problems, stop

HEAD = """<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.11/" version="0.11" xml:lang="ja">
  <siteinfo><sitename>Wikipedia</sitename><dbname>jawiki</dbname>
    <base>https://ja.wikipedia.org/wiki/%E3%83%A1%E3%82%A4%E3%83%B3%E3%83%9A%E3%83%BC%E3%82%B8</base>
    <namespaces><namespace key="0" case="first-letter" /></namespaces></siteinfo>
"""
TAIL = "</mediawiki>\n"


def page(number: int, title: str, text: str, ns: int = 0, redirect: str = "") -> str:
    text = text.replace("&", "&amp;").replace("<", "&lt;")
    return f"""  <page><title>{title}</title><ns>{ns}</ns><id>{number}</id>{redirect}
    <revision><id>{number + 9000}</id><timestamp>2026-01-01T00:00:00Z</timestamp>
      <contributor><username>人</username><id>5</id></contributor>
      <text bytes="1" xml:space="preserve">{text}</text></revision></page>
"""


def read(path: Path, problems: Problems = stop, **settings: str) -> list[Document]:
    return list(read_mediawiki(MediaWikiSource(path=str(path), **settings), problems))


PAGES = (
    page(1, "Wikipedia:方針", "規則", ns=4),
    page(5, "アンパサンド &amp; 記号", "'''アンパサンド'''（{{lang|en|ampersand}}, &amp;）は[[記号]]。<ref>a</ref>"),
    page(6, "転送", "#REDIRECT [[記号]]", redirect='<redirect title="記号" />'),
    page(7, "山/川", "山と[[川]]。\n\n== 脚注 ==\n{{reflist}}"),
)  # fmt: skip


@pytest.mark.parametrize("packed", [True, False])
def test_articles_of_a_dump(tmp_path: Path, packed: bool) -> None:
    raw = (HEAD + "".join(PAGES) + TAIL).encode()
    path = tmp_path / ("jawiki.xml.bz2" if packed else "jawiki.xml")
    # Wikimedia's dumps are several streams one after another.
    half = len(raw) // 2
    path.write_bytes(bz2.compress(raw[:half]) + bz2.compress(raw[half:]) if packed else raw)
    one, two = read(path)
    assert (one.id, one.title) == ("5", "アンパサンド & 記号")
    assert one.text == "アンパサンド（ampersand, &）は記号。\n"
    assert one.url.startswith("https://ja.wikipedia.org/wiki/%E3%82%A2%E3%83%B3%E3%83%91")
    assert (one.language, one.licence, one.domain) == ("ja", "CC-BY-SA-4.0", "encyclopedia")
    assert two.text == "山と川。\n"
    assert two.url == "https://ja.wikipedia.org/wiki/%E5%B1%B1/%E5%B7%9D"
    assert read(tmp_path, licence="GFDL-1.3-only")[0].licence == "GFDL-1.3-only"


@pytest.mark.parametrize("part", [0.3, 0.6, 0.95])
def test_a_dump_that_is_cut_off_gives_what_is_whole(
    tmp_path: Path, part: float, problems: list[DataError]
) -> None:
    raw = (HEAD + "".join(page(n, f"頁{n}", f"本文{n}。" * 50) for n in range(500)) + TAIL).encode()
    whole = read_bytes(tmp_path, raw)
    packed = b"".join(bz2.compress(raw[at : at + 20_000]) for at in range(0, len(raw), 20_000))
    for cut, name in ((packed, "a.xml.bz2"), (raw, "a.xml")):
        path = tmp_path / name
        path.write_bytes(cut[: int(len(cut) * part)])
        found = read(path, problems.append)
        assert found == whole[: len(found)]
        assert 0 < len(found) < 500
        assert str(path) in problems.pop().where
        path.unlink()


def read_bytes(folder: Path, raw: bytes) -> list[Document]:
    path = folder / "whole.xml"
    path.write_bytes(raw)
    found = read(path)
    path.unlink()
    return found


def test_damage_in_the_middle_names_the_line(tmp_path: Path, problems: list[DataError]) -> None:
    path = tmp_path / "a.xml"
    path.write_text(HEAD + PAGES[1] + "<page><title>x</page>" + PAGES[3] + TAIL, "utf-8")
    assert [document.id for document in read(path, problems.append)] == ["5"]
    assert "line 9" in problems[0].where


def test_entity_bombs_and_external_entities_are_refused(
    tmp_path: Path, problems: list[DataError]
) -> None:
    bomb = """<!DOCTYPE lolz [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">
<!ENTITY c SYSTEM "file:///etc/passwd">]>"""
    (tmp_path / "a.xml").write_text(bomb + HEAD + page(1, "&b;", "x") + TAIL, "utf-8")
    (tmp_path / "b.xml").write_text(HEAD + PAGES[1] + "<page>&undefined;</page>" + TAIL, "utf-8")
    assert [document.id for document in read(tmp_path, problems.append)] == ["5"]
    assert "DOCTYPE" in problems[0].message
    assert "undefined" in problems[1].message


def test_a_huge_page_and_a_huge_tag_are_not_held(tmp_path: Path, problems: list[DataError]) -> None:
    with gzip.open(tmp_path / "a.xml.gz", "wt", compresslevel=1, encoding="utf-8") as file:
        file.write(HEAD + page(1, "大", "@@").partition("@@")[0])
        for _ in range(30):
            file.write("a" * 1_000_000)
        file.write("</text></revision></page>" + PAGES[1] + '<page x="')
        for _ in range(30):
            file.write("a" * 1_000_000)
    tracemalloc.start()
    found = read(tmp_path, problems.append)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [document.id for document in found] == ["5"]
    assert "大" in problems[0].where
    assert "does not end" in problems[1].message
    assert peak < 50_000_000
