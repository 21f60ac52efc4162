"""Commands as a user gives them, each in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

if TYPE_CHECKING:
    from collections.abc import Callable

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


def run(
    *words: str, code: int = 0, command: list[str] = LAB, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, which is this one."""
    process = start(*words, command=command, **environment)
    out, err = process.communicate(timeout=300)
    assert process.returncode == code, err
    return subprocess.CompletedProcess(words, code, out, err)


def n_epochs(journal: Path) -> int:
    """How many epochs are in the journal."""
    return journal.read_bytes().count(b'"event":"epoch"') if journal.exists() else 0


def wait_for(
    happens: Callable[[], object], process: subprocess.Popen[str] | None = None, seconds: float = 60
) -> None:
    """Wait until it happens; a process that ends first tells why."""
    deadline = time.monotonic() + seconds
    while not happens():
        assert time.monotonic() < deadline
        if process is not None:
            assert process.poll() is None, process.communicate()
        time.sleep(0.01)


def wait_for_epochs(journal: Path, n: int, process: subprocess.Popen[str]) -> None:
    """Until so many stand in the journal of a process that goes on."""
    wait_for(lambda: n_epochs(journal) >= n, process, 120)


def measured(out: str) -> list[Any]:
    """The trials in curves.json, without times and workers."""
    trials = json.loads(Path(out, "curves.json").read_text(encoding="utf-8"))["trials"]
    return [
        (
            trial["id"],
            trial["configuration"],
            trial["seed"],
            trial["state"],
            [(epoch["epoch"], epoch["valid_error"]) for epoch in trial["epochs"]],
        )
        for trial in sorted(trials, key=lambda trial: trial["id"])
    ]


def workers_of(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """The worker processes of a run, as far as they live."""
    try:
        return psutil.Process(process.pid).children()
    except psutil.NoSuchProcess:
        return []


def wait_until_gone(processes: list[psutil.Process]) -> None:
    """No process is left behind."""
    _, alive = psutil.wait_procs(processes, timeout=20)
    assert alive == []
