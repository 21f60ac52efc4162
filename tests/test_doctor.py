"""The doctor: what keeps training from being fast, whole or possible is named, with what to do."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mnist_lab import machine
from mnist_lab.cli import main

if TYPE_CHECKING:
    from collections.abc import Callable

READY = "ready to train on the sample of 5,000 digits"
NOT_READY = "not ready: fix the problems below"
N_CORES = len(machine.usable_cores())
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
    """Run the doctor here: the lines above its table."""

    def run() -> list[str]:
        assert main(["doctor"]) == 0
        return capsys.readouterr().out.partition("\n\n")[0].splitlines()

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
    lines = done.stdout.partition("\n\n")[0].splitlines()
    return [line for line in lines if "other work" not in line]  # this machine may be busy


def test_well(
    doctor: Callable[[], list[str]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Where nothing is wrong nothing is named, and nothing left behind; the JSON keeps numbers."""
    assert doctor() == [READY]
    assert list(Path().iterdir()) == []
    main(["doctor"])
    assert "none: training on the CPU" in capsys.readouterr().out
    main(["doctor", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert (found["gpus"], found["problems"], found["cores"]) == (0, [], N_CORES)
    for name in ("listed_gpus", "usable_gpus"):
        monkeypatch.setattr(machine, name, lambda: 2)
    assert doctor() == [READY]


# What is odd of a machine, and what is said: a note where training goes on without, else a problem.
GPUS = r"note: TensorFlow sees none of .* driver lists \(2\).* install tensorflow\[and-cuda\]"
BUSY = f"note: other work keeps 1 of {N_CORES} cores busy; --workers auto starts.* --nice"
ODD: dict[str, tuple[Any, str]] = {
    "listed_gpus": (lambda: 2, GPUS),
    "busy_cores": (lambda: 0.6, BUSY),
    "available_memory_gib": (lambda: 1.1, "problem: 1.1 GiB of memory is free, .* takes 1.2 GiB;"),
    "PACKAGES": (("numpy", "none", "nor-this"), "problem: not installed: none, nor-this; install"),
    "free_disk_gib": (lambda _: 0.9, "note: only 0.9 GiB is free on the disk of the current"),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_machine(
    doctor: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """It is named, with what to do, and prevents training or does not."""
    value, match = ODD[name]
    monkeypatch.setattr(machine, name, value)
    monkeypatch.setattr(tempfile, "tempdir", str(Path.cwd()))
    verdict, problem = doctor()
    assert re.match(match, problem)
    assert verdict == (READY if match.startswith("note") else NOT_READY)


def test_no_data(
    doctor: Callable[[], list[str]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Where MNIST is not here yet, the doctor says where to put it, and what happens without."""
    monkeypatch.delenv("MNIST_LAB_DATA")
    verdict, problem = doctor()
    assert problem.startswith("note: MNIST is not here yet: it will be downloaded")
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
    verdict, problem = doctor()
    assert "other.npz" in problem
    assert verdict == NOT_READY


def test_results(doctor: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    """Their disk is the one that counts; a file in their place is named before a run fails."""
    monkeypatch.setattr(tempfile, "tempdir", str(Path.cwd()))
    Path("results").touch()
    verdict, problem = doctor()
    assert "runs cannot be written to results in the current folder (Not a directory)" in problem
    assert verdict == NOT_READY
    Path("results").unlink()
    Path("results").mkdir()
    monkeypatch.setattr(machine, "free_disk_gib", lambda _: 0.9)
    assert "the disk of results in the current folder" in doctor()[1]


def test_no_folder_for_temporary_files(
    doctor: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no folder takes temporary files, the variable that names one is told."""

    def refuse() -> str:
        raise FileNotFoundError(2, "No usable temporary directory found in ['/tmp']")

    monkeypatch.setattr(tempfile, "gettempdir", refuse)
    verdict, problem = doctor()
    assert problem.startswith(
        "problem: No usable temporary directory found in ['/tmp']; set TMPDIR"
    )
    assert verdict == NOT_READY


# A file system, how it is used, what is said then.
FILL = 'cd "$at"; head -c 1000000 /dev/zero > zeros 2> /dev/null || true'
HOME = 'unset KERAS_HOME; export HOME="$at"'
NO_CACHE = r"note: Keras' cache, {at}/.keras/datasets, cannot be written \(Read-only file system\)"
MOUNTS = {
    "read-only": ("-o ro", 'cd "$at"', r"problem: runs cannot be written .* \(Read-only file sys"),
    "full": ("-o size=64k", FILL, r"problem: the disk of the current folder is full \(No space"),
    "temporary": ("-o size=8m", 'export TMPDIR="$at"', "note: only 0.0 GiB is free .* {at} "),
    "home": ("-o ro", HOME, NO_CACHE),
}


@pytest.mark.parametrize("name", MOUNTS)
def test_folders(tmp_path: Path, name: str) -> None:
    """What not even root can write, or only a little, is named before a run fails at it."""
    mount, before, match = MOUNTS[name]
    verdict, problem = doctor_at(mount, tmp_path / "here", before)
    assert re.match(match.format(at=tmp_path / "here"), problem)
    assert verdict == (READY if match.startswith("note") else NOT_READY)
