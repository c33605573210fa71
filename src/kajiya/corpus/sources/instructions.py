"""Instruction data as running text: conversations, or questions and answers, with who is speaking.

Reads what `kajiya data` reads, by the same columns.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from kajiya.core.config import option
from kajiya.core.errors import ConfigError, DataError
from kajiya.corpus.document import Document
from kajiya.corpus.sources.opened import find_files
from kajiya.corpus.sources.source import PathSource, Problems, stop
from kajiya.data.columns import find_columns
from kajiya.data.problems import at_row
from kajiya.data.read import open_table
from kajiya.data.rows import RowError, make_row
from kajiya.tokenizer.messages import Message

SUFFIXES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet")


class InstructionsSource(PathSource):
    """Files of conversations or of questions and answers, or all in a folder."""

    kind: Literal["instructions"] = option("instructions", en="Kind of source", ja="情報源の種類")
    user: str = option(
        "ユーザー: ",
        en="Before the user's words",
        ja="ユーザーの発言の前",
    )
    assistant: str = option(
        "アシスタント: ",
        en="Before the assistant's words",
        ja="アシスタントの発言の前",
    )
    columns: dict[str, str] = option(
        dict,
        en="Columns",
        ja="列",
        help=(
            "which column is the question, answer, messages…, where their names do not tell",
            "列名から分からない場合の、question・answer・messages などの列",
        ),
    )
    domain: str = option("instruction", en="Kind of text", ja="文書の種別")


def read_instructions(
    settings: InstructionsSource, problems: Problems = stop
) -> Iterator[Document]:
    """A document a conversation, its id the file and the row.

    `problems` is told of rows that are no conversation, and of files that cannot be read to their end.
    Raises `NotFoundError` if there is no file.
    """
    for name, path in find_files(Path(settings.path), SUFFIXES, problems):
        try:
            yield from _read(settings, name, path, problems)
        except (DataError, ConfigError) as error:
            problems(DataError(error.message, where=error.where or str(path), fix=error.fix))


def _read(
    settings: InstructionsSource, name: str, path: Path, problems: Problems
) -> Iterator[Document]:
    with open_table(path) as table:
        columns = find_columns(table.columns, settings.columns, where=str(path))
        for record in table.records:
            try:
                row = make_row(record, columns)
            except RowError as error:
                problems(DataError(error.message, where=at_row(str(path), record.row)))
                continue
            text = "\n\n".join(_turn(settings, message) for message in row.messages)
            yield settings.document(f"{name}:{record.row}", text)


def _turn(settings: InstructionsSource, message: Message) -> str:
    speaker = {"user": settings.user, "assistant": settings.assistant}
    return speaker.get(message.role, "") + message.content
