"""Answers from a state are those from the whole text, several at once as one at a time."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from kajiya.evaluation.recurrent import answer_questions
from kajiya.models.recurrent.tuned import write_into
from kajiya.tokenizer.chat import ChatTokenizer
from kajiya.tokenizer.messages import Message
from support.recurrent import make_rwkv_folder, tiny_rwkv7

QUESTIONS = ["the quick", "昼休みは何時ですか。", "?"]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> ChatTokenizer:
    return ChatTokenizer.load(make_rwkv_folder(tmp_path_factory.mktemp("folder") / "model"))


def model_of(tokenizer: ChatTokenizer) -> torch.nn.Module:
    model: torch.nn.Module = tiny_rwkv7(tokenizer.vocab_size)
    write_into(model, torch.randn(2, 2, 16, 16, generator=torch.Generator().manual_seed(2)))
    return model


@torch.no_grad()
def by_reading_all_again(model: torch.nn.Module, tokenizer: ChatTokenizer, question: str) -> str:
    ids = tokenizer.encode_chat([Message("user", question)])
    written: list[int] = []
    for _ in range(12):
        logits = model(input_ids=torch.tensor([ids + written])).logits
        written.append(int(logits[0, -1].argmax()))
        if written[-1] in tokenizer.stop_ids:
            written.pop()
            break
    return tokenizer.decode(written).strip()


def test_greedy(tokenizer: ChatTokenizer) -> None:
    model = model_of(tokenizer)
    said = answer_questions(model, tokenizer, QUESTIONS, max_tokens=12)
    assert said == [by_reading_all_again(model, tokenizer, question) for question in QUESTIONS]
    assert len(set(said)) > 1
    assert answer_questions(model, tokenizer, []) == []


def test_sampled(tokenizer: ChatTokenizer) -> None:
    model = model_of(tokenizer)
    options = {"max_tokens": 12, "temperature": 1.0}
    first = answer_questions(model, tokenizer, QUESTIONS, seed=1, **options)
    assert first == answer_questions(model, tokenizer, QUESTIONS, seed=1, **options)
    assert first != answer_questions(model, tokenizer, QUESTIONS, seed=2, **options)


def test_an_answer_ends_where_the_model_ends_it(tokenizer: ChatTokenizer) -> None:
    model = model_of(tokenizer)
    (stop,) = tokenizer.stop_ids
    with torch.no_grad():
        model.model.ln_out.weight.zero_()
        model.model.ln_out.bias.copy_(model.head.weight[stop])  # whatever is read, it stops
        model.head.weight[torch.arange(len(model.head.weight)) != stop] = 0
    assert answer_questions(model, tokenizer, QUESTIONS) == ["", "", ""]


def test_an_answer_ends_at_the_text_that_ends_a_turn(tmp_path: Path) -> None:
    folder = make_rwkv_folder(tmp_path / "model")
    (folder / "chat_template.jinja").write_text(
        "{% for m in messages %}{{ m['role'] + ':' + m['content'] + '\\n\\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ 'assistant:' }}{% endif %}"
    )
    tokenizer = ChatTokenizer.load(folder)
    assert tokenizer.stop_text == "\n\n"
    model = model_of(tokenizer)
    (newline,) = tokenizer.encode("\n")
    with torch.no_grad():
        model.model.ln_out.weight.zero_()
        model.model.ln_out.bias.copy_(model.head.weight[newline])
        model.head.weight[torch.arange(len(model.head.weight)) != newline] = 0
    calls: list[int] = []
    model.register_forward_hook(lambda *_: calls.append(1))
    assert answer_questions(model, tokenizer, QUESTIONS, max_tokens=30) == ["", "", ""]
    assert len(calls) == len(QUESTIONS) + 1  # two tokens each: the first comes with the question
