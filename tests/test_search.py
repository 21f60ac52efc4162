"""Deciding, without a process: proposals and the loop, with workers that are plain calls."""

from __future__ import annotations

import random
from collections import deque
from functools import cache
from itertools import count, pairwise
from typing import TYPE_CHECKING, Any

import formula
import numpy as np
import pytest

from mnist_lab import machine
from mnist_lab.config import Bracket, TrainConfig, bracket
from mnist_lab.errors import RunDirError
from mnist_lab.execute.cluster import Back, Gone, Ready
from mnist_lab.execute.loop import run_trials
from mnist_lab.execute.worker import Taken, Trainer
from mnist_lab.records import (
    Checkpoint,
    EpochDone,
    Event,
    Finished,
    Promoted,
    Proposed,
    Started,
    fold,
)
from mnist_lab.search.density import Cube, DensityModel
from mnist_lab.search.proposals import Bohb, Grid, Proposals, Race, derive_seed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

BASE = TrainConfig(epochs=3)


def formula_trainer() -> Trainer:
    """What the workers of these tests train with."""
    return Trainer("run", formula.open_formula, {}, n_threads=1, versions=machine.versions())


class Pending:
    """A step that is taken when somebody asks for its result."""

    def __init__(self, take: Callable[..., Taken], *arguments: Any) -> None:
        self._take, self._arguments = take, arguments
        self._taken: Taken | None = None

    def taken(self) -> Taken:
        """The step, after the one before it."""
        if self._taken is None:
            *others, before, stop = self._arguments
            before = before.taken() if isinstance(before, Pending) else before
            self._taken = self._take(*others, before, stop)
        return self._taken

    def cancel(self, **_: str) -> None:
        """Nobody waits for it any more."""


class Here:
    """A cluster of calls in this process; which of its workers is done first is drawn by lot."""

    def __init__(self, n_workers: int, seed: int = 0) -> None:
        self.trainer = formula_trainer()
        self.trainer.load()
        self.names = [f"worker {number}" for number in range(n_workers)]
        self._events: deque[Ready | Gone | Back] = deque(map(Ready, self.names))
        self._expected: list[Pending] = []
        self._lot = random.Random(seed)  # noqa: S311 - chance, no secret

    def submit(
        self, worker: str, config: TrainConfig, seed: int, before: Any, stop: float
    ) -> Pending:
        """A step, to be taken later."""
        assert worker in self.names
        return Pending(self.trainer.take, config, seed, before, stop)

    def expect(self, step: Pending) -> None:
        """It will be told."""
        self._expected.append(step)

    def wait(self, timeout_s: float) -> Iterator[Ready | Gone | Back]:
        """Some things that happened."""
        del timeout_s
        for _ in range(self._lot.randint(1, 5)):
            if self._events:
                yield self._events.popleft()
            elif self._expected:
                step = self._expected.pop(self._lot.randrange(len(self._expected)))
                yield Back(step, step.taken())

    def look(self, clock_s: float) -> list[Gone]:
        """Nobody dies."""
        del clock_s
        return []

    def close(self) -> None:
        """Nothing is open."""


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


def search(n_iterations: int) -> Proposals:
    """A random search over batch sizes."""
    return Proposals(draw, brackets=[Bracket((1,), (3,))] * n_iterations, seed=5)


@cache
def whole(name: str, n_iterations: int = 0) -> tuple[Event, ...]:
    """The events of an undisturbed search of so many iterations, or Hyperband, by two workers."""
    return tuple(decide(hyperband(name) if name in BRACKETS else search(n_iterations)))


# Of whole epochs; from an eighth of one; where two of each reach the last rung.
BRACKETS = {
    "whole epochs": [bracket(number, 1, 9, 3) for number in range(3)],
    "parts": [bracket(number, 1 / 8, 2, 4) for number in range(3)],
    "two survivors": [bracket(number, 1, 9, 3, 2) for number in range(3)],
}
both = pytest.mark.parametrize("name", BRACKETS)


def hyperband(name: str = "whole epochs") -> Proposals:
    """Hyperband over batch sizes and numbers of filters: three brackets."""
    return Proposals(
        lambda seed: draw(seed) | {"num_filters": 1 + seed % 61}, brackets=BRACKETS[name], seed=5
    )


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
    brackets = [bracket(number, 1, 9, 3) for number in range(6)]
    return Bohb(draw, brackets=brackets, seed=5, model=DensityModel(cube), recorded=recorded)


def decide(
    proposals: Proposals,
    *,
    history: Sequence[Event] = (),
    n_workers: int = 2,
    lot: int = 0,
    open_cluster: Callable[[], Any] | None = None,
    emit: Callable[[Event], None] | None = None,
    store: Memory | None = None,
    tick: Callable[[], None] = lambda: None,
    patience_s: float = 300.0,
    notes: list[str] | None = None,
) -> list[Event]:
    """The new events of a run, whose workers are calls where no other cluster is opened."""
    events: list[Event] = []
    run_trials(
        proposals=proposals,
        base=BASE,
        trials=fold(history),
        emit=emit or events.append,
        store=store or Memory(),
        open_cluster=open_cluster or (lambda: Here(n_workers, lot)),
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
            [(epoch.epoch, epoch.valid_error) for epoch in trial.epochs],
            [(rung.budget, rung.valid_error) for rung in trial.rungs],
        )
        for trial in fold(events)
    }


def test_grid_trains_every_configuration_with_every_repeat() -> None:
    """Each value and repeat becomes one trial, with all its epochs and the formula's results."""
    trials = fold(decide(grid(16, 32, 64, repeats=2)))
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
    trials = fold(decide(grid(16, 32, repeats=2)))
    assert {trial.repeat: trial.seed for trial in trials} == {
        1: derive_seed(0, 1),
        2: derive_seed(0, 2),
    }


@pytest.mark.parametrize("n_workers", [1, 2, 4, 50])
def test_results_depend_neither_on_workers_nor_on_who_is_first(n_workers: int) -> None:
    """One worker or many, done in whatever order, propose and measure the same."""
    for lot in range(5):
        assert results(decide(search(6), n_workers=n_workers, lot=lot)) == results(
            whole("search", 6)
        )
        for name in BRACKETS:
            assert results(decide(hyperband(name), n_workers=n_workers, lot=lot)) == results(
                whole(name)
            )


def test_models_are_handed_over() -> None:
    """A trial's model arrives with its content."""
    store = Memory()
    decide(grid(16), store=store)
    assert store.models == [b"a model"]


@pytest.mark.parametrize("n_kept", [1, 7, 12, 20])
def test_resuming_trains_only_what_the_journal_lacks(n_kept: int) -> None:
    """Wherever a journal breaks off, the rest is trained and the whole is the same."""
    undisturbed = whole("search", 5)
    history = undisturbed[:n_kept]
    finished = {event.trial for event in history if isinstance(event, Finished)}
    rest = decide(search(5), history=history)
    assert not finished & {event.trial for event in rest}
    assert results([*history, *rest]) == results(undisturbed)


def test_resuming_goes_on_after_the_last_finished_epoch() -> None:
    """No epoch that the journal has is trained again, and the whole is the same."""
    whole = decide(grid(16, 32, 64))
    store, history = Memory(), list[Event]()

    def tick() -> None:
        if sum(isinstance(event, EpochDone) for event in history) >= 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        decide(grid(16, 32, 64), store=store, emit=history.append, tick=tick)
    assert store.checkpoints
    rest = decide(grid(16, 32, 64), history=history, store=store)
    assert results([*history, *rest]) == results(whole)
    trained = [(e.trial, e.epoch.epoch) for e in [*history, *rest] if isinstance(e, EpochDone)]
    assert sorted(trained) == [(trial, epoch) for trial in (1, 2, 3) for epoch in (1, 2, 3)]
    assert store.checkpoints == {}


@pytest.mark.parametrize("n_lost", [0, 1, 2])
def test_journal_and_checkpoint_may_differ(n_lost: int) -> None:
    """A checkpoint that knows one epoch more teaches the journal; one that knows two is void."""
    whole = decide(grid(16))
    epochs = [event.epoch for event in whole if isinstance(event, EpochDone)]
    history = [event for event in whole if not isinstance(event, Finished)]
    history = history[: len(history) - n_lost]
    store = Memory()
    store.checkpoints[1] = Checkpoint(epochs[-1], b"after epoch 3")
    rest = decide(grid(16), history=history, store=store)
    learnt = [event.epoch for event in rest if isinstance(event, EpochDone)]
    assert learnt == {0: [], 1: epochs[-1:], 2: epochs}[n_lost]
    assert results([*history, *rest]) == results(whole)


def test_complete_journal_needs_no_worker() -> None:
    """What is known already is answered without opening a cluster."""
    history = whole("search", 3)
    assert decide(search(3), history=history, n_workers=0) == []


def test_more_iterations_continue_a_search() -> None:
    """Raising the iterations trains the new ones only, and they are those of a longer search."""
    history = whole("search", 2)
    rest = decide(search(4), history=history)
    assert len({event.trial for event in rest}) == 2
    assert results([*history, *rest]) == results(whole("search", 4))


@both
def test_hyperband_promotes_the_best_which_go_on_from_their_checkpoints(name: str) -> None:
    """HpBandSter's numbers; no epoch is trained twice, and the best of each rung are promoted.

    Within the first epoch those are the best whose loss is lowest, later whose error is.
    """
    store, brackets = Memory(), BRACKETS[name]
    events = decide(hyperband(name), store=store)
    trials = fold(events)
    for number, (first, *later) in enumerate(one.epochs for one in brackets):
        inside = [trial for trial in trials if trial.id[0] == number]
        assert len(inside) == brackets[number].n_configs[0]
        assert all(trial.rungs[0].budget == first for trial in inside)
        for n_promoted, (before, after) in zip(
            brackets[number].n_configs[1:], pairwise([first, *later]), strict=True
        ):
            rung = {
                trial.id: rung.valid_loss if before < 1 else rung.valid_error
                for trial in inside
                for rung in trial.rungs
                if rung.budget == before
            }
            promoted = [t.id for t in inside if after in {r.budget for r in t.rungs}]
            assert promoted == sorted(sorted(rung, key=lambda id_: rung[id_] or 0.0)[:n_promoted])
    trained = [(e.trial, e.epoch.epoch) for e in events if isinstance(e, EpochDone)]
    assert len(trained) == len(set(trained))
    spent = sum(trial.n_epochs for trial in trials)
    assert spent == sum(one.n_epochs for one in brackets)
    assert store.checkpoints == {}


@both
@pytest.mark.parametrize("share", [0.1, 0.4, 0.6, 0.8, 0.95])
def test_hyperband_continues(name: str, share: float) -> None:
    """Wherever the journal breaks off, and whatever checkpoints are left, the whole is the same."""
    undisturbed = whole(name)
    history = undisturbed[: int(share * len(undisturbed))]
    rest = decide(hyperband(name), history=history)
    assert results([*history, *rest]) == results(undisturbed)
    promoted = [(e.trial, e.budget) for e in [*history, *rest] if isinstance(e, Promoted)]
    n_promoted = sum(sum(one.n_configs[1:]) for one in BRACKETS[name])
    assert len(promoted) == len(set(promoted)) == n_promoted


@pytest.mark.parametrize("fails", ["", "16"])
def test_race_continues_after_every_event(fails: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever its journal breaks off, one worker or two end the same race, and wait for nobody."""
    monkeypatch.setenv("FORMULA_RAISES", fails)

    def race() -> Race:
        # By the formula the latter two are equal.
        sizes = [{"batch_size": 16}, {"batch_size": 32}, {"batch_size": 31, "filter_size": 4}]
        return Race([size | {"epochs": 2} for size in sizes], most=7, seed=5)

    def ticks(most: int = 1000) -> Callable[[], None]:
        n_ticks = count()

        def tick() -> None:
            assert next(n_ticks) < most, "the race does nothing"

        return tick

    undisturbed = decide(race(), tick=ticks())
    n_rounds = [sum(id_[2] == place for id_ in results(undisturbed)) for place in range(3)]
    assert (min(n_rounds), max(n_rounds)) == (5, 7)  # somebody is dropped on the way
    for n_kept in range(len(undisturbed) + 1):
        history = undisturbed[:n_kept]
        for n_workers in (1, 2):
            rest = decide(race(), history=history, n_workers=n_workers, lot=n_kept, tick=ticks())
            assert results([*history, *rest]) == results(undisturbed), (n_kept, n_workers)


def test_rung_without_a_success_is_filled_with_new_configurations(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """HpBandSter proposes new ones at the next rung, and if those fail too the search ends."""
    monkeypatch.setenv("FORMULA_RAISES", "*")
    events = decide(Proposals(draw, brackets=[Bracket((3, 1), (3, 9))], seed=5))
    assert [trial.state for trial in fold(events)] == ["failed"] * 4
    assert decide(Proposals(draw, brackets=[Bracket((3, 1), (3, 9))], seed=5), history=events) == []


def test_bohb_learns_and_continues_with_what_it_proposed() -> None:
    """Large batch sizes are better by the formula; what the journal knows is proposed again."""
    whole = decide(bohb(), n_workers=1)
    sizes = [trial.configuration.batch_size for trial in fold(whole)]
    assert np.mean(sizes[len(sizes) // 2 :]) > np.mean(sizes[: len(sizes) // 2])
    for share in (0.3, 0.7):
        history = whole[: int(share * len(whole))]
        rest = decide(bohb(history), history=history, n_workers=2)
        again = fold([*history, *rest])
        for before, after in zip(fold(history), again, strict=False):
            assert (before.id, before.seed) == (after.id, after.seed)
            assert before.configuration.batch_size == after.configuration.batch_size
        assert len(again) == len(fold(whole))
    assert decide(bohb(whole), history=whole) == []


def test_nothing_is_proposed_ahead_where_results_count() -> None:
    """One worker's next configuration knows every result; where none counts it waits already."""
    for proposals, is_ahead in ((bohb(), False), (hyperband(), False), (search(6), True)):
        n_begun, n_ahead = 0, 0
        for event in decide(proposals, n_workers=1):
            n_begun += isinstance(event, Started) - isinstance(event, Finished)
            n_ahead += isinstance(event, Proposed) and n_begun > 0
        assert (n_ahead > 0) is is_ahead


def test_journal_of_another_search_is_refused() -> None:
    """A journal whose configurations are not proposed again is named as the problem."""
    history = decide(grid(16, 32))
    with pytest.raises(RunDirError, match="now proposes another configuration"):
        decide(grid(16, 48), history=history)
