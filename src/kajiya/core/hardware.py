"""What this machine has: cores, memory, accelerators. Never imports torch."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import psutil

GIB = 1024**3
_CGROUP_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)


@dataclass(frozen=True)
class Gpu:
    """One accelerator; memory in bytes."""

    name: str
    memory: int


@dataclass(frozen=True)
class Hardware:
    """A machine as training and serving see it; memory and disk in bytes."""

    processor: str
    cores: int
    memory: int
    memory_available: int
    disk_free: int
    bf16: bool
    gpus: tuple[Gpu, ...]

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def probe(folder: Path) -> Hardware:
    """Look at this machine; `folder` is where disk space will be needed."""
    memory, total = psutil.virtual_memory(), total_memory()
    name, flags = _processor()
    place = next(path for path in (folder, *folder.parents) if path.exists())
    return Hardware(
        processor=name,
        cores=len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count() or 1,
        memory=total,
        memory_available=min(memory.available, total),
        disk_free=shutil.disk_usage(place).free,
        bf16="avx512_bf16" in flags or "amx_bf16" in flags or platform.machine() == "arm64",
        gpus=_gpus(),
    )


def total_memory() -> int:
    """Bytes that this machine has, or that its container is given."""
    total, limit = int(psutil.virtual_memory().total), _container_limit()
    return min(total, limit) if limit else total


def physical_cores() -> int:
    """Cores that this process may use, counting two hyper-threads as one."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, min(psutil.cpu_count(logical=False) or 1, usable or 1))


def _container_limit() -> int | None:
    for path in _CGROUP_LIMITS:
        try:
            text = path.read_text().strip()
        except OSError:
            continue
        if text.isdigit() and int(text) < 1 << 60:
            return int(text)
    return None


@cache
def _processor() -> tuple[str, set[str]]:
    name, flags = platform.processor() or platform.machine(), set[str]()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return name, flags
    for line in lines:
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            name = value.strip()
        elif key.strip() == "flags":
            flags = set(value.split())
            break
    return name, flags


@cache  # asking the driver takes a while, and pages ask often
def _gpus() -> tuple[Gpu, ...]:
    query = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader,nounits"]
    try:
        result = subprocess.run(query, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return ()
    gpus = []
    for line in result.stdout.splitlines():
        name, _, megabytes = line.rpartition(",")
        if megabytes.strip().isdigit():
            gpus.append(Gpu(name.strip(), int(megabytes) * 1024**2))
    return tuple(gpus)
