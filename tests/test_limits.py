"""Small limits of the system: one line with what is needed and what was there, and no traceback."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from mnist_lab import machine

COMMAND = Path(sys.executable).with_name("mnist-lab")
TRAIN = "train --data sample --epochs 1 --workers 1"


def limited(shell: str, command: str) -> subprocess.CompletedProcess[str]:
    """Run a command from a shell that has said `shell` before."""
    return subprocess.run(
        ["/bin/bash", "-c", f"{shell} && exec {COMMAND} {command}"],
        capture_output=True,
        text=True,
        check=False,
    )


LIMITS = [
    ("-v 100000", "space --json", "a limit of 0.10 GiB of addresses is too low; 0.25 GiB"),
    ("-v 800000", TRAIN, "up to 3 GiB of addresses.* the limit is 0.8 GiB"),
    ("-v 2000000", TRAIN, "up to 3 GiB of addresses.* the limit is 1.9 GiB"),
    ("-n 5", "space", r"not enough open files.* a limit of 5 \(ulimit -n\)"),
    ("-n 12", TRAIN, "--workers 1 opens up to 131 files.* the limit is 12"),
    ("-d 300000", TRAIN, "needs 0.55 GiB for its data, and the limit is 0.3 GiB"),
]


@pytest.mark.parametrize(("limit", "command", "match"), LIMITS)
def test_small_limits(limit: str, command: str, match: str) -> None:
    """Whatever the system does not give: exit code 1, one line, nothing half done."""
    done = limited(f"ulimit {limit}", command)
    assert done.returncode == 1, done.stderr
    assert re.search(f"^error: .*{match}", done.stderr, re.MULTILINE)
    assert "Traceback" not in done.stderr


def test_doctor_agrees() -> None:
    """Where no worker would start it names the limit, and is not ready to train."""
    for shell in ("ulimit -v 800000", "ulimit -n 12"):
        done = limited(shell, "doctor")
        assert done.returncode == 0, done.stderr
        assert "the limit is" in done.stdout
        assert "ready to train" not in done.stdout


@pytest.mark.parametrize(("command", "code"), [(TRAIN, 1), ("doctor", 0), ("space --json", 0)])
def test_no_loopback_interface(command: str, code: int) -> None:
    """What trains says what is missing and what to do, so does the doctor; the rest works."""
    apart = ["unshare", "--net"]
    try:
        subprocess.run([*apart, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs a network namespace of its own, which root on Linux can make")
    done = subprocess.run(
        [*apart, COMMAND, *command.split()], capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stderr
    told = "loopback interface, 127.0.0.1 (Network is unreachable)"
    assert (told in " ".join((done.stdout + done.stderr).split())) is (command != "space --json")
    assert "ready to train" not in done.stdout


SHORTAGES = [
    (MemoryError(), "memory: MemoryError"),
    (OSError(12, "Cannot allocate memory"), "not enough memory"),
    (OSError(24, "Too many open files"), "not enough open files"),
    (OSError(23, "Too many open files in system"), "not enough open files"),
    (BlockingIOError(11, "Resource temporarily unavailable"), "not enough processes or threads"),
    (RuntimeError("can't start new thread"), "not enough processes or threads"),
    (OSError("Matplotlib requires access to a writable cache directory"), "no folder for"),
    (ImportError("x.so: failed to map segment from shared object"), "not enough memory"),
]


def test_shortages() -> None:
    """They are recognised, behind another error too; what is no shortage is not."""
    for problem, what in SHORTAGES:
        outer = ValueError("something")
        assert machine.shortage(outer) is None
        outer.__context__ = problem
        for one in (problem, outer):
            assert what in str(machine.shortage(one))
