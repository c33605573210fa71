"""Loaded by schemathesis: most of what it makes up is made a request that a model here can answer.

The document says what each field may be, not which go together; without this, most requests would be
refused before they get anywhere.
"""

from __future__ import annotations

from typing import Any

import schemathesis

LENGTHS = {
    "/v1/chat/completions": "max_tokens",
    "/v1/completions": "max_tokens",
    "/v1/responses": "max_output_tokens",
}
HELLO = {"role": "user", "content": "hello"}


@schemathesis.hook
def map_body(context: Any, body: Any) -> Any:
    if not isinstance(body, dict) or len(str(body.get("model"))) % 8 == 0:
        return body
    body["model"] = "tiny"
    if context.operation.path in LENGTHS:
        body[LENGTHS[context.operation.path]] = 3
    body.pop("max_completion_tokens", None)
    if not body.get("stream"):
        body.pop("stream_options", None)
    if body.get("response_format"):
        body.pop("structured_outputs", None)
    if not body.get("logprobs"):
        body.pop("top_logprobs", None)
    if isinstance(body.get("messages"), list):
        said = [m for m in body["messages"] if isinstance(m, dict) and m.get("role") == "user"]
        said = [m for m in said if isinstance(m.get("content"), str)]
        body["messages"] = [{key: m[key] for key in HELLO} for m in said] or [HELLO]
    return body
