"""Where a person lives or is reached: e-mail address, postal code, postal address down to the house."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kajiya.corpus.personal.finding import Finding

_LOCAL = r"[A-Za-z0-9](?:[A-Za-z0-9._%+-]{0,62}[A-Za-z0-9_+-])?"
_DOMAIN = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*\.([A-Za-z]{2,18})"
_AT = r"(?:@|★|◎| ?[\[(<{](?:at|AT|あっと|アット|アットマーク)[\])>}] ?)"
_MARK = re.compile(r"[@★◎\[(<{](?:(?<=[@★◎])|(?:at|AT|あっと|アット|アットマーク)[\])>}])")
_EMAIL = re.compile(rf"(?<![A-Za-z0-9._%+@/-]){_LOCAL}{_AT}{_DOMAIN}(?![A-Za-z0-9@]|-[A-Za-z0-9])")
_FILES = frozenset(
    ["png", "jpg", "jpeg", "gif", "webp", "svg", "avif", "bmp", "js", "css", "local"]
)

_SEVEN = re.compile(r"[0-9][0-9]{2} ?-? ?[0-9]{4}(?![0-9]|-[0-9])")
_SAYS_POSTAL = re.compile(r"(?:〒|郵便番号|[Pp]ostal [Cc]ode|[Zz]ip [Cc]ode)[ :はが・「(]*$")
_POSTAL_FOLLOWS = re.compile(r" *(?:は?郵便番号|[^\s0-9]{2,3}[都道府県])")

_PREFECTURE = (
    r"(?:北海道|東京都|(?:大阪|京都)府|(?:青森|岩手|宮城|秋田|山形|福島|茨城|栃木|群馬|埼玉|千葉|神奈川|新潟|富山|石川|福井"
    r"|山梨|長野|岐阜|静岡|愛知|三重|滋賀|兵庫|奈良|和歌山|鳥取|島根|岡山|広島|山口|徳島|香川|愛媛|高知|福岡|佐賀|長崎|熊本"
    r"|大分|宮崎|鹿児島|沖縄)県)"
)
_KANJI = "一二三四五六七八九十百〇"
_NUMBER = rf"(?:[0-9]{{1,5}}|[{_KANJI}]{{1,5}})"
_NAME = r"[^\s0-9、。,.()「」:;!?のはがをに]"  # a character of a place's name
_TOWN = r"(?:[東西南北][0-9]{1,2}条[東西南北]?|(?:大字)?[^\s0-9、。,.()「」:;!?はがをに]{1,12}?)"
_HOUSE = (
    rf"(?:{_NUMBER}丁目 ?(?:{_NUMBER}(?:番地?|-)?(?:の|-)? ?(?:[0-9]{{1,5}}|{_NUMBER}号)?(?:号|(?:-[0-9]{{1,5}}){{1,2}}(?:号室)?)?)"
    rf"|{_NUMBER}番地(?:の{_NUMBER})?"
    r"|[0-9]{1,5}(?:-[0-9]{1,5}){1,3}(?:号室)?)"
)
_BUILDING = (
    r"(?: ?[^\s0-9、。,.()「」]{0,16}(?:ビル|マンション|ハイツ|コーポ|荘|アパート|タワー|レジデンス|ハウス|メゾン|パレス|団地)"
    r"[^\s0-9、。,.()「」をにはでが]{0,6} ?(?:[0-9]{1,4}(?:階|号室|号|F)?)?)?"
)
_ADDRESS = re.compile(
    rf"(?:{_PREFECTURE} ?(?:{_NAME}{{1,6}}?郡)?(?:{_NAME}{{1,7}}?[市区町村] ?)?(?:{_NAME}{{1,4}}?区)?"
    rf"|(?<![一-龠々]){_NAME}{{1,6}}?市(?:{_NAME}{{1,4}}?区)?)"
    rf" ?{_TOWN} ?{_HOUSE}{_BUILDING}"
)


_HOUSE_BEGINS = re.compile(r"[0-9]|丁目|番地")
_ANCHOR = re.compile(r"[都道府県市]")  # in every address, and quickly found


def find_emails(text: str) -> Iterator[Finding]:
    """E-mail addresses, also with their `@` in words or as a star to deceive machines."""
    end = 0
    for mark in _MARK.finditer(text):
        match = _EMAIL.search(text, max(end, mark.start() - 66), mark.end() + 256)
        if match and match.start() < mark.start() < match.end():
            end = match.end()
            if match[1].lower() not in _FILES:
                yield Finding("email", match.start(), match.end())


def find_postal_codes(text: str) -> Iterator[Finding]:
    """Seven digits that are called a postal code, or stand before a prefecture."""
    for match in _SEVEN.finditer(text):
        before = text[max(0, match.start() - 16) : match.start()]
        told = _SAYS_POSTAL.search(before)
        apart = "-" in match[0] and not re.search(r"[0-9A-Za-z.-]$", before)
        if told or (apart and _POSTAL_FOLLOWS.match(text, match.end())):
            yield Finding("postal_code", match.start(), match.end())


def find_addresses(text: str) -> Iterator[Finding]:
    """Addresses from the prefecture or city down to the number of the house, with building and room."""
    end = 0
    for anchor in _ANCHOR.finditer(text):
        if anchor.start() >= end and _HOUSE_BEGINS.search(text, anchor.end(), anchor.end() + 40):
            match = _ADDRESS.search(text, max(end, anchor.start() - 7), anchor.end() + 100)
            if match and match.start() <= anchor.start():
                end = match.end()
                yield Finding("address", match.start(), end)
