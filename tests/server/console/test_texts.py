"""Both languages have the same words, and every word that a template or script asks for."""

from __future__ import annotations

import re
from pathlib import Path
from string import Formatter

import pytest

import kajiya.server.console as package
from kajiya.server.console.navigation import PAGES
from kajiya.server.console.texts import Texts
from support.console import RunningConsole

TEXTS = Texts(PAGES)
FOLDER = Path(package.__file__).parent
SOURCES = sorted(
    path
    for kind in ("html", "js", "py")
    for path in FOLDER.rglob(f"*.{kind}")
    if "uplot" not in str(path)
)
# t("key") in templates and scripts; keys that are put together end in a dash or a dot.
_USED = re.compile(r'\bt\(\s*"([a-z-]+\.[a-z0-9.-]+)"(\s*~)?')


def test_the_two_languages_have_the_same_keys() -> None:
    assert TEXTS.keys("ja") == TEXTS.keys("en")


@pytest.mark.parametrize("key", sorted(TEXTS.keys("en")))
def test_both_wordings_take_the_same_values(key: str) -> None:
    def names(text: str) -> set[str]:
        return {name for _, name, _, _ in Formatter().parse(text) if name is not None}

    english, japanese = TEXTS.get("en", key), TEXTS.get("ja", key)
    assert names(english) == names(japanese)
    assert english.strip() == english != ""
    assert japanese.strip() == japanese != ""


def test_every_word_that_is_asked_for_is_there() -> None:
    missing = set()
    for path in SOURCES:
        for key, more in _USED.findall(path.read_text(encoding="utf-8")):
            known = TEXTS.keys("en")
            if not (any(k.startswith(key) for k in known) if more else key in known):
                missing.add(f"{path.name}: {key}")
    assert missing == set()


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("ja", "ja"),
        ("ja-JP,ja;q=0.9,en;q=0.8", "ja"),
        ("en-US,en;q=0.9,ja;q=0.8", "en"),
        ("fr,ja;q=0.3,en;q=0.2", "ja"),
        ("en;q=0,ja;q=0.1", "ja"),
        ("fr", "en"),
        ("", "en"),
        ("*;q=x,\x00", "en"),
    ],
)
def test_the_browser_says_which_language(
    console: RunningConsole, header: str, language: str
) -> None:
    with console.reader() as reader:
        reader.headers["Accept-Language"] = header.replace("\x00", "")
        assert f'<html lang="{language}"' in reader.see("/sign-in").text


def test_a_choice_beats_the_browser_and_stays(console: RunningConsole) -> None:
    with console.reader("en") as reader:
        reader.see("/sign-in")
        assert reader.submit("/taste", language="ja", next="/sign-in").status_code == 303
        assert '<html lang="ja"' in reader.see("/sign-in").text
        reader.sign_in()
        assert reader.submit("/taste", language="ja", theme="dark").status_code == 303
    with console.reader("en") as elsewhere:
        elsewhere.sign_in()
        page = elsewhere.see("/settings").text
        assert '<html lang="ja" data-theme="dark">' in page
        assert "言語と配色" in page
        # Words of lower layers follow, too.
        wrong = elsewhere.get("/nowhere")
        assert "このページはありません" in wrong.text
        assert elsewhere.submit("/taste", language="en", theme="").status_code == 303


def test_a_choice_that_is_none_is_refused(console: RunningConsole) -> None:
    with console.reader() as reader:
        reader.see("/sign-in")
        for wrong in ({"language": "xx"}, {"theme": "pink"}):
            assert reader.submit("/taste", **wrong).status_code == 400
