"""The body of a chat completion: a conversation, and functions that the answer may call."""

from __future__ import annotations

import json
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from kajiya.inference.protocol import MAX_TOP_LOGPROBS, Constraint
from kajiya.server.bodies import Body, Generation
from kajiya.server.calls import Offer, result, written
from kajiya.tokenizer.messages import Message, Role

FunctionName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]


class TextPart(Body):
    """A piece of a message; the only kind these models can read."""

    type: Literal["text"]
    text: str


class CalledFunction(Body):
    """A function with the arguments it was called with, in JSON."""

    name: FunctionName
    arguments: str


class ToolCall(Body):
    """A call that the assistant made."""

    id: str
    type: Literal["function"] = "function"
    function: CalledFunction

    @model_validator(mode="after")
    def _arguments_are_json(self) -> Self:
        try:
            known = isinstance(json.loads(self.function.arguments), dict)
        except (ValueError, RecursionError):
            known = False
        if not known:
            raise ValueError("function.arguments: a JSON object as a string is expected")
        return self


class ChatMessage(Body):
    """One turn. `developer` is the newer name of `system`.

    What the API itself puts into the assistant's messages may be sent back with them.
    """

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[TextPart] | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None
    refusal: None = None
    audio: None = None
    function_call: None = None
    annotations: list[Any] | None = Field(None, max_length=0)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.content is None and self.role != "assistant":
            raise ValueError("content is needed")
        if self.tool_calls and self.role != "assistant":
            raise ValueError("tool_calls are the assistant's")
        if (self.role == "tool") != (self.tool_call_id is not None):
            raise ValueError("tool_call_id goes with the role tool, and only with that")
        return self

    @property
    def text(self) -> str:
        """The content as one text."""
        content = self.content or ""
        return content if isinstance(content, str) else "".join(part.text for part in content)


class Function(Body):
    """A function that can be called. Its `parameters` are always followed, `strict` or not."""

    name: FunctionName
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None

    @model_validator(mode="after")
    def _takes_an_object(self) -> Self:
        if (self.parameters or {}).get("type", "object") != "object":
            raise ValueError("parameters: a schema of the type object is expected")
        return self


class Tool(Body):
    """Something the answer may use; these models can use functions."""

    type: Literal["function"]
    function: Function


class FunctionReference(Body):
    """One of the functions."""

    name: FunctionName


class ToolReference(Body):
    """One of the tools."""

    type: Literal["function"]
    function: FunctionReference


class ChatBody(Generation):
    """`POST /v1/chat/completions`. Calls one at a time unless `parallel_tool_calls` asks for more."""

    unsupported: ClassVar = {
        "audio": (),
        "function_call": ("none", "auto"),
        "functions": ([],),
        "modalities": (["text"],),
        "prediction": (),
        "reasoning_effort": (),
        "service_tier": ("auto", "default"),
        "store": (False,),
        "verbosity": (),
        "web_search_options": (),
    }

    messages: list[ChatMessage] = Field(min_length=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    logprobs: bool | None = None
    top_logprobs: int | None = Field(None, ge=0, le=MAX_TOP_LOGPROBS)
    tools: list[Tool] | None = Field(None, max_length=128)
    tool_choice: Literal["none", "auto", "required"] | ToolReference | None = None
    parallel_tool_calls: bool | None = None

    @model_validator(mode="after")
    def _consistent_tools(self) -> Self:
        names = [tool.function.name for tool in self.tools or ()]
        if len(set(names)) < len(names):
            raise ValueError("tools: two functions have the same name")
        choice = self.tool_choice
        if choice == "required" and not names:
            raise ValueError("tool_choice: required needs tools")
        if isinstance(choice, ToolReference) and choice.function.name not in names:
            raise ValueError(f"tool_choice: there is no function {choice.function.name!r} in tools")
        if self.offer and (self.structured_outputs or self._has_format):
            raise ValueError("tools exclude response_format and structured_outputs")
        return self

    @model_validator(mode="after")
    def _consistent_logprobs(self) -> Self:
        if self.top_logprobs and not self.logprobs:
            raise ValueError("top_logprobs needs logprobs")
        return self

    @model_validator(mode="after")
    def _known_calls(self) -> Self:
        made: set[str] = set()
        for message in self.messages:
            if message.tool_call_id is not None and message.tool_call_id not in made:
                raise ValueError(f"messages: no call before has the id {message.tool_call_id!r}")
            made |= {call.id for call in message.tool_calls or ()}
        return self

    @property
    def _has_format(self) -> bool:
        return self.response_format is not None and self.response_format.type != "text"

    @property
    def wanted_logprobs(self) -> int | None:
        return (self.top_logprobs or 0) if self.logprobs else None

    @property
    def offer(self) -> Offer | None:
        """The functions that the answer may call, if any."""
        functions = [tool.function for tool in self.tools or ()]
        choice = self.tool_choice
        if not functions or choice == "none":
            return None
        if isinstance(choice, ToolReference):
            functions = [f for f in functions if f.name == choice.function.name]
            return Offer(functions, must=True, several=False)
        return Offer(functions, choice == "required", bool(self.parallel_tool_calls))

    @property
    def constraint(self) -> Constraint | None:
        """The form that the answer must have."""
        offer = self.offer
        return offer.constraint() if offer else super().constraint

    def conversation(self) -> tuple[Message, ...]:
        """The messages as a chat template takes them: system, user and assistant only.

        Calls stand as the assistant wrote them, their results in the user's turn that follows.
        """
        turns: list[Message] = []
        names: dict[str, str] = {}
        after_result = False
        for message in self.messages:
            text = message.text
            calls = message.tool_calls or []
            if calls:
                names |= {call.id: call.function.name for call in calls}
                made = written([(call.function.name, call.function.arguments) for call in calls])
                text = f"{text}\n{made}" if text else made
            if message.tool_call_id is not None:
                text = result(names[message.tool_call_id], text)
            role = _ROLES[message.role]
            if after_result and role == "user":
                text = f"{turns.pop().content}\n\n{text}"
            turns.append(Message(role, text))
            after_result = message.role == "tool" or (after_result and role == "user")
        offer = self.offer
        return offer.told(turns) if offer else tuple(turns)


_ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "user",
}
