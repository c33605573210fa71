"""The part of an export that needs torch: a base, merged with an adapter if there is one, as files.

Run as a program (`python -m kajiya.models.converting BASE ADAPTER FORMAT TARGET NAME`); an empty
ADAPTER merges nothing. `exporting` decides what is wanted and where it goes.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Literal, cast

from kajiya.models.architectures import register
from kajiya.models.child import report
from kajiya.models.formats.gguf_writer import Precision, write_model
from kajiya.models.formats.rwkv.pth import write_pth

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "chat_template.jinja",
)


def merge(base: Path, adapter: Path, target: Path, dtype: Literal["float32", "bfloat16"]) -> None:
    """Write the model folder `base` with a LoRA added to its weights into the folder `target`.

    The sum is taken in 32 bits, so it is rounded once, to `dtype`.
    """
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    register()
    model = AutoModelForCausalLM.from_pretrained(
        base, dtype=torch.float32, use_safetensors=True, local_files_only=True
    )
    merged = PeftModel.from_pretrained(model, adapter).merge_and_unload(safe_merge=True)
    merged.to(getattr(torch, dtype)).save_pretrained(target)
    for name in TOKENIZER_FILES:
        if (base / name).is_file():
            shutil.copyfile(base / name, target / name)


def convert(base: Path, adapter: Path | None, form: str, target: Path, name: str) -> None:
    """Write `base` (with `adapter`) as `form`: `safetensors` (a folder), `pth`, or GGUF of a precision."""
    if form == "safetensors":
        if adapter is None:
            raise ValueError("a model folder that is not merged is copied, not converted")
        merge(base, adapter, target, "bfloat16")
        return
    if adapter is None:
        _write_file(base, form, target, name)
        return
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".merging.") as scratch:
        merge(base, adapter, Path(scratch), "bfloat16" if form == "pth" else "float32")
        _write_file(Path(scratch), form, target, name)


def _write_file(folder: Path, form: str, target: Path, name: str) -> None:
    if form == "pth":
        write_pth(folder, target)
    else:
        write_model(folder, target, cast(Precision, form), name)


def main(arguments: list[str]) -> int:
    """Convert as the arguments say; prints the target."""
    base, adapter, form, target, name = arguments

    def work() -> str:
        convert(Path(base), Path(adapter) if adapter else None, form, Path(target), name)
        return target

    return report(work)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
