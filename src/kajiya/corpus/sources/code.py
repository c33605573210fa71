"""Source code: the files of programs, each with the licence that it or a folder above it states."""

from __future__ import annotations

import io
from collections.abc import Iterator
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Literal

from kajiya.core.config import option
from kajiya.core.errors import DataError
from kajiya.corpus.document import Document
from kajiya.corpus.sources.licences import licence_of_header, licence_of_text
from kajiya.corpus.sources.opened import find_files, read_file
from kajiya.corpus.sources.source import PathSource, Problems, stop
from kajiya.data.encoding import detect_encoding
from kajiya.data.problems import TableError

_ENDINGS = """
    .py .pyi .js .mjs .cjs .jsx .ts .tsx .vue .svelte .css .scss .java .kt .kts .scala .groovy .clj .c .h .cc
    .cpp .cxx .hh .hpp .m .mm .cs .fs .vb .go .rs .swift .zig .d .nim .rb .php .pl .pm .lua .r .jl .hs .ml .mli
    .ex .exs .erl .lisp .el .scm .f90 .f95 .pas .adb .ads .cob .asm .s .sql .sh .bash .zsh .fish .ps1 .bat .tcl
    .awk .proto .thrift .graphql .tf .cmake .gradle .cu .cl .glsl .v .sv .vhd .vhdl makefile dockerfile
"""
SUFFIXES = tuple(_ENDINGS.split())
_OTHERS = """
    node_modules bower_components vendor third_party site-packages venv __pycache__ dist build target
"""
_NOT_OURS = frozenset(_OTHERS.split())
_LARGEST = 2_000_000  # bytes: longer files are generated, or data
_HEADER = 4096  # characters that may hold the licence
_LICENCE_FILES = ("license", "licence", "copying", "unlicense")


class CodeSource(PathSource):
    """A folder of programs, such as one with a checkout a project; or one file."""

    kind: Literal["code"] = option("code", en="Kind of source", ja="情報源の種類")
    domain: str = option("code", en="Kind of text", ja="文書の種別")


def read_code(settings: CodeSource, problems: Problems = stop) -> Iterator[Document]:
    """A document a source file. Folders of other people's code and of what was built are passed over.

    The licence is that of the file's SPDX header, else of the licence files in the nearest folder above
    it that has some, else the settings'. `problems` is told of files that are no text or pass 2 MB.
    """
    root = Path(settings.path)
    licences = cache(_licence_of_folder)
    for name, path in find_files(root, SUFFIXES, problems):
        if _NOT_OURS.intersection(PurePosixPath(name).parts):
            continue
        try:
            text = _text(path)
        except DataError as error:
            problems(error)
            continue
        if text is None:
            continue
        licence = licence_of_header(text[:_HEADER]) or next(
            (found for folder in _folders(path, root) if (found := licences(folder))), ""
        )
        yield settings.document(name, text, title=name, licence=licence)


def _text(path: Path) -> str | None:
    raw = read_file(path, _LARGEST)
    try:
        encoding = detect_encoding(io.BytesIO(raw), str(path))
    except TableError as error:
        if error.code == "empty":
            return None
        raise
    return raw.decode(encoding).removeprefix("\ufeff").replace("\r\n", "\n")


def _folders(path: Path, root: Path) -> Iterator[Path]:
    """The folders around a file, the nearest first, up to `root`."""
    for folder in path.parents:
        yield folder
        if folder in (root, root.parent):
            return


def _licence_of_folder(folder: Path) -> str:
    """The licences of all licence files in a folder: all of them hold, as far as one can see."""
    found: set[str] = set()
    for path in sorted(folder.iterdir()):
        if (
            path.name.lower().startswith(_LICENCE_FILES)
            and path.is_file()
            and not path.is_symlink()
        ):
            with path.open("rb") as file:
                text = file.read(_LARGEST).decode("utf-8", errors="replace")
            found.add(licence_of_header(text) or licence_of_text(text))
    found.discard("")
    if any(
        name.startswith("LGPL") for name in found
    ):  # comes with the text of the GPL that it extends
        found = {name for name in found if not name.startswith("GPL")}
    return " AND ".join(sorted(found))
