"""States that are kept after an answer: what follows is as if all had been one prompt."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from test_rwkv_engine import as_text, prompts

from kajiya.core.errors import EngineError
from kajiya.inference.protocol import GenerateChunk, RequestError
from kajiya.inference.rwkv.engine import RwkvEngine
from support.engine_answers import ask, ask_together, generated, wish
from support.rwkv_folders import make_rwkv


def test_going_on_is_as_if_all_had_been_one_prompt(
    exact: RwkvEngine, rwkv_model: Any, tmp_path: Path
) -> None:
    asked = prompts(12, longest=40)
    files = [tmp_path / f"{number}.safetensors" for number in range(len(asked))]
    wishes = [(p, {"max_tokens": 5, "save": f}) for p, f in zip(asked, files, strict=True)]
    answers = ask_together(exact, wishes)
    assert answers == [ask(exact, prompt, max_tokens=5) for prompt in asked]
    more = prompts(12, longest=20, seed=9)
    going_on = [(p, {"start": f}) for p, f in zip(more, files, strict=True)]
    for _ in range(2):  # a state may be continued from as often as one likes
        assert ask_together(exact, going_on) == [
            as_text(exact, rwkv_model, [*first, *generated(rwkv_model, first, 5), *second], 12)
            for first, second in zip(asked, more, strict=True)
        ]


def test_only_what_is_new_counts_as_prompt(exact: RwkvEngine, tmp_path: Path) -> None:
    file = tmp_path / "deep" / "s.safetensors"
    ask(exact, [5, 6, 7], max_tokens=3, save=file)
    assert file.stat().st_mode & 0o777 == 0o600
    chunks: list[GenerateChunk] = []

    def take(chunk: GenerateChunk) -> bool:
        chunks.append(chunk)
        return False

    exact.complete([8, 9], wish(start=file, max_tokens=4), take)
    usage = chunks[-1].usage
    assert usage is not None
    assert (usage.prompt_tokens, usage.completion_tokens) == (2, 4)


def test_the_file_is_there_before_the_end_is_told(exact: RwkvEngine, tmp_path: Path) -> None:
    file = tmp_path / "s.safetensors"
    seen: list[tuple[bool, bool]] = []

    def take(chunk: GenerateChunk) -> bool:
        seen.append((chunk.finish_reason is not None, file.exists()))
        return False

    exact.complete([5], wish(save=file), take)
    assert seen[-1] == (True, True)
    assert not any(ended for ended, _ in seen[:-1])


def test_who_leaves_keeps_nothing(exact: RwkvEngine, tmp_path: Path) -> None:
    file = tmp_path / "s.safetensors"
    exact.complete([5], wish(save=file), lambda chunk: True)
    assert not file.exists()


def test_states_that_cannot_be_continued(
    exact: RwkvEngine, make_engine: Any, tmp_path: Path
) -> None:
    file = tmp_path / "s.safetensors"
    ask(exact, [5, 6], save=file)
    with pytest.raises(RequestError, match="no such state"):
        ask(exact, [7], start=tmp_path / "none.safetensors")
    other = make_engine(folder=make_rwkv(tmp_path / "other", seed=1))
    with pytest.raises(RequestError, match="another model"):
        ask(other, [7], start=file)
    short = tmp_path / "short.safetensors"
    short.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(RequestError, match="damaged"):
        ask(exact, [7], start=short)
    tensors = load_file(file)
    tensors["wkv"] = torch.full_like(tensors["wkv"], torch.nan)
    known = {"base_sha256": exact._initial.base_sha256, "tokens": "2", "unread": "[5]"}
    save_file(tensors, short, metadata=known)
    with pytest.raises(RequestError, match="damaged"):
        ask(exact, [7], start=short)
    for wrong in ({"unread": "[true]"}, {"unread": "{"}, {"tokens": "many"}):
        save_file(load_file(file), short, metadata={**known, **wrong})
        with pytest.raises(RequestError, match="damaged"):
            ask(exact, [7], start=short)
    assert ask(exact, [7], start=file)


def test_a_folder_that_cannot_be_written(exact: RwkvEngine, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EngineError, match="cannot be kept"):
        ask(exact, [5], save=tmp_path / "file" / "s.safetensors")
