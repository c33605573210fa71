"""All personal data in a text, by all finders."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from kajiya.corpus.personal.finding import KINDS, Finding, Kind, plain
from kajiya.corpus.personal.numbers import (
    find_bank_accounts,
    find_cards,
    find_my_numbers,
    find_phones,
)
from kajiya.corpus.personal.people import find_names
from kajiya.corpus.personal.places import find_addresses, find_emails, find_postal_codes

_FINDERS: dict[Kind, Callable[[str], Iterator[Finding]]] = {
    "email": find_emails,
    "card": find_cards,
    "my_number": find_my_numbers,
    "bank_account": find_bank_accounts,
    "phone": find_phones,
    "postal_code": find_postal_codes,
    "address": find_addresses,
}


def find_personal(text: str) -> list[Finding]:
    """Personal data in the order of the text; no two overlap (`KINDS` says which stands).

    Offsets are of characters of `text` as it is.
    """
    read = plain(text)
    found = [finding for finder in _FINDERS.values() for finding in finder(read)]
    found += find_names(text)
    found.sort(key=lambda finding: KINDS.index(finding.kind))
    chosen: list[Finding] = []
    for finding in found:
        if all(finding.end <= other.start or finding.start >= other.end for other in chosen):
            chosen.append(finding)
    return sorted(chosen, key=lambda finding: finding.start)
