"""Command lines as people read them, in help and in documents, and whether `kajiya` would take them."""

from __future__ import annotations

import shlex

import click

from kajiya.cli.main import cli

_SHELL = ("|", ">", ">>", "&&", ";", "&")


def kajiya_lines(text: str) -> list[str]:
    """The lines of `text` that begin with `kajiya`, those broken by a backslash put together."""
    joined = text.replace("\\\n", " ")
    return [line.strip() for line in joined.splitlines() if line.strip().startswith("kajiya ")]


def parse(line: str) -> None:
    """Parse a command line without running it; raises `click.UsageError` for what is not there.

    Comments, pipes and redirections are the shell's and are left out.
    """
    words = shlex.split(line, comments=True)
    end = next((place for place, word in enumerate(words) if word in _SHELL), len(words))
    name: str | None = words[0]
    arguments = words[1:end]
    command: click.Command = cli
    parent: click.Context | None = None
    while isinstance(command, click.Group) and arguments and not arguments[0].startswith("-"):
        parent = click.Context(command, info_name=name, parent=parent)
        name, below, arguments = command.resolve_command(parent, arguments)
        assert below is not None
        command = below
    try:
        command.make_context(name, arguments, parent=parent)
    except click.exceptions.Exit:  # --help and --version have done their work
        return
