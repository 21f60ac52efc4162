"""The worker processes of this machine: start, watch, restart, end."""

from __future__ import annotations

import os
import pickle
import platform
import secrets
import signal
import subprocess
import tempfile
from contextlib import suppress
from typing import IO, TYPE_CHECKING, NamedTuple

import psutil

from mnist_lab import machine, processes
from mnist_lab.errors import StudyError
from mnist_lab.execute.dask import READY
from mnist_lab.execute.worker import tensorflow_settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnist_lab.execute.worker import Line, Trainer

# After SIGTERM a worker has nothing to save: its epochs are in the journal already.
STOP_PATIENCE_S = 5.0
# Loading TensorFlow and the data takes 3 to 20 s; on a slow network folder a minute.
START_PATIENCE_S = 300.0
# How often in a row a worker may be killed while it starts.
MOST_BAD_STARTS = 3

_WORKER = "from mnist_lab.execute.worker import main; sys.exit(main(parent={}))"


class WorkerSlot(NamedTuple):
    """The resources of a worker: the number of its GPU, if any, and its niceness (0 to 19)."""

    gpu: int | None = None
    niceness: int = 0


class _Process(NamedTuple):
    slot: WorkerSlot
    process: subprocess.Popen[bytes]
    output: IO[bytes]
    name: str
    started_s: float
    n_bad_starts: int


class Pool:
    """Worker processes, one for each slot, which load their trainer at once.

    Args:
        slots: the resources of each.
        trainer: of the workers.
        files: descriptors that each inherits, under the same numbers.
        name: the beginning of their names; None: this machine's name.

    Raises:
        StudyError: a process cannot be started.
    """

    def __init__(
        self,
        slots: Sequence[WorkerSlot],
        trainer: Trainer,
        files: Sequence[int],
        name: str | None = None,
    ) -> None:
        self._trainer = trainer
        self._name = name or platform.node()
        self._line: Line | None = None
        self._files = files
        self._n_oom_kills = machine.oom_kills()
        self._processes: list[_Process] = []
        self._ready: set[str] = set()
        try:
            for slot in slots:
                self._processes.append(self._start(slot, 0.0))
        except BaseException:
            self.stop()
            raise

    def join(self, line: Line) -> None:
        """Make them workers of a run as soon as they have loaded."""
        self._line = line
        for worker in self._processes:
            _send(worker.process, worker.name, line)

    def kill(self, name: str) -> None:
        """End a worker at once; the next check restarts it."""
        for worker in self._processes:
            if worker.name == name:
                worker.process.kill()
                worker.process.wait()

    def look(self, clock_s: float) -> list[tuple[str, str | None]]:
        """Restart each dead worker.

        Args:
            clock_s: seconds since the pool was made.

        Returns:
            The names of the dead, and why each died; None: the run dismissed it, or was cut off.

        Raises:
            StudyError: one ended before it was ready, as the next would too; or one is not ready
                after `START_PATIENCE_S`.
        """
        dead: list[tuple[str, str | None]] = []
        for index, worker in enumerate(self._processes):
            code = worker.process.poll()
            # Nobody may have heard the name of one that died of its first step.
            if worker.name not in self._ready and READY in _lines(worker.output):
                self._ready.add(worker.name)
            is_ready = worker.name in self._ready
            if code is None:
                if clock_s - worker.started_s > START_PATIENCE_S and not is_ready:
                    raise StudyError(
                        f"a worker was not ready after {START_PATIENCE_S:.0f} s; its last output: "
                        f"{_last_line(worker.output) or 'none'}",
                        next_step="check whether disk or network is slow, then run the same "
                        "command again to continue",
                    )
                continue
            reason, last_words = self._reason(code), _last_line(worker.output)
            n_bad_starts = 0 if is_ready or code == 0 else worker.n_bad_starts + 1
            if not is_ready and (code > 0 or n_bad_starts >= MOST_BAD_STARTS):
                raise StudyError(
                    last_words if code > 0 and last_words else f"a worker cannot start: it {reason}"
                )
            _close(worker)
            why = reason + (f": {last_words}" if code > 0 else "")
            dead.append((worker.name, why if code else None))
            self._processes[index] = self._start(worker.slot, clock_s, n_bad_starts)
        return dead

    def stop(self) -> None:
        """End all workers, and wait for that."""
        for worker in self._processes:
            worker.process.terminate()
        for worker in self._processes:
            try:
                worker.process.wait(STOP_PATIENCE_S)
            except subprocess.TimeoutExpired:
                worker.process.kill()
                worker.process.wait()
            _close(worker)
        self._processes.clear()

    def _start(self, slot: WorkerSlot, clock_s: float, n_bad_starts: int = 0) -> _Process:
        environment = processes.environment() | tensorflow_settings(self._trainer.n_threads)
        if slot.gpu is not None:
            environment["CUDA_VISIBLE_DEVICES"] = str(slot.gpu)
        try:
            output = tempfile.TemporaryFile()  # noqa: SIM115 - closed when its process ended
            process = subprocess.Popen(  # noqa: S603 - our own code
                processes.python(_WORKER.format(os.getpid())),
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                env=environment,
                pass_fds=self._files,
                # A Ctrl-C at the terminal is for the parent, which decides what it means.
                start_new_session=True,
            )
        except OSError as problem:
            raise StudyError(
                f"cannot start a worker with its temporary file ({problem.strerror or problem})",
                next_step="make room or fix the permissions, then run the same command again",
            ) from None
        if slot.niceness:
            # Now, while it has one thread: those it starts later inherit this.
            with suppress(psutil.NoSuchProcess):  # it is found dead at the next look
                machine.let_others_go_first(process.pid, slot.niceness)
        # The tag makes the name its own, where two machines share a host name.
        name = f"{self._name}.{process.pid}.{secrets.token_hex(3)}"
        _send(process, self._trainer)
        if self._line is not None:
            _send(process, name, self._line)
        return _Process(slot, process, output, name, clock_s, n_bad_starts)

    def _reason(self, code: int) -> str:
        if code >= 0:
            return f"ended with exit code {code}"
        number = -code
        hint = ""
        if number == signal.SIGKILL and machine.oom_kills() != self._n_oom_kills:
            self._n_oom_kills = machine.oom_kills()
            hint = ": the machine ran out of memory"
        return f"was killed by signal {number} ({signal.Signals(number).name}){hint}"


def _send(process: subprocess.Popen[bytes], *orders: object) -> None:
    assert process.stdin is not None  # noqa: S101 - it was asked for
    with suppress(BrokenPipeError):  # it died already, and is found dead at the next look
        for order in orders:
            pickle.dump(order, process.stdin)
        process.stdin.flush()


def _close(worker: _Process) -> None:
    if worker.process.stdin is not None:
        with suppress(BrokenPipeError):
            worker.process.stdin.close()
    worker.output.close()


def _lines(output: IO[bytes]) -> list[str]:
    # The process writes where the file's position is, which therefore stays.
    content = os.pread(output.fileno(), os.fstat(output.fileno()).st_size, 0)
    return content.decode("utf-8", "replace").strip().splitlines()


def _last_line(output: IO[bytes]) -> str:
    said = [line for line in _lines(output) if line != READY]
    return said[-1] if said else ""
