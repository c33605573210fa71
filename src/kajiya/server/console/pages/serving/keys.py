"""Keys of the API for people and applications: the same as `kajiya keys`, in a browser."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from kajiya.core.errors import ConfigError, ConflictError, KajiyaError
from kajiya.server import snippets
from kajiya.server.access import clock
from kajiya.server.access.caller import KeySettings
from kajiya.server.access.keyring import Key, Keyring, State
from kajiya.server.access.usage import last_days
from kajiya.server.console.context import form, note, page, the
from kajiya.server.console.forms import form_fields, read_form

_SHOWN = 100  # on one page of the list


@dataclass(frozen=True)
class Row:
    """A key as the list shows it."""

    key: Key
    state: State
    last_used: str


async def show_list(request: Request) -> Response:
    """All keys, the newest first; `?q=` looks in names, owners and prefixes, `?page=` counts from 1."""
    return page(request, "serving/keys.html", **await _listed(request), **_new_key())


async def create(request: Request) -> Response:
    """Make a key, whose secret this answer shows and no other."""
    sent = await form(request)
    settings, errors = read_form(KeySettings, sent)
    name, duration = sent.get("name", "").strip(), sent.get("duration", "").strip()
    problem: KajiyaError | None = None
    if settings is not None:
        try:
            key, secret = await asyncio.to_thread(
                _keyring(request).create, name, settings, duration or None
            )
        except (ConfigError, ConflictError) as error:
            problem = error
        else:
            await note(request, "key.created", key.name, id=key.id)
            return _secret(request, key, secret)
    return page(
        request,
        "serving/keys.html",
        400,
        **await _listed(request),
        **_new_key(sent, errors, problem),
    )


async def show(request: Request) -> Response:
    """One key: what it may do, and changing that."""
    key = await _find(request)
    return await _shown(request, key, form_fields(KeySettings, key.settings))


async def change(request: Request) -> Response:
    """Give it other settings."""
    key, sent = await _find(request), await form(request)
    settings, errors = read_form(KeySettings, sent)
    if settings is None:
        return await _shown(request, key, form_fields(KeySettings, sent, errors), 400)
    await asyncio.to_thread(_keyring(request).change, key.id, settings.model_dump())
    await note(request, "key.changed", key.name, id=key.id)
    return RedirectResponse(f"/serving/keys/{key.id}", 303)


async def rotate(request: Request) -> Response:
    """A new secret in place of the old one."""
    key, sent = await _find(request), await form(request)
    duration = sent.get("duration", "").strip() or None
    key, secret = await asyncio.to_thread(_keyring(request).rotate, key.id, duration)
    await note(request, "key.rotated", key.name, id=key.id)
    return _secret(request, key, secret)


async def revoke(request: Request) -> Response:
    """No more with this key, for good."""
    key = await _find(request)
    await asyncio.to_thread(_keyring(request).revoke, key.id)
    await note(request, "key.revoked", key.name, id=key.id)
    return RedirectResponse(f"/serving/keys/{key.id}", 303)


async def _listed(request: Request) -> dict[str, Any]:
    words = request.query_params.get("q", "")[:200]
    number = request.query_params.get("page", "1")
    at = max(1, int(number)) if number.isdecimal() and len(number) < 6 else 1
    found = [key for key in await asyncio.to_thread(_keyring(request).list) if _has(key, words)]
    found.reverse()
    used = await asyncio.to_thread(last_days, the(request).gateway.gate.database)
    now = clock.now()
    rows = [
        Row(key, key.state(now), used.get(key.id, ""))
        for key in found[(at - 1) * _SHOWN : at * _SHOWN]
    ]
    pages = max(1, -(-len(found) // _SHOWN))
    return {"rows": rows, "words": words, "at": at, "pages": pages, "total": len(found)}


def _new_key(
    sent: dict[str, str] | None = None,
    errors: dict[str, str] | None = None,
    problem: KajiyaError | None = None,
) -> dict[str, Any]:
    """The form for a new key, as it was filled in."""
    values = {name: text for name, text in (sent or {}).items() if name in KeySettings.model_fields}
    return {
        "fields": form_fields(KeySettings, values, errors),
        "name": (sent or {}).get("name", ""),
        "duration": (sent or {}).get("duration", ""),
        "problem": problem,
        "filling_in": sent is not None,
    }


def _secret(request: Request, key: Key, secret: str) -> Response:
    url = str(request.base_url).rstrip("/")
    names = [name for name in the(request).gateway.models if key.settings.allows(name)]
    code = snippets.curl(url, secret, names[0]) if names else ""
    return page(request, "serving/secret.html", key=key, secret=secret, url=f"{url}/v1", code=code)


async def _shown(request: Request, key: Key, fields: Any, status: int = 200) -> Response:
    used = await asyncio.to_thread(last_days, the(request).gateway.gate.database)
    return page(
        request,
        "serving/key.html",
        status,
        key=key,
        state=key.state(clock.now()),
        last_used=used.get(key.id, ""),
        fields=fields,
    )


async def _find(request: Request) -> Key:
    return await asyncio.to_thread(_keyring(request).get, request.path_params["key"])


def _keyring(request: Request) -> Keyring:
    return the(request).gateway.gate.keyring


def _has(key: Key, words: str) -> bool:
    text = f"{key.name} {key.settings.owner} {key.prefix}".casefold()
    return all(word in text for word in words.casefold().split())
