"""The forms that answers can be given, as grammars of llguidance; also checks them for other engines."""

from __future__ import annotations

import json
from typing import Any, get_args
from urllib.parse import quote

from llguidance import LLMatcher
from llguidance.gbnf_to_lark import any_to_lark

from kajiya.core.language import tr
from kajiya.inference.protocol import Constraint, ConstraintError, ConstraintKind

KINDS: tuple[ConstraintKind, ...] = get_args(ConstraintKind)
_LARK = "%llguidance"
_URI = "%#/:?&=$~@!+,;()*'"  # characters that may stand in a URI as they are
# No blanks but those of JSON's usual separators: a small model that may write blanks can go on for ever.
_JSON = {"whitespace_flexible": False, "item_separator": ",", "key_separator": ":"}


def checked_lark(constraint: Constraint) -> str:
    """The constraint in llguidance's Lark, with the line by which llama.cpp knows that.

    Raises `ConstraintError` if no text could be made by it.
    """
    grammar = grammar_of(constraint)
    problem = LLMatcher.validate_grammar(grammar)
    if problem and not problem.startswith("WARNING"):
        raise unreadable(constraint, problem)
    if constraint.kind in ("json_schema", "regex"):
        (made,) = json.loads(grammar)["grammars"]
        schema = json.dumps(made["json_schema"], ensure_ascii=False)
        grammar = made["lark_grammar"] or f"start: %json {schema}"
    return grammar if grammar.startswith(_LARK) else f"{_LARK} {{}}\n{grammar}"


def grammar_of(constraint: Constraint) -> str:
    """The constraint as llguidance takes it; `ConstraintError` if it cannot be read."""
    try:
        if constraint.kind == "json_schema":
            schema = with_quoted_references(json.loads(constraint.value))
            return str(LLMatcher.grammar_from_json_schema(schema, defaults=_JSON))
        if constraint.kind == "regex":
            return str(LLMatcher.grammar_from_regex(constraint.value))
        if constraint.kind == "choice":
            choices = texts_of(constraint)
            rule = " | ".join(json.dumps(choice, ensure_ascii=False) for choice in choices)
            return str(LLMatcher.grammar_from_lark(f"start: {rule}"))
        return str(LLMatcher.grammar_from_lark(any_to_lark(constraint.value)))
    except ConstraintError:
        raise
    except Exception as error:  # the converter of grammars raises plain ones
        raise unreadable(constraint, str(error)) from None


def texts_of(constraint: Constraint) -> list[str]:
    """What there is to choose from; `ConstraintError` if that is no list of texts."""
    try:
        value = json.loads(constraint.value)
    except (ValueError, RecursionError) as error:
        raise unreadable(constraint, str(error)) from None
    if isinstance(value, list) and value and all(isinstance(text, str) for text in value):
        return value
    raise unreadable(constraint, tr("a list of texts is expected", "文章の一覧が必要です"))


def with_quoted_references(schema: Any) -> Any:
    """`schema` with its `$ref` as URIs: `#/$defs/人` is none before its bytes are written as %XX."""
    if isinstance(schema, list):
        return [with_quoted_references(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: quote(value, safe=_URI)
        if key == "$ref" and isinstance(value, str)
        else with_quoted_references(value)
        for key, value in schema.items()
    }


def unreadable(constraint: Constraint, reason: str) -> ConstraintError:
    """The error for a constraint that cannot be used."""
    first = reason.strip().splitlines()[0] if reason.strip() else ""
    return ConstraintError(
        tr(
            f"the {constraint.kind} that the answer must follow cannot be used: {first}",
            f"回答の形の指定 ({constraint.kind}) を使えません: {first}",
        )
    )
