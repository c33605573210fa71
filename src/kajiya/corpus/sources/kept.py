"""Answers of the network, kept in a folder, so that nothing is fetched twice and a run can be repeated."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from kajiya.core.errors import DataError
from kajiya.core.files import atomic_file, write_json
from kajiya.core.language import tr


@dataclass(frozen=True)
class Answer:
    """What a server said. `url` is where the last redirect led; `fetched_at` an ISO 8601 date."""

    url: str
    status: int
    content_type: str
    fetched_at: str
    body: bytes


class Kept:
    """The answers in a folder, by the address that was asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, url: str) -> Answer | None:
        """The answer kept for `url`. Raises `DataError` if it is damaged."""
        path = self._path(url)
        try:
            described = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
            body = path.with_suffix(".body").read_bytes()
            if hashlib.sha256(body).hexdigest() != described.pop("sha256"):
                raise ValueError
            assert described.pop("asked") == url
            return Answer(body=body, **described)
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError, AttributeError):
            raise DataError(
                tr("this kept answer is damaged", "保存した応答が壊れています"),
                where=str(path.with_suffix(".json")),
                fix=tr("delete it, and it is fetched again", "削除すると取得し直します"),
            ) from None

    def put(self, url: str, answer: Answer) -> None:
        """Keep an answer: first its body, then what says that it is there."""
        path = self._path(url)
        with atomic_file(path.with_suffix(".body")) as file:
            file.write(answer.body)
        described = asdict(answer)
        sha256 = hashlib.sha256(described.pop("body")).hexdigest()
        write_json(path.with_suffix(".json"), {"asked": url, **described, "sha256": sha256})

    def _path(self, url: str) -> Path:
        name = hashlib.sha256(url.encode()).hexdigest()
        return self._folder / name[:2] / name
