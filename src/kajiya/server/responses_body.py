"""The body of `POST /v1/responses`, and the chat completion that it asks for."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from kajiya.server.bodies import Body
from kajiya.server.chat_body import Function, FunctionName


class InputText(Body):
    """A piece of a message. `annotations` and `logprobs` are as the API itself sent them."""

    type: Literal["input_text", "output_text"]
    text: str
    annotations: list[Any] | None = Field(None, max_length=0)
    logprobs: list[Any] | None = Field(None, max_length=0)


class _Item(Body):
    """What the API itself puts into an item may be sent back with it."""

    id: str | None = None
    status: Literal["in_progress", "completed", "incomplete"] | None = None


class InputMessage(_Item):
    """One turn."""

    type: Literal["message"] = "message"
    role: Literal["user", "assistant", "system", "developer"]
    content: str | list[InputText]


class InputCall(_Item):
    """A call that the assistant made."""

    type: Literal["function_call"]
    call_id: str
    name: FunctionName
    arguments: str


class InputResult(_Item):
    """What a call gave."""

    type: Literal["function_call_output"]
    call_id: str
    output: str | list[InputText]


def _kind(item: Any) -> Any:
    """The tag of an item; a message may do without."""
    if isinstance(item, dict):
        return item.get("type", "message")
    return getattr(item, "type", None)


InputItem = Annotated[
    Annotated[InputMessage, Tag("message")]
    | Annotated[InputCall, Tag("function_call")]
    | Annotated[InputResult, Tag("function_call_output")],
    Discriminator(_kind),
]


class TextFormat(Body):
    """Any text, any JSON object, or JSON of a schema; it is always followed, `strict` or not."""

    type: Literal["text", "json_object", "json_schema"]
    name: str | None = Field(None, max_length=64)
    description: str | None = None
    schema_: dict[str, Any] | None = Field(None, alias="schema")
    strict: bool | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.type == "json_schema") != (self.name is not None and self.schema_ is not None):
            raise ValueError("name and schema go with the type json_schema, and only with that")
        return self

    def as_chat(self) -> dict[str, Any]:
        """The same as `response_format`."""
        if self.type != "json_schema":
            return {"type": self.type}
        return {"type": self.type, "json_schema": {"name": self.name, "schema": self.schema_}}


class TextOptions(Body):
    """How the text is to be."""

    format: TextFormat | None = None


class FunctionTool(Function):
    """A function that can be called."""

    type: Literal["function"]


class FunctionChoice(Body):
    """The function to call."""

    type: Literal["function"]
    name: FunctionName


class ResponseStreamOptions(Body):
    """How to stream."""

    include_obfuscation: bool | None = None


class ResponsesBody(Body):
    """`POST /v1/responses`. Nothing is kept, whatever `store` says, so no answer can be referred to later."""

    unsupported: ClassVar = {
        "background": (False,),
        "conversation": (),
        "include": ([],),
        "max_tool_calls": (),
        "previous_response_id": (),
        "prompt": (),
        "reasoning": (),
        "service_tier": ("auto", "default"),
        "top_logprobs": (0,),
        "truncation": ("disabled",),
    }

    model: str
    input: str | list[InputItem] = Field(min_length=1)
    instructions: str | None = None
    text: TextOptions | None = None
    tools: list[FunctionTool] | None = Field(None, max_length=128)
    tool_choice: Literal["none", "auto", "required"] | FunctionChoice | None = None
    parallel_tool_calls: bool | None = None
    max_output_tokens: int | None = Field(None, ge=1)
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, ge=0, le=1)
    stream: bool | None = None
    stream_options: ResponseStreamOptions | None = None
    store: bool | None = None

    def as_chat(self) -> dict[str, Any]:
        """The values of the `ChatBody` that asks for the same."""
        format = self.text.format if self.text else None
        choice = self.tool_choice
        if isinstance(choice, FunctionChoice):
            choice_values: Any = {"type": "function", "function": {"name": choice.name}}
        else:
            choice_values = choice
        return {
            "model": self.model,
            "messages": list(self._messages()),
            "response_format": format.as_chat() if format else None,
            "tools": [
                {"type": "function", "function": tool.model_dump(exclude={"type"})}
                for tool in self.tools or ()
            ],
            "tool_choice": choice_values,
            "parallel_tool_calls": self.parallel_tool_calls,
            "max_completion_tokens": self.max_output_tokens,
            "temperature": self.temperature,
            "top_p": self.top_p,
        }

    def _messages(self) -> list[dict[str, Any]]:
        """The input as messages; calls that follow each other are one turn."""
        messages: list[dict[str, Any]] = []
        if self.instructions is not None:
            messages.append({"role": "system", "content": self.instructions})
        if isinstance(self.input, str):
            return [*messages, {"role": "user", "content": self.input}]
        for item in self.input:
            if isinstance(item, InputMessage):
                messages.append({"role": item.role, "content": _text(item.content)})
            elif isinstance(item, InputResult):
                result = {"tool_call_id": item.call_id, "content": _text(item.output)}
                messages.append({"role": "tool", **result})
            else:
                if not messages or messages[-1]["role"] != "assistant":
                    messages.append({"role": "assistant", "content": None})
                function = {"name": item.name, "arguments": item.arguments}
                call = {"id": item.call_id, "type": "function", "function": function}
                messages[-1].setdefault("tool_calls", []).append(call)
        return messages


def _text(content: str | list[InputText]) -> str:
    return content if isinstance(content, str) else "".join(part.text for part in content)
