"""New models with random weights, to be pretrained: RWKV-7, or a Llama-style model of equal size.

Run as a program (`python -m kajiya.models.creating ARCH SIZE TOKENIZER NAME SEED [PARENT]`) so that
callers need not import torch. TOKENIZER is a folder with `tokenizer.json`, PARENT the reference of the
tokenizer that it is, if it is one of the workspace.
"""

from __future__ import annotations

import math
import re
import shutil
import sys
from pathlib import Path
from typing import Any, Literal, cast, get_args

from kajiya.core.errors import ConfigError
from kajiya.core.language import tr
from kajiya.core.workspace import Workspace
from kajiya.models.child import report
from kajiya.models.converting import TOKENIZER_FILES
from kajiya.store.artifacts import Artifact, ArtifactStore
from kajiya.tokenizer.chat import ChatTokenizer

Architecture = Literal["rwkv7", "llama"]
_OWN_SIZE = re.compile(r"([1-9][0-9]{0,2})x([1-9][0-9]{0,4})")
_MULTIPLE = 64  # of the vocabulary, for the speed of the output matrix
_LLAMA_POSITIONS = 8192


def model_config(arch: Architecture, size: str, tokenizer: ChatTokenizer) -> Any:
    """The `transformers` configuration of a new model for this tokenizer.

    `size` is a preset of RWKV-7 (`4M`, `25M`, `0.1B`…) or `LAYERSxWIDTH`. A Llama of the same size has
    the same layers and width, and an inner width that makes the numbers of parameters equal to about
    1 %. Raises `ConfigError` for another size or architecture.
    """
    from kajiya.models.rwkv7.config import Rwkv7Config, preset

    if arch not in get_args(Architecture):
        known = ", ".join(get_args(Architecture))
        raise ConfigError(
            tr(f"there is no architecture {arch!r}", f"{arch!r} という構造はありません"),
            where="arch",
            fix=tr(f"choose one of {known}", f"次から選んでください: {known}"),
        )
    end = tokenizer.eos_id
    bos = end if tokenizer.bos_id is None else tokenizer.bos_id
    ids = {
        "bos_token_id": bos,
        "eos_token_id": end,
        "pad_token_id": end if tokenizer.pad_id is None else tokenizer.pad_id,
    }
    vocabulary = math.ceil(tokenizer.vocab_size / _MULTIPLE) * _MULTIPLE
    if own := _OWN_SIZE.fullmatch(size):
        layers, width = int(own[1]), int(own[2])
        config = Rwkv7Config(
            vocab_size=vocabulary, num_hidden_layers=layers, hidden_size=width, **ids
        )
    else:
        config = preset(size, vocabulary, **ids)
    return config if arch == "rwkv7" else _llama_like(config, ids)


def _llama_like(config: Any, ids: dict[str, Any]) -> Any:
    from transformers import LlamaConfig

    width = config.hidden_size
    # RWKV-7 has 8·C² in the channel mix and the low-rank pairs; Llama 3·C·inner.
    ranks = config.decay_rank + config.rate_rank + config.value_rank + config.gate_rank
    inner = round((8 * width + 2 * ranks) / 3 / 8) * 8
    return LlamaConfig(
        vocab_size=config.vocab_size,
        hidden_size=width,
        intermediate_size=inner,
        num_hidden_layers=config.num_hidden_layers,
        num_attention_heads=config.num_heads,
        num_key_value_heads=config.num_heads,
        max_position_embeddings=_LLAMA_POSITIONS,
        tie_word_embeddings=False,
        **ids,
    )


def create_model(
    arch: Architecture, size: str, tokenizer: Path, folder: Path, seed: int = 0
) -> int:
    """Write a new model, in bf16, with the tokenizer of the folder `tokenizer` into `folder`.

    Returns its number of parameters. Raises what `model_config` and `ChatTokenizer.load` raise.
    """
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    from kajiya.models.architectures import register

    logging.disable_progress_bar()
    register()
    config = model_config(arch, size, ChatTokenizer.load(tokenizer))
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    parameters: int = model.num_parameters()
    folder.mkdir(parents=True, exist_ok=True)
    model.to(torch.bfloat16).save_pretrained(folder)
    for name in TOKENIZER_FILES:
        if (tokenizer / name).is_file():
            shutil.copyfile(tokenizer / name, folder / name)
    return parameters


def register_new(
    arch: Architecture,
    size: str,
    tokenizer: Path,
    name: str,
    workspace: Workspace,
    seed: int = 0,
    parent: str | None = None,
) -> Artifact:
    """`create_model` as the next version of model `name` in the workspace.

    `parent` is the reference of the tokenizer in the workspace that it is made with, if it is one.
    """
    recipe = {"arch": arch, "size": size, "seed": seed}
    description = tr(
        f"new {arch} model of size {size}, not trained yet",
        f"新しい {arch} モデル ({size})、未学習",
    )
    store = ArtifactStore(workspace)
    parents = [store.get(parent, "tokenizer").as_parent("tokenizer")] if parent else []
    with store.draft(
        "model", name, parents=parents, config=recipe, description=description
    ) as draft:
        parameters = create_model(arch, size, tokenizer, draft.folder, seed)
        vocab_size = ChatTokenizer.load(draft.folder).vocab_size
        draft.config |= {"source": "created", "model_type": arch}
        draft.details = {
            "parameters": parameters,
            "context_length": _LLAMA_POSITIONS if arch == "llama" else None,
            "vocab_size": vocab_size,
        }
    return draft.artifact


def main(arguments: list[str]) -> int:
    """Create as the arguments say; prints the new reference."""
    arch, size, tokenizer, name, seed, *parents = arguments

    def work() -> str:
        kind = cast(Architecture, arch)
        folder = Path(tokenizer)
        parent = parents[0] if parents else None
        made = register_new(kind, size, folder, name, Workspace.current(), int(seed), parent)
        return made.reference

    return report(work)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
