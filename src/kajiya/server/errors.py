"""Errors in the shape that OpenAI clients understand: `{"error": {message, type, param, code}}`."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse

from kajiya.core.errors import (
    ConfigError,
    ConflictError,
    EngineError,
    FormatError,
    KajiyaError,
    NotFoundError,
    ResourceError,
)
from kajiya.core.language import tr
from kajiya.inference.protocol import BusyError, ConstraintError, ContextLengthError, RequestError

# A short answer on a laptop takes about this long.
_RETRY_SECONDS = 5
# What is wrong with a thing that was named, and not with the server.
_KNOWN = {
    ConfigError: (400, "invalid_value"),
    FormatError: (400, "invalid_file"),
    NotFoundError: (404, "not_found"),
    ConflictError: (409, "conflict"),
    ResourceError: (503, "insufficient_memory"),
}
log = logging.getLogger("kajiya.server")


class ApiError(Exception):
    """An answer that is an error."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        type: str = "invalid_request_error",
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.type = status, message, type
        self.param, self.code, self.headers = param, code, dict(headers or {})

    def body(self) -> dict[str, Any]:
        """The JSON of the answer, or of the last event of a stream."""
        return {
            "error": {
                "message": self.message,
                "type": self.type,
                "param": self.param,
                "code": self.code,
            }
        }

    def response(self) -> JSONResponse:
        return JSONResponse(self.body(), self.status, headers=self.headers)


def as_api_error(error: Exception) -> ApiError:
    """Any error as one to send. What only the owner of the machine should read goes to the log."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, ConstraintError):
        return ApiError(400, _sentence(error), code="invalid_value", param="response_format")
    if isinstance(error, RequestError):
        code = (
            "context_length_exceeded" if isinstance(error, ContextLengthError) else "invalid_prompt"
        )
        return ApiError(400, _sentence(error), code=code, param="messages")
    if isinstance(error, BusyError):
        return ApiError(
            429,
            _sentence(error),
            type="rate_limit_error",
            code="queue_full",
            headers={"Retry-After": str(error.retry_after or _RETRY_SECONDS)},
        )
    if isinstance(error, EngineError):
        log.error("%s", error)
        return ApiError(
            503,
            tr(
                "The engine of this model stopped; the next request starts it again",
                "このモデルのエンジンが停止しました。次のリクエストで起動し直します",
            ),
            type="server_error",
            code="engine_unavailable",
            headers={"Retry-After": "1"},
        )
    if isinstance(error, SQLAlchemyError):
        log.error("the database failed: %s", getattr(error, "orig", error))
        return database_unavailable(
            tr(
                "The database of this server cannot be used at the moment",
                "いまはこのサーバーのデータベースを使えません",
            )
        )
    if isinstance(error, KajiyaError) and type(error) in _KNOWN:
        status, code = _KNOWN[type(error)]
        kind = "server_error" if status >= 500 else "invalid_request_error"
        return ApiError(status, _sentence(error), type=kind, code=code)
    if isinstance(error, HTTPException):
        return ApiError(error.status_code, str(error.detail), headers=error.headers)
    log.error("unexpected error", exc_info=error)
    return ApiError(
        500, tr("An internal error", "内部エラー"), type="server_error", code="internal"
    )


def database_unavailable(message: str) -> ApiError:
    """What cannot be answered until the database can be used again."""
    return ApiError(
        503,
        message,
        type="server_error",
        code="database_unavailable",
        headers={"Retry-After": str(_RETRY_SECONDS)},
    )


def _sentence(error: KajiyaError) -> str:
    return f"{error.message} ({error.fix})" if error.fix else error.message


def install(app: FastAPI) -> None:
    """Give every error of `app`, unknown paths and methods included, the API's shape."""

    async def handle(_: Request, error: Exception) -> JSONResponse:
        return as_api_error(error).response()

    for kind in (ApiError, KajiyaError, HTTPException, SQLAlchemyError, Exception):
        app.add_exception_handler(kind, handle)
