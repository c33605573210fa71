"""The reply to `POST /v1/responses`: items that come one after the other, each a message or a call."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from typing import Any

from kajiya.inference.protocol import FinishReason, GenerateChunk, Usage
from kajiya.server.calls import CallPiece, Scanner
from kajiya.server.chat_shape import call_id
from kajiya.server.errors import ApiError
from kajiya.server.responses_body import ResponsesBody
from kajiya.server.streaming import event


class ResponseReply:
    """One response in the making, to a `body` whose answer may call the functions `names`."""

    def __init__(self, body: ResponsesBody, names: list[str]) -> None:
        self._body = body
        self._scanner = Scanner(names)
        self._id = _new_id("resp")
        self._created = int(time.time())
        self._items: list[dict[str, Any]] = []
        self._open = False  # whether the last item may go on
        self._usage = Usage(prompt_tokens=0)
        self._reason: FinishReason | None = None
        self._number = 0

    def whole(self, answers: dict[int, GenerateChunk]) -> dict[str, Any]:
        """See `Reply`."""
        for index, answer in answers.items():
            for _ in self.take(index, answer):
                pass
        return self._response(self._final_status)

    def begin(self) -> Iterator[str]:
        """See `Reply`."""
        for name in ("created", "in_progress"):
            yield self._event(f"response.{name}", response=self._response("in_progress"))

    def take(self, index: int, chunk: GenerateChunk) -> Iterator[str]:
        """See `Reply`."""
        self._usage = chunk.usage or self._usage
        yield from self._read(self._scanner.feed(chunk.text))
        if chunk.finish_reason:
            self._reason = chunk.finish_reason
            yield from self._read(self._scanner.end())
            if not self._items:
                yield from self._begin_message()
            yield from self._close(self._final_status)

    def end(self) -> Iterator[str]:
        """See `Reply`."""
        status = self._final_status
        yield self._event(f"response.{status}", response=self._response(status))

    def failed(self, error: ApiError) -> Iterator[str]:
        """See `Reply`."""
        known = {"code": error.code, "message": error.message, "param": error.param}
        yield self._event("error", **known, **error.body())

    def _read(self, pieces: list[str | CallPiece]) -> Iterator[str]:
        for piece in pieces:
            if isinstance(piece, str):
                yield from self._say(piece)
            elif piece.name:
                yield from self._begin_call(piece.name)
            else:
                yield from self._argue(piece.arguments)

    def _say(self, text: str) -> Iterator[str]:
        if not self._open:
            yield from self._begin_message()
        self._items[-1]["content"][0]["text"] += text
        yield self._of_item("response.output_text.delta", content_index=0, delta=text, logprobs=[])

    def _begin_message(self) -> Iterator[str]:
        message = {"type": "message", "id": _new_id("msg"), "role": "assistant", "content": []}
        yield from self._begin_item(message)
        part = {"type": "output_text", "text": "", "annotations": []}
        self._items[-1]["content"].append(part)
        yield self._of_item("response.content_part.added", content_index=0, part=part)

    def _begin_call(self, name: str) -> Iterator[str]:
        yield from self._close("completed")
        call = {"type": "function_call", "id": _new_id("fc"), "call_id": call_id()}
        yield from self._begin_item({**call, "name": name, "arguments": ""})

    def _argue(self, arguments: str) -> Iterator[str]:
        self._items[-1]["arguments"] += arguments
        yield self._of_item("response.function_call_arguments.delta", delta=arguments)

    def _begin_item(self, item: dict[str, Any]) -> Iterator[str]:
        self._items.append({**item, "status": "in_progress"})
        self._open = True
        yield self._whole_item("response.output_item.added")

    def _close(self, status: str) -> Iterator[str]:
        """Nothing more is added to the last item."""
        if not self._open:
            return
        self._open = False
        item = self._items[-1]
        item["status"] = status
        if item["type"] == "message":
            (part,) = item["content"]
            done = {"content_index": 0, "text": part["text"], "logprobs": []}
            yield self._of_item("response.output_text.done", **done)
            yield self._of_item("response.content_part.done", content_index=0, part=part)
        else:
            done = {"name": item["name"], "arguments": item["arguments"]}
            yield self._of_item("response.function_call_arguments.done", **done)
        yield self._whole_item("response.output_item.done")

    def _of_item(self, kind: str, **fields: Any) -> str:
        place = {"output_index": len(self._items) - 1, "item_id": self._items[-1]["id"]}
        return self._event(kind, **place, **fields)

    def _whole_item(self, kind: str) -> str:
        return self._event(kind, output_index=len(self._items) - 1, item=self._items[-1])

    def _event(self, kind: str, **fields: Any) -> str:
        content = {"type": kind, "sequence_number": self._number, **fields}
        self._number += 1
        return event(content, kind)

    @property
    def _final_status(self) -> str:
        return "incomplete" if self._reason == "length" else "completed"

    def _response(self, status: str) -> dict[str, Any]:
        body = self._body.model_dump(mode="json", by_alias=True)
        cut = {"reason": "max_output_tokens"} if status == "incomplete" else None
        return {
            "id": self._id,
            "object": "response",
            "created_at": self._created,
            "status": status,
            "error": None,
            "incomplete_details": cut,
            "instructions": body["instructions"],
            "max_output_tokens": body["max_output_tokens"],
            "metadata": {},
            "model": self._body.model,
            "output": self._items,
            "parallel_tool_calls": bool(self._body.parallel_tool_calls),
            "previous_response_id": None,
            "store": False,
            "temperature": 1.0 if self._body.temperature is None else self._body.temperature,
            "text": body["text"] or {"format": {"type": "text"}},
            "tool_choice": body["tool_choice"] or "auto",
            "tools": body["tools"] or [],
            "top_p": 1.0 if self._body.top_p is None else self._body.top_p,
            "truncation": "disabled",
            "usage": None if status == "in_progress" else self._used(),
        }

    def _used(self) -> dict[str, Any]:
        read, wrote = self._usage.prompt_tokens, self._usage.completion_tokens
        return {
            "input_tokens": read,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": wrote,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": read + wrote,
        }


def _new_id(kind: str) -> str:
    return f"{kind}_{secrets.token_hex(16)}"
