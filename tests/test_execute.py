"""The engine with real processes over real sockets, training by a formula."""

from __future__ import annotations

import re
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import formula
import psutil
import pytest
from test_search import decide, formula_trainer, grid, results, search, whole

from mnist_lab.errors import RunDirError, StudyError
from mnist_lab.execute.places import Local
from mnist_lab.execute.pool import WorkerSlot
from mnist_lab.records import Event, Failed, Proposed, Started, fold
from mnist_lab.rundir import RunDir

if TYPE_CHECKING:
    from mnist_lab.execute.cluster import Cluster
    from mnist_lab.search.proposals import Proposals


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let worker processes import the formula."""
    monkeypatch.setenv("PYTHONPATH", str(Path(formula.__file__).parent))


def run(
    proposals: Proposals, *, n_workers: int = 2, niceness: int = 0, **options: Any
) -> list[Event]:
    """The new events of a run by processes of this machine; see `decide` for its options."""

    def open_cluster() -> Cluster:
        place = Local([WorkerSlot(niceness=niceness)] * n_workers)
        run_dir = RunDir(Path("run"))
        run_dir.create()
        return place.open(
            formula_trainer(), most=n_workers, shared=0, run_dir=run_dir, note=lambda _: None
        )

    return decide(proposals, open_cluster=open_cluster, **options)


def children() -> list[psutil.Process]:
    """The processes that this one started and that still run."""
    return [child for child in psutil.Process().children() if child.status() != "zombie"]


def test_dead_worker_is_replaced_and_its_trial_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker killed in the middle costs its trial's attempt, and nothing else."""
    undisturbed = whole("search", 4)
    monkeypatch.setenv("FORMULA_DIES_ONCE", str(tmp_path / "died"))
    events = run(search(4))
    assert [e.attempt for e in events if isinstance(e, Started) and e.attempt > 1] == [2]
    assert results(events) == results(undisturbed)


def test_stuck_worker_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that is silent for too long is killed; its trial goes on after its last epoch."""
    undisturbed = whole("search", 4)
    monkeypatch.setenv("FORMULA_STUCK_ONCE", str(tmp_path / "stuck"))
    monkeypatch.setenv("FORMULA_SECONDS", "0.2")
    notes: list[str] = []
    events = run(search(4), patience_s=5, notes=notes)
    (again,) = (e for e in events if isinstance(e, Started) and e.attempt > 1)
    assert again.from_epoch >= 1
    assert results(events) == results(undisturbed)
    assert re.fullmatch(r"worker .+ finished no epoch for [56] s", "".join(notes))
    assert children() == []


@pytest.mark.proof
def test_suspended_study_takes_no_worker_for_stuck(monkeypatch: pytest.MonkeyPatch) -> None:
    """While this process does not look, time stands still, as on a laptop that slept."""
    monkeypatch.setenv("FORMULA_SECONDS", "0.5")
    slept = False

    def tick() -> None:
        nonlocal slept
        if not slept and len(events) > 2:
            slept = True
            time.sleep(5)

    events: list[Event] = []
    run(grid(16), emit=events.append, n_workers=1, tick=tick, patience_s=3)
    assert slept
    assert [event.attempt for event in events if isinstance(event, Started)] == [1]


def test_worker_that_is_never_ready_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that neither dies nor starts is not waited for without end."""
    monkeypatch.setenv("FORMULA_ASLEEP", "1")
    monkeypatch.setattr("mnist_lab.execute.pool.START_PATIENCE_S", 2.0)
    with pytest.raises(StudyError, match="a worker was not ready after 2 s"):
        run(grid(16))
    assert children() == []


def test_worker_that_grows_is_started_anew_between_trials(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that grew by half a gibibyte leaves after its trial, and no trial is tried twice."""
    undisturbed = whole("search", 4)
    monkeypatch.setenv("FORMULA_LEAKS_MIB", "150")
    notes: list[str] = []
    events = run(search(4), n_workers=1, notes=notes)
    assert results(events) == results(undisturbed)
    begun = [event for event in events if isinstance(event, Started)]
    assert [event.attempt for event in begun] == [1, 1, 1, 1]
    assert len({event.worker for event in begun}) == 2
    assert re.fullmatch(
        r"worker .+ is restarted: its memory grew from [\d.]+ to [\d.]+ GiB", "".join(notes)
    )


def test_nice_workers_give_way() -> None:
    """A place's niceness is that of its worker, of the threads it starts, and of its session."""
    seen: set[int] = set()
    groups: set[str] = set()

    def tick() -> None:
        for child in children():
            seen.add(child.nice())
            with suppress(OSError):  # only where Linux groups processes
                groups.add(Path(f"/proc/{child.pid}/autogroup").read_text().split()[-1])

    run(grid(16), niceness=7, tick=tick)
    nice = min(psutil.Process().nice() + 7, 19)
    assert nice in seen
    assert not groups or str(nice) in groups


@pytest.mark.parametrize(
    ("variable", "reason"),
    [
        ("FORMULA_DIES", r"its worker was killed by signal 9 \(SIGKILL"),
        ("FORMULA_RAISES", "ValueError: no formula for batch size 32"),
    ],
)
def test_trial_that_cannot_be_trained_fails_after_three_attempts(
    variable: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its failure is a result with the reason, and the other trials are trained."""
    monkeypatch.setenv(variable, "32")
    events = run(grid(16, 32, 64))
    failed = [event for event in events if isinstance(event, Failed)]
    assert len(failed) == 1
    assert re.search(reason, failed[0].reason)
    attempts = [e for e in events if isinstance(e, Started) and e.trial == failed[0].trial]
    assert [event.attempt for event in attempts] == [1, 2, 3]
    assert [trial.state for trial in fold(events)] == ["complete", "failed", "complete"]
    again = run(grid(16, 32, 64), history=events)
    assert again == []


def test_worker_that_cannot_start_ends_the_run_with_its_own_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The worker's error is the run's, at once and not after a minute of silence."""
    monkeypatch.setenv("FORMULA_UNUSABLE", "1")
    start = time.monotonic()
    with pytest.raises(StudyError, match="the formula has no data; give it some"):
        run(grid(16))
    assert time.monotonic() - start < 20
    assert children() == []


@pytest.mark.parametrize("raised", [RuntimeError("broken"), RunDirError("the disk has room")])
def test_whatever_goes_wrong_ends_the_run(raised: Exception) -> None:
    """What writing an event raises comes to the caller, with every worker gone."""

    def emit(event: Event) -> None:
        if not isinstance(event, Proposed):
            raise raised

    with pytest.raises(type(raised), match=str(raised)):
        run(grid(16), emit=emit)
    assert children() == []


def test_interrupt_leaves_no_process_and_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the caller's tick raises comes back at once, with every worker gone."""
    monkeypatch.setenv("FORMULA_SECONDS", "0.2")
    before = set(threading.enumerate())
    seen: list[psutil.Process] = []

    def tick() -> None:
        seen[:] = children()
        if len(seen) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(grid(*range(1, 50)), tick=tick)
    assert len(seen) == 2
    assert children() == []
    deadline = time.monotonic() + 5  # Dask's thread ends a moment later
    while set(threading.enumerate()) - before and time.monotonic() < deadline:
        time.sleep(0.05)
    left = {thread.name for thread in set(threading.enumerate()) - before}
    assert "IO loop" not in left
