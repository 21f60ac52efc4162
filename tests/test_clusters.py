"""Runs on a real Slurm and over a real SSH server: the same numbers, whatever is taken away."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import psutil
import pytest
from lab import LAB, TESTS, measured

import mnist_lab
from mnist_lab.config import TrainConfig
from mnist_lab.records import EpochDone, Started
from mnist_lab.rundir import RunDir

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from clusters import Slurm, Sshd

pytestmark = pytest.mark.proof

EXAMPLE = TESTS.parent / "examples" / "slurm.sh"
SEARCH = ("random-search", "--iters", "4", "--epochs", "4", "--data", "sample")
# How soon what is left alone ends.
SOON_S = 15.0


@pytest.fixture(autouse=True)
def _formula(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers compute a formula, and slowly enough to be caught at it."""
    monkeypatch.setenv("PYTHONPATH", str(TESTS))
    monkeypatch.setenv("FORMULA_SECONDS", "0.3")
    monkeypatch.setenv("FORMULA_DRAWS_NOTHING", "1")


class Lab:
    """The command, as it runs in the background, and what it prints."""

    running: ClassVar[list[subprocess.Popen[bytes]]] = []

    def __init__(self, out: str, *words: str) -> None:
        self.run = RunDir(Path(out))
        self.log = Path(f"{out}.log")
        command = [*LAB, *SEARCH, *words, "--out", out]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        self.running.append(self.process)

    def n_epochs(self) -> int:
        """How many epochs the journal knows."""
        return sum(isinstance(event, EpochDone) for event in self.run.read_events())

    def n_starts(self) -> int:
        """How often a worker has begun with a trial, or gone on with it."""
        return sum(isinstance(event, Started) for event in self.run.read_events())

    def wait_for(self, happens: Callable[[], Any], seconds: float = 60) -> None:
        """Wait until it happens, while the command runs."""
        wait_for(lambda: self.process.poll() is not None or happens(), seconds, self.log)
        assert self.process.poll() is None, self.log.read_text()

    def next_epochs(self, more: int = 2) -> None:
        """Wait until there are some more of them."""
        before = self.n_epochs()
        self.wait_for(lambda: self.n_epochs() >= before + more)

    def end(self, code: int = 0, seconds: float = 120) -> str:
        """Wait until it ends, with this exit code; what it printed."""
        assert self.process.wait(seconds) == code, self.log.read_text()
        return self.log.read_text()


def wait_for(happens: Callable[[], Any], seconds: float = 60, log: Path | None = None) -> None:
    """Wait until it happens."""
    until = time.monotonic() + seconds
    while not happens():
        assert time.monotonic() < until, log and log.read_text()
        time.sleep(0.1)


def local(*words: str) -> Any:
    """What the search measures on this machine."""
    Lab("local", *words).end()
    return measured("local")


def of_this_test() -> list[psutil.Process]:
    """The processes of mnist-lab anywhere on this machine that know this test's folder."""
    here = str(Path().absolute())
    return [
        process
        for process in psutil.process_iter(["cmdline", "pid"])
        if here in " ".join(process.info["cmdline"] or ()) and process.pid != os.getpid()
    ]


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    """At the end of a test nothing runs any more, wherever it was started."""
    yield
    while Lab.running:
        Lab.running.pop().kill()
    wait_for(lambda: not of_this_test(), SOON_S)


def site(**settings: str) -> None:
    """What the site's administrators have written into Dask's configuration file."""
    lines = [f"    {name.replace('_', '-')}: {value}\n" for name, value in settings.items()]
    path = Path("dask", "site.yaml")
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(["jobqueue:\n  slurm:\n", *lines]))


def test_slurm(slurm: Slurm) -> None:
    """Two jobs find what two workers here find; one that waits may be cancelled."""
    site(memory="300MB", job_extra_directives="['--hold']")
    lab = Lab("jobs", "--cluster", "slurm", "--workers", "2")
    lab.wait_for(lambda: len(slurm.jobs()) == 2)
    first, second = slurm.jobs()
    slurm.cancel(first)
    lab.wait_for(lambda: slurm.jobs() not in ([first, second], [second]))
    release(slurm)
    lab.end()
    assert slurm.jobs() == []
    assert measured("jobs") == local("--workers", "2")


def release(slurm: Slurm) -> None:
    """Let the jobs that are held start."""
    for job in slurm.jobs():
        subprocess.run(["scontrol", "release", job], check=True)  # noqa: S607


def test_cancelled_jobs_cost_no_attempt(slurm: Slurm) -> None:
    """A trial whose worker is cancelled again and again goes on after its last epoch."""
    words = ("--iters", "1", "--epochs", "16")
    site(memory="300MB")
    lab = Lab("jobs", *words, "--cluster", "slurm", "--workers", "1")
    for _ in range(4):
        lab.next_epochs()
        slurm.cancel(slurm.jobs()[-1])
    lab.end()
    trials = [event for event in lab.run.read_events() if isinstance(event, Started)]
    assert len(trials) == 5
    assert all(event.from_epoch for event in trials[1:])
    assert measured("jobs") == local(*words)


@pytest.mark.usefixtures("slurm")
def test_walltime(monkeypatch: pytest.MonkeyPatch) -> None:
    """A job that reaches its walltime is replaced, and its trial goes on."""
    monkeypatch.setenv("FORMULA_SECONDS", "3")
    site(memory="300MB", walltime="'00:01:00'")
    words = ("--iters", "1", "--epochs", "36")
    lab = Lab("jobs", *words, "--cluster", "slurm", "--workers", "1")
    lab.end(seconds=400)
    starts = [event for event in lab.run.read_events() if isinstance(event, Started)]
    assert len(starts) > 1
    monkeypatch.setenv("FORMULA_SECONDS", "0")
    assert measured("jobs") == local(*words)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("state", ["PENDING", "RUNNING"])
def test_stopped_while_jobs_wait_or_run(
    slurm: Slurm, number: signal.Signals, code: int, state: str
) -> None:
    """The jobs leave the queue with the command."""
    site(memory="300MB", **({"job_extra_directives": "['--hold']"} if state == "PENDING" else {}))
    lab = Lab("jobs", "--cluster", "slurm", "--workers", "2")
    lab.wait_for(lambda: len(slurm.jobs()) == 2)
    if state == "RUNNING":
        lab.next_epochs()
    lab.process.send_signal(number)
    assert "Continue: mnist-lab random-search" in lab.end(code, seconds=30)
    wait_for(lambda: slurm.jobs() == [], SOON_S)


def test_killed_coordinator(slurm: Slurm) -> None:
    """Its jobs end by themselves, and the same command continues."""
    site(memory="300MB")
    words = ("--cluster", "slurm", "--workers", "2")
    lab = Lab("jobs", *words)
    lab.next_epochs()
    lab.process.kill()
    lab.process.wait()
    wait_for(lambda: slurm.jobs() == [], SOON_S)
    n_before = lab.n_epochs()
    lab = Lab("jobs", *words)
    lab.end()
    assert lab.n_epochs() > n_before
    assert measured("jobs") == local()


def test_coordinator_is_a_job(slurm: Slurm, monkeypatch: pytest.MonkeyPatch) -> None:
    """The example's script: cancelled it stops with 143, submitted again it continues."""
    program = Path("bin", "mnist-lab")
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {" ".join(LAB)} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent.absolute()}:{os.environ['PATH']}")
    monkeypatch.setenv("WORKERS", "2")
    site(memory="300MB")
    run = RunDir(Path("results", "random-search"))
    script = shutil.copy(EXAMPLE, "slurm.sh")
    words = SEARCH[1:]  # they come after those of the script, and win

    logs = []
    for code in ("143:0", "0:0"):
        before = len(run.read_events()) if run.exists() else 0
        job = slurm.submit(Path(script), "--mem=500M", words=words)
        logs.append(Path(f"mnist-lab-{job}.log"))
        if code == "143:0":
            wait_for(lambda: run.exists() and len(run.read_events()) > 6, log=logs[0])
            slurm.cancel(job)
        slurm.wait(job, seconds=120)
        assert len(run.read_events()) > before
        wait_for(lambda: slurm.jobs() == [], SOON_S)
        assert "Continue: " in logs[0].read_text()
        assert run.read_info().state == ("stopped" if code == "143:0" else "complete")
        assert code == slurm.told(job, "ExitCode")
    assert measured(str(run.path)) == local()


def test_training_on_slurm(slurm: Slurm, capsys: pytest.CaptureFixture[str]) -> None:
    """A real network learns the same in a job as here; a function takes the same place."""
    site(memory="1GB", cores="1")
    config = TrainConfig(num_filters=4, epochs=2)
    runs = [
        mnist_lab.train(
            config, data="sample", workers=1, out=out, cluster=out, host="127.0.0.1" if at else None
        )
        for out, at in (("local", False), ("slurm", True))
    ]
    here, there = ([epoch.valid_loss for epoch in run.trials[0].epochs] for run in runs)
    assert here == there
    assert slurm.jobs() == []
    capsys.readouterr()


def test_ssh(sshd: Sshd) -> None:
    """Two hosts find what this one finds, and both work."""
    lab = Lab("hosts", "--cluster", f"ssh:{','.join(sshd.hosts)}", "--workers", "1")
    lab.end()
    assert sshd.processes() == []
    names = {event.worker for event in lab.run.read_events() if isinstance(event, Started)}
    assert {host for host in sshd.hosts for name in names if name.startswith(host)} == set(
        sshd.hosts
    )
    assert measured("hosts") == local()


def test_ssh_killed(sshd: Sshd) -> None:
    """Workers, the command over there, its session, at last the run itself: nothing is left."""
    search = ("--iters", "2", "--epochs", "24")
    words = (*search, "--cluster", f"ssh:{sshd.hosts[0]}", "--workers", "1")
    lab = Lab("host", *words)
    lab.next_epochs()

    def command() -> psutil.Process:
        """What the session runs, which has the worker as its child."""
        return next(one for one in sshd.processes() if one.name().startswith("python"))

    def kill_worker() -> None:
        command().children()[0].kill()

    def kill_command() -> None:
        command().kill()

    def kill_session() -> None:
        """The server's process for this connection, above the shell."""
        shell = command().parent()
        while shell is not None and not shell.name().startswith("sshd"):
            shell = shell.parent()
        assert shell is not None
        shell.kill()

    for strike in (kill_worker, kill_command, kill_session):
        n_starts = lab.n_starts()
        strike()
        while lab.n_starts() == n_starts:
            lab.next_epochs(1)
        lab.next_epochs()
    lab.process.kill()
    lab.process.wait()
    wait_for(lambda: not of_this_test(), SOON_S)
    n_before = lab.n_epochs()
    lab = Lab("host", *words)
    lab.end()
    assert 0 < n_before < lab.n_epochs()
    assert measured("host") == local(*search)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_ssh_stopped(sshd: Sshd, number: signal.Signals, code: int) -> None:
    """The workers end with the command."""
    lab = Lab("hosts", "--cluster", f"ssh:{','.join(sshd.hosts)}", "--workers", "1")
    lab.next_epochs()
    lab.process.send_signal(number)
    lab.end(code, seconds=30)
    assert sshd.processes() == []


def test_ssh_unreachable(sshd: Sshd) -> None:
    """One line says why; one host of two that is there does the work."""
    lab = Lab("hosts", "--cluster", "ssh:127.0.0.1:9", "--quiet")
    line = "error: no worker could start; the last attempt: 127.0.0.1:9: Connect call failed"
    assert lab.end(1).startswith(line)
    lab = Lab("hosts", "--cluster", f"ssh:127.0.0.1:9,{sshd.hosts[1]}", "--workers", "1")
    lab.end()
    assert measured("hosts") == local()
