"""The reference task of constrained output: fields of a Japanese press release, always a valid document."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from kajiya.inference.bundle import ServableModel
from kajiya.inference.client import WorkerEngine
from kajiya.inference.protocol import Constraint, EngineSettings
from kajiya.tokenizer.messages import Message
from support.asking import said

EXAMPLE = Path(__file__).parents[2] / "examples" / "press-release"


def example() -> Any:
    spec = importlib.util.spec_from_file_location("extract", EXAMPLE / "extract.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.real
async def test_the_fields_of_a_press_release_always_follow_the_schema(
    starter_folder: Path, tmp_path: Path
) -> None:
    schema = json.loads((EXAMPLE / "fields.json").read_text(encoding="utf-8"))
    release = (EXAMPLE / "release.md").read_text(encoding="utf-8")
    messages = tuple(Message(turn["role"], turn["content"]) for turn in example().messages(release))
    model = ServableModel("starter", starter_folder / "base.gguf", starter_folder)
    engine = WorkerEngine([model], EngineSettings(slots=2), log=tmp_path / "log")
    await engine.start()
    try:
        for seed, temperature in ((0, 0.0), (1, 1.0), (2, 1.5)):
            text = await said(
                engine,
                model="starter",
                messages=messages,
                max_tokens=300,
                temperature=temperature,
                seed=seed,
                constraint=Constraint(kind="json_schema", value=json.dumps(schema)),
            )
            print(text)
            jsonschema.validate(json.loads(text), schema)
    finally:
        await engine.close()
