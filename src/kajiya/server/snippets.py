"""Everything needed to send a first request, as code that can be copied and run."""

from __future__ import annotations

import json
import shlex

from kajiya.core.language import tr


def curl(url: str, key: str, model: str) -> str:
    """For a terminal; `url` is without `/v1`."""
    body = json.dumps({"model": model, **_question(), "temperature": 0}, ensure_ascii=False)
    return (
        f"curl {url}/v1/chat/completions \\\n"
        f'  -H "Authorization: Bearer {key}" \\\n'
        f'  -H "Content-Type: application/json" \\\n'
        f"  -d {shlex.quote(body)}"
    )


def python(url: str, key: str, model: str) -> str:
    """With the `openai` package."""
    return (
        "from openai import OpenAI\n\n"
        f'client = OpenAI(base_url="{url}/v1", api_key="{key}")\n'
        "answer = client.chat.completions.create(\n"
        f"    model={_text(model)},\n"
        f"    messages={_messages()},\n"
        "    temperature=0,\n"
        ")\n"
        "print(answer.choices[0].message.content)"
    )


def javascript(url: str, key: str, model: str) -> str:
    """With nothing but what browsers and Node have."""
    return (
        f'const response = await fetch("{url}/v1/chat/completions", {{\n'
        '  method: "POST",\n'
        f'  headers: {{ Authorization: "Bearer {key}", "Content-Type": "application/json" }},\n'
        "  body: JSON.stringify({\n"
        f"    model: {_text(model)},\n"
        f"    messages: {_messages()},\n"
        "    temperature: 0,\n"
        "  }),\n"
        "});\n"
        "console.log((await response.json()).choices[0].message.content);"
    )


def _question() -> dict[str, list[dict[str, str]]]:
    return {"messages": [{"role": "user", "content": tr("Hello", "こんにちは")}]}


def _messages() -> str:
    return json.dumps(_question()["messages"], ensure_ascii=False)


def _text(words: str) -> str:
    """A text as Python and JavaScript both write it."""
    return json.dumps(words, ensure_ascii=False)
