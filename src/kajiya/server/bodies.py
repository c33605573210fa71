"""What clients may send to the completions: the fields of the API that are honoured."""

from __future__ import annotations

import json
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from kajiya.inference.protocol import Constraint

MAX_CHOICES = 8
_MOST_BIASES = 1024
_LONGEST_FORM = 16_384  # characters of a grammar; of a schema four times as many


class Body(BaseModel):
    """Something a client sends: unknown fields are errors, and nothing is converted.

    `unsupported` are known parameters that are refused, each with the values that change nothing.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
    unsupported: ClassVar[dict[str, tuple[Any, ...]]] = {}


class StreamOptions(Body):
    """How to stream."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class JsonSchema(Body):
    """A schema with a name, as OpenAI's clients send it. It is always followed, `strict` or not."""

    name: str = Field(max_length=64)
    description: str | None = None
    schema_: dict[str, Any] = Field(default_factory=lambda: {"type": "object"}, alias="schema")
    strict: bool | None = None


class ResponseFormat(Body):
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


class StructuredOutputs(Body):
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


Token = Annotated[int, Field(ge=0, lt=2**31)]
TokenId = Annotated[str, Field(pattern=r"^[0-9]{1,9}$")]
Bias = Annotated[float, Field(ge=-100, le=100)]


class Generation(Body):
    """What both kinds of request share.

    `min_p` is an extension that other servers have too; `state` and `return_state` are ours.
    """

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
    logit_bias: dict[TokenId, Bias] | None = Field(None, max_length=_MOST_BIASES)
    max_tokens: int | None = Field(None, ge=1)
    response_format: ResponseFormat | None = None
    structured_outputs: StructuredOutputs | None = None
    state: str | None = None
    return_state: bool | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.return_state and self.choices > 1:
            raise ValueError("return_state: of one answer only")
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
    def biases(self) -> tuple[tuple[int, float], ...]:
        """`logit_bias` by token."""
        return tuple((int(token), bias) for token, bias in (self.logit_bias or {}).items())

    @property
    def wanted_logprobs(self) -> int | None:
        """How many likeliest tokens are to be told with each of the answer; None: tell nothing."""
        raise NotImplementedError

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


class CompletionBody(Generation):
    """`POST /v1/completions`: a prompt as text or token ids, or a list of such prompts."""

    unsupported: ClassVar = {"best_of": (1,), "echo": (False,), "suffix": ("",)}

    prompt: str | list[Token] | list[str] | list[list[Token]]
    logprobs: int | None = Field(None, ge=0, le=5)

    @property
    def wanted_logprobs(self) -> int | None:
        return self.logprobs

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
        if self.return_state and len(self.prompts) > 1:
            raise ValueError("return_state: of one answer only")
        return self
