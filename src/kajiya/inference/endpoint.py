"""The HTTP client of a server that speaks OpenAI's API: events and errors, nothing of what they are for.

The address and the key are the machine owner's. Redirects are not followed, certificates are checked,
and whatever the server sends has a limit. Its key is in no message and no log.
"""

from __future__ import annotations

import email.utils
import time
from collections.abc import AsyncGenerator
from typing import Any

import httpx
from pydantic import BaseModel, ValidationError
from pydantic_core import from_json

from kajiya.core.errors import EngineError, KajiyaError
from kajiya.core.language import tr
from kajiya.inference.openai_api import Event
from kajiya.inference.protocol import (
    BusyError,
    ConstraintError,
    ContextLengthError,
    RequestError,
)
from kajiya.inference.remotes import is_local

_CONNECT_SECONDS = 10
_LONGEST_LINE = 1024**2
_LONGEST_BODY = 4 * 1024**2
_LONGEST_MESSAGE = 500
_LONGEST_WAIT = 3600
# What other servers call the statuses, where an error comes as an event.
_STATUS = {"rate_limit_error": 429, "invalid_request_error": 400, "BadRequestError": 400}


class ModelCard(BaseModel):
    """A model in the endpoint's list; `max_model_len` is vLLM's."""

    id: str
    owned_by: str = ""
    max_model_len: int | None = None


class _Models(BaseModel):
    data: list[ModelCard]


class _Problem(BaseModel):
    message: str = ""
    type: str | None = None
    param: str | None = None
    code: str | int | None = None


class Endpoint:
    """One server. `name` is what its owner calls it, for messages.

    `base_url` ends in `/v1`. At most `connections` requests run at a time, further ones wait. `seconds` is
    the longest wait for the next piece of an answer. With `socket`, the server is at that Unix socket.
    """

    def __init__(
        self,
        name: str,
        base_url: str,
        key: str | None,
        *,
        connections: int,
        seconds: float,
        socket: str | None = None,
    ) -> None:
        self._name = name
        headers = {"Accept-Encoding": "identity", "User-Agent": "kajiya"}
        if key is not None:
            headers["Authorization"] = f"Bearer {key}"
        limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
        self._client = httpx.AsyncClient(
            base_url=base_url,
            headers=headers,
            timeout=httpx.Timeout(seconds, connect=_CONNECT_SECONDS, pool=None),
            limits=limits,
            # The system's proxy is for what is far away.
            trust_env=not is_local(base_url),
            transport=httpx.AsyncHTTPTransport(uds=socket, limits=limits) if socket else None,
            follow_redirects=False,
        )

    async def models(self) -> list[ModelCard]:
        """What it says that it serves; nothing if it has no list."""
        try:
            async with self._client.stream("GET", "models") as response:
                if response.status_code in (404, 405):
                    return []
                if response.status_code != 200:
                    raise await self._refusal(response)
                return _Models.model_validate_json(await _whole(response)).data
        except httpx.HTTPError as error:
            raise self._unreachable(error) from None
        except ValidationError:
            raise self._strange() from None

    async def post(self, path: str, body: dict[str, Any]) -> None:
        """Have something done that has no answer but whether it was done."""
        try:
            async with self._client.stream("POST", path, json=body) as response:
                if response.status_code != 200:
                    raise await self._refusal(response)
        except httpx.HTTPError as error:
            raise self._unreachable(error) from None

    async def healthy(self) -> bool:
        """Whether `/health` beside the API says so."""
        try:
            return (
                await self._client.get(self._client.base_url.join("/health"))
            ).status_code == 200
        except httpx.HTTPError:
            return False

    async def events(self, path: str, body: dict[str, Any]) -> AsyncGenerator[Event]:
        """The events of an answer, after an empty one as soon as the request is accepted.

        Closing this closes the connection, which tells the server that nobody is listening. Raises
        `RequestError`, `BusyError` or `EngineError`.
        """
        try:
            async with self._client.stream("POST", path, json=body) as response:
                if response.status_code != 200:
                    raise await self._refusal(response)
                yield Event()
                async for line in _lines(response):
                    if not line.startswith(b"data:"):
                        continue
                    data = line[5:].strip()
                    if data == b"[DONE]":
                        return
                    yield self._event(data)
        except httpx.HTTPError as error:
            raise self._unreachable(error) from None
        except _TooLongError:
            raise self._strange() from None

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    def _event(self, data: bytes) -> Event:
        problem = _problem(data)
        if problem is not None:
            code = problem.code
            status = code if isinstance(code, int) else _STATUS.get(problem.type or "", 500)
            raise self._error(status, problem, None)
        try:
            return Event.model_validate_json(data)
        except ValidationError:
            raise self._strange() from None

    async def _refusal(self, response: httpx.Response) -> KajiyaError:
        problem = _problem(await _whole(response)) or _Problem()
        return self._error(response.status_code, problem, response.headers.get("retry-after"))

    def _error(self, status: int, problem: _Problem, retry_after: str | None) -> KajiyaError:
        said = " ".join(problem.message.split())[:_LONGEST_MESSAGE]
        if status == 429:
            return BusyError(
                tr("too many requests are waiting", "順番待ちのリクエストが多すぎます"),
                fix=tr("try again soon", "少し待ってからもう一度お試しください"),
                retry_after=_seconds(retry_after),
            )
        if status in (400, 413, 422):
            kind = RequestError
            if problem.code == "context_length_exceeded":
                kind = ContextLengthError
            elif (problem.param or "").startswith(("response_format", "structured_outputs")):
                kind = ConstraintError
            return kind(said or tr("the request was refused", "リクエストが拒否されました"))
        if status in (401, 403):
            return EngineError(
                tr("the endpoint refused the key", "接続先がキーを受け付けません"),
                where=self._name,
                fix=tr("check its key", "キーを確かめてください"),
            )
        return EngineError(
            tr(f"the endpoint answered {status} {said}", f"接続先の応答: {status} {said}"),
            where=self._name,
        )

    def _unreachable(self, error: httpx.HTTPError) -> EngineError:
        reason = str(error) or type(error).__name__
        return EngineError(
            tr(f"the endpoint does not answer: {reason}", f"接続先から応答がありません: {reason}"),
            where=self._name,
        )

    def _strange(self) -> EngineError:
        return EngineError(
            tr(
                "the endpoint does not speak OpenAI's API",
                "接続先の応答が OpenAI API の形式ではありません",
            ),
            where=self._name,
        )


class _TooLongError(Exception):
    pass


async def _lines(response: httpx.Response) -> AsyncGenerator[bytes]:
    rest = b""
    async for data in response.aiter_raw():
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            yield line
        if len(rest) > _LONGEST_LINE:
            raise _TooLongError
    yield rest


async def _whole(response: httpx.Response) -> bytes:
    """The body, or as much of it as anybody could want."""
    body = b""
    async for data in response.aiter_raw():
        body += data
        if len(body) > _LONGEST_BODY:
            break
    return body


def _problem(data: bytes) -> _Problem | None:
    """The error that `data` tells of, in the shapes that are in use; None if it tells of none."""
    try:
        value = from_json(data)
    except ValueError:
        return None
    error = value.get("error") if isinstance(value, dict) else None
    if isinstance(error, str):
        return _Problem(message=error)
    try:
        return _Problem.model_validate(error) if error else None
    except ValidationError:
        return _Problem()


def _seconds(retry_after: str | None) -> int | None:
    """Of a `Retry-After` header, which may be a number or a date."""
    if not retry_after:
        return None
    if retry_after.isdecimal():
        return min(int(retry_after[:9]), _LONGEST_WAIT)
    try:
        date = email.utils.parsedate_to_datetime(retry_after).timestamp()
    except ValueError:
        return None
    return min(max(0, int(date - time.time())), _LONGEST_WAIT)
