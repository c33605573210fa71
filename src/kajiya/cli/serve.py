"""`kajiya serve`: models behind the OpenAI HTTP API, on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from kajiya.cli.options import config_options
from kajiya.core.language import tr
from kajiya.inference.protocol import EngineSettings

if TYPE_CHECKING:
    from rich.console import Console

    from kajiya.core.workspace import Workspace


@click.command(
    help=tr(
        """Serve models through the OpenAI API on this machine.

Without a name, the model that was tuned last. Give several names to serve several at once; tunings of
one base share it. The first is loaded now, the others when they are first asked for. Ctrl-C stops the server after running answers are finished.

\b
Examples:
  kajiya serve company-faq
  kajiya serve company-faq starter:gemma-3-270m --port 9000
  kajiya serve company-faq remote:office
""",
        """このコンピューターで、モデルを OpenAI 互換の API として公開します。

名前を省くと、最後に調整したモデルを使います。名前は複数指定でき、基になるモデルが同じなら共有します。
最初のモデルはすぐに、ほかのモデルは初めて使われるときに読み込みます。
Ctrl-C で、生成中の回答を終えてから止まります。

\b
Examples:
  kajiya serve company-faq
  kajiya serve company-faq starter:gemma-3-270m --port 9000
  kajiya serve company-faq remote:office
""",
    )
)
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8321,
    show_default=True,
    help=tr("Port; 0 picks a free one.", "ポート。0 なら空いているものを選びます。"),
)
@click.option(
    "--vllm",
    is_flag=True,
    help=tr(
        "Run models that are not RWKV by vLLM, which must be installed.",
        "RWKV 以外のモデルを vLLM で動かします(別途インストールが必要)。",
    ),
)
@click.option(
    "--idle-minutes",
    type=click.FloatRange(0),
    default=30,
    show_default=True,
    help=tr(
        "Unload a model that nobody asked for so long; the next request loads it again. 0: never.",
        "この時間だれも使わなかったモデルを下ろします。次のリクエストでまた読み込みます。0 なら下ろしません。",
    ),
)
@click.option(
    "--memory",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help=tr(
        "MiB for all models: the one that was not used for longest makes room. 0: three quarters of the machine's.",
        "モデル全体に使うメモリ (MiB)。足りなくなると、最も長く使われていないモデルを下ろします。0 なら本体の 4 分の 3。",
    ),
)
@config_options(EngineSettings)
def serve(
    names: tuple[str, ...],
    port: int,
    vllm: bool,
    idle_minutes: float,
    memory: int,
    overrides: dict[str, Any],
) -> None:
    from rich.console import Console

    from kajiya.core.workspace import Workspace
    from kajiya.inference.servable import resolve_servable
    from kajiya.server.serve import serve as run
    from kajiya.server.settings import ServerSettings

    workspace = Workspace.current()
    console = Console()
    with console.status(tr("Loading…", "読み込んでいます…")) as status:
        wanted = dict.fromkeys(names or [_newest(workspace)])
        models = [resolve_servable(name, workspace, vllm=vllm) for name in wanted]

        def announce(url: str, key: str) -> None:
            status.stop()
            _announce(console, url, key, [model.name for model in models])

        run(
            models,
            workspace,
            ServerSettings(port=port, idle_minutes=idle_minutes, memory=memory),
            EngineSettings.checked(overrides),
            announce,
        )


def _newest(workspace: Workspace) -> str:
    from kajiya.core.errors import NotFoundError
    from kajiya.store.artifacts import ArtifactStore

    adapters = ArtifactStore(workspace).list("adapter")
    if not adapters:
        raise NotFoundError(
            tr("there is no tuned model yet", "調整済みのモデルがまだありません"),
            fix=tr(
                "make one with `kajiya forge FILE.csv`, or name a model: `kajiya serve starter:gemma-3-270m`",
                "`kajiya forge FILE.csv` で作るか、`kajiya serve starter:gemma-3-270m` のように名前を指定してください",
            ),
        )
    return max(adapters, key=lambda artifact: artifact.manifest.created_at).name


def _announce(console: Console, url: str, key: str, names: list[str]) -> None:
    """Everything needed to send the first request; written so that it can be copied and pasted."""
    from kajiya.server.snippets import curl, python

    rows = (
        (tr("Address", "アドレス"), f"{url}/v1"),
        (tr("Key", "キー"), key),
        (tr("Models", "モデル"), ", ".join(names)),
    )
    width = max(len(title) for title, _ in rows) + 2
    for title, value in rows:
        console.print(f"[bold]{title}[/bold]", end=" " * (width - len(title)))
        console.print(value, markup=False, highlight=False, soft_wrap=True)
    in_terminal = tr("In a terminal", "ターミナルで")
    for title, code in (
        (in_terminal, curl(url, key, names[0])),
        ("Python", python(url, key, names[0])),
    ):
        console.print(f"\n[bold]{title}[/bold]")
        console.print(code, markup=False, highlight=False, soft_wrap=True)
    console.print("\n" + tr("Ctrl-C stops the server.", "Ctrl-C で止まります。"), style="dim")
