"""Workers elsewhere: `mnist-lab worker` on hosts behind SSH or in jobs of a batch system."""

from __future__ import annotations

import asyncio
import math
import re
import secrets
import shlex
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from mnist_lab.errors import LabError, SettingsError, StudyError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence

    # Runs the command under this name until it ends, and returns its last words.
    Run = Callable[[str], Awaitable[str]]

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


class Elsewhere:
    """A command in each place, started again whenever it ends.

    Args:
        places: name to what runs the command there until it ends, and returns its last words; when
            cancelled it ends it.
        loop: of another thread, in which they run.
        known: the names of the workers that are there now; a place's begin with its own.
        note: called in that thread with a line for each place that ended.
    """

    def __init__(
        self,
        places: Mapping[str, Run],
        *,
        loop: asyncio.AbstractEventLoop,
        known: Callable[[], Iterable[str]],
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
        """See whether there is a place that works, or may; workers are watched over there.

        Raises:
            StudyError: everywhere the command ends before a worker is known, again and again.
        """
        del clock_s
        for task in self._tasks:
            if task.done():
                task.result()  # it ends by what must not happen alone
        if min(self._n_bad.values()) >= MOST_BAD_STARTS:
            raise StudyError(
                "a worker starts somewhere",
                received=self._last_words,
                next_step="mend that, then give the same command to continue",
            )
        return []

    def kill(self, name: str) -> None:
        """Who watches over it there is told by the run."""

    def stop(self) -> None:
        """End the command in all places, and wait until it has ended."""
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
            running = asyncio.ensure_future(run(start))
            try:
                while not running.done():
                    await asyncio.wait([running], timeout=1)
                    if any(worker.startswith(start) for worker in self._known()):
                        self._n_bad[name] = 0
                last_words = await running
            except (OSError, RuntimeError, LabError) as problem:
                last_words = str(problem)
            finally:
                if running.cancel():
                    await asyncio.wait([running])
            self._n_bad[name] += 1
            last_line = last_words.strip().rpartition("\n")[2]
            self._last_words = f"{name}: {last_line}"
            self._note(f"{self._last_words}; starting it again")
            await asyncio.sleep(min(2 ** self._n_bad[name] - 1, MOST_PAUSE_S))


async def over_ssh(name: str, *, host: str, command: Sequence[str], options: dict[str, Any]) -> str:
    """Run a command on a host until it ends; it ends there, too, when the connection is lost.

    Args:
        name: of the worker.
        host: as in `user@host:port`, or as `~/.ssh/config` calls it.
        command: its words; `--name` and the name follow.
        options: of `asyncssh.connect`.

    Returns:
        The last line that it wrote.

    Raises:
        OSError: the host cannot be reached, or lets nobody in, or is lost.
    """
    try:
        import asyncssh
    except ModuleNotFoundError:
        raise not_installed("ssh", "ssh") from None

    place = urlsplit(f"ssh://{host}")
    login = {"host": place.hostname, "port": place.port or (), "username": place.username or ()}
    words = ["sh", "-c", _WATCHED, "sh", *command, "--name", name]
    last_line = ""
    try:
        async with asyncssh.connect(**_PATIENT | login | options) as connection:
            process = await connection.create_process(shlex.join(words), stderr=asyncssh.STDOUT)
            pid = ""
            try:
                pid = (await process.stdout.readline()).strip()
                async for line in process.stdout:
                    last_line = line.strip() or last_line
                await process.wait()
            finally:
                with suppress(OSError, asyncssh.Error, TimeoutError):
                    process.stdin.write_eof()
                    await process.wait(timeout=STOP_PATIENCE_S)
                if process.returncode is None:
                    with suppress(OSError, asyncssh.Error):
                        await connection.run(f"kill -KILL {pid}", timeout=STOP_PATIENCE_S)
    except (asyncssh.Error, ValueError, TypeError) as problem:  # of ~/.ssh/config, keys, options
        raise OSError(str(problem)) from None
    return last_line or f"ended with {process.returncode}"


class BatchSystem:
    """Jobs of Slurm, PBS, LSF, SGE or HTCondor that run a command, one worker a core.

    What a site needs is read from Dask's configuration files (`jobqueue.slurm.account`, ...);
    `options`, as dask-jobqueue's clusters take them, come first.

    Args:
        system: `slurm`, `pbs`, `lsf`, `sge` or `htcondor`.
        command: its words; `--workers`, `--name` and their values follow.
        log_directory: made if need be; where what jobs print is kept.
        options: of dask-jobqueue.
        known: the names of the workers that are there now.

    Raises:
        SettingsError: dask-jobqueue is not installed.
    """

    def __init__(
        self,
        system: str,
        *,
        command: Sequence[str],
        log_directory: Path,
        options: Mapping[str, Any],
        known: Callable[[], Iterable[str]] = tuple,
    ) -> None:
        import dask

        try:
            import dask_jobqueue
        except ModuleNotFoundError:
            raise not_installed(system, "cluster") from None
        cluster_class, self._queue = SYSTEMS[system]
        self._job_class: Any = getattr(dask_jobqueue, cluster_class).job_cls

        def setting(name: str, default: Any) -> Any:
            key = name.replace("_", "-")
            return options.get(name) or dask.config.get(f"jobqueue.{system}.{key}") or default

        self._options = {
            "job_name": "mnist-lab",
            "cores": setting("cores", 1),
            "memory": setting("memory", "2GB"),
            "log_directory": setting("log_directory", str(log_directory)),
            **options,
            "worker_command": _THEIRS,
        }
        self.n_cores = int(self._options["cores"])
        python = setting("python", sys.executable)
        self._command = [python, *command, "--workers", str(self.n_cores)]
        self._options.pop("python", None)
        self._known = known
        self._listed: set[str] | None = None
        self._asked_s = -math.inf
        self._asking = asyncio.Lock()

    def job(self, name: str) -> Any:
        """dask-jobqueue's job of this name, not yet submitted."""
        command = shlex.join([*self._command, "--name", name])
        try:
            job = self._job_class("", name, python=command, **self._options)
        except (TypeError, ValueError) as problem:  # an option that it does not know, or needs
            raise SettingsError(
                "[cluster] has options of dask-jobqueue, and all that the system needs",
                received=problem,
                next_step="correct them there, or in Dask's own configuration files",
            ) from None
        # What follows would be for Dask's own worker; HTCondor has the prologue before it.
        job._command_template = job._command_template.partition(f" -m {_THEIRS}")[0]  # noqa: SLF001
        return job

    async def run(self, name: str) -> str:
        """Submit a job and wait until it has left the queue; if cancelled, cancel it."""
        job = self.job(name)
        submitting = asyncio.create_task(job.start())
        try:
            await asyncio.shield(submitting)
            await self._until_over(name, job.job_id)
            return f"job {job.job_id} has left the queue{self._last_line(job.job_id)}"
        finally:
            await asyncio.wait([submitting])
            await job.close()

    def _last_line(self, job_id: str) -> str:
        """What a job wrote last, as far as it has reached this machine."""
        logs = Path(self._options["log_directory"]).glob(f"*[!0-9]{job_id.partition('.')[0]}.*")
        lines = [
            line for log in sorted(logs) for line in log.read_text(errors="replace").splitlines()
        ]
        return f": {lines[-1]}" if lines else ""

    async def _until_over(self, name: str, job_id: str) -> None:
        """Wait until the queue no longer lists a job, nor the run a worker of it.

        While the queue cannot be asked, it may.
        """
        submitted_s = time.monotonic()
        while True:
            await asyncio.sleep(1)
            async with self._asking:
                if time.monotonic() > self._asked_s + QUEUE_INTERVAL_S:
                    self._asked_s = time.monotonic()
                    self._listed = await self._list()
            seen = self._listed if self._asked_s > submitted_s else None
            is_listed = seen is None or job_id.partition(".")[0] in seen
            if not is_listed and not any(worker.startswith(name) for worker in self._known()):
                return

    async def _list(self) -> set[str] | None:
        """The numbers of the user's jobs that wait or run, if the system answers."""
        asking = await asyncio.create_subprocess_shell(
            self._queue, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
        )
        listed = (await asking.communicate())[0].decode()
        return None if asking.returncode else set(re.findall(r"^\s*(\d+)", listed, re.MULTILINE))


def not_installed(place: str, extra: str) -> SettingsError:
    """What is missing for a place, and how to install it."""
    return SettingsError(
        f"--cluster {place} needs the extra {extra}",
        received="an installation without it",
        next_step=f"install it: pip install 'mnist-lab[{extra}]'",
    )
