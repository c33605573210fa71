"""`kajiya chat`: talk to a model in the terminal."""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kajiya.core.language import tr

if TYPE_CHECKING:
    from kajiya.inference.bundle import Model
    from kajiya.inference.protocol import Engine

# What a terminal could take for a command: a model's answer must not move the cursor.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
# Asking again at temperature 0 would only repeat the answer.
_REGENERATE_TEMPERATURE = 0.8


@dataclass
class Conversation:
    """The turns so far, kept in a file of JSON lines. Without a path, kept nowhere."""

    path: Path | None
    turns: list[dict[str, str]] = field(default_factory=list)

    @classmethod
    def load(cls, path: Path) -> Conversation:
        """What was said before; `DataError` names the line that cannot be read."""
        from kajiya.core.errors import DataError

        conversation = cls(path)
        lines = path.read_bytes().splitlines() if path.exists() else []
        for number, line in enumerate(lines, 1):
            try:
                turn = json.loads(line)
                conversation.turns.append({"role": turn["role"], "content": turn["content"]})
            except (ValueError, KeyError, TypeError):
                raise DataError(
                    tr("not a turn of a conversation", "会話の記録として読めません"),
                    where=f"{path}:{number}",
                    fix=tr("start afresh with --new", "--new で新しく始めてください"),
                ) from None
        return conversation

    def save(self) -> None:
        """Write all turns in one step, readable by their owner only."""
        from kajiya.core.files import write_text

        if self.path:
            lines = (json.dumps(turn, ensure_ascii=False) + "\n" for turn in self.turns)
            write_text(self.path, "".join(lines), mode=0o600)

    def set_system(self, text: str) -> None:
        """Begin with this instruction instead of the one there was."""
        self.turns = [turn for turn in self.turns if turn["role"] != "system"]
        self.turns.insert(0, {"role": "system", "content": text})

    def add(self, role: str, content: str) -> None:
        self.turns.append({"role": role, "content": content})

    def take_question(self) -> str | None:
        """The last question, removed together with its answer; None if there is none."""
        for index in range(len(self.turns) - 1, -1, -1):
            if self.turns[index]["role"] == "user":
                question = self.turns[index]["content"]
                del self.turns[index:]
                return question
        return None

    def forget_oldest(self) -> bool:
        """Drop the oldest question and its answer, never the last question; False if nothing is left."""
        users = [i for i, turn in enumerate(self.turns) if turn["role"] == "user"]
        if len(users) < 2:
            return False
        del self.turns[users[0] : users[1]]
        return True

    def clear(self) -> None:
        """Forget all but the instruction."""
        self.turns = [turn for turn in self.turns if turn["role"] == "system"]


@dataclass
class Chat:
    """A conversation with one model."""

    engine: Engine
    model: Model
    conversation: Conversation
    temperature: float
    max_tokens: int | None
    runner: asyncio.Runner

    def ask(self, question: str, temperature: float | None = None) -> None:
        """Answer on standard output. Ctrl-C ends the answer; what was said until then is kept."""
        self.conversation.add("user", question)
        pieces: list[str] = []
        try:
            self.runner.run(
                self._answer(pieces, self.temperature if temperature is None else temperature)
            )
        except KeyboardInterrupt:
            _note("\n" + tr("(stopped)", "(止めました)"))
        except Exception:
            self.conversation.take_question()
            raise
        else:
            click.echo()
        if pieces:
            self.conversation.add("assistant", "".join(pieces))
        else:
            self.conversation.take_question()
        self.conversation.save()

    async def _answer(self, pieces: list[str], temperature: float) -> None:
        from kajiya.inference.protocol import ContextLengthError

        while True:
            try:
                return await self._stream(pieces, temperature)
            except ContextLengthError:
                if not self.conversation.forget_oldest():
                    raise
                _note(
                    tr(
                        "(the oldest turn no longer fits)",
                        "(いちばん古いやり取りは入らなくなりました)",
                    )
                )

    async def _stream(self, pieces: list[str], temperature: float) -> None:
        from kajiya.inference.protocol import GenerateRequest
        from kajiya.tokenizer.messages import Message

        turns: list[Any] = self.conversation.turns
        request = GenerateRequest(
            model=self.model.name,
            messages=tuple(Message(turn["role"], turn["content"]) for turn in turns),
            adapters=self.model.mixture(),
            temperature=temperature,
            max_tokens=self.max_tokens,
        )
        async with aclosing(self.engine.generate(request)) as chunks:
            async for chunk in chunks:
                if chunk.text:
                    pieces.append(chunk.text)
                    click.echo(_CONTROL.sub("", chunk.text), nl=False)

    def regenerate(self) -> None:
        """Another answer to the last question."""
        question = self.conversation.take_question()
        if question is None:
            _note(tr("nothing was asked yet", "まだ質問がありません"))
        else:
            self.ask(question, max(self.temperature, _REGENERATE_TEMPERATURE))

    def command(self, line: str) -> bool:
        """Do what a line beginning with "/" says; False ends the conversation."""
        if line == "/exit":
            return False
        if line == "/clear":
            self.conversation.clear()
            self.conversation.save()
            _note(tr("the conversation was cleared", "会話を消しました"))
        elif line == "/regenerate":
            self.regenerate()
        else:
            _note(
                tr(
                    "/clear forget the conversation · /regenerate another answer · /exit leave (also Ctrl-D)",
                    "/clear 会話を消す · /regenerate 答え直す · /exit 終わる(Ctrl-D でも)",
                )
            )
        return True


@click.command(
    help=tr(
        """Talk to a model in the terminal.

The conversation is kept and goes on next time. From a pipe, each line is a question.
Ctrl-C stops an answer; /help lists what else can be typed.

\b
Examples:
  kajiya chat company-faq
  kajiya chat company-faq -m "When are you open?"
  kajiya chat starter:smollm2-135m --system "Answer briefly." --temperature 0.7
""",
        """ターミナルでモデルと話します。

会話は保存され、次回はその続きから始まります。パイプから渡すと、1 行が 1 つの質問になります。
Ctrl-C で回答を止めます。ほかの操作は /help で表示します。

\b
Examples:
  kajiya chat company-faq
  kajiya chat company-faq -m "営業時間を教えてください"
  kajiya chat starter:smollm2-135m --system "簡潔に答えてください。" --temperature 0.7
""",
    )
)
@click.argument("name")
@click.option(
    "--system", help=tr("Instruction that comes before the conversation.", "会話の前に置く指示。")
)
@click.option(
    "--temperature",
    type=click.FloatRange(0, 2),
    default=0.0,
    show_default=True,
    help=tr(
        "0 always says the likeliest; higher varies more.",
        "0 は最も確からしい回答。大きいほど変化します。",
    ),
)
@click.option(
    "--max-tokens",
    type=click.IntRange(1),
    help=tr("Longest answer in tokens.", "回答の最大トークン数。"),
)
@click.option("--new", is_flag=True, help=tr("Start a new conversation.", "新しい会話を始めます。"))
@click.option(
    "-m",
    "--message",
    help=tr(
        "Ask this one question, outside of the conversation, and leave.",
        "会話とは別に、この質問だけをして終わります。",
    ),
)
def chat(
    name: str,
    system: str | None,
    temperature: float,
    max_tokens: int | None,
    new: bool,
    message: str | None,
) -> None:
    from kajiya.core.workspace import Workspace
    from kajiya.inference.engines import engine_for
    from kajiya.inference.protocol import EngineSettings
    from kajiya.inference.servable import resolve_servable

    workspace = Workspace.current()
    model = resolve_servable(name, workspace)
    conversation = Conversation(None)
    if message is None:
        conversation = _open_conversation(workspace.chats, name, new)
    if system is not None:
        conversation.set_system(system)
    with asyncio.Runner() as runner:
        engine = engine_for(
            [model], EngineSettings(slots=1), log=workspace.home / "logs" / "chat.log"
        )
        try:
            _note(tr("loading…", "読み込んでいます…"))
            runner.run(engine.start())
            talk = Chat(engine, model, conversation, temperature, max_tokens, runner)
            if message is not None:
                talk.ask(message)
            else:
                _converse(talk)
        finally:
            runner.run(engine.close())


def _open_conversation(folder: Path, name: str, new: bool) -> Conversation:
    path = folder / f"{re.sub(r'[^A-Za-z0-9._-]+', '-', name).strip('.-') or 'chat'}.jsonl"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if new and path.exists():
        path.rename(path.with_suffix(f".{time.strftime('%Y%m%d-%H%M%S')}.jsonl"))
    conversation = Conversation.load(path)
    questions = sum(turn["role"] == "user" for turn in conversation.turns)
    if questions:
        _note(
            tr(
                f"going on after {questions} question(s); --new starts afresh",
                f"前回の続きです(質問 {questions} 件)。--new で新しく始められます",
            )
        )
    return conversation


def _converse(talk: Chat) -> None:
    from kajiya.core.errors import KajiyaError

    read = _reader()
    while (line := read()) is not None:
        line = line.strip()
        if not line:
            continue
        try:
            if line.startswith("/") and " " not in line:
                if not talk.command(line):
                    return
            else:
                talk.ask(line)
        except KajiyaError as error:
            click.secho(str(error), fg="red", err=True)


def _reader() -> Callable[[], str | None]:
    """Gives the next line each time, with line editing if somebody sits there; None at the end."""
    if not sys.stdin.isatty():
        return lambda: sys.stdin.readline() or None
    from prompt_toolkit import PromptSession
    from prompt_toolkit.history import InMemoryHistory

    session: PromptSession[str] = PromptSession(history=InMemoryHistory())
    _note(tr("/help lists the commands", "/help で使い方を表示します"))

    def read() -> str | None:
        try:
            return session.prompt("> ")
        except KeyboardInterrupt:
            return ""  # discards the line, as in a shell
        except EOFError:
            return None

    return read


def _note(text: str) -> None:
    """Something said by the program and not by the model."""
    click.secho(text, dim=True, err=True)
