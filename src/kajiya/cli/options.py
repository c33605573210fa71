"""Command-line options made from a configuration: names, help, ranges and defaults come from there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, get_args, get_origin

import click
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from kajiya.core.config import Config, field_help, field_title


def config_options(config: type[Config]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A decorator that adds an option for every field of `config`.

    The command receives the options that were given as one dictionary, `overrides`; what was not given
    is left to the configuration's defaults.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        names = set(config.model_fields)

        def wrapped(**values: Any) -> Any:
            own = {name: values.pop(name) for name in names if name in values}
            overrides = {name: value for name, value in own.items() if value not in (None, ())}
            return function(overrides=overrides, **values)

        wrapped.__name__, wrapped.__doc__ = function.__name__, function.__doc__
        wrapped.__click_params__ = list(getattr(function, "__click_params__", []))  # type: ignore[attr-defined]
        for name, field in reversed(config.model_fields.items()):
            wrapped = _option(name, field)(wrapped)
        return wrapped

    return decorate


def _option(name: str, field: FieldInfo) -> Callable[..., Any]:
    flag = f"--{name.replace('_', '-')}"
    default = field.get_default(call_default_factory=True, validated_data={})
    words = [field_title(field)]
    if field_help(field):
        words.append(field_help(field))
    text = ": ".join(words)
    shown = default not in (None, "", (), PydanticUndefined)
    if shown and field.annotation is not bool:
        text += f"  [{default}]"
    if field.annotation is bool:
        return click.option(f"{flag}/--no-{name.replace('_', '-')}", name, default=None, help=text)
    several = get_origin(field.annotation) is tuple
    kind = get_args(field.annotation)[0] if several else field.annotation
    return click.option(
        flag,
        name,
        type=_type(kind),
        default=None,
        multiple=several,
        required=field.is_required(),
        help=text,
    )


def _type(annotation: Any) -> Any:
    if get_origin(annotation) is Literal:
        return click.Choice([str(choice) for choice in get_args(annotation)])
    plain = [kind for kind in get_args(annotation) if kind is not type(None)]
    return plain[0] if plain else annotation
