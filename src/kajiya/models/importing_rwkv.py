"""RWKV models into the workspace: official `.pth` files, and folders in either layout of the names.

Weights are checked before a folder is made for them. Most sources bring no tokenizer that the ecosystem
can read; those with 65,536 tokens are World models and are given that.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

from kajiya.core.errors import FormatError
from kajiya.core.language import tr
from kajiya.models.converting import TOKENIZER_FILES
from kajiya.models.formats.rwkv.checkpoint import Checkpoint, read_folder, write_folder
from kajiya.models.formats.rwkv.fla import is_fla, read_fla
from kajiya.models.formats.rwkv.layout import LAYOUTS
from kajiya.models.formats.rwkv.orientation import check_square_matrices
from kajiya.tokenizer.chat import ChatTokenizer
from kajiya.tokenizer.world import VOCAB_SIZE, write_world_tokenizer


def read_rwkv_folder(folder: Path) -> Checkpoint | None:
    """The RWKV model in a folder, checked; None if the folder is another family's. Raises `FormatError`."""
    if is_fla(folder):
        return read_fla(folder)
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        own = isinstance(config, dict) and str(config.get("model_type")) in LAYOUTS
    except (OSError, ValueError, RecursionError):
        own = False
    return read_folder(folder) if own else None


def add_rwkv(folder: Path, checkpoint: Checkpoint, source: Path) -> None:
    """Write the model and its tokenizer into `folder`; `source` is the file or folder that it came as.

    Raises `FormatError` if there is no tokenizer for it, or the matrices lie the wrong way round.
    """
    chat = _add_tokenizer(folder, checkpoint.options["vocab_size"], source)
    ids = {"bos": chat.bos_id, "eos": chat.eos_id, "pad": chat.pad_id}
    special = {f"{role}_token_id": index for role, index in ids.items() if index is not None}
    write_folder(replace(checkpoint, options={**checkpoint.options, **special}), folder)
    check_square_matrices(folder)


def _add_tokenizer(folder: Path, vocab_size: int, source: Path) -> ChatTokenizer:
    beside = source if source.is_dir() else source.parent
    theirs = [beside / name for name in TOKENIZER_FILES if (beside / name).is_file()]
    complete = {"tokenizer.json", "tokenizer_config.json"} <= {file.name for file in theirs}
    # What lies beside a .pth file may belong to another model; the size of World is no accident.
    if vocab_size == VOCAB_SIZE and not (complete and source.is_dir()):
        write_world_tokenizer(folder)
    elif complete:
        for file in theirs:
            shutil.copyfile(file, folder / file.name)
    else:
        raise FormatError(
            tr(
                f"a model of {vocab_size} tokens is no World model, and there is no tokenizer beside it",
                f"語彙が {vocab_size} 個のモデルは World ではなく、同じ場所にトークナイザもありません",
            ),
            where=str(beside),
            fix=tr(
                "put tokenizer.json and tokenizer_config.json into the same folder",
                "同じフォルダに tokenizer.json と tokenizer_config.json を置いてください",
            ),
        )
    return ChatTokenizer.load(folder)
