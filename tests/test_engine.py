"""The engine, with real processes over real Pyro4, training by a formula."""

from __future__ import annotations

import re
import threading
import time
from contextlib import suppress
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import formula
import numpy as np
import psutil
import pytest

from mnist_lab.config import Bracket, TrainConfig, bracket
from mnist_lab.engine import WorkerSlot, run_trials
from mnist_lab.engine.density import Cube, DensityModel
from mnist_lab.engine.ledger import Ledger
from mnist_lab.engine.proposals import Bohb, Grid, Sampled, derive_seed
from mnist_lab.errors import LabError, RunDirError, StudyError
from mnist_lab.records import (
    Checkpoint,
    EpochDone,
    Event,
    Failed,
    Finished,
    Promoted,
    Proposed,
    Started,
    fold,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mnist_lab.engine.proposals import Proposals

BASE = TrainConfig(epochs=3)


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let worker processes import the formula."""
    monkeypatch.setenv("PYTHONPATH", str(Path(formula.__file__).parent))


class Memory:
    """A store that forgets everything with the test."""

    def __init__(self) -> None:
        self.models: list[bytes] = []
        self.checkpoints: dict[int, Checkpoint] = {}

    def write_checkpoint(self, trial: Proposed, checkpoint: Checkpoint) -> None:
        """Keep the latest."""
        self.checkpoints[trial.trial] = checkpoint

    def read_checkpoint(self, trial: Proposed) -> Checkpoint | None:
        """What was kept."""
        return self.checkpoints.get(trial.trial)

    def drop_checkpoint(self, trial: Proposed) -> None:
        """Forget it."""
        self.checkpoints.pop(trial.trial, None)

    def write_model(self, _: Proposed, content: bytes) -> None:
        """Keep all."""
        self.models.append(content)


def grid(*batch_sizes: int, repeats: int = 1) -> Grid:
    """A grid over batch sizes."""
    configurations: list[dict[str, Any]] = [{"batch_size": size} for size in batch_sizes]
    all_of_them = Bracket((len(batch_sizes) * repeats,), (BASE.epochs,))
    return Grid(configurations, repeats=repeats, bracket=all_of_them, seed=0)


def draw(seed: int) -> dict[str, Any]:
    """A configuration of the search space: a batch size."""
    return {"batch_size": 1 + seed % 1000}


def search(n_iterations: int) -> Sampled:
    """A random search over batch sizes."""
    return Sampled(draw, brackets=[Bracket((1,), (3,))] * n_iterations, seed=5)


@cache
def whole(name: str, n_iterations: int = 0) -> tuple[Event, ...]:
    """The events of an undisturbed search of so many iterations, or Hyperband, by two workers."""
    return tuple(run(hyperband() if name == "hyperband" else search(n_iterations)))


BRACKETS = [bracket(number, 1, 9) for number in range(3)]


def hyperband() -> Sampled:
    """Hyperband over batch sizes: three brackets, up to nine epochs."""
    return Sampled(draw, brackets=BRACKETS, seed=5)


def bohb(history: Sequence[Event] = ()) -> Bohb:
    """BOHB over batch sizes: twelve brackets, enough for a model."""
    cube = Cube(
        (0,),
        lambda values: np.array([(values["batch_size"] - 1) / 999]),
        lambda vector: {"batch_size": 1 + round(float(vector[0]) * 999)},
    )
    recorded = {
        event.id: {"batch_size": event.configuration.batch_size}
        for event in history
        if isinstance(event, Proposed)
    }
    brackets = [bracket(number, 1, 9) for number in range(6)]
    return Bohb(draw, brackets=brackets, seed=5, model=DensityModel(cube), recorded=recorded)


def run(
    proposals: Proposals,
    *,
    history: Sequence[Event] = (),
    n_workers: int = 2,
    tick: Callable[[], None] = lambda: None,
    emit: Callable[[Event], None] | None = None,
    store: Memory | None = None,
    patience_s: float = 300.0,
    niceness: int = 0,
    notes: list[str] | None = None,
) -> list[Event]:
    """The new events of a run."""
    events: list[Event] = []
    run_trials(
        proposals=proposals,
        base=BASE,
        history=history,
        emit=emit or events.append,
        store=store or Memory(),
        trainer=formula.TRAINER,
        arguments={},
        places=[WorkerSlot(niceness=niceness)] * n_workers,
        n_threads=1,
        host="127.0.0.1",
        announce=lambda *_: None,
        patience_s=lambda _: patience_s,
        tick=tick,
        note=([] if notes is None else notes).append,
    )
    return events


def results(events: Sequence[Event]) -> dict[Any, Any]:
    """What the trials measured, without times and places."""
    return {
        trial.id: (
            trial.configuration,
            trial.seed,
            trial.state,
            [epoch.valid_error for epoch in trial.epochs],
            [(rung.budget, rung.valid_error) for rung in trial.rungs],
        )
        for trial in fold(events)
    }


def children() -> list[psutil.Process]:
    """The processes that this one started and that still run."""
    return [child for child in psutil.Process().children() if child.status() != "zombie"]


def test_grid_trains_every_configuration_with_every_repeat() -> None:
    """Each value and repeat becomes one trial, with all its epochs and the formula's results."""
    trials = fold(run(grid(16, 32, 64, repeats=2)))
    assert [(t.configuration.batch_size, t.repeat) for t in trials] == [
        (size, repeat) for size in (16, 32, 64) for repeat in (1, 2)
    ]
    for trial in trials:
        assert trial.state == "complete"
        assert [epoch.valid_error for epoch in trial.epochs] == [
            formula.error_of(trial.configuration, trial.seed, number) for number in (1, 2, 3)
        ]


def test_repeats_share_seeds_across_values() -> None:
    """The seed comes from the repeat alone, so that values are compared pair by pair."""
    trials = fold(run(grid(16, 32, repeats=2)))
    assert {trial.repeat: trial.seed for trial in trials} == {
        1: derive_seed(0, 1),
        2: derive_seed(0, 2),
    }


@pytest.mark.parametrize("n_workers", [1, 4])
def test_results_do_not_depend_on_the_number_of_workers(n_workers: int) -> None:
    """One worker or four propose and measure the same as two."""
    assert results(run(search(6), n_workers=n_workers)) == results(whole("search", 6))


def test_models_are_handed_over() -> None:
    """A trial's model arrives with its content."""
    store = Memory()
    run(grid(16), store=store)
    assert store.models == [b"a model"]


@pytest.mark.parametrize("n_kept", [1, 7, 12, 20])
def test_resuming_trains_only_what_the_journal_lacks(n_kept: int) -> None:
    """Wherever a journal breaks off, the rest is trained and the whole is the same."""
    undisturbed = whole("search", 5)
    history = undisturbed[:n_kept]
    finished = {event.trial for event in history if isinstance(event, Finished)}
    rest = run(search(5), history=history)
    assert not finished & {event.trial for event in rest}
    assert results([*history, *rest]) == results(undisturbed)


@pytest.mark.proof
def test_resuming_goes_on_after_the_last_finished_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    """No epoch that the journal has is trained again, and the whole is the same."""
    whole = run(grid(16, 32, 64))
    store, history = Memory(), list[Event]()
    monkeypatch.setenv("FORMULA_SECONDS", "0.6")

    def tick() -> None:
        if sum(isinstance(event, EpochDone) for event in history) >= 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(grid(16, 32, 64), store=store, emit=history.append, tick=tick)
    assert store.checkpoints
    rest = run(grid(16, 32, 64), history=history, store=store)
    assert results([*history, *rest]) == results(whole)
    trained = [(e.trial, e.epoch.epoch) for e in [*history, *rest] if isinstance(e, EpochDone)]
    assert sorted(trained) == [(trial, epoch) for trial in (1, 2, 3) for epoch in (1, 2, 3)]
    assert store.checkpoints == {}


@pytest.mark.parametrize("n_lost", [0, 1, 2])
def test_journal_and_checkpoint_may_differ(n_lost: int) -> None:
    """A checkpoint that knows one epoch more teaches the journal; one that knows two is void."""
    whole = run(grid(16))
    epochs = [event.epoch for event in whole if isinstance(event, EpochDone)]
    history = [event for event in whole if not isinstance(event, Finished)]
    history = history[: len(history) - n_lost]
    store = Memory()
    store.checkpoints[1] = Checkpoint(epochs[-1], b"after epoch 3")
    rest = run(grid(16), history=history, store=store)
    learnt = [event.epoch for event in rest if isinstance(event, EpochDone)]
    assert learnt == {0: [], 1: epochs[-1:], 2: epochs}[n_lost]
    assert results([*history, *rest]) == results(whole)


def test_trial_without_its_checkpoint_starts_again() -> None:
    """Epochs whose state is gone are void and trained again, to the same numbers."""
    whole = run(grid(16))
    history = [event for event in whole if not isinstance(event, Finished)]
    rest = run(grid(16), history=history)
    assert [e.epoch.epoch for e in rest if isinstance(e, EpochDone)] == [1, 2, 3]
    assert [len(trial.epochs) for trial in fold([*history, *rest])] == [3]
    assert results([*history, *rest]) == results(whole)


def test_complete_journal_needs_no_worker() -> None:
    """What is known already is answered without starting a process."""
    seen: list[psutil.Process] = []
    assert run(search(3), history=whole("search", 3), tick=lambda: seen.extend(children())) == []
    assert seen == []


def test_more_iterations_continue_a_search() -> None:
    """Raising the iterations trains the new ones only, and they are those of a longer search."""
    history = whole("search", 2)
    rest = run(search(4), history=history)
    assert len({event.trial for event in rest}) == 2
    assert results([*history, *rest]) == results(whole("search", 4))


def test_hyperband_promotes_the_best_which_go_on_from_their_checkpoints() -> None:
    """HpBandSter's numbers; no epoch is trained twice, and the best of each rung are promoted."""
    store = Memory()
    events = run(hyperband(), store=store)
    trials = fold(events)
    assert [sum(t.id[0] == number for t in trials) for number in range(3)] == [9, 3, 3]
    for number, (first, *later) in enumerate(one.epochs for one in BRACKETS):
        inside = [trial for trial in trials if trial.id[0] == number]
        assert all(trial.rungs[0].budget == first for trial in inside)
        for n_promoted, (before, after) in zip(
            BRACKETS[number].n_configs[1:], pairwise([first, *later]), strict=True
        ):
            rung = {
                trial.id: next(r.valid_error for r in trial.rungs if r.budget == before)
                for trial in inside
                if before in {r.budget for r in trial.rungs}
            }
            promoted = [t.id for t in inside if after in {r.budget for r in t.rungs}]
            assert promoted == sorted(sorted(rung, key=lambda id_: rung[id_] or 0.0)[:n_promoted])
    trained = [(e.trial, e.epoch.epoch) for e in events if isinstance(e, EpochDone)]
    assert len(trained) == len(set(trained)) == sum(one.n_epochs for one in BRACKETS)
    assert store.checkpoints == {}


@pytest.mark.parametrize("n_workers", [1, 4])
def test_hyperband_does_not_depend_on_the_number_of_workers(n_workers: int) -> None:
    """One worker or four promote and measure the same as two."""
    assert results(run(hyperband(), n_workers=n_workers)) == results(whole("hyperband"))


@pytest.mark.parametrize("share", [0.1, 0.4, 0.6, 0.8, 0.95])
def test_hyperband_continues(share: float) -> None:
    """Wherever the journal breaks off, and whatever checkpoints are left, the whole is the same."""
    undisturbed = whole("hyperband")
    history = undisturbed[: int(share * len(undisturbed))]
    rest = run(hyperband(), history=history)
    assert results([*history, *rest]) == results(undisturbed)
    promoted = [(e.trial, e.budget) for e in [*history, *rest] if isinstance(e, Promoted)]
    assert len(promoted) == len(set(promoted)) == 5


def test_rung_without_a_success_is_filled_with_new_configurations(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """HpBandSter proposes new ones at the next rung, and if those fail too the search ends."""
    monkeypatch.setenv("FORMULA_RAISES", "*")
    events = run(Sampled(draw, brackets=[Bracket((3, 1), (3, 9))], seed=5))
    assert [trial.state for trial in fold(events)] == ["failed"] * 4
    assert run(Sampled(draw, brackets=[Bracket((3, 1), (3, 9))], seed=5), history=events) == []


def test_bohb_learns_and_continues_with_what_it_proposed() -> None:
    """Large batch sizes are better by the formula; what the journal knows is proposed again."""
    whole = run(bohb(), n_workers=1)
    sizes = [trial.configuration.batch_size for trial in fold(whole)]
    assert np.mean(sizes[len(sizes) // 2 :]) > np.mean(sizes[: len(sizes) // 2])
    for share in (0.3, 0.7):
        history = whole[: int(share * len(whole))]
        rest = run(bohb(history), history=history, n_workers=2)
        again = fold([*history, *rest])
        for before, after in zip(fold(history), again, strict=False):
            assert (before.id, before.seed) == (after.id, after.seed)
            assert before.configuration.batch_size == after.configuration.batch_size
        assert len(again) == len(fold(whole))
    assert run(bohb(whole), history=whole) == []


def test_journal_of_another_search_is_refused() -> None:
    """A journal whose configurations are not proposed again is named as the problem."""
    history = run(grid(16, 32))
    with pytest.raises(RunDirError, match="proposes the same again from the same seed"):
        run(grid(16, 48), history=history)


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
    monkeypatch.setattr("mnist_lab.engine.LOOK_FOR_LOST_S", 0.1)
    notes: list[str] = []
    events = run(search(4), patience_s=2, notes=notes)
    (again,) = (e for e in events if isinstance(e, Started) and e.attempt > 1)
    assert again.from_epoch >= 1
    assert results(events) == results(undisturbed)
    assert re.fullmatch(r"worker .+ made no epoch for 2 s", "".join(notes))
    assert children() == []


@pytest.mark.proof
def test_suspended_study_takes_no_worker_for_stuck(monkeypatch: pytest.MonkeyPatch) -> None:
    """While this process does not look, time stands still, as on a laptop that slept."""
    monkeypatch.setattr("mnist_lab.engine.LOOK_FOR_LOST_S", 0.1)
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
    monkeypatch.setattr("mnist_lab.engine.pool.START_PATIENCE_S", 2.0)
    with pytest.raises(StudyError, match="a worker is ready within 2 s: got none"):
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
        r"worker .+ is started anew: its memory grew from [\d.]+ to [\d.]+ GiB", "".join(notes)
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
    with pytest.raises(StudyError, match="the formula has data: got none; give it some"):
        run(grid(16))
    assert time.monotonic() - start < 20
    assert children() == []


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (RuntimeError("broken"), (StudyError, "RuntimeError: broken")),
        (RunDirError("the disk has room"), (RunDirError, "the disk has room")),
    ],
)
def test_error_in_a_thread_ends_the_run(
    raised: Exception, expected: tuple[type[LabError], str]
) -> None:
    """Whatever an engine's thread meets is raised to the caller, instead of a study that hangs."""

    def emit(event: Event) -> None:
        if not isinstance(event, Proposed):
            raise raised

    kind, text = expected
    with pytest.raises(kind, match=text):
        run(grid(16), emit=emit)
    assert children() == []


def test_error_in_the_master_ends_the_run() -> None:
    """A proposal that raises is told, instead of a study that hangs."""

    def draw(_: int) -> dict[str, Any]:
        raise RuntimeError("no more ideas")

    with pytest.raises(StudyError, match="no more ideas"):
        run(Sampled(draw, brackets=[Bracket((1,), (1,))], seed=0))


def test_interrupt_leaves_no_process_and_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the caller's tick raises comes back at once, with every worker gone."""
    monkeypatch.setenv("FORMULA_SECONDS", "0.2")
    seen: list[psutil.Process] = []

    def tick() -> None:
        seen[:] = children()
        if len(seen) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(grid(*range(1, 50)), tick=tick)
    assert len(seen) == 2
    assert children() == []
    names = {thread.name for thread in threading.enumerate()}
    assert not names & {"master", "dispatcher", "job_runner", "discover_workers"}


class SlowDisk(Memory):
    """A store whose disk takes its time."""

    def write_checkpoint(self, trial: Proposed, checkpoint: Checkpoint) -> None:
        """Keep it, after a while."""
        time.sleep(0.2)
        super().write_checkpoint(trial, checkpoint)


def test_epoch_that_is_told_twice_at_once_counts_once() -> None:
    """A worker that waited too long for the disk tells again while the first is on its way."""
    events: list[Event] = []
    ledger = Ledger([], base=BASE, emit=events.append, store=SlowDisk())
    id_ = (0, 0, 0)
    ledger.proposed(id_, {"batch_size": 16}, {"seed": 1}, 3)
    ledger.started(id_, "a worker", 1)
    checkpoint = next(formula.open_formula()(BASE, 1, None))
    threads = [threading.Thread(target=ledger.epoch, args=(id_, checkpoint)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [type(event) for event in events] == [Proposed, Started, EpochDone]
