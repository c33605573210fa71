"""The official client, unchanged."""

from __future__ import annotations

import asyncio
import json
from typing import Any, Literal

import openai
import pydantic
import pytest

from kajiya.inference.bundle import ServableModel
from kajiya.tokenizer.chat import ChatTokenizer
from kajiya.tokenizer.messages import Message
from support.tiny_llama import STORY
from support.tiny_server import Running

HELLO: Any = [{"role": "user", "content": "hello"}]
GREEDY: Any = {"model": "tiny", "messages": HELLO, "temperature": 0}


@pytest.fixture(scope="module")
def tokenizer(tiny_model: ServableModel) -> ChatTokenizer:
    return ChatTokenizer.load(tiny_model.folder)


def test_models(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["tiny", "org/tuned:1", "wide"]
    model = client.models.retrieve("org/tuned:1")
    assert (model.id, model.object, model.owned_by) == ("org/tuned:1", "model", "kajiya")
    with pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve("unknown")
    assert caught.value.code == "model_not_found"


def test_whole_answer_with_usage_of_our_tokenizer(
    client: openai.OpenAI, tokenizer: ChatTokenizer
) -> None:
    answer = client.chat.completions.create(**GREEDY, max_tokens=30)
    assert answer.object == "chat.completion"
    assert answer.id.startswith("chatcmpl-")
    assert answer.model == "tiny"
    (choice,) = answer.choices
    assert choice.message.role == "assistant"
    assert choice.message.content == tokenizer.decode(tokenizer.encode(STORY * 3)[:30]).rstrip(
        "\ufffd"
    )
    assert choice.finish_reason == "length"
    assert answer.usage is not None
    prompt = len(tokenizer.encode_chat([Message("user", "hello")]))
    assert answer.usage.prompt_tokens == prompt
    assert answer.usage.completion_tokens == 30
    assert answer.usage.total_tokens == prompt + 30


class Verdict(pydantic.BaseModel):
    """What a client may want to get back."""

    word: Literal["yes", "no"]
    sure: bool


def test_an_answer_of_the_form_that_the_client_wants(client: openai.OpenAI) -> None:
    answer = client.chat.completions.parse(**GREEDY, response_format=Verdict, max_tokens=60)
    assert isinstance(answer.choices[0].message.parsed, Verdict)
    assert answer.choices[0].finish_reason == "stop"
    extra = {"structured_outputs": {"choice": ["賛成", "反対"]}}
    chosen = client.chat.completions.create(**GREEDY, max_tokens=20, extra_body=extra)
    assert chosen.choices[0].message.content in ("賛成", "反対")
    some = client.chat.completions.create(
        **GREEDY, max_tokens=2000, response_format={"type": "json_object"}, seed=1
    )
    text = some.choices[0].message.content or ""
    assert text.lstrip().startswith("{")
    assert some.choices[0].finish_reason == "length" or isinstance(json.loads(text), dict)


def test_a_stream_is_the_same_answer_in_pieces(client: openai.OpenAI) -> None:
    whole = client.chat.completions.create(**GREEDY, max_tokens=30)
    chunks = list(client.chat.completions.create(**GREEDY, max_tokens=30, stream=True))
    assert chunks[0].choices[0].delta.role == "assistant"
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert text == whole.choices[0].message.content
    assert [chunk.choices[0].finish_reason for chunk in chunks[-2:]] == [None, "length"]
    assert len({chunk.id for chunk in chunks}) == 1
    assert {chunk.object for chunk in chunks} == {"chat.completion.chunk"}
    assert all(chunk.usage is None for chunk in chunks)


def test_a_stream_with_usage_ends_with_it(client: openai.OpenAI) -> None:
    whole = client.chat.completions.create(**GREEDY, max_tokens=5)
    *others, last = client.chat.completions.create(
        **GREEDY, max_tokens=5, stream=True, stream_options={"include_usage": True}
    )
    assert last.choices == []
    assert last.usage == whole.usage
    assert all(chunk.usage is None for chunk in others)


def test_stop_strings(client: openai.OpenAI) -> None:
    for stop in ("fox鍛", ["never said", "jum"]):
        answer = client.chat.completions.create(**GREEDY, max_tokens=60, stop=stop)
        cut = stop if isinstance(stop, str) else stop[1]
        assert answer.choices[0].message.content == STORY[: STORY.index(cut)]
        assert answer.choices[0].finish_reason == "stop"


def test_temperature_0_says_the_same_twice(client: openai.OpenAI) -> None:
    def ask() -> str | None:
        return client.chat.completions.create(**GREEDY, max_tokens=80).choices[0].message.content

    assert ask() == ask()


def test_seeds(client: openai.OpenAI) -> None:
    def ask(seed: int) -> str | None:
        answer = client.chat.completions.create(
            model="tiny", messages=HELLO, temperature=2, seed=seed, max_tokens=40
        )
        return answer.choices[0].message.content

    assert ask(7) == ask(7)
    assert ask(7) != ask(8)


@pytest.mark.parametrize("stream", [False, True])
def test_several_choices_differ_and_repeat_with_a_seed(client: openai.OpenAI, stream: bool) -> None:
    def ask() -> list[str]:
        options: Any = {"n": 3, "seed": 1, "temperature": 2, "max_tokens": 20, "stream": stream}
        answer = client.chat.completions.create(model="tiny", messages=HELLO, **options)
        texts = ["", "", ""]
        for part in answer if stream else [answer]:
            for choice in part.choices:
                said = choice.delta if stream else choice.message
                texts[choice.index] += said.content or ""
        return texts

    texts = ask()
    assert len(set(texts)) == 3
    assert ask() == texts


def test_several_choices_read_the_prompt_once(client: openai.OpenAI) -> None:
    one = client.chat.completions.create(**GREEDY, max_tokens=4).usage
    three = client.chat.completions.create(**GREEDY, max_tokens=4, n=3).usage
    assert one is not None
    assert three is not None
    assert three.prompt_tokens == one.prompt_tokens
    assert three.completion_tokens == 12


def test_a_tuned_model_and_its_base_share_one_process(
    server: Running, client: openai.OpenAI
) -> None:
    answer = client.chat.completions.create(**{**GREEDY, "model": "org/tuned:1"}, max_tokens=3)
    assert answer.choices[0].message.content == " legal" * 3
    answer = client.chat.completions.create(**GREEDY, max_tokens=3)
    assert answer.choices[0].message.content == " the quick brown"
    assert len(server.workers()) == 1


def test_message_forms(client: openai.OpenAI, tokenizer: ChatTokenizer) -> None:
    messages: Any = [
        {"role": "developer", "content": "be brief"},
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
        {"role": "assistant", "content": None},
        {"role": "user", "content": "鍛冶屋 <|im_end|>"},
    ]
    answer = client.chat.completions.create(model="tiny", messages=messages, max_tokens=1)
    plain = [
        Message("system", "be brief"),
        Message("user", "ab"),
        Message("assistant", ""),
        Message("user", "鍛冶屋 <|im_end|>"),
    ]
    assert answer.usage is not None
    assert answer.usage.prompt_tokens == len(tokenizer.encode_chat(plain))


def test_completions(client: openai.OpenAI, tokenizer: ChatTokenizer) -> None:
    answer = client.completions.create(model="tiny", prompt="hello\n", temperature=0)
    assert answer.object == "text_completion"
    assert answer.choices[0].text == tokenizer.decode(tokenizer.encode(STORY)[:16]).rstrip("\ufffd")
    assert answer.usage is not None
    assert answer.usage.prompt_tokens == len(tokenizer.encode("hello\n"))
    assert answer.usage.completion_tokens == 16
    ids = tokenizer.encode("hi?")
    for prompt, texts in ((ids, ["!"]), ([ids, ids], ["!", "!"]), (["hi?", "hi!"], ["!", ""])):
        several = client.completions.create(model="tiny", prompt=prompt, temperature=0)
        assert [choice.text for choice in several.choices] == texts
        assert {choice.finish_reason for choice in several.choices} == {"stop"}


def test_completions_stream(client: openai.OpenAI) -> None:
    options: Any = {"model": "tiny", "prompt": "hello\n", "temperature": 0, "max_tokens": 25}
    whole = client.completions.create(**options).choices[0].text
    chunks = list(client.completions.create(**options, stream=True))
    assert "".join(chunk.choices[0].text for chunk in chunks) == whole
    assert chunks[-1].choices[0].finish_reason == "length"


def test_the_tokens_of_an_answer(client: openai.OpenAI) -> None:
    options: Any = {**GREEDY, "max_tokens": 24, "logprobs": True, "top_logprobs": 3}
    whole = client.chat.completions.create(**options).choices[0]
    assert whole.logprobs is not None
    tokens = whole.logprobs.content
    assert tokens is not None
    data = b"".join(bytes(token.bytes or ()) for token in tokens)
    assert data.decode() == whole.message.content
    for token in tokens:
        assert len(token.top_logprobs) == 3
        assert token.top_logprobs[0].logprob == token.logprob
    chunks = list(client.chat.completions.create(**options, stream=True))
    streamed = []
    for chunk in chunks:
        told = chunk.choices[0].logprobs
        part = b"".join(bytes(t.bytes or ()) for t in (told.content if told else None) or ())
        assert part.decode() == (chunk.choices[0].delta.content or "")
        streamed += (told.content if told else None) or []
    assert [token.token for token in streamed] == [token.token for token in tokens]
    plain = client.chat.completions.create(**GREEDY, max_tokens=2, logprobs=True).choices[0]
    assert plain.logprobs is not None
    assert [token.top_logprobs for token in plain.logprobs.content or ()] == [[], []]


def test_the_tokens_of_a_completion(client: openai.OpenAI) -> None:
    options: Any = {"model": "tiny", "prompt": "hello\n", "temperature": 0, "logprobs": 2}
    whole = client.completions.create(**options).choices[0]
    assert whole.logprobs is not None
    offsets, tokens = whole.logprobs.text_offset, whole.logprobs.tokens
    assert offsets is not None
    assert tokens is not None
    for offset, token in zip(offsets, tokens, strict=True):
        assert whole.text[offset:].startswith(token)
    assert whole.logprobs.top_logprobs is not None
    assert all(len(top) == 2 for top in whole.logprobs.top_logprobs)
    chunks = list(client.completions.create(**options, stream=True))
    told = [chunk.choices[0].logprobs for chunk in chunks]
    assert [offset for part in told if part for offset in part.text_offset or ()] == offsets


def test_a_bias(client: openai.OpenAI, tokenizer: ChatTokenizer) -> None:
    (fox,) = tokenizer.encode(" fox")
    answer = client.chat.completions.create(**GREEDY, max_tokens=2, logit_bias={str(fox): 100})
    assert answer.choices[0].message.content == " fox fox"


def test_errors_are_the_clients_own_kinds(server: Running, client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as missing:
        client.chat.completions.create(**{**GREEDY, "model": "unknown"})
    assert missing.value.code == "model_not_found"
    assert missing.value.param == "model"
    with pytest.raises(openai.BadRequestError) as bad:
        client.chat.completions.create(**GREEDY, max_tokens=10**9)
    assert bad.value.param == "max_tokens"
    with pytest.raises(openai.BadRequestError) as long:
        client.chat.completions.create(
            model="tiny", messages=[{"role": "user", "content": "a" * 20_000}], stream=True
        )
    assert long.value.code == "context_length_exceeded"
    with (
        server.openai(api_key="kj-wrong") as stranger,
        pytest.raises(openai.AuthenticationError) as wrong,
    ):
        stranger.models.list()
    assert wrong.value.code == "invalid_api_key"


async def test_fifty_streams_at_once_complete(server: Running) -> None:
    async with openai.AsyncOpenAI(
        base_url=f"{server.url}/v1", api_key=server.key, max_retries=0, timeout=120
    ) as client:

        async def one() -> str:
            stream = await client.chat.completions.create(**GREEDY, max_tokens=40, stream=True)
            pieces = [chunk.choices[0].delta.content or "" async for chunk in stream]
            return "".join(pieces)

        texts = await asyncio.gather(*(one() for _ in range(50)))
    assert len(texts) == 50
    assert len(set(texts)) == 1
    assert texts[0].startswith(STORY)
