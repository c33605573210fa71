"""The card that lies beside every artifact: its manifest, told in Markdown for people.

Made from the manifest and the lineage alone, so it can be made again in either language. Whatever
comes from data or from outside is escaped: it cannot become HTML, an image, or a table's end.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from kajiya.core.language import tr
from kajiya.store.lineage import LineageNode
from kajiya.store.manifest import Manifest
from kajiya.store.words import kind_words, role_words

_SPECIAL = re.compile(r"[\\`*\[\]|~$]|(?<!\w)_|_(?!\w)")
_BLOCK_START = re.compile(
    r"^(\d*)([-+=#.)])(?=[-=#\s]|$)"
)  # at the start of a line: lists, rules, headings
_HTML = {ord("&"): "&amp;", ord("<"): "&lt;", ord(">"): "&gt;"}
_UNITS = ("B", "kB", "MB", "GB", "TB")


def escape(value: object) -> str:
    """`value` as one line of plain text in Markdown, readable also where it is not rendered."""
    line = "".join(char if char.isprintable() else " " for char in str(value))
    line = _SPECIAL.sub(r"\\\g<0>", " ".join(line.split())).translate(_HTML)
    return _BLOCK_START.sub(r"\1\\\2", line)


def human_size(size: float) -> str:
    """Bytes for people: `253 MB`, `1.2 GB`."""
    unit = 0
    while size >= 1000 and unit < len(_UNITS) - 1:
        size, unit = size / 1000, unit + 1
    return f"{size:.{1 if unit and size < 10 else 0}f} {_UNITS[unit]}"


def human_value(value: Any) -> str:
    """A number or setting for people: floats with four digits, lists and mappings on one line."""
    if isinstance(value, bool) or value is None:
        return {True: tr("yes", "はい"), False: tr("no", "いいえ"), None: "–"}[value]
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={human_value(item)}" for key, item in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(human_value(item) for item in value)
    return str(value)


def render_card(manifest: Manifest, lineage: LineageNode) -> str:
    """The Markdown card of an artifact."""
    sections = (
        (None, _summary(manifest, lineage)),
        (tr("How to use", "使い方"), _usage(manifest)),
        (tr("Metrics", "評価"), _metrics(manifest.metrics)),
        (tr("Data", "データ"), _data(lineage)),
        (tr("Settings", "設定"), _mapping(manifest.config)),
        (tr("Details", "詳細"), _mapping(manifest.details)),
        (tr("Lineage", "来歴"), list(_tree(lineage, 0))),
        (tr("Licences", "ライセンス"), _licences(manifest)),
        (tr("Files", "ファイル"), _files(manifest)),
    )
    lines = [f"# {escape(manifest.reference)}"]
    for title, body in sections:
        if body:
            lines += ["", *([f"## {title}", ""] if title else []), *body]
    return "\n".join(lines) + "\n"


def _summary(manifest: Manifest, lineage: LineageNode) -> list[str]:
    bases = [node for node in lineage.parents if node.role == "base"]
    facts = [
        (tr("Kind", "種類"), kind_words(manifest.kind)),
        (tr("Base", "もとのモデル"), ", ".join(node.reference for node in bases)),
        (tr("Made", "作成"), _moment(manifest.created_at)),
        (tr("By", "作成したもの"), f"Kajiya {manifest.code_version}"),
        (tr("Size", "大きさ"), human_size(manifest.size)),
    ]
    lines = [escape(manifest.description), ""] if manifest.description else []
    return lines + [f"- {title}: {escape(value)}" for title, value in facts if value]


def _moment(when: str) -> str:
    return f"{when[:16].replace('T', ' ')} UTC" if when.endswith("+00:00") else when


def _usage(manifest: Manifest) -> list[str]:
    if manifest.kind not in ("model", "adapter"):
        return []
    reference = manifest.reference
    return ["```sh", f"kajiya chat {reference}", f"kajiya serve {reference}", "```"]


def _metrics(metrics: Mapping[str, Any]) -> list[str]:
    base, tuned = metrics.get("base"), metrics.get("tuned")
    if not (isinstance(base, Mapping) and isinstance(tuned, Mapping)):
        return _mapping(metrics)
    names = list(dict.fromkeys([*base, *tuned]))
    header = (tr("Measure", "指標"), tr("Base", "調整前"), tr("Tuned", "調整後"))
    rows = ((name, base.get(name), tuned.get(name)) for name in names)
    others = {key: value for key, value in metrics.items() if key not in ("base", "tuned")}
    return [*_table(header, rows), *(["", *_mapping(others)] if others else [])]


def _data(lineage: LineageNode) -> list[str]:
    lines = []
    for node in _walk(lineage):
        if node.kind == "dataset" and node.manifest is not None:
            lines.append(
                f"- {escape(node.reference)}: {escape(node.manifest.description)}".rstrip(": ")
            )
            for key in ("source", "rows"):
                if key in node.manifest.details:
                    lines.append(
                        f"  - {escape(key)}: {escape(human_value(node.manifest.details[key]))}"
                    )
    return lines


def _walk(node: LineageNode) -> Iterator[LineageNode]:
    yield node
    for parent in node.parents:
        yield from _walk(parent)


def _tree(node: LineageNode, depth: int) -> Iterator[str]:
    role = f"{escape(role_words(node.role))}: " if node.role else ""
    state = {
        "present": "",
        "missing": tr(" (removed)", " (削除済み)"),
        "changed": tr(" (replaced by another)", " (別のものに置き換わっています)"),
    }[node.state]
    yield f"{'  ' * depth}- {role}{escape(kind_words(node.kind))} {escape(node.reference)}{state}"
    for parent in node.parents:
        yield from _tree(parent, depth + 1)


def _licences(manifest: Manifest) -> list[str]:
    header = (tr("Licence", "ライセンス"), tr("Covers", "対象"), tr("Text", "全文"))
    return _table(
        header, ((entry.name, entry.source, entry.text_file) for entry in manifest.licence)
    )


def _files(manifest: Manifest) -> list[str]:
    header = (tr("File", "ファイル"), tr("Size", "大きさ"), "SHA-256")
    return _table(
        header,
        ((name, human_size(file.size), file.sha256) for name, file in manifest.files.items()),
    )


def _mapping(values: Mapping[str, Any]) -> list[str]:
    return _table((tr("Name", "項目"), tr("Value", "値")), values.items())


def _table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[str]:
    lines = ["| " + " | ".join(escape(human_value(cell)) for cell in row) + " |" for row in rows]
    if not lines:
        return []
    return [f"| {' | '.join(header)} |", "|" + " --- |" * len(header), *lines]
