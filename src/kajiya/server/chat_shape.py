"""How the choices of a chat completion look: text, calls, and the probabilities of tokens."""

from __future__ import annotations

import secrets
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from kajiya.inference.protocol import GenerateChunk, WrittenToken
from kajiya.server.answers import Choice, told
from kajiya.server.calls import CallPiece, Offer, Scanner


def call_id() -> str:
    """An id for a call, which its result is to name."""
    return f"call_{secrets.token_hex(12)}"


class ChatShape:
    """The choices of one chat completion, of which some may call the functions of an `offer`."""

    whole_object = "chat.completion"
    piece_object = "chat.completion.chunk"

    def __init__(self, offer: Offer | None) -> None:
        names = offer.names if offer else []
        self._scanners: defaultdict[int, Scanner] = defaultdict(lambda: Scanner(names))
        self._begun: set[int] = set()
        self._tokens: defaultdict[int, tuple[WrittenToken, ...]] = defaultdict(tuple)

    def whole(self, index: int, answer: GenerateChunk) -> Choice:
        """See `Shape`."""
        scanner = self._scanners[index]
        text: str | None = None
        calls: list[dict[str, Any]] = []
        for piece in (*scanner.feed(answer.text), *scanner.end()):
            if isinstance(piece, str):
                text = (text or "") + piece
            elif piece.name:
                calls.append(_begun_call(piece.name))
            else:
                calls[-1]["function"]["arguments"] += piece.arguments
        message = {
            "role": "assistant",
            "content": text if calls else text or "",
            "refusal": None,
            **({"tool_calls": calls} if calls else {}),
        }
        return {
            "index": index,
            "message": message,
            "logprobs": _logprobs(answer.tokens),
            "finish_reason": _reason(answer, scanner),
        }

    def pieces(self, index: int, chunk: GenerateChunk) -> list[Choice]:
        """See `Shape`."""
        scanner = self._scanners[index]
        deltas: list[dict[str, Any]] = []
        if index not in self._begun:
            self._begun.add(index)
            deltas.append({"role": "assistant", "content": ""})
        self._tokens[index] += chunk.tokens
        last = scanner.end if chunk.finish_reason else list
        for piece in (*scanner.feed(chunk.text), *last()):
            deltas.append({"content": piece} if isinstance(piece, str) else _call_delta(piece))
        choices = [_piece(index, delta) for delta in deltas]
        if chunk.finish_reason:
            choices.append({**_piece(index, {}), "finish_reason": _reason(chunk, scanner)})
        # What is told of tokens goes with the text they make, which may have been held back.
        said = [choice for choice in choices if "role" not in choice["delta"]]
        if said:
            said[0]["logprobs"] = _logprobs(self._tokens.pop(index, ()))
        return choices


def _piece(index: int, delta: dict[str, Any]) -> Choice:
    return {"index": index, "delta": delta, "logprobs": None, "finish_reason": None}


def _begun_call(name: str) -> dict[str, Any]:
    return {"id": call_id(), "type": "function", "function": {"name": name, "arguments": ""}}


def _call_delta(piece: CallPiece) -> dict[str, Any]:
    if piece.name:
        return {"tool_calls": [{"index": piece.number, **_begun_call(piece.name)}]}
    more = {"index": piece.number, "function": {"arguments": piece.arguments}}
    return {"tool_calls": [more]}


def _reason(chunk: GenerateChunk, scanner: Scanner) -> str | None:
    return "tool_calls" if chunk.finish_reason == "stop" and scanner.calls else chunk.finish_reason


def _logprobs(tokens: Sequence[WrittenToken]) -> dict[str, Any] | None:
    if not tokens:
        return None
    content = [{**told(token), "top_logprobs": [told(t) for t in token.top]} for token in tokens]
    return {"content": content, "refusal": None}
