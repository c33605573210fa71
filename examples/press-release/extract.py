"""The fields of a press release as JSON, by any model behind `kajiya serve`.

    KAJIYA_KEY=kj-… python examples/press-release/extract.py starter:gemma-3-270m

The answer always has the form of fields.json. Whether the values are right depends on the model: a small
base that was not tuned for this copies some of them and invents others.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from openai import OpenAI

HERE = Path(__file__).parent
INSTRUCTIONS = "次の発表文から、会社、発表日、商品名、発売日、税込価格、問い合わせ先の電子メールを抜き出してください。"


def messages(release: str) -> list[dict[str, str]]:
    """What the model is asked."""
    return [{"role": "user", "content": f"{INSTRUCTIONS}\n\n{release}"}]


def main() -> None:
    model = sys.argv[1]
    url = os.environ.get("KAJIYA_URL", "http://127.0.0.1:8321/v1")
    client = OpenAI(base_url=url, api_key=os.environ["KAJIYA_KEY"])
    schema = json.loads((HERE / "fields.json").read_text(encoding="utf-8"))
    answer = client.chat.completions.create(
        model=model,
        messages=messages((HERE / "release.md").read_text(encoding="utf-8")),  # type: ignore[arg-type]
        response_format={
            "type": "json_schema",
            "json_schema": {"name": "release", "schema": schema},
        },
        temperature=0,
        max_tokens=300,
    )
    fields = json.loads(answer.choices[0].message.content or "")
    print(json.dumps(fields, ensure_ascii=False, indent=2))


if __name__ == "__main__":
    main()
