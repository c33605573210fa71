"""Works of Aozora Bunko, freed of its notation: header, ruby, layout notes, colophon.

The notation: https://www.aozora.gr.jp/annotation/. Characters outside JIS X 0208 are written as notes
that name a code; those become the character. Paragraph indentation is layout and goes too.
"""

from __future__ import annotations

import re
import tarfile
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from kajiya.core.config import option
from kajiya.core.errors import DataError, NotFoundError
from kajiya.core.language import tr
from kajiya.corpus.document import Document
from kajiya.corpus.sources.opened import find_files, opened, read_file, too_large
from kajiya.corpus.sources.source import PathSource, Problems, stop

UNKNOWN = "〓"  # the geta mark: a character that the note describes but gives no code for
_LARGEST = 64 * 1024**2  # bytes of one work

_PLACE = re.compile(r"(?:^|/)cards/(\d{6})/files/(\d+)_")
_RULE = re.compile(r"-{5,}")
_LEGEND = "記号について"
_COLOPHON = re.compile(r"^(?:底本[：:]|入力[：:])", re.MULTILINE)
_RUBY_BASE = re.compile(r"｜([^｜《》\n]+)《[^》\n]*》")
_RUBY = re.compile(r"《[^》\n]*》")
_NOTE = re.compile(r"(※?)［＃([^［］]*)］")
_DEEPEST = 4  # notes within notes
_UNICODE = re.compile(r"U\+([0-9A-Fa-f]{4,6})")
_JIS = re.compile(r"(?<![0-9-])([12])-([0-9]{1,2})-([0-9]{1,2})(?![0-9-])")
_LATIN = re.compile(r"〔([^〔〕\n]*[A-Za-z][`'^~:&,/_][^〔〕\n]*|[^〔〕\n]*[A-Za-z]&[^〔〕\n]*)〕")
_LIGATURES = {"AE&": "Æ", "ae&": "æ", "OE&": "Œ", "oe&": "œ", "s&": "ß"}
_LIGATURE = re.compile("|".join(_LIGATURES))
_ACCENT = re.compile(r"(?<![Qq])([AEIOUYaeiouy])([`'^~:_])|([CcNn])([,~])|([Aa])(&)")
_MARKS = {
    "`": "\u0300",
    "'": "\u0301",
    "^": "\u0302",
    "~": "\u0303",
    ":": "\u0308",
    "&": "\u030a",
    "_": "\u0304",
    ",": "\u0327",
}


@dataclass(frozen=True)
class AozoraWork:
    """A work as plain text: paragraphs end with a newline, parts are an empty line apart.

    `subtitle` and `translator` may be empty; `source` is the printed edition that was transcribed.
    """

    title: str
    subtitle: str
    author: str
    translator: str
    body: str
    source: str


def parse_aozora(raw: bytes) -> AozoraWork:
    """Read a work in Aozora Bunko's own layout (CP932).

    Raises `DataError` if the bytes are not CP932 or hold no text.
    """
    try:
        text = raw.decode("cp932")
    except UnicodeDecodeError as error:
        raise DataError(
            tr(
                f"not a text of Aozora Bunko: byte {error.start} is not Shift_JIS (CP932)",
                f"青空文庫のテキストではありません ({error.start} バイト目が Shift_JIS ではありません)",
            )
        ) from None
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    head, _, rest = text.lstrip("\n").partition("\n\n")
    title, *names = [_plain_line(line) for line in head.split("\n")]
    translator = ""
    while len(names) > 1 and names[-1].endswith("訳"):
        translator = names.pop()
    author = names.pop() if names else ""
    body, colophon = _cut_colophon(_cut_legend(rest))
    body = _plain(body)
    if not title or not body:
        raise DataError(tr("the work holds no text", "本文がありません"), where=title)
    return AozoraWork(title, " ".join(names), author, translator, body, colophon)


class AozoraSource(PathSource):
    """An archive (.tar, .tar.xz, .tar.gz…) of Aozora Bunko's text files, or a folder of them."""

    kind: Literal["aozora"] = option("aozora", en="Kind of source", ja="情報源の種類")
    language: str = option("ja", en="Language", ja="言語")
    domain: str = option("literature", en="Kind of text", ja="文書の種別")


def read_aozora(settings: AozoraSource, problems: Problems = stop) -> Iterator[Document]:
    """A document a work, in the order of the archive or the folder; its id is the file's name.

    An archive is read as a stream; nothing is unpacked. Files that are not `.txt` are passed over. Files
    with the same title and author (with and without ruby, or another edition) are of one group.

    `problems` is told of works that cannot be read. Raises `DataError` naming the archive and the byte
    where it is damaged, `NotFoundError` if there is nothing.
    """
    path = Path(settings.path)
    works = _in_folder(path, problems) if path.is_dir() else _in_archive(path, problems)
    for name, raw in works:
        try:
            work = parse_aozora(raw)
        except DataError as error:
            problems(DataError(error.message, where=f"{path}: {name}", fix=error.fix))
            continue
        yield settings.document(
            PurePosixPath(name).stem,
            f"{work.title}\n{work.author}\n\n{work.body}",
            group=f"{work.title}\n{work.author}",
            title=work.title,
            author=work.author,
            url=_address(name),
        )


def _in_folder(path: Path, problems: Problems) -> Iterator[tuple[str, bytes]]:
    for name, file in find_files(path, (".txt",), problems):
        try:
            yield name, read_file(file, _LARGEST)
        except DataError as error:
            problems(error)


def _in_archive(path: Path, problems: Problems) -> Iterator[tuple[str, bytes]]:
    if not path.is_file():
        raise NotFoundError(
            tr("there is no such archive or folder", "書庫もフォルダもありません"), where=str(path)
        )
    with opened(path) as unpacked:
        try:
            with tarfile.open(fileobj=unpacked, mode="r|*") as archive:
                for member in archive:
                    if not member.isfile() or not member.name.endswith(".txt"):
                        continue
                    if member.size > _LARGEST:
                        problems(too_large(f"{path}: {member.name}", _LARGEST))
                    elif file := archive.extractfile(member):
                        yield member.name, file.read()
        except tarfile.TarError as error:
            raise DataError(
                tr(f"the archive is damaged: {error}", f"書庫が壊れています: {error}"),
                where=str(path),
                fix=tr("get or copy it again", "取得かコピーをやり直してください"),
            ) from None


def _address(name: str) -> str:
    """The page of a work at Aozora Bunko, where the file's place (`cards/AUTHOR/files/WORK_…`) tells it."""
    found = _PLACE.search(name)
    return f"https://www.aozora.gr.jp/cards/{found[1]}/card{found[2]}.html" if found else ""


def _cut_legend(text: str) -> str:
    """What follows the legend of symbols, which stands between two rules at the very beginning."""
    lines = text.lstrip("\n").split("\n")
    ends = [number for number, line in enumerate(lines) if _RULE.fullmatch(line)]
    if not ends or ends[0] != 0:
        return text
    legend = "\n".join(lines[: ends[1] + 1]) if len(ends) > 1 else ""
    if _LEGEND not in legend:  # a rule of the work itself
        return "\n".join(lines[1:])
    return "\n".join(lines[ends[1] + 1 :])


def _cut_colophon(text: str) -> tuple[str, str]:
    """The body, and the printed edition that the colophon names."""
    found = _COLOPHON.search(text)
    if found is None:
        return text, ""
    edition = text[found.end() :].partition("\n")[0]
    return text[: found.start()], edition.strip() if found[0].startswith("底本") else ""


def _plain(text: str) -> str:
    lines: list[str] = []
    for line in text.split("\n"):
        plain = _plain_line(line)
        if plain:
            lines.append(plain)
        elif not line.strip() and lines and lines[-1]:
            lines.append("")  # an empty line of the work; one that held only a note is dropped
    return "\n".join(lines).strip("\n")


def _plain_line(line: str) -> str:
    # Ruby first: brackets that a note spells out are part of the text.
    line = _RUBY.sub("", _RUBY_BASE.sub(r"\1", line))
    for _ in range(_DEEPEST):
        line, found = _NOTE.subn(_replace_note, line)
        if not found:
            break
    line = line.replace("／＼", "〳〵").replace("／″＼", "〴〵")
    return _LATIN.sub(_accented, line).strip("\u3000 \t")


def _replace_note(note: re.Match[str]) -> str:
    """A layout note vanishes; the note of a character becomes the character."""
    return _character(note[2]) if note[1] else ""


def _character(note: str) -> str:
    """The character that a note names by Unicode or by JIS X 0213 plane, row and cell."""
    if found := _UNICODE.search(note):
        code = int(found[1], 16)
        return chr(code) if code < 0x110000 and not 0xD800 <= code < 0xE000 else UNKNOWN
    for plane, row, cell in _JIS.findall(note):
        pair = bytes([0xA0 + int(row), 0xA0 + int(cell)])
        try:
            return (pair if plane == "1" else b"\x8f" + pair).decode("euc_jis_2004")
        except UnicodeDecodeError:
            continue
    return UNKNOWN


def _accented(match: re.Match[str]) -> str:
    """`Cafe'` → `Café`. Only the marks that are common in the texts; others stay as typed."""
    text = _LIGATURE.sub(lambda found: _LIGATURES[found[0]], match[1])

    def compose(found: re.Match[str]) -> str:
        letter, mark = (part for part in found.groups() if part is not None)
        composed = unicodedata.normalize("NFC", letter + _MARKS[mark])
        return composed if len(composed) == 1 else found[0]

    return _ACCENT.sub(compose, text)
