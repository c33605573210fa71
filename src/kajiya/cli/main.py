"""`kajiya`: the list of commands, loaded one at a time, and how errors look to people."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from typing import Any

import click

from kajiya import __version__
from kajiya.core.errors import KajiyaError
from kajiya.core.language import tr

# Command → module with an attribute of that name, and its one-line help, so that `--help` imports none.
COMMANDS: dict[str, tuple[str, str]] = {
    "forge": (
        "kajiya.cli.forge",
        tr("From a CSV to a served model: the main job", "CSV から使えるモデルまで一気に作る"),
    ),
    "console": ("kajiya.cli.console", tr("Everything in a browser", "ブラウザーの画面で使う")),
    "chat": ("kajiya.cli.chat", tr("Talk to a model in the terminal", "端末でモデルと会話する")),
    "serve": (
        "kajiya.cli.serve",
        tr("Serve models over an OpenAI-compatible API", "OpenAI 互換の API でモデルを提供する"),
    ),
    "keys": (
        "kajiya.cli.keys",
        tr("Keys of the server, and what was used", "サーバーのキーと利用量の管理"),
    ),
    "preferences": (
        "kajiya.cli.preferences",
        tr("What people thought of answers", "回答への評価と修正"),
    ),
    "train": (
        "kajiya.cli.train",
        tr("Train a model or an adapter", "モデルやアダプタを学習する"),
    ),
    "corpus": (
        "kajiya.cli.corpus",
        tr("Text for pretraining, from raw to tokens", "事前学習用の文書をレシピから作る"),
    ),
    "data": ("kajiya.cli.data", tr("Check and register data", "データの点検と登録")),
    "tokenizer": (
        "kajiya.cli.tokenizer",
        tr("Train, extend and compare tokenizers", "トークナイザの学習・拡張・比較"),
    ),
    "models": ("kajiya.cli.models", tr("Models and adapters", "モデルとアダプタの管理")),
    "jobs": ("kajiya.cli.jobs", tr("Running and past jobs", "実行中と過去のジョブ")),
}


class LazyGroup(click.Group):
    """A group whose commands are imported when they are used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = getattr(importlib.import_module(COMMANDS[cmd_name][0]), cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section(tr("Commands", "コマンド")):
            formatter.write_dl([(name, help) for name, (_, help) in COMMANDS.items()])


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    help=tr(
        "Kajiya forges small, Japanese-strong language models on machines you own.",
        "鍛冶屋 (Kajiya): 手元の機械で、日本語に強い小さな言語モデルを鍛えます。",
    )
    + """

\b
Examples:
  kajiya forge examples/company-faq/faq.csv --name company-faq
  kajiya chat company-faq
  kajiya serve company-faq
""",
)
@click.version_option(__version__, prog_name="kajiya")
def cli() -> None:
    pass


def main(arguments: Sequence[str] | None = None) -> Any:
    """Entry point: a `KajiyaError` is told without a traceback; exit status 1, or 2 for usage."""
    try:
        return cli.main(args=arguments, prog_name="kajiya", standalone_mode=False) or 0
    except click.exceptions.Abort:
        click.echo(tr("Stopped.", "中止しました。"), err=True)
        return 130
    except click.exceptions.Exit as request:
        return request.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except KajiyaError as error:
        label = click.style(tr("Error", "エラー"), fg="red", bold=True)
        click.echo(f"{label}: {error}", err=True)
        return 1
    except BrokenPipeError:
        sys.stderr.close()
        return 141


if __name__ == "__main__":
    sys.exit(main())
