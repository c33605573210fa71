"""vLLM's command: where it is, what it is told, and starting it in the care of a guardian."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from kajiya.core.errors import FormatError, ResourceError
from kajiya.core.language import tr
from kajiya.inference.protocol import EngineSettings

ENVIRONMENT = "KAJIYA_VLLM"
BASE = "kajiya/base"  # what the base is called there; no adapter can be called so
_ADAPTER_CONFIG = "adapter_config.json"
_RANKS = (16, 32, 64, 128, 256, 320, 512)  # what vLLM can be told to make room for
_LEAST_LORAS = 4  # in one batch


def find_vllm() -> str:
    """vLLM's command: what `KAJIYA_VLLM` names, beside our Python, or on the path.

    Raises `ResourceError` where there is none.
    """
    beside = Path(sys.executable).with_name("vllm")
    named = os.environ.get(ENVIRONMENT) or (str(beside) if beside.is_file() else "vllm")
    command = shutil.which(named)
    if command is None:
        raise ResourceError(
            tr("vLLM is not installed here", "vLLM が入っていません"),
            where=named,
            fix=tr(
                f"install it in an environment of its own and name its command in {ENVIRONMENT}: "
                f"{ENVIRONMENT}=/opt/vllm/bin/vllm",
                f"専用の環境に入れ、{ENVIRONMENT} にコマンドを指定してください: "
                f"{ENVIRONMENT}=/opt/vllm/bin/vllm",
            ),
        )
    return command


def options(
    base: Path, adapters: Mapping[str, Path], settings: EngineSettings, context_length: int
) -> list[str]:
    """`serve` and its arguments, but for the socket. A file of the owner's cannot change what is here."""
    file = ["--config", str(settings.vllm_config)] if settings.vllm_config else []
    loras = min(settings.slots, max(_LEAST_LORAS, len(adapters)))
    return [
        *("serve", str(base), "--served-model-name", BASE, *file),
        *("--max-model-len", str(context_length), "--max-num-seqs", str(settings.slots)),
        *("--enable-lora", "--max-loras", str(loras)),
        *("--max-lora-rank", str(_rank(adapters))),
        # The request alone says how to sample.
        *("--generation-config", "vllm"),
        *("--disable-uvicorn-access-log", "--disable-fastapi-docs"),
    ]


def _rank(adapters: Mapping[str, Path]) -> int:
    """The room that the largest of these LoRAs needs."""
    needed = max((_rank_of(folder) for folder in adapters.values()), default=1)
    return next((rank for rank in _RANKS if rank >= needed), needed)


def _rank_of(folder: Path) -> int:
    path = folder / _ADAPTER_CONFIG
    try:
        return int(json.loads(path.read_text(encoding="utf-8"))["r"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FormatError(
            tr(
                f"the rank of this LoRA cannot be read: {error}",
                f"LoRA のランクを読めません: {error}",
            ),
            where=str(path),
        ) from None


def spawn(
    command: Sequence[str], key: str, lifeline: socket.socket, log: Path
) -> subprocess.Popen[bytes]:
    guardian = [sys.executable, "-P", "-m", "kajiya.inference.guardian"]
    with log.open("ab") as output:
        return subprocess.Popen(
            [*guardian, "--fd", str(lifeline.fileno()), *command],
            pass_fds=[lifeline.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={
                **os.environ,
                "VLLM_API_KEY": key,
                "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1",
                # Nothing is fetched and nothing is told to anybody.
                "VLLM_NO_USAGE_STATS": "1",
                "VLLM_DO_NOT_TRACK": "1",
                "HF_HUB_OFFLINE": "1",
                "TRANSFORMERS_OFFLINE": "1",
            },
            start_new_session=True,
        )
