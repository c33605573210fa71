"""RWKV-7 models: agreement with the `rwkv` package, states, documents, tuning."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor
from transformers import AutoModel, AutoModelForCausalLM

from kajiya.core.errors import ConfigError
from kajiya.models.architectures import register
from kajiya.models.recurrent.state import RecurrentState, add_time_state
from kajiya.models.rwkv7 import Rwkv7Config, Rwkv7ForCausalLM
from kajiya.tokenizer.chat import ChatTokenizer
from kajiya.training.adapters.lora_linear import use_fused_lora
from kajiya.training.batches import Example, collate
from kajiya.training.objectives.supervised import supervised_loss
from support.rwkv_package import Reference
from support.trained_rwkv import learn, learnt_ids

VOCABULARY = 97
SIZES = {"narrow": (1, 64, 64), "middle": (3, 128, 64), "wide": (2, 256, 64)}


def make(layers: int = 2, width: int = 32, head_size: int = 16, seed: int = 0) -> Any:
    """A model in fp32 in which every parameter has a say."""
    config = Rwkv7Config(
        vocab_size=VOCABULARY, hidden_size=width, num_hidden_layers=layers, head_size=head_size
    )
    model = Rwkv7ForCausalLM(config).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            spread = 1.2 * parameter.shape[-1] ** -0.5 if parameter.dim() == 2 else 0.5
            parameter.normal_(0, 1, generator=generator).mul_(spread)
            if "ln" in name and name.endswith("weight"):
                parameter.add_(1)
    return model


def official(model: Any, path: Path) -> Path:
    """The weights as official files hold them: layer 0 has value pairs that nothing uses."""
    weights = {name.removeprefix("model."): x.clone() for name, x in model.state_dict().items()}
    for name in ("v0", "v1", "v2"):
        like = weights[f"blocks.0.att.a{name[1]}"]
        weights[f"blocks.0.att.{name}"] = torch.full_like(like, torch.nan)
    torch.save(weights, path)
    return path


def test_the_starter_agrees_with_the_rwkv_package(tmp_path: Path) -> None:
    data = Path(__file__).parents[3] / "starters/kajiya-starter-rwkv7/src/kajiya_starter_rwkv7/data"
    register()
    model: Any = AutoModelForCausalLM.from_pretrained(data, dtype=torch.float32).eval()
    reference = Reference(official(model, tmp_path / "starter.pth"), version=7)
    ids = ChatTokenizer.load(data).encode("吾輩は猫である。名前はまだ無い。" * 12)
    ours = logits_of(model, ids)
    assert relative(ours, reference.logits(ids)) <= 1e-4
    assert relative(ours, reference.logits_step_by_step(ids)) <= 1e-4


def tokens(count: int, seed: int = 0) -> list[int]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(VOCABULARY, (count,), generator=generator).tolist()


@torch.no_grad()
def logits_of(model: Any, ids: list[int], state: RecurrentState | None = None) -> Tensor:
    result: Tensor = model(torch.tensor([ids]), state=state).logits[0]
    return result


def relative(ours: Tensor, theirs: Tensor) -> float:
    return float((ours - theirs).abs().max() / theirs.abs().max())


@pytest.mark.parametrize("size", SIZES)
def test_agrees_with_the_rwkv_package(size: str, tmp_path: Path) -> None:
    model = make(*SIZES[size])
    reference = Reference(official(model, tmp_path / "model.pth"), version=7)
    ids = tokens(75)
    assert relative(logits_of(model, ids), reference.logits(ids)) <= 1e-4
    state, rows = None, []
    with torch.no_grad():
        for token in ids:
            out = model(torch.tensor([[token]]), state=state, use_cache=True)
            state = out.state
            rows.append(out.logits[0, 0])
    assert relative(torch.stack(rows), reference.logits_step_by_step(ids)) <= 1e-4


@pytest.mark.parametrize("size", SIZES)
def test_agrees_with_the_rwkv_package_on_trained_weights(size: str, tmp_path: Path) -> None:
    layers, width, head_size = SIZES[size]
    config = Rwkv7Config(
        vocab_size=VOCABULARY, hidden_size=width, num_hidden_layers=layers, head_size=head_size
    )
    torch.manual_seed(0)
    model = learn(Rwkv7ForCausalLM(config), VOCABULARY)
    reference = Reference(official(model, tmp_path / "model.pth"), version=7)
    ids = learnt_ids(VOCABULARY)[1000:1200].tolist()
    ours = logits_of(model, ids)
    assert relative(ours, reference.logits(ids)) <= 1e-4
    assert relative(ours, reference.logits_step_by_step(ids)) <= 1e-4


def test_every_parameter_matters_in_the_comparison() -> None:
    model = make(2)
    ids = tokens(20)
    before = logits_of(model, ids)
    for name, parameter in model.named_parameters():
        kept = parameter.detach().clone()
        with torch.no_grad():
            parameter.add_(torch.randn_like(parameter) * 0.3)
        assert relative(logits_of(model, ids), before) > 1e-3, name
        with torch.no_grad():
            parameter.copy_(kept)


def test_states_are_value_by_key_as_in_the_package(tmp_path: Path) -> None:
    model = make(2)
    reference = Reference(official(model, tmp_path / "model.pth"), version=7)
    ids = tokens(40)
    with torch.no_grad():
        state = model(torch.tensor([ids]), use_cache=True).state
    theirs = reference.state(ids)
    for layer in range(2):
        att_shift, wkv, ffn_shift = theirs[3 * layer : 3 * layer + 3]
        assert relative(state.att_shift[layer, 0], att_shift) <= 1e-4
        assert relative(state.ffn_shift[layer, 0], ffn_shift) <= 1e-4
        assert relative(state.wkv[layer, 0], wkv) <= 1e-4
        assert relative(state.wkv[layer, 0], wkv.transpose(1, 2)) > 0.1


def test_packed_documents_are_as_if_alone() -> None:
    model = make(2)
    with torch.no_grad():
        for parameter in add_time_state(model).values():
            parameter.normal_(generator=torch.Generator().manual_seed(5))
    documents = [tokens(n, seed=n) for n in (1, 33, 7, 70)]
    ids = torch.tensor([[token for document in documents for token in document]])
    positions = torch.tensor([[i for document in documents for i in range(len(document))]])
    with torch.no_grad():
        packed = model(ids, position_ids=positions).logits[0]
    alone = torch.cat([logits_of(model, document) for document in documents])
    assert relative(packed, alone) <= 1e-5


def test_a_sequence_read_in_pieces_is_the_same_sequence() -> None:
    model = make(2)
    ids = tokens(90)
    state, rows = None, []
    with torch.no_grad():
        for piece in (ids[:40], ids[40:41], ids[41:]):
            out = model(torch.tensor([piece]), state=state, use_cache=True)
            state = out.state
            rows.append(out.logits[0])
    assert relative(torch.cat(rows), logits_of(model, ids)) <= 1e-5


def test_saved_and_loaded_by_the_auto_classes(tmp_path: Path) -> None:
    register()
    model = make(2)
    model.save_pretrained(tmp_path)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert type(loaded) is Rwkv7ForCausalLM
    assert loaded.config.gate_rank == 32
    ids = tokens(20)
    assert torch.equal(logits_of(loaded, ids), logits_of(model, ids))
    body = AutoModel.from_pretrained(tmp_path)
    assert torch.equal(body.ln_out.weight, model.model.ln_out.weight)


def test_generates_what_it_finds_likeliest() -> None:
    model = make(2)
    prompt = tokens(5)
    out = model.generate(
        torch.tensor([prompt]), max_new_tokens=6, do_sample=False, eos_token_id=None
    )
    ids = list(prompt)
    for _ in range(6):
        ids.append(int(logits_of(model, ids)[-1].argmax()))
    assert out[0].tolist() == ids


def test_a_width_that_heads_do_not_divide_is_refused() -> None:
    with pytest.raises(ConfigError, match="head size"):
        Rwkv7Config(hidden_size=100)


def _examples() -> list[Example]:
    return [
        Example(tuple(ids), (False,) * 4 + (True,) * (len(ids) - 4))
        for ids in (tokens(n, seed=n) for n in (9, 14, 40))
    ]


def test_packed_and_padded_batches_have_the_same_loss() -> None:
    model = make(2)
    with torch.no_grad():
        padded = supervised_loss(model, collate(_examples(), 0))
        packed = supervised_loss(model, collate(_examples(), 0, packing=True))
    assert float(packed) == pytest.approx(float(padded), rel=1e-5)


@pytest.mark.parametrize("method", ["state", "lora", "both"])
def test_tuning_lowers_the_loss(method: str) -> None:
    model = make(2).requires_grad_(False)
    if method != "lora":
        add_time_state(model)
    trained: Any = model
    if method != "state":
        trained = get_peft_model(model, LoraConfig(r=4, target_modules="all-linear"))
        # Four matrices of the time mix and two of the channel mix, in two layers.
        assert use_fused_lora(trained) == 2 * (4 + 2)
    if method != "lora":
        for parameter in add_time_state(model).values():
            parameter.requires_grad_(True)
    batch = collate(_examples(), 0, packing=True)
    parameters = [p for p in trained.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(parameters, lr=0.02 if method == "lora" else 0.3)
    losses = []
    for _ in range(12):
        loss = supervised_loss(trained, batch)
        losses.append(float(loss.detach()))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    # A random model forgets its first state soon.
    assert losses[-1] < (0.98 if method == "state" else 0.9) * losses[0], losses


def test_gradients_are_the_same_with_checkpointed_layers() -> None:
    grads = []
    for checkpointing in (False, True):
        model = make(2).train()
        if checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": False})
        batch = collate(_examples(), 0)
        model(batch.input_ids, labels=batch.labels).loss.backward()
        grads.append([p.grad for p in model.parameters()])
    for plain, again in zip(*grads, strict=True):
        assert relative(again, plain) <= 1e-5
