"""The lock of a run: real processes, on one machine and as if on several that share a folder."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from mnist_lab.errors import RunDirError
from mnist_lab.rundir import RunDir, lock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# So that seconds become tenths; their order stays. A busy machine may miss some heartbeats.
QUICK = {"HEARTBEAT_S": 0.1, "GIVEN_UP_AFTER_S": 1.5, "LOOK_S": 0.05}

# Of a process that may be anywhere.
LEASE = "filelock/2\npid=7\nhost=pool9\nmode=lease\ntoken=ab\nduration=1.5\nstart=9\n"
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

    def kill(self) -> None:
        """Kill it, and ask how it ended."""
        self.popen.kill()
        self.popen.wait()

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


def names(run: RunDir) -> set[str]:
    """Everything in a run directory."""
    return {path.name for path in run.path.iterdir()}


def lease(run: RunDir) -> Path:
    """Where a holder's name is."""
    return run.path / ".lock.lease"


def refused(run: RunDir, name: str) -> list[str]:
    """What is said until this process is refused by the one of that name."""
    said: list[str] = []
    match = re.escape(f"{name} is writing {run.path}")
    with pytest.raises(RunDirError, match=f"{match}; wait for it, stop it, or give another"):
        run.locked(said.append).__enter__()
    return said


def watched(name: str) -> list[str]:
    """What is said before a holder that may be dead is watched."""
    return [f"{name} may still write this run: watching it for 2 s"]


def taken_over(run: RunDir) -> list[str]:
    """What is said until this process holds the run, of which nothing is left behind."""
    said: list[str] = []
    with run.locked(said.append) as held:
        assert run.writer() == HERE
        held.check()
    assert run.writer() is None
    assert names(run) == {".lock", "run.json"}
    return said


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
    assert taken_over(run) == []


@pytest.mark.parametrize("reaped", [True, False])
def test_killed_holder(run: RunDir, reaped: bool) -> None:  # noqa: FBT001
    """A process that was killed holds nothing, whether its parent knows or not, and leaves nothing.

    Nobody waits for it.
    """
    with holder(run) as first:
        first.popen.kill()
        os.waitid(os.P_PID, first.popen.pid, os.WEXITED | (0 if reaped else os.WNOWAIT))
        assert run.writer() is None
        assert taken_over(run) == []


def test_suspended_holder_on_one_machine(run: RunDir) -> None:
    """Where the operating system's lock holds, a process that is suspended keeps the run."""
    with holder(run) as first:
        first.suspend()
        time.sleep(2 * lock.HEARTBEAT_S)
        assert refused(run, first.name) == []
        first.popen.send_signal(signal.SIGCONT)


@pytest.mark.parametrize("problem", [KeyboardInterrupt(), OSError(errno.ENOSYS, "of the work")])
def test_lock_ends_with_an_error(run: RunDir, problem: BaseException) -> None:
    """Whatever ends the work frees the run, and is not taken for a failure of the lock."""
    with pytest.raises(type(problem)) as caught, run.locked():
        raise problem
    assert caught.value is problem
    assert run.writer() is None
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
        other.kill()
        began = time.monotonic()
        assert taken_over(run) == watched(other.name)
        assert time.monotonic() - began >= lock.GIVEN_UP_AFTER_S


def test_another_machine_ends(run: RunDir) -> None:
    """Whoever watches a process that ends may write when it has ended."""
    with holder(run, "pool7", "on one machine") as other:

        def say(_: str) -> None:
            other.suspend()
            lease(run).unlink()

        began = time.monotonic()
        with run.locked(say):
            assert time.monotonic() - began < lock.GIVEN_UP_AFTER_S


def test_without_flock(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the operating system's lock the heartbeat decides on one machine, too."""

    def missing(*_: object) -> NoReturn:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", missing)
    with holder(run, flock="missing") as first:
        assert refused(run, first.name) == watched(first.name)
        writer = run.writer()
        assert writer is not None
        assert writer.startswith(first.name)
        first.kill()
        assert run.writer() is None
        with run.locked(pytest.fail):
            pass
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
                f"{HERE} took over {run.path} while this process was suspended or cut off; wait "
                "for that one, or stop it; then run the same command again to continue"
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
        assert "another process took over" in other.says()
        assert other.popen.wait() == 0
    assert names(run) == {".lock", "run.json"}


@pytest.mark.parametrize("host", ["pool", ""])
@pytest.mark.parametrize("left", ["", "damaged"])
def test_many_at_the_same_moment(run: RunDir, host: str, left: str) -> None:
    """Of processes that start at the same moment one at most writes; the others are refused."""
    for _ in range(2):
        if left:
            lease(run).write_text(left, encoding="utf-8")
        with ExitStack() as stack:
            every = [
                stack.enter_context(process(run, host and f"{host}{number}", "missing"))
                for number in range(3)
            ]
            for one in every:
                one.go()
            said = [one.says() for one in every]
            assert said.count("held") <= 1
            assert all(
                line == "held" or "is writing" in line or "took over" in line for line in said
            )
        lease(run).unlink(missing_ok=True)


def test_the_second_lease_stays(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who finds another lease in place of the own one, just taken, is refused by that one."""
    lease(run).touch()
    sleep, n_slept = time.sleep, 0

    def meanwhile(seconds: float) -> None:
        nonlocal n_slept
        n_slept += seconds == lock.SETTLE_S
        if n_slept == 2:
            lease(run).unlink()
            lease(run).write_text(LEASE, encoding="utf-8")
        sleep(seconds)

    monkeypatch.setattr(time, "sleep", meanwhile)
    assert refused(run, "process 7 on pool9") == []
    assert lease(run).read_text(encoding="utf-8") == LEASE


def test_a_lease_that_came_first(run: RunDir) -> None:
    """A lease that came since this process looked is not replaced."""
    lease(run).write_text(LEASE, encoding="utf-8")

    def say(_: str) -> None:
        lease(run).write_text(LEASE.replace("pid=7", "pid=8"), encoding="utf-8")

    with pytest.raises(RunDirError, match="process 8 on pool9 is writing"):
        run.locked(say).__enter__()
    assert "pid=8" in lease(run).read_text(encoding="utf-8")
    assert names(run) == {".lock", ".lock.lease", "run.json"}


# --- files that are not as they should be


def test_damaged_lease(run: RunDir) -> None:
    """A lease that cannot be read is nobody's, and no start waits for it."""
    for content in (b"", LEASE[:40].encode(), b"\x89PNG\xff", b"[" * 10**5):
        lease(run).write_bytes(content)
        assert run.writer() is None
        assert taken_over(run) == []


def test_lease_is_deleted(run: RunDir) -> None:
    """Who finds the own lease gone cannot know who wrote meanwhile, and stops."""
    with run.locked() as held:
        held.check()
        lease(run).unlink()
        for _ in range(2):
            with pytest.raises(RunDirError, match=r"another process took over .* while this"):
                held.check()
        time.sleep(2 * lock.HEARTBEAT_S)
        assert not lease(run).exists()


def test_network_is_down(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    """For a moment is no loss of the lock; for as long as others would wait ends the run."""

    def fail(*_: object, **__: object) -> NoReturn:
        raise OSError(errno.EIO, "Input/output error")

    with run.locked() as held:
        for down_s in (3 * lock.HEARTBEAT_S, 2 * lock.GIVEN_UP_AFTER_S):
            with monkeypatch.context() as patch:
                patch.setattr(lock, "regular", fail)
                patch.setattr(os, "utime", fail)
                held.check()
                time.sleep(down_s)
            if down_s < lock.GIVEN_UP_AFTER_S:
                time.sleep(lock.GIVEN_UP_AFTER_S)
                held.check()
        with pytest.raises(RunDirError, match=r"cannot write the lock .*output error"):
            held.check()
    assert names(run) == {".lock", "run.json"}


def test_lock_cannot_be_written(run: RunDir) -> None:
    """What is in the way of the lock is named in one line."""
    for path in (run.path / ".lock", lease(run)):
        path.mkdir()
        match = rf"cannot write the lock {re.escape(str(path))} \(Is a directory\); make room"
        with pytest.raises(RunDirError, match=match):
            run.locked().__enter__()
        path.rmdir()


# --- who only looks


def test_looking_writes_nothing(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who only asks who writes needs no right to write."""
    assert run.writer() is None
    assert names(run) == {"run.json"}
    os_open = os.open

    def open_to_read(path: Any, flags: int, *more: Any, **others: Any) -> int:
        assert flags & os.O_ACCMODE == os.O_RDONLY
        return os_open(path, flags, *more, **others)

    with holder(run) as first:
        monkeypatch.setattr(os, "open", open_to_read)
        before = names(run)
        assert run.writer() == first.name
        assert names(run) == before


def test_last_seen(run: RunDir) -> None:
    """Of another machine's process it is told when it was last seen, unless that is long ago."""
    lease(run).write_text(LEASE, encoding="utf-8")
    for age_s, seen_s in ((7, 7), (-7, 0), (59, 59), (61, None)):
        os.utime(lease(run), (time.time() - age_s,) * 2)
        told = f"process 7 on pool9 (last seen {seen_s} s ago)"
        assert run.writer() == (None if seen_s is None else told)


@pytest.mark.parametrize(
    ("old", "new"), [("start=", "start=9"), ("\nmode", "?pidns-1\nmode")], ids=["boot", "container"]
)
def test_where_process_ids_mean_nothing(run: RunDir, old: str, new: str) -> None:
    """Another machine or container of the same name does not tell by process ids who is dead."""
    with holder(run) as first:
        first.kill()
    content = lease(run).read_text(encoding="utf-8")
    lease(run).write_text(content.replace(old, new), encoding="utf-8")
    assert taken_over(run) == watched(first.name)
