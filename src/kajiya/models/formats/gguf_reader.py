"""GGUF files into the ecosystem's layout: `config.json`, bf16 safetensors, tokenizer.

Weights are dequantised once, so that training works on plain bf16 tensors. Headers are checked
against the file's size before anything is read, so a truncated or hostile file is refused early.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kajiya.core.errors import FormatError, KajiyaError
from kajiya.core.language import tr
from kajiya.models.formats.families import Family, family_of_gguf
from kajiya.models.formats.gguf_header import check_header
from kajiya.models.formats.gguf_tokenizer import save_tokenizer

if TYPE_CHECKING:
    from gguf import GGUFReader
    from transformers import PretrainedConfig


def open_gguf(path: Path) -> GGUFReader:
    """Open a GGUF file, memory-mapped; `FormatError` if it is not one, or is cut short."""
    from gguf import GGUFReader

    try:
        check_header(path)
        reader = GGUFReader(path)
        size = path.stat().st_size
        for tensor in reader.tensors:
            if int(tensor.data_offset) + int(tensor.n_bytes) > size:
                raise ValueError(f"tensor {tensor.name} ends beyond the file")
    except (
        ValueError,
        IndexError,
        KeyError,
        TypeError,
        OverflowError,
    ) as error:
        raise FormatError(
            tr(
                f"this is not a complete GGUF file ({error})",
                f"GGUF ファイルとして読めません ({error})",
            ),
            where=str(path),
            fix=tr("download or copy the file again", "ファイルをもう一度取得してください"),
        ) from None
    return reader


def read_metadata(reader: GGUFReader) -> dict[str, Any]:
    """All metadata of a GGUF file as plain Python values."""
    return {key: field.contents() for key, field in reader.fields.items()}


def gguf_config(reader: GGUFReader, meta: dict[str, Any]) -> tuple[Family, PretrainedConfig]:
    """The family and `transformers` configuration that a GGUF file describes."""
    from transformers import AutoConfig

    architecture = str(meta.get("general.architecture", ""))
    family = family_of_gguf(architecture)
    prefix = f"{architecture}."
    names = {tensor.name: tensor for tensor in reader.tensors}
    own = {k.removeprefix(prefix): v for k, v in meta.items() if k.startswith(prefix)}
    own["tied"] = "output.weight" not in names
    if (factors := names.get("rope_freqs.weight")) is not None:
        own["rope_factors"] = np.asarray(factors.data, dtype=np.float32)
    try:
        own["vocab_size"] = len(meta["tokenizer.ggml.tokens"])
        # Each block has tensors: a count without them would build layers for ever.
        if own["block_count"] > len(names):
            raise ValueError(f"{own['block_count']} blocks, {len(names)} tensors")
        options = family.to_config(own)
        for role in ("bos", "eos"):
            options[f"{role}_token_id"] = meta.get(f"tokenizer.ggml.{role}_token_id")
        options["pad_token_id"] = meta.get(
            "tokenizer.ggml.padding_token_id", options["eos_token_id"]
        )
        return family, AutoConfig.for_model(family.model_type, **options, dtype="bfloat16")
    except KajiyaError:
        raise
    except KeyError as error:
        raise FormatError(
            tr("a required field is missing", "必要な項目がありません"),
            where=str(error.args[0]) if "tokenizer" in str(error) else f"{prefix}{error.args[0]}",
        ) from None
    except Exception as error:  # the library's checks raise errors of many kinds
        raise _unusable(error) from None


def _unusable(error: Exception) -> FormatError:
    reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
    return FormatError(
        tr(f"its fields make no model ({reason})", f"項目の内容が正しくありません ({reason})"),
        where="GGUF",
    )


def tensor_names(config: PretrainedConfig) -> dict[str, str]:
    """`transformers` parameter name → GGUF tensor name, for every parameter of the model."""
    import gguf
    import torch
    from transformers import AutoModelForCausalLM

    from kajiya.models.formats.families import family_of_config

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    architecture = family_of_config(config.model_type).architecture
    arch = next(a for a, name in gguf.MODEL_ARCH_NAMES.items() if name == architecture)
    table = gguf.get_tensor_name_map(arch, config.num_hidden_layers)
    names = {}
    for name in model.state_dict():
        if config.tie_word_embeddings and name == "lm_head.weight":
            continue
        mapped = table.get_name(name, try_suffixes=(".weight", ".bias"))
        if mapped is None:
            raise FormatError(
                tr("GGUF has no name for this", "GGUF に対応する名前がありません"), where=name
            )
        names[name] = mapped
    return names


def import_gguf(path: Path, folder: Path, default_chat_template: str | None = None) -> None:
    """Convert the GGUF file at `path` into `folder` (which must exist and be empty).

    The file's own chat template wins over `default_chat_template`. Raises `FormatError` when the
    family is not supported, a tensor is missing, or a shape is not what the configuration says.
    """
    import torch
    from gguf.quants import dequantize
    from safetensors.torch import save_file
    from transformers import AutoModelForCausalLM

    reader = open_gguf(path)
    meta = read_metadata(reader)
    family, config = gguf_config(reader, meta)
    try:
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config)
    except Exception as error:  # sizes that no model can have fail in many ways
        raise _unusable(error) from None
    shapes = {name: tensor.shape for name, tensor in model.state_dict().items()}
    stored = {tensor.name: tensor for tensor in reader.tensors}
    weights: dict[str, torch.Tensor] = {}
    for name, gguf_name in tensor_names(config).items():
        if gguf_name not in stored:
            raise FormatError(
                tr("the file lacks this tensor", "このテンソルがファイルにありません"),
                where=gguf_name,
            )
        tensor = stored[gguf_name]
        array = dequantize(tensor.data, tensor.tensor_type).astype(np.float32, copy=False)
        if array.size != shapes[name].numel():
            raise FormatError(
                tr(
                    f"{array.size} numbers where {tuple(shapes[name])} is expected",
                    f"{tuple(shapes[name])} のはずが {array.size} 個の数値です",
                ),
                where=gguf_name,
            )
        array = family.from_gguf(name, array.reshape(shapes[name]), config)
        weights[name] = torch.from_numpy(np.require(array, None, ["C", "W"])).to(torch.bfloat16)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    config.architectures = [AutoModelForCausalLM._model_mapping[type(config)].__name__]
    config.save_pretrained(folder)
    try:
        save_tokenizer(meta, folder, meta.get("tokenizer.chat_template") or default_chat_template)
    except KajiyaError:
        raise
    except Exception as error:  # the tokenizers library raises plain Exception
        raise _unusable(error) from None
