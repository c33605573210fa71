"""OpenAI's vocabularies, by tiktoken, from files that are on this machine: nothing is downloaded.

tiktoken keeps what it once downloaded in a cache, and the `litellm` package brings such a cache along
(only its files are read; none of its code is run).
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import TYPE_CHECKING

from kajiya.core.errors import ConfigError, FormatError, NotFoundError, ResourceError
from kajiya.core.files import sha256_file
from kajiya.core.language import tr

if TYPE_CHECKING:
    from tiktoken import Encoding

_CACHE = ("TIKTOKEN_CACHE_DIR", "DATA_GYM_CACHE_DIR")
_PACKAGE, _FOLDER = "litellm", "litellm/litellm_core_utils/tokenizers"
# A file's name in the cache is the SHA-1 of the address that tiktoken would load it from.
_O200K = "fb374d419588a4632f3f557e76b4b70aebbca790"
_CL100K = "9b5ad71b2ce5302211f9c61530b329a4922fc6a4"
_P50K = "ec7223a39ce59f226a68acc30dc1af2788490e15"
_R50K = "0ea1e91bbb3a60f729a8dc8f777fd2fc07cd8df4"
_FILES = {
    "o200k_base": _O200K,
    "o200k_harmony": _O200K,
    "cl100k_base": _CL100K,
    "p50k_base": _P50K,
    "p50k_edit": _P50K,
    "r50k_base": _R50K,
}
_SHA256 = {
    _O200K: "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
    _CL100K: "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
    _P50K: "94b5ca7dff4d00767bc256fdd1b27e5b17361d7b8a5f968547f9f23eb70d2069",
    _R50K: "306cd27f03c1a714eca7108e03d66b7dc042abe8c258b44c199a7ed9838dd930",
}


def openai_encoding(name: str) -> Encoding:
    """tiktoken's encoding `name`, such as `o200k_base`.

    Raises `ConfigError` for a name that is not known, `NotFoundError` where its file is not on this
    machine, `ResourceError` without tiktoken, `FormatError` for a damaged file.
    """
    if name not in _FILES:
        raise ConfigError(
            tr(f"there is no vocabulary {name!r}", f"{name!r} という語彙はありません"),
            where=f"tiktoken:{name}",
            fix=tr(f"choose one of {', '.join(_FILES)}", f"使えるもの: {', '.join(_FILES)}"),
        )
    try:
        import tiktoken
    except ImportError:
        raise ResourceError(
            tr("tiktoken is not installed", "tiktoken が入っていません"),
            where=f"tiktoken:{name}",
            fix="pip install 'kajiya[lab]'",
        ) from None
    wanted = _FILES[name]
    folder = next((f for f in _folders() if (f / wanted).is_file()), None)
    if folder is None:
        raise NotFoundError(
            tr(
                f"the vocabulary is not on this machine (a file {wanted} in tiktoken's cache)",
                f"この語彙のファイル ({wanted}) が tiktoken のキャッシュにありません",
            ),
            where=f"tiktoken:{name}",
            fix=tr(
                f"pip install --no-deps {_PACKAGE}==1.109.1, or set {_CACHE[0]} to a folder with it",
                f"pip install --no-deps {_PACKAGE}==1.109.1 とするか、あるフォルダを {_CACHE[0]} に設定してください",
            ),
        )
    if sha256_file(folder / wanted) != _SHA256[wanted]:  # tiktoken would fetch it anew
        raise FormatError(
            tr("the file is not the vocabulary that it should be", "語彙ファイルの内容が違います"),
            where=str(folder / wanted),
        )
    with _cache_at(folder):
        return tiktoken.get_encoding(name)


def _folders() -> Iterator[Path]:
    for variable in _CACHE:
        if os.environ.get(variable):
            yield Path(os.environ[variable])
    yield Path(tempfile.gettempdir()) / "data-gym-cache"
    try:
        yield Path(str(distribution(_PACKAGE).locate_file(_FOLDER)))
    except PackageNotFoundError:
        return


@contextmanager
def _cache_at(folder: Path) -> Iterator[None]:
    """Let tiktoken find its files in `folder`."""
    earlier = os.environ.get(_CACHE[0])
    os.environ[_CACHE[0]] = str(folder)
    try:
        yield
    finally:
        if earlier is None:
            del os.environ[_CACHE[0]]
        else:
            os.environ[_CACHE[0]] = earlier
