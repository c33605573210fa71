"""The pages of commands in the documentation are those that the commands make."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.mark.parametrize(("language", "page"), [("en", "commands.md"), ("ja", "ja/commands.md")])
def test_the_page_is_up_to_date(language: str, page: str, tmp_path: Path) -> None:
    made = tmp_path / "commands.md"
    # A process of its own: help takes its language when it is imported.
    command = [sys.executable, "-m", "kajiya.cli.reference", "--language", language]
    subprocess.run([*command, "--write", str(made)], check=True)
    assert (DOCS / page).read_text(encoding="utf-8") == made.read_text(encoding="utf-8"), (
        f"docs/{page} is not what the commands say now: run `make docs`"
    )
