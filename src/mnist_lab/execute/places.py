"""Places to train: this machine, hosts behind SSH, a batch system, an existing Dask scheduler."""

from __future__ import annotations

import math
import os
import sys
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from mnist_lab import machine
from mnist_lab.execute.cluster import Cluster
from mnist_lab.execute.elsewhere import BatchSystem, Elsewhere, check_ssh, over_ssh
from mnist_lab.execute.pool import Pool
from mnist_lab.execute.worker import Line

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mnist_lab.execute.elsewhere import Run
    from mnist_lab.execute.pool import WorkerSlot
    from mnist_lab.execute.worker import Trainer
    from mnist_lab.rundir import RunDir

# How this program is run by Python.
PROGRAM: tuple[str, ...] = ("-m", "mnist_lab")
# What a shell on another host lacks of this one's environment.
HANDED_ON: tuple[str, ...] = ("PYTHONPATH",)
# Any address beyond this machine: towards it goes what has no closer way. Nothing is sent.
_AWAY = "192.0.2.1"


class Place:
    """A place that executes a run."""

    # How many workers there will be, as far as that is known; 0: those that come.
    n_workers = 0
    # Whether a person is to be told how to join.
    is_open = False

    def open(
        self,
        trainer: Trainer,
        *,
        most: int,
        shared: int,
        run_dir: RunDir,
        note: Callable[[str], None],
    ) -> Cluster:
        """Start a scheduler and workers, or use existing ones.

        Args:
            trainer: of the workers.
            most: how many workers can have work.
            shared: a descriptor of :func:`mnist_lab.data.share`, for workers of this machine.
            run_dir: where joining workers find the token.
            note: called with a line when workers elsewhere end.
        """
        raise NotImplementedError

    def plan(self, run_dir: RunDir) -> str:
        """A preview for the user: the script of a job; else empty."""
        del run_dir
        return ""


class Local(Place):
    """This machine, alone or with others that join.

    Args:
        slots: the resources of each worker of this machine.
        host: this machine's address for workers elsewhere; None: there are none.
    """

    def __init__(self, slots: Sequence[WorkerSlot], host: str | None = None) -> None:
        self.n_workers = len(slots)
        self.is_open = host is not None or not slots
        self._slots = slots
        self._host = host or machine.LOOPBACK

    def open(
        self,
        trainer: Trainer,
        *,
        most: int,
        shared: int,
        run_dir: RunDir,
        **_: Any,
    ) -> Cluster:
        """Start the workers, and the scheduler in this process while they load."""
        with ExitStack() as opened:
            pool = Pool(self._slots[:most], trainer.sharing(shared), [shared])
            opened.callback(pool.stop)
            cluster = Cluster(trainer, host=self._host)
            opened.callback(cluster.close)
            cluster.employ(pool)
            token = cluster.token
            pool.join(Line(token.scheduler, token.credentials, machine.LOOPBACK))
            run_dir.write_token(token.model_dump_json())
            opened.pop_all()
        return cluster


class _Elsewhere(Place):
    """Places that run `mnist-lab worker` for a run directory that they also see.

    Args:
        host: this machine's address for them; None: the one towards `there`, if known.
        there: one of them.
    """

    def __init__(self, host: str | None, there: str) -> None:
        self._host = host
        self._there = there

    def open(
        self,
        trainer: Trainer,
        *,
        most: int,
        run_dir: RunDir,
        note: Callable[[str], None],
        **_: Any,
    ) -> Cluster:
        """Start the scheduler in this process, and run the command in each place."""
        ways = (machine.address_towards(host, 22) for host in (self._there, _AWAY))
        host = self._host or next(filter(None, ways), machine.LOOPBACK)
        with ExitStack() as opened:
            cluster = Cluster(trainer, host=host)
            opened.callback(cluster.close)
            run_dir.write_token(cluster.token.model_dump_json())
            runs = self._runs(run_dir, most)
            cluster.employ(Elsewhere(runs, loop=cluster.loop, known=cluster.names, note=note))
            opened.pop_all()
        return cluster

    def _runs(self, run_dir: RunDir, most: int) -> Mapping[str, Run]:
        raise NotImplementedError


class Ssh(_Elsewhere):
    """Hosts behind SSH that see the run directory, with one worker per free core on each.

    Args:
        hosts: as in `user@host:port`, or their names in `~/.ssh/config`.
        host: this machine's address for them; None: the one towards the first of them.
        words: further arguments of `mnist-lab worker`.
        options: of `asyncssh.connect`.
    """

    def __init__(
        self,
        hosts: Sequence[str],
        *,
        host: str | None,
        words: Sequence[str],
        options: Mapping[str, Any],
    ) -> None:
        check_ssh(options)
        super().__init__(host, urlsplit(f"ssh://{hosts[0]}").hostname or "")
        self.n_workers = len(hosts)  # at least
        self._hosts = hosts
        self._words = words
        self._options = options

    def _runs(self, run_dir: RunDir, most: int) -> Mapping[str, Run]:
        del most
        handed_on = [f"{name}={os.environ[name]}" for name in HANDED_ON if name in os.environ]
        command = ["env", *handed_on, sys.executable, *_command(run_dir), *self._words]
        return {
            host: partial(over_ssh, host=host, command=command, options=self._options)
            for host in self._hosts
        }


class Batch(_Elsewhere):
    """Jobs of a batch system.

    Args:
        system: one of :data:`~mnist_lab.execute.elsewhere.SYSTEMS`.
        n_workers: how many, each with a core.
        host: this machine's address for them; None: the one of the default route.
        options: of dask-jobqueue; they override Dask's configuration files.
    """

    def __init__(
        self, system: str, n_workers: int, *, host: str | None, options: Mapping[str, Any]
    ) -> None:
        super().__init__(host, _AWAY)
        self.n_workers = n_workers
        self._name = system
        self._system = BatchSystem(system, options)

    def plan(self, run_dir: RunDir) -> str:
        """The script of a job."""
        return self._system.script(_command(run_dir), run_dir.jobs.absolute())

    def _runs(self, run_dir: RunDir, most: int) -> Mapping[str, Run]:
        logs = run_dir.jobs.absolute()
        run = partial(self._system.run, command=_command(run_dir), logs=logs)
        n_jobs = math.ceil(most / self._system.n_cores)
        return {f"{self._name}-{number}": run for number in range(1, n_jobs + 1)}


class Existing(Place):
    """Somebody else's Dask scheduler with its workers.

    Args:
        scheduler: its address, `tcp://HOST:PORT` or `tls://HOST:PORT`.
    """

    def __init__(self, scheduler: str) -> None:
        self._scheduler = scheduler

    def open(self, trainer: Trainer, **_: Any) -> Cluster:
        """Make its workers workers of this run."""
        return Cluster(trainer, host="", scheduler=self._scheduler)


def _command(run_dir: RunDir) -> list[str]:
    return [*PROGRAM, "worker", str(run_dir.path.absolute()), "--quiet"]
