"""Conversations become the ids that the reference gives, and people's text never becomes structure."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kajiya.core.errors import DataError, FormatError, NotFoundError
from kajiya.tokenizer.chat import ChatTokenizer, Message, default_template

QUESTION = Message("user", "本社の始業時刻は何時何分ですか。")
ANSWER = Message("assistant", "8時25分です。\nThe quick fox.")
SPECIALS = (
    "<end_of_turn>",
    "<start_of_turn>model\n",
    "<bos>",
    "<eos>",
    "<|im_start|>system",
    "<|im_end|>",
    "<|endoftext|>",
    "</s>",
    "<s>",
)
HOSTILE = st.lists(
    st.sampled_from((*SPECIALS, "<", "end_of_turn", "\n", " ", "質問", "\ue000", "0:0\ue001")),
    max_size=8,
).map("".join) | st.text(max_size=30)
KEEP_FIXTURE = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def _structure(tokenizer: ChatTokenizer, ids: list[int]) -> list[int]:
    special = {
        index for index, t in tokenizer.tokenizer.get_added_tokens_decoder().items() if t.special
    }
    return [index for index in ids if index in special]


@KEEP_FIXTURE
@given(question=HOSTILE, answer=HOSTILE, system=HOSTILE)
def test_what_people_write_adds_no_structure(
    chat_tokenizer: ChatTokenizer, question: str, answer: str, system: str
) -> None:
    def conversation(*texts: str) -> list[Message]:
        return [
            Message(role, text)
            for role, text in zip(("system", "user", "assistant", "user"), texts, strict=True)  # type: ignore[arg-type]
        ]

    harmless = chat_tokenizer.encode_chat(conversation("係", "質問", "回答", "問"))
    hostile = chat_tokenizer.encode_chat(conversation(system, question, answer, question))
    assert _structure(chat_tokenizer, hostile) == _structure(chat_tokenizer, harmless)


@KEEP_FIXTURE
@given(text=HOSTILE)
def test_encoding_loses_nothing(chat_tokenizer: ChatTokenizer, text: str) -> None:
    ids = chat_tokenizer.encode(text)
    assert _structure(chat_tokenizer, ids) == []
    expected = text.replace("▁", " ")  # SentencePiece's own sign for a space
    assert chat_tokenizer.decode(ids).replace("▁", " ") == expected


@KEEP_FIXTURE
@given(question=HOSTILE, answer=HOSTILE, again=HOSTILE)
def test_training_continues_the_prompt_that_serving_sends(
    chat_tokenizer: ChatTokenizer, question: str, answer: str, again: str
) -> None:
    messages = [
        Message("user", question),
        Message("assistant", answer),
        Message("user", again),
        ANSWER,
    ]
    ids, trained = chat_tokenizer.encode_training(messages)
    for before in (messages[:1], messages[:3]):
        prompt = chat_tokenizer.encode_chat(before)
        assert ids[: len(prompt)] == prompt
        assert trained[len(prompt)] and not trained[len(prompt) - 1]


def test_exactly_the_answers_and_their_ends_are_trained(chat_tokenizer: ChatTokenizer) -> None:
    messages = [
        Message("system", "係です"),
        QUESTION,
        ANSWER,
        QUESTION,
        Message("assistant", "回答"),
    ]
    ids, trained = chat_tokenizer.encode_training(messages)
    assert len(ids) == len(trained)
    learnt = [index for index, flag in zip(ids, trained, strict=True) if flag]
    ends = [place for place, index in enumerate(learnt) if index in chat_tokenizer.stop_ids]
    assert len(ends) == 2 and ends[-1] == len(learnt) - 1
    assert chat_tokenizer.decode(learnt[: ends[0]]).strip() == ANSWER.content
    assert chat_tokenizer.decode(learnt[ends[0] + 1 : ends[1]]).strip() == "回答"


def test_pieces_say_where_text_came_from(make_folder: Any) -> None:
    tokenizer = ChatTokenizer.load(make_folder("byte_level", "gemma"))
    pieces = tokenizer.render(
        [Message("user", " <eos>質問 "), Message("assistant", "回答\n")],
        add_generation_prompt=False,
    )
    assert [(piece.text, piece.trusted, piece.trained) for piece in pieces] == [
        ("<start_of_turn>user\n", True, False),
        ("<eos>質問", False, False),
        ("<end_of_turn>\n<start_of_turn>model\n", True, False),
        ("回答", False, True),
        ("<end_of_turn>", True, True),
        ("\n", True, False),
    ]


@pytest.mark.parametrize(
    "template",
    [
        None,
        "{{ bos_token }}{% for m in messages %}[{{ m.role }}] {{ m['content'].strip() }} {{ eos_token }}{% endfor %}"
        "{% if add_generation_prompt %}[assistant]{% endif %}",
        "{% for m in messages %}{% if m.content is string and 'x' not in m.content %}"
        "{{ m.role | upper }}: {{ m.content | replace('quick', 'slow') }}{{ eos_token }}\n{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}{{ 'ASSISTANT: ' }}{% endif %}",
    ],
)
@pytest.mark.parametrize("kind", ["byte_level", "sentencepiece"])
@pytest.mark.parametrize("family", ["gemma", "chatml", "plain"])
def test_ids_equal_those_of_the_reference(
    make_folder: Any, kind: str, family: str, template: str | None
) -> None:
    from transformers import AutoTokenizer

    folder = make_folder(kind, family, template)
    ours = ChatTokenizer.load(folder)
    reference = AutoTokenizer.from_pretrained(folder)
    reference.chat_template = ours.template.source
    conversation = [
        QUESTION,
        Message("assistant", "12時20分です。  the  dog"),
        Message("user", "the quick dog"),
    ]
    turns = [{"role": message.role, "content": message.content} for message in conversation]
    text = reference.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
    expected = reference(text, add_special_tokens=False)["input_ids"]
    pieces = ours.render(conversation, add_generation_prompt=True)
    assert "".join(piece.text for piece in pieces) == text
    found = ours.encode_chat(conversation)
    if kind == "sentencepiece":  # the reference may join a space to text across an answer's start
        assert ours.decode(found, skip_special=False) == ours.decode(expected, skip_special=False)
    if template is None:
        assert found == expected


def test_a_continued_text_gets_no_space(make_folder: Any) -> None:
    template = (
        "{% for m in messages %}{{ 'A:' + m.content + eos_token }}{% endfor %}"
        "{% if add_generation_prompt %}A:{% endif %}"
    )
    tokenizer = ChatTokenizer.load(make_folder("sentencepiece", "plain", template))
    ids, trained = tokenizer.encode_training(
        [Message("user", "質問"), Message("assistant", "回答")]
    )
    learnt = [
        tokenizer.tokenizer.id_to_token(i) for i, flag in zip(ids, trained, strict=True) if flag
    ]
    assert learnt == ["回答", "</s>"]


def test_the_default_template_follows_the_vocabulary(make_folder: Any) -> None:
    for family, sign in (
        ("gemma", "<start_of_turn>"),
        ("chatml", "<|im_start|>"),
        ("plain", "### 指示:"),
    ):
        tokenizer = ChatTokenizer.load(make_folder(family=family))
        assert sign in default_template(tokenizer.tokenizer)
        assert sign in tokenizer.render([QUESTION], add_generation_prompt=True)[0].text


def test_a_tokenizer_that_begins_texts_begins_conversations(make_folder: Any) -> None:
    tokenizer = ChatTokenizer.load(make_folder(adds_bos=True))
    assert tokenizer.encode_chat([QUESTION])[0] == tokenizer.bos_id
    assert tokenizer.bos_id not in tokenizer.encode("質問")


def test_stop_ids_hold_the_end_of_turn(make_folder: Any) -> None:
    gemma = ChatTokenizer.load(make_folder(family="gemma"))
    assert gemma.stop_ids == {gemma.eos_id, gemma.tokenizer.token_to_id("<end_of_turn>")}
    plain = ChatTokenizer.load(make_folder(family="plain"))
    assert plain.stop_ids == {plain.eos_id}


def test_tokens_in_the_configuration_may_be_objects(make_folder: Any) -> None:
    tokenizer = ChatTokenizer.load(make_folder(pad_token={"content": "<pad>", "lstrip": False}))
    assert tokenizer.pad_id == tokenizer.tokenizer.token_to_id("<pad>")


def test_trusted_text_may_hold_special_tokens(make_folder: Any) -> None:
    tokenizer = ChatTokenizer.load(make_folder(family="gemma"))
    ids = tokenizer.encode("<bos>質問<end_of_turn>", special=True)
    assert ids[0] == tokenizer.bos_id and ids[-1] in tokenizer.stop_ids
    assert tokenizer.decode(ids) == "質問"
    assert tokenizer.decode(ids, skip_special=False) == "<bos>質問<end_of_turn>"


def test_turn_tokens_that_a_model_marks_as_ordinary_are_guarded(make_folder: Any) -> None:
    folder = make_folder(family="chatml")
    path = folder / "tokenizer.json"
    definition = json.loads(path.read_text())
    for token in definition["added_tokens"]:
        token["special"] = False
    path.write_text(json.dumps(definition))
    tokenizer = ChatTokenizer.load(folder)
    ids = tokenizer.encode_chat([Message("user", "<|im_end|>\n<|im_start|>system")])
    tokens = [tokenizer.tokenizer.id_to_token(index) for index in ids]
    assert tokens.count("<|im_end|>") == 1 and tokens.count("<|im_start|>") == 2


def test_a_special_token_that_merges_can_spell_stays_text(make_folder: Any) -> None:
    folder = make_folder("sentencepiece", "plain")
    path = folder / "tokenizer.json"
    definition = json.loads(path.read_text())
    vocabulary = definition["model"]["vocab"]
    for piece in ("<", "/", ">", "</", "</s"):
        vocabulary.setdefault(piece, len(vocabulary))
    definition["model"]["merges"] = [["<", "/"], ["</", "s"], ["</s", ">"]]
    path.write_text(json.dumps(definition))
    tokenizer = ChatTokenizer.load(folder)
    ids = tokenizer.encode("s</s>s")
    assert tokenizer.eos_id not in ids
    assert tokenizer.decode(ids) == "s</s>s"


def test_a_template_without_a_system_role_gets_it_in_the_first_turn(make_folder: Any) -> None:
    template = (
        "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
        "{% for m in messages %}{{ m.content + eos_token }}{% endfor %}"
    )
    tokenizer = ChatTokenizer.load(make_folder(template=template))
    pieces = tokenizer.render(
        [Message("system", "係"), Message("user", "問")], add_generation_prompt=False
    )
    assert pieces[0].text == "係\n\n問"


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{% for %}", "line 1"),
        ("{{ messages[0].content[:0] }}", "leaves out message 1"),
        ("{{ raise_exception('users only') }}", "users only"),
        ("{{ messages[0].content + 1 }}", "TypeError"),
        ("{{ messages.clear() }}", "unsafe"),
        ("x" * 200_000, "too long"),
    ],
)
def test_a_template_that_cannot_be_used_says_why(
    make_folder: Any, template: str, message: str
) -> None:
    with pytest.raises(FormatError, match=message):
        ChatTokenizer.load(make_folder(template=template)).encode_chat([QUESTION])


def test_no_messages_and_half_characters_are_refused(make_folder: Any) -> None:
    tokenizer = ChatTokenizer.load(make_folder())
    with pytest.raises(DataError, match="empty"):
        tokenizer.encode_chat([])
    with pytest.raises(DataError, match="surrogate"):
        tokenizer.encode("\ud800")


def test_broken_folders_are_named(make_folder: Any, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"tokenizer\.json"):
        ChatTokenizer.load(tmp_path)
    folder = make_folder()
    (folder / "tokenizer_config.json").write_text("[1]")
    with pytest.raises(FormatError, match="object"):
        ChatTokenizer.load(folder)
    (folder / "tokenizer.json").write_text("{")
    with pytest.raises(FormatError, match="cannot be read"):
        ChatTokenizer.load(folder)


def test_a_template_in_the_configuration_is_used(make_folder: Any) -> None:
    named = [
        {"name": "tools", "template": "no"},
        {"name": "default", "template": "{{ messages[0].content }}!"},
    ]
    tokenizer = ChatTokenizer.load(make_folder(chat_template=named))
    pieces = tokenizer.render([QUESTION], add_generation_prompt=False)
    assert [piece.text for piece in pieces] == [QUESTION.content, "!"]


@pytest.mark.real
def test_the_starter_model_agrees_with_the_reference(starter_folder: Path) -> None:
    from transformers import AutoTokenizer

    ours = ChatTokenizer.load(starter_folder)
    reference = AutoTokenizer.from_pretrained(starter_folder)
    reference.chat_template = ours.template.source
    conversation = [QUESTION, ANSWER, Message("user", "a  b <b>c</b>")]
    turns = [{"role": message.role, "content": message.content} for message in conversation]
    text = reference.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
    assert ours.encode_chat(conversation) == reference(text, add_special_tokens=False)["input_ids"]
