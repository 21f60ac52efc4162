"""What this computer offers: cores, memory, GPUs, versions. Nothing here imports TensorFlow."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from importlib import metadata
from typing import TYPE_CHECKING, Any

import psutil

if TYPE_CHECKING:
    from pathlib import Path

# The packages whose version may change a number or a file.
PACKAGES = (
    "mnist-lab",
    "tensorflow",
    "keras",
    "numpy",
    "hpbandster",
    "ConfigSpace",
    "Pyro4",
    "matplotlib",
)


NOT_INSTALLED = "not installed"


def usable_cores() -> tuple[int, ...]:
    """The processors this process may run on, by number."""
    if hasattr(os, "sched_getaffinity"):
        return tuple(sorted(os.sched_getaffinity(0)))
    return tuple(range(os.cpu_count() or 1))


def listed_gpus() -> int:
    """How many GPUs NVIDIA's driver lists; whether TensorFlow can use them is another question."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return 0
    try:
        answer = subprocess.run(  # noqa: S603 - the driver's own tool, found on the PATH
            [tool, "-L"], capture_output=True, text=True, timeout=20, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return 0
    return sum(line.startswith("GPU ") for line in answer.stdout.splitlines())


def usable_gpus() -> int:
    """How many GPUs TensorFlow sees, asked in a process of its own, so that this one stays small.

    Takes seconds, unless the driver lists none.
    """
    if listed_gpus() == 0:
        return 0
    question = "import tensorflow as tf; print(len(tf.config.list_physical_devices('GPU')))"
    answer = subprocess.run(  # noqa: S603
        [sys.executable, "-c", question], capture_output=True, text=True, check=False
    )
    return int(answer.stdout) if answer.stdout.strip().isdigit() else 0


def processor() -> str:
    """The processor's name, as the system tells it."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:  # noqa: PTH123 - not a file on a disk
            for line in lines:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def has_bfloat16() -> bool | None:
    """Whether the processor multiplies bfloat16 in hardware; None where the system does not say."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:  # noqa: PTH123
            flags = next((line for line in lines if line.startswith("flags")), "").split()
    except OSError:
        return None
    return "avx512_bf16" in flags or "amx_bf16" in flags


def free_disk_gib(path: Path) -> float:
    """Free space where `path` lies."""
    return round(shutil.disk_usage(path).free / 2**30, 1)


def versions() -> dict[str, str]:
    """Package to version, for the record of a run; Python's own included."""
    return {"python": platform.python_version()} | {name: _version(name) for name in PACKAGES}


def describe() -> dict[str, Any]:
    """The computer, for the record of a run: sizes in GiB."""
    return {
        "host": platform.node(),
        "system": f"{platform.system()} {platform.release()}",
        "processor": processor(),
        "cores": len(usable_cores()),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
    }


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return NOT_INSTALLED
