"""A saved adapter is read by PEFT as it was trained, and its bytes depend on nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from peft import PeftModel

from kajiya.training.adapters.lora import save_lora
from support.tiny_models import tiny_torch_model
from support.tuning import VOCABULARY, tuned_pair

IDS = torch.tensor([[9, 30, 12, 44, 51]])


def test_peft_reads_it(tmp_path: Path) -> None:
    fast, _ = tuned_pair("gemma3")
    save_lora(fast.eval(), tmp_path, "base:1")
    assert {path.name for path in tmp_path.iterdir()} == {
        "adapter_config.json",
        "adapter_model.safetensors",
    }
    loaded = PeftModel.from_pretrained(tiny_torch_model("gemma3", VOCABULARY), tmp_path).eval()
    torch.testing.assert_close(loaded(IDS).logits, fast(IDS).logits, rtol=1e-4, atol=1e-4)


def test_the_configuration_is_the_same_in_every_process(tmp_path: Path) -> None:
    fast, _ = tuned_pair("llama")
    save_lora(fast, tmp_path, "base:1")
    values = json.loads((tmp_path / "adapter_config.json").read_text())
    assert values["target_modules"] == sorted(values["target_modules"])
    assert len(values["target_modules"]) == 14  # seven in each of two layers
    assert values["base_model_name_or_path"] == "base:1"
    assert str(tmp_path) not in json.dumps(values)
