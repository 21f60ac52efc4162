"""Workers elsewhere: `mnist-lab worker` on hosts behind SSH or in jobs of a batch system."""

from __future__ import annotations

import asyncio
import inspect
import math
import re
import secrets
import shlex
import signal
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch
from urllib.parse import urlsplit

from mnist_lab.errors import LabError, SettingsError, StudyError, not_installed, similar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence

    # Runs the command under this name until it ends, and returns its last words. It may ask
    # whether a worker of this name is there.
    Run = Callable[[str, Callable[[], bool]], Awaitable[str]]

# How often in a row a place may end before one of its workers was ever known.
MOST_BAD_STARTS = 3
MOST_PAUSE_S = 60.0
# Batch systems are asked this often, once for all jobs: many sites forbid more.
QUEUE_INTERVAL_S = 10.0
STOP_PATIENCE_S = 10.0
# A server passes no signals on, or not for everybody, and lets run what it has started: so the end
# of the input, which a lost connection is as well, ends the command.
_WATCHED = (
    'exec 3<&0; "$@" </dev/null & worker=$!; '
    "{ cat <&3; kill $worker; } >/dev/null 2>&1 & echo $worker; wait $worker"
)
# A host is lost when it is silent for a minute.
_PATIENT = {"connect_timeout": 30, "keepalive_interval": 15, "keepalive_count_max": 3}
# dask-jobqueue's class of each batch system, and how the system lists the user's jobs that wait or
# run, each line with its number first.
SYSTEMS = {
    "slurm": ("SLURMCluster", "squeue --me --noheader --format=%i"),
    "pbs": ("PBSCluster", "qselect -u $USER"),
    "lsf": ("LSFCluster", "bjobs -noheader -o jobid"),
    "sge": ("SGECluster", "qstat -u $USER"),
    "htcondor": ("HTCondorCluster", "condor_q -af ClusterId"),
}
# What dask-jobqueue's own workers run, and ours do not.
_THEIRS = "distributed.cli.dask_worker"
# Of its jobs, what is not for a person to say.
_NOT_ASKED = {"scheduler", "name", "worker_command", "base_class_kwargs"}
_LISTS = {"job_extra_directives", "job_script_prologue", "job_directives_skip"}


class Elsewhere:
    """A command in each place, restarted whenever it ends.

    Args:
        places: by name, a function that runs the command there and returns its last output; when
            cancelled it ends the command.
        loop: of another thread, in which they run.
        known: the names of all workers so far, and whether each is still there; they begin with the
            name of their start.
        note: called in that thread with a line for each place that ended.
    """

    def __init__(
        self,
        places: Mapping[str, Run],
        *,
        loop: asyncio.AbstractEventLoop,
        known: Callable[[], Mapping[str, bool]],
        note: Callable[[str], None],
    ) -> None:
        self._loop = loop
        self._known = known
        self._note = note
        self._n_bad = dict.fromkeys(places, 0)
        self._last_words = ""
        self._tasks: list[asyncio.Task[None]] = []
        self._in_loop(self._start(places))

    def look(self, clock_s: float) -> list[tuple[str, str | None]]:
        """Check that at least one place works or may still work; each place watches its workers.

        Raises:
            StudyError: in every place the command repeatedly ends before a worker is known.
        """
        del clock_s
        for task in self._tasks:
            if task.done():
                task.result()  # it ends by what must not happen alone
        if min(self._n_bad.values()) >= MOST_BAD_STARTS:
            raise StudyError(
                f"no worker could start; the last attempt: {self._last_words}",
                next_step="fix that, then run the same command again to continue",
            )
        return []

    def kill(self, name: str) -> None:
        """Do nothing: the run tells the process that watches it there."""

    def stop(self) -> None:
        """End the command in all places, and wait for that."""
        self._in_loop(self._end())

    async def _start(self, places: Mapping[str, Run]) -> None:
        self._tasks = [asyncio.create_task(self._keep(*place)) for place in places.items()]

    async def _end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)

    def _in_loop(self, coroutine: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    async def _keep(self, name: str, run: Run) -> None:
        while True:
            start = f"{name}-{secrets.token_hex(4)}"

            def came(start: str = start) -> list[bool]:
                return [here for worker, here in self._known().items() if worker.startswith(start)]

            def is_there(came: Callable[[], list[bool]] = came) -> bool:
                return any(came())

            running = asyncio.ensure_future(run(start, is_there))
            try:
                while not running.done():
                    await asyncio.wait([running], timeout=1)
                    if came():  # of one that came and was cancelled at once, too
                        self._n_bad[name] = 0
                last_words = await running
            except (OSError, RuntimeError, LabError) as problem:
                last_words = re.sub(r"\[Errno -?\d+\] ", "", str(problem))
            finally:
                if running.cancel():
                    await asyncio.wait([running])
            self._n_bad[name] += 1
            last_line = last_words.strip().rpartition("\n")[2]
            self._last_words = f"{name}: {last_line}"
            self._note(f"{self._last_words}; starting it again")
            await asyncio.sleep(min(2 ** self._n_bad[name] - 1, MOST_PAUSE_S))


def check_ssh(options: Mapping[str, Any]) -> None:
    """Refuse options that asyncssh cannot use.

    Raises:
        SettingsError: asyncssh is not installed, or refuses an option or its value.
    """
    try:
        import asyncssh
    except ModuleNotFoundError:
        raise not_installed("--cluster ssh", "asyncssh") from None
    made = asyncssh.SSHClientConnectionOptions
    _check_words(options, inspect.signature(made.prepare).parameters)
    try:
        made(**options)
    except (asyncssh.Error, ValueError, TypeError, OSError) as problem:
        raise _unusable(problem) from None


async def over_ssh(
    name: str, _: object, *, host: str, command: Sequence[str], options: Mapping[str, Any]
) -> str:
    """Run a command on a host until it ends; a lost connection ends it, too.

    Args:
        name: of the worker.
        host: as in `user@host:port`, or its name in `~/.ssh/config`.
        command: its words; `--name` and the name follow.
        options: of `asyncssh.connect`.

    Returns:
        The last line of its output.

    Raises:
        OSError: the host cannot be reached, refuses the login, or is lost.
    """
    import asyncssh

    place = urlsplit(f"ssh://{host}")
    login = {"host": place.hostname, "port": place.port or (), "username": place.username or ()}
    words = ["sh", "-c", _WATCHED, "sh", *command, "--name", name]
    last_line = ""
    try:
        async with asyncssh.connect(**{**_PATIENT, **login, **options}) as connection:
            process = await connection.create_process(shlex.join(words), stderr=asyncssh.STDOUT)
            pid = ""
            try:
                pid = (await process.stdout.readline()).strip()
                async for line in process.stdout:
                    last_line = _said(line) or last_line
                await process.wait()
            finally:
                with suppress(OSError, asyncssh.Error, TimeoutError):
                    process.stdin.write_eof()
                    await process.wait(timeout=STOP_PATIENCE_S)
                if process.returncode is None:
                    with suppress(OSError, asyncssh.Error):
                        await connection.run(f"kill -KILL {pid}", timeout=STOP_PATIENCE_S)
    except (asyncssh.Error, ValueError, TypeError) as problem:  # of ~/.ssh/config and keys, too
        raise OSError(str(problem)) from None
    return last_line or f"ended with {process.returncode}"


class BatchSystem:
    """Jobs of Slurm, PBS, LSF, SGE or HTCondor that run a command, one worker per core.

    A site's settings come from Dask's configuration files (`jobqueue.slurm.account`, ...);
    `options`, those of dask-jobqueue's clusters, take precedence.

    Args:
        system: `slurm`, `pbs`, `lsf`, `sge` or `htcondor`.
        options: of dask-jobqueue.

    Raises:
        SettingsError: dask-jobqueue is not installed, misses an option, or refuses an option or its
            value.
    """

    def __init__(self, system: str, options: Mapping[str, Any]) -> None:
        import dask

        try:
            # It would have Ctrl-C end the process, and fails in other threads than the main one.
            with patch.object(signal, "signal"):
                import dask_jobqueue
        except ModuleNotFoundError:
            raise not_installed(f"--cluster {system}", "dask-jobqueue") from None
        cluster_class, self._queue = SYSTEMS[system]
        self._is_plain = system == "htcondor"  # its lines are no words of a shell
        self._job_class: Any = getattr(dask_jobqueue, cluster_class).job_cls
        made = [self._job_class, dask_jobqueue.core.Job]
        legal = {name for one in made for name in inspect.signature(one).parameters}
        _check_words(options, legal - _NOT_ASKED)

        def setting(name: str, default: Any) -> Any:
            at_site = dask.config.get(f"jobqueue.{system}.{name.replace('_', '-')}", None)
            return options.get(name, at_site) or default

        # A single line is as good as a list of one.
        given: dict[str, Any] = {
            name: [value] if name in _LISTS and isinstance(value, str) else value
            for name, value in options.items()
        }
        defaults = {"job_name": "mnist-lab", "cores": 1, "memory": "2GB", "disk": "1GB"}
        self._options = given | {
            name: setting(name, value) for name, value in defaults.items() if name in legal
        }
        self._python = setting("python", sys.executable)
        self._logs = setting("log_directory", None)
        self._listed: set[str] | None = None
        self._asked_s = -math.inf
        self._asking = asyncio.Lock()
        try:
            self.n_cores = max(int(self._options["cores"]), 1)
            self.script(["nothing"], Path("nowhere"))
        except (TypeError, ValueError) as problem:
            raise _unusable(problem) from None

    def script(self, command: Sequence[str], logs: Path) -> str:
        """A job's script, to show to the user; this creates nothing."""
        script: str = self._job("NAME", command, Path(self._logs or logs)).job_script()
        return script

    def _job(self, name: str, command: Sequence[str], logs: Path) -> Any:
        words = [self._python, *command, "--workers", str(self.n_cores), "--name", name]
        fixed = {"python": shlex.join(words), "worker_command": _THEIRS}
        with tempfile.TemporaryDirectory() as folder:  # dask-jobqueue makes it at once
            job = self._job_class("", name, **self._options | fixed | {"log_directory": folder})
        # What follows would be for Dask's own worker; HTCondor has the prologue before it.
        job._command_template = job._command_template.partition(f" -m {_THEIRS}")[0]  # noqa: SLF001
        path = str(logs) if self._is_plain else shlex.quote(str(logs))
        script = job.job_script().replace(folder, path)
        job.job_script = lambda: script
        return job

    async def run(
        self, name: str, is_there: Callable[[], bool], *, command: Sequence[str], logs: Path
    ) -> str:
        """Submit a job and wait until it is over; if cancelled, cancel it.

        Args:
            name: of the worker.
            is_there: whether it is known.
            command: its words; `--workers`, `--name` and their values follow.
            logs: the folder for the job's output, made if necessary.

        Returns:
            Its last output.

        Raises:
            RuntimeError: it cannot be submitted.
        """
        logs = Path(self._logs or logs)
        logs.mkdir(parents=True, exist_ok=True)
        job = self._job(name, command, logs)
        submitting = asyncio.create_task(job.start())
        try:
            await asyncio.shield(submitting)
            number = job.job_id.partition(".")[0]
            submitted_s = time.monotonic()
            while True:
                await asyncio.sleep(1)
                if not is_there() and not await self._may_be_queued(number, submitted_s):
                    return f"job {job.job_id} has left the queue{_last_line(logs, number)}"
        finally:
            await asyncio.wait([submitting])
            await job.close()

    async def _may_be_queued(self, number: str, submitted_s: float) -> bool:
        """Whether a job waits or runs; True while the queue does not answer."""
        async with self._asking:
            if time.monotonic() > self._asked_s + QUEUE_INTERVAL_S:
                self._asked_s = time.monotonic()
                self._listed = await self._list()
        return self._listed is None or self._asked_s < submitted_s or number in self._listed

    async def _list(self) -> set[str] | None:
        """The numbers of the user's waiting and running jobs, if the system answers."""
        asking = await asyncio.create_subprocess_shell(
            self._queue, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
        )
        listed = (await asking.communicate())[0].decode()
        return None if asking.returncode else set(re.findall(r"^\s*(\d+)", listed, re.MULTILINE))


def _last_line(logs: Path, number: str) -> str:
    """A job's last output, as far as it has reached this machine."""
    texts = [log.read_text(errors="replace") for log in sorted(logs.glob(f"*[!0-9]{number}.*"))]
    lines = "\n".join(texts).split("\n")
    return next((f": {said}" for line in reversed(lines) if (said := _said(line))), "")


def _said(line: str) -> str:
    """A line of a worker's output without its hint, which is for users of that machine."""
    return "" if line.startswith("hint: ") else line.strip().removeprefix("error: ")


def _check_words(options: Mapping[str, Any], legal: Iterable[str]) -> None:
    for name in options:
        if name not in legal:
            raise SettingsError(
                f"[cluster] has no option {name!r}",
                next_step=similar(name, legal)
                or "its options are those of dask-jobqueue, or of asyncssh",
            )


def _unusable(problem: Exception) -> SettingsError:
    return SettingsError(
        f"[cluster], or Dask's own configuration file, is wrong ({problem})",
        next_step="correct it there",
    )
