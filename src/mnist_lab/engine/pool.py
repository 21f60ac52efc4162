"""The worker processes of this machine: started, watched, started again, ended."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import tempfile
from contextlib import suppress
from typing import IO, TYPE_CHECKING, NamedTuple

import psutil

from mnist_lab import machine, processes
from mnist_lab.errors import StudyError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mnist_lab.engine.worker import Orders

# After SIGTERM a worker has nothing to save: its epochs are in the journal already.
STOP_PATIENCE_S = 5.0
# Loading TensorFlow and the data takes 3 to 20 s; on a slow network folder a minute.
START_PATIENCE_S = 300.0

_WORKER = "from mnist_lab.engine.worker import main; sys.exit(main())"


class WorkerSlot(NamedTuple):
    """What one worker gets: a GPU by number if it has one, and its niceness (0 to 19)."""

    gpu: int | None = None
    niceness: int = 0


class _Process(NamedTuple):
    place: WorkerSlot
    process: subprocess.Popen[str]
    output: IO[str]
    name: str
    started_s: float


class Pool:
    """Worker processes, one for each place.

    Args:
        orders: what each is told.
        is_known: whether the worker of this name ever registered.
        is_gone: whether it was given up, or has taken its leave.
        files: descriptors that each inherits, under the same numbers.
    """

    def __init__(
        self,
        orders: Orders,
        *,
        is_known: Callable[[str], bool],
        is_gone: Callable[[str], bool],
        files: Sequence[int] = (),
    ) -> None:
        self._orders = orders
        self._is_known = is_known
        self._is_gone = is_gone
        self._files = files
        self._n_oom_kills = machine.oom_kills()
        self._processes: list[_Process] = []

    def start(self, places: Sequence[WorkerSlot], clock_s: float) -> None:
        """Start a worker at each place; they are ready seconds later.

        Raises:
            StudyError: a process cannot be started.
        """
        self._processes.extend(self._start(place, clock_s) for place in places)

    @property
    def names(self) -> list[str]:
        """The workers' names, as they register with the nameserver."""
        return [worker.name for worker in self._processes]

    def replace_dead(self, clock_s: float) -> list[tuple[str, str]]:
        """Start each worker again that is dead or given up.

        Args:
            clock_s: the time in seconds, by the clock of :meth:`start`.

        Returns:
            The dead ones' names, and why each died.

        Raises:
            StudyError: one died before it was ready, and so would the next; or it is not ready
                after `START_PATIENCE_S`.
        """
        dead = []
        for index, worker in enumerate(self._processes):
            if self._is_gone(worker.name):
                worker.process.kill()
                worker.process.wait()
            code = worker.process.poll()
            if code is None:
                waited_s = clock_s - worker.started_s
                if waited_s > START_PATIENCE_S and not self._is_known(worker.name):
                    raise StudyError(
                        f"a worker is ready within {START_PATIENCE_S:.0f} s",
                        received=f"none; its last words: {_last_line(worker.output) or 'none'}",
                        next_step="see whether disk and network are slow, then give the same "
                        "command to continue",
                    )
                continue
            reason, last_words = self._reason(code), _last_line(worker.output)
            _close(worker)
            if not self._is_known(worker.name):
                raise StudyError(last_words or f"a worker starts: it {reason}")
            dead.append((worker.name, reason + (f": {last_words}" if code > 0 else "")))
            self._processes[index] = self._start(worker.place, clock_s)
        return dead

    def stop(self) -> None:
        """End all workers, and wait until they are gone."""
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

    def _start(self, place: WorkerSlot, clock_s: float) -> _Process:
        orders = self._orders.model_copy(update={"tag": secrets.token_hex(3)})
        try:
            output = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115 - closed when its process ended
            process = subprocess.Popen(  # noqa: S603 - our own code
                processes.python(_WORKER),
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                env=environment(place, orders.n_threads),
                text=True,
                pass_fds=self._files,
                # A Ctrl-C at the terminal is for the parent, which decides what it means.
                start_new_session=True,
            )
        except OSError as problem:
            raise StudyError(
                "a worker process can be started, with a temporary file for what it says",
                received=problem,
                next_step="make room or permit it, then give the same command to continue",
            ) from None
        if place.niceness:
            # Now, while it has one thread: those it starts later inherit this.
            with suppress(psutil.NoSuchProcess):  # it is found dead at the next look
                machine.let_others_go_first(process.pid, place.niceness)
        assert process.stdin is not None  # noqa: S101 - it was asked for above
        try:
            process.stdin.write(orders.model_dump_json() + "\n")
            process.stdin.flush()
        except BrokenPipeError:
            pass  # it died already, and is found dead at the next look
        prefix = f"hpbandster.run_{orders.run_id}.worker"
        name = f"{prefix}.{socket.gethostname()}.{process.pid}.{orders.tag}"
        return _Process(place, process, output, name, clock_s)

    def _reason(self, code: int) -> str:
        if code >= 0:
            return f"ended with exit code {code}"
        number = -code
        hint = ""
        if number == signal.SIGKILL and machine.oom_kills() != self._n_oom_kills:
            self._n_oom_kills = machine.oom_kills()
            hint = ": the machine ran out of memory"
        return f"was killed by signal {number} ({signal.Signals(number).name}){hint}"


def _close(worker: _Process) -> None:
    if worker.process.stdin is not None:
        worker.process.stdin.close()
    worker.output.close()


def environment(place: WorkerSlot, n_threads: int) -> dict[str, str]:
    """The variables of a worker, with the settings that TensorFlow reads when it is imported."""
    values = processes.environment() | {
        "TF_NUM_INTRAOP_THREADS": str(n_threads),
        "TF_NUM_INTEROP_THREADS": "1",
        "OMP_NUM_THREADS": str(n_threads),
        # By default each step sets up the convolutions' gradients anew, to save memory; that is up
        # to a fifth of a small network's step, and no memory was seen to be saved.
        "TF_MKL_OPTIMIZE_PRIMITIVE_MEMUSE": "false",
        "TF_CPP_MIN_LOG_LEVEL": os.environ.get("TF_CPP_MIN_LOG_LEVEL", "3"),
    }
    if place.gpu is not None:
        values["CUDA_VISIBLE_DEVICES"] = str(place.gpu)
    return values


def _last_line(output: IO[str]) -> str:
    output.seek(0)
    lines = output.read().strip().splitlines()
    return lines[-1] if lines else ""
