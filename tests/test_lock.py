"""The lock of a run: real processes, on one machine and as if on several that share a folder."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest
from made_events import run_info

from mnist_lab.errors import RunDirError
from mnist_lab.rundir import RunDir, lock

if TYPE_CHECKING:
    from collections.abc import Iterator

# So that seconds become tenths; their order stays. A busy machine may miss some heartbeats.
QUICK = {"HEARTBEAT_S": 0.1, "GIVEN_UP_AFTER_S": 1.5, "LOOK_S": 0.05}

# The lease of a process that may be anywhere, as filelock writes it.
LEASE = "filelock/2\npid=7\nhost=pool9\nmode=lease\ntoken=ab\nduration=1.5\n"
# Another process, which writes the run until its input ends or it finds the lock lost.
HOLDER = """
import errno, fcntl, json, select, socket, sys
from pathlib import Path
from mnist_lab.errors import RunDirError
from mnist_lab.rundir import RunDir, lock

path, host, flock, times = sys.argv[1:]
vars(lock).update(json.loads(times))
if host:
    socket.gethostname = lambda: host
def on_one_machine(*_): pass
def missing(*_): raise OSError(errno.ENOLCK, "No locks available")
if flock != "shared":
    fcntl.flock = {"on one machine": on_one_machine, "missing": missing}[flock]
print("ready", flush=True)
sys.stdin.readline()
try:
    with RunDir(Path(path)).locked() as held:
        print("held", flush=True)
        while not select.select([sys.stdin], [], [], 0.02)[0]:
            held.check()
except RunDirError as problem:
    print(problem, flush=True)
"""


class Process:
    """Another process that writes a run, or was refused."""

    def __init__(self, popen: subprocess.Popen[str], host: str) -> None:
        self.popen = popen
        self.name = f"process {popen.pid} on {host}"

    def go(self) -> None:
        """Let it take the lock."""
        assert self.popen.stdin is not None
        self.popen.stdin.write("\n")
        self.popen.stdin.flush()

    def suspend(self) -> None:
        """Stop it where it is, until SIGCONT."""
        self.popen.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.popen.pid, os.WSTOPPED)

    def says(self) -> str:
        """The next line that it writes; nothing if it ended."""
        assert self.popen.stdout is not None
        return self.popen.stdout.readline().rstrip("\n")


@contextmanager
def process(run: RunDir, host: str = "", flock: str = "shared") -> Iterator[Process]:
    """Another process, which waits to be told to go.

    `host` is the machine that it takes itself to be on. `flock` is `shared`, as it is; `on one
    machine`, where this process does not see it; or `missing`.
    """
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, run.path, host, flock, json.dumps(QUICK)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as popen:
        one = Process(popen, host or socket.gethostname())
        try:
            assert one.says() == "ready"
            yield one
        finally:
            popen.kill()


@contextmanager
def holder(run: RunDir, host: str = "", flock: str = "shared") -> Iterator[Process]:
    """Another process, which writes the run."""
    with process(run, host, flock) as one:
        one.go()
        assert one.says() == "held"
        yield one


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in QUICK.items():
        monkeypatch.setattr(lock, name, seconds)


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    """A run directory that was just begun."""
    run = RunDir(tmp_path / "lr-sweep")
    run.create()
    run.write_info(run_info())
    return run


@pytest.fixture
def without_flock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever folder this process writes, its file system has no flock."""

    def missing(*_: object) -> NoReturn:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", missing)


def names(run: RunDir) -> set[str]:
    """Everything in a run directory."""
    return {path.name for path in run.path.iterdir()}


def lease_of(run: RunDir) -> Path:
    """Where a holder's name is."""
    return run.path / ".lock.lease"


def refused(run: RunDir, name: str) -> list[str]:
    """What is said until this process is refused by the one of that name."""
    said: list[str] = []
    match = re.escape(f"one process writes a run at a time: got {run.path}, which {name} is writ")
    with pytest.raises(RunDirError, match=f"{match}ing; wait for it, stop it, or give another"):
        run.locked(said.append).__enter__()
    return said


def watched(name: str) -> list[str]:
    """What is said before a holder that may be dead is watched."""
    return [f"{name} may still write this run: watching it for 2 s"]


HERE = f"process {os.getpid()} on {socket.gethostname()}"


# --- one machine


def test_one_process_writes(run: RunDir) -> None:
    """A second process is refused at once with the first one's host and number, until it ends."""
    with holder(run) as first:
        assert run.writer() == first.name
        assert refused(run, first.name) == []
        assert run.writer() == first.name  # the refused one took nothing away
        first.go()
        assert first.says() == ""
    with run.locked() as held:
        held.check()


def test_killed_holder(run: RunDir) -> None:
    """A process that was killed holds nothing, and leaves nothing that must be cleaned up."""
    with holder(run) as first:
        first.popen.kill()
        first.popen.wait()
        assert run.writer() is None
        said: list[str] = []
        with run.locked(said.append):
            assert run.writer() == HERE
        assert said == []
    assert run.writer() is None
    assert names(run) == {".lock", "run.json"}


def test_zombie_holder(run: RunDir) -> None:
    """A process whose parent does not ask how it ended is as dead as others."""
    with holder(run) as first:
        first.popen.kill()
        os.waitid(os.P_PID, first.popen.pid, os.WEXITED | os.WNOWAIT)
        said: list[str] = []
        with run.locked(said.append):
            assert said == []


def test_suspended_holder_on_one_machine(run: RunDir) -> None:
    """Where the operating system's lock holds, a process that is suspended keeps the run."""
    with holder(run) as first:
        first.suspend()
        time.sleep(2 * lock.HEARTBEAT_S)
        assert refused(run, first.name) == []
        first.popen.send_signal(signal.SIGCONT)


def test_lock_ends_with_an_error(run: RunDir) -> None:
    """Whatever ends the work frees the run, and what it wrote is all that is left."""
    with pytest.raises(KeyboardInterrupt), run.locked():
        raise KeyboardInterrupt
    assert run.writer() is None
    assert names(run) == {".lock", "run.json"}


def test_errors_of_the_work(run: RunDir) -> None:
    """What the work fails with is not taken for a failure of the lock."""
    with pytest.raises(OSError, match="of the work"), run.locked():
        raise OSError(errno.ENOSYS, "of the work")
    assert names(run) == {".lock", "run.json"}


def test_set_aside(run: RunDir) -> None:
    """A run that is renamed by its holder is nobody's in its new place, and the old one is free."""
    with run.locked():
        time.sleep(2 * lock.HEARTBEAT_S)
        aside = RunDir(run.set_aside())
    assert names(aside) == {".lock", "run.json"}
    assert aside.writer() is None
    run.create()
    with run.locked() as held:
        held.check()


# --- a shared folder


@pytest.mark.parametrize("flock", ["on one machine", "missing"])
def test_another_machine_writes(run: RunDir, flock: str) -> None:
    """A process of another machine keeps the run as long as it lives; killed, it is followed."""
    with holder(run, "pool7", flock) as other:
        assert refused(run, other.name) == watched(other.name)
        writer = run.writer()
        assert writer is not None
        assert re.fullmatch(rf"{other.name} \(last seen [01] s ago\)", writer)
        other.popen.kill()
        other.popen.wait()
        said: list[str] = []
        began = time.monotonic()
        with run.locked(said.append) as held:
            assert time.monotonic() - began >= lock.GIVEN_UP_AFTER_S
            assert run.writer() == HERE
            held.check()
        assert said == watched(other.name)
    assert names(run) == {".lock", "run.json"}


def test_another_machine_ends(run: RunDir) -> None:
    """Whoever watches a process that ends may write when it has ended."""
    with holder(run, "pool7", "on one machine") as other:

        def say(_: str) -> None:
            other.suspend()
            lease_of(run).unlink()

        began = time.monotonic()
        with run.locked(say):
            assert time.monotonic() - began < lock.GIVEN_UP_AFTER_S


@pytest.mark.usefixtures("without_flock")
def test_without_flock(run: RunDir) -> None:
    """Without the operating system's lock the heartbeat decides on one machine, too."""
    with holder(run, flock="missing") as first:
        assert refused(run, first.name) == watched(first.name)
        writer = run.writer()
        assert writer is not None
        assert writer.startswith(first.name)
        first.popen.kill()
        first.popen.wait()
        assert run.writer() is None
        said: list[str] = []
        with run.locked(said.append):
            assert said == []
    assert names(run) - {".lock"} == {"run.json"}


@pytest.mark.proof
@pytest.mark.parametrize("flock", ["on one machine", "missing"])
def test_suspended_holder(run: RunDir, flock: str) -> None:
    """A process that was suspended for too long loses the run, and writes no more when it wakes."""
    with holder(run, "pool7", flock) as other:
        other.suspend()
        with run.locked() as held:
            other.popen.send_signal(signal.SIGCONT)
            assert other.says() == (
                f"one process writes a run at a time: got {run.path}, which {HERE} took over while "
                "this one was suspended or cut off; wait for that one, or stop it; then give the "
                "same command to continue"
            )
            assert other.popen.wait() == 0
            time.sleep(2 * lock.HEARTBEAT_S)
            held.check()
            assert run.writer() == HERE


@pytest.mark.proof
def test_suspended_until_the_other_has_ended(run: RunDir) -> None:
    """A process that was followed by one that has ended since has lost the run all the same."""
    with holder(run, "pool7", "on one machine") as other:
        other.suspend()
        with run.locked():
            pass
        other.popen.send_signal(signal.SIGCONT)
        assert "which another process took over while this one was" in other.says()
        assert other.popen.wait() == 0
    assert names(run) == {".lock", "run.json"}


@pytest.mark.proof
@pytest.mark.parametrize("hosts", [("pool6", "pool7"), ("", "")])
def test_two_at_the_same_moment(run: RunDir, hosts: tuple[str, str]) -> None:
    """Of processes that start at the same moment one at most writes; the others are refused."""
    for _ in range(5):
        with process(run, hosts[0], "missing") as one, process(run, hosts[1], "missing") as two:
            one.go()
            two.go()
            said = [one.says(), two.says()]
            assert said.count("held") <= 1
            assert all(line == "held" or "at a time" in line for line in said)
        lease_of(run).unlink(missing_ok=True)


# --- files that are not as they should be


@pytest.mark.parametrize("content", [b"", b"filelock/2\npid=7\nho", b"\x89PNG\xff", b"[" * 10**5])
def test_damaged_lease(run: RunDir, content: bytes) -> None:
    """A lease that cannot be read is nobody's. No start waits long for it."""
    lease_of(run).write_bytes(content)
    assert run.writer() is None
    said: list[str] = []
    with run.locked(said.append):
        assert said == []
        assert run.writer() == HERE


def test_lease_is_deleted(run: RunDir) -> None:
    """Who finds the own name gone cannot know who wrote meanwhile, and stops."""
    with run.locked() as held:
        held.check()
        lease_of(run).unlink()
        for _ in range(2):
            with pytest.raises(RunDirError, match="which another process took over while this one"):
                held.check()
        time.sleep(2 * lock.HEARTBEAT_S)
        assert not lease_of(run).exists()


def test_full_disk(run: RunDir) -> None:
    """A disk that takes nothing more ends nothing: to renew a lease needs no room."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with run.locked() as held:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, before[1]))
        try:
            renewed = lease_of(run).stat().st_mtime_ns
            time.sleep(5 * lock.HEARTBEAT_S)
            assert lease_of(run).stat().st_mtime_ns > renewed
            held.check()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert names(run) == {".lock", "run.json"}


def test_unreadable_for_a_while(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network that is down for a moment is no loss of the lock."""

    def fail(*_: object) -> NoReturn:
        raise OSError(errno.EIO, "Input/output error")

    with run.locked() as held:
        with monkeypatch.context() as patch:
            patch.setattr("filelock._marker._read_lock_file", fail)
            held.check()
        held.check()
    assert names(run) == {".lock", "run.json"}


@pytest.mark.parametrize("name", [".lock", ".lock.lease"])
def test_lock_cannot_be_written(run: RunDir, name: str) -> None:
    """What is in the way of the lock is named in one line."""
    (run.path / name).mkdir()
    match = rf"the lock can be written: got .*{re.escape(name)} \(Is a directory\); make room"
    with pytest.raises(RunDirError, match=match):
        run.locked().__enter__()


# --- who only looks


def test_looking_writes_nothing(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who only asks who writes needs no right to write."""
    assert run.writer() is None
    assert names(run) == {"run.json"}
    open_file = Path.open

    def open_to_read(path: Path, mode: str) -> object:
        assert mode == "rb"
        return open_file(path, mode)

    def write(*_: object) -> NoReturn:
        raise PermissionError(errno.EACCES, "Permission denied")

    with holder(run) as first:
        monkeypatch.setattr(Path, "open", open_to_read)
        for function in ("write_bytes", "replace", "unlink", "touch"):
            monkeypatch.setattr(Path, function, write)
        assert run.writer() == first.name


@pytest.mark.parametrize(("age_s", "seen"), [(7, True), (-7, True), (59, True), (61, False)])
def test_last_seen(run: RunDir, age_s: float, seen: bool) -> None:  # noqa: FBT001
    """Of another machine's process it is told when it was last seen, unless that is long ago."""
    lease_of(run).write_text(LEASE, encoding="utf-8")
    when = time.time() - age_s
    os.utime(lease_of(run), (when, when))
    writer = run.writer()
    if seen:
        assert writer is not None
        assert re.fullmatch(rf"process 7 on pool9 \(last seen {max(age_s, 0)} s ago\)", writer)
    else:
        assert writer is None


def test_where_process_ids_mean_nothing(run: RunDir) -> None:
    """A container with the same host name does not tell by process ids who is dead."""
    with holder(run) as first:
        first.popen.kill()
        first.popen.wait()
    content = lease_of(run).read_text(encoding="utf-8")
    elsewhere = re.sub(r"(host=[^?\n]*).*", r"\1?pidns-f0000abc", content)
    lease_of(run).write_text(elsewhere, encoding="utf-8")
    said: list[str] = []
    with run.locked(said.append):
        assert said == watched(first.name)
