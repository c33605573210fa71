"""Tells square matrices that lie the wrong way round, which no shape shows, by what the model predicts.

A trained model predicts a plain text far better with its matrices as they were trained. So if a text is
predicted well with one kind of matrix turned over, and badly without, the file has it transposed. What
this cannot tell: a single layer's matrix, and anything of a model that is not trained (with random
weights both ways are equally bad, and equally good to start from).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kajiya.core.errors import FormatError
from kajiya.core.language import tr
from kajiya.models.formats.rwkv.layout import LAYOUTS

if TYPE_CHECKING:
    from torch import Tensor, nn

TEXT = (
    "東京は日本の首都であり、世界でも有数の大きな都市です。春になると、多くの人が公園へ桜を見に行きます。"
    "Water boils at one hundred degrees and freezes at zero. The sun rises in the east and sets in the"
    " west, and after the night comes the morning again."
)
_MARGIN = 0.5  # nats a token by which the other way round has to be better
_LARGE = 2_000_000_000  # bytes of weights, from which they are not widened to 32 bits


def check_square_matrices(folder: Path) -> None:
    """Raise `FormatError` if the RWKV model in `folder` was saved with square matrices transposed.

    `folder` has configuration, weights and tokenizer. Takes a pass over 100 tokens, and a few more if
    the model predicts them badly.
    """
    import torch
    from tokenizers import Tokenizer
    from transformers import AutoConfig, AutoModelForCausalLM
    from transformers.utils import logging

    from kajiya.models.architectures import register

    register()
    config = AutoConfig.from_pretrained(folder)
    ids = torch.tensor([Tokenizer.from_file(str(folder / "tokenizer.json")).encode(TEXT).ids])
    if int(ids.max()) >= config.vocab_size:
        raise FormatError(
            tr(
                f"the tokenizer has more tokens than the model ({config.vocab_size})",
                f"トークナイザの語彙がモデル ({config.vocab_size}) より大きくなっています",
            ),
            where=str(folder / "tokenizer.json"),
        )
    logging.disable_progress_bar()
    large = sum(file.stat().st_size for file in folder.glob("*.safetensors")) > _LARGE
    model = AutoModelForCausalLM.from_pretrained(
        folder,
        dtype=torch.bfloat16 if large else torch.float32,
        use_safetensors=True,
        local_files_only=True,
    )
    found = _loss(model, ids)
    uniform = math.log(config.vocab_size)
    if found < uniform / 2:
        return
    names = LAYOUTS[config.model_type].square
    for turned in (*((name,) for name in names), names):
        with _transposed(model, turned):
            other = _loss(model, ids)
        if other < min(found, uniform) - _MARGIN:
            raise FormatError(
                tr(
                    f"{', '.join(turned)} lies the wrong way round: a text costs {found:.1f} nats a"
                    f" token as it is, {other:.1f} transposed",
                    f"{', '.join(turned)} が転置されています (1 トークンあたりの損失: "
                    f"このままで {found:.1f}、転置すると {other:.1f})",
                ),
                fix=tr("get the file from its makers again", "配布元から入手し直してください"),
            )


def _loss(model: Any, ids: Tensor) -> float:
    """Mean of −ln p over the tokens `[1, time]` after the first."""
    import torch
    from torch.nn import functional

    with torch.no_grad():
        logits = model(input_ids=ids, use_cache=False).logits[0, :-1].float()
    return float(functional.cross_entropy(logits, ids[0, 1:]))


@contextmanager
def _transposed(model: nn.Module, names: tuple[str, ...]) -> Iterator[None]:
    """The model with these matrices of every layer turned over, inside the block."""
    chosen = [p for name, p in model.named_parameters() if name.endswith(names)]
    try:
        for parameter in chosen:
            parameter.data = parameter.data.t()
        yield
    finally:
        for parameter in chosen:
            parameter.data = parameter.data.t()
