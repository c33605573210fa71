"""From the bytes of a request to its body, or to an error that names the parameter.

A parameter that would change the answer and is not supported is an error rather than ignored, unless
it has the value that changes nothing. Parameters that are only for the provider's books are dropped.
"""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_core import from_json

from kajiya.core.language import tr
from kajiya.server.bodies import Body
from kajiya.server.errors import ApiError

_BOOKKEEPING = ("user", "metadata", "safety_identifier", "prompt_cache_key")
Kind = TypeVar("Kind", bound=Body)


def parse(data: bytes, kind: type[Kind]) -> Kind:
    """The request in `data`; a 400 that names the parameter if it is not one."""
    try:
        values = from_json(data, allow_inf_nan=False)
    except ValueError as error:
        raise ApiError(
            400, tr(f"Invalid JSON: {error}", f"JSON として読めません: {error}")
        ) from None
    if not isinstance(values, dict):
        raise ApiError(400, tr("A JSON object is expected", "JSON オブジェクトが必要です"))
    for name, harmless in kind.unsupported.items():
        value = values.pop(name, None)
        if value is not None and not any(type(value) is type(h) and value == h for h in harmless):
            raise ApiError(
                400,
                tr(
                    f"{name} is not supported by this server",
                    f"{name} はこのサーバーでは使えません",
                ),
                param=name,
                code="unsupported_parameter",
            )
    for name in _BOOKKEEPING:
        values.pop(name, None)
    return checked(values, kind)


def checked(values: dict[str, Any], kind: type[Kind]) -> Kind:
    """The request with these values; a 400 that names the parameter if it is not one."""
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise _explained(error) from None


def _explained(error: ValidationError) -> ApiError:
    errors = error.errors(include_url=False, include_input=False)
    # Where several forms are possible, the one that was read furthest is what was meant.
    first = max(errors, key=lambda found: len(found["loc"]))
    param = ".".join(part for part in map(str, first["loc"]) if "[" not in part)
    if first["type"] == "extra_forbidden":
        message = tr(
            f"Unrecognized request argument: {param}", f"知らないパラメーターです: {param}"
        )
        return ApiError(400, message, param=param, code="unknown_parameter")
    message = f"{param}: {first['msg']}" if param else first["msg"]
    return ApiError(400, message, param=param or None, code="invalid_value")
