"""Kill anything, at any time: the same command again continues, to the same curves.

`MNIST_LAB_KILLS=200` makes the loop longer than CI has time for.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import lab
import psutil
import pytest
from lab import measured, wait_until_gone, workers_of

from mnist_lab.records import EpochDone, Started, timestamp
from mnist_lab.rundir import RunDir

if TYPE_CHECKING:
    import subprocess

N_KILLS = int(os.environ.get("MNIST_LAB_KILLS", "20"))
pytestmark = pytest.mark.usefixtures("can_be_hung_up")
SEARCH = ("random-search", "--iters", "12", "--epochs", "6", "--data", "sample", "--workers", "2")


@pytest.fixture(autouse=True)
def _not_too_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """An epoch takes long enough to be killed in."""
    monkeypatch.setenv("FORMULA_SECONDS", "0.03")


def start(out: str, *words: str) -> subprocess.Popen[str]:
    """Start the search."""
    return lab.start(*SEARCH, "--out", out, *words)


def finish(out: str, *words: str) -> str:
    """Let the search end well; what it said on standard error."""
    return lab.run(*SEARCH, "--out", out, *words).stderr


def ended_before(process: subprocess.Popen[str], out: str, chance: random.Random) -> bool:
    """Wait for a moment to kill: mostly while trials run, sometimes before; True if it ended."""
    journal = RunDir(Path(out)).journal
    size = journal.stat().st_size if journal.exists() else 0
    deadline = time.monotonic() + (chance.uniform(0.2, 2) if chance.random() < 0.2 else 60)
    while time.monotonic() < deadline and process.poll() is None:
        if journal.exists() and journal.stat().st_size > size + 300:  # more than a proposal
            time.sleep(chance.uniform(0, 0.5))
            break
        time.sleep(0.02)
    ended = process.poll() is not None
    if ended:
        process.communicate()
    return ended


def strike(process: subprocess.Popen[str], how: str, chance: random.Random) -> None:
    """Kill what `how` says; a worker's death alone does not end the run."""
    workers = workers_of(process)
    if how == "worker":
        if workers:
            with suppress(psutil.NoSuchProcess):  # it ended by itself
                chance.choice(workers).kill()
        time.sleep(0.3)
        process.kill()
    elif how == "all":
        for one in [psutil.Process(process.pid), *workers]:
            with suppress(psutil.NoSuchProcess):
                one.kill()
    else:
        os.kill(process.pid, {"main": signal.SIGKILL, "term": signal.SIGTERM}[how])
    process.communicate(timeout=60)
    wait_until_gone(workers)


def tear(out: str, chance: random.Random) -> None:
    """What a power cut leaves: a torn last line, and half of a checkpoint."""
    journal = RunDir(Path(out)).journal
    content = journal.read_bytes()
    if last := len(content.rstrip(b"\n").rpartition(b"\n")[2]):  # none: killed before the first
        journal.write_bytes(content[: len(content) - chance.randrange(1, last + 1)])
    checkpoints = RunDir(Path(out)).checkpoints
    for path in checkpoints.iterdir() if checkpoints.exists() else ():
        path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.proof
@pytest.mark.timeout(600 + 15 * N_KILLS)
def test_killed_again_and_again_it_ends_with_the_same_curves() -> None:
    """Random kills at random moments lose nothing but the epochs in progress."""
    chance = random.Random(1)  # noqa: S311 - chance, not secrecy
    finish("whole")
    n_kills = n_runs = n_again = 0
    while n_kills < N_KILLS:
        out = f"killed-{n_runs}"
        n_runs += 1
        while not ended_before(process := start(out), out, chance):
            n_kills += 1
            strike(process, chance.choice(["main", "main", "worker", "all", "term"]), chance)
            if RunDir(Path(out)).journal.exists() and chance.random() < 0.3:
                tear(out, chance)
        assert process.returncode == 0
        assert measured(out) == measured("whole")
        assert not RunDir(Path(out)).checkpoints.exists()
        events = RunDir(Path(out)).read_events()
        trained = [(e.trial, e.epoch.epoch) for e in events if isinstance(e, EpochDone)]
        n_again += len(trained) - len(set(trained))
    print(f"{n_kills} kills in {n_runs} runs; {n_again} epochs trained again")  # noqa: T201


@pytest.mark.proof
def test_seconds_of_a_killed_session_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """`spent_s` is what all sessions took, those too that could not write it."""
    monkeypatch.setenv("FORMULA_SECONDS", "0.2")
    process = start("killed")
    run = RunDir(Path("killed"))
    deadline = time.monotonic() + 60
    killed_s = 0.0
    while killed_s < 5:
        assert time.monotonic() < deadline
        time.sleep(0.1)
        if events := run.read_events():
            killed_s = timestamp(events[-1].time) - timestamp(events[0].time)
    workers = workers_of(process)
    process.kill()
    process.communicate(timeout=60)
    wait_until_gone(workers)
    finish("killed")
    info = run.read_info()
    own_s = timestamp(info.ended) - timestamp(info.continued)
    # From the start of the killed session to its last event, which came a moment after it was read.
    assert killed_s - 0.5 < info.spent_s - own_s < killed_s + 5


@pytest.mark.proof
def test_worker_killed_while_it_runs_is_replaced_within_two_seconds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A dead worker is noticed at once, and its trial goes on from its checkpoint elsewhere."""
    monkeypatch.setenv("FORMULA_SECONDS", "0.1")  # the other is idle soon
    process = start("replaced")
    run = RunDir(Path("replaced"))
    lab.wait_for_epochs(run.journal, 1, process)
    name = next(one.worker for one in run.read_events() if isinstance(one, Started))
    victim = next(one for one in workers_of(process) if f".{one.pid}." in name)
    victim.kill()
    killed = time.time()
    process.communicate(timeout=120)
    assert process.returncode == 0
    events = run.read_events()
    again = [e for e in events if isinstance(e, Started) and e.attempt == 2]
    assert len(again) == 1
    before = events[: events.index(again[0])]
    done = [e for e in before if isinstance(e, EpochDone) and e.trial == again[0].trial]
    assert again[0].from_epoch == len(done)
    assert f".{victim.pid}." not in again[0].worker
    noticed = time.mktime(time.strptime(again[0].time[:19], "%Y-%m-%dT%H:%M:%S")) - time.timezone
    assert noticed - killed < 2


@pytest.mark.proof
@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT])
def test_closed_terminal_and_two_interrupts(number: signal.Signals) -> None:
    """SIGHUP keeps what is finished; a second Ctrl-C stops at once. No process is left."""
    process = start("stopped")
    while not (workers := workers_of(process)):
        time.sleep(0.05)
    time.sleep(1.0)
    os.kill(process.pid, number)
    if number == signal.SIGINT:
        time.sleep(0.01)
        os.kill(process.pid, number)
    process.communicate(timeout=20)
    assert process.returncode == (143 if number == signal.SIGHUP else 130)
    wait_until_gone(workers)
    finish("stopped")


@pytest.mark.proof
def test_run_under_nohup_outlives_its_terminal() -> None:
    """Who asks for SIGHUP to be ignored is obeyed."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    process = start("kept")
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    while not workers_of(process):
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGHUP)
    process.communicate(timeout=120)
    assert process.returncode == 0


def test_time_limit_ends_the_run_cleanly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Results so far, one line, exit code 75, no process; the same command goes on to the end."""
    monkeypatch.setenv("FORMULA_SECONDS", "0.5")
    limited = start("limited", "--time-limit", "15s")
    while not (workers := workers_of(limited)):
        time.sleep(0.05)
    _, printed = limited.communicate(timeout=60)
    assert limited.returncode == 75
    wait_until_gone(workers)
    assert re.search(r"(?:all|\d+ of) 12 trials will fit before (?:\w+ )?\d\d:\d\d:\d\d\n", printed)
    run = RunDir(Path("limited"))
    n_done = sum(trial.state == "complete" for trial in run.read_trials())
    assert 0 < n_done < 12
    said = f"Stopped (the time limit is reached): {n_done} of 12 trials finished, "
    assert printed.splitlines()[-1].startswith(said)
    assert run.read_info().state == "stopped"
    assert run.best.exists()
    monkeypatch.setenv("FORMULA_SECONDS", "0.03")
    finish("limited")
    assert n_trained("limited") == 12 * 6


def test_time_limit_before_the_first_trial_leaves_a_run_that_continues(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A limit shorter than the first trial loses nothing."""
    monkeypatch.setenv("FORMULA_SECONDS", "10")
    limited = start("limited", "--time-limit", "1s")
    _, printed = limited.communicate(timeout=60)
    assert limited.returncode == 75
    assert "0 of 12 trials finished, 0 epochs saved" in printed
    monkeypatch.setenv("FORMULA_SECONDS", "0.03")
    finish("limited")


def n_trained(out: str) -> int:
    """How many epochs were trained in all."""
    return sum(isinstance(one, EpochDone) for one in RunDir(Path(out)).read_events())


@pytest.mark.proof
def test_the_journal_decides_what_is_complete() -> None:
    """Lost or damaged files are made again; a journal that lost events is trained to its end."""
    finish("whole")
    run = RunDir(Path("whole"))
    before = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    run.curves.write_bytes(b"{")
    run.findings.unlink()
    shutil.rmtree(run.hpbandster)
    for figure in run.path.glob("*.svg"):
        figure.unlink()
    assert "starts" not in finish("whole")
    after = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    assert after.keys() == before.keys()
    pictures = (".png", ".svg")  # they have the time that they were made
    assert [
        path for path in after if path.suffix not in pictures and after[path] != before[path]
    ] == []

    journal = run.journal.read_bytes()
    lines = journal.splitlines(keepends=True)
    expected = measured("whole")
    for kept in (b"".join(lines[: len(lines) // 2]), b"", journal[:-9]):
        run.journal.write_bytes(kept)
        assert run.read_state()[0].state == "interrupted"
        finish("whole")
        assert run.read_state()[0].state == "complete"
        assert measured("whole") == expected


@pytest.mark.proof
def test_failed_trials_are_tried_again_and_the_rest_is_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What failed for a reason outside is trained with --retry-failed, and nothing else is."""
    finish("whole")
    batch_size = RunDir(Path("whole")).read_trials()[3].configuration.batch_size
    with monkeypatch.context() as patch:
        patch.setenv("FORMULA_RAISES", str(batch_size))
        finish("retried")
    assert [one.state for one in RunDir(Path("retried")).read_trials()].count("failed") == 1
    assert measured("retried") != measured("whole")
    before = n_trained("retried")
    finish("retried")  # it is complete, as it stands
    assert n_trained("retried") == before
    finish("retried", "--retry-failed")
    assert measured("retried") == measured("whole")
    assert n_trained("retried") == before + 6
    # Where all fail the advice is true, and what it says works.
    with monkeypatch.context() as patch:
        patch.setenv("FORMULA_RAISES", "*")
        process = start("all")
        _, said = process.communicate(timeout=120)
    assert process.returncode == 1
    assert said.splitlines()[-1].endswith("then run the same command with --retry-failed")
    finish("all", "--retry-failed")
    assert measured("all") == measured("whole")
