"""The machine: what is told about it is so, and telling it costs no TensorFlow."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
import time
from importlib import metadata
from math import inf
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import psutil
import pytest

from mnist_lab import __version__, machine


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that holds all the programs there are."""
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def put_program(path: Path, script: str) -> str:
    """An executable shell script."""
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(0o755)
    return str(path)


def put_text(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """What the system tells, wherever it is asked; nothing is a system that has no such file."""
    monkeypatch.setattr(machine, "_read", lambda _: text)


def test_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every package whose version may change a number is named with it, and what is missing too."""
    found = machine.versions()
    assert set(found) == {"python", *machine.PACKAGES}
    assert found["python"] == platform.python_version()
    assert found["mnist-lab"] == __version__
    assert found["keras"] == metadata.version("keras")
    assert all(re.match(r"\d+\.\d", version) for version in found.values())
    monkeypatch.setattr(machine, "PACKAGES", ("no-such-package", "numpy"))
    missing = {"no-such-package": machine.NOT_INSTALLED, "numpy": metadata.version("numpy")}
    assert machine.versions() == {"python": platform.python_version()} | missing


def test_describe() -> None:
    """The description is plain JSON, and says what the system says."""
    found = machine.describe()
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["host"] == platform.node()
    assert found["cores"] == len(machine.usable_cores())
    assert found["processor"]
    n_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert found["memory_gib"] == pytest.approx(n_bytes / 2**30, abs=0.06)


def test_usable_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cores that this process may run on count; where none is pinned all, one at the least."""
    if hasattr(os, "sched_setaffinity"):
        last = max(os.sched_getaffinity(0))
        words = f"import os; os.sched_setaffinity(0, {{{last}}}); from mnist_lab import machine; "
        command = [sys.executable, "-c", words + "print(machine.usable_cores())"]
        assert subprocess.check_output(command, text=True) == f"({last},)\n"
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    for count, cores in ((3, (0, 1, 2)), (None, (0,))):
        monkeypatch.setattr(os, "cpu_count", lambda count=count: count)
        assert machine.usable_cores() == cores


V1 = "4:memory:/docker/a1\n3:cpu,cpuacct:/docker/a1\n1:name=systemd:/docker/a1\n"
V2, USER, JOB = "0::/user.slice/job.scope\n", "user.slice", "user.slice/job.scope"
# By version the files of a group.
CPU = {V1: ["cpu.cfs_quota_us", "cpu.cfs_period_us"]}
MEMORY = {V1: ["memory.limit_in_bytes", "memory.usage_in_bytes", "memory.stat"]}
# A process's membership, the contents of the groups' files, and what they allow.
CORES = [
    (V2, {JOB: "150000 100000"}, 1.5),
    (V2, {JOB: "max 100000", USER: "max 5"}, inf),
    (V2, {JOB: "9 1", USER: "3 1"}, 3),
    (V2, {JOB: "3 1", USER: "9 1"}, 3),
    (V2, {"other.slice": "1 1"}, inf),
    # A container sees its own group as the root.
    ("0::/\n", {"": "50000 100000"}, 0.5),
    ("0::/docker/a1\n", {"": "50000 100000"}, 0.5),
    ("0::/../../a1\n", {"": "9 1", "a1": "2 1"}, 2),
    (V1, {"cpu/docker/a1": "-1 100000", "cpu/docker": "250000 100000"}, 2.5),
    (V1, {"cpu": "200000 100000"}, 2),
    (V1, {"cpu": "200000"}, inf),
    ("", {"": "1 1"}, inf),
]
LEFT = [
    (V2, {USER: "900 300"}, 600),
    (V2, {USER: "max 300"}, inf),
    (V2, {USER: "900 901"}, 0),
    (V2, {JOB: "900 700 anon 5\nactive_file 6\ninactive_file 90\nx 1", "": "2000 1000"}, 290),
    (
        V1,
        {
            "memory/docker/a1": "9223372036854771712 300",
            "memory/docker": "900 800 inactive_file 1\ntotal_inactive_file 20",
        },
        120,
    ),
    (V1, {"cpu": "9 1"}, inf),
    ("", {}, inf),
]


def test_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The least that a process's group and those above it allow counts, in both versions.

    Of memory, cached files that nobody uses make room.
    """
    for number, (membership, groups, allowed) in enumerate([*CORES, *LEFT]):
        is_cpu, root = number < len(CORES), tmp_path / str(number)
        names = ["cpu.max"] if is_cpu else ["memory.max", "memory.current", "memory.stat"]
        names = (CPU if is_cpu else MEMORY).get(membership, names)
        for group, text in groups.items():
            (root / group).mkdir(parents=True, exist_ok=True)
            for name, content in zip(names, text.split(" ", len(names) - 1), strict=False):
                (root / group / name).write_text(f"{content}\n", encoding="utf-8")
        (tmp_path / "membership").write_text(membership, encoding="utf-8")
        monkeypatch.setattr(machine, "_MEMBERSHIP", tmp_path / "membership")
        monkeypatch.setattr(machine, "_GROUPS", root)
        assert (machine._core_quota() if is_cpu else machine._memory_left()) == allowed, number


def test_no_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A system without control groups limits nothing but by its memory; both are told in GiB."""
    monkeypatch.setattr(machine, "_MEMBERSHIP", tmp_path / "none")
    assert machine._core_quota() == machine._memory_left() == inf
    there = psutil.virtual_memory().available / 2**30
    assert machine.available_memory_gib() == pytest.approx(there, rel=0.2)
    monkeypatch.setattr(machine, "_memory_left", lambda: 2**20)
    assert machine.available_memory_gib() == 2**-10


def test_oom_kills(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel's own count is told, or nothing."""
    for text, n in (("oom_kill 3\nx 1", 3), ("x 1\noom_kills 2", None)):
        put_text(monkeypatch, text)
        assert machine.oom_kills() == n


def test_busy_cores() -> None:
    """A process that never rests keeps a core busy."""
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as other:
        time.sleep(0.2)
        found = machine.busy_cores()
        other.kill()
    assert found > 0.7


class Times(NamedTuple):
    """CPU time of one core, in seconds; macOS tells only the first four."""

    user: float
    nice: float
    system: float
    idle: float
    iowait: float = 0
    irq: float = 0
    softirq: float = 0
    steal: float = 0
    guest: float = 0  # which user holds too


BUSY: list[tuple[list[Times], tuple[int, ...], float]] = [
    ([Times(14, 5, 5, 50), Times(10, 5, 5, 60)], (0, 1), 0.3),
    ([Times(10, 9, 5, 50), Times(10, 5, 5, 55, iowait=5)], (0, 1), 0.0),
    ([Times(12, 5, 6, 50, irq=1, softirq=1, steal=1, guest=2), Times(10, 5, 5, 60)], (0,), 0.5),
    ([Times(20, 5, 5, 50), Times(13, 5, 5, 57)], (1,), 0.2),
    # A container that lists its own cores only, renumbered.
    ([Times(14, 5, 5, 50), Times(14, 5, 5, 50)], (12, 13), 0.7),
]


@pytest.mark.parametrize(("later", "cores", "busy"), BUSY)
def test_busy_cores_by_kind(
    monkeypatch: pytest.MonkeyPatch, later: list[Times], cores: tuple[int, ...], busy: float
) -> None:
    """Work at normal priority on our cores counts, less our own; idle, waiting, niced time not."""
    told = iter([[Times(10, 5, 5, 50)] * 2, later])
    clock, own = iter([100.0, 110.0]), iter([1.0, 2.0])
    monkeypatch.setattr(psutil, "cpu_times", lambda *, percpu: next(told) if percpu else None)
    monkeypatch.setattr(machine, "usable_cores", lambda: cores)
    made = {"sleep": lambda _: None, "monotonic": clock.__next__, "process_time": own.__next__}
    monkeypatch.setattr(machine, "time", SimpleNamespace(**made))
    assert machine.busy_cores() == pytest.approx(busy)


def test_suggested_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as find a free core and memory, one at least; the reason for fewer is named."""
    quota = "this process's group is limited to {} cores"
    free = "{} GiB of memory is free, a worker takes 1.2"
    for n_cores, *given, n_threads, n_workers, why in (
        (2, inf, 0, 20, 1, 2, ""),
        (2, 2, 0.4, 20, 1, 2, ""),
        (2, 2, 0.6, 20, 1, 1, "other work keeps 1 of 2 cores busy"),
        (2, 2, 3.2, 20, 1, 1, "other work keeps 2 of 2 cores busy"),
        (1, 1, 1.0, 20, 1, 1, ""),
        (2, 1.5, 0, 20, 1, 1, quota.format("1.5 of 2")),
        (4, 0.5, 0, 20, 1, 1, quota.format("0.5 of 4")),
        (64, 4, 40, 99, 1, 4, quota.format("4 of 64")),
        (8, 8, 0, 2.5, 1, 2, free.format(2.5)),
        (8, 8, 0, 0.5, 1, 1, free.format(0.5)),
        (1, 1, 0, 0.5, 1, 1, ""),
        (8, 8, 0, 99, 3, 2, ""),
        (8, 8, 3, 99, 3, 1, "other work keeps 3 of 8 cores busy"),
        (2, 2, 0, 99, 4, 1, ""),
    ):
        told: dict[str, Any] = {"usable_cores": tuple(range(n_cores))}
        told |= dict(zip(("_core_quota", "busy_cores", "available_memory_gib"), given, strict=True))
        for name, value in told.items():
            monkeypatch.setattr(machine, name, lambda value=value: value)
        assert machine.suggested_workers(n_threads) == (n_workers, why)


def test_suggested_workers_here() -> None:
    """On this machine, as it is: at most one a core, and a reason unless all are taken."""
    n_workers, why = machine.suggested_workers()
    assert 1 <= n_workers <= len(machine.usable_cores())
    assert (why == "") == (n_workers == len(machine.usable_cores()))


def test_listed_gpus(programs: Path) -> None:
    """GPUs are counted as the driver lists them; a driver that fails has none."""
    for script, n_gpus in (
        ("echo 'GPU 0: NVIDIA A100 (UUID: GPU-1)'; echo 'GPU 1: NVIDIA A100 (UUID: GPU-2)'", 2),
        ("echo 'No devices were found'", 0),
        ("echo 'GPU 0: lost'; exit 9", 0),
    ):
        put_program(programs / "nvidia-smi", script)
        assert machine.listed_gpus() == n_gpus


def test_usable_gpus(programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that are listed count if TensorFlow sees them; without a driver it is not asked."""
    python = put_program(programs / "python", "echo 3")
    monkeypatch.setattr(sys, "executable", python)
    assert machine.listed_gpus() == machine.usable_gpus() == 0
    put_program(programs / "nvidia-smi", "echo 'GPU 0: NVIDIA A100'")
    for answer, n_gpus in (("echo 1", 1), ("echo 0", 0), ("exit 1", 0), ("echo oh; exit 0", 0)):
        put_program(programs / "python", answer)
        assert machine.usable_gpus() == n_gpus


def test_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has the name that the system tells, else that of its kind; bfloat16 if so is listed."""
    told = "processor\t: 0\nmodel name\t: Pool CPU: 2 GHz\nflags\t\t: fpu sse {}\n"
    for flags, has_it in (("avx512_bf16", True), ("amx_bf16 avx2", True), ("avx512f", False)):
        put_text(monkeypatch, told.format(flags))
        assert (machine.processor(), machine.has_bfloat16()) == ("Pool CPU: 2 GHz", has_it)
    put_text(monkeypatch, "")
    assert machine.processor() == (platform.processor() or platform.machine())
    assert machine.has_bfloat16() is None


def test_free_disk(tmp_path: Path) -> None:
    """The free space is that of the disk on which the path lies, in GiB."""
    free = os.statvfs(tmp_path)
    assert machine.free_disk_gib(tmp_path) == pytest.approx(
        free.f_bavail * free.f_frsize / 2**30, abs=0.5
    )


def test_no_tensorflow() -> None:
    """Everything but the GPUs is told without TensorFlow, Keras or any other package imported."""
    words = (
        "import sys; from mnist_lab import machine; machine.versions(); machine.describe(); "
        "machine.suggested_workers(); machine.oom_kills(); "
        "print({'tensorflow', 'keras', 'numpy', 'hpbandster', 'matplotlib'} & set(sys.modules))"
    )
    assert subprocess.check_output([sys.executable, "-c", words], text=True) == "set()\n"
