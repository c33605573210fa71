"""Tiny recurrent models in which every parameter has a say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from transformers import AutoConfig, AutoModelForCausalLM

from kajiya.core.workspace import Workspace
from kajiya.models.architectures import register
from kajiya.store.artifacts import Artifact, ArtifactStore
from kajiya.tokenizer.chat import default_template
from support.tiny_models import byte_level_tokenizer
from support.tuning import VOCABULARY

register()


def tiny_rwkv(family: str, vocab_size: int = VOCABULARY, seed: int = 0) -> Any:
    """Two layers, two heads of 16, in fp32, nothing in it trained; no matrix is left at zero."""
    torch.manual_seed(seed)
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "head_size": 16}
    config = AutoConfig.for_model(family, vocab_size=vocab_size, **shape)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            # RWKV-6 is only ever loaded, so it has no initialisation of its own.
            if family == "rwkv6" and ("ln" in name and name.endswith("weight")):
                parameter.fill_(1)
            elif family == "rwkv6":
                parameter.zero_()
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model.requires_grad_(False).eval()


def tiny_rwkv7(vocab_size: int = VOCABULARY, seed: int = 0) -> Any:
    """`tiny_rwkv` of version 7."""
    return tiny_rwkv("rwkv7", vocab_size, seed)


def register_rwkv(workspace: Workspace, name: str = "tiny-rwkv", seed: int = 0) -> Artifact:
    """A tiny RWKV-7 in the workspace as an import leaves it."""
    with ArtifactStore(workspace).draft("model", name) as draft:
        make_rwkv_folder(draft.folder, seed)
        draft.config["model_type"] = "rwkv7"
    return draft.artifact


def make_rwkv_folder(folder: Path, seed: int = 0) -> Path:
    """A model folder: configuration, bf16 weights, tokenizer, template."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer: Tokenizer = byte_level_tokenizer(folder)
    model = tiny_rwkv7(tokenizer.get_vocab_size(), seed)
    model.to(torch.bfloat16).save_pretrained(folder)
    (folder / "chat_template.jinja").write_text(default_template(tokenizer), "utf-8")
    return folder
