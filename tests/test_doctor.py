"""The doctor: what keeps training from being fast, whole or possible is named, with what to do."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mnist_lab import machine
from mnist_lab.cli import main

if TYPE_CHECKING:
    from collections.abc import Callable

READY = "ready to train on the sample of 5,000 digits"
COMMAND = [sys.executable, "-m", "mnist_lab", "doctor"]
# Mounts that only the command sees, and that go with it.
APART = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"]), "sh", "-ec"]


@pytest.fixture(autouse=True)
def _well(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing else is wrong: the machine's memory, GPUs and other work are made."""
    monkeypatch.setenv("MNIST_LAB_DATA", "sample")
    monkeypatch.setattr(machine, "listed_gpus", lambda: 0)
    monkeypatch.setattr(machine, "usable_gpus", lambda: 0)
    monkeypatch.setattr(machine, "busy_cores", lambda: 0.4)
    monkeypatch.setattr(machine, "available_memory_gib", lambda: 1.3)
    monkeypatch.setattr(machine, "free_disk_gib", lambda _: 1.0)


@pytest.fixture
def doctor(capsys: pytest.CaptureFixture[str]) -> Callable[[], list[str]]:
    """Run the doctor here: the lines below its table."""

    def run() -> list[str]:
        assert main(["doctor"]) == 0
        return capsys.readouterr().out.partition("└")[2].splitlines()[1:]

    return run


def doctor_at(mount: str, at: Path, before: str) -> list[str]:
    """Run the command with a mount that only it sees, after other words of the shell."""
    at.mkdir()
    mounting = f"mount -t tmpfs {mount} tmpfs {shlex.quote(str(at))}"
    if (
        shutil.which("unshare") is None
        or subprocess.run([*APART, mounting], capture_output=True, check=False).returncode
    ):
        pytest.skip("nothing can be mounted here")
    words = f"{mounting}; at={shlex.quote(str(at))}; {before}; exec {shlex.join(COMMAND)}"
    done = subprocess.run([*APART, words], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    lines = done.stdout.partition("└")[2].splitlines()[1:]
    return [line for line in lines if "other work" not in line]  # this machine may be busy


def test_well(doctor: Callable[[], list[str]]) -> None:
    """Where nothing is wrong nothing is named; a machine without a GPU is well."""
    assert doctor() == [READY]


def test_table(capsys: pytest.CaptureFixture[str]) -> None:
    """The table says where training is; the JSON keeps the number, and lists the problems."""
    main(["doctor"])
    assert "none: training on the CPU" in capsys.readouterr().out
    main(["doctor", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert (found["gpus"], found["problems"]) == (0, [])
    assert found["cores"] == len(machine.usable_cores())


def test_gpus(doctor: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    """GPUs that TensorFlow does not see are named; training goes on without them."""
    monkeypatch.setattr(machine, "listed_gpus", lambda: 2)
    problem, verdict = doctor()
    assert problem.startswith(
        "note: TensorFlow sees none of the GPUs that NVIDIA's driver lists (2)"
    )
    assert "install tensorflow[and-cuda]" in problem
    assert verdict == READY
    monkeypatch.setattr(machine, "usable_gpus", lambda: 2)
    assert doctor() == [READY]


def test_busy(doctor: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    """Other work is told in whole cores."""
    monkeypatch.setattr(machine, "busy_cores", lambda: 0.6)
    n_cores = len(machine.usable_cores())
    problem, verdict = doctor()
    assert problem.startswith(f"note: other work keeps 1 of {n_cores} cores busy; --workers auto")
    assert "--nice" in problem
    assert verdict == READY


def test_memory(doctor: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    """Too little memory for one worker prevents training."""
    monkeypatch.setattr(machine, "available_memory_gib", lambda: 1.1)
    problem, verdict = doctor()
    assert "1.1 GiB of memory is free, and a worker takes 1.2 GiB" in problem
    assert verdict == "cannot train yet"


def test_packages(doctor: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that is not installed prevents training."""
    monkeypatch.setattr(machine, "PACKAGES", ("numpy", "no-such-package", "nor-this"))
    problem, verdict = doctor()
    assert problem.startswith("problem: not installed: no-such-package, nor-this; install")
    assert verdict == "cannot train yet"


def test_no_data(
    doctor: Callable[[], list[str]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Where MNIST is not here yet, the doctor says where to put it, and what happens without."""
    monkeypatch.delenv("MNIST_LAB_DATA")
    problem, verdict = doctor()
    assert problem.startswith("note: no file of MNIST is here yet: it will be downloaded")
    for words in ("--data", "MNIST_LAB_DATA", os.environ["KERAS_HOME"]):
        assert words in problem
    assert verdict == (
        "ready to train on MNIST, which is downloaded first "
        "(if that fails, on the sample of 5,000 digits)"
    )
    main(["doctor", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert (found["problems"], [f"note: {one}" for one in found["notes"]]) == ([], [problem])


def test_unusable_data(doctor: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    """Data that are given and cannot be used prevent training, in the words of the training."""
    Path("other.npz").write_bytes(b"no archive")
    monkeypatch.setenv("MNIST_LAB_DATA", "other.npz")
    problem, verdict = doctor()
    assert "other.npz" in problem
    assert verdict == "cannot train yet"


def test_low_disk(doctor: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    """Less than 1 GiB is named, of the disk that the runs go to; it trains as long as it lasts."""
    monkeypatch.setattr(machine, "free_disk_gib", lambda _: 0.9)
    monkeypatch.setattr(tempfile, "tempdir", str(Path.cwd()))
    problem, verdict = doctor()
    assert problem.startswith("note: 0.9 GiB is free on the disk of the current folder")
    assert verdict == READY
    Path("results").mkdir()
    assert "the disk of results in the current folder" in doctor()[0]


def test_results_that_are_a_file(doctor: Callable[[], list[str]]) -> None:
    """A file in the place of the folder is named, before a run fails at it."""
    Path("results").touch()
    problem, verdict = doctor()
    assert "runs cannot be written to results in the current folder (Not a directory)" in problem
    assert verdict == "cannot train yet"


def test_no_folder_for_temporary_files(
    doctor: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no folder takes temporary files, the variable that names one is told."""

    def refuse() -> str:
        raise FileNotFoundError(2, "No usable temporary directory found in ['/tmp']")

    monkeypatch.setattr(tempfile, "gettempdir", refuse)
    problem, verdict = doctor()
    assert problem.startswith(
        "problem: No usable temporary directory found in ['/tmp']; set TMPDIR"
    )
    assert verdict == "cannot train yet"


def test_nothing_is_left_behind(doctor: Callable[[], list[str]]) -> None:
    """The files that were tried are gone, and no folder was made."""
    doctor()
    assert list(Path().iterdir()) == []


def test_read_only_folder(tmp_path: Path) -> None:
    """A folder that not even root can write is named."""
    problem, verdict = doctor_at("-o ro", tmp_path / "here", 'cd "$at"')
    assert "runs cannot be written to results in the current folder (Read-only file sys" in problem
    assert verdict == "cannot train yet"


def test_full_disk(tmp_path: Path) -> None:
    """A disk on which no file fits prevents training."""
    fill = 'cd "$at"; head -c 1000000 /dev/zero > zeros 2> /dev/null || true'
    problem, verdict = doctor_at("-o size=64k", tmp_path / "here", fill)
    assert "the disk of the current folder is full (No space left on device)" in problem
    assert verdict == "cannot train yet"


def test_small_disk_for_temporary_files(tmp_path: Path) -> None:
    """A small disk for temporary files is named with its folder."""
    problem, verdict = doctor_at("-o size=8m", tmp_path / "tmp", 'export TMPDIR="$at"')
    assert f"0.0 GiB is free on the disk of {tmp_path / 'tmp'}, which takes temp" in problem
    assert verdict == READY


def test_read_only_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home folder in which Keras cannot keep MNIST is named; training goes on without."""
    monkeypatch.delenv("KERAS_HOME")
    problem, verdict = doctor_at("-o ro", tmp_path / "home", 'export HOME="$at"')
    cache = tmp_path / "home" / ".keras" / "datasets"
    assert f"Keras' cache, {cache}, cannot be written (Read-only file system)" in problem
    assert verdict == READY
