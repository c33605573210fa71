"""The World tokenizer reads as the reference does, gives every text back, and keeps chats apart."""

from __future__ import annotations

import functools
import json
import tarfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from kajiya.core.errors import FormatError, ResourceError
from kajiya.tokenizer import world
from kajiya.tokenizer.chat import ChatTokenizer, Message
from kajiya.tokenizer.greedy import greedy_tokenizer, greedy_vocabulary
from kajiya.tokenizer.world import (
    END_OF_TEXT,
    VOCAB_SIZE,
    world_vocabulary,
    write_world_tokenizer,
)
from support.japanese import japanese_texts

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    write_world_tokenizer(folder)
    return folder


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> Tokenizer:
    return Tokenizer.from_file(str(folder / "tokenizer.json"))


@pytest.fixture(scope="module")
def chat(folder: Path) -> ChatTokenizer:
    return ChatTokenizer.load(folder)


@functools.cache
def reference() -> Any:
    """The `rwkv` package's own tokenizer."""
    from importlib.metadata import distribution

    from rwkv.rwkv_tokenizer import TRIE_TOKENIZER

    return TRIE_TOKENIZER(str(distribution("rwkv").locate_file(world._FILE)))


def aozora() -> Iterator[str]:
    with tarfile.open(DATA / "aozora" / "aozora-public-domain.tar.xz") as archive:
        works = (member for member in archive if member.name.endswith(".txt"))
        for member in islice(works, 3):
            file = archive.extractfile(member)
            assert file is not None
            yield file.read(300_000).decode("cp932", errors="replace")


def wikipedia() -> Iterator[str]:
    with (DATA / "wikipedia-ja" / "leads.jsonl").open(encoding="utf-8") as lines:
        yield "\n".join(json.loads(line)["text"] for line in islice(lines, 1000))


def instructions() -> Iterator[str]:
    yield (DATA / "instruction-ja" / "data.jsonl").read_text(encoding="utf-8")[:200_000]


def gutenberg() -> Iterator[str]:
    for path in sorted((DATA / "gutenberg").glob("*.txt")):
        yield path.read_text(encoding="utf-8", errors="replace")[:200_000]


@pytest.mark.skipif(not DATA.is_dir(), reason="the shared data is not beside the project")
@pytest.mark.parametrize("texts", [aozora, wikipedia, instructions, gutenberg])
def test_shared_texts_are_read_as_the_reference_reads_them(
    tokenizer: Tokenizer, texts: Any
) -> None:
    count = 0
    for text in texts():
        ids = tokenizer.encode(text).ids
        assert ids == reference().encode(text)
        assert tokenizer.decode(ids) == text
        count += len(ids)
    assert count > 20_000


@st.composite
def spliced(draw: st.DrawFn) -> str:
    """Vocabulary entries, whole and cut, next to one another: where greedy reading has most choice."""
    some = draw(st.lists(st.integers(1, 65_529), min_size=1, max_size=12))
    cuts = draw(st.lists(st.integers(0, 6), min_size=len(some), max_size=len(some)))
    entries = world_vocabulary()
    data = b"".join(entries[i][: len(entries[i]) - cut] for i, cut in zip(some, cuts, strict=True))
    return data.decode("utf-8", errors=draw(st.sampled_from(["ignore", "replace"])))


@settings(max_examples=300, deadline=None)
@given(text=st.one_of(st.text(), spliced(), st.text(alphabet=" \n\t\r。…a=0　", max_size=300)))
def test_any_text_is_read_as_the_reference_reads_it(tokenizer: Tokenizer, text: str) -> None:
    ids = tokenizer.encode(text).ids
    assert ids == reference().encode(text)
    assert tokenizer.decode(ids) == text


def test_runs_longer_than_any_entry(tokenizer: Tokenizer) -> None:
    for text in (" " * 5000, "\n" * 3001, "=" * 2000, "あ" * 1000, "\U0001f9ff" * 500):
        assert tokenizer.encode(text).ids == reference().encode(text)


def test_every_entry_has_its_id(tokenizer: Tokenizer) -> None:
    entries = world_vocabulary()
    assert len(entries) == 65_529 and max(entries) < VOCAB_SIZE
    assert entries == reference().idx2token
    assert tokenizer.token_to_id(END_OF_TEXT) == 0
    assert tokenizer.get_vocab_size() == 65_530
    for index in (1, 33, 261, 65_529):
        text = entries[index].decode()
        assert tokenizer.encode(text).ids == [index] and tokenizer.decode([index]) == text


def test_an_unknown_id_says_nothing(tokenizer: Tokenizer) -> None:
    assert tokenizer.decode([65_530, 65_535]) == ""


def test_the_vocabulary_can_be_read_back(tokenizer: Tokenizer) -> None:
    definition = json.loads(tokenizer.to_str())
    assert greedy_vocabulary(definition) == world_vocabulary()
    definition["pre_tokenizer"]["pretokenizers"][1]["pattern"]["Regex"] += "|x"
    assert greedy_vocabulary(definition) is None
    assert greedy_vocabulary({"model": {"type": "BPE"}, "pre_tokenizer": None}) is None


def small_vocabulary(entries: set[bytes]) -> dict[int, bytes]:
    return dict(enumerate([*(bytes([b]) for b in range(256)), *sorted(entries)], start=1))


@settings(max_examples=100, deadline=None)
@given(
    entries=st.sets(st.binary(min_size=2, max_size=5), max_size=20)
    | st.sets(st.text(alphabet="ab-[]^|\\&~あい", min_size=1, max_size=6).map(str.encode)),
    text=st.text(alphabet="ab-[]^|\\&~あい", max_size=60),
)
def test_any_vocabulary_is_read_greedily(entries: set[bytes], text: str) -> None:
    vocabulary = small_vocabulary({entry for entry in entries if len(entry) > 1})
    ids, rest = [], text.encode()
    index_of = {entry: index for index, entry in vocabulary.items()}
    while rest:
        entry = next(rest[:n] for n in range(len(rest), 0, -1) if rest[:n] in index_of)
        ids.append(index_of[entry])
        rest = rest[len(entry) :]
    made = greedy_tokenizer(vocabulary, END_OF_TEXT, 0)
    assert made.encode(text).ids == ids
    assert made.decode(ids) == text
    assert greedy_vocabulary(json.loads(made.to_str())) == vocabulary


def test_a_vocabulary_that_cannot_spell_all_bytes_is_refused() -> None:
    vocabulary = small_vocabulary(set())
    del vocabulary[200]
    with pytest.raises(FormatError, match="lacks 1 of the 256"):
        greedy_tokenizer(vocabulary, END_OF_TEXT, 0)


def test_another_list_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world, "_FILE", "rwkv/rwkv_tokenizer.py")
    with pytest.raises(FormatError, match="not the World vocabulary"):
        world_vocabulary.__wrapped__()
    monkeypatch.setattr(world, "_FILE", "rwkv/none.txt")
    with pytest.raises(ResourceError, match="not installed"):
        world_vocabulary.__wrapped__()


QUESTION = Message("user", "始業は何時ですか。\r\n\r\n\n教えて。 ")
ANSWER = Message("assistant", "九時です。\n\n\n遅れずに。")


def test_the_template_of_world_models(chat: ChatTokenizer) -> None:
    def text(messages: list[Message], prompt: bool) -> str:
        return "".join(piece.text for piece in chat.render(messages, add_generation_prompt=prompt))

    turn = "User: 始業は何時ですか。\n教えて。\n\nAssistant:"
    assert text([QUESTION], True) == turn
    answered = f"System: 係です\n\n{turn} 九時です。\n遅れずに。\n\n"
    assert text([Message("system", "係です"), QUESTION, ANSWER], False) == answered
    messages = [Message("system", "係です"), QUESTION, ANSWER]
    assert chat.encode_training(messages)[0] == reference().encode(answered)


def test_answers_and_the_ends_of_their_turns_are_trained(chat: ChatTokenizer) -> None:
    messages = [QUESTION, ANSWER, Message("user", "次は?"), Message("assistant", "はい")]
    ids, trained = chat.encode_training(messages)
    learnt = [index for index, flag in zip(ids, trained, strict=True) if flag]
    assert chat.decode(learnt) == " 九時です。\n遅れずに。\n\n はい\n\n"
    for before in (messages[:1], messages[:3]):
        prompt = chat.encode_chat(before)
        assert ids[: len(prompt)] == prompt and trained[len(prompt)]
    assert chat.stop_text == "\n\n" and chat.stop_ids == {0}


def test_the_special_token_in_a_text_stays_text(chat: ChatTokenizer) -> None:
    ids = chat.encode_chat([Message("user", f"a{END_OF_TEXT}b")])
    assert 0 not in ids and END_OF_TEXT in chat.decode(ids)
    assert chat.encode(END_OF_TEXT, special=True) == [0]


def test_transformers_reads_it_alike(folder: Path, chat: ChatTokenizer) -> None:
    from transformers import AutoTokenizer

    theirs = AutoTokenizer.from_pretrained(folder)
    turns = [
        {"role": "user", "content": "始業は?\n\n\nいつ"},
        {"role": "assistant", "content": "九時"},
    ]
    found = theirs.apply_chat_template(turns, tokenize=True, add_generation_prompt=True)
    messages = [Message("user", "始業は?\n\n\nいつ"), Message("assistant", "九時")]
    assert found["input_ids"] == chat.encode_chat(messages)
    assert (theirs.eos_token_id, theirs.pad_token_id) == (0, 0)


@settings(deadline=None)  # the first call compiles
@given(st.lists(st.text(max_size=60), max_size=5))
def test_many_at_once_are_read_as_one_by_one(chat: ChatTokenizer, texts: list[str]) -> None:
    assert chat.encode_texts(texts) == [chat.encode(text) for text in texts]


def test_pages_at_once_are_read_as_one_by_one(chat: ChatTokenizer) -> None:
    texts = [*japanese_texts(), "<|endoftext|>", ""]
    assert chat.encode_texts(texts) == [chat.encode(text) for text in texts]
