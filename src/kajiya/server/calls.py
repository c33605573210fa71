"""Calls of functions: how a model is told of them, what it must write, and reading what it wrote.

Small models know no format of their own for this, so all are told one in plain words: to call, the
answer is nothing but `{"name":"…","arguments":{…}}`, or a list of such objects.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from kajiya.inference.protocol import Constraint
from kajiya.tokenizer.messages import Message

MAX_CALLS = 8
_HEAD = re.compile(
    r'[\s\[\],}]*\{\s*"name"\s*:\s*"([\w-]+)"\s*,\s*"(?:arguments|parameters)"\s*:\s*(?=\{)'
)
_LONGEST_HEAD = 200
_OPEN = {"$ref", "allOf", "anyOf", "oneOf", "patternProperties"}


class Described(Protocol):
    """A function as its caller describes it."""

    @property
    def name(self) -> str:
        """What the model calls it."""

    @property
    def description(self) -> str | None:
        """What it does."""

    @property
    def parameters(self) -> dict[str, Any] | None:
        """A JSON schema of its arguments."""


@dataclass(frozen=True)
class Offer:
    """The functions that an answer may call, whether it `must`, and whether `several` at a time."""

    functions: Sequence[Described]
    must: bool
    several: bool

    @property
    def names(self) -> list[str]:
        """What the functions are called."""
        return [function.name for function in self.functions]

    def told(self, messages: Sequence[Message]) -> tuple[Message, ...]:
        """`messages` with the functions in the system message, which is made if there is none."""
        lines = [_compact(_description(function)) for function in self.functions]
        if self.several:
            form = 'a JSON list of {"name":"…","arguments":{…}}'
        else:
            form = '{"name":"…","arguments":{…}}'
        text = "\n".join(
            [
                "You can call these functions:",
                *lines,
                f"To call, answer with nothing but {form}.",
                *["Call now." for _ in range(self.must)],
            ]
        )
        if messages and messages[0].role == "system":
            text = f"{messages[0].content}\n\n{text}"
            messages = messages[1:]
        return (Message("system", text), *messages)

    def constraint(self) -> Constraint | None:
        """The form of an answer that calls; None if it may also say something."""
        if not self.must:
            return None
        calls = [_call_schema(function.name) for function in self.functions]
        form: dict[str, Any] = calls[0] if len(calls) == 1 else {"anyOf": calls}
        if self.several:
            form = {"type": "array", "items": form, "minItems": 1, "maxItems": MAX_CALLS}
        places = {function.name: _arguments_schema(function) for function in self.functions}
        value = _compact({**form, "$defs": places})
        return Constraint(kind="json_schema", value=value)


def written(calls: Iterable[tuple[str, str]]) -> str:
    """What a model writes to make these calls (name, arguments in JSON)."""
    texts = [f'{{"name":{_compact(name)},"arguments":{arguments}}}' for name, arguments in calls]
    return texts[0] if len(texts) == 1 else f"[{','.join(texts)}]"


def result(name: str, content: str) -> str:
    """What a model is told of a function's result."""
    return f"Result of {name}:\n{content}"


@dataclass(frozen=True)
class CallPiece:
    """A piece of the call `number`: its `name`, which comes first, or more of its arguments."""

    number: int
    name: str = ""
    arguments: str = ""


class Scanner:
    """Tells calls from text while an answer comes in.

    What may still become a call is held back; what turns out to be none is text as it was written. After
    a call, only calls count.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._names = frozenset(names)
        self._held = ""
        self._text = not self._names
        self._inside = _Braces()
        self.calls = 0

    def feed(self, text: str) -> list[str | CallPiece]:
        """What is known after `text`: pieces of text, and of calls."""
        if self._text:
            return [text] if text else []
        self._held += text
        found: list[str | CallPiece] = []
        while self._held:
            if self._inside.open:
                end = self._inside.read(self._held)
                found.append(CallPiece(self.calls - 1, arguments=self._held[:end]))
                self._held = self._held[end:]
            elif (head := _HEAD.match(self._held)) and head[1] in self._names:
                found.append(CallPiece(self.calls, name=head[1]))
                self.calls += 1
                self._held = self._held[head.end() :]
                self._inside = _Braces(open=True)
            elif self.calls == 0 and not _may_be_call(self._held):
                self._text = True
                found.append(self._held)
                self._held = ""
            else:
                break
        if self.calls:
            self._held = self._held[:_LONGEST_HEAD]
        return found

    def end(self) -> list[str | CallPiece]:
        """What was held back for a call that did not come."""
        return [self._held] if self._held and not self.calls and not self._text else []


class _Braces:
    """Where a JSON object ends."""

    def __init__(self, open: bool = False) -> None:
        self.open = open
        self._depth = 0
        self._quoted = self._escaped = False

    def read(self, text: str) -> int:
        """How much of `text` belongs to the object; `open` tells whether it goes on."""
        for at, character in enumerate(text):
            if self._escaped:
                self._escaped = False
            elif self._quoted:
                self._escaped = character == "\\"
                self._quoted = character != '"'
            elif character == '"':
                self._quoted = True
            else:
                self._depth += (character in "{[") - (character in "}]")
                if self._depth == 0:
                    self.open = False
                    return at + 1
        return len(text)


def _may_be_call(text: str) -> bool:
    start = text.lstrip()
    return not start or (start[0] in "{[" and len(start) <= _LONGEST_HEAD)


def _description(function: Described) -> dict[str, Any]:
    known = {"name": function.name, "description": function.description}
    described = {key: value for key, value in known.items() if value}
    return {**described, "parameters": function.parameters or {}}


def _call_schema(name: str) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {"name": {"const": name}, "arguments": {"$ref": f"#/$defs/{name}"}},
        "required": ["name", "arguments"],
        "additionalProperties": False,
    }


def _arguments_schema(function: Described) -> Any:
    """An object with what is described and nothing else, unless it says otherwise."""
    given = function.parameters or {}
    closed = {"type": "object", "properties": {}, "additionalProperties": False}
    schema = given if _OPEN & given.keys() else {**closed, **given}
    return _moved(schema, f"#/$defs/{function.name}")


def _moved(schema: Any, place: str) -> Any:
    """`schema` with its references as they are once it stands at `place` of another."""
    if isinstance(schema, list):
        return [_moved(part, place) for part in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: place + value[1:]
        if key == "$ref" and isinstance(value, str) and value.startswith("#")
        else _moved(value, place)
        for key, value in schema.items()
    }


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
