"""HpBandSter's dispatcher, made dependable.

HpBandSter 0.7.4 hands jobs to workers over Pyro4, but a thread of it that meets an error ends in
silence and the study waits for ever; a worker's death is noticed at the next ping and its job is
given up. Here every thread reports its failure, a lost worker's trial is handed out again, and the
workers report each epoch.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import Pyro4
import Pyro4.errors
from hpbandster.core import dispatcher as hpbandster_dispatcher

from mnist_lab.engine.transport import CALL_S, nameserver_at
from mnist_lab.engine.wire import from_wire, to_wire
from mnist_lab.records import Proposed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from hpbandster.core.dispatcher import Job

    from mnist_lab.config import TrainConfig
    from mnist_lab.records import Checkpoint, HpBandSterId

# How often a trial whose worker died, or whose training raised, is tried in all.
MAX_ATTEMPTS = 3
# A worker of another machine that gives no sign of life for so long is cut off, or dead: its
# heartbeats come every three seconds.
LOST_AFTER_S = 20.0
# A worker announces itself; this only bounds how long one whose announcement was lost stays unseen.
DISCOVERY_INTERVAL_S = 5


class Dispatcher(hpbandster_dispatcher.Dispatcher):  # type: ignore[misc]  # HpBandSter is untyped
    """Hands jobs to workers and takes their epochs and results.

    Args:
        new_result_callback: called with each finished HpBandSter `Job`.
        queue_callback: called with the number of workers whenever it changes.
        on_start: called with (id, worker name, attempt) when a worker takes a trial; returns the
            checkpoint that it goes on from, if there is one.
        on_epoch: called with (id, checkpoint) when a worker finished an epoch.
        on_note: called with a line about a worker that a person may want to know.
        run_id: of the HpBandSter run.
        host: the address to listen on.
        nameserver: address of the nameserver.
        nameserver_port: its port.
    """

    def __init__(
        self,
        *,
        new_result_callback: Callable[[Job], None],
        queue_callback: Callable[[int], None],
        on_start: Callable[[HpBandSterId, str, int], Checkpoint | None],
        on_epoch: Callable[[HpBandSterId, Checkpoint], None],
        on_note: Callable[[str], None],
        run_id: str,
        host: str,
        nameserver: str,
        nameserver_port: int,
    ) -> None:
        super().__init__(
            new_result_callback,
            queue_callback=queue_callback,
            run_id=run_id,
            ping_interval=DISCOVERY_INTERVAL_S,
            nameserver=nameserver,
            nameserver_port=nameserver_port,
            host=host,
        )
        self.failure: BaseException | None = None
        self._on_start = on_start
        self._on_epoch = on_epoch
        self._on_note = on_note
        # Which workers are processes of this machine that somebody watches: the others are heard.
        self.is_watched: Callable[[str], bool] = lambda _: True
        self._orders = ""
        # Of each trial, since it was last proposed or promoted.
        self._attempts: dict[HpBandSterId, int] = {}
        self._excused: dict[HpBandSterId, int] = {}
        # Counts how often a job was handed out: what a worker tells is about one of these turns.
        self._n_turns = 0
        self._gone: set[str] = set()
        # The clock of whoever looks after us, which stands still while this process is suspended.
        self.clock_s = 0.0
        self._heard_s: dict[HpBandSterId, float] = {}
        self._seen_s: dict[str, float] = {}
        self._announced = False
        # Registered here and not in the thread, so that it can be reached and shut down at once.
        self.pyro_daemon = Pyro4.Daemon(host=host)
        with self._nameserver() as names:
            names.register(self.pyro_id, self.pyro_daemon.register(self, self.pyro_id))

    def run(self) -> None:
        """Serve until :meth:`shutdown`; the body of HpBandSter's dispatcher thread."""
        threads = [
            threading.Thread(target=target, name=target.__name__, daemon=True)
            for target in (self.discover_workers, self.job_runner)
        ]
        for thread in threads:
            thread.start()
        with self._reporting_failure():
            self.pyro_daemon.requestLoop(lambda: not self.shutdown_all_threads)
        for thread in threads:
            thread.join()

    def shutdown(self) -> None:
        """End all threads; the workers are left alone."""
        with self.runner_cond:
            self.shutdown_all_threads = True
            self.runner_cond.notify_all()
            self.discover_cond.notify_all()
        self.pyro_daemon.shutdown()
        self.pyro_daemon.close()

    def discover_workers(self) -> None:
        """Adopt workers that registered with the nameserver, whenever one announces itself."""
        with self._reporting_failure():
            while not self.shutdown_all_threads:
                self._announced = False  # before looking: who announces meanwhile is seen next time
                with self._nameserver() as names:
                    found = names.list(prefix=f"hpbandster.run_{self.run_id}.worker.")
                with self.discover_cond:
                    new = {
                        name: hpbandster_dispatcher.Worker(name, uri)
                        for name, uri in found.items()
                        if name not in self.worker_pool and name not in self._gone
                    }
                    for name, worker in new.items():
                        worker.proxy._pyroTimeout = CALL_S  # noqa: SLF001 - documented by Pyro4
                        self._seen_s[name] = self.clock_s
                        if not self.is_watched(name):
                            self._on_note(f"worker {short(name)} joined")
                    self.worker_pool.update(new)
                    self.idle_workers.update(new)
                    self.runner_cond.notify_all()
                if new:
                    self._tell_queue()
                with self.discover_cond:
                    self.discover_cond.wait_for(
                        lambda: self._announced or self.shutdown_all_threads, self.ping_interval
                    )

    @Pyro4.expose  # type: ignore[untyped-decorator]  # Pyro4 is untyped
    @Pyro4.oneway  # type: ignore[untyped-decorator]
    def trigger_discover_worker(self) -> None:
        """A worker announces itself."""
        with self.discover_cond:
            self._announced = True
            self.discover_cond.notify_all()

    def job_runner(self) -> None:
        """Hand waiting jobs to idle workers."""
        with self._reporting_failure():
            while True:
                with self.runner_cond:
                    self.runner_cond.wait_for(
                        lambda: (
                            self.shutdown_all_threads
                            or (not self.waiting_jobs.empty() and self.idle_workers)
                        )
                    )
                    if self.shutdown_all_threads:
                        return
                    job, name = self.waiting_jobs.get(), self.idle_workers.pop()
                    worker = self.worker_pool[name]
                    worker.runs_job = job.id
                    job.worker_name = name
                    self._n_turns += 1
                    job.turn = self._n_turns
                    job.time_it("started")
                    self.running_jobs[job.id] = job
                    self._heard_s[job.id] = self.clock_s
                    self._attempts[job.id] = self._attempts.get(job.id, 0) + 1
                start = self._on_start(job.id, name, self._attempts[job.id])
                try:
                    worker.proxy.start_computation(
                        self, job.id, **job.kwargs, turn=job.turn, start=start and to_wire(start)
                    )
                except Pyro4.errors.CommunicationError:
                    self.worker_lost(name, "could not be reached", blame=False)

    def worker_lost(self, name: str, reason: str, *, blame: bool = True) -> None:
        """Forget a worker that died; its trial is handed out again, or recorded as failed.

        Args:
            name: the worker's, as registered with the nameserver.
            reason: why, for the record ("killed by signal 9 (SIGKILL)").
            blame: whether the trial may have caused it, which counts as one of its attempts.
        """
        worker = self._forget(name)
        if worker is None:
            return
        self._tell_queue()
        if worker.runs_job is not None or not blame:
            self._on_note(f"worker {short(name)} {reason}")
        if worker.runs_job is not None:
            if not blame:
                self._excused[worker.runs_job] = self._excused.get(worker.runs_job, 0) + 1
            failure = {"result": None, "exception": f"its worker {reason}"}
            self.register_result(worker.runs_job, failure, name, None)

    def give_up_stuck(self, patience_s: Callable[[TrainConfig], float]) -> None:
        """Give workers up whose trial made no epoch for `patience_s` of its configuration."""
        with self.runner_cond:
            silences = [
                (job, self.clock_s - self._heard_s[job.id]) for job in self.running_jobs.values()
            ]
        for job, silence_s in silences:
            proposed = Proposed.model_validate_json(job.kwargs["trial"])
            if silence_s > patience_s(proposed.configuration):
                self.worker_lost(job.worker_name, f"made no epoch for {silence_s:.0f} s")

    def give_up_silent(self) -> None:
        """Give workers of other machines up that were not heard of for :data:`LOST_AFTER_S`."""
        with self.runner_cond:
            names = [
                name
                for name in self.worker_pool
                if self.clock_s - self._seen_s[name] > LOST_AFTER_S and not self.is_watched(name)
            ]
        for name in names:
            self.worker_lost(name, f"was not heard of for {LOST_AFTER_S:.0f} s", blame=False)

    def give_orders(self, orders: str) -> None:
        """What :meth:`orders` answers from now on: what a worker is told, as JSON."""
        self._orders = orders

    @Pyro4.expose  # type: ignore[untyped-decorator]  # Pyro4 is untyped
    def orders(self) -> str:
        """What a worker that joins is told, as JSON."""
        return self._orders

    @Pyro4.expose  # type: ignore[untyped-decorator]
    def heartbeat(self, worker: str) -> bool:
        """Take a worker's sign of life; False if it was given up."""
        with self.runner_cond:
            self._seen_s[worker] = self.clock_s
            return worker not in self._gone

    @Pyro4.expose  # type: ignore[untyped-decorator]
    def leave(self, worker: str) -> None:
        """A worker of another machine is taken away; its trial goes on elsewhere."""
        with self._reporting_failure():
            self.worker_lost(worker, "left", blame=False)

    @Pyro4.expose  # type: ignore[untyped-decorator]
    def lost(self, worker: str, reason: str) -> None:
        """A worker of another machine died there, perhaps of its trial."""
        with self._reporting_failure():
            self.worker_lost(worker, reason)

    @Pyro4.expose  # type: ignore[untyped-decorator]
    def is_known(self, name: str) -> bool:
        """Whether a worker of this name ever registered."""
        with self.runner_cond:
            return name in self.worker_pool or name in self._gone

    @Pyro4.expose  # type: ignore[untyped-decorator]
    def is_gone(self, name: str) -> bool:
        """Whether a worker of this name is given up, or has taken its leave."""
        with self.runner_cond:
            return name in self._gone

    @Pyro4.expose  # type: ignore[untyped-decorator]
    def register_epoch(
        self,
        id: HpBandSterId,  # noqa: A002 - as HpBandSter
        worker: str,
        turn: int,
        checkpoint: dict[str, Any],
    ) -> bool:
        """Take an epoch from a worker; it is on the disk when this returns.

        A worker that was given up, and whose trial another one has, is not listened to. Nor is any
        after a failure: what follows an epoch that could not be written would stand behind a gap.

        Returns:
            Whether the worker is to go on.
        """
        with self._reporting_failure():
            job = self._running(_as_id(id), worker, turn)
            if job is not None and self.failure is None:
                self._heard_s[job.id] = self._seen_s[worker] = self.clock_s
                self._on_epoch(job.id, from_wire(checkpoint))
                return True
        return False

    @Pyro4.expose  # type: ignore[untyped-decorator]
    def register_result(
        self,
        id: HpBandSterId,  # noqa: A002 - as HpBandSter
        result: dict[str, Any],
        worker: str,
        turn: int | None,
        leaves: str | None = None,
    ) -> None:
        """Take the result of a trial; one that failed is tried again while attempts are left.

        Args:
            id: HpBandSter's.
            result: HpBandSter's `{"result": ..., "exception": ...}`.
            worker: who sends it; one that was given up is not listened to.
            turn: what :meth:`job_runner` gave it, or None for its present one. A worker tells again
                what it got no answer to, and may have the next job by then.
            leaves: why this worker takes no other trial, if so.
        """
        with self._reporting_failure():
            if leaves is not None and self._forget(worker) is not None:
                self._on_note(f"worker {short(worker)} is started anew: {leaves}")
                self._tell_queue()
            job = self._end_of(_as_id(id), worker, turn)
            if job is None or self.failure is not None:
                return
            n_blamed = self._attempts[job.id] - self._excused.get(job.id, 0)
            if result["exception"] is not None and n_blamed < MAX_ATTEMPTS:
                self.submit_job(job.id, **job.kwargs)
                return
            del self._attempts[job.id]  # promoted, it is tried as often again
            self._excused.pop(job.id, None)
            job.time_it("finished")
            job.result, job.exception = result["result"], result["exception"]
            self.new_result_callback(job)

    def _running(self, job_id: HpBandSterId, name: str, turn: int | None) -> Job | None:
        """The job, if that worker has it, in that turn."""
        job = self.running_jobs.get(job_id)
        if job is None or job.worker_name != name or turn not in {None, job.turn}:
            return None
        return job

    def _end_of(self, job_id: HpBandSterId, name: str, turn: int | None) -> Job | None:
        """Take a job from the running ones and free its worker; None if that one has it no more."""
        with self.runner_cond:
            job = self._running(job_id, name, turn)
            if job is None:
                return None
            del self.running_jobs[job_id]
            if name in self.worker_pool:
                self.worker_pool[name].runs_job = None
                self.idle_workers.add(name)
                self.runner_cond.notify_all()
            return job

    def _forget(self, name: str) -> Any:
        """Strike a worker off, for good; returns what was known of it."""
        with self.runner_cond:
            self._gone.add(name)
            self.idle_workers.discard(name)
            return self.worker_pool.pop(name, None)

    def _nameserver(self) -> Any:
        return nameserver_at(self.nameserver, self.nameserver_port)

    def _tell_queue(self) -> None:
        # Without the lock: the master may hold its own and want ours.
        self.queue_callback(self.number_of_workers())

    @contextmanager
    def _reporting_failure(self) -> Iterator[None]:
        """Keep what ends a thread, for the study to end with, instead of letting it end alone."""
        try:
            yield
        except Exception as failure:  # noqa: BLE001 - whatever it is, somebody must hear of it
            if not self.shutdown_all_threads and self.failure is None:
                self.failure = failure


def short(name: str) -> str:
    """A worker's name without HpBandSter's prefix: host, process id, tag."""
    return name.rpartition(".worker.")[2]


def _as_id(sent: Sequence[int]) -> HpBandSterId:
    """HpBandSter's id, whatever kind of sequence it travelled as."""
    iteration, stage, index = sent
    return iteration, stage, index
