"""Feeds and pages, recorded here and served over HTTP."""

from __future__ import annotations

from pathlib import Path

import pytest

from kajiya.core.errors import ConfigError, DataError
from kajiya.corpus.sources.apart import Apart
from kajiya.corpus.sources.feed import FeedSource, read_feeds
from kajiya.corpus.sources.pages import PagesSource, read_pages
from support.web import Web

RSS = """<?xml version="1.0" encoding="UTF-8"?>
<rss version="2.0" xmlns:content="http://purl.org/rss/1.0/modules/content/"
     xmlns:creativeCommons="http://backend.userland.com/creativeCommonsRssModule">
<channel><title>町の新聞</title><link>http://news.example/</link><language>ja-JP</language>
<creativeCommons:license>https://creativecommons.org/licenses/by/4.0/</creativeCommons:license>
<item><title>橋が&lt;b&gt;開通&lt;/b&gt;</title><link>{article}</link><guid isPermaLink="false">n1</guid><author>記者A</author>
<description>要約です。</description>
<content:encoded><![CDATA[<p>新しい橋が開通した。</p><p>A&amp;B 通りへ。<script>x()</script></p>]]></content:encoded></item>
<item><title>二つ目</title><link>{gone}</link><guid isPermaLink="false">n2</guid><description>短い本文。</description></item>
<item><title>同じもの</title><guid isPermaLink="false">n1</guid><description>もう一度。</description></item>
<item><title>本文のないもの</title><guid isPermaLink="false">n3</guid></item>
</channel></rss>"""

ATOM = """<?xml version="1.0" encoding="Shift_JIS"?>
<feed xmlns="http://www.w3.org/2005/Atom" xml:lang="ja"><title>お知らせ</title><id>f</id>
<entry><id>tag:a1</id><title>休館日</title><link href="http://news.example/a1"/><author><name>図書館</name></author>
<content type="html">&lt;p&gt;月曜日は休館です。&lt;/p&gt;</content></entry></feed>"""

BOMB = """<?xml version="1.0"?><!DOCTYPE rss [<!ENTITY a "ああああああああああ">
<!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;">
<!ENTITY d "&c;&c;&c;&c;&c;&c;&c;&c;&c;&c;"><!ENTITY f SYSTEM "file:///etc/passwd">]>
<rss version="2.0"><channel><title>t</title><item><guid isPermaLink="false">1</guid><description>&d;&f;</description></item></channel></rss>"""

ARTICLE = (
    """<!DOCTYPE html><html lang="ja"><head><title>橋が開通 | 町の新聞</title></head><body>
<nav><a href="/">トップ</a><a href="/list">記事一覧</a></nav><article><h1>橋が開通</h1>"""
    + "".join(
        f"<p>{place}をまたぐ新しい橋が開通し、式典には多くの住民が集まった。通学の道が短くなると喜ぶ声が聞かれた。</p>"
        for place in ("大きな川", "北の谷", "古い港")
    )
    + """</article><footer><a rel="license" href="https://creativecommons.org/licenses/by-sa/4.0/">CC</a>
© 町の新聞 無断転載を禁じます</footer></body></html>"""
)


def settings(served: Web, folder: Path, *urls: str, **changes: object) -> FeedSource:
    given = {"urls": list(urls), "hosts": [served.host()], "folder": str(folder), "network": True}
    return FeedSource.checked(given | changes)


def rss(served: Web) -> str:
    page = RSS.format(article=served.url("/bridge"), gone=served.url("/gone"))
    return served.page("/rss", page, "application/rss+xml")


def test_entries_of_rss_and_atom(served: Web, tmp_path: Path) -> None:
    atom = served.page("/atom", ATOM.encode("cp932"), "application/atom+xml")
    given = settings(served, tmp_path, rss(served), atom)
    with served.fetcher(given) as fetcher:
        found = list(read_feeds(given, fetcher=fetcher))
    assert [document.id for document in found] == ["n1", "n2", "n3", "tag:a1"]
    first, last = found[0], found[3]
    assert first.text == "新しい橋が開通した。\nA&B 通りへ。\n"
    assert (first.title, first.author, first.language) == ("橋が開通", "記者A", "ja")
    assert (first.licence, first.url) == ("CC-BY-4.0", served.url("/bridge"))
    assert (first.source, first.domain, len(first.collected_at)) == ("feed", "news", 10)
    assert (last.text, last.author) == ("月曜日は休館です。\n", "図書館")


def test_whole_articles(served: Web, tmp_path: Path, problems: list[DataError]) -> None:
    served.page("/bridge", ARTICLE)
    given = settings(served, tmp_path, rss(served), articles=True)
    with served.fetcher(given) as fetcher:
        [found] = read_feeds(given, problems.append, fetcher)
    assert found.text.count("新しい橋が開通") == 3
    assert "無断転載" not in found.text
    assert "記事一覧" not in found.text
    assert found.licence == "CC-BY-SA-4.0"
    assert problems[0].where == served.url("/gone")


def test_a_run_that_was_stopped_goes_on_without_fetching_again(served: Web, tmp_path: Path) -> None:
    served.page("/bridge", ARTICLE)
    served.page("/gone", ARTICLE)
    given = settings(served, tmp_path, rss(served), articles=True)
    with served.fetcher(given) as fetcher:
        first = next(read_feeds(given, lambda problem: None, fetcher))
    assert served.paths() == ["/robots.txt", "/rss", "/bridge"]
    with served.fetcher(given) as fetcher:
        again = list(read_feeds(given, lambda problem: None, fetcher))
    assert again[0] == first
    assert served.paths()[3:] == ["/robots.txt", "/gone"]


def test_entities_are_not_expanded(served: Web, tmp_path: Path) -> None:
    given = settings(served, tmp_path, served.page("/bomb", BOMB, "text/xml"))
    with served.fetcher(given) as fetcher:
        found = list(read_feeds(given, fetcher=fetcher))
    assert all(len(document.text) < 1000 and "root:" not in document.text for document in found)


def test_a_feed_that_keeps_its_reader_busy_is_given_up() -> None:
    hostile = b"<rss version='2.0'><channel>" + b"<a>" * 1_000_000
    with Apart("feed", seconds=1) as feed, pytest.raises(DataError, match="more than 1 seconds"):
        feed.all(hostile, "http://news.example/", where="feed")


def test_what_is_no_feed_is_reported(
    served: Web, tmp_path: Path, problems: list[DataError]
) -> None:
    """Also the name of a file, which must not be opened."""
    secret = tmp_path / "secret.xml"
    secret.write_text(RSS.format(article="", gone=""), "utf-8")
    urls = [served.page("/html", ARTICLE), served.page("/name", str(secret), "text/xml")]
    given = settings(served, tmp_path / "kept", *urls)
    with served.fetcher(given) as fetcher:
        assert not list(read_feeds(given, problems.append, fetcher))
    assert [problem.where for problem in problems] == urls


def test_pages(served: Web, tmp_path: Path, problems: list[DataError]) -> None:
    urls = [
        served.page("/bridge", ARTICLE.encode("euc_jp"), "text/html; charset=EUC-JP"),
        served.page("/note.txt", "ただの文章です。".encode("cp932"), "text/plain"),
        served.page("/picture", b"\x89PNG", "image/png"),
        served.url("/gone"),
    ]
    given = PagesSource(urls=urls, hosts=[served.host()], folder=str(tmp_path), network=True)
    with served.fetcher(given) as fetcher:
        found = list(read_pages(given, problems.append, fetcher))
    assert [document.id for document in found] == urls[:2]
    assert found[0].title == "橋が開通 | 町の新聞"
    assert found[0].language == "ja"
    assert found[1].text == "ただの文章です。\n"
    assert [problem.where for problem in problems] == urls[2:]


def test_the_network_is_off_unless_asked_for(tmp_path: Path) -> None:
    given = PagesSource(
        urls=["https://news.example/"], hosts=["news.example"], folder=str(tmp_path)
    )
    with pytest.raises(ConfigError, match="network"):
        list(read_pages(given))
