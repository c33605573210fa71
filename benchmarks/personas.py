"""Many personas on one base: requests spread at random over all of them, against all requests to one.

A persona is a tuned state, or a LoRA of rank 8, of an RWKV-7 with random weights. The same engine answers
the same number of requests, once for one persona and once for all; what each takes in memory is measured
while they are loaded. The peer is therefore our own engine, and for LoRA llama.cpp as well (Q8_0 of the same
model, the adapter chosen by the request), which has no tuned states.
"""

from __future__ import annotations

import importlib
import multiprocessing
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil

from common import Result, make_random_rwkv7, options, report

FULL = {"size": "0.1B", "states": 1000, "loras": 32, "slots": 32, "requests": 96, "tokens": 24}
QUICK = {"size": "4M", "states": 100, "loras": 8, "slots": 8, "requests": 16, "tokens": 16}
RANK = 8
LLAMA = "llama.cpp, Q8_0, a LoRA for each request"
MIB = 1024**2
# Imported once, before a process is forked for each part, and only after the environment is set.
HEAVY = ("kajiya.inference.rwkv.engine", "kajiya.models.rwkv7", "peft")


def main() -> None:
    arguments = options(__doc__)
    plan: dict[str, Any] = QUICK if arguments.quick else FULL
    for module in HEAVY:
        importlib.import_module(module)
    importlib.import_module("kajiya.models.architectures").register()
    results: list[Result] = []
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder) / "base"
        apart(make_random_rwkv7, base, plan["size"])
        for kind, make in (("state", make_states), ("lora", make_loras)):
            adapters = apart(make, base, Path(folder) / kind, plan[f"{kind}s"])
            each = apart(memory, base, adapters)
            results += apart(compare, kind, base, adapters, plan, each)
            if kind == "lora":
                theirs = apart(llama, base, adapters, plan)
                ours, name = results[-2].ours, results[-2].name
                results.append(Result(name, "tokens/s", ours, theirs, LLAMA, ours / theirs, None))
    report(results, arguments.json)


def apart(function: Callable[..., Any], *arguments: Any) -> Any:
    """What `function` returns, computed in a process of its own."""
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(function, *arguments).result()


def compare(
    kind: str, base: Path, adapters: dict[str, Path], plan: dict[str, Any], each: float
) -> list[Result]:
    """Throughput for all personas over that for one; `each` takes so many MiB."""
    from kajiya.inference.protocol import EngineSettings
    from kajiya.inference.rwkv.engine import RwkvEngine

    settings = EngineSettings(slots=plan["slots"], context_length=256)
    names = list(adapters)
    engine = RwkvEngine(base, adapters, settings)
    chosen = random.Random(0).choices(names, k=plan["requests"])
    one = [names[0]] * plan["requests"]
    answer_all(engine, chosen[: plan["slots"]], plan["tokens"])
    speeds: dict[str, float] = {"one": 0.0, "all": 0.0}
    for _ in range(2):
        for which, wanted in (("one", one), ("all", chosen)):
            speeds[which] = max(speeds[which], answer_all(engine, wanted, plan["tokens"]))
    engine.close()
    print(f"  {kind}: {speeds}", file=sys.stderr, flush=True)
    files = sum(f.stat().st_size for f in adapters[names[0]].iterdir()) / MIB
    what = f"{len(adapters)} {kind}s of RWKV-7 {plan['size']}, {plan['slots']} at a time"
    ratio = speeds["all"] / speeds["one"]
    return [
        Result(what, "tokens/s", speeds["all"], speeds["one"], "one of them", ratio, 0.9),
        Result(
            f"memory for each, {what}",
            "MiB",
            each,
            files,
            "its files",
            files / max(each, 1e-9),
            None,
        ),
    ]


def llama(base: Path, adapters: dict[str, Path], plan: dict[str, Any]) -> float:
    """Tokens a second of llama.cpp for the same requests to all the adapters."""
    from transformers import AutoConfig

    from kajiya.inference.llamacpp import LlamaCpp
    from kajiya.inference.protocol import EngineSettings
    from kajiya.models.formats.gguf_writer import write_adapter, write_model
    from kajiya.tokenizer.chat import ChatTokenizer

    config = AutoConfig.from_pretrained(base)
    write_model(base, base / "model.gguf", "q8_0", "base")
    files = {name: folder / "adapter.gguf" for name, folder in adapters.items()}
    for name, file in files.items():
        write_adapter(adapters[name], config, file, name)
    settings = EngineSettings(slots=plan["slots"], context_length=256)
    engine = LlamaCpp(base / "model.gguf", files, settings, 256, ChatTokenizer.load(base))
    chosen = random.Random(0).choices(list(files), k=plan["requests"])
    answer_all(engine, chosen[: plan["slots"]], plan["tokens"])
    return max(answer_all(engine, chosen, plan["tokens"]) for _ in range(2))


def memory(base: Path, adapters: dict[str, Path]) -> float:
    """MiB that each of the adapters takes beside a loaded base."""
    from transformers import AutoModelForCausalLM

    from kajiya.inference.rwkv.initial import InitialStates
    from kajiya.inference.rwkv.lora import LoraAdapters

    model = AutoModelForCausalLM.from_pretrained(base)
    before = psutil.Process().memory_info().rss
    held = (InitialStates(base, adapters, model.config), LoraAdapters(adapters, model))
    after = psutil.Process().memory_info().rss
    return (after - before) / MIB / len(adapters) if held else 0.0


def answer_all(engine: Any, names: Sequence[str], tokens: int) -> float:
    """Tokens a second of requests to the personas `names`, asked all at once."""
    from kajiya.inference.protocol import GenerateChunk, GenerateRequest

    def ask(number: int) -> int:
        written = 0

        def take(chunk: GenerateChunk) -> bool:
            nonlocal written
            written = chunk.usage.completion_tokens if chunk.usage else written
            return False

        request = GenerateRequest(
            model="m",
            tokens=(0,),
            temperature=0,
            max_tokens=tokens,
            adapters=((names[number], 1.0),),
            reuse_prompt=False,
        )
        engine.complete([40 + number, 97, 205, 33], request, take)
        return written

    started = time.perf_counter()
    with ThreadPoolExecutor(len(names)) as pool:
        total = sum(pool.map(ask, range(len(names))))
    return total / (time.perf_counter() - started)


def make_states(base: Path, folder: Path, count: int) -> dict[str, Path]:
    """Random tuned states."""
    import torch
    from transformers import AutoConfig

    from kajiya.models.recurrent.tuned import TunedState, save_state, weights_sha256

    config = AutoConfig.from_pretrained(base)
    shape = (config.num_hidden_layers, config.num_heads, config.head_size, config.head_size)
    sha256 = weights_sha256(base)
    found = {}
    for number in range(count):
        found[f"state-{number}"] = place = folder / str(number)
        place.mkdir(parents=True)
        save_state(TunedState(torch.randn(shape) * 0.1, "rwkv7", "base", sha256), place)
    return found


def make_loras(base: Path, folder: Path, count: int) -> dict[str, Path]:
    """Random LoRAs on every linear layer."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base)
    tuned = get_peft_model(model, LoraConfig(r=RANK, target_modules="all-linear"))
    found = {}
    for number in range(count):
        with torch.no_grad():
            for name, parameter in tuned.named_parameters():
                if ".lora_" in name:
                    parameter.normal_(0, 0.01)
        found[f"lora-{number}"] = folder / str(number)
        tuned.save_pretrained(folder / str(number), save_embedding_layers=False)
    return found


if __name__ == "__main__":
    main()
