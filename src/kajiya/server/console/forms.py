"""Forms made from configurations: a field's title, help, range and choices are what `option(…)` says."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MaxLen
from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails, PydanticUndefined

from kajiya.core.config import Config, choice_words, field_help, field_title
from kajiya.core.language import tr

Kind = Literal["text", "integer", "number", "switch", "choice", "list"]
AnyConfig = TypeVar("AnyConfig", bound=Config)


@dataclass(frozen=True)
class Field:
    """One field of a form, ready to be shown by the macros in `forms.html`."""

    name: str
    title: str
    help: str
    kind: Kind
    value: str
    required: bool
    choices: tuple[tuple[str, str], ...] = ()  # values and what they are called
    minimum: float | None = None
    maximum: float | None = None
    longest: int | None = None
    error: str = ""

    @property
    def checked(self) -> bool:
        return self.kind == "switch" and self.value == "true"


def form_fields(
    config: type[Config],
    values: Mapping[str, Any] | Config | None = None,
    errors: Mapping[str, str] | None = None,
    only: Iterable[str] | None = None,
) -> list[Field]:
    """The fields of `config` with `values` (or the defaults) in them; `only` picks and orders."""
    given = values.model_dump() if isinstance(values, Config) else dict(values or {})
    names = list(only) if only is not None else list(config.model_fields)
    return [
        _field(name, config.model_fields[name], given, (errors or {}).get(name, ""))
        for name in names
    ]


def read_form(
    config: type[AnyConfig], sent: Mapping[str, str], only: Iterable[str] | None = None
) -> tuple[AnyConfig | None, dict[str, str]]:
    """The configuration that was filled in, or None and what is wrong with each field.

    A field that was left empty takes its default; a switch that was not sent is off. Fields that are
    not in `only` keep their defaults whatever was sent.
    """
    names = list(only) if only is not None else list(config.model_fields)
    values: dict[str, Any] = {}
    for name in names:
        field = config.model_fields[name]
        kind, text = _kind(field)[0], sent.get(name, "").strip()
        if kind == "switch":
            values[name] = text == "true"
        elif text:
            values[name] = _list(text) if kind == "list" else text
    try:
        return config.model_validate(values), {}
    except ValidationError as error:
        return None, {str(e["loc"][0]) if e["loc"] else "": _told(e) for e in error.errors()}


def _field(name: str, field: FieldInfo, given: Mapping[str, Any], error: str) -> Field:
    kind, choices = _kind(field)
    default = field.get_default(call_default_factory=True, validated_data={})
    value = given.get(name, default)
    low: list[Any] = [m.ge for m in field.metadata if isinstance(m, Ge)]
    low += [m.gt for m in field.metadata if isinstance(m, Gt)]
    high: list[Any] = [m.le for m in field.metadata if isinstance(m, Le)]
    high += [m.lt for m in field.metadata if isinstance(m, Lt)]
    longest = [m.max_length for m in field.metadata if isinstance(m, MaxLen)]
    return Field(
        name=name,
        title=field_title(field),
        help=field_help(field),
        kind=kind,
        value=_shown(value),
        required=field.is_required(),
        choices=tuple((choice, choice_words(field, choice)) for choice in choices),
        minimum=next(iter(low), None),
        maximum=next(iter(high), None),
        longest=longest[0] if longest and kind == "text" else None,
        error=error,
    )


def _kind(field: FieldInfo) -> tuple[Kind, tuple[str, ...]]:
    annotation = field.annotation
    if type(None) in get_args(annotation):
        annotation = next(part for part in get_args(annotation) if part is not type(None))
    if get_origin(annotation) is Literal:
        return "choice", tuple(str(choice) for choice in get_args(annotation))
    if get_origin(annotation) in (tuple, list):
        return "list", ()
    kinds: dict[Any, Kind] = {bool: "switch", int: "integer", float: "number"}
    return kinds.get(annotation, "text"), ()


def _shown(value: Any) -> str:
    if value is None or value is PydanticUndefined:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple | list):
        return ", ".join(str(part) for part in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _list(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(","))


def _told(error: ErrorDetails) -> str:
    """What is wrong with a field, for the person who filled it in."""
    limits = error.get("ctx", {})
    match error["type"]:
        case "missing":
            return tr("This is needed", "入力してください")
        case "int_parsing" | "int_from_float" | "int_type":
            return tr("A whole number is needed", "整数を入力してください")
        case "float_parsing" | "float_type" | "finite_number":
            return tr("A number is needed", "数値を入力してください")
        case "greater_than_equal":
            return tr(f"At least {limits['ge']}", f"{limits['ge']} 以上にしてください")
        case "greater_than":
            return tr(f"More than {limits['gt']}", f"{limits['gt']} より大きい値にしてください")
        case "less_than_equal":
            return tr(f"At most {limits['le']}", f"{limits['le']} 以下にしてください")
        case "less_than":
            return tr(f"Less than {limits['lt']}", f"{limits['lt']} より小さい値にしてください")
        case "literal_error":
            return tr("Choose one of the list", "一覧から選んでください")
        case "string_too_long" | "too_long":
            most = limits["max_length"]
            return tr(f"{most} at most", f"{most} までにしてください")
        case "value_error":
            return str(limits["error"])
        case _:
            return error["msg"]
