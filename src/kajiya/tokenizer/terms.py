"""Terms that are to be one token each: a list from a file or a person, checked."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from kajiya.core.errors import DataError, NotFoundError
from kajiya.core.language import tr

_LONGEST = 64
# What no piece may hold: a sentence's end before its own, line ends and other controls, the sign for
# a space, half a surrogate pair.
_FORBIDDEN = re.compile("。.|[\x00-\x1f\x7f▁\ud800-\udfff]", re.DOTALL)


def read_terms(path: Path) -> list[str]:
    """A term a line, in UTF-8; empty lines and what is after a tab are passed over.

    Raises `NotFoundError` without the file, `DataError` naming the line that cannot be a term.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError:
        raise NotFoundError(
            tr("there is no such file", "ファイルがありません"), where=str(path)
        ) from None
    except UnicodeDecodeError as error:
        raise DataError(
            tr(f"not UTF-8: {error}", f"UTF-8 ではありません: {error}"), where=str(path)
        ) from None
    terms = []
    for number, line in enumerate(lines, 1):
        if term := line.split("\t")[0].strip():
            _check(term, f"{path}:{number}")
            terms.append(term)
    return check_terms(terms)


def check_terms(terms: Sequence[str]) -> list[str]:
    """The terms, each once, in their order. Raises `DataError` for one that cannot be a token."""
    for term in terms:
        _check(term, repr(term))
    return list(dict.fromkeys(terms))


def _check(term: str, where: str) -> None:
    if not term.strip() or len(term) > _LONGEST or _FORBIDDEN.search(term):
        raise DataError(
            tr(
                f"{term[:80]!r} cannot be a token",
                f"{term[:80]!r} はトークンにできません",
            ),
            where=where,
            fix=tr(
                f"a term has at most {_LONGEST} characters, all of them printable, and 。 only at its end",
                f"用語は印刷できる {_LONGEST} 文字以内とし、。は末尾だけに使えます",
            ),
        )
