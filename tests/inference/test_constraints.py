"""Answers of a given form, by a model that knows nothing of it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from kajiya.inference.llamacpp import LlamaCpp
from kajiya.inference.protocol import Constraint, EngineSettings, RequestError
from kajiya.inference.rwkv.engine import RwkvEngine
from kajiya.tokenizer.chat import ChatTokenizer
from support.engine_answers import ask, ask_together
from support.rwkv_folders import make_rwkv
from support.schemas import schemas
from support.tiny_llama import make_model


@pytest.fixture(scope="module", params=["rwkv", "llamacpp"])
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder, settings = tmp_path_factory.mktemp("constrained"), EngineSettings(slots=16, threads=2)
    if request.param == "rwkv":
        made = RwkvEngine(make_rwkv(folder), {}, settings)
        yield made
        made.close()
    else:
        model = make_model(folder)
        yield LlamaCpp(model.weights, {}, settings, 4096, ChatTokenizer.load(folder))


def constrained(kind: str, value: Any, **options: Any) -> dict[str, Any]:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return {
        "constraint": Constraint.model_validate({"kind": kind, "value": text}),
        "temperature": 1.0,
        "max_tokens": 400,
        **options,
    }


def test_there_are_fifty_schemas() -> None:
    assert len({json.dumps(schema) for schema in schemas()}) == 50


def test_every_document_follows_its_schema(engine: RwkvEngine) -> None:
    wishes = [
        ([5, 6, 7], constrained("json_schema", schema, seed=seed))
        for schema in schemas()
        for seed in range(2)
    ]
    found = set()
    for start in range(0, len(wishes), 16):
        some = wishes[start : start + 16]
        for text, (_, options) in zip(ask_together(engine, some), some, strict=True):
            jsonschema.validate(json.loads(text), json.loads(options["constraint"].value))
            found.add(text)
    assert len(found) > 70


@pytest.mark.parametrize("pattern", ["[0-9]{3}-[0-9]{4}", "(はい|いいえ)、[a-c]{2,4}。", "a?b{5}"])
def test_every_answer_matches_its_regular_expression(engine: RwkvEngine, pattern: str) -> None:
    for seed in range(5):
        assert re.fullmatch(pattern, ask(engine, [5], **constrained("regex", pattern, seed=seed)))


def test_every_answer_is_one_of_the_choices(engine: RwkvEngine) -> None:
    choices = ["賛成", "反対", 'わから"ない\n', "賛成する"]
    answers = {ask(engine, [5], **constrained("choice", choices, seed=seed)) for seed in range(30)}
    assert answers <= set(choices)
    assert len(answers) >= 3


@pytest.mark.parametrize(
    "grammar",
    ['start: "a" number\nnumber: /[0-9]{2}/', 'root ::= "a" number\nnumber ::= [0-9] [0-9]'],
    ids=["lark", "gbnf"],
)
def test_every_answer_is_of_the_grammar(engine: RwkvEngine, grammar: str) -> None:
    assert re.fullmatch("a[0-9]{2}", ask(engine, [5], **constrained("grammar", grammar)))


def test_others_in_the_batch_are_free(engine: RwkvEngine) -> None:
    free = {"temperature": 1.0, "seed": 1, "max_tokens": 30}
    alone = ask(engine, [5, 6], **free)
    wishes = [([5, 6], free), ([5, 6], constrained("regex", "[01]{20}"))] * 4
    answers = ask_together(engine, wishes)
    assert answers[::2] == [alone] * 4
    assert all(re.fullmatch("[01]{20}", answer) for answer in answers[1::2])


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("json_schema", "{"),
        ("json_schema", '{"type": "nonsense"}'),
        ("regex", "(a"),
        ("choice", "[]"),
        ("choice", "5"),
        ("grammar", "start: undefined"),
        ("grammar", ""),
    ],
)
def test_forms_that_cannot_be_read(engine: RwkvEngine, kind: str, value: str) -> None:
    with pytest.raises(RequestError, match=kind):
        ask(engine, [5], **constrained(kind, value))


def test_a_folder_without_an_end_token_can_be_constrained(tmp_path: Path) -> None:
    folder = make_rwkv(tmp_path)
    config = json.loads((folder / "tokenizer_config.json").read_text())
    config.pop("eos_token")
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    engine = RwkvEngine(folder, {}, EngineSettings(slots=1, threads=1))
    assert ask(engine, [5], **constrained("regex", "[ab]{4}"))
    engine.close()
