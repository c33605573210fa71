"""One smoke test on a starter model's own weights."""

from __future__ import annotations

from pathlib import Path

import pytest

from kajiya.inference.bundle import ServableModel
from kajiya.inference.client import WorkerEngine
from kajiya.inference.protocol import EngineSettings
from kajiya.tokenizer.chat import ChatTokenizer
from kajiya.tokenizer.messages import Message
from support.asking import chunks_of


@pytest.mark.real
async def test_a_starter_model_answers_twice_the_same(starter_folder: Path, tmp_path: Path) -> None:
    model = ServableModel("starter", starter_folder / "base.gguf", starter_folder)
    engine = WorkerEngine([model], EngineSettings(slots=2), log=tmp_path / "log")
    await engine.start()
    question = (Message("user", "日本の首都はどこですか。🗾"),)
    texts = []
    for _ in range(2):
        chunks = await chunks_of(
            engine, model="starter", messages=question, max_tokens=40, reuse_prompt=False
        )
        texts.append("".join(chunk.text for chunk in chunks))
        usage = chunks[-1].usage
        assert usage is not None
        tokenizer = ChatTokenizer.load(starter_folder)
        assert usage.prompt_tokens == len(tokenizer.encode_chat(question))
        assert 0 < usage.completion_tokens <= 40
    assert texts[0] == texts[1]
    assert texts[0].strip()
    await engine.close()
