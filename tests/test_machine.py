"""The machine: what is told about it is so, and telling it costs no TensorFlow."""

from __future__ import annotations

import io
import json
import os
import platform
import re
import subprocess
import sys
from importlib import metadata
from typing import TYPE_CHECKING

import pytest

from mnist_lab import __version__, machine

if TYPE_CHECKING:
    from pathlib import Path


def put_program(folder: Path, name: str, script: str) -> Path:
    """An executable shell script."""
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def put_cpuinfo(monkeypatch: pytest.MonkeyPatch, content: str | None) -> None:
    """A /proc/cpuinfo of other machines; None is a system that has none."""

    def open_(path: str, **_: object) -> io.StringIO:
        assert path == "/proc/cpuinfo"
        if content is None:
            raise FileNotFoundError(2, "No such file or directory")
        return io.StringIO(content)

    monkeypatch.setattr(machine, "open", open_, raising=False)


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
        ("", False),
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
        "print({'tensorflow', 'keras', 'numpy', 'hpbandster', 'matplotlib'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
