"""Whatever people read is there in both languages. Read off the source, so that no text is missed."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import kajiya
from kajiya.corpus.report import words

SOURCE = Path(kajiya.__file__).parent
FILES = sorted(path.relative_to(SOURCE).as_posix() for path in SOURCE.rglob("*.py"))


def _calls(file: str, name: str) -> Iterator[ast.Call]:
    tree = ast.parse((SOURCE / file).read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name:
            yield node


def _is_blank(text: ast.expr) -> bool:
    """Whether a string is written out and has nothing in it; f-strings count by their fixed parts."""
    if isinstance(text, ast.JoinedStr):
        return not text.values
    return isinstance(text, ast.Constant) and not str(text.value).strip()


@pytest.mark.parametrize("file", FILES)
def test_every_message_has_both_wordings(file: str) -> None:
    for call in _calls(file, "tr"):
        where = f"{file}:{call.lineno}"
        if [type(arg) for arg in call.args] == [ast.Starred]:
            continue  # a pair that stands elsewhere: below
        assert len(call.args) == 2 and not call.keywords, f"{where}: tr(English, Japanese)"
        assert not any(_is_blank(text) for text in call.args), f"{where}: a wording is empty"


@pytest.mark.parametrize("pairs", [words.STAGES, words.KINDS, words.REASONS, words.RULES])
def test_every_pair_that_stands_elsewhere_has_both_wordings(
    pairs: dict[str, tuple[str, str]],
) -> None:
    for name, pair in pairs.items():
        assert len(pair) == 2 and all(text.strip() for text in pair), name


@pytest.mark.parametrize("file", FILES)
def test_every_setting_is_titled_and_explained_in_both_languages(file: str) -> None:
    for call in _calls(file, "option"):
        given = {word.arg: word.value for word in call.keywords}
        where = f"{file}:{call.lineno}"
        assert not _is_blank(given["en"]) and not _is_blank(given["ja"]), f"{where}: no title"
        if isinstance(help := given.get("help"), ast.Tuple):
            assert not any(_is_blank(text) for text in help.elts), f"{where}: half an explanation"
