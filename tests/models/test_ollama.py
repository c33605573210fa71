"""Modelfiles: the template that Ollama gets writes what the model's own template writes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from kajiya.core.errors import ConfigError
from kajiya.core.workspace import Workspace
from kajiya.inference.bundle import ServableModel
from kajiya.models.exporting import export
from kajiya.models.ollama import find_turns, modelfile
from kajiya.tokenizer.chat import ChatTokenizer
from kajiya.tokenizer.messages import Message
from kajiya.tokenizer.templates import CHATML_TEMPLATE, GEMMA_TEMPLATE, PLAIN_TEMPLATE
from support.tiny_artifacts import register_adapter, register_model
from support.tiny_llama import make_tokenizer

DEFAULT_SYSTEM = (
    "{% if messages[0]['role'] != 'system' %}{{ '<|im_start|>system\\nBe kind.<|im_end|>\\n' }}{% endif %}"
    + CHATML_TEMPLATE
)
NO_SYSTEM = (
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}"
    + GEMMA_TEMPLATE
)
BOS = "{{ bos_token }}" + GEMMA_TEMPLATE
COUNTING = (
    "{% for m in messages %}{{ loop.index ~ m['role'] ~ ': ' ~ m['content'] ~ '\\n' }}{% endfor %}"
)
TALK = [
    Message("system", "敬語で。"),
    Message("user", "こんにちは"),
    Message("assistant", "はい。"),
    Message("user", "営業時間は?"),
]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return make_tokenizer(tmp_path_factory.mktemp("tokenizer"))


def tokenizer(plain: Tokenizer, template: str) -> ChatTokenizer:
    config = {"bos_token": "<|endoftext|>", "eos_token": "<|im_end|>"}
    return ChatTokenizer(plain, config, template)


@pytest.mark.parametrize(
    "template", [CHATML_TEMPLATE, GEMMA_TEMPLATE, PLAIN_TEMPLATE, DEFAULT_SYSTEM, NO_SYSTEM, BOS]
)
def test_the_turns_are_those_of_the_template(plain: Tokenizer, template: str) -> None:
    chat = tokenizer(plain, template)
    turns = find_turns(chat)
    assert turns is not None
    for talk in (TALK, TALK[1:], TALK[:2], TALK[1:2]):
        pieces = chat.render(talk, add_generation_prompt=True)
        whole = "".join(piece.text for piece in pieces)
        assert turns.written(talk) == whole.removeprefix("<|endoftext|>" if template == BOS else "")


@pytest.mark.parametrize("template", [COUNTING, CHATML_TEMPLATE.replace("<|im_start|>", "{{")])
def test_a_template_that_is_not_as_regular_is_left_to_ollama(
    plain: Tokenizer, template: str
) -> None:
    text = modelfile(tokenizer(plain, template), "model.gguf", context_length=512)
    assert "TEMPLATE" not in text
    assert text.startswith("FROM ./model.gguf\n")


def test_what_the_modelfile_says(plain: Tokenizer) -> None:
    text = modelfile(
        tokenizer(plain, CHATML_TEMPLATE),
        "model.gguf",
        adapter="adapter.gguf",
        context_length=2048,
        licences=["Be good.", 'with """ in it'],
    )
    assert text.startswith("FROM ./model.gguf\nADAPTER ./adapter.gguf\nTEMPLATE")
    assert (
        '{{ range $i, $message := .Messages }}{{ if eq .Role "user" }}{{ .Content }}<|im_end|>'
        in text
    )
    assert "PARAMETER num_ctx 2048\n" in text
    assert 'PARAMETER stop """<|im_end|>"""\n' in text
    assert text.endswith('LICENSE """\nBe good.\n"""\n')
    assert text.count('"""') % 2 == 0


def test_exported_beside_the_weights(tiny_model: ServableModel, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "home")
    base = register_model(workspace, tiny_model, "village")
    adapter = register_adapter(workspace, base, tiny_model, "legal", " legal")
    folder = export("village", tmp_path / "village", workspace, "ollama")
    assert {path.name for path in folder.iterdir()} == {"Modelfile", "model.gguf", "card.md"}
    assert (folder / "model.gguf").read_bytes() == (base.folder / "base.gguf").read_bytes()
    folder = export("legal", tmp_path / "legal", workspace, "ollama")
    text = (folder / "Modelfile").read_text(encoding="utf-8")
    for line in re.findall(r"^(?:FROM|ADAPTER) (.+)$", text, re.MULTILINE):
        assert (folder / line).is_file()
    assert (folder / "adapter.gguf").read_bytes() == (adapter.folder / "adapter.gguf").read_bytes()
    assert (folder / "model.gguf").read_bytes() == (base.folder / "base.gguf").read_bytes()
    assert json.loads((base.folder / "tokenizer_config.json").read_text())["eos_token"] in text


def test_an_initial_state_has_no_place_in_it(tiny_model: ServableModel, tmp_path: Path) -> None:
    from kajiya.models.resolve import STATE_FILE
    from kajiya.store.artifacts import ArtifactStore

    workspace = Workspace(tmp_path / "home")
    base = register_model(workspace, tiny_model, "village")
    store = ArtifactStore(workspace)
    with store.draft("adapter", "fox", parents=[base.as_parent("base")]) as draft:
        (draft.folder / STATE_FILE).write_bytes(b"")
    with pytest.raises(ConfigError, match="initial state"):
        export("fox", tmp_path / "out", workspace, "ollama")
    assert not (tmp_path / "out").exists()
