"""Numbers that belong to a person: telephone, My Number, payment card, bank account.

Form and check digits tell most of them from order numbers and product codes; where they cannot, the
words before a number do.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from kajiya.corpus.personal.finding import Finding, digits_of

_BEFORE = 16  # characters before a number that may say what it is
# A number of something else: the word, then at most a few marks, then the number.
_OTHER = re.compile(
    r"(?:(?:注文|伝票|受付|追跡|会員|製造|管理|整理|請求|契約|品|型|商品|部品|参照|案件|お?問い?合わ?せ"
    r"|送り状|シリアル|法人|製品|予約|登録|認証|許可|免許証|証明|保険者|年金|学籍|社員|ポイント)(?:番号|コード|ナンバー|ID|No\.?)"
    r"|型番|品番|型式|伝票|注文|整理券|シリアル|ライセンスキー|バーコード|議案|特許|特願|座標|バージョン"
    r"|ID|IMEI|JAN|ISBN|UPC|SKU|UUID|[Oo]rder|[Ss]erial|[Vv]ersion|第)"
    r"(?:コード)?\s*(?:は|が|の)?[\s:=#「(]*(?:[Nn]o\.?|第|:)?\s*$"
)
# Where digits and what people put between them stand in a row: searched first, since it is fast.
_RUN = re.compile(r"[+(0-9][0-9 ()+.・-]{6,}")
_EDGE = r"(?<![0-9A-Za-z.,/-])(?<![0-9] )"
_END = r"(?![0-9A-Za-z]|-[0-9A-Za-z]|[.,/][0-9]| [0-9]{4})"

_GAP = r" ?[-.・ )] ?"
_PHONES = (
    r"\+81[ -]?(?:\(0\)[ -]?)?[1-9][0-9]{0,3}[ -]?[0-9]{1,4}[ -]?[0-9]{4}",
    r"\+(?!81)[1-9][0-9]{0,2}(?:[ -]?\(?[0-9]{1,5}\)?){2,5}",
    r"\(0[1-9][0-9]{0,3}\)[ -]?[0-9]{1,4}[- ][0-9]{3,4}",
    r"0[1-9][0-9]{0,3} ?\([0-9]{1,4}\) ?-?[0-9]{3,4}",
    rf"0[1-9][0-9]{{0,3}}{_GAP}[0-9]{{1,4}}{_GAP}[0-9]{{3,4}}",
    r"0[1-9][0-9]{8,9}",
)
_PHONE = re.compile(f"{_EDGE}(?:{'|'.join(_PHONES)}){_END}")
_SAYS_PHONE = re.compile(
    r"(?:電話|携帯|スマホ|連絡|[Tt][Ee][Ll]|[Ff][Aa][Xx]|ファ(?:ッ)?クス|☎|📞|ダイヤル|[Pp]hone|[Cc]all"
    r"|[Mm]obile|代表)[^0-9]*$"
)

_GROUPED = r"[0-9]{4}(?:[ -][0-9]{4}){2}"
_MY_NUMBER = re.compile(rf"{_EDGE}(?:[0-9]{{12}}|{_GROUPED}){_END}")
_SAYS_MY_NUMBER = re.compile(r"マイナンバ|個人番号|[Mm]y ?[Nn]umber|MY NUMBER")

_CARD = re.compile(
    rf"{_EDGE}(?:[0-9]{{4}}(?:[ -][0-9]{{4}}){{3}}|[0-9]{{4}}[ -][0-9]{{6}}[ -][0-9]{{4,5}}|[0-9]{{13,19}}){_END}"
)

_ACCOUNT_WORDS = (
    "普通",
    "当座",
    "貯蓄",
    "総合",
    "(普",
    "(当",
    "口座",
    "記号",
    "振替",
    "払込",
    "ccount ",
)
_ACCOUNT_KIND = r"(?:(?:普通|当座|貯蓄|総合)(?:預金|貯金)?(?:口座)?|[(](?:普|当)[)])[ :=・.「(]*"
_ACCOUNT_WORD = r"(?:口座番号|[Aa]ccount (?:[Nn]umber|[Nn]o\.?))[ :=は「(]*"
_ACCOUNT = re.compile(
    rf"(?:{_ACCOUNT_KIND}|{_ACCOUNT_WORD})(?:[Nn]o\.? ?)?([0-9]{{7,8}})"
    r"(?![0-9,]|[-.][0-9]| ?[人円件台本個冊回号年点票株を])"
)
_POST_OFFICE = re.compile(
    r"記号[ :]*(1[0-9]{3}0)(?:-[0-9])?[ ,、/]*番号[ :]*([0-9]{1,7}1)(?![0-9])"
)
_TRANSFER = re.compile(
    r"(?:郵便振替|振替口座|払込|口座番号)[^0-9\n]{0,8}(0[0-9]{4}-[0-9]-[0-9]{1,6})(?![0-9-])"
)


def _in_runs(form: re.Pattern[str], text: str) -> Iterator[re.Match[str]]:
    """The matches of a form, looked for only where there are digits."""
    for run in _RUN.finditer(text):
        yield from form.finditer(text, run.start(), run.end() + 6)  # 6 for what must not follow


def find_phones(text: str) -> Iterator[Finding]:
    """Telephone numbers of Japan, and of other countries with their `+`."""
    for match in _in_runs(_PHONE, text):
        before = text[max(0, match.start() - _BEFORE) : match.start()]
        if _OTHER.search(before):
            continue
        if not _is_phone(match[0], said=_SAYS_PHONE.search(before) is not None):
            continue
        yield Finding("phone", match.start(), match.end())


def _is_phone(written: str, said: bool) -> bool:
    digits = digits_of(written)
    if written.startswith("+"):
        if not written.startswith("+81"):
            return 8 <= len(digits) <= 15
        digits = "0" + digits[2:].lstrip("0")
    if digits[:3] in ("050", "070", "080", "090"):
        return len(digits) == 11
    if digits.startswith(("0120", "0570", "0990")):
        return len(digits) == 10 and (said or digits.startswith("0120") or len(written) > 10)
    if digits.startswith("0800"):
        return len(digits) == 11
    # Without separators ten digits are a telephone number only if something says so.
    parts = re.split(r"[^0-9+]+", written)
    return len(digits) == 10 and (said if len(parts) == 1 else len(parts[-1]) == 4)


def find_my_numbers(text: str) -> Iterator[Finding]:
    """Individual numbers of twelve digits whose check digit is right, where they are called so near by
    or are written in three groups."""
    for match in _in_runs(_MY_NUMBER, text):
        if not is_my_number(digits_of(match[0])):
            continue
        near = text[max(0, match.start() - 2 * _BEFORE) : match.end() + _BEFORE]
        other = _OTHER.search(text[max(0, match.start() - _BEFORE) : match.start()])
        if _SAYS_MY_NUMBER.search(near) or (len(match[0]) > 12 and not other):
            yield Finding("my_number", match.start(), match.end())


def is_my_number(digits: str) -> bool:
    """Whether the twelfth digit is the check digit of the eleven before it.

    Ordinance 85 of the Ministry of Internal Affairs and Communications of 2014, article 5.
    """
    total = sum(
        int(digit) * (place + 1 if place <= 6 else place - 5)
        for place, digit in enumerate(reversed(digits[:11]), 1)
    )
    rest = total % 11
    return len(digits) == 12 and int(digits[11]) == (0 if rest <= 1 else 11 - rest)


def find_cards(text: str) -> Iterator[Finding]:
    """Payment cards: the length and prefix of a known brand, and Luhn's check digit."""
    for match in _in_runs(_CARD, text):
        digits = digits_of(match[0])
        before = text[max(0, match.start() - _BEFORE) : match.start()]
        if is_card_brand(digits) and luhn(digits) and not _OTHER.search(before):
            yield Finding("card", match.start(), match.end())


def is_card_brand(digits: str) -> bool:
    """Whether a card of a known brand may have this length and beginning."""
    length, two, four = len(digits), int(digits[:2]), int(digits[:4])
    return (
        (digits[0] == "4" and length in (13, 16, 19))  # Visa
        or (length == 16 and (51 <= two <= 55 or 2221 <= four <= 2720))  # Mastercard
        or (length == 15 and two in (34, 37))  # American Express
        or (length == 16 and 3528 <= four <= 3589)  # JCB
        or (length == 14 and (3000 <= four <= 3059 or two in (36, 38, 39)))  # Diners Club
        or (length == 16 and (four == 6011 or 6440 <= four <= 6599))  # Discover
        or (16 <= length <= 19 and two == 62)  # UnionPay
    )


def luhn(digits: str) -> bool:
    """Whether the last digit is Luhn's check digit of those before it (ISO/IEC 7812-1)."""
    doubled = (int(digit) * (1 + place % 2) for place, digit in enumerate(reversed(digits)))
    return sum(value - 9 if value > 9 else value for value in doubled) % 10 == 0


def find_bank_accounts(text: str) -> Iterator[Finding]:
    """Account numbers after the kind of account or the word for it; the post office's in its own form."""
    if not any(word in text for word in _ACCOUNT_WORDS):
        return
    for match in _ACCOUNT.finditer(text):
        yield Finding("bank_account", *match.span(1))
    for match in _POST_OFFICE.finditer(text):
        yield Finding("bank_account", *match.span(1))
        yield Finding("bank_account", *match.span(2))
    for match in _TRANSFER.finditer(text):
        yield Finding("bank_account", *match.span(1))
