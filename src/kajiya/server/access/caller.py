"""What a key allows, and who is calling."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import field_validator

from kajiya.core.config import Config, option
from kajiya.core.language import tr

ADMINISTRATOR = "administrator"


class KeySettings(Config):
    """What may be done with a key. The names are those that LiteLLM's keys have, where it has one."""

    owner: str = option(
        "",
        en="Owner",
        ja="所有者",
        help=("A person, a team, an application.", "人、部署、アプリケーションなど。"),
        max_length=100,
    )
    models: tuple[str, ...] = option(
        (),
        en="Models",
        ja="モデル",
        help=(
            "Names separated by commas; * stands for any characters but +. All, if none is given.",
            "カンマ区切りの名前。* は + 以外の任意の文字。省略するとすべてのモデル。",
        ),
        max_length=100,
    )
    rpm_limit: int | None = option(
        None, en="Requests a minute", ja="1 分あたりのリクエスト数", ge=1, le=1_000_000
    )
    tpm_limit: int | None = option(
        None,
        en="Tokens a minute",
        ja="1 分あたりのトークン数",
        help=("Read and written together.", "入力と出力の合計。"),
        ge=1,
        le=1_000_000_000,
    )
    max_parallel_requests: int | None = option(
        None, en="Requests at a time", ja="同時リクエスト数", ge=1, le=100_000
    )
    max_budget: int | None = option(
        None,
        en="Budget in tokens",
        ja="トークンの予算",
        help=("Read and written together, for each period.", "期間ごとの、入力と出力の合計。"),
        ge=1,
        le=1_000_000_000_000,
    )
    budget_period: Literal["day", "month", "total"] = option(
        "month",
        en="Period of the budget",
        ja="予算の期間",
        help=("By this machine's calendar.", "このコンピューターの暦で数えます。"),
        choices={"day": ("day", "1 日"), "month": ("month", "1 か月"), "total": ("total", "通算")},
    )

    @field_validator("models", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        given = (value,) if isinstance(value, str) else value
        if isinstance(given, tuple | list) and all(isinstance(text, str) for text in given):
            names = [name.strip() for text in given for name in text.split(",")]
            if given and not all(names):  # an empty list would mean all models
                raise ValueError(tr("a name is empty", "名前が空です"))
            return tuple(names)
        return value

    def allows(self, model: str) -> bool:
        """Whether a request may name `model`."""
        return not self.models or any(_pattern(name).fullmatch(model) for name in self.models)


def _pattern(name: str) -> re.Pattern[str]:
    # A mixture `base+adapter` must not slip through a pattern that was meant for names like `base-2`.
    return re.compile("[^+]*".join(re.escape(part) for part in name.split("*")), re.DOTALL)


@dataclass(frozen=True)
class Caller:
    """The holder of a key that was found good. `key_id` is `ADMINISTRATOR` for the workspace's own."""

    key_id: str = ADMINISTRATOR
    settings: KeySettings = field(default_factory=KeySettings)

    @property
    def is_administrator(self) -> bool:
        return self.key_id == ADMINISTRATOR
