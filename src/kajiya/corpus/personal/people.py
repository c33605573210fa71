"""People's names where a title or honorific follows: 田中さん, 佐藤花子様, 木村教授.

A name begins with one of the common family names in `surnames.txt`. Other names are not found, nor are
names without a title: that needs a model of names, and most such names in a corpus are public.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from importlib.resources import files

from kajiya.corpus.personal.finding import Finding

_TITLES = (
    "さん|さま|様|氏|殿|君|くん|ちゃん|先生|教授|准教授|講師|博士|社長|専務|常務|部長|課長|係長|主任|店長|所長|室長|会長|理事長"
    "|先輩|監督|選手|医師|弁護士|議員|刑事|巡査|記者|コーチ"
)
# Another kanji before it would make the family name the end of a word, except for words such as these.
_BEGIN = "(?:(?<![一-龠々])|(?<=昨日|今日|明日|今朝|昨夜|主人|夫人|担当|部下|被告|原告|同僚|友人|上司|恩師|会長|社長|部長|課長))"
# A given name in kanji, hiragana (not after a particle) or katakana; a family name of one kanji begins so
# many words (関係, 東京) that its given name must stand apart.
_GIVEN = r"(?:[一-龠々]{1,3}|(?![のがはともにをでへや])[ぁ-ん]{2,4}|[ァ-ヶー]{2,5})"
_LONG = rf"(?:[ \u3000]?{_GIVEN})?"
_SHORT = rf"(?:[ \u3000]{_GIVEN})?"


_TITLE = re.compile(_TITLES)
_LONGEST = 10  # characters of a name with its space


@cache
def _names() -> re.Pattern[str]:
    surnames = files("kajiya.corpus.personal").joinpath("surnames.txt").read_text("utf-8").split()
    long = "|".join(sorted(name for name in surnames if len(name) > 1)[::-1])  # 佐々木 before 佐々
    short = "|".join(sorted(name for name in surnames if len(name) == 1))
    return re.compile(rf"{_BEGIN}((?:{long}){_LONG}|(?:{short}){_SHORT})[ \u3000]?\Z")


def find_names(text: str) -> Iterator[Finding]:
    """Names before a title, without the title."""
    end = 0
    for title in _TITLE.finditer(text):
        match = _names().search(text, max(end, title.start() - _LONGEST), title.start())
        if match:
            end = title.end()
            yield Finding("name", *match.span(1))
