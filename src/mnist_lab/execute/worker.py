"""A worker: it loads its trainer once, then takes one step after another.

A worker is a process with a Dask worker inside. Those that this program starts run :func:`main`,
get their instructions on standard input, and end when their parent does, however it died. The
workers of somebody else's Dask cluster get the same :class:`Trainer` from its scheduler.
"""

from __future__ import annotations

import asyncio
import gc
import os
import pickle
import sys
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import psutil
from distributed import WorkerPlugin, get_worker

from mnist_lab import machine
from mnist_lab.errors import ExitCode, LabError, StudyError
from mnist_lab.execute.dask import Worker, bracketed, dask_settings, security
from mnist_lab.records import Step

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from mnist_lab.config import TrainConfig
    from mnist_lab.execute.dask import Credentials
    from mnist_lab.records import Checkpoint

    Train = Callable[[TrainConfig, int, Checkpoint | None, float], Step]

# oneDNN keeps the kernels of each shape: 0.27 GiB after 120 trials of the exercise's search space
# (docs/performance.md). A worker that grew by more than this since its first trial is started anew,
# which takes seconds.
MOST_GROWTH_GIB = 0.5
# How often a worker process looks whether its parent lives.
LOOK_S = 1.0
# What must agree for the same numbers.
VERSIONS = ("mnist-lab", "tensorflow", "keras", "numpy")
# Keras imports these where they are installed, and training needs none: without them, and without
# looking for garbage, `import keras` takes 2.5 s of processor time instead of 5.4, and 200 MB that
# no other process shares instead of 287.
UNWANTED = ("IPython", "matplotlib", "pandas", "sklearn")


_one_at_a_time = threading.Lock()


class Failure(NamedTuple):
    """The reason why a step failed."""

    reason: str


class Taken(NamedTuple):
    """The result of a step; `leaves` says why its worker must not take another trial."""

    step: Step | Failure
    leaves: str | None = None

    @property
    def has_ended(self) -> bool:
        """Whether the training has ended."""
        return isinstance(self.step, Failure) or self.step.result is not None


class Trainer(WorkerPlugin):  # type: ignore[misc]  # Dask is half typed
    """Dask's plugin that makes a process a worker of a run: opens its trainer once, in a thread.

    Args:
        name: of the run.
        open_trainer: called with `arguments` in the worker; returns the function that takes a
            step.
        arguments: of that function.
        n_threads: of TensorFlow.
        versions: package to version on the machine that started the run.
    """

    def __init__(
        self,
        name: str,
        open_trainer: Callable[..., Train],
        arguments: dict[str, Any],
        *,
        n_threads: int,
        versions: dict[str, str],
    ) -> None:
        self.name = name
        self._open = open_trainer
        self.arguments = arguments
        self.n_threads = n_threads
        self.versions = versions
        self._train: Train | None = None
        self._first_gib: float | None = None

    def sharing(self, file: int) -> Trainer:
        """A copy for processes that inherit a descriptor of :func:`mnist_lab.data.share`."""
        arguments = self.arguments | {"shared": file}
        return Trainer(
            self.name, self._open, arguments, n_threads=self.n_threads, versions=self.versions
        )

    def check_versions(self) -> None:
        """Refuse to work where results might differ.

        Raises:
            StudyError: this machine has other versions.
        """
        here = machine.versions()
        different = [
            f"{name} {self.versions.get(name)} there, {here[name]} here"
            for name in VERSIONS
            if self.versions.get(name) != here[name]
        ]
        if different:
            raise StudyError(
                f"this worker has other versions than the run: {'; '.join(different)}",
                next_step="install the same requirements.lock",
            )

    async def setup(self, worker: Any) -> None:
        """Open the trainer without blocking the worker's heartbeat."""
        del worker
        if self._train is None:
            os.environ.update(tensorflow_settings(self.n_threads))
            await asyncio.to_thread(self.load)

    def load(self) -> None:
        """Open the trainer.

        Raises:
            LabError: this machine has other versions, other data or no such device.
        """
        self.check_versions()
        unwanted = [name for name in UNWANTED if name not in sys.modules]
        sys.modules.update(dict.fromkeys(unwanted, cast("ModuleType", None)))
        gc.disable()  # importing makes many objects and no garbage
        try:
            self._train = self._open(**self.arguments)
        finally:
            gc.enable()
            gc.freeze()
            for name in unwanted:
                del sys.modules[name]

    def take(
        self, config: TrainConfig, seed: int, before: Taken | Checkpoint | None, stop: float
    ) -> Taken:
        """Take the step from `before` to the epoch `stop`.

        A state whose training has ended is returned as it is.

        Any failure of the training is returned, not raised.
        """
        if isinstance(before, Taken):
            if before.has_ended:
                return before
            assert isinstance(before.step, Step)  # noqa: S101 - a failure would have ended it
            before = before.step.checkpoint
        if self._train is None:
            return Taken(Failure("its worker could not get ready to train"))
        try:
            # Somebody's Dask worker may have several threads; this has one network.
            with _one_at_a_time:
                taken = Taken(self._train(config, seed, before, stop))
        except Exception as problem:  # noqa: BLE001 - whatever ended the trial is its result
            taken = Taken(Failure(str(machine.shortage(problem) or _last_line(problem))))
        return taken._replace(leaves=self._growth()) if taken.has_ended else taken

    def _growth(self) -> str | None:
        """How much its memory grew since the first trial, in words, if that is too much."""
        gib = psutil.Process().memory_info().rss / 2**30
        if self._first_gib is None:
            self._first_gib = gib
        if gib - self._first_gib <= MOST_GROWTH_GIB:
            return None
        return f"its memory grew from {self._first_gib:.1f} to {gib:.1f} GiB"


def take_step(
    run: str, config: TrainConfig, seed: int, before: Taken | Checkpoint | None, stop: float
) -> Taken:
    """In a worker: take the step from `before` to the epoch `stop` with this run's trainer."""
    trainer: Trainer = get_worker().plugins[run]
    return trainer.take(config, seed, before, stop)


class Line(NamedTuple):
    """How a worker process reaches its run, and at which address the run reaches it."""

    scheduler: str
    credentials: Credentials
    host: str


def tensorflow_settings(n_threads: int) -> dict[str, str]:
    """The environment variables that TensorFlow reads on import."""
    return {
        "TF_NUM_INTRAOP_THREADS": str(n_threads),
        "TF_NUM_INTEROP_THREADS": "1",
        "OMP_NUM_THREADS": str(n_threads),
        # By default TensorFlow leaves oneDNN out where a processor has no VNNI and no AMX, as AMD's
        # before Zen 4; a step takes three to four times as long there without it.
        "TF_ENABLE_ONEDNN_OPTS": "1",
        # By default each step sets up the convolutions' gradients anew, to save memory; that is up
        # to a fifth of a small network's step, and no memory was seen to be saved.
        "TF_MKL_OPTIMIZE_PRIMITIVE_MEMUSE": "false",
        "TF_CPP_MIN_LOG_LEVEL": os.environ.get("TF_CPP_MIN_LOG_LEVEL", "3"),
    }


def main(parent: int) -> int:
    """Be a worker process, until the run or the parent ends.

    The parent sends the trainer, then its name and the :class:`Line`: loading takes seconds, while
    the parent opens the run.
    """
    threading.Thread(target=_end_with_parent, args=(parent,), daemon=True).start()
    try:
        trainer: Trainer = _received()
        trainer.load()  # before the run hears of this worker, which is ready then
        name: str = _received()
        line: Line = _received()
        asyncio.run(_serve(trainer, name, line))
    except EOFError:
        return ExitCode.TERMINATED
    except Exception as problem:
        expected = problem if isinstance(problem, LabError) else machine.shortage(problem)
        if expected is None:
            raise
        sys.stderr.write(f"{expected}\n")
        return expected.exit_code
    return ExitCode.DONE


def _received() -> Any:
    return pickle.load(sys.stdin.buffer)  # noqa: S301 - a pipe from our own parent


async def _serve(trainer: Trainer, name: str, line: Line) -> None:
    # Its thread is started now, where it is told if the machine refuses one.
    executor = ThreadPoolExecutor(1)
    executor.submit(int).result()
    with dask_settings():
        worker = await Worker(
            line.scheduler,
            name=name,
            host=bracketed(line.host),
            security=security(line.credentials),
            nthreads=1,
            memory_limit=0,
            plugins=[trainer],
            executor=executor,
        )
    await worker.finished()


def _last_line(problem: Exception) -> str:
    return "".join(traceback.format_exception_only(problem)).strip().splitlines()[-1]


def _end_with_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(LOOK_S)
    os._exit(ExitCode.TERMINATED)
