"""The loop of a run: propose, hand out, gather, write down, retry, until everything is trained.

One thread decides. What happens elsewhere (a step came back, a worker came or went) waits until the
loop takes it. A worker never waits for the loop: while it takes a step, the next one is submitted
already, on that one's result. A step counts when its line is on the disk; a lost one is taken again
from the last that counts, which changes no number.
"""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, Any

from mnist_lab.execute.cluster import Back, Gone, Ready
from mnist_lab.execute.ledger import Ledger
from mnist_lab.execute.worker import Failure
from mnist_lab.records import Failed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from distributed import Future

    from mnist_lab.config import TrainConfig
    from mnist_lab.execute.cluster import Cluster
    from mnist_lab.execute.ledger import Store
    from mnist_lab.execute.worker import Taken
    from mnist_lab.records import Checkpoint, Event, Proposed
    from mnist_lab.search.proposals import Proposal, Proposals

# How often the loop looks after the workers and the screen.
TICK_S = 0.1
# A tick that took longer than this was no work: this process was suspended.
LONGEST_TICK_S = 1.0
# Of each trial: one that is taken, and the next.
STEPS_IN_FLIGHT = 2
# How often a trial whose worker died, or whose training raised, is tried in all.
MAX_ATTEMPTS = 3
# How often one may lose its worker, for no reason of its own, without finishing an epoch.
MOST_LOSSES = 10
# How long the reason why a worker is gone may take to arrive.
REASON_S = 2.0


class _Task:
    """A trial that is being trained: what is submitted of it, and how it fared so far."""

    def __init__(self, proposal: Proposal, trial: Proposed) -> None:
        self.proposal = proposal
        self.trial = trial
        self.n_started = self.n_blamed = self.n_lost = 0
        self.worker = ""
        self.heard_s = 0.0
        self.epoch = 0  # up to which steps are submitted
        # Of the steps in flight, the earliest first.
        self.steps: deque[Future] = deque()

    def drop(self) -> None:
        """Forget what is in flight: whatever comes of it is not listened to."""
        for step in self.steps:
            step.cancel(reason="its worker is lost", msg=False)
        self.steps.clear()


class Loop:
    """Trains everything that is proposed and that the journal does not know yet.

    Args:
        proposals: who proposes.
        ledger: what is known, and where what happens is written.
        open_cluster: called once, when there is something to train.
        patience_s: how many seconds a worker may take for an epoch of a configuration before it
            counts as stuck and is replaced.
        tick: called about ten times a second; what it raises ends the run.
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
        self._cluster: Cluster | None = None
        self._waiting: deque[_Task] = deque()
        self._running: dict[str, _Task] = {}  # by its worker's name
        self._idle: dict[str, None] = {}  # the names of workers, longest idle first
        # Tasks whose worker is gone, until when its reason is waited for.
        self._unexplained: dict[str, tuple[_Task, float]] = {}
        # Stands still while this process is suspended.
        self._clock_s = 0.0
        self._last_s = time.monotonic()

    def run(self) -> None:
        """Run to the end.

        Raises:
            StudyError: a worker cannot start.
            LabError: what writing raised.
        """
        try:
            while self._propose():
                assert self._cluster is not None  # noqa: S101 - opened for what is in flight
                for event in self._cluster.wait(TICK_S):
                    self._take(event)
                self._count_time()
                for event in self._cluster.look(self._clock_s):
                    self._take(event)
                self._give_up_lost()
                self._tick()
        finally:
            if self._cluster is not None:
                self._cluster.close()

    def _propose(self) -> bool:
        """Give every idle worker something; False when there is nothing left to do."""
        while True:
            if not self._waiting and (self._idle or not self._in_flight or self._ledger.replaying):
                proposal = self._proposals.next()
                while self._proposals.over:
                    self._ledger.over(self._proposals.over.pop())
                if proposal is not None:
                    trial, known = self._ledger.proposed(proposal)
                    if known is None:
                        self._waiting.append(_Task(proposal, trial))
                    else:
                        self._proposals.tell(
                            proposal, None if isinstance(known, Failed) else known.loss
                        )
                    continue
            if not self._waiting:
                return self._in_flight
            if self._cluster is None:
                self._cluster = self._open_cluster()
            if not self._idle:
                return True
            self._start(self._waiting.popleft())

    @property
    def _in_flight(self) -> bool:
        return bool(self._running or self._waiting or self._unexplained)

    def _take(self, event: Ready | Gone | Back) -> None:
        if isinstance(event, Ready):
            self._idle[event.worker] = None
        elif isinstance(event, Gone):
            self._gone(*event)
        else:
            self._took(*event)

    def _count_time(self) -> None:
        now = time.monotonic()
        self._clock_s += min(now - self._last_s, LONGEST_TICK_S)
        self._last_s = now

    def _give_up_lost(self) -> None:
        for name, task in list(self._running.items()):
            silence_s = self._clock_s - task.heard_s
            if silence_s > self._patience_s(task.trial.configuration):
                self._gone(name, f"made no epoch for {silence_s:.0f} s")
                self._dismiss(name)
        for name, (task, until_s) in list(self._unexplained.items()):
            if self._clock_s > until_s:
                del self._unexplained[name]
                self._note(f"worker {name} left, or was cut off")
                self._again(task, "its worker was lost", blamed=False)

    def _start(self, task: _Task) -> None:
        """Hand a task to the worker that is idle for longest."""
        name = next(iter(self._idle))
        del self._idle[name]
        task.n_started += 1
        task.worker, task.heard_s = name, self._clock_s
        self._running[name] = task
        start = self._ledger.started(task.trial, name, task.n_started)
        task.epoch = start.epoch.epoch if start else 0
        self._submit(task, start)
        self._expect(task)

    def _submit(self, task: _Task, before: Future | Checkpoint | None) -> None:
        assert self._cluster is not None  # noqa: S101 - opened before anybody is idle
        config, seed = task.trial.configuration, task.trial.seed
        task.steps.append(self._cluster.submit(task.worker, config, seed, before))
        task.epoch += 1

    def _expect(self, task: _Task) -> None:
        """Wait for the first step in flight, with another one behind it."""
        assert self._cluster is not None  # noqa: S101 - it has the steps
        if len(task.steps) < STEPS_IN_FLIGHT and task.epoch < task.trial.configuration.epochs:
            self._submit(task, task.steps[-1])
        self._cluster.expect(task.steps[0])

    def _took(self, future: Future, taken: Taken | None) -> None:
        """A step came back; of one that was given up since nothing is taken."""
        running = (one for one in self._running.values() if one.steps and one.steps[0] is future)
        task = next(running, None)
        if task is None or taken is None:  # its worker is gone, or will be missed
            return
        task.steps.popleft()
        task.heard_s = self._clock_s
        step = taken.step
        if isinstance(step, Failure):
            self._free(task, taken.leaves)
            self._again(task, step.reason, blamed=True)
            return
        task.n_lost = 0
        self._ledger.epoch(task.trial, step.checkpoint)
        if step.result is None:
            self._expect(task)
            return
        self._ledger.finished(task.trial, step.result, step.model)
        self._proposals.tell(task.proposal, step.result.loss)
        self._free(task, taken.leaves)

    def _free(self, task: _Task, leaves: str | None) -> None:
        """The task's worker has nothing to do, or is to be started anew."""
        task.drop()
        del self._running[task.worker]
        if leaves is None:
            self._idle[task.worker] = None
        else:
            self._note(f"worker {task.worker} is started anew: {leaves}")
            self._dismiss(task.worker)

    def _again(self, task: _Task, reason: str, *, blamed: bool) -> None:
        """Try once more from the last epoch that counts, or write down that it failed."""
        task.n_blamed += blamed
        task.n_lost += not blamed
        if task.n_blamed < MAX_ATTEMPTS and task.n_lost < MOST_LOSSES:
            self._waiting.append(task)
            return
        self._ledger.failed(task.trial, reason)
        self._proposals.tell(task.proposal, None)

    def _gone(self, name: str, reason: str | None) -> None:
        """A worker is gone; why it died may be told before or after that is noticed."""
        self._idle.pop(name, None)
        task = self._running.pop(name, None)
        if task is None:
            if reason is None or name not in self._unexplained:
                return
            task, _ = self._unexplained.pop(name)
        task.drop()
        if reason is None:
            self._unexplained[name] = task, self._clock_s + REASON_S
            return
        self._note(f"worker {name} {reason}")
        self._again(task, f"its worker {reason}", blamed=True)

    def _dismiss(self, name: str) -> None:
        assert self._cluster is not None  # noqa: S101 - it has this worker
        self._cluster.dismiss(name)


def run_trials(
    *,
    proposals: Proposals,
    base: TrainConfig,
    history: Sequence[Event],
    emit: Callable[[Event], None],
    store: Store,
    **options: Any,
) -> None:
    """Train everything that `proposals` propose and `history` does not know yet.

    Args:
        proposals: who proposes.
        base: the configuration that proposed hyperparameters are put into.
        history: the journal's events so far.
        emit: called with each new event.
        store: keeps checkpoints and models.
        **options: of :class:`Loop`.
    """
    ledger = Ledger(history, base=base, emit=emit, store=store)
    Loop(proposals=proposals, ledger=ledger, **options).run()
