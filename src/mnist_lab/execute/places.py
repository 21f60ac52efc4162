"""Places to run: this machine, or an existing Dask scheduler."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from mnist_lab import machine
from mnist_lab.execute.cluster import Cluster
from mnist_lab.execute.pool import Pool
from mnist_lab.execute.worker import Line

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mnist_lab.execute.pool import WorkerSlot
    from mnist_lab.execute.worker import Trainer


class Place(Protocol):
    """Where a run is executed."""

    # How many workers there will be, as far as that is known; 0: those that join.
    n_workers: int
    # Whether workers of other machines may join.
    is_open: bool

    def open(self, trainer: Trainer, *, most: int, shared: int, run_dir: Path) -> Cluster:
        """Start a scheduler and workers, or use those that are there.

        Args:
            trainer: what the workers train with.
            most: how many workers find something to do.
            shared: a descriptor of :func:`mnist_lab.data.share`, for workers of this machine.
            run_dir: of the run, in which those of other machines find what they need.
        """


class Local:
    """This machine, for itself or with others that join.

    Args:
        slots: what each worker of this machine gets.
        host: this machine's address for workers of others; None: there are none.
    """

    def __init__(self, slots: Sequence[WorkerSlot], host: str | None = None) -> None:
        self.n_workers = len(slots)
        self.is_open = host is not None or not slots
        self._slots = slots
        self._host = host or machine.LOOPBACK

    def open(self, trainer: Trainer, *, most: int, shared: int, run_dir: Path) -> Cluster:
        """Start the scheduler in this process, and the workers beside it."""
        del run_dir
        pool = Pool(self._slots[:most], trainer.sharing(shared), [shared])
        try:
            cluster = Cluster(trainer, host=self._host)
        except BaseException:
            pool.stop()
            raise
        cluster.employ(pool)
        token = cluster.token
        pool.join(Line(token.scheduler, token.credentials, machine.LOOPBACK))
        return cluster


class Existing:
    """Somebody else's Dask scheduler, with the workers that it has.

    Args:
        scheduler: its address, `tcp://HOST:PORT` or `tls://HOST:PORT`.
    """

    n_workers = 0
    is_open = False

    def __init__(self, scheduler: str) -> None:
        self._scheduler = scheduler

    def open(self, trainer: Trainer, *, most: int, shared: int, run_dir: Path) -> Cluster:
        """Make its workers ones of this run."""
        del most, shared, run_dir
        return Cluster(trainer, host="", scheduler=self._scheduler)
