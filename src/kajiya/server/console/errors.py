"""Errors as people and scripts of the console see them: a page, or JSON."""

from __future__ import annotations

from fastapi import FastAPI
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from kajiya.core.errors import DataError, JobError, KajiyaError
from kajiya.core.language import tr
from kajiya.server.console.context import page
from kajiya.server.errors import ApiError, as_api_error


def wants_page(request: Request) -> bool:
    """Whether a browser is going to a page, rather than a script asking for data."""
    return "text/html" in request.headers.get("accept", "")


def answer(request: Request, error: Exception) -> Response:
    """The error in the form that was asked for."""
    known = _known(error)
    told = {"code": known.code or "", "message": known.message, "where": "", "fix": ""}
    if isinstance(error, KajiyaError):
        told |= {"message": error.message, "where": error.where, "fix": error.fix}
    response: Response
    if wants_page(request):
        response = page(request, "shell/error.html", known.status, error=told)
    else:
        response = JSONResponse({"error": told}, known.status)
    response.headers.update(known.headers)
    return response


def _known(error: Exception) -> ApiError:
    if isinstance(error, DataError | JobError):
        return ApiError(400, error.message, code=error.code)
    if isinstance(error, HTTPException) and error.status_code == 404:
        return ApiError(
            404, tr("There is no such page", "このページはありません"), code="not_found"
        )
    return as_api_error(error)


def install(app: FastAPI) -> None:
    """Have every error of `app` answered so, unknown addresses included."""

    async def handle(request: Request, error: Exception) -> Response:
        return answer(request, error)

    for kind in (ApiError, KajiyaError, HTTPException, SQLAlchemyError, Exception):
        app.add_exception_handler(kind, handle)
