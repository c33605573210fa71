"""Rows for new tokens: the old logits stay to the bit, the new rows are means of old ones."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from kajiya.core.errors import FormatError
from kajiya.models.architectures import register
from kajiya.models.creating import Architecture
from kajiya.models.extending import extend_model
from kajiya.tokenizer.chat import ChatTokenizer
from kajiya.tokenizer.extend import extend_bpe, old_pieces
from kajiya.tokenizer.train import train_tokenizer, write_settings
from support.corpora import documents, make_model, make_tokenizer
from support.japanese import japanese_texts


def load(folder: Path) -> torch.nn.Module:
    register()
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    model.eval()
    return model  # type: ignore[no-any-return]


@pytest.mark.parametrize("arch", ["llama", "rwkv7"])
@pytest.mark.parametrize("count", [150, 3])
def test_old_logits_stay(tmp_path: Path, arch: Architecture, count: int) -> None:
    old = make_tokenizer(tmp_path / "old")
    base = make_model(arch, tmp_path / "old", tmp_path / "base")
    found = extend_bpe(old.tokenizer, japanese_texts(), count)
    new_folder = tmp_path / "new"
    new_folder.mkdir()
    found.tokenizer.save(str(new_folder / "tokenizer.json"))
    write_settings(new_folder)
    parameters = extend_model(base, new_folder, tmp_path / "extended")

    before, after = load(base), load(tmp_path / "extended")
    assert parameters == sum(p.numel() for p in after.parameters())
    ids = torch.tensor([old.encode(documents()[8].text)])
    size = old.vocab_size
    with torch.no_grad():
        logits = after(ids).logits[..., :size]
        assert torch.equal(logits, before(ids).logits[..., :size])
    new = ChatTokenizer.load(tmp_path / "extended")
    assert new.vocab_size == size + found.added
    for layer in ("get_input_embeddings", "get_output_embeddings"):
        rows = getattr(before, layer)().weight
        grown = getattr(after, layer)().weight
        assert grown.shape[0] % 64 == 0 and grown.shape[0] >= new.vocab_size
        for index, parts in old_pieces(old.tokenizer, found.tokenizer).items():
            assert torch.allclose(grown[index], rows[parts].mean(0), atol=1e-2)
            assert (grown[index] - rows[parts].mean(0)).abs().max() < 0.01 * rows.std()


def test_another_models_tokenizer_is_refused(tmp_path: Path) -> None:
    make_tokenizer(tmp_path / "old")
    base = make_model("llama", tmp_path / "old", tmp_path / "base")
    train_tokenizer(japanese_texts(), 500, tmp_path / "other")
    with pytest.raises(FormatError):
        extend_model(base, tmp_path / "other", tmp_path / "extended")
    assert not (tmp_path / "extended").exists()
