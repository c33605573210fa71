"""The text of a MediaWiki page: its sentences, headings and lists as a reader sees them.

Templates, tables, references, pictures, categories and comments are dropped; of a link the label stays.
One pass over the page, however its marks are nested or left open.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator

_DEEPEST = 60  # marks within marks; deeper ones are dropped without what they would mean
_DROPPED = (
    "ref|references|gallery|timeline|imagemap|math|chem|score|graph|mapframe|maplink|templatestyles"
    "|syntaxhighlight|source|table|indicator|hiero|inputbox|style|script"
)
# Every alternative begins with its own character, which is what makes the search fast.
_MARK = re.compile(
    rf"<(?i:(?P<comment>!--)|(?P<nowiki>nowiki>)|(?P<empty>(?:{_DROPPED})\b[^<>]*/>)"
    rf"|(?P<open>(?P<tag>{_DROPPED})\b[^<>]*>)|(?P<close>/(?P<end>{_DROPPED})\s*+>)"
    r"|(?P<break>br\s*+/?>)|(?P<other>/?[a-z][^<>]*>))"
    r"|\{(?:(?P<template>\{)|(?P<grid>\|))|\}(?P<template_end>\})|\|(?P<grid_end>\}(?!\}))"
    r"|\[(?:(?P<link>\[)|(?P<web>(?:https?:|ftp:)?//[^\s\[\]]*+(?P<label>[^\[\]\n]*+)\]))"
    r"|\](?P<link_end>\])"
)
_INDENT = 20  # characters that may stand before a table's mark on its line
_INVISIBLE = re.compile(
    r"\s*+(?i:file|image|media|ファイル|画像|category|カテゴリ)\s*+:|\s*+[a-z]{2,3}(?:-[a-z]+)*+:"
)
# Templates that stand for words of the sentence: which of their arguments.
_SPEAKING = {
    "lang": 1,
    "仮リンク": 0,
    "読み仮名": 0,
    "読み仮名_ruby不使用": 0,
    "ruby": 0,
    "ふりがな": 0,
    "nowrap": 0,
}
# Sections that are lists of links and sources.
_TITLES = """
    脚注|注釈|出典|注釈・出典|参考文献|関連文献|関連項目|外部リンク|参照
    |references|notes|external links|see also|further reading|bibliography
"""
_APPENDICES = frozenset(title.strip() for title in _TITLES.split("|"))
_EMPHASIS = re.compile(r"'{2,5}")
_SWITCH = re.compile(r"__[^\W_]{1,30}__")
_HOLLOW = re.compile(r"[（(][\s、,，;；:：・]*+[）)]")
_LEADING = re.compile(r"([（(])[\s、,，;；:：・]++")


class _Part:
    """What has been read inside one mark that is still open."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.pieces: list[str] = []

    def text(self) -> str:
        return "".join(self.pieces)


def plain_wikitext(source: str) -> str:
    """The page as plain text: a line a paragraph, an empty line before a heading."""
    return _tidy(_without_marks(source))


def _without_marks(source: str) -> str:
    parts = [_Part("page")]
    position = 0
    while mark := _MARK.search(source, position):
        kind = mark.lastgroup or ""
        parts[-1].pieces.append(source[position : mark.start()])
        position = mark.end()
        if kind == "comment":
            end = source.find("-->", position)
            position = len(source) if end < 0 else end + 3
        elif kind == "nowiki":
            end = source.find("</nowiki>", position)
            if end < 0:
                end = len(source)
            parts[-1].pieces.append(source[position:end])
            position = end
        elif kind == "break":
            parts[-1].pieces.append("\n")
        elif kind == "web":
            parts[-1].pieces.append(mark["label"].strip())
        elif kind.startswith("grid") and not _begins_line(source, mark.start()):
            parts[-1].pieces.append(mark[0])
        elif kind in ("template", "grid", "link"):
            _begin(parts, kind)
        elif kind == "open":
            _begin(parts, mark["tag"].lower())
        elif kind == "close":
            _end(parts, mark["end"].lower())
        elif kind.endswith("_end"):
            _end(parts, kind.removesuffix("_end"))
    parts[-1].pieces.append(source[position:])
    _dissolve(parts, 1)
    return parts[0].text()


def _begins_line(source: str, place: int) -> bool:
    before = source[max(0, place - _INDENT) : place]
    line = before.rpartition("\n")[2]
    return not line.strip(" \t:*") and (len(line) < len(before) or len(before) < _INDENT)


def _begin(parts: list[_Part], kind: str) -> None:
    if len(parts) < _DEEPEST:
        parts.append(_Part(kind))


def _end(parts: list[_Part], kind: str) -> None:
    """Close the innermost part of this kind; marks opened within it and left open were only text."""
    at = next((i for i in range(len(parts) - 1, 0, -1) if parts[i].kind == kind), 0)
    if at:
        _dissolve(parts, at + 1)
        parts[-2].pieces.append(_shown(parts.pop()))


def _dissolve(parts: list[_Part], first: int) -> None:
    while len(parts) > first:
        text = parts.pop().text()
        parts[-1].pieces.append(text)


def _shown(part: _Part) -> str:
    """What a reader sees of a part."""
    if part.kind == "template":
        name, *arguments = part.text().split("|")
        wanted = _SPEAKING.get(name.strip().lower())
        if wanted is None or wanted >= len(arguments):
            return ""
        return arguments[wanted].strip()
    if part.kind != "link":
        return ""
    target, _, label = part.text().partition("|")
    if _INVISIBLE.match(target):
        return ""
    return label or target.strip().removeprefix(":")


def _tidy(text: str) -> str:
    return "\n".join(_lines(text)).strip()


def _lines(text: str) -> Iterator[str]:
    """The lines with text; a heading only where text follows it."""
    headings: list[tuple[int, str]] = []
    appendix = 0  # the level of the appendix that is being passed over
    for raw in text.split("\n"):
        line = _SWITCH.sub("", _EMPHASIS.sub("", html.unescape(raw))).strip()
        if len(line) > 2 and line[0] == line[-1] == "=":
            level = len(line) - len(line.lstrip("="))
            title = line.strip("= \t")
            if not appendix or level <= appendix:
                appendix = level if title.lower() in _APPENDICES else 0
                headings = [found for found in headings if found[0] < level]
                if not appendix:
                    headings.append((level, title))
            continue
        line = _LEADING.sub(r"\1", _HOLLOW.sub("", line.lstrip("*#:; \t\u3000"))).strip()
        if appendix or not line or line[0] in "|!" or not line.strip("-"):
            continue
        for _, title in headings:
            yield from ("", title)
        headings.clear()
        yield line
