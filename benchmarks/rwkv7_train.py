"""Training an RWKV-7: its kernel against the plain recurrence, a whole step against a Llama of equal size.

A step is what `kajiya train pretrain` does with a batch of text: loss at every position, all gradients,
AdamW on 32-bit weights. Both models get the same tokens, vocabulary, layers, width and number of
parameters, the Llama by the width of its feed-forward layers. Every side runs in a process of its own,
so that its peak memory is its own. On a GPU, also the kernel against flash-linear-attention's where
that is installed.
"""

from __future__ import annotations

import importlib
import importlib.util
import multiprocessing
import resource
import time
from collections.abc import Callable
from typing import Any

from common import Result, options, report

VOCABULARY = 8192
FULL = {"width": 384, "layers": 12, "tokens": 8192, "steps": 3}
QUICK = {"width": 256, "layers": 2, "tokens": 2048, "steps": 1}
LLAMA = "LlamaForCausalLM (transformers)"
# Imported once, before a process is forked for each side, and only after the environment is set.
HEAVY = (
    "transformers.models.llama.modeling_llama",
    "kajiya.models.rwkv7",
    "kajiya.training.objectives.language_model",
)


def main() -> None:
    quick = bool((arguments := options(__doc__)).quick)
    for module in HEAVY:
        importlib.import_module(module)
    shape = QUICK if quick else FULL
    results = []
    for context in (2048,) if quick else (512, 2048, 8192):
        ours, theirs = (side({"model": m, "context": context, **shape}) for m in ("rwkv7", "llama"))
        size = f"{ours['parameters'] / 1e6:.1f}M parameters, context {context}"
        results += [
            Result(
                f"training step of RWKV-7, {size}",
                "tokens/s",
                ours["speed"],
                theirs["speed"],
                LLAMA,
                ours["speed"] / theirs["speed"],
                None,
            ),
            Result(
                f"peak memory of the step, {size}",
                "MiB",
                ours["peak"],
                theirs["peak"],
                LLAMA,
                theirs["peak"] / ours["peak"],
                None,
            ),
        ]
    results += [against_recurrence(512 if quick else 4096), *against_fla()]
    report(results, arguments.json)


def side(task: dict[str, Any]) -> dict[str, float]:
    """What a process of its own measured: parameters, tokens a second, peak memory in MiB.

    Forked from this one, which has imported everything and computed nothing yet.
    """
    with multiprocessing.get_context("fork").Pool(1) as pool:
        return pool.apply(measure_step, (task,))


def measure_step(task: dict[str, Any]) -> dict[str, float]:
    """This process's side: one step to warm up, then the fastest of some."""
    import torch

    from kajiya.models.rwkv7.initialise import parameter_groups
    from kajiya.training.master_weights import MasterWeights
    from kajiya.training.objectives.language_model import language_model_loss

    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(0)
    model = build(task["model"], task["width"], task["layers"]).to(device)
    before = peak_memory()
    weights = MasterWeights(model, torch.bfloat16)
    weights.working.train()
    optimizer = torch.optim.AdamW(parameter_groups(model, 1e-3, 0.1), fused=True)
    shape = (task["tokens"] // task["context"], task["context"])
    ids, targets = (torch.randint(VOCABULARY, shape, device=device) for _ in range(2))
    positions = torch.arange(shape[1], device=device).expand(shape)

    def step() -> None:
        loss = language_model_loss(weights.working, ids, targets, positions) / task["tokens"]
        loss.backward()
        weights.collect()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        weights.publish()
        loss.item()

    step()
    seconds = min(timed(step) for _ in range(task["steps"]))
    return {
        "parameters": sum(p.numel() for p in model.parameters()),
        "speed": task["tokens"] / seconds,
        "peak": peak_memory() - before,
    }


def build(name: str, width: int, layers: int) -> Any:
    """An RWKV-7, or a Llama with as many parameters."""
    from transformers import LlamaConfig, LlamaForCausalLM

    from kajiya.models.rwkv7 import Rwkv7Config, Rwkv7ForCausalLM

    rwkv = Rwkv7Config(vocab_size=VOCABULARY, hidden_size=width, num_hidden_layers=layers)
    model = Rwkv7ForCausalLM(rwkv)
    if name == "rwkv7":
        return model
    layer = sum(p.numel() for p in model.model.blocks.parameters()) / layers
    inner = round((layer / width - 4 * width) / 3)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=width // 64,
        num_key_value_heads=width // 64,
        intermediate_size=round(inner / 16) * 16,
        max_position_embeddings=8192,
        tie_word_embeddings=False,
    )
    return LlamaForCausalLM(config)


def against_recurrence(tokens: int) -> Result:
    """The chunked kernel, forward and backward, against autograd through the recurrence."""
    import torch

    from kajiya.models.rwkv7.kernel import wkv7
    from kajiya.models.rwkv7.recurrent import recurrence

    device = "cuda" if torch.cuda.is_available() else "cpu"
    given = kernel_inputs(tokens // 512 or 1, min(tokens, 512), 4, device)

    def run(function: Callable[..., Any]) -> float:
        def both() -> None:
            y, _ = function(*given)
            y.sum().backward()
            sync(y)

        both()
        return min(timed(both) for _ in range(3))

    ours, theirs = (tokens / run(function) for function in (wkv7, recurrence))
    name = "kernel of RWKV-7, forward and backward, 4 heads, rows of 512"
    return Result(name, "tokens/s", ours, theirs, "the plain recurrence", ours / theirs, 4.0)


def against_fla() -> list[Result]:
    """On a GPU with flash-linear-attention, the kernels' times at 32,768 tokens and 12 heads."""
    import torch

    if not torch.cuda.is_available() or importlib.util.find_spec("fla") is None:
        return []
    from fla.ops.rwkv7 import chunk_rwkv7

    from kajiya.models.rwkv7.kernel import wkv7

    r, w, k, v, kk, a, state = kernel_inputs(8, 4096, 12, "cuda", torch.bfloat16)

    def ours() -> None:
        wkv7(r, w, k, v, kk, a, state)[0].sum().backward()
        torch.cuda.synchronize()

    def theirs() -> None:
        y, _ = chunk_rwkv7(r, w, k, v, -kk, kk * a, scale=1.0)
        y.float().sum().backward()
        torch.cuda.synchronize()

    times = []
    for function in (ours, theirs):
        function()
        times.append(1000 * min(timed(function) for _ in range(10)))
    name = "kernel of RWKV-7, forward and backward, 8 rows of 4,096, 12 heads, bf16"
    peer = "flash-linear-attention"
    return [Result(name, "ms", times[0], times[1], peer, times[1] / times[0], None)]


def kernel_inputs(
    rows: int, time_: int, heads: int, device: str, dtype: Any = None
) -> tuple[Any, ...]:
    """r, log w, k, v, kk, a in the ranges that a model gives them, and a state of zero."""
    import torch
    import torch.nn.functional as F

    torch.manual_seed(0)
    shape = (rows, time_, heads, 64)
    r, w, k, v, kk, a = (torch.randn(shape, device=device) for _ in range(6))
    w, kk, a = -0.6 * torch.sigmoid(w), F.normalize(kk, dim=-1), torch.sigmoid(a)
    leaves = (x.to(dtype or torch.float32).requires_grad_() for x in (r, w, k, v, kk, a))
    return (*leaves, torch.zeros(rows, heads, 64, 64, device=device))


def timed(function: Callable[[], None]) -> float:
    """Seconds that one call takes."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def sync(tensor: Any) -> None:
    """Wait until a GPU has finished."""
    if tensor.is_cuda:
        import torch

        torch.cuda.synchronize()


def peak_memory() -> float:
    """The most memory in use so far, in MiB: the GPU's, else this process's."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


if __name__ == "__main__":
    main()
