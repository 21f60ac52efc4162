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
    ("-v 100000", "space --json", "at least 0.25 GiB of addresses.* a limit of 0.10 GiB"),
    ("-v 800000", TRAIN, "up to 3 GiB of addresses.* a limit of 0.8 GiB"),
    ("-v 2000000", TRAIN, "up to 3 GiB of addresses.* a limit of 1.9 GiB"),
    ("-n 6", "space", r"needs more open files.* a limit of 6 \(ulimit -n\)"),
    ("-n 12", TRAIN, "--workers 1 opens up to 131 files.* a limit of 12"),
    ("-d 300000", TRAIN, r"needs more.* a limit of 0.29 GiB \(ulimit -d\)"),
]


@pytest.mark.parametrize(("limit", "command", "match"), LIMITS)
def test_small_limits(limit: str, command: str, match: str) -> None:
    """Whatever the system does not give: exit code 1, one line, nothing half done."""
    done = limited(f"ulimit {limit}", command)
    assert done.returncode == 1, done.stderr
    assert re.search(f"^mnist-lab: .*{match}", done.stderr.splitlines()[-1])
    assert "Traceback" not in done.stderr


def test_doctor_agrees() -> None:
    """Where no worker would start it names the limit, and is not ready to train."""
    for shell in ("ulimit -v 800000", "ulimit -n 12"):
        done = limited(shell, "doctor")
        assert done.returncode == 0, done.stderr
        assert "a limit of" in done.stdout
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
    told = "loopback interface, 127.0.0.1: got Network is unreachable; bring it up"
    assert (told in " ".join((done.stdout + done.stderr).split())) is (command != "space --json")
    assert "ready to train" not in done.stdout


SHORTAGES = [
    (MemoryError(), "more memory: got MemoryError"),
    (OSError(12, "Cannot allocate memory"), "more memory"),
    (OSError(24, "Too many open files"), "more open files"),
    (OSError(23, "Too many open files in system"), "more open files"),
    (BlockingIOError(11, "Resource temporarily unavailable"), "more processes and threads"),
    (RuntimeError("can't start new thread"), "more processes and threads"),
    (OSError("Matplotlib requires access to a writable cache directory"), "a folder for"),
    (ImportError("x.so: failed to map segment from shared object"), "more memory"),
]


def test_shortages() -> None:
    """They are recognised, behind another error too; what is no shortage is not."""
    for problem, what in SHORTAGES:
        outer = ValueError("something")
        assert machine.shortage(outer) is None
        outer.__context__ = problem
        for one in (problem, outer):
            assert f"this command needs {what}" in str(machine.shortage(one))
