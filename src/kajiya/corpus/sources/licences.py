"""Which licence a text, a source file or a link names, as an SPDX identifier.

Recognises common licences by phrases that only they have; anything else is unknown, never guessed.
"""

from __future__ import annotations

import re

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

_SPDX = re.compile(r"SPDX-License-Identifier:[ \t]*([^\n\r]{1,200})")
_END_OF_COMMENT = re.compile(r"[ \t]*(?:\*/|-->|\*\)|#\}|--\]\]|\"\"\"|''').*$")
_SPACE = re.compile(r"[\s*/#;]+")
_CREATIVE_COMMONS = re.compile(
    r"creativecommons\.org/(?:licenses/(by(?:-nc)?(?:-sa|-nd)?)/(\d\.\d)|publicdomain/(zero|mark)/1\.0)"
)

# In this order: a later one may hold the phrases of an earlier one. Every phrase has to be there.
_PHRASES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("AGPL-3.0-only", ("gnu affero general public license", "version 3, 19 november 2007")),
    ("LGPL-3.0-only", ("gnu lesser general public license", "version 3, 29 june 2007")),
    ("LGPL-2.1-only", ("gnu lesser general public license", "version 2.1, february 1999")),
    ("GPL-3.0-only", ("gnu general public license", "version 3, 29 june 2007")),
    ("GPL-2.0-only", ("gnu general public license", "version 2, june 1991")),
    ("MPL-2.0", ("mozilla public license version 2.0",)),
    ("Apache-2.0", ("apache license", "version 2.0, january 2004")),
    ("EPL-2.0", ("eclipse public license - v 2.0",)),
    ("BSL-1.0", ("boost software license - version 1.0",)),
    ("Unlicense", ("free and unencumbered software released into the public domain",)),
    ("CC0-1.0", ("cc0 1.0 universal",)),
    ("CC-BY-NC-SA-4.0", ("attribution-noncommercial-sharealike 4.0 international",)),
    ("CC-BY-NC-4.0", ("attribution-noncommercial 4.0 international",)),
    ("CC-BY-SA-4.0", ("attribution-sharealike 4.0 international",)),
    ("CC-BY-4.0", ("attribution 4.0 international",)),
    ("Zlib", ("altered source versions must be plainly marked", "in no event will the authors")),
    ("ISC", ("permission to use, copy, modify, and", "with or without fee is hereby granted")),
    ("MIT-0", ("permission is hereby granted, free of charge", "without restriction", "mit no attribution")),
    ("MIT", ("permission is hereby granted, free of charge", "without restriction", "shall be included in")),
    (
        "BSD-4-Clause",
        ("redistribution and use in source and binary forms", "all advertising materials"),
    ),
    (
        "BSD-3-Clause",
        ("redistribution and use in source and binary forms", "endorse or promote products"),
    ),
    (
        "BSD-2-Clause",
        ("redistribution and use in source and binary forms", "in binary form must reproduce"),
    ),
)  # fmt: skip


def licence_of_header(text: str) -> str:
    """The expression after `SPDX-License-Identifier:` in a source file's beginning, or nothing."""
    found = _SPDX.search(text)
    return _known(_END_OF_COMMENT.sub("", found[1])) if found else ""


def licence_of_text(text: str) -> str:
    """The licence whose text this is, or nothing. A version "or later" cannot be seen from the text."""
    words = _SPACE.sub(" ", text).lower()
    for name, phrases in _PHRASES:
        if all(phrase in words for phrase in phrases):
            return name
    return ""


def licence_of_url(url: str) -> str:
    """The Creative Commons licence that a link names, or nothing."""
    found = _CREATIVE_COMMONS.search(url.lower())
    if found is None:
        return ""
    if found[3]:
        return "CC0-1.0" if found[3] == "zero" else "CC-PDM-1.0"
    return _known(f"CC-{found[1].upper()}-{found[2]}")


def _known(expression: str) -> str:
    try:
        return str(canonicalize_license_expression(expression.strip()))
    except InvalidLicenseExpression:
        return ""
