"""The documentation does as it says: marked blocks run, all other command lines at least parse."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from support.command_lines import kajiya_lines, parse

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
NAMES = [page.relative_to(ROOT).as_posix() for page in PAGES]
_BLOCK = re.compile(r"^( *)```(\w+)([^\n]*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)|(?:src|href|srcset)=\"([^\"#]+)\"")
# Numbers need no translation, and the lists of commands are compared with the program elsewhere.
HOW_TO = [
    page
    for page in sorted((ROOT / "docs").glob("*.md"))
    if page.name not in ("README.md", "commands.md", "benchmarks.md")
]


def _shell(page: Path, marked: bool) -> list[str]:
    """The shell blocks of a page that are marked to be tested, or those that are not."""
    blocks = _BLOCK.findall(page.read_text(encoding="utf-8"))
    return [
        text
        for _, kind, mark, text in blocks
        if kind == "sh" and (mark.strip() == "test") is marked
    ]


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_command_lines_parse(page: Path) -> None:
    for block in _shell(page, marked=False) + _shell(page, marked=True):
        for line in kajiya_lines(block):
            parse(line)


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_make_targets_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for block in _shell(page, marked=False):
        assert set(re.findall(r"^make ([a-z-]+)", block, re.MULTILINE)) <= targets


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_links_lead_somewhere(page: Path) -> None:
    links = ["".join(link) for link in _LINK.findall(page.read_text(encoding="utf-8"))]
    inside = [link for link in links if "://" not in link]
    assert [link for link in inside if not (page.parent / link).exists()] == []


# Those in Japanese are the same, as a test below makes sure.
@pytest.mark.parametrize(
    "page", [page for page in HOW_TO if _shell(page, marked=True)], ids=lambda page: page.name
)
def test_marked_blocks_run(page: Path, tmp_path: Path) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "KAJIYA_HOME": str(tmp_path / "home"),
    }
    script = "".join(_shell(page, marked=True))
    result = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, f"{script}\n{result.stdout}\n{result.stderr}"


@pytest.mark.parametrize("page", HOW_TO, ids=lambda page: page.name)
def test_both_languages_show_the_same_commands(page: Path) -> None:
    other = page.parent / "ja" / page.name
    blocks = [_shell(each, marked) for each in (page, other) for marked in (False, True)]
    assert blocks[:2] == blocks[2:]
