"""Style sheets, scripts and pictures, served from the package at addresses that change with their content.

One hash over all of them is part of every address, so a module may import another by a relative path
and browsers may keep everything for ever.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from kajiya.server.console.page import Page

_SHELL = Path(__file__).parent / "static"
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".woff2": "font/woff2",
}


class Assets:
    """The files of the shell (`shell/…`) and of each page (`NAME/…`), in memory."""

    def __init__(self, pages: Iterable[Page]) -> None:
        folders = [("shell", _SHELL), *((page.name, page.folder / "static") for page in pages)]
        self._files = {
            f"{name}/{path.relative_to(folder).as_posix()}": path.read_bytes()
            for name, folder in folders
            for path in sorted(folder.rglob("*"))
            if path.suffix in _TYPES
        }
        digest = hashlib.sha256()
        for name, data in self._files.items():
            digest.update(name.encode() + b"\0" + hashlib.sha256(data).digest())
        self._hash = digest.hexdigest()[:12]

    def address(self, name: str) -> str:
        """Where a page finds a file; raises `KeyError` if there is none."""
        if name not in self._files:
            raise KeyError(name)
        return f"/static/{self._hash}/{name}"

    async def serve(self, request: Request) -> Response:
        """The route `/static/{hash}/{name}`."""
        name = request.path_params["name"]
        if request.path_params["hash"] != self._hash or name not in self._files:
            raise HTTPException(404)
        return Response(
            self._files[name],
            media_type=_TYPES[Path(name).suffix],
            headers={"Cache-Control": "public, max-age=31536000, immutable"},
        )
