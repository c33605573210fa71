"""Chat templates: which one a model uses, and rendering one without ever showing it people's text.

The template sees, in place of each message's content, a marker that nobody can guess; the rendered
text is cut at the markers afterwards. So nothing a person writes can pass for the template's own
text, and a template can still trim, split and test the content as if it had it.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, SupportsIndex

from jinja2 import TemplateError, TemplateSyntaxError
from tokenizers import Tokenizer

from kajiya.core.errors import FormatError
from kajiya.core.language import tr
from kajiya.tokenizer import sandbox
from kajiya.tokenizer.messages import Message

GEMMA_TEMPLATE = """\
{%- set prefix = '' -%}
{%- if messages[0]['role'] == 'system' -%}
    {%- set prefix = (messages[0]['content'] | trim) + '\\n\\n' -%}
    {%- set turns = messages[1:] -%}
{%- else -%}
    {%- set turns = messages -%}
{%- endif -%}
{%- for message in turns -%}
    {{ '<start_of_turn>' + ('model' if message['role'] == 'assistant' else message['role']) + '\\n' }}
    {{- prefix if loop.first else '' }}
    {{- message['content'] | trim }}
    {{- '<end_of_turn>\\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{ '<start_of_turn>model\\n' }}
{%- endif -%}
"""
CHATML_TEMPLATE = """\
{%- for message in messages -%}
    {{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{ '<|im_start|>assistant\\n' }}
{%- endif -%}
"""
PLAIN_TEMPLATE = """\
{%- for message in messages -%}
    {%- if message['role'] == 'system' -%}
        {{ message['content'] + '\\n\\n' }}
    {%- elif message['role'] == 'user' -%}
        {{ '### 指示:\\n' + message['content'] + '\\n\\n' }}
    {%- else -%}
        {{ '### 応答:\\n' + message['content'] }}
        {{- eos_token }}
        {{- '' if loop.last else '\\n\\n' }}
    {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{ '### 応答:\\n' }}
{%- endif -%}
"""
_MARK = "\ue000{}:{}\ue001"


def default_template(tokenizer: Tokenizer) -> str:
    """The template for a model that came without one, chosen by the turn markers it has tokens for.

    Gemma's turns, ChatML, or else plain `### 指示:` / `### 応答:` ended by the end-of-text token.
    Gemma's has no system role: the system text stands at the head of the first user turn.
    """
    known = tokenizer.token_to_id
    if known("<start_of_turn>") is not None and known("<end_of_turn>") is not None:
        template = GEMMA_TEMPLATE
    elif known("<|im_start|>") is not None and known("<|im_end|>") is not None:
        template = CHATML_TEMPLATE
    else:
        template = PLAIN_TEMPLATE
    begins = tokenizer.encode("").ids  # what the tokenizer itself puts before a text
    return "{{ bos_token }}\n" * bool(begins) + template


class _Marks:
    """Which marker stands for what: the same content of the same message has the same marker."""

    def __init__(self) -> None:
        key = f"{secrets.randbelow(10**32):032d}"
        self.pattern = re.compile(_MARK.format(key, r"(\d+)"))
        self.contents: list[tuple[str, int]] = []
        self._key = key
        self._markers: dict[tuple[str, int], str] = {}

    def marker(self, text: str, message: int) -> str:
        entry = (text, message)
        if entry not in self._markers:
            sandbox.charge(1 + len(text))
            self._markers[entry] = _MARK.format(self._key, len(self.contents))
            self.contents.append(entry)
        return self._markers[entry]


class _Opaque(str):
    """A message's content as a template sees it: a marker that answers as the content would."""

    text: str
    message: int
    marks: _Marks

    def __new__(cls, text: str, message: int, marks: _Marks) -> _Opaque:
        opaque = super().__new__(cls, marks.marker(text, message))
        opaque.text, opaque.message, opaque.marks = text, message, marks
        return opaque

    def _like(self, text: str) -> _Opaque:
        return _Opaque(text, self.message, self.marks)

    def __str__(self) -> str:
        return self

    def __len__(self) -> int:
        return len(self.text)

    def __eq__(self, other: object) -> bool:
        return bool(self.text == _plain(other))

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(self.text)

    def __contains__(self, part: object) -> bool:
        return _plain(part) in self.text

    def __getitem__(self, index: SupportsIndex | slice) -> _Opaque:
        return self._like(self.text[index])

    def __iter__(self) -> Iterator[str]:
        return iter([self._like(character) for character in self.text])


def _plain(value: Any) -> Any:
    return value.text if isinstance(value, _Opaque) else value


def _as_content(name: str) -> Callable[..., Any]:
    """A string method that works on the content; any text in its answer is opaque again."""

    def method(self: _Opaque, *args: Any) -> Any:
        answer = getattr(self.text, name)(*map(_plain, args))
        if isinstance(answer, str):
            return self._like(answer)
        return [self._like(part) for part in answer] if isinstance(answer, list) else answer

    method.__name__ = name
    return method


for _name in sandbox.STRING_METHODS - {"join"}:
    setattr(_Opaque, _name, _as_content(_name))


class Rendering:
    """A rendered conversation: template text with markers, and what the markers stand for."""

    def __init__(self, text: str, marks: _Marks) -> None:
        self.text = text
        self._marks = marks

    def contents(self) -> list[tuple[int, int, str, int]]:
        """(start, end, content, index of the message) of every marker, in order."""
        found = self._marks.pattern.finditer(self.text)
        return [(m.start(), m.end(), *self._marks.contents[int(m[1])]) for m in found]


class ChatTemplate:
    """A model's chat template, ready to render conversations. May be shared between threads."""

    def __init__(self, source: str, variables: Mapping[str, str], where: str = "") -> None:
        """Compile; `FormatError` names the line that is not Jinja, or what is not allowed."""
        self.source = source
        self._where = where
        self._variables = dict(variables)
        if len(source) > sandbox.SOURCE_LIMIT:
            raise self._error(
                tr("the chat template is too long", "チャットテンプレートが長すぎます")
            )
        try:
            self._template = sandbox.TemplateSandbox().from_string(source)
        except TemplateSyntaxError as error:
            raise self._error(
                tr(
                    f"the chat template is wrong at line {error.lineno}: {error.message}",
                    f"チャットテンプレートの {error.lineno} 行目が正しくありません: {error.message}",
                )
            ) from None
        except (SyntaxError, RecursionError, MemoryError, ValueError, AssertionError):
            raise self._error(
                tr(
                    "the chat template is nested too deeply",
                    "チャットテンプレートの入れ子が深すぎます",
                )
            ) from None

    def _error(self, message: str) -> FormatError:
        fix = tr(
            "use the template that the model's makers publish, or another model",
            "モデルの作成者が公開しているテンプレートか、別のモデルを使ってください",
        )
        return FormatError(message, where=self._where, fix=fix)

    def start(self) -> _Marks:
        """Markers for one conversation; renderings that share them can be compared as texts."""
        return _Marks()

    def render(
        self,
        messages: Sequence[Message],
        *,
        add_generation_prompt: bool,
        marks: _Marks | None = None,
    ) -> Rendering:
        """Render with markers for contents.

        Raises `FormatError` where the template refuses the conversation, fails or does too much.
        """
        marks = marks or self.start()
        size = sum(len(message.content) for message in messages)
        units = sandbox.BUDGET + 16 * size + 4 * len(messages) * len(self.source)
        with sandbox.budget(units):
            turns: list[dict[str, Any]] = [
                {"role": message.role, "content": _Opaque(message.content, index, marks)}
                for index, message in enumerate(messages)
            ]
            return Rendering(self._run(turns, add_generation_prompt), marks)

    def _run(self, turns: list[dict[str, Any]], add_generation_prompt: bool) -> str:
        try:
            return self._template.render(
                messages=turns, add_generation_prompt=add_generation_prompt, **self._variables
            )
        except sandbox.TemplateLimitError:
            raise self._error(
                tr(
                    "the chat template does more work than a conversation needs",
                    "チャットテンプレートの処理量が多すぎます",
                )
            ) from None
        except TemplateError as error:
            raise self._error(
                tr(
                    f"the chat template refuses this conversation: {error.message}",
                    f"チャットテンプレートがこの会話を受け付けません: {error.message}",
                )
            ) from None
        except Exception as error:  # a template is somebody's program: it can fail in any way
            reason = f"{type(error).__name__}: {error}"[:300]
            raise self._error(
                tr(
                    f"the chat template fails: {reason}",
                    f"チャットテンプレートの実行に失敗しました: {reason}",
                )
            ) from None
