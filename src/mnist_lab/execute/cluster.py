"""The cluster that executes a run: Dask's scheduler, and the workers that get its steps."""

from __future__ import annotations

import asyncio
import itertools
import queue
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from distributed import CancelledError, Client, Future, KilledWorker
from distributed.deploy.spec import SpecCluster

from mnist_lab import machine
from mnist_lab.config import Frozen
from mnist_lab.errors import LabError, StudyError
from mnist_lab.execute.dask import (
    ANSWER_S,
    Credentials,
    Scheduler,
    bracketed,
    connect,
    dask_settings,
    new_credentials,
    security,
)
from mnist_lab.execute.worker import Failure, Taken, take_step

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mnist_lab.config import TrainConfig
    from mnist_lab.execute.worker import Trainer
    from mnist_lab.records import Checkpoint

# What a run and those who watch over workers elsewhere tell each other.
TOPIC = "mnist-lab"
# How long until a worker that did not answer is asked again for a step that it took.
RETRY_S = 1.0


class Token(Frozen):
    """The secret for joining a run, valid while a process writes the run."""

    scheduler: str
    credentials: Credentials
    # What the run trains with: see the :class:`~mnist_lab.execute.worker.Trainer`.
    run: str
    arguments: dict[str, Any]
    n_threads: int
    versions: dict[str, str]


class Ready(NamedTuple):
    """A worker has joined and is ready to train."""

    worker: str


class Gone(NamedTuple):
    """A worker is gone; `reason` says why it died, if that is known."""

    worker: str
    reason: str | None = None


class Back(NamedTuple):
    """A submitted step came back; None: its result is unknown."""

    step: Future
    taken: Taken | None


class Workers(Protocol):
    """Workers that this process started, here or elsewhere, and watches."""

    def look(self, clock_s: float) -> list[tuple[str, str | None]]:
        """Replace dead workers; return their names, and why each died."""

    def kill(self, name: str) -> None:
        """End a worker at once, if it is one of these; another takes its place."""

    def stop(self) -> None:
        """End all of them."""


class Cluster:
    """The workers of a run, behind a scheduler in this process or somebody else's.

    Args:
        trainer: what the workers train with.
        host: this machine's address for workers elsewhere; loopback serves this machine only.
        scheduler: the address of an existing scheduler; Dask's configuration has its credentials.
    """

    def __init__(self, trainer: Trainer, *, host: str, scheduler: str | None = None) -> None:
        self._trainer = trainer
        self._events: queue.SimpleQueue[tuple[Any, Any]] = queue.SimpleQueue()
        self._names: dict[str, str] = {}  # of the workers, by address
        self._heard: dict[str, str] = {}  # of those whose coming is not told yet, too
        self._seen: set[str] = set()  # of all that ever came
        self._fetching: set[asyncio.Future[Taken | None]] = set()
        self._workers: Workers | None = None
        self._turns = itertools.count()
        self._credentials = new_credentials()
        with ExitStack() as opened:
            if scheduler is None:
                secured = security(self._credentials)
                options = {"host": bracketed(host), "protocol": "tls://", "security": secured}
                with dask_settings():
                    own = SpecCluster(
                        scheduler={"cls": Scheduler, "options": options}, security=secured
                    )
                    opened.callback(own.close)
                    self._client = Client(
                        own.scheduler_address, security=secured, loop=own.loop, set_as_default=False
                    )
            else:
                self._client = connect(
                    scheduler,
                    None,
                    "check that it runs there, and that Dask's configuration has what it asks for",
                )
            opened.callback(self._client.close)
            for topic in ("all", TOPIC):
                self._client.subscribe_topic(topic, self._events.put)
            if scheduler is not None:
                opened.callback(self._dismantle)
                self._equip()
                for address in self._client.scheduler_info(n_workers=-1)["workers"]:
                    self._events.put((0.0, {"action": "add-worker", "worker": address}))
            self._opened = opened.pop_all()

    @property
    def token(self) -> Token:
        """The token that others need to join."""
        trainer = self._trainer
        return Token(
            scheduler=self._client.scheduler.address,
            credentials=self._credentials,
            run=trainer.name,
            arguments=trainer.arguments,
            n_threads=trainer.n_threads,
            versions=trainer.versions,
        )

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The event loop of the thread that sends and receives everything."""
        loop: asyncio.AbstractEventLoop = self._client.loop.asyncio_loop
        return loop

    def names(self) -> dict[str, bool]:
        """The names of all workers so far, and whether each is still there."""
        here = set(self._names.copy().values())
        return {name: name in here for name in self._seen.copy()}

    def employ(self, workers: Workers) -> None:
        """Watch these workers from now on, and end them at the end."""
        self._workers = workers
        self._opened.callback(workers.stop)

    def submit(
        self,
        worker: str,
        config: TrainConfig,
        seed: int,
        before: Future | Checkpoint | None,
        stop: float,
    ) -> Future:
        """Have a worker take the step from `before` to the epoch `stop`.

        Its result is not reported unless :meth:`expect` asks for it.
        """
        (address,) = (address for address, name in self._names.items() if name == worker)
        return self._client.submit(
            take_step,
            self._trainer.name,
            config,
            seed,
            before,
            stop,
            workers=[address],
            pure=False,
            priority=-next(self._turns),  # else Dask takes those of the same moment in any order
        )

    def expect(self, step: Future) -> None:
        """Let :meth:`wait` report this step when it is back."""
        # A coroutine that is made here would be lost, with a warning, where a signal comes next.
        self.loop.call_soon_threadsafe(self._begin_to_fetch, step)

    def wait(self, timeout_s: float) -> Iterator[Ready | Gone | Back]:
        """What happened, after waiting at most this long for something.

        Raises:
            StudyError: the scheduler is gone.
        """
        if not is_connected(self._client):
            raise StudyError(
                "the connection to the scheduler is lost",
                next_step="check the network, then run the same command again to continue",
            )
        try:
            while True:
                yield from self._understood(*self._events.get(timeout=timeout_s))
                timeout_s = 0.0
        except queue.Empty:
            return

    def look(self, clock_s: float) -> Iterator[Gone]:
        """The workers of this process that died, and why; replaces them."""
        if self._workers is not None:
            for name, reason in self._workers.look(clock_s):
                yield Gone(name, reason)

    def dismiss(self, worker: str) -> None:
        """End a worker at once, as it may be stuck; another takes its place."""
        if self._workers is not None:
            self._workers.kill(worker)
        self._client.log_event(TOPIC, {"dismissed": worker})
        address = next((one for one, name in self._names.items() if name == worker), None)
        if address is not None:  # of those whom a nanny watches
            restarting = self._client.scheduler.restart_workers(
                workers=[address], on_error="return"
            )
            asyncio.run_coroutine_threadsafe(restarting, self.loop)

    def close(self) -> None:
        """End the workers and the scheduler."""
        self._opened.close()

    def _begin_to_fetch(self, step: Future) -> None:
        fetching = asyncio.ensure_future(self._fetch(step))
        self._fetching.add(fetching)  # the loop itself does not keep its tasks
        fetching.add_done_callback(self._fetching.discard)
        fetching.add_done_callback(lambda taken: self._events.put((step, taken)))

    async def _fetch(self, step: Future) -> Taken | None:
        """The result of a step; None if it is unknown.

        Dask's own `gather` asks for several at once, and a worker that is cut off would hold back
        the others' steps.
        """
        try:
            problem = await step.exception()
            if problem is not None and not isinstance(problem, KilledWorker):
                return Taken(Failure(str(machine.shortage(problem) or problem)))
            while step.status == "finished":
                told = await self._client.scheduler.gather(keys=[step.key])
                if told["status"] == "OK":
                    taken: Taken = told["data"][step.key]
                    return taken
                await asyncio.sleep(RETRY_S)
        except (CancelledError, OSError):
            pass
        return None

    def _equip(self) -> None:
        """Load the trainer on the workers of somebody else's scheduler."""
        try:
            self._client.register_plugin(self._trainer)
        except LabError as problem:
            raise StudyError(str(problem)) from None
        except Exception as problem:
            raise StudyError(
                f"a worker of the scheduler cannot train ({problem})",
                next_step="install the same packages there",
            ) from problem

    def _dismantle(self) -> None:
        """Remove everything from somebody else's workers, as far as they answer."""
        leaving = self._client.scheduler.unregister_worker_plugin(name=self._trainer.name)
        with suppress(Exception):
            asyncio.run_coroutine_threadsafe(leaving, self.loop).result(ANSWER_S)

    def _understood(self, about: Any, told: Any) -> Iterator[Ready | Gone | Back]:
        if isinstance(about, Future):
            yield Back(about, told.result())
        elif told.get("action") == "add-worker":
            address = told["worker"]
            if address not in self._heard:  # many come at once, and one answer names them all
                infos = self._client.scheduler_info(n_workers=-1)["workers"].items()
                self._heard = {one: str(info["name"]) for one, info in infos}
            name = self._heard.pop(address, None)
            if name is not None and address not in self._names:
                self._names[address] = name
                self._seen.add(name)
                yield Ready(name)
        elif told.get("action") == "remove-worker":
            self._heard.pop(told["worker"], None)
            if told["worker"] in self._names:
                yield Gone(self._names.pop(told["worker"]))
        elif "gone" in told:
            yield Gone(told["gone"], told["reason"])


def is_connected(client: Client) -> bool:
    """Whether a client still has its line to the scheduler: a new one would know of nothing."""
    line = client.scheduler_comm
    return client.status == "running" and line is not None and not line.closed()
