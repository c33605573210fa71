"""The page of all commands, made from their own help: `python -m kajiya.cli.reference --language ja`.

`make docs` writes it to `docs/`, and a test fails when a page there is not what this makes.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import click

from kajiya.core.files import write_text
from kajiya.core.language import Language, tr, use

_WIDTH = 88


def reference(root: click.Group, name: str = "kajiya") -> str:
    """Markdown with the help of `root` and of every command below it, in the language in use."""
    parts = [
        tr("# Commands", "# コマンド一覧"),
        tr(
            "Made from the commands' own help by `make docs`; do not edit by hand.",
            "`make docs` が各コマンドのヘルプから作ります。手で書き換えないでください。",
        ),
    ]
    for context in walk(root, name):
        help_text = context.command.get_help(context).rstrip()
        parts.append(f"## {context.command_path}\n\n```text\n{help_text}\n```")
    return "\n\n".join(parts) + "\n"


def walk(
    command: click.Command, name: str, parent: click.Context | None = None
) -> Iterator[click.Context]:
    """A context for `command` and each command below it, in the order in which help lists them."""
    context = click.Context(
        command, info_name=name, parent=parent, terminal_width=_WIDTH, **command.context_settings
    )
    yield context
    if isinstance(command, click.Group):
        for below in command.list_commands(context):
            found = command.get_command(context, below)
            if found is not None and not found.hidden:
                yield from walk(found, below, context)


@click.command(
    help=tr(
        "Print the page of all commands, or write it to a file.",
        "コマンド一覧のページを表示するか、ファイルに書きます。",
    )
    + """

\b
Examples:
  python -m kajiya.cli.reference --language ja
  python -m kajiya.cli.reference --language en --write docs/commands.md
"""
)
@click.option(
    "--language",
    type=click.Choice(get_args(Language)),
    default="en",
    help=tr("Language.", "言語。"),
)
@click.option(
    "--write", type=click.Path(path_type=Path), help=tr("The file to write.", "書き込むファイル。")
)
def main(language: Language, write: Path | None) -> None:
    with use(language):
        # Here, because help texts take their language when their module is imported.
        from kajiya.cli.main import cli

        page = reference(cli)
    if write is None:
        click.echo(page, nl=False)
    else:
        write_text(write, page)


if __name__ == "__main__":
    main()
