"""What clients may send: the fields of the API that are honoured, and a refusal for the others.

A parameter that would change the answer and is not supported is an error rather than ignored, unless
it has the value that changes nothing. Parameters that are only for the provider's books are dropped.
"""

from __future__ import annotations

import json
from typing import Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import from_json

from kajiya.core.language import tr
from kajiya.inference.protocol import Constraint
from kajiya.server.errors import ApiError
from kajiya.tokenizer.messages import Message

MAX_CHOICES = 8
_LONGEST_FORM = 16_384  # characters of a grammar; of a schema four times as many
_BOOKKEEPING = ("user", "metadata", "safety_identifier", "prompt_cache_key")
_UNSUPPORTED: dict[str, tuple[Any, ...]] = {
    "audio": (),
    "best_of": (1,),
    "echo": (False,),
    "function_call": ("none", "auto"),
    "functions": ([],),
    "logit_bias": ({},),
    "logprobs": (False,),
    "modalities": (["text"],),
    "parallel_tool_calls": (True, False),
    "prediction": (),
    "reasoning_effort": (),
    "service_tier": ("auto", "default"),
    "store": (False,),
    "suffix": ("",),
    "tool_choice": ("none", "auto"),
    "tools": ([],),
    "top_logprobs": (0,),
    "verbosity": (),
    "web_search_options": (),
}


class _Body(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class StreamOptions(_Body):
    """How to stream."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class JsonSchema(_Body):
    """A schema with a name, as OpenAI's clients send it. It is always followed, `strict` or not."""

    name: str = Field(max_length=64)
    description: str | None = None
    schema_: dict[str, Any] = Field(default_factory=lambda: {"type": "object"}, alias="schema")
    strict: bool | None = None


class ResponseFormat(_Body):
    """`text`, any JSON object, or JSON of a schema."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None

    @model_validator(mode="after")
    def _has_schema(self) -> Self:
        if (self.type == "json_schema") != (self.json_schema is not None):
            raise ValueError("json_schema goes with the type json_schema, and only with that")
        return self

    def constraint(self) -> Constraint | None:
        """What the engine is told; None for text."""
        if self.type == "text":
            return None
        schema = self.json_schema.schema_ if self.json_schema else {"type": "object"}
        return Constraint(kind="json_schema", value=json.dumps(schema, ensure_ascii=False))


class StructuredOutputs(_Body):
    """An extension that vLLM has too: exactly one of these."""

    json_: dict[str, Any] | None = Field(None, alias="json")
    regex: str | None = Field(None, min_length=1, max_length=_LONGEST_FORM)
    choice: list[str] | None = Field(None, min_length=1, max_length=1000)
    grammar: str | None = Field(None, min_length=1, max_length=_LONGEST_FORM)

    @model_validator(mode="after")
    def _one(self) -> Self:
        given = (self.json_, self.regex, self.choice, self.grammar)
        if sum(value is not None for value in given) != 1:
            raise ValueError("exactly one of json, regex, choice and grammar is wanted")
        return self

    def constraint(self) -> Constraint:
        """What the engine is told."""
        if self.json_ is not None:
            return Constraint(kind="json_schema", value=json.dumps(self.json_, ensure_ascii=False))
        if self.choice is not None:
            return Constraint(kind="choice", value=json.dumps(self.choice, ensure_ascii=False))
        if self.regex is not None:
            return Constraint(kind="regex", value=self.regex)
        return Constraint(kind="grammar", value=self.grammar or "")


class _Generation(_Body):
    """What both kinds of request share. `min_p` is an extension that other servers have too."""

    model: str
    n: int | None = Field(None, ge=1, le=MAX_CHOICES)
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    stop: str | list[str] | None = None
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, ge=0, le=1)
    min_p: float | None = Field(None, ge=0, le=1)
    frequency_penalty: float | None = Field(None, ge=-2, le=2)
    presence_penalty: float | None = Field(None, ge=-2, le=2)
    seed: int | None = None
    max_tokens: int | None = Field(None, ge=1)
    response_format: ResponseFormat | None = None
    structured_outputs: StructuredOutputs | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.structured_outputs and self.response_format:
            raise ValueError("response_format and structured_outputs exclude each other")
        if not 0 <= len(self.stops) <= 4 or not all(0 < len(stop) <= 1000 for stop in self.stops):
            raise ValueError("stop: up to 4 strings, none empty or longer than 1000 characters")
        if self.stream_options and not self.stream:
            raise ValueError("stream_options is only allowed when stream is true")
        return self

    @property
    def stops(self) -> tuple[str, ...]:
        if self.stop is None:
            return ()
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop)

    @property
    def choices(self) -> int:
        """Answers wanted for each prompt."""
        return self.n or 1

    @property
    def constraint(self) -> Constraint | None:
        """The form that the answer must have."""
        wanted = self.structured_outputs or self.response_format
        return wanted.constraint() if wanted else None

    @model_validator(mode="after")
    def _short_form(self) -> Self:
        if self.constraint and len(self.constraint.value) > 4 * _LONGEST_FORM:
            raise ValueError(
                f"the form of the answer is longer than {4 * _LONGEST_FORM} characters"
            )
        return self

    @property
    def with_usage(self) -> bool:
        return bool(self.stream_options and self.stream_options.include_usage)


class TextPart(_Body):
    """A piece of a message; the only kind these models can read."""

    type: Literal["text"]
    text: str


class ChatMessage(_Body):
    """One turn. `developer` is the newer name of `system`."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[TextPart] | None = None

    @model_validator(mode="after")
    def _has_content(self) -> Self:
        if self.content is None and self.role != "assistant":
            raise ValueError("content is needed")
        return self

    def plain(self) -> Message:
        """The turn as the tokenizer takes it."""
        content = self.content or ""
        text = content if isinstance(content, str) else "".join(part.text for part in content)
        return Message(role="system" if self.role == "developer" else self.role, content=text)


class ChatBody(_Generation):
    """`POST /v1/chat/completions`."""

    messages: list[ChatMessage] = Field(min_length=1)
    max_completion_tokens: int | None = Field(None, ge=1)


class CompletionBody(_Generation):
    """`POST /v1/completions`: a prompt as text or token ids, or a list of such prompts."""

    prompt: str | list[int] | list[str] | list[list[int]]

    @property
    def prompts(self) -> list[str | list[int]]:
        if isinstance(self.prompt, str):
            return [self.prompt]
        if self.prompt and isinstance(self.prompt[0], int):
            return [[token for token in self.prompt if isinstance(token, int)]]
        return [prompt for prompt in self.prompt if not isinstance(prompt, int)]

    @model_validator(mode="after")
    def _not_too_many(self) -> Self:
        if not 1 <= len(self.prompts) * self.choices <= MAX_CHOICES:
            raise ValueError(
                f"prompt: between 1 and {MAX_CHOICES} answers in one request, n included"
            )
        return self


Body = TypeVar("Body", bound=BaseModel)


def parse(data: bytes, kind: type[Body]) -> Body:
    """The request in `data`; a 400 that names the parameter if it is not one."""
    try:
        values = from_json(data, allow_inf_nan=False)
    except ValueError as error:
        raise ApiError(
            400, tr(f"Invalid JSON: {error}", f"JSON として読めません: {error}")
        ) from None
    if not isinstance(values, dict):
        raise ApiError(400, tr("A JSON object is expected", "JSON オブジェクトが必要です"))
    for name, harmless in _UNSUPPORTED.items():
        value = values.pop(name, None)
        if value is not None and not any(type(value) is type(h) and value == h for h in harmless):
            raise ApiError(
                400,
                tr(
                    f"{name} is not supported by this server",
                    f"{name} はこのサーバーでは使えません",
                ),
                param=name,
                code="unsupported_parameter",
            )
    for name in _BOOKKEEPING:
        values.pop(name, None)
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise _explained(error) from None


def _explained(error: ValidationError) -> ApiError:
    first = error.errors(include_url=False, include_input=False)[0]
    param = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        message = tr(
            f"Unrecognized request argument: {param}", f"知らないパラメーターです: {param}"
        )
        return ApiError(400, message, param=param, code="unknown_parameter")
    message = f"{param}: {first['msg']}" if param else first["msg"]
    return ApiError(400, message, param=param or None, code="invalid_value")
