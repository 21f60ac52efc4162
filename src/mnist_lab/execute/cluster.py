"""Where a run is executed: Dask's scheduler, and the workers that it hands steps to."""

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
    """What it takes to join a run: secret, and void when the run is no longer written."""

    scheduler: str
    credentials: Credentials
    # What the run trains with: see the :class:`~mnist_lab.execute.worker.Trainer`.
    run: str
    arguments: dict[str, Any]
    n_threads: int
    versions: dict[str, str]


class Ready(NamedTuple):
    """A worker is there, and has loaded what it trains with."""

    worker: str


class Gone(NamedTuple):
    """A worker is gone; `reason` says why it died, if that is known."""

    worker: str
    reason: str | None = None


class Back(NamedTuple):
    """A step that was submitted came back; None: nobody knows what became of it."""

    step: Future
    taken: Taken | None


class Workers(Protocol):
    """Workers that this process has started, here or elsewhere, and watches over."""

    def look(self, clock_s: float) -> list[tuple[str, str | None]]:
        """Replace the dead; returns their names, and why each died."""

    def kill(self, name: str) -> None:
        """End a worker at once, if it is one of these, for another to take its place."""

    def stop(self) -> None:
        """End all of them."""


class Cluster:
    """The workers of a run, behind a scheduler in this process or somebody else's.

    Args:
        trainer: what the workers train with.
        host: this machine's address for workers of others; loopback is for this one alone.
        scheduler: the address of an existing scheduler; Dask's configuration has its credentials.
    """

    def __init__(self, trainer: Trainer, *, host: str, scheduler: str | None = None) -> None:
        self._trainer = trainer
        self._events: queue.SimpleQueue[tuple[Any, Any]] = queue.SimpleQueue()
        self._names: dict[str, str] = {}  # of the workers, by address
        self._heard: dict[str, str] = {}  # of those whose coming is not told yet, too
        self._seen: set[str] = set()  # of all that ever came
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
        """What others need to join."""
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
        """The loop of the thread in which everything is sent and received."""
        loop: asyncio.AbstractEventLoop = self._client.loop.asyncio_loop
        return loop

    def names(self) -> dict[str, bool]:
        """The names of the workers that ever came, and whether each is still there."""
        here = set(self._names.copy().values())
        return {name: name in here for name in self._seen.copy()}

    def employ(self, workers: Workers) -> None:
        """Look after these workers from now on, and end them at the end."""
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

        What comes of it is not told by itself.
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
        """Have :meth:`wait` tell when this step is back."""
        fetched = asyncio.run_coroutine_threadsafe(self._fetch(step), self.loop)
        fetched.add_done_callback(lambda taken: self._events.put((step, taken)))

    def wait(self, timeout_s: float) -> Iterator[Ready | Gone | Back]:
        """What happened, after waiting for something for so long at most.

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
        """The workers of this process that died, and why; they are replaced."""
        if self._workers is not None:
            for name, reason in self._workers.look(clock_s):
                yield Gone(name, reason)

    def dismiss(self, worker: str) -> None:
        """Have a worker ended at once, for another to take its place: it may be stuck."""
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

    async def _fetch(self, step: Future) -> Taken | None:
        """What became of a step; None: nobody knows.

        Dask's own `gather` asks for several at once, and a worker that is cut off would keep the
        others' steps back.
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
        """Have the workers of somebody else's scheduler load what they train with."""
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
        """Leave nothing on somebody else's workers, as far as they answer and had it."""
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
