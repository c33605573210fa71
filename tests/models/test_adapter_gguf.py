"""A LoRA in llama.cpp and the same one in PyTorch agree on the next token."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoConfig, AutoModelForCausalLM

from kajiya.core.errors import FormatError
from kajiya.models.formats.gguf_writer import write_adapter
from support.llama_logprobs import LlamaCppLogprobs, largest_difference, torch_next
from support.tuning import randomise

TOLERANCE = {"llama": 1e-4, "gemma3": 3e-3}


def make_adapter(base: Path, target: Path, **options: Any) -> Any:
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    values = {"r": 4, "lora_alpha": 6, "target_modules": "all-linear", **options}
    tuned = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", **values))
    randomise(tuned)
    tuned.save_pretrained(target)
    return tuned


@pytest.mark.parametrize("options", [{}, {"use_rslora": True}, {"target_modules": ["q_proj"]}])
@pytest.mark.parametrize("family", ["llama", "gemma3"])
def test_llama_cpp_and_peft_agree(
    family_folder: Callable[[str], Path], family: str, options: dict[str, Any], tmp_path: Path
) -> None:
    base = family_folder(family)
    make_adapter(base, tmp_path / "peft", **options)
    write_adapter(tmp_path / "peft", AutoConfig.from_pretrained(base), tmp_path / "adapter.gguf")
    plain = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    prompt = [(5 * i * i + 9) % 250 + 20 for i in range(40)]
    before = torch_next(plain, prompt)
    tuned = PeftModel.from_pretrained(plain, tmp_path / "peft").eval()
    engine = LlamaCppLogprobs(base / "model.gguf", tmp_path / "adapter.gguf")
    letter = json.loads((base / "tokenizer.json").read_text())["model"]["vocab"]["x"]
    found = engine.next(prompt, letter)
    assert largest_difference(torch_next(tuned, prompt), found) < TOLERANCE[family]
    assert largest_difference(before, found) > 0.1  # the adapter does something


def test_other_kinds_of_adapters_are_refused(
    family_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    base = family_folder("llama")
    make_adapter(base, tmp_path / "peft", use_dora=True)
    with pytest.raises(FormatError, match="only plain LoRA"):
        write_adapter(tmp_path / "peft", AutoConfig.from_pretrained(base), tmp_path / "a.gguf")
    assert not (tmp_path / "a.gguf").exists()
