"""Square matrices that lie the wrong way round are found by what a trained model predicts."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM

from kajiya.core.errors import FormatError
from kajiya.core.workspace import Workspace
from kajiya.models.formats.rwkv.layout import RWKV6, RWKV7
from kajiya.models.formats.rwkv.orientation import TEXT, check_square_matrices
from kajiya.models.formats.rwkv.pth import write_pth
from kajiya.models.importing import import_model
from kajiya.store.artifacts import ArtifactStore
from support.rwkv_folders import make_rwkv


@pytest.fixture(scope="module", params=["rwkv7", "rwkv6"])
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model that knows the text, thanks to its square matrices: nothing else was trained."""
    folder = make_rwkv(tmp_path_factory.mktemp("trained"), request.param, num_hidden_layers=2)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    ids = torch.tensor([Tokenizer.from_file(str(folder / "tokenizer.json")).encode(TEXT).ids])
    squares = (RWKV7 if request.param == "rwkv7" else RWKV6).square
    chosen = [p for name, p in model.named_parameters() if name.endswith((*squares, "head.weight"))]
    optimiser = torch.optim.Adam(chosen, lr=3e-3)
    for _ in range(60):
        loss = model(input_ids=ids, labels=ids).loss
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss.item() < 1.0
    model.save_pretrained(folder)
    return folder


def turn(source: Path, target: Path, names: tuple[str, ...]) -> Path:
    """A copy of the model with these matrices transposed in the file."""
    shutil.copytree(source, target)
    tensors = load_file(target / "model.safetensors")
    for name, tensor in tensors.items():
        if name.endswith(names):
            tensors[name] = tensor.t().contiguous()
    save_file(tensors, target / "model.safetensors", metadata={"format": "pt"})
    return target


def test_the_right_way_round(trained: Path) -> None:
    check_square_matrices(trained)


@pytest.mark.parametrize("which", ["key", "value", "receptance", "output", "all"])
def test_the_wrong_way_round(trained: Path, tmp_path: Path, which: str) -> None:
    squares = RWKV7.square if '"rwkv7"' in (trained / "config.json").read_text() else RWKV6.square
    names = squares if which == "all" else (f"att.{which}.weight",)
    with pytest.raises(FormatError, match="wrong way round: a text costs") as caught:
        check_square_matrices(turn(trained, tmp_path / "turned", names))
    assert names[0] in caught.value.message


def test_an_import_is_refused_and_leaves_nothing(
    trained: Path, workspace: Workspace, tmp_path: Path
) -> None:
    folder = turn(trained, tmp_path / "turned", ("att.value.weight",))
    write_pth(folder, folder / "model.pth")
    for source in (folder, folder / "model.pth"):
        with pytest.raises(FormatError, match="wrong way round"):
            import_model(str(source), "turned", workspace)
    assert ArtifactStore(workspace).list() == []


def test_an_untrained_model_is_taken_as_it_is(rwkv_folder: Callable[[str], Path]) -> None:
    check_square_matrices(rwkv_folder("rwkv7"))
