"""`/v1/embeddings` through the official client, on a model whose embeddings are known."""

from __future__ import annotations

from typing import Any

import numpy as np
import openai
import pytest

from kajiya.inference.bundle import ServableModel
from kajiya.tokenizer.chat import ChatTokenizer
from support.tiny_llama import WIDTH
from support.tiny_server import Running

TEXTS = [" the quick", " fox", "鍛冶"]


@pytest.fixture(scope="module")
def tokenizer(tiny_model: ServableModel) -> ChatTokenizer:
    return ChatTokenizer.load(tiny_model.folder)


def expected(ids: list[int]) -> Any:
    """The mean of one-hot vectors, made as long as 1."""
    vector = np.zeros(WIDTH)
    for token in ids:
        vector[token] += 1
    return vector / np.linalg.norm(vector)


@pytest.mark.parametrize("form", [{}, {"encoding_format": "float"}])
def test_several_texts(
    client: openai.OpenAI, tokenizer: ChatTokenizer, form: dict[str, Any]
) -> None:
    # Without a format, the client asks for base64 and reads it.
    answer = client.embeddings.create(model="tiny", input=TEXTS, **form)
    ids = [tokenizer.encode(text) for text in TEXTS]
    assert [item.index for item in answer.data] == [0, 1, 2]
    for item, tokens in zip(answer.data, ids, strict=True):
        assert np.allclose(item.embedding, expected(tokens), atol=1e-5)
    assert answer.usage.prompt_tokens == answer.usage.total_tokens == sum(map(len, ids))


def test_a_text_as_it_is_or_as_tokens(client: openai.OpenAI, tokenizer: ChatTokenizer) -> None:
    ids = tokenizer.encode(TEXTS[0])
    forms: list[Any] = [TEXTS[0], ids, [ids], [TEXTS[0]]]
    vectors = [
        client.embeddings.create(model="tiny", input=form).data[0].embedding for form in forms
    ]
    assert all(vector == vectors[0] for vector in vectors)


def test_many_texts_beside_answers(client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(
        model="tiny", messages=[{"role": "user", "content": "hello"}], temperature=0, stream=True,
        max_tokens=2000,
    )  # fmt: skip
    next(iter(stream))
    answer = client.embeddings.create(model="tiny", input=TEXTS * 40)
    assert len({tuple(item.embedding) for item in answer.data}) == len(TEXTS)
    assert sum(bool(chunk.choices) for chunk in stream) > 0


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"input": ""}, "input"),
        ({"input": []}, "input"),
        ({"input": ["a", ""]}, None),
        ({"input": [[]]}, None),
        ({"input": ["a"] * 513}, None),
        ({"input": "a" * 600}, "input"),
        ({"input": [99999]}, "input"),
        ({"input": [-1]}, "input"),
        ({"input": [10**30]}, "input"),
        ({"input": 5}, "input"),
        ({"encoding_format": "int8"}, "encoding_format"),
        ({"dimensions": 10}, "dimensions"),
        ({"model": "org/tuned:1"}, "input"),
    ],
)
def test_what_is_refused(server: Running, change: dict[str, Any], param: str | None) -> None:
    response = server.post("/v1/embeddings", json={"model": "tiny", "input": "a", **change})
    assert response.status_code == 400
    error = response.json()["error"]
    assert error["message"]
    assert param is None or error["param"].startswith(param)


def test_a_killed_engine_is_a_503_and_comes_back(server: Running, client: openai.OpenAI) -> None:
    (worker,) = server.workers()
    worker.kill()
    worker.wait()
    response = server.post("/v1/embeddings", json={"model": "tiny", "input": "a"})
    assert response.status_code in (200, 503)
    assert client.embeddings.create(model="tiny", input="a").data
