"""The loop of a run: propose, hand out, gather, record, retry, until everything is trained.

One thread decides. Events elsewhere (a step came back, a worker came or went) wait until the loop
takes them. A worker never waits for the loop: while it takes a step, the next one is already
submitted, on that one's result. A step counts when its line is on the disk. A lost step is taken
again from the last that counts, which changes no number.
"""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, Any

from mnist_lab.config import next_stop
from mnist_lab.execute.cluster import Gone, Ready
from mnist_lab.execute.ledger import Ledger
from mnist_lab.execute.worker import Failure
from mnist_lab.search.proposals import Trained

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from distributed import Future

    from mnist_lab.config import TrainConfig
    from mnist_lab.execute.cluster import Back, Cluster
    from mnist_lab.execute.ledger import Store
    from mnist_lab.execute.worker import Taken
    from mnist_lab.records import Checkpoint, Event, Proposed, Trial
    from mnist_lab.search.proposals import Proposal, Proposals

# How often the loop looks after the workers and the screen.
TICK_S = 0.1
# A tick that took longer than this was no work: this process was suspended.
LONGEST_TICK_S = 1.0
# Of each worker: the one that it takes, and the next two, as many workers may be done at once.
STEPS_IN_FLIGHT = 3
# How often a trial whose worker died, or whose training raised, is tried in all.
MAX_ATTEMPTS = 3
# How often one may lose its worker, for no reason of its own, without finishing an epoch.
MOST_LOSSES = 10
# How long the reason why a worker is gone may take to arrive.
REASON_S = 2.0


class _Task:
    """A trial to train, and its attempts so far."""

    def __init__(self, proposal: Proposal, trial: Proposed) -> None:
        self.proposal = proposal
        self.trial = trial
        self.n_started = self.n_blamed = self.n_lost = 0
        self.start: Checkpoint | None = None
        self.submitted = 0.0  # steps are submitted up to this epoch


class _Worker:
    """A worker and its submitted steps: the first is in progress, for the task it has started."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.steps: deque[tuple[_Task, Future]] = deque()
        self.heard_s = 0.0

    def drop(self, task: _Task) -> None:
        """Forget the task's steps: their results will be ignored."""
        for one, step in self.steps:
            if one is task:
                step.cancel()
        self.steps = deque(pair for pair in self.steps if pair[0] is not task)


class Loop:
    """Trains every proposal that the journal does not know yet.

    Args:
        proposals: the source of the proposals.
        ledger: the known results, and the record of new ones.
        open_cluster: called once, when there is something to train.
        patience_s: how many seconds a worker may take for an epoch of a configuration before it
            counts as stuck and is replaced.
        tick: called about ten times a second; an exception from it ends the run.
        note: called with a line about a worker that was lost or replaced.
    """

    def __init__(
        self,
        *,
        proposals: Proposals,
        ledger: Ledger,
        open_cluster: Callable[[], Cluster],
        patience_s: Callable[[TrainConfig], float],
        tick: Callable[[], None],
        note: Callable[[str], None],
    ) -> None:
        self._proposals = proposals
        self._ledger = ledger
        self._open_cluster = open_cluster
        self._patience_s = patience_s
        self._tick = tick
        self._note = note
        self._waiting: deque[_Task] = deque()
        self._workers: dict[str, _Worker] = {}
        # Tasks whose worker is gone, until when its reason is waited for.
        self._unexplained: dict[str, tuple[_Task, float]] = {}
        # Stands still while this process is suspended.
        self._clock_s = 0.0
        self._last_s = time.monotonic()

    def run(self) -> None:
        """Run to the end.

        Raises:
            StudyError: a worker cannot start.
            LabError: writing failed.
        """
        if not self._propose():
            return
        self._cluster = self._open_cluster()
        try:
            # While somebody trains nothing is proposed ahead: the next may know one result more.
            while self._in_flight or self._propose():
                self._hand_out()
                for event in self._cluster.wait(TICK_S):
                    self._take(event)
                    self._hand_out()  # many may be back at once, and none is to wait for all
                self._count_time()
                for event in self._cluster.look(self._clock_s):
                    self._take(event)
                self._give_up_lost()
                self._tick()
        finally:
            self._cluster.close()

    @property
    def _in_flight(self) -> bool:
        return bool(self._unexplained) or any(one.steps for one in self._workers.values())

    def _propose(self) -> bool:
        """Get a task ready, if there is one; answer proposals from the journal."""
        while not self._waiting:
            proposal = self._proposals.next()
            while self._proposals.over:
                self._ledger.over(self._proposals.over.pop())
            if proposal is None:
                return False
            trial, known = self._ledger.proposed(proposal)
            if known is None:
                self._waiting.append(_Task(proposal, trial))
            else:
                self._proposals.tell(proposal, known.trained)
        return True

    def _hand_out(self) -> None:
        """Give each worker a step, and the next one."""
        for worker in sorted(self._workers.values(), key=lambda one: len(one.steps)):
            while len(worker.steps) < STEPS_IN_FLIGHT:
                task, before = worker.steps[-1] if worker.steps else (None, None)
                if task is None or task.submitted >= task.trial.configuration.epochs:
                    task, before = self._next_task(worker), None
                if task is None:
                    break
                self._submit(worker, task, before or task.start)
                if len(worker.steps) == 1:
                    self._begin(worker)

    def _submit(self, worker: _Worker, task: _Task, before: Future | Checkpoint | None) -> None:
        config, seed = task.trial.configuration, task.trial.seed
        task.submitted = next_stop(task.submitted, task.proposal.stops)
        step = self._cluster.submit(worker.name, config, seed, before, task.submitted)
        worker.steps.append((task, step))

    def _next_task(self, worker: _Worker) -> _Task | None:
        """The worker's next task."""
        # A proposal that depends on results waits for one more of them. What killed a worker is
        # trained alone: a worker that goes on at once may die before its last result is known.
        if worker.steps and (worker.steps[-1][0].n_blamed or not self._proposals.independent):
            return None
        if not self._propose() and (worker.steps or not self._take_back()):
            return None
        if worker.steps and self._waiting[0].n_blamed:
            return None
        task = self._waiting.popleft()
        task.start = self._ledger.checkpoint(task.trial, task.proposal.stops)
        task.submitted = task.start.epoch.epoch if task.start else 0
        return task

    def _take_back(self) -> bool:
        """Take back a task that a busy worker has not started, for an idle one."""
        for worker in self._workers.values():
            tasks = [task for task, _ in worker.steps]
            if tasks and tasks[-1] is not tasks[0]:
                worker.drop(tasks[-1])
                self._waiting.append(tasks[-1])
                return True
        return False

    def _begin(self, worker: _Worker) -> None:
        """Record that the worker starts the task of its first step."""
        task, step = worker.steps[0]
        task.n_started += 1
        worker.heard_s = self._clock_s
        self._ledger.started(task.trial, worker.name, task.n_started, task.start)
        self._cluster.expect(step)

    def _take(self, event: Ready | Gone | Back) -> None:
        if isinstance(event, Ready):
            self._workers[event.worker] = _Worker(event.worker)
        elif isinstance(event, Gone):
            self._gone(*event)
        else:
            self._took(*event)

    def _took(self, step: Future, taken: Taken | None) -> None:
        """Take a step that came back; ignore one that was given up since."""
        heads = (one for one in self._workers.values() if one.steps and one.steps[0][1] is step)
        worker = next(heads, None)
        if worker is None or taken is None:  # its worker is gone, or will be missed
            return
        task, _ = worker.steps.popleft()
        worker.heard_s = self._clock_s
        if isinstance(taken.step, Failure):
            worker.drop(task)
            self._again(task, taken.step.reason, blamed=True)
        else:
            task.n_lost = 0
            self._ledger.epoch(task.trial, taken.step.checkpoint)
            if taken.step.result is None:
                if not worker.steps:  # it was back before the next one was submitted
                    self._submit(worker, task, taken.step.checkpoint)
                self._cluster.expect(worker.steps[0][1])
                return
            worker.drop(task)
            self._ledger.finished(task.trial, taken.step.result, taken.step.model)
            trained = Trained(taken.step.result.loss, taken.step.checkpoint.epoch.valid_loss)
            self._proposals.tell(task.proposal, trained)
        if taken.leaves is not None:
            self._note(f"worker {worker.name} is restarted: {taken.leaves}")
            self._dismiss(worker.name)
        elif worker.steps:
            self._begin(worker)

    def _again(self, task: _Task, reason: str, *, blamed: bool) -> None:
        """Try once more from the last epoch that counts, or record the failure."""
        task.n_blamed += blamed
        task.n_lost += not blamed
        if task.n_blamed < MAX_ATTEMPTS and task.n_lost < MOST_LOSSES:
            self._waiting.append(task)
            return
        self._ledger.failed(task.trial, reason)
        self._proposals.tell(task.proposal, None)

    def _gone(self, name: str, reason: str | None) -> None:
        """A worker is gone; the reason may arrive before or after that is noticed."""
        worker = self._workers.pop(name, None)
        if worker is not None:
            task = self._taken_from(worker)
        elif reason is not None and name in self._unexplained:
            task, _ = self._unexplained.pop(name)
        else:
            return
        if task is None:
            return
        if reason is None:
            self._unexplained[name] = task, self._clock_s + REASON_S
            return
        self._note(f"worker {name} {reason}")
        self._again(task, f"its worker {reason}", blamed=True)

    def _taken_from(self, worker: _Worker) -> _Task | None:
        """The task that a worker had started; one that it had not started waits again."""
        tasks = list(dict.fromkeys(task for task, _ in worker.steps))
        for task in tasks:
            worker.drop(task)
        self._waiting.extendleft(tasks[1:])
        return tasks[0] if tasks else None

    def _give_up_lost(self) -> None:
        for name, worker in list(self._workers.items()):
            silence_s = self._clock_s - worker.heard_s
            if worker.steps and silence_s > self._patience_s(
                worker.steps[0][0].trial.configuration
            ):
                self._gone(name, f"finished no epoch for {silence_s:.0f} s")
                self._cluster.dismiss(name)
        for name, (task, until_s) in list(self._unexplained.items()):
            if self._clock_s > until_s:
                del self._unexplained[name]
                self._note(f"worker {name} left, or was cut off")
                self._again(task, "its worker was lost", blamed=False)

    def _dismiss(self, name: str) -> None:
        """Restart an idle worker."""
        task = self._taken_from(self._workers.pop(name))
        if task is not None:
            self._waiting.appendleft(task)
        self._cluster.dismiss(name)

    def _count_time(self) -> None:
        now = time.monotonic()
        self._clock_s += min(now - self._last_s, LONGEST_TICK_S)
        self._last_s = now


def run_trials(
    *,
    proposals: Proposals,
    base: TrainConfig,
    trials: Iterable[Trial],
    emit: Callable[[Event], None],
    store: Store,
    **options: Any,
) -> None:
    """Train everything that `proposals` propose and the journal does not know yet.

    Args:
        proposals: the source of the proposals.
        base: the configuration that proposed hyperparameters modify.
        trials: those in the journal so far.
        emit: called with each new event.
        store: keeps checkpoints and models.
        **options: of :class:`Loop`.
    """
    ledger = Ledger(trials, base=base, emit=emit, store=store)
    Loop(proposals=proposals, ledger=ledger, **options).run()
