"""Where Unix sockets go."""

from __future__ import annotations

import os
import tempfile

_PATH_LIMIT = 100


def short_folder() -> str | None:
    """Where temporary folders go, unless that is too deep for the path of a Unix socket."""
    usual = tempfile.gettempdir()
    return usual if len(os.fsencode(usual)) + 30 < _PATH_LIMIT else "/tmp"  # noqa: S108
