"""Writes GGUF: a whole model for llama.cpp, or a LoRA adapter to lay over one.

No K-quants: the `gguf` package cannot make them. A model that was imported from GGUF is served from
its own original file; this is for models that came as safetensors, and for merged ones.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from kajiya.core.errors import FormatError
from kajiya.core.files import replacing
from kajiya.core.language import tr
from kajiya.models.formats.families import Family, family_of_config, llama3_rope_factors
from kajiya.models.formats.gguf_reader import tensor_names
from kajiya.models.formats.gguf_tokenizer import tokenizer_metadata

if TYPE_CHECKING:
    import gguf
    from gguf import GGUFWriter
    from torch import Tensor
    from transformers import PretrainedConfig

Precision = Literal["f32", "f16", "bf16", "q8_0"]
_PEFT_PREFIX = "base_model.model."


def write_model(folder: Path, target: Path, precision: Precision = "q8_0", name: str = "") -> None:
    """Write the model in `folder` (config, safetensors, tokenizer) as one GGUF file.

    Matrices are stored in `precision`, vectors in 32 bits. Raises `FormatError` for a family or a
    tokenizer that GGUF cannot express.
    """
    import gguf
    import torch
    from transformers import AutoConfig

    from kajiya.models.formats.rwkv.gguf import write_gguf
    from kajiya.models.formats.rwkv.layout import LAYOUTS

    if _model_type(folder) in LAYOUTS:
        write_gguf(folder, target, precision, name)
        return
    config = AutoConfig.from_pretrained(folder)
    family = family_of_config(config.model_type)
    metadata = family.to_metadata(config)
    _check_expressible(config, family, metadata)
    kind = stored_type(precision)
    weights = load_weights(folder)
    with replacing(target) as scratch:
        writer = gguf.GGUFWriter(scratch, family.architecture, use_temp_file=False)
        writer.add_type(gguf.GGUFType.MODEL)
        writer.add_name(name or folder.name)
        add_metadata(
            writer, {f"{family.architecture}.{k}": v for k, v in family.to_metadata(config).items()}
        )
        add_metadata(writer, tokenizer_metadata(folder, config.vocab_size))
        template = folder / "chat_template.jinja"
        if template.exists():
            writer.add_chat_template(template.read_text(encoding="utf-8"))
        for tensor_name, gguf_name in tensor_names(config).items():
            if tensor_name not in weights:
                raise FormatError(
                    tr("the weights lack this tensor", "このテンソルが重みにありません"),
                    where=tensor_name,
                )
            tensor = weights[tensor_name].to(torch.float32).numpy()
            array = family.to_gguf(tensor_name, tensor, config)
            stored = kind if array.ndim == 2 else gguf.GGMLQuantizationType.F32
            writer.add_tensor(gguf_name, gguf.quants.quantize(array, stored), raw_dtype=stored)
        if (factors := _rope_factors(config)) is not None:
            writer.add_tensor("rope_freqs.weight", factors)
        close_writer(writer)


def stored_type(precision: Precision) -> gguf.GGMLQuantizationType:
    """The `gguf` package's name for a precision."""
    import gguf

    return gguf.GGMLQuantizationType[precision.upper()]


def _model_type(folder: Path) -> str:
    return str(json.loads((folder / "config.json").read_text(encoding="utf-8"))["model_type"])


def write_adapter(adapter: Path, config: PretrainedConfig, target: Path, name: str = "") -> None:
    """Write a PEFT LoRA folder (`adapter_config.json`, `adapter_model.safetensors`) as GGUF, in 32 bits.

    `config` is the base model's. Raises `FormatError` for anything but plain LoRA on linear layers.
    """
    import gguf
    from safetensors.numpy import load_file

    options = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))
    if (
        options.get("peft_type") != "LORA"
        or options.get("use_dora")
        or options.get("bias") != "none"
    ):
        raise FormatError(
            tr(
                "only plain LoRA can be written to GGUF",
                "GGUF に書き出せるのは通常の LoRA だけです",
            ),
            where=str(adapter / "adapter_config.json"),
        )
    alpha = float(options["lora_alpha"])
    if options.get("use_rslora"):  # llama.cpp scales by alpha / rank
        alpha *= float(options["r"]) ** 0.5
    architecture, names, family = _adapter_target(config)
    with replacing(target) as scratch:
        writer = gguf.GGUFWriter(scratch, architecture, use_temp_file=False)
        writer.add_type(gguf.GGUFType.ADAPTER)
        writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
        writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, alpha)
        writer.add_name(name or adapter.name)
        for key, array in sorted(load_file(adapter / "adapter_model.safetensors").items()):
            gguf_name, array = _adapter_tensor(key, array, names, family, config)
            writer.add_tensor(gguf_name, np.ascontiguousarray(array, dtype=np.float32))
        close_writer(writer)


def _adapter_target(config: PretrainedConfig) -> tuple[str, dict[str, str], Family | None]:
    """(architecture, parameter name → GGUF name, family that changes weights if any) of a base model."""
    from kajiya.models.formats.rwkv.gguf import ARCHITECTURE, matrix_names

    if config.model_type == ARCHITECTURE:
        return ARCHITECTURE, matrix_names(config.num_hidden_layers), None
    family = family_of_config(config.model_type)
    return family.architecture, tensor_names(config), family


def _adapter_tensor(
    key: str,
    array: np.ndarray[Any, Any],
    names: dict[str, str],
    family: Family | None,
    config: PretrainedConfig,
) -> tuple[str, np.ndarray[Any, Any]]:
    """`….q_proj.lora_B.weight` → (`blk.0.attn_q.weight.lora_b`, rows in llama.cpp's order)."""
    for part, suffix in ((".lora_A.weight", ".lora_a"), (".lora_B.weight", ".lora_b")):
        module = key.removeprefix(_PEFT_PREFIX).removesuffix(part)
        if key.endswith(part) and f"{module}.weight" in names:
            name = f"{module}.weight"
            if suffix == ".lora_b" and family is not None:
                array = family.to_gguf(name, array, config)
            return names[name] + suffix, array
    raise FormatError(
        tr(
            "this adapter tensor has no place in GGUF", "このアダプタのテンソルは GGUF に書けません"
        ),
        where=key,
    )


def load_weights(folder: Path) -> dict[str, Tensor]:
    """All tensors of a model folder's safetensors files (one or several, by index)."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    weights: dict[str, Tensor] = {}
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise FormatError(tr("no safetensors file", "safetensors がありません"), where=str(folder))
    for file in files:
        try:
            weights |= load_file(file)
        except SafetensorError as error:
            raise FormatError(
                tr(
                    f"not a complete safetensors file ({error})",
                    f"safetensors として読めません ({error})",
                ),
                where=str(file),
            ) from None
    return weights


def _check_expressible(config: PretrainedConfig, family: Family, metadata: dict[str, Any]) -> None:
    """Refuse a configuration that would be read back as another one, since llama.cpp would say nothing."""
    from transformers import AutoConfig

    own = metadata | {"vocab_size": config.vocab_size, "tied": config.tie_word_embeddings}
    if (factors := _rope_factors(config)) is not None:
        own["rope_factors"] = factors
    options = family.to_config(own)
    again = AutoConfig.for_model(family.model_type, **options)
    for name in options:
        wanted, read = getattr(config, name), getattr(again, name)
        if wanted is not None and not _alike(wanted, read):
            raise FormatError(
                tr(
                    f"GGUF cannot say that it is {wanted}; it would be taken for {read}",
                    f"{wanted} という設定は GGUF で表せません ({read} と解釈されます)",
                ),
                where=f"config.json: {name}",
            )


def _alike(wanted: Any, read: Any) -> bool:
    if isinstance(wanted, dict) and isinstance(read, dict):
        return all(_alike(wanted.get(key), value) for key, value in read.items())
    if isinstance(wanted, float) and isinstance(read, int | float):
        return math.isclose(wanted, read, rel_tol=1e-4)
    return bool(wanted == read)


def _rope_factors(config: PretrainedConfig) -> np.ndarray[Any, Any] | None:
    rope = config.rope_parameters
    if rope.get("rope_type") != "llama3":
        return None
    return llama3_rope_factors(rope, config.head_dim)


def add_metadata(writer: GGUFWriter, metadata: dict[str, Any]) -> None:
    """Add each key with the GGUF type that its value's Python type suggests."""
    for key, value in metadata.items():
        if isinstance(value, bool):
            writer.add_bool(key, value)
        elif isinstance(value, int):
            writer.add_uint32(key, value)
        elif isinstance(value, float):
            writer.add_float32(key, value)
        elif isinstance(value, str):
            writer.add_string(key, value)
        else:
            writer.add_array(key, value)


def close_writer(writer: GGUFWriter) -> None:
    """Write everything that was added, and close the file."""
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
