"""Tokenizers keep their tokens, their kinds and how they cut text, into GGUF and back."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, pre_tokenizers

from kajiya.core.errors import FormatError
from kajiya.models.formats.gguf_reader import open_gguf, read_metadata
from kajiya.models.formats.gguf_tokenizer import build_tokenizer, save_tokenizer, tokenizer_metadata

FolderOf = Callable[[str], Path]
texts = st.text(alphabet="the fox時刻始業です, \n12🔥éA▁'", max_size=40)


def metadata(folder: Path) -> dict[str, Any]:
    return read_metadata(open_gguf(folder / "model.gguf"))


@pytest.mark.parametrize("family", ["llama", "gemma"])
def test_metadata_round_trip(family_folder: FolderOf, family: str, tmp_path: Path) -> None:
    meta = metadata(family_folder(family))
    save_tokenizer(meta, tmp_path, "{{ template }}")
    size = len(meta["tokenizer.ggml.tokens"])
    again = tokenizer_metadata(tmp_path, size)
    written = {key: value for key, value in meta.items() if key.startswith("tokenizer.ggml.")}
    assert again.keys() == written.keys()
    for key in written.keys() - {"tokenizer.ggml.scores"}:
        assert again[key] == written[key], key
    assert (tmp_path / "chat_template.jinja").read_text() == "{{ template }}"
    padded = tokenizer_metadata(tmp_path, size + 7)
    assert padded["tokenizer.ggml.tokens"][size:] == [f"[PAD{size + n}]" for n in range(7)]


@pytest.mark.parametrize("family", ["llama", "gemma"])
@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(text=texts)
def test_text_is_cut_alike(family_folder: FolderOf, family: str, text: str) -> None:
    folder = family_folder(family)
    original = Tokenizer.from_file(str(folder / "tokenizer.json"))
    rebuilt = build_tokenizer(metadata(folder))
    ids = original.encode(text, add_special_tokens=False).ids
    assert rebuilt.encode(text, add_special_tokens=False).ids == ids
    assert rebuilt.decode(ids) == original.decode(ids)


def test_special_tokens_and_the_beginning(family_folder: FolderOf, tmp_path: Path) -> None:
    save_tokenizer(metadata(family_folder("gemma")), tmp_path, None)
    tokenizer = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert tokenizer.encode("fox").tokens[0] == "<bos>"
    assert "<start_of_turn>" in tokenizer.encode("a<start_of_turn>b").tokens
    config = json.loads((tmp_path / "tokenizer_config.json").read_text())
    assert (config["bos_token"], config["eos_token"]) == ("<bos>", "<eos>")
    assert not (tmp_path / "chat_template.jinja").exists()


def test_what_llama_cpp_has_no_name_for_is_refused(family_folder: FolderOf, tmp_path: Path) -> None:
    source = family_folder("llama")
    tokenizer = Tokenizer.from_file(str(source / "tokenizer.json"))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"\d{4}"), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "tokenizer_config.json").write_text("{}")
    with pytest.raises(FormatError, match="no name for this pre-tokenizer"):
        tokenizer_metadata(tmp_path, 320)
    state = json.loads(tokenizer.to_str()) | {"model": {"type": "WordLevel", "vocab": {}}}
    (tmp_path / "tokenizer.json").write_text(json.dumps(state))
    with pytest.raises(FormatError, match="WordLevel"):
        tokenizer_metadata(tmp_path, 320)
