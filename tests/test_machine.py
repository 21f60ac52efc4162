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
from types import SimpleNamespace
from typing import TYPE_CHECKING, NamedTuple

import psutil
import pytest

from mnist_lab import __version__, machine

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def put_program(folder: Path, name: str, script: str) -> Path:
    """An executable shell script."""
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def put_cpuinfo(monkeypatch: pytest.MonkeyPatch, content: str | None) -> None:
    """A /proc/cpuinfo of other machines; None is a system that has none."""
    told = {"cpuinfo": content or ""}
    monkeypatch.setattr(machine, "_read", lambda path: told[path.name])


def test_versions() -> None:
    """Every package whose version may change a number is named with its version, and Python."""
    found = machine.versions()
    assert set(found) == {"python", *machine.PACKAGES}
    assert found["python"] == platform.python_version()
    assert found["mnist-lab"] == __version__
    assert found["keras"] == metadata.version("keras")
    assert all(re.match(r"\d+\.\d", version) for version in found.values())


def test_version_of_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that is not there is told to be missing, and hides none of the others."""
    monkeypatch.setattr(machine, "PACKAGES", ("no-such-package", "numpy"))
    found = machine.versions()
    assert found["no-such-package"] == machine.NOT_INSTALLED
    assert found["numpy"] == metadata.version("numpy")


def test_describe() -> None:
    """The description is plain JSON, and says what the system says."""
    found = machine.describe()
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["host"] == platform.node()
    assert found["cores"] == len(machine.usable_cores())
    assert found["processor"]
    n_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert found["memory_gib"] == pytest.approx(n_bytes / 2**30, abs=0.06)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system pins no processes")
def test_usable_cores() -> None:
    """Only the cores that this process may run on are counted, not all that there are."""
    last = max(os.sched_getaffinity(0))
    words = f"import os; os.sched_setaffinity(0, {{{last}}}); from mnist_lab import machine; "
    done = subprocess.run(
        [sys.executable, "-c", words + "print(machine.usable_cores())"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"({last},)\n"


@pytest.mark.parametrize(("count", "cores"), [(3, (0, 1, 2)), (None, (0,))])
def test_cores_without_affinity(
    monkeypatch: pytest.MonkeyPatch, count: int | None, cores: tuple[int, ...]
) -> None:
    """Where processes are not pinned all cores count, and one at the least."""
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: count)
    assert machine.usable_cores() == cores


class Groups(NamedTuple):
    """Made control groups: this process's membership, and the root folder."""

    membership: Path
    root: Path


def put_groups(folder: Path, membership: str, files: Mapping[str, str]) -> Groups:
    """Write what Linux would tell: `files` maps the path below the root to its text."""
    groups = Groups(folder / "membership", folder / "groups")
    groups.membership.write_text(membership, encoding="utf-8")
    for name, text in files.items():
        path = groups.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n", encoding="utf-8")
    return groups


V1 = "4:memory:/docker/a1\n3:cpu,cpuacct:/docker/a1\n1:name=systemd:/docker/a1\n"
V2 = "0::/user.slice/job.scope\n"


@pytest.mark.parametrize(
    ("membership", "files", "cores"),
    [
        (V2, {"user.slice/job.scope/cpu.max": "150000 100000"}, 1.5),
        (V2, {"user.slice/job.scope/cpu.max": "max 100000", "user.slice/cpu.max": "max 5"}, inf),
        (V2, {"user.slice/job.scope/cpu.max": "9 1", "user.slice/cpu.max": "3 1"}, 3),
        (V2, {"user.slice/cpu.max": "9 1", "user.slice/job.scope/cpu.max": "3 1"}, 3),
        (V2, {"other.slice/cpu.max": "1 1"}, inf),
        # A container sees its own group as the root.
        ("0::/\n", {"cpu.max": "50000 100000"}, 0.5),
        ("0::/docker/a1\n", {"cpu.max": "50000 100000"}, 0.5),
        ("0::/../../a1\n", {"cpu.max": "9 1", "a1/cpu.max": "2 1"}, 2),
        (
            V1,
            {
                "cpu/docker/a1/cpu.cfs_quota_us": "-1",
                "cpu/docker/a1/cpu.cfs_period_us": "100000",
                "cpu/docker/cpu.cfs_quota_us": "250000",
                "cpu/docker/cpu.cfs_period_us": "100000",
            },
            2.5,
        ),
        (V1, {"cpu/cpu.cfs_quota_us": "200000", "cpu/cpu.cfs_period_us": "100000"}, 2),
        (V1, {"cpu/cpu.cfs_quota_us": "200000"}, inf),
        ("", {"cpu.max": "1 1"}, inf),
    ],
)
def test_core_quota(tmp_path: Path, membership: str, files: dict[str, str], cores: float) -> None:
    """The smallest quota of the process's group and those above it counts, in both versions."""
    assert machine._core_quota(*put_groups(tmp_path, membership, files)) == cores


@pytest.mark.parametrize(
    ("membership", "files", "left"),
    [
        (V2, {"user.slice/memory.max": "900", "user.slice/memory.current": "300"}, 600),
        (V2, {"user.slice/memory.max": "max", "user.slice/memory.current": "300"}, inf),
        (V2, {"user.slice/memory.max": "900", "user.slice/memory.current": "901"}, 0),
        (
            V2,
            {
                "user.slice/job.scope/memory.max": "900",
                "user.slice/job.scope/memory.current": "700",
                "user.slice/job.scope/memory.stat": "anon 5\nactive_file 6\ninactive_file 90\nx 1",
                "memory.max": "2000",
                "memory.current": "1000",
            },
            290,
        ),
        (
            V1,
            {
                "memory/docker/a1/memory.limit_in_bytes": "9223372036854771712",
                "memory/docker/a1/memory.usage_in_bytes": "300",
                "memory/docker/memory.limit_in_bytes": "900",
                "memory/docker/memory.usage_in_bytes": "800",
                "memory/docker/memory.stat": "inactive_file 1\ntotal_inactive_file 20",
            },
            120,
        ),
        (V1, {"cpu/memory.limit_in_bytes": "9", "cpu/memory.usage_in_bytes": "1"}, inf),
        ("", {}, inf),
    ],
)
def test_memory_left(tmp_path: Path, membership: str, files: dict[str, str], left: float) -> None:
    """The group that leaves the least counts; its cached files that nobody uses make room."""
    assert machine._memory_left(*put_groups(tmp_path, membership, files)) == left


def test_no_groups(tmp_path: Path) -> None:
    """A system without control groups limits nothing."""
    assert machine._core_quota(tmp_path / "none", tmp_path) == inf
    assert machine._memory_left(tmp_path / "none", tmp_path) == inf


@pytest.mark.parametrize(("quota", "limit"), [(inf, 2.0), (1.5, 1.5), (2.5, 2.0)])
def test_core_limit(monkeypatch: pytest.MonkeyPatch, quota: float, limit: float) -> None:
    """The smaller of the affinity mask and the quota counts."""
    monkeypatch.setattr(machine, "usable_cores", lambda: (0, 3))
    monkeypatch.setattr(machine, "_core_quota", lambda: quota)
    assert machine.core_limit() == limit


def test_available_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """The smaller of the machine's memory and the group's counts; both are told in GiB."""
    monkeypatch.setattr(machine, "_memory_left", lambda: inf)
    assert machine.available_memory_gib() == pytest.approx(
        psutil.virtual_memory().available / 2**30, rel=0.2
    )
    monkeypatch.setattr(machine, "_memory_left", lambda: 2**20)
    assert machine.available_memory_gib() == 2**-10


@pytest.mark.parametrize(("text", "n"), [("oom_kill 3\nx 1", 3), ("x 1\noom_kills 2", None)])
def test_oom_kills(monkeypatch: pytest.MonkeyPatch, text: str, n: int | None) -> None:
    """The kernel's own count is told, or nothing."""
    monkeypatch.setattr(machine, "_read", lambda path: text if path.name == "vmstat" else "")
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


@pytest.mark.parametrize(
    ("later", "cores", "busy"),
    [
        ([Times(14, 5, 5, 50), Times(10, 5, 5, 60)], (0, 1), 0.3),
        ([Times(10, 9, 5, 50), Times(10, 5, 5, 55, iowait=5)], (0, 1), 0.0),
        ([Times(12, 5, 6, 50, irq=1, softirq=1, steal=1, guest=2), Times(10, 5, 5, 60)], (0,), 0.5),
        ([Times(20, 5, 5, 50), Times(13, 5, 5, 57)], (1,), 0.2),
        # A container that lists its own cores only, renumbered.
        ([Times(14, 5, 5, 50), Times(14, 5, 5, 50)], (12, 13), 0.7),
    ],
)
def test_busy_cores_by_kind(
    monkeypatch: pytest.MonkeyPatch, later: list[Times], cores: tuple[int, ...], busy: float
) -> None:
    """Work at normal priority on our cores counts, less our own; idle, waiting, niced time not."""
    told = iter([[Times(10, 5, 5, 50)] * 2, later])
    clock, own = iter([100.0, 110.0]), iter([1.0, 2.0])
    monkeypatch.setattr(psutil, "cpu_times", lambda *, percpu: next(told) if percpu else None)
    monkeypatch.setattr(machine, "usable_cores", lambda: cores)
    made = SimpleNamespace(
        sleep=lambda _: None, monotonic=lambda: next(clock), process_time=lambda: next(own)
    )
    monkeypatch.setattr(machine, "time", made)
    assert machine.busy_cores() == pytest.approx(busy)


@pytest.mark.parametrize(
    ("cores", "limit", "busy", "memory", "n_threads", "n_workers", "why"),
    [
        (2, 2, 0.4, 20, 1, 2, ""),
        (2, 2, 0.6, 20, 1, 1, "other work keeps 1 of 2 cores busy"),
        (2, 2, 3.2, 20, 1, 1, "other work keeps 2 of 2 cores busy"),
        (1, 1, 1.0, 20, 1, 1, ""),
        (2, 1.5, 0, 20, 1, 1, "this process's group is limited to 1.5 of 2 cores"),
        (4, 0.5, 0, 20, 1, 1, "this process's group is limited to 0.5 of 4 cores"),
        (64, 4, 40, 99, 1, 4, "this process's group is limited to 4 of 64 cores"),
        (8, 8, 0, 2.5, 1, 2, "2.5 GiB of memory are free, a worker takes 1.2"),
        (8, 8, 0, 0.5, 1, 1, "0.5 GiB of memory are free, a worker takes 1.2"),
        (1, 1, 0, 0.5, 1, 1, ""),
        (8, 8, 0, 99, 3, 2, ""),
        (8, 8, 3, 99, 3, 1, "other work keeps 3 of 8 cores busy"),
        (2, 2, 0, 99, 4, 1, ""),
    ],
)
def test_suggested_workers(
    monkeypatch: pytest.MonkeyPatch,
    *,
    cores: int,
    limit: float,
    busy: float,
    memory: float,
    n_threads: int,
    n_workers: int,
    why: str,
) -> None:
    """As many as find a free core and memory, one at least; the reason for fewer is named."""
    monkeypatch.setattr(machine, "usable_cores", lambda: tuple(range(cores)))
    monkeypatch.setattr(machine, "core_limit", lambda: limit)
    monkeypatch.setattr(machine, "busy_cores", lambda: busy)
    monkeypatch.setattr(machine, "available_memory_gib", lambda: memory)
    assert machine.suggested_workers(n_threads) == (n_workers, why)


def test_suggested_workers_here() -> None:
    """On this machine, as it is: at most one a core, and a reason unless all are taken."""
    n_workers, why = machine.suggested_workers()
    assert 1 <= n_workers <= len(machine.usable_cores())
    assert (why == "") == (n_workers == len(machine.usable_cores()))


@pytest.mark.parametrize(
    ("script", "n_gpus"),
    [
        ("echo 'GPU 0: NVIDIA A100 (UUID: GPU-1)'; echo 'GPU 1: NVIDIA A100 (UUID: GPU-2)'", 2),
        ("echo 'No devices were found'", 0),
        ("echo 'GPU 0: lost'; exit 9", 0),
    ],
)
def test_listed_gpus(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, n_gpus: int
) -> None:
    """GPUs are counted as the driver lists them; a driver that fails has none."""
    put_program(tmp_path, "nvidia-smi", script)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert machine.listed_gpus() == n_gpus


def test_no_driver_no_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a driver there are no GPUs, and TensorFlow is not asked."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(put_program(tmp_path, "python", "echo 3")))
    assert machine.listed_gpus() == machine.usable_gpus() == 0


@pytest.mark.parametrize(
    ("answer", "n_gpus"), [("echo 1", 1), ("echo 0", 0), ("exit 1", 0), ("echo oh; exit 0", 0)]
)
def test_usable_gpus(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str, n_gpus: int
) -> None:
    """Of the GPUs that are listed those count that TensorFlow sees; none if it cannot tell."""
    put_program(tmp_path, "nvidia-smi", "echo 'GPU 0: NVIDIA A100'")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(put_program(tmp_path, "python", answer)))
    assert machine.usable_gpus() == n_gpus


CPUINFO = "processor\t: 0\nmodel name\t: Pool CPU: 2 GHz\nflags\t\t: fpu sse {}\n"


@pytest.mark.parametrize(
    ("cpuinfo", "has_it"),
    [
        (CPUINFO.format("avx512_bf16"), True),
        (CPUINFO.format("amx_bf16 avx2"), True),
        (CPUINFO.format("avx512f"), False),
        (None, None),
    ],
)
def test_bfloat16(
    monkeypatch: pytest.MonkeyPatch, cpuinfo: str | None, *, has_it: bool | None
) -> None:
    """The processor has bfloat16 if the system lists an instruction for it."""
    put_cpuinfo(monkeypatch, cpuinfo)
    assert machine.has_bfloat16() is has_it


@pytest.mark.parametrize("cpuinfo", ["", None])
def test_processor(monkeypatch: pytest.MonkeyPatch, cpuinfo: str | None) -> None:
    """The processor has the name that the system tells, or else that of its kind."""
    put_cpuinfo(monkeypatch, CPUINFO)
    assert machine.processor() == "Pool CPU: 2 GHz"
    put_cpuinfo(monkeypatch, cpuinfo)
    assert machine.processor() == (platform.processor() or platform.machine())


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
    done = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
