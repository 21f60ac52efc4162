"""The real Slurm and SSH server of `.ci/cluster`, behind the fixtures `slurm` and `sshd`."""

from __future__ import annotations

import re
import socket
import subprocess
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

if TYPE_CHECKING:
    from collections.abc import Sequence

STATE = "/run/mnist-lab-cluster"
SLURM_CONF = f"{STATE}/slurm.conf"
SSH = f"{STATE}/home/.ssh"
SSH_PORT = 10022
_SLURM_PORT = 16817
# Of a job that is no more in the queue.
OVER = {"CANCELLED", "COMPLETED", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "TIMEOUT"}


class Slurm:
    """The jobs of one test: those that were submitted in its folder, by whomever."""

    def __init__(self, folder: Path) -> None:
        self._folder = str(folder)

    def jobs(self) -> list[str]:
        """The numbers of what waits or runs, oldest first."""
        lines = _run("squeue", "--noheader", "--sort=i", "--format=%i|%Z").splitlines()
        rows = [line.split("|") for line in lines]
        return [job for job, folder in rows if folder.startswith(self._folder)]

    def submit(self, script: Path, *options: str, words: Sequence[str] = ()) -> str:
        """Submit a script and its words; the number of its job."""
        command = ("sbatch", "--parsable", *options, str(script), *words)
        return _run(*command, folder=self._folder).strip()

    def told(self, job: str, what: str) -> str:
        """What Slurm says of a job: its `JobState`, or its `ExitCode` and signal as in `143:0`."""
        found = re.search(rf"{what}=([\w:]+)", _run("scontrol", "show", "job", job))
        assert found
        return found[1]

    def wait(self, job: str, seconds: float = 60) -> None:
        """Wait until a job is over."""
        until = time.monotonic() + seconds
        while (state := self.told(job, "JobState")) not in OVER:
            assert time.monotonic() < until, f"job {job} is {state}"
            time.sleep(0.1)

    def cancel(self, *jobs: str) -> None:
        """End jobs as an administrator does: SIGTERM, and SIGKILL 10 seconds later."""
        if jobs:
            _run("scancel", *jobs)

    def clean(self) -> None:
        """Leave no job behind, and let none take part in the next test."""
        left = self.jobs()
        self.cancel(*left)
        for job in left:
            self.wait(job)


class Sshd:
    """Two hosts that are this machine, reached as any user reaches his: by `~/.ssh`."""

    hosts = ("127.0.0.1", "127.0.0.2")

    def __init__(self, folder: Path) -> None:
        self._folder = str(folder)

    def processes(self) -> list[psutil.Process]:
        """What the server runs of this test: what names its folder, oldest first."""
        server = psutil.Process(int(Path(STATE, "sshd.pid").read_text()))
        found = []
        for process in server.children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                if self._folder in " ".join(process.cmdline()):
                    found.append(process)
        return found


def slurm(folder: Path, patch: pytest.MonkeyPatch) -> Slurm:
    """Slurm for a test in this folder, or its end if there is none."""
    _need(_SLURM_PORT)
    patch.setenv("SLURM_CONF", SLURM_CONF)
    # Where a site's settings are, in any file `*.yaml`; dask_jobqueue writes its own there.
    patch.setenv("DASK_CONFIG", str(folder / "dask"))
    return Slurm(folder)


def sshd(folder: Path, patch: pytest.MonkeyPatch) -> Sshd:
    """The SSH server for a test, which gets a home whose keys it accepts, or the test's end."""
    _need(SSH_PORT)
    home = folder / "home"
    home.mkdir()
    (home / ".ssh").symlink_to(SSH)
    patch.setenv("HOME", str(home))
    patch.delenv("SSH_AUTH_SOCK", raising=False)
    return Sshd(folder)


def _need(port: int) -> None:
    with closing(socket.socket()) as probe:
        if probe.connect_ex(("127.0.0.1", port)):
            pytest.skip("no Slurm and no SSH server for tests: root starts them with .ci/cluster")


def _run(*command: str, folder: str | None = None) -> str:
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout
