"""Commands as a user gives them, each in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

TESTS = Path(__file__).parent
REFERENCE = TESTS.parent / "results" / "reference"
REAL = [sys.executable, "-m", "mnist_lab"]
# Whose workers compute the formula, where no number is looked at.
LAB = [sys.executable, str(TESTS / "formula_lab.py")]


def start(*words: str, command: list[str] = LAB, **environment: str) -> subprocess.Popen[str]:
    """Start a command."""
    return subprocess.Popen(
        [*command, *words],
        env=os.environ | {"PYTHONPATH": str(TESTS)} | environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(*words: str, code: int = 0, command: list[str] = LAB) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, which is this one."""
    process = start(*words, command=command)
    out, err = process.communicate(timeout=300)
    assert process.returncode == code, err
    return subprocess.CompletedProcess(words, code, out, err)


def n_epochs(journal: Path) -> int:
    """How many epochs are in the journal."""
    return journal.read_bytes().count(b'"event":"epoch"') if journal.exists() else 0


def wait_for_epochs(journal: Path, n: int, process: subprocess.Popen[str]) -> None:
    """Until so many stand in the journal of a process that goes on."""
    deadline = time.monotonic() + 120
    while n_epochs(journal) < n:
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.01)
