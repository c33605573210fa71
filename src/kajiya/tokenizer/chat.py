"""A model's tokenizer and chat template, as a folder holds them: conversations to token ids and back.

Special tokens come from the template only. Text that people write, and text given to `encode`, stays
text even where it spells `<end_of_turn>`. Training and serving encode a conversation alike: what is
trained starts exactly where a generation prompt ends.

Conversations are encoded as `transformers` does (each stretch between special tokens in one go), so
ids agree with its `apply_chat_template` for text that holds no special token.
"""

from __future__ import annotations

import functools
import itertools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from kajiya.core.errors import DataError, FormatError, NotFoundError
from kajiya.core.language import tr
from kajiya.tokenizer.batch import Encode, batch_encoder
from kajiya.tokenizer.messages import ROLES, Message, Piece, Role
from kajiya.tokenizer.plain import PlainEncoder
from kajiya.tokenizer.templates import ChatTemplate, Rendering, default_template

__all__ = ["ROLES", "ChatTokenizer", "Message", "Piece", "Role", "default_template"]


class ChatTokenizer:
    """Text and conversations to token ids, for one model. May be shared between threads.

    `stop_ids` end an answer: the end-of-text token and the template's end-of-turn token. A template
    may end turns with blank text instead (World models: an empty line): that is `stop_text`, else "".
    A model can write it in other tokens than one, so it has to be looked for in the text.
    `tokenizer` leaves special tokens that are written in a text as text.
    """

    def __init__(
        self, tokenizer: Tokenizer, config: dict[str, Any], template: str, where: str = ""
    ) -> None:
        names = {
            key: text
            for key in ("bos_token", "eos_token", "pad_token", "unk_token")
            if (text := _token_text(config.get(key))) is not None
        }
        self.bos_id = _id(tokenizer, names.get("bos_token"))
        self.eos_id = _id(tokenizer, names.get("eos_token"))
        self.pad_id = _id(tokenizer, names.get("pad_token"))
        self._unknown_id = _id(tokenizer, names.get("unk_token"))
        self._plain = PlainEncoder(
            tokenizer, set(names.values()), template, self._unknown_id, where
        )
        self.tokenizer = self._plain.tokenizer
        self.template = ChatTemplate(template, names, where)
        self._where = where
        end_of_turn, self.stop_text = self._end_of_turn()
        ends = (names.get("eos_token"), end_of_turn)
        stops = {end: index for end in ends if end and (index := _id(tokenizer, end)) is not None}
        self.stop_ids = frozenset(stops.values())
        self._ends = [*stops, *filter(None, [self.stop_text])]

    @classmethod
    def load(cls, folder: Path) -> ChatTokenizer:
        """Read `tokenizer.json`, `tokenizer_config.json` and the chat template of a model folder.

        The template is `chat_template.jinja`, else the one in the configuration, else
        `default_template`. Raises `NotFoundError` without a tokenizer, `FormatError` for broken files.
        """
        path = folder / "tokenizer.json"
        if not path.is_file():
            raise NotFoundError(
                tr("the folder holds no tokenizer.json", "フォルダに tokenizer.json がありません"),
                where=str(folder),
                fix=tr("give a model's folder", "モデルのフォルダを指定してください"),
            )
        try:
            tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises plain Exception
            raise _broken(path, error) from None
        config = _read_config(folder / "tokenizer_config.json")
        own = folder / "chat_template.jinja"
        try:
            template = own.read_text(encoding="utf-8") if own.is_file() else _template_in(config)
        except (OSError, UnicodeDecodeError) as error:
            raise _broken(own, error) from None
        return cls(tokenizer, config, template or default_template(tokenizer), str(folder))

    @property
    def vocab_size(self) -> int:
        """Tokens known, added ones included."""
        return int(self.tokenizer.get_vocab_size(with_added_tokens=True))

    def encode(self, text: str, *, special: bool = False) -> list[int]:
        """Token ids of a text, nothing put before or after it.

        With `special`, special tokens written in the text become special: for trusted text only.
        """
        return self._encode([Piece(text, trusted=special, trained=False)])[0]

    def encode_texts(self, texts: Sequence[str]) -> list[list[int]]:
        """`encode` of many texts at once, in parallel and as fast as it goes."""
        try:
            found = self._encode_texts(texts)
        except (UnicodeEncodeError, TypeError):
            return [self.encode(text) for text in texts]  # which says what is wrong
        control = self._plain.control_ids
        return [
            ids if control.isdisjoint(ids) else self.encode(text)
            for text, ids in zip(texts, found, strict=True)
        ]

    @functools.cached_property
    def _encode_texts(self) -> Encode:
        return batch_encoder(Path(self._where), self.tokenizer)

    def decode(self, ids: Sequence[int], *, skip_special: bool = True) -> str:
        """The text of `ids`, with or without special tokens."""
        hidden = (
            self._plain.control_ids | {self._unknown_id}
            if skip_special
            else frozenset[int | None]()
        )
        shown = [index for index in ids if index not in hidden]
        return str(self.tokenizer.decode(shown, skip_special_tokens=False))

    def encode_chat(
        self, messages: Sequence[Message], *, add_generation_prompt: bool = True
    ) -> list[int]:
        """Token ids of a conversation, by default up to where the model's answer begins."""
        return self._encode(self.render(messages, add_generation_prompt=add_generation_prompt))[0]

    def encode_training(self, messages: Sequence[Message]) -> tuple[list[int], list[bool]]:
        """Token ids of a conversation, and which of them the model has to produce.

        Those are each assistant turn's content and its end-of-turn token. The ids before an
        assistant turn are those of `encode_chat` for the messages before it, wherever the template
        writes both alike.
        """
        return self._encode(self.render(messages, add_generation_prompt=False))

    def render(self, messages: Sequence[Message], *, add_generation_prompt: bool) -> list[Piece]:
        """The conversation as the template writes it, cut by origin and by what is trained.

        A template that refuses a system message gets its text at the head of the first user turn.
        Raises `FormatError` for a template that fails or leaves a message out, `DataError` for no
        messages.
        """
        if not messages:
            raise DataError(tr("the conversation is empty", "会話が空です"), where="messages")
        try:
            return self._render(messages, add_generation_prompt)
        except FormatError:
            folded = _fold_system(messages)
            if folded is None:
                raise
            return self._render(folded, add_generation_prompt)

    def _render(self, messages: Sequence[Message], add_generation_prompt: bool) -> list[Piece]:
        marks = self.template.start()
        whole = self.template.render(
            messages, add_generation_prompt=add_generation_prompt, marks=marks
        )
        contents = whole.contents()
        present = {index for *_, index in contents}
        told = {index for *_, content, index in contents if content}
        for index, message in enumerate(messages):
            if message.content.strip() and index not in told:
                raise FormatError(
                    tr(
                        f"the chat template leaves out message {index + 1} ({message.role})",
                        f"チャットテンプレートが {index + 1} 番目の発言 ({message.role}) を出力しません",
                    ),
                    where=self._where,
                )
        spans: list[tuple[int, int]] = []
        for index in sorted(present):
            if messages[index].role == "assistant":
                start, end = _extent(contents, index)
                start = self._answer_start(messages[:index], whole, start, marks)
                spans.append((start, self._answer_end(whole.text, contents, end)))
        return list(_cut(whole.text, contents, spans))

    def _answer_start(
        self, before: Sequence[Message], whole: Rendering, content_start: int, marks: Any
    ) -> int:
        """Where the answer begins: where the generation prompt ends, if the template is that regular."""
        if not before:
            return content_start
        try:
            prompt = self.template.render(before, add_generation_prompt=True, marks=marks).text
        except FormatError:
            return content_start
        regular = whole.text.startswith(prompt) and len(prompt) <= content_start
        return len(prompt) if regular else content_start

    def _answer_end(self, text: str, contents: list[tuple[int, int, str, int]], end: int) -> int:
        """The end of the first stop after an answer and before other content, else `end`."""
        limit = next((start for start, *_ in contents if start >= end), len(text))
        found = [
            end + at + len(stop) for stop in self._ends if (at := text[end:limit].find(stop)) >= 0
        ]
        return min(found, default=end)

    def _end_of_turn(self) -> tuple[str | None, str]:
        """What this template writes after an answer: a special token, or else a blank text."""
        exchange = [Message("user", "1"), Message("assistant", "2")]
        try:
            rendering = self.template.render(exchange, add_generation_prompt=False)
        except FormatError:
            return None, ""  # the template wants other conversations; using it will say so
        ends = [end for _, end, _, message in rendering.contents() if message == 1]
        after = rendering.text[ends[-1] :] if ends else ""
        special = next(
            (text for text, index in self._plain.split(after) if index is not None), None
        )
        return special, after if special is None and after.isspace() else ""

    def _encode(self, pieces: Sequence[Piece]) -> tuple[list[int], list[bool]]:
        ids: list[int] = []
        trained: list[bool] = []
        first = True
        for text, index, flag, continues in self._stretches(pieces):
            found = (
                [index]
                if index is not None
                else self._plain.encode(text, first=first, continues=continues)
            )
            first = False
            ids += found
            trained += [flag] * len(found)
        return ids, trained

    def _stretches(self, pieces: Sequence[Piece]) -> Iterator[tuple[str, int | None, bool, bool]]:
        """(text, or special token with its id, trained, goes on from the stretch before)."""
        buffer, flag, continues = "", False, False
        for piece in pieces:
            parts = self._plain.split(piece.text) if piece.trusted else [(piece.text, None)]
            for text, index in parts:
                if buffer and (index is not None or piece.trained != flag):
                    yield buffer, None, flag, continues
                    buffer, continues = "", True
                if index is not None:
                    yield text, index, piece.trained, False
                    continues = False
                else:
                    buffer, flag = buffer + text, piece.trained
        if buffer:
            yield buffer, None, flag, continues


def _extent(contents: list[tuple[int, int, str, int]], message: int) -> tuple[int, int]:
    places = [(start, end) for start, end, _, index in contents if index == message]
    return places[0][0], places[-1][1]


def _cut(
    text: str, contents: list[tuple[int, int, str, int]], spans: list[tuple[int, int]]
) -> Iterator[Piece]:
    """Pieces of a rendering: cut at the markers and at the edges of what is trained."""
    written = {start: content for start, _, content, _ in contents}
    edges = {0, len(text)} | {edge for start, end, *_ in contents for edge in (start, end)}
    edges |= {edge for span in spans for edge in span}
    ordered = sorted(edges)
    for start, end in itertools.pairwise(ordered):
        trained = any(first <= start < last for first, last in spans)
        content = written.get(start)
        yield Piece(text[start:end] if content is None else content, content is None, trained)


def _fold_system(messages: Sequence[Message]) -> list[Message] | None:
    """The system text moved into the first user turn, for templates without a system role."""
    if len(messages) < 2 or messages[0].role != "system" or messages[1].role != "user":
        return None
    content = f"{messages[0].content.strip()}\n\n{messages[1].content}"
    return [Message("user", content), *messages[2:]]


def _token_text(value: Any) -> str | None:
    """A token in a configuration: a string, or an object with its `content`."""
    if isinstance(value, dict):
        value = value.get("content")
    return value if isinstance(value, str) and value else None


def _id(tokenizer: Tokenizer, token: str | None) -> int | None:
    return None if token is None else tokenizer.token_to_id(token)


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise _broken(path, error) from None
    if not isinstance(config, dict):
        raise _broken(path, tr("an object is expected", "オブジェクトが必要です"))
    return config


def _template_in(config: dict[str, Any]) -> str | None:
    value = config.get("chat_template")
    if isinstance(value, list):  # several named templates
        named = {item.get("name"): item.get("template") for item in value if isinstance(item, dict)}
        value = named.get("default")
    return value if isinstance(value, str) else None


def _broken(path: Path, reason: object) -> FormatError:
    return FormatError(
        tr(f"the file cannot be read: {reason}", f"ファイルを読めません: {reason}"),
        where=str(path),
        fix=tr("get the model's files again", "モデルのファイルを取得し直してください"),
    )
