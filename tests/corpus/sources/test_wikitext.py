"""MediaWiki's notation, on pages made here."""

from __future__ import annotations

import mwparserfromhell
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kajiya.corpus.sources.wikitext import plain_wikitext

LEAD = """{{Infobox|名前=[[足利]]|子={{仮リンク|x}}|注={{a|{{b}}}}}}
'''足利 尊氏'''（あしかが たかうじ、{{lang|en|Ashikaga}}）は、[[鎌倉時代]]末期から[[室町時代|室町]]の[[武将]]<ref>『本』{{cite}}</ref>。
<!-- [[見えない]] -->
== 生涯 ==
{| class="wikitable"
|-
| 表 || {{x|}}
|}
=== 出自 ===
* 一つ目 [http://x.example/a ラベル]<ref name="a"/>
[[ファイル:x.jpg|thumb|説明 [[内側]] の文]]
あ&amp;い（{{IPA|x}}、）
== 脚注 ==
{{reflist}}
=== 脚注の中 ===
出ない
== 評価 ==
よい。
[[Category:日本]]
"""


def test_an_article() -> None:
    assert plain_wikitext(LEAD).split("\n") == [
        "足利 尊氏（あしかが たかうじ、Ashikaga）は、鎌倉時代末期から室町の武将。",
        "",
        "生涯",
        "",
        "出自",
        "一つ目 ラベル",
        "あ&い",
        "",
        "評価",
        "よい。",
    ]


@pytest.mark.parametrize(
    ("source", "plain"),
    [
        ("[[日本]]の''首都''", "日本の首都"),
        ("[[:Category:山|山の分類]]と[[:カテゴリ]]", "山の分類とカテゴリ"),
        ("[[en:Japan]]本文", "本文"),
        ("a<ref>b</ref>c<REF name=x />d", "acd"),
        ("a<nowiki>[[b]]</nowiki>c", "a[[b]]c"),
        ("一<br/>二<br>三", "一\n二\n三"),
        ("{{未知|残らない}}文", "文"),
        ("{{読み仮名|'''漱石'''|そうせき}}は", "漱石は"),
        ("左{{開いたまま|文は[[残る]]", "左開いたまま|文は残る"),
        ("[[開いたまま", "開いたまま"),
        ("<ref>{{壊れた</ref>文", "文"),
        ("{|\n|a\n{|\n|b\n|}\n|}\n後", "後"),
        ("{{a|[[b|c]]}}\n|}}余り", ""),
        ("x<!-- 終わらない", "x"),
        ("#REDIRECT [[日本]]", "REDIRECT 日本"),
        ("__NOTOC__本文__目次強制__", "本文"),
        ("----\n本文", "本文"),
        ("== 空の節 ==\n== 次 ==", ""),
        ("[https://x.example]と[//y.example 名]", "と名"),
        ("<math>x^2</math>の<small>式</small>", "の式"),
    ],
)
def test_notation(source: str, plain: str) -> None:
    assert plain_wikitext(source) == plain


MARKS = "{{ }} [[ ]] {| |} | \n <ref> </ref> <!-- --> == '' <nowiki> </nowiki> 漢字 a * [http://x ] Category: &lt; < >"


@given(st.lists(st.sampled_from([*MARKS.split(" "), " "]), max_size=60))
def test_any_arrangement_of_marks_is_read(pieces: list[str]) -> None:
    plain = plain_wikitext("".join(pieces))
    assert plain == plain.strip()
    assert not any(line.startswith(("*", "|")) for line in plain.split("\n"))


@given(st.text("あいう。漢字", max_size=40))
def test_words_outside_of_marks_stay(words: str) -> None:
    assert plain_wikitext(f"{{{{x|y}}}}{words}<ref>z</ref>") == words


@pytest.mark.parametrize(
    "mark", ["{{", "[[", "<ref>", "[http://x", "<nowiki>", "<!--", "{|\n", "''"]
)
def test_a_hundred_thousand_open_marks_are_read_in_one_pass(mark: str) -> None:
    plain = plain_wikitext(mark * 100_000 + "文")
    assert "文" in plain or mark in ("<nowiki>", "<!--")


def _nested(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    several = st.lists(inner, min_size=1, max_size=3).map("".join)
    return st.one_of(
        several.map(lambda text: f"[[頁|名{text}]]" if "[[" not in text else text),
        several.map(lambda text: f"{{{{型|{text}|名={text}}}}}"),
        several.map(lambda text: f"<small>{text}</small>"),
        several,
    )


WORDS = st.sampled_from(
    ["山", "川。", "'''海'''。", "[[空]]", "<!-- 注 -->", "{{型}}", "&amp;", "雨''雪''と"]
)


@given(st.recursive(WORDS, _nested, max_leaves=12))
def test_well_formed_pages_are_read_as_by_mwparserfromhell(source: str) -> None:
    theirs = mwparserfromhell.parse(source).strip_code(collapse=False)
    assert plain_wikitext("頭" + source) == "頭" + theirs.strip()
