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
    max_body_bytes: int = option(
        8 * MIB, en="Largest request", ja="リクエストの最大サイズ", ge=1024
    )
    drain_seconds: int = option(
        10,
        en="Time to finish",
        ja="終了までの猶予",
        help=(
            "How long running answers may go on when the server is stopped.",
            "サーバーを止めるとき、生成中の回答を待つ秒数。",
        ),
        ge=0,
    )
