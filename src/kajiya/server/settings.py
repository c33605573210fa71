"""What can be chosen about the server."""

from __future__ import annotations

from kajiya.core.config import Config, option

MIB = 1024**2


class ServerSettings(Config):
    """Address and limits of the gateway."""

    host: str = option(
        "127.0.0.1",
        en="Address",
        ja="アドレス",
        help=("A loopback address.", "このコンピューターの中だけで使えるアドレス。"),
    )
    port: int = option(
        8321,
        en="Port",
        ja="ポート",
        help=("0 picks a free one.", "0 なら空いているものを選びます。"),
        ge=0,
        le=65535,
    )
    max_pending: int = option(
        64,
        en="Longest queue",
        ja="待ち行列の上限",
        help=(
            "Answers in work or waiting, for each loaded base; more are refused with 429.",
            "読み込んだモデルごとの、生成中と順番待ちの合計。超えると 429 を返します。",
        ),
        ge=1,
    )
    idle_minutes: float = option(
        30,
        en="Minutes until an unused model is unloaded",
        ja="使われないモデルを下ろすまでの分数",
        help=(
            "The next request loads it again. 0: never.",
            "次のリクエストでまた読み込みます。0 なら下ろしません。",
        ),
        ge=0,
    )
    memory: int = option(
        0,
        en="Memory for models, MiB",
        ja="モデルに使うメモリ MiB",
        help=(
            "When a model needs room, the one that was not used for longest is unloaded. 0: three quarters of this machine's memory.",
            "足りなくなると、最も長く使われていないモデルを下ろします。0 ならこのコンピューターのメモリの 4 分の 3。",
        ),
        ge=0,
    )
    states: int = option(
        1024,
        en="Room for kept states, MiB",
        ja="保存する状態の上限 MiB",
        help=(
            "For each key; beyond it, no more are kept until some are deleted.",
            "キーごとの上限。超えると、削除するまで新しく保存できません。",
        ),
        ge=0,
    )
    max_body_bytes: int = option(
        8 * MIB, en="Largest request", ja="リクエストの最大サイズ", ge=1024
    )
    drain_seconds: int = option(
        10,
        en="Time to finish",
        ja="終了までの猶予",
        help=(
            "How long running answers may go on when the server is stopped or their model is taken down.",
            "サーバーを止めるときやモデルの公開をやめるとき、生成中の回答を待つ秒数。",
        ),
        ge=0,
    )
