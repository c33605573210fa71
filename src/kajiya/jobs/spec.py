"""What a job is to do: its kind, the name of what it works on, and the options of that kind."""

from __future__ import annotations

from typing import Any

from pydantic import field_validator

from kajiya.core.config import Config, option
from kajiya.core.files import check_name


class JobSpec(Config):
    """Kept as `config.yaml` in the job's folder. `options` are checked by the kind's own code."""

    kind: str = option(en="Kind", ja="種類")
    name: str = option(en="Name", ja="名前")
    options: dict[str, Any] = option(dict, en="Options", ja="設定")

    @field_validator("kind", "name")
    @classmethod
    def _plain(cls, value: str) -> str:
        return check_name(value)
