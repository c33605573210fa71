"""Help that helps: examples that work, and no waiting for libraries that help does not need."""

from __future__ import annotations

import json
import subprocess
import sys

import click
import pytest

from kajiya.cli.main import cli
from kajiya.cli.reference import walk
from support.command_lines import kajiya_lines, parse

COMMANDS = {context.command_path: context.command for context in walk(cli, "kajiya")}
HEAVY = (
    *("torch", "transformers", "accelerate", "peft", "xllamacpp", "gguf", "numpy", "safetensors"),
    *("sqlalchemy", "alembic", "pyarrow", "tokenizers", "fastapi", "uvicorn", "httpx", "rich"),
)


@pytest.mark.parametrize("path", COMMANDS)
def test_every_command_has_examples_that_it_would_take(path: str) -> None:
    _, found, examples = (COMMANDS[path].help or "").partition("\b\nExamples:\n")
    assert found, f"`{path} --help` has no examples"
    lines = kajiya_lines(examples)
    assert len(lines) == len(examples.strip().splitlines()), "every example is a kajiya command"
    assert any(line.startswith(path) for line in lines)
    for line in lines:
        parse(line)


@pytest.mark.parametrize(
    "line",
    [
        "kajiya forge",
        "kajiya jobs watch x",
        "kajiya chat m --temperature 9",
        "kajiya models list x",
    ],
)
def test_a_wrong_example_would_be_noticed(line: str) -> None:
    with pytest.raises(click.UsageError):
        parse(line)


@pytest.mark.parametrize("path", COMMANDS)
def test_every_option_says_what_it_does(path: str) -> None:
    options = [param for param in COMMANDS[path].params if isinstance(param, click.Option)]
    assert [option.name for option in options if not option.help] == []


def test_help_of_the_whole_loads_nothing_heavy() -> None:
    assert _imported_by("main(['--help'])") == []


def test_help_of_every_command_loads_neither_torch_nor_engines() -> None:
    calls = [[*path.split()[1:], "--help"] for path in COMMANDS]
    heavy = _imported_by(f"[main(call) for call in {calls!r}]")
    assert not {"torch", "transformers", "accelerate", "peft", "xllamacpp"} & set(heavy)


def _imported_by(call: str) -> list[str]:
    """Which of the heavy modules a fresh interpreter has loaded after `call`."""
    program = (
        "import json, sys\n"
        "from kajiya.cli.main import main\n"
        f"{call}\n"
        f"print('\\n' + json.dumps([name for name in {HEAVY!r} if name in sys.modules]))"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert "Usage: kajiya" in result.stdout
    heavy: list[str] = json.loads(result.stdout.splitlines()[-1])
    return heavy
