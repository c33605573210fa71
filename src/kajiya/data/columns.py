"""Which column of a table means what, by its name in Japanese or English, or as the user says."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from kajiya.core.errors import ConfigError
from kajiya.core.language import tr
from kajiya.data.problems import TableError

_ALIASES: dict[str, tuple[str, ...]] = {
    "question": (
        *(
            "question",
            "q",
            "prompt",
            "instruction",
            "query",
            "質問",
            "質問文",
            "質問内容",
            "問い",
            "問",
        ),
        *("設問", "問い合わせ", "お問い合わせ", "指示", "指示文", "ユーザー", "user"),
    ),
    "input": ("input", "context", "入力", "補足", "文脈"),
    "answer": (
        *(
            "answer",
            "a",
            "completion",
            "response",
            "reply",
            "output",
            "assistant",
            "回答",
            "回答文",
        ),
        *("回答内容", "答え", "答", "解答", "応答", "返答", "出力", "アシスタント"),
    ),
    "system": ("system", "systemprompt", "システム", "システムプロンプト", "役割"),
    "messages": ("messages", "conversations", "conversation", "utterances", "会話", "対話"),
    "id": ("id", "no", "番号", "識別子", "rowid"),
    "key_fact": ("keyfact", "keyfacts", "要点", "キーワード", "必須語"),
    "category": ("category", "分類", "カテゴリ", "カテゴリー", "種別"),
}


@dataclass(frozen=True)
class Columns:
    """The table's own name of the column for each role, or None.

    `question` and `answer` (with `input` put below the question, and `system` before it), or
    `messages` with whole conversations.
    """

    question: str | None = None
    answer: str | None = None
    input: str | None = None
    system: str | None = None
    messages: str | None = None
    id: str | None = None
    key_fact: str | None = None
    category: str | None = None

    def as_dict(self) -> dict[str, str]:
        """The roles that have a column."""
        return {role: name for role, name in asdict(self).items() if name is not None}


def normalised(name: str) -> str:
    """A column's name without what people vary: width, case, spaces, underscores, punctuation."""
    return re.sub(r"[\W_]+", "", unicodedata.normalize("NFKC", name)).casefold()


_ROLES = {
    normalised(alias): role for role, aliases in _ALIASES.items() for alias in (role, *aliases)
}


def find_columns(
    names: Sequence[str],
    mapping: Mapping[str, str] | None = None,
    *,
    needs: Sequence[str] = ("question", "answer"),
    where: str = "",
) -> Columns:
    """The meaning of a table's columns; `mapping` (role to column name) goes before what is found.

    Raises `ConfigError` for a mapping of an unknown role or to an unknown column, `TableError`
    (ambiguous_columns, missing_columns) listing the columns and how to map them.
    """
    chosen = {_role(role): _named(column, names, where) for role, column in (mapping or {}).items()}
    for role in _ALIASES:
        found = [name for name in names if _ROLES.get(normalised(name)) == role]
        found = [name for name in found if name not in chosen.values()]
        if role in chosen or not found:
            continue
        if len(found) > 1:
            raise TableError(
                "ambiguous_columns",
                tr(
                    f"several columns may be the {role}: {_listed(found)}",
                    f"{role} にあたる列が複数あります: {_listed(found)}",
                ),
                where=where,
                fix=_how(role, found[0]),
            )
        chosen[role] = found[0]
    if "question" not in chosen and "input" in chosen:
        chosen["question"] = chosen.pop("input")  # 入力 / 出力 without 指示
    if "messages" in chosen and not {"question", "answer"} & {_role(r) for r in mapping or {}}:
        for role in ("question", "answer", "input"):  # many published sets repeat the first turn
            chosen.pop(role, None)
        return Columns(**chosen)
    chosen.pop("messages", None)
    missing = [role for role in needs if role not in chosen]
    if missing:
        raise TableError(
            "missing_columns",
            tr(
                f"no column for the {' and the '.join(missing)}; the columns are: {_listed(names)}",
                f"{'・'.join(missing)} にあたる列がありません。列: {_listed(names)}",
            ),
            where=where,
            fix=_how(missing[0], next((name for name in names if name), "…")),
        )
    return Columns(**chosen)


def _role(name: str) -> str:
    role = _ROLES.get(normalised(name))
    if role is None:
        roles = ", ".join(_ALIASES)
        raise ConfigError(
            tr(
                f"a column cannot be mapped to {name!r}",
                f"列を {name!r} に割り当てることはできません",
            ),
            where="--column",
            fix=tr(f"roles: {roles}", f"使える役割: {roles}"),
        )
    return role


def _named(column: str, names: Sequence[str], where: str) -> str:
    for same in (lambda name: name == column, lambda name: normalised(name) == normalised(column)):
        found = [name for name in names if name and same(name)]
        if len(found) == 1:
            return found[0]
    raise ConfigError(
        tr(
            f"there is no column {column!r}; the columns are: {_listed(names)}",
            f"列「{column}」はありません。列: {_listed(names)}",
        ),
        where=where or "--column",
        fix=tr("check the name", "列名を確かめてください"),
    )


def _listed(names: Sequence[str]) -> str:
    shown = [repr(name[:40]) for name in names[:20] if name]
    return ", ".join(shown) + (" …" if len(names) > 20 else "")


def _how(role: str, example: str) -> str:
    return tr(
        f"say which: --column {role}={example[:40]}",
        f"--column {role}={example[:40]} のように指定してください",
    )
