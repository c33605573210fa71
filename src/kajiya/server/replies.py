"""The JSON that routes answer with, described for the OpenAPI document."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel


class Problem(BaseModel):
    """What was wrong, with which parameter."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorReply(BaseModel):
    """Every answer that is no success."""

    error: Problem


class TokenProbability(BaseModel):
    """A token; `bytes` because it may be part of a character."""

    token: str
    bytes: list[int] | None
    logprob: float
    top_logprobs: list[Any] = []


class ChatLogprobs(BaseModel):
    """The tokens of an answer."""

    content: list[TokenProbability]
    refusal: None


class CalledFunctionReply(BaseModel):
    """A function with its arguments in JSON."""

    name: str
    arguments: str


class ToolCallReply(BaseModel):
    """A call that the client is asked to make."""

    id: str
    type: Literal["function"]
    function: CalledFunctionReply


class AssistantMessage(BaseModel):
    """What the model says."""

    role: Literal["assistant"]
    content: str | None
    refusal: None
    tool_calls: list[ToolCallReply] = []


class ChatChoice(BaseModel):
    """One of the answers."""

    index: int
    message: AssistantMessage
    logprobs: ChatLogprobs | None
    finish_reason: Literal["stop", "length", "tool_calls"]


class CompletionUsage(BaseModel):
    """Tokens read and written."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class ChatCompletion(BaseModel):
    """The answers to a conversation."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[ChatChoice]
    usage: CompletionUsage
    state: str | None = None


class CompletionLogprobs(BaseModel):
    """The tokens of a text and where each begins."""

    tokens: list[str]
    token_logprobs: list[float]
    top_logprobs: list[dict[str, float]]
    text_offset: list[int]


class CompletionChoice(BaseModel):
    """One of the texts."""

    index: int
    text: str
    logprobs: CompletionLogprobs | None
    finish_reason: Literal["stop", "length"]


class TextCompletion(BaseModel):
    """How prompts went on."""

    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    choices: list[CompletionChoice]
    usage: CompletionUsage
    state: str | None = None


class ResponseObject(BaseModel):
    """A response: items of the types `message` and `function_call`."""

    id: str
    object: Literal["response"]
    created_at: int
    status: Literal["in_progress", "completed", "incomplete"]
    model: str
    output: list[dict[str, Any]]
    usage: dict[str, Any] | None


class Embedding(BaseModel):
    """A vector; as a text, its 32-bit numbers in base64."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class EmbeddingUsage(BaseModel):
    """Tokens read."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingList(BaseModel):
    """A vector for each text, in their order."""

    object: Literal["list"]
    model: str
    data: list[Embedding]
    usage: EmbeddingUsage


class ModelCard(BaseModel):
    """A model that can be asked for."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str


class ModelList(BaseModel):
    """All of them."""

    object: Literal["list"]
    data: list[ModelCard]


class Health(BaseModel):
    """Whether the engines are up."""

    status: Literal["ok", "degraded"]
    engines: dict[str, int]
