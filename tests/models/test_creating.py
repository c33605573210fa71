from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from kajiya.core.errors import ConfigError
from kajiya.core.workspace import Workspace
from kajiya.models.architectures import register
from kajiya.models.creating import create_model, main, model_config
from kajiya.store.artifacts import ArtifactStore
from kajiya.tokenizer.chat import ChatTokenizer
from support.corpora import make_tokenizer


@pytest.fixture(scope="module")
def tokenizer_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer")
    make_tokenizer(folder)
    return folder


@pytest.fixture
def tokenizer(tokenizer_folder: Path) -> ChatTokenizer:
    return ChatTokenizer.load(tokenizer_folder)


@pytest.mark.parametrize("size", ["4M", "2x128", "3x64"])
def test_a_llama_of_equal_size(tokenizer_folder: Path, tmp_path: Path, size: str) -> None:
    rwkv = create_model("rwkv7", size, tokenizer_folder, tmp_path / "rwkv")
    llama = create_model("llama", size, tokenizer_folder, tmp_path / "llama")
    assert llama == pytest.approx(rwkv, rel=0.02)


def test_the_sizes_and_the_tokens(tokenizer: ChatTokenizer) -> None:
    config = model_config("rwkv7", "25M", tokenizer)
    assert (config.num_hidden_layers, config.hidden_size) == (12, 384)
    assert config.vocab_size % 64 == 0
    assert config.vocab_size >= tokenizer.vocab_size
    assert config.eos_token_id == tokenizer.eos_id
    own = model_config("llama", "5x192", tokenizer)
    assert (own.num_hidden_layers, own.hidden_size, own.num_attention_heads) == (5, 192, 3)


@pytest.mark.parametrize("arch", ["rwkv7", "llama"])
def test_a_folder_that_loads_and_the_seed(
    tokenizer_folder: Path, tmp_path: Path, arch: str
) -> None:
    register()
    heads = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        create_model(arch, "2x64", tokenizer_folder, tmp_path / name, seed)  # type: ignore[arg-type]
        model = AutoModelForCausalLM.from_pretrained(tmp_path / name)
        heads.append(model.get_output_embeddings().weight)
    assert torch.equal(heads[0], heads[1])
    assert not torch.equal(heads[0], heads[2])
    ChatTokenizer.load(tmp_path / "a")


@pytest.mark.parametrize(("arch", "size"), [("rwkv7", "7M"), ("rwkv7", "2x"), ("gru", "4M")])
def test_what_is_not_known_is_refused(tokenizer: ChatTokenizer, arch: str, size: str) -> None:
    with pytest.raises(ConfigError, match=r"no size|no architecture"):
        model_config(arch, size, tokenizer)  # type: ignore[arg-type]


def test_as_a_program(
    tokenizer_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("KAJIYA_HOME", str(tmp_path))
    assert main(["rwkv7", "2x64", str(tokenizer_folder), "small", "0"]) == 0
    assert capsys.readouterr().out.strip().splitlines()[-1] == "small:1"
    artifact = ArtifactStore(Workspace(tmp_path)).get("small", "model")
    assert artifact.manifest.config["model_type"] == "rwkv7"
    assert artifact.manifest.details["parameters"] > 0
    assert main(["rwkv7", "7M", str(tokenizer_folder), "small", "0"]) == 1
    error = json.loads(capsys.readouterr().err.strip().splitlines()[-1])
    assert error["code"] == "config"
