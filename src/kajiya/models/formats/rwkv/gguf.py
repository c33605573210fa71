"""Writes RWKV-7 as GGUF for llama.cpp (architecture `rwkv7`).

llama.cpp keeps the low-rank pairs as it keeps any matrix, [out, in], so they are turned over; the six
interpolations are one tensor; layer 0 carries a value pair that is never used. It has no place for a
tuned initial state.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from kajiya.core.errors import FormatError
from kajiya.core.files import replacing
from kajiya.core.language import tr
from kajiya.models.formats.gguf_tokenizer import CONTROL, tokenizer_metadata
from kajiya.models.formats.gguf_writer import Precision, add_metadata, close_writer, stored_type
from kajiya.models.formats.rwkv.checkpoint import Checkpoint, read_folder
from kajiya.models.formats.rwkv.layout import RWKV7
from kajiya.tokenizer.greedy import greedy_vocabulary
from kajiya.tokenizer.world import TURN_END, world_vocabulary

ARCHITECTURE = "rwkv7"
_CONTEXT = 1 << 20  # tokens; llama.cpp asks for a limit, and there is none
_GROUP_NORM_EPS = 64e-5  # fixed in llama.cpp
_NORMAL, _UNUSED = 1, 5
_TOP = {
    "emb": "token_embd",
    "blocks.0.ln0": "token_embd_norm",
    "ln_out": "output_norm",
    "head": "output",
}
_NORMS = {"ln1": "attn_norm", "ln2": "attn_norm_2", "att.ln_x": "time_mix_ln"}
_INTERPOLATIONS = tuple(f"att.x_{letter}" for letter in "rwkvag")  # in llama.cpp's order
_LOW_RANK = tuple(f"att.{letter}{number}" for letter in "wavg" for number in "12")


def gguf_name(name: str) -> str:
    """The GGUF tensor of an official name; interpolations of the time mix have none of their own."""
    stem, _, part = name.rpartition(".")
    if part not in ("weight", "bias"):
        stem, part = name, "weight"
    if stem in _TOP:
        return f"{_TOP[stem]}.{part}"
    _, layer, rest = stem.split(".", 2)
    renamed = _NORMS.get(rest) or rest.replace("att.", "time_mix_").replace("ffn.", "channel_mix_")
    return f"blk.{layer}.{renamed.replace('_x_k', '_lerp_k')}.{part}"


def matrix_names(layers: int) -> dict[str, str]:
    """Our parameter name → GGUF name of every matrix of the blocks that an adapter may change."""
    names = (*RWKV7.square, "ffn.key.weight", "ffn.value.weight")
    official = [f"blocks.{layer}.{name}" for layer in range(layers) for name in names]
    return {f"model.{name}": gguf_name(name) for name in official}


def write_gguf(folder: Path, target: Path, precision: Precision, name: str) -> None:
    """Write the RWKV-7 model in `folder` as one GGUF file.

    The large matrices are stored in `precision`; vectors and low-rank pairs, which are small and which
    the state depends on, in 32 bits. Raises `FormatError` for what llama.cpp cannot run.
    """
    import gguf

    checkpoint = read_folder(folder)
    _check_expressible(checkpoint, folder)
    kind = stored_type(precision)
    with replacing(target) as scratch:
        writer = gguf.GGUFWriter(scratch, ARCHITECTURE, use_temp_file=False)
        writer.add_type(gguf.GGUFType.MODEL)
        writer.add_name(name or folder.name)
        add_metadata(writer, _sizes(checkpoint))
        add_metadata(writer, _tokenizer(folder, checkpoint.options["vocab_size"]))
        template = folder / "chat_template.jinja"
        if template.exists():
            writer.add_chat_template(template.read_text(encoding="utf-8"))
        for tensor_name, array, large in _tensors(checkpoint):
            stored = kind if large else gguf.GGMLQuantizationType.F32
            writer.add_tensor(tensor_name, gguf.quants.quantize(array, stored), raw_dtype=stored)
        close_writer(writer)


def _check_expressible(checkpoint: Checkpoint, folder: Path) -> None:
    eps = checkpoint.options.get("group_norm_eps", _GROUP_NORM_EPS)
    if checkpoint.layout.model_type != ARCHITECTURE:
        problem = tr("GGUF is written for RWKV-7 only", "GGUF に書き出せるのは RWKV-7 だけです")
    elif not math.isclose(eps, _GROUP_NORM_EPS, rel_tol=1e-3):
        problem = tr(
            f"llama.cpp takes group_norm_eps for {_GROUP_NORM_EPS}, here it is {eps}",
            f"llama.cpp は group_norm_eps を {_GROUP_NORM_EPS} とみなしますが、このモデルは {eps} です",
        )
    else:
        return
    raise FormatError(problem, where=str(folder / "config.json"))


def _sizes(checkpoint: Checkpoint) -> dict[str, Any]:
    options = checkpoint.options
    sizes = {
        "context_length": _CONTEXT,
        "embedding_length": options["hidden_size"],
        "block_count": options["num_hidden_layers"],
        "feed_forward_length": options["intermediate_size"],
        "attention.head_count": 0,
        "attention.layer_norm_epsilon": float(options.get("norm_eps", 1e-5)),
        "wkv.head_size": options["head_size"],
        "attention.decay_lora_rank": options["decay_rank"],
        "attention.iclr_lora_rank": options["rate_rank"],
        "attention.value_residual_mix_lora_rank": options.get("value_rank", options["rate_rank"]),
        "attention.gate_lora_rank": options["gate_rank"],
        "token_shift_count": 2,
    }
    return {f"{ARCHITECTURE}.{key}": value for key, value in sizes.items()}


def _tensors(checkpoint: Checkpoint) -> Iterator[tuple[str, np.ndarray[Any, Any], bool]]:
    """(GGUF name, array in 32 bits, whether it is a large matrix) of every tensor."""
    weights = checkpoint.weights
    for layer in range(checkpoint.options["num_hidden_layers"]):
        rows = [weights[f"blocks.{layer}.{name}"].float() for name in _INTERPOLATIONS]
        fused = torch.stack([row.view(1, 1, -1) for row in rows])
        yield f"blk.{layer}.time_mix_lerp_fused.weight", fused.numpy(), False
    for name, tensor in weights.items():
        if name.endswith(_INTERPOLATIONS):
            continue
        array = tensor.float().numpy()
        low_rank = name.endswith(_LOW_RANK)
        if low_rank:
            array = np.ascontiguousarray(array.T)
        elif not name.endswith(".weight") or array.ndim == 1:
            array = array.reshape(-1)
        yield gguf_name(name), array, array.ndim == 2 and not low_rank
        if name.startswith(
            "blocks.0.att.a"
        ):  # llama.cpp asks for these, of this rank, and ignores them
            yield gguf_name(name.replace("att.a", "att.v")), np.zeros_like(array), False


def _tokenizer(folder: Path, vocab_size: int) -> dict[str, Any]:
    definition = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    vocabulary = greedy_vocabulary(definition)
    if vocabulary is None:
        return tokenizer_metadata(folder, vocab_size)
    tokens = [f"[PAD{index}]" for index in range(vocab_size)]
    kinds = [_UNUSED] * vocab_size
    for index, entry in vocabulary.items():
        tokens[index], kinds[index] = _escaped(entry), _NORMAL
    ends = [token for token in definition["added_tokens"] if token["special"]]
    for token in ends:
        tokens[token["id"]], kinds[token["id"]] = token["content"], CONTROL
    meta: dict[str, Any] = {
        "tokenizer.ggml.model": "rwkv",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": kinds,
        "tokenizer.ggml.bos_token_id": ends[0]["id"],
        "tokenizer.ggml.eos_token_id": ends[0]["id"],
    }
    if vocabulary == world_vocabulary():
        # As in the published files: an empty line ends a turn.
        turn_end = next(i for i, entry in vocabulary.items() if entry == TURN_END.encode())
        meta["tokenizer.ggml.eot_token_id"] = turn_end
    return meta


def _escaped(entry: bytes) -> str:
    """Bytes as llama.cpp reads them in a vocabulary of this kind: `\\xNN` for all but plain ASCII."""
    return "".join(
        chr(byte) if 0x20 <= byte < 0x7F and byte != ord("\\") else f"\\x{byte:02x}"
        for byte in entry
    )
