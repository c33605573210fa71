"""RWKV-7 in llama.cpp: the same predictions, the same tokens, the same turns."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from gguf import GGUFReader
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoConfig, AutoModelForCausalLM

from kajiya.core.errors import FormatError
from kajiya.models.formats.gguf_writer import write_adapter, write_model
from kajiya.tokenizer.chat import ChatTokenizer, Message
from kajiya.tokenizer.greedy import greedy_tokenizer
from kajiya.tokenizer.world import VOCAB_SIZE, write_world_tokenizer
from support.llama_logprobs import LlamaCppLogprobs, largest_difference, torch_next
from support.rwkv_folders import make_rwkv, tiny_rwkv
from support.tuning import randomise

FolderOf = Callable[[str], Path]
PROMPT = [(7 * i * i + 3) % 300 + 5 for i in range(80)]
LETTER = 90
TEXT = "吾輩は猫である。名前はまだ無い。\n\nどこで生れたか\tとんと見当がつかぬ。\\x41 'it\"s' 🧿 ﷽ \r\n"


def in_torch(folder: Path) -> AutoModelForCausalLM:
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)


@pytest.mark.parametrize(
    ("precision", "tolerance"), [("f32", 1e-4), ("f16", 1e-2), ("bf16", 5e-2), ("q8_0", 0.3)]
)
def test_predictions(
    rwkv_folder: FolderOf, tmp_path: Path, precision: str, tolerance: float
) -> None:
    folder = rwkv_folder("rwkv7")
    write_model(folder, tmp_path / "m.gguf", precision)  # type: ignore[arg-type]
    model, engine = in_torch(folder), LlamaCppLogprobs(tmp_path / "m.gguf")
    for length in (1, 2, 33, 80):
        prompt = PROMPT[:length]
        found = engine.next(prompt, LETTER)
        assert largest_difference(torch_next(model, prompt), found) < tolerance


def test_ranks_in_which_the_value_pair_is_the_largest(tmp_path: Path) -> None:
    folder = make_rwkv(tmp_path / "model", value_rank=96, rate_rank=8, num_hidden_layers=2)
    write_model(folder, tmp_path / "m.gguf", "f32")
    found = LlamaCppLogprobs(tmp_path / "m.gguf").next(PROMPT, LETTER)
    assert largest_difference(torch_next(in_torch(folder), PROMPT), found) < 1e-4


def test_likelihood_of_a_text(rwkv_folder: FolderOf, tmp_path: Path) -> None:
    """Token by token from llama.cpp's own state, F16."""
    folder = rwkv_folder("rwkv7")
    write_model(folder, tmp_path / "m.gguf", "f16")
    ids = ChatTokenizer.load(folder).encode("始業時刻は何時ですか。the quick brown fox 123 " * 4)
    theirs = LlamaCppLogprobs(tmp_path / "m.gguf", context=len(ids) + 8).loglikelihood(ids)
    with torch.no_grad():
        logits = in_torch(folder)(torch.tensor([ids])).logits[0, :-1]
    ours = torch.log_softmax(logits, -1).gather(1, torch.tensor(ids[1:])[:, None])[:, 0].tolist()
    both = [(a, b) for a, b in zip(ours, theirs, strict=True) if b is not None]
    assert len(both) > 60
    assert math.exp(abs(sum(a - b for a, b in both)) / len(both)) < 1.001


def test_the_names_and_sizes_that_llama_cpp_expects(rwkv_folder: FolderOf, tmp_path: Path) -> None:
    write_model(rwkv_folder("rwkv7"), tmp_path / "m.gguf", "q8_0", "goose")
    reader = GGUFReader(tmp_path / "m.gguf")
    fields = {name: field.contents() for name, field in reader.fields.items()}
    assert fields["general.architecture"] == "rwkv7" and fields["general.name"] == "goose"
    assert fields["rwkv7.attention.value_residual_mix_lora_rank"] == 16
    assert fields["rwkv7.wkv.head_size"] == 64
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    assert list(tensors["blk.1.time_mix_lerp_fused.weight"].shape) == [128, 1, 1, 6]
    assert tensors["blk.1.time_mix_key.weight"].tensor_type.name == "Q8_0"
    assert tensors["blk.1.time_mix_w1.weight"].tensor_type.name == "F32"
    assert {"blk.0.time_mix_v0.weight", "blk.2.channel_mix_lerp_k.weight"} <= tensors.keys()


def test_an_adapter(rwkv_folder: FolderOf, tmp_path: Path) -> None:
    folder = rwkv_folder("rwkv7")
    write_model(folder, tmp_path / "m.gguf", "f32")
    options = LoraConfig(r=4, lora_alpha=6, target_modules="all-linear", task_type="CAUSAL_LM")
    tuned = get_peft_model(in_torch(folder), options)
    randomise(tuned)
    tuned.save_pretrained(tmp_path / "peft")
    write_adapter(tmp_path / "peft", AutoConfig.from_pretrained(folder), tmp_path / "a.gguf")
    found = LlamaCppLogprobs(tmp_path / "m.gguf", tmp_path / "a.gguf").next(PROMPT, LETTER)
    plain = in_torch(folder)
    before = torch_next(plain, PROMPT)
    ours = PeftModel.from_pretrained(plain, tmp_path / "peft").eval()
    assert largest_difference(torch_next(ours, PROMPT), found) < 1e-3
    assert largest_difference(before, found) > 0.1  # the adapter does something


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny World model's folder with `m.gguf` in it."""
    folder = tmp_path_factory.mktemp("world")
    write_world_tokenizer(folder)
    tiny_rwkv("rwkv7", VOCAB_SIZE, hidden_size=64, num_hidden_layers=1).save_pretrained(folder)
    write_model(folder, folder / "m.gguf", "f16")
    return folder


def test_llama_cpp_reads_texts_as_we_do(world: Path) -> None:
    """The count of tokens and the prediction after them are those of our ids."""
    engine, chat = LlamaCppLogprobs(world / "m.gguf"), ChatTokenizer.load(world)
    for text in (TEXT, "a" * 50 + " " * 70 + "。\n\n", "User: 何時?\n\nAssistant:"):
        ids = chat.encode(text)
        bias = {"logprobs": 20, "logit_bias": [[66, 1000.0]]}
        ours, theirs = engine.ask(ids, **bias), engine.ask(text, **bias)
        assert theirs["usage"]["prompt_tokens"] == len(ids)
        assert theirs["choices"][0]["logprobs"] == ours["choices"][0]["logprobs"]


def test_llama_cpp_writes_turns_as_we_do(world: Path) -> None:
    engine, chat = LlamaCppLogprobs(world / "m.gguf"), ChatTokenizer.load(world)
    messages = [
        Message("system", "係です。"),
        Message("user", "何時?\r\n\r\n\nいつ "),
        Message("assistant", "九時。"),
        Message("user", "本当?"),
    ]
    turns = [{"role": message.role, "content": message.content} for message in messages]
    answer = engine.chat(turns)
    assert answer["usage"]["prompt_tokens"] == len(chat.encode_chat(messages))


def test_llama_cpp_ends_a_turn_at_an_empty_line(world: Path) -> None:
    engine = LlamaCppLogprobs(world / "m.gguf")
    for index, reason in ((261, "stop"), (0, "stop"), (66, "length")):
        answer = engine.ask(PROMPT, max_tokens=3, logit_bias=[[index, 1000.0]])
        assert answer["choices"][0]["finish_reason"] == reason


def test_any_greedy_vocabulary(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    tiny_rwkv("rwkv7", 270, num_hidden_layers=1).save_pretrained(folder)
    entries = [*(bytes([b]) for b in range(256)), b"\n\n", b"\\x", "時刻".encode(), b"\xe6\x99"]
    made = greedy_tokenizer(dict(enumerate(entries, start=1)), "<|endoftext|>", 0)
    made.save(str(folder / "tokenizer.json"))
    settings = {"eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    write_model(folder, tmp_path / "m.gguf", "f32")
    reader = GGUFReader(tmp_path / "m.gguf")
    fields = {name: field.contents() for name, field in reader.fields.items()}
    tokens = fields["tokenizer.ggml.tokens"]
    assert tokens[:2] == ["<|endoftext|>", r"\x00"] and tokens[11] == r"\x0a"
    assert tokens[257:259] == [r"\x0a\x0a", r"\x5cx"] and tokens[260:262] == [
        r"\xe6\x99",
        "[PAD261]",
    ]
    assert "tokenizer.ggml.eot_token_id" not in fields
    text = "時刻は\n\n\\x時"
    bias = {"logprobs": 5, "logit_bias": [[66, 1000.0]]}
    engine = LlamaCppLogprobs(tmp_path / "m.gguf")
    ours, theirs = engine.ask(made.encode(text).ids, **bias), engine.ask(text, **bias)
    assert theirs["choices"][0]["logprobs"] == ours["choices"][0]["logprobs"]


def test_what_llama_cpp_cannot_run_is_refused(rwkv_folder: FolderOf, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="RWKV-7 only"):
        write_model(rwkv_folder("rwkv6"), tmp_path / "m.gguf")
    folder = shutil.copytree(rwkv_folder("rwkv7"), tmp_path / "other")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "group_norm_eps": 1e-5}))
    with pytest.raises(FormatError, match="group_norm_eps"):
        write_model(folder, tmp_path / "m.gguf")
    assert not (tmp_path / "m.gguf").exists()
