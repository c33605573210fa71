"""Random models of every family, small enough to compare with llama.cpp in seconds.

Weights are large for random ones, so that attention, norms and soft caps all move the logits, and
they are bf16 numbers, so that no conversion has to round.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, normalizers, pre_tokenizers
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.utils import logging

from kajiya.core.workspace import Workspace
from kajiya.models.formats.gguf_writer import write_model
from kajiya.models.resolve import GGUF_FILE
from kajiya.store.artifacts import Artifact, ArtifactStore

logging.disable_progress_bar()

FAMILIES = ("llama", "llama3-rope", "gemma", "gemma2", "gemma3")
TEXTS = (
    "本社の始業時刻は何時何分ですか。午前8時45分です。",
    "昼休みは12時20分に始まり、長さは55分間です。",
    "The quick brown fox jumps over the lazy dog.\n\nuser model",
)
_HEAD = 16
_ROPE = {"rope_type": "default", "rope_theta": 10000.0}
_LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}
_GEMMA3_ROPE = {
    "full_attention": {"rope_type": "default", "rope_theta": 1000000.0},
    "sliding_attention": {"rope_type": "default", "rope_theta": 20000.0},
}
_OWN: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", {"rope_parameters": _ROPE, "tie_word_embeddings": False}),
    "llama3-rope": ("llama", {"rope_parameters": _LLAMA3, "tie_word_embeddings": True}),
    "gemma": ("gemma", {"rope_parameters": _ROPE}),
    "gemma2": (
        "gemma2",
        {
            "rope_parameters": _ROPE,
            "sliding_window": 8,
            "query_pre_attn_scalar": _HEAD,
            "attn_logit_softcapping": 5.0,
            "final_logit_softcapping": 8.0,
        },
    ),
    "gemma3": (
        "gemma3_text",
        {
            "rope_parameters": _GEMMA3_ROPE,
            "sliding_window": 8,
            "query_pre_attn_scalar": _HEAD,
            "num_hidden_layers": 6,
        },
    ),
}


def tiny_config(family: str, vocab_size: int) -> Any:
    """The configuration of a tiny model: 2 layers (6 for gemma3), 64 wide, grouped heads."""
    model_type, own = _OWN[family]
    return AutoConfig.for_model(
        model_type,
        **{
            "vocab_size": vocab_size,
            "hidden_size": 64,
            "intermediate_size": 96,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": _HEAD,
            "max_position_embeddings": 256,
            "bos_token_id": 1,
            "eos_token_id": 2,
            "pad_token_id": 0,
            **own,
        },
    )


def tiny_torch_model(family: str, vocab_size: int = 320, seed: int = 0) -> Any:
    """A random model in fp32 whose weights are bf16 numbers; nothing in it is trained."""
    torch.manual_seed(seed)
    config = tiny_config(family, vocab_size)
    config._attn_implementation = "eager"
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            offset = 1.0 if family.startswith("llama") and name.endswith("norm.weight") else 0.0
            scale = 0.2 if name.endswith("norm.weight") else 0.15
            parameter.copy_((torch.randn_like(parameter) * scale + offset).bfloat16())
    return model.requires_grad_(False).eval()


def byte_level_tokenizer(folder: Path) -> Tokenizer:
    """Llama-style, with the pre-tokenizer that llama.cpp calls "default"."""
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = BpeTrainer(
        vocab_size=320,
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    _save(tokenizer, folder, "<|im_start|>", "<|im_end|>", "<|endoftext|>", adds_bos=False)
    return tokenizer


def sentencepiece_tokenizer(folder: Path) -> Tokenizer:
    """Gemma-style: pieces with byte fallback, merged by rank."""
    specials = ["<pad>", "<bos>", "<eos>", "<unk>", "<start_of_turn>", "<end_of_turn>"]
    pieces = [*specials, *(f"<0x{byte:02X}>" for byte in range(256)), "▁"]
    pieces += sorted(
        {c for text in TEXTS for c in text.replace(" ", "▁").replace("\n", "")} - {"▁"}
    )
    merges = [("t", "h"), ("th", "e"), ("▁", "the"), ("時", "刻"), ("始", "業"), ("始業", "時刻")]
    merges += [("で", "す"), ("です", "か"), ("o", "x"), ("f", "ox"), ("▁", "fox")]
    pieces += [left + right for left, right in merges]
    tokenizer = Tokenizer(
        BPE(
            vocab={piece: index for index, piece in enumerate(dict.fromkeys(pieces))},
            merges=merges,
            unk_token="<unk>",
            byte_fallback=True,
            fuse_unk=True,
        )
    )
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    controls = [piece for piece in specials if piece != "<unk>"]
    tokenizer.add_special_tokens([AddedToken(t, normalized=False) for t in controls])
    _save(tokenizer, folder, "<bos>", "<eos>", "<pad>", adds_bos=True, unk_token="<unk>")
    return tokenizer


def _save(
    tokenizer: Tokenizer, folder: Path, bos: str, eos: str, pad: str, *, adds_bos: bool, **more: Any
) -> None:
    if adds_bos:
        from tokenizers.processors import TemplateProcessing

        tokenizer.post_processor = TemplateProcessing(
            single=f"{bos} $A",
            pair=f"{bos} $A {bos} $B",
            special_tokens=[(bos, tokenizer.token_to_id(bos))],
        )
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "bos_token": bos,
        "eos_token": eos,
        "pad_token": pad,
        "add_bos_token": adds_bos,
        **more,
    }
    config |= {"tokenizer_class": "PreTrainedTokenizerFast"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")


def make_folder(folder: Path, family: str = "llama", seed: int = 0) -> Path:
    """A model folder in the ecosystem's layout: configuration, bf16 weights, tokenizer."""
    folder.mkdir(parents=True, exist_ok=True)
    make_tokenizer = byte_level_tokenizer if family.startswith("llama") else sentencepiece_tokenizer
    tokenizer = make_tokenizer(folder)
    model = tiny_torch_model(family, tokenizer.get_vocab_size(), seed)
    model.to(torch.bfloat16).save_pretrained(folder)
    return folder


def register_base(workspace: Workspace, name: str = "tiny-base", family: str = "llama") -> Artifact:
    """A tiny base model in the workspace as an import leaves it: both formats, a licence text."""
    from kajiya.store.manifest import Licence
    from kajiya.tokenizer.chat import default_template

    terms = Licence(name="Apache-2.0", source="tiny", text_file="LICENSE")
    with ArtifactStore(workspace).draft("model", name, licence=[terms]) as draft:
        make_folder(draft.folder, family)
        tokenizer = Tokenizer.from_file(str(draft.folder / "tokenizer.json"))
        (draft.folder / "chat_template.jinja").write_text(default_template(tokenizer), "utf-8")
        (draft.folder / "LICENSE").write_text("terms of the tiny base\n", "utf-8")
        write_model(draft.folder, draft.folder / GGUF_FILE, "f32", name)
        draft.config["source"] = "tiny"
        draft.details["context_length"] = 256
    return draft.artifact
