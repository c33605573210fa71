"""A file or a dataset looked at before training: findings, columns, a preview, token counts.

Reading 200 MB takes a minute and much memory, so it is done in a process of its own, once for each
way of reading, and kept in the workspace's cache. What is kept can be registered as it is.
"""

from __future__ import annotations

import hashlib
import json
import sys
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from kajiya.core.config import Config, option
from kajiya.core.errors import ConfigError, KajiyaError
from kajiya.core.files import atomic_folder, write_text
from kajiya.core.language import current, tr
from kajiya.core.locks import locked
from kajiya.core.printable import one_line
from kajiya.core.workspace import Workspace
from kajiya.data.check import CheckedData, check_file
from kajiya.data.dataset import KIND, load_dataset, write_dataset
from kajiya.data.findings import Finding
from kajiya.data.problems import TableError
from kajiya.data.read import open_table
from kajiya.data.rows import Row
from kajiya.data.statistics import Counter
from kajiya.data.uploads import Uploads
from kajiya.models.child import report, run_module
from kajiya.models.resolve import resolve_folder
from kajiya.models.starters import PREFIX, find_starter
from kajiya.store.artifacts import ArtifactStore
from kajiya.tokenizer.chat import ChatTokenizer
from kajiya.tokenizer.messages import Message
from kajiya.training.config import TuneConfig
from kajiya.training.estimate import Sizes

_RESULT = "inspection.json"
_HEAD_ROWS, _HEAD_COLUMNS, _HEAD_CELL = 3, 20, 80
_PREVIEW_ROWS, _PREVIEW_CHARACTERS = 5, 4000

Source = Literal["upload", "dataset"]


class Reading(Config):
    """How rows are read: which columns, and as which model counts tokens."""

    columns: dict[str, str] = option(dict, en="Columns", ja="列の対応")
    base: str = option("", en="Model", ja="モデル")
    max_tokens: int = option(
        TuneConfig.model_fields["max_tokens"].default, en="Longest row", ja="行の最大長", ge=16
    )


class _Kept(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Problem(_Kept):
    """Why a file cannot be read at all."""

    code: str
    message: str
    where: str
    fix: str


class Stretch(_Kept):
    """Text as the model reads it. `trained`: it learns to write it; `trusted`: the template wrote it."""

    text: str
    trained: bool
    trusted: bool


class Preview(_Kept):
    """One row, in stretches if a model was named, else as its turns are."""

    row: int
    id: str
    turns: tuple[Message, ...]
    stretches: tuple[Stretch, ...] = ()


class Inspection(_Kept):
    """What was found. `head` are the first cells as they are in the file, by `names` of the columns.

    `sizes` and the token counts in `statistics` are there if a model was named.
    """

    name: str
    format: str = ""
    encoding: str = ""
    names: tuple[str, ...] = ()
    head: tuple[tuple[str, ...], ...] = ()
    columns: dict[str, str] = {}
    problem: Problem | None = None
    findings: tuple[Finding, ...] = ()
    statistics: dict[str, Any] = {}
    sizes: Sizes | None = None
    preview: tuple[Preview, ...] = ()

    @property
    def usable(self) -> bool:
        """Whether it can be trained on as it is."""
        return self.problem is None and not any(f.level == "error" for f in self.findings)

    def count(self, level: str) -> int:
        """Findings of one level."""
        return sum(finding.level == level for finding in self.findings)


def inspect(workspace: Workspace, source: Source, reference: str, reading: Reading) -> Inspection:
    """Look at an upload (by its id) or at a dataset (`name:version`); what was looked at is remembered.

    Raises `NotFoundError` for one that is not there, and what preparing `reading.base` raises. That can
    be a model of the workspace or a starter: whoever says it here may not name files or other sites.
    """
    _check_base(reading.base, workspace)
    target = _folder(workspace, source, reference, reading)
    result = target / _RESULT
    if not result.is_file():
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with locked(target.parent / f"{target.name}.lock"):
            if not result.is_file():
                run_module(
                    "kajiya.forge.inspection",
                    source,
                    reference,
                    reading.model_dump_json(),
                    workspace=workspace,
                )
    return Inspection.model_validate_json(result.read_bytes())


def _check_base(base: str, workspace: Workspace) -> None:
    if base.startswith(PREFIX):
        find_starter(base)
    elif base:
        ArtifactStore(workspace).get(base, "model")


def known(
    workspace: Workspace, source: Source, reference: str, reading: Reading
) -> Inspection | None:
    """What `inspect` would return, if it would return at once."""
    try:
        return Inspection.model_validate_json(
            (_folder(workspace, source, reference, reading) / _RESULT).read_bytes()
        )
    except (OSError, ValidationError):
        return None


def rows_folder(workspace: Workspace, source: Source, reference: str, reading: Reading) -> Path:
    """Where the rows of a usable inspection lie, as a dataset's files."""
    return _folder(workspace, source, reference, reading)


def _folder(workspace: Workspace, source: Source, reference: str, reading: Reading) -> Path:
    if source == "upload":
        place = workspace.uploads / Uploads(workspace).get(reference).id
    else:
        artifact = ArtifactStore(workspace).get(reference, KIND)
        name = f"{artifact.name}-{artifact.manifest.version}"
        place = workspace.cache / "inspections" / f"{name}-{artifact.manifest_sha256[:12]}"
    # Findings are worded in a language.
    words = json.dumps([current(), reading.model_dump(mode="json")], sort_keys=True)
    return place / f"read-{hashlib.sha256(words.encode()).hexdigest()[:24]}"


def _work(workspace: Workspace, source: Source, reference: str, reading: Reading) -> str:
    """In the process of its own: look, and leave the result in its folder."""
    target = _folder(workspace, source, reference, reading)
    tokenizer = None
    if reading.base:
        tokenizer = ChatTokenizer.load(resolve_folder(reading.base, workspace))
    with atomic_folder(target) as folder:
        if source == "upload":
            found = _look_at_file(workspace, reference, reading, tokenizer, folder)
        else:
            found = _look_at_dataset(workspace, reference, reading, tokenizer)
        write_text(folder / _RESULT, found.model_dump_json())
    return str(target)


def _look_at_file(
    workspace: Workspace,
    upload_id: str,
    reading: Reading,
    tokenizer: ChatTokenizer | None,
    folder: Path,
) -> Inspection:
    uploads = Uploads(workspace)
    upload = uploads.get(upload_id)
    path = uploads.path(upload)
    found: dict[str, Any] = {"name": upload.name}
    try:
        with open_table(path, uploads.limit_bytes, upload.name) as table:
            names = [one_line(name, _HEAD_CELL) for name in table.columns]
            found |= {"format": table.format, "encoding": table.encoding, "names": names}
            found["head"] = [
                [one_line(_cell(record.values.get(name)), _HEAD_CELL) for name in table.columns][
                    :_HEAD_COLUMNS
                ]
                for record in islice(table.records, _HEAD_ROWS)
            ]
        checked = check_file(
            path,
            columns=reading.columns,
            limit_bytes=uploads.limit_bytes,
            tokenizer=tokenizer,
            max_tokens=reading.max_tokens,
            name=upload.name,
        )
    except (TableError, ConfigError) as error:
        return Inspection(**found, problem=Problem(**_mendable(error)))
    if not checked.errors:
        write_dataset(folder, checked)
    return Inspection(
        **found,
        columns=checked.columns.as_dict(),
        findings=checked.findings,
        statistics=checked.statistics.as_dict(),
        sizes=_sizes(checked) if tokenizer else None,
        preview=_preview(checked.rows, tokenizer),
    )


def _look_at_dataset(
    workspace: Workspace, reference: str, reading: Reading, tokenizer: ChatTokenizer | None
) -> Inspection:
    artifact = ArtifactStore(workspace).get(reference, KIND)
    dataset = load_dataset(artifact.folder)
    kept = dataset.report
    count, sizes = Counter(with_tokens=tokenizer is not None), None
    count.rows = kept.get("statistics", {}).get("rows", len(dataset))
    lengths: list[int] = []
    labels: list[int] = []
    for row in dataset:
        ids, trained = tokenizer.encode_training(row.messages) if tokenizer else ([], [])
        count.add(row.messages, len(ids), sum(trained))
        lengths.append(len(ids))
        labels.append(sum(trained))
    count.kept = len(dataset)
    if tokenizer:
        sizes = Sizes.of(lengths, labels, reading.max_tokens)
    return Inspection(
        name=artifact.reference,
        format=kept.get("format", ""),
        encoding=kept.get("encoding", ""),
        columns=kept.get("columns", {}),
        findings=tuple(Finding(**finding) for finding in kept.get("findings", [])),
        statistics=count.result().as_dict(),
        sizes=sizes,
        preview=_preview(dataset.rows, tokenizer),
    )


def _sizes(checked: CheckedData) -> Sizes:
    found = checked.statistics
    assert found.tokens is not None and found.label_tokens is not None
    return Sizes(found.kept, found.tokens.total, found.label_tokens.total, found.tokens.maximum)


def _preview(rows: tuple[Row, ...], tokenizer: ChatTokenizer | None) -> tuple[Preview, ...]:
    return tuple(preview(row, tokenizer) for row in rows[:_PREVIEW_ROWS])


def preview(row: Row, tokenizer: ChatTokenizer | None) -> Preview:
    """A row as a page shows it."""
    stretches: list[Stretch] = []
    if tokenizer is not None:
        room = _PREVIEW_CHARACTERS
        for piece in tokenizer.render(row.messages, add_generation_prompt=False):
            stretches.append(
                Stretch(text=piece.text[:room], trained=piece.trained, trusted=piece.trusted)
            )
            room = max(0, room - len(piece.text))
    turns = tuple(Message(m.role, m.content[:_PREVIEW_CHARACTERS]) for m in row.messages)
    return Preview(row=row.source_row, id=row.id, turns=turns, stretches=tuple(stretches))


def _cell(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _mendable(error: KajiyaError) -> dict[str, str]:
    """The error's fields, with advice that a page can follow."""
    told = error.as_dict()
    if isinstance(error, TableError):
        told["code"] = error.code
    if told["code"] in ("missing_columns", "ambiguous_columns"):
        told["fix"] = tr("say below which column is which", "下で列の対応を選んでください")
    return told


if __name__ == "__main__":
    _source, _reference, _reading = sys.argv[1:]
    sys.exit(
        report(
            lambda: _work(
                Workspace.current(),
                "upload" if _source == "upload" else "dataset",
                _reference,
                Reading.checked(json.loads(_reading)),
            )
        )
    )
