"""The lock of a run: one process writes it, of this machine or of another that sees the folder.

Two things decide. The lock of the operating system (flock) refuses at once and ends with its
process, but on a shared folder it may hold among the processes of one machine only, or not exist.
So the holder also writes its name beside it, and writes that anew every few seconds. Whoever finds
a name watches it: if it changes its process lives, if not that one died and is followed. Only
change counts: the clocks of two machines differ.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from mnist_lab.config import Frozen, Text
from mnist_lab.errors import RunDirError
from mnist_lab.records import now
from mnist_lab.rundir.files import read_bytes, refuse_link, regular, unwritable

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

# A holder writes its name this often, ...
HEARTBEAT_S = 5.0
# ... and three that are missed in a row mean that it died.
GIVEN_UP_AFTER_S = 16.0
# How often whoever waits for that looks.
LOOK_S = 0.5
# Of two who write their names at the same moment the second's stays; by then both can see it.
SETTLE_S = 0.3
# How old the last sign of a writer may be where nothing is known but the time of its file, which
# is by the clock of the machine that keeps the folder.
SEEN_S = 60.0

_RULE = "one process writes a run at a time"
_NO_FLOCK = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}


class Busy(RunDirError):
    """Another process writes the run."""


class _Holder(Frozen, extra="ignore"):
    """Who writes a run; `beat` counts the times it was written, `since` is RFC 3339.

    A newer mnist-lab may say more.
    """

    host: Text
    pid: Annotated[int, Field(ge=1, lt=2**31)]
    since: Text
    # Where `pid` is the number of that process, and of no other as long as it lives.
    machine: Text
    # When it was started, by the clock of that machine's kernel: ids are given out again.
    born: Text = ""
    # Random, so that no two are alike.
    token: str
    beat: int = 0


class Held:
    """A lock that this process holds, or held until another took it over."""

    def __init__(self, file: Path, holder: _Holder) -> None:
        self._file = file
        self._holder = holder
        self._taken_over = False
        self._ended = threading.Event()
        # A heartbeat must not fall between reading the file and comparing it.
        self._mutex = threading.Lock()
        self._thread = threading.Thread(target=self._renew, name="lock", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Make sure that the run is still this process's to write; it takes one small read.

        Raises:
            RunDirError: another process took the lock over, as this one gave no sign of life for
                so long, suspended or cut off. Nothing may be written any more.
        """
        if not self._is_mine():
            raise RunDirError(
                _RULE,
                received=f"{self._file.parent}, which {_name(_look(self._file))} took over while "
                "this one was suspended or cut off",
                next_step="wait for that one, or stop it; then give the same command to continue",
            )

    def settle(self) -> None:
        """Wait until whoever wrote a name at the same moment can be seen.

        Raises:
            RunDirError: another one did, after this process.
        """
        time.sleep(SETTLE_S)
        if not self._is_mine():
            raise _refused(self._file)

    def release(self) -> None:
        """Stop renewing the name, and remove it unless it is another's by now."""
        self._ended.set()
        self._thread.join()
        if self._is_mine():
            with suppress(OSError):
                self._file.unlink()

    def _is_mine(self) -> bool:
        with self._mutex:
            # What cannot be read now, as the network is down, is not lost yet. A name that is gone
            # is: whoever took over may have ended since.
            with suppress(OSError):
                self._taken_over |= not _is_by(_read(self._file), self._holder)
            return not self._taken_over

    def _renew(self) -> None:
        while not self._ended.wait(HEARTBEAT_S) and self._is_mine():
            self._holder = self._holder.model_copy(update={"beat": self._holder.beat + 1})
            # A disk that is full now has room again later; a study does not end for that.
            with self._mutex, suppress(OSError, RunDirError):
                _replace(self._file, self._holder)


@contextmanager
def hold(path: Path, say: Callable[[str], None] = lambda _: None) -> Iterator[Held]:
    """Hold the lock; it ends with the process, however that ends.

    Args:
        path: the file to lock; the holder's name is in a `.json` beside it.
        say: told in one line when another machine must be watched, which takes
            :data:`GIVEN_UP_AFTER_S`.

    Raises:
        Busy: another process writes the run, whose host and process id are named.
        RunDirError: the folder cannot be written, or the lock is a link.
    """
    # Beside the lock, not in it: where locks are mandatory nobody else could read it.
    file = path.with_suffix(".json")
    refuse_link(path)
    with _flock(path, file):
        try:
            holder = _claim(file, say)
            held = Held(file, holder)
        except OSError as problem:
            raise unwritable(file, problem, what="the lock") from None
        try:
            held.settle()
            for left in file.parent.glob(f"{file.name}.*"):  # of one killed while it wrote its name
                if not left.name.endswith(holder.token):
                    left.unlink(missing_ok=True)
            yield held
        finally:
            held.release()


def writer(path: Path) -> str | None:
    """Who holds the lock, in words; None if nobody does.

    Nothing is written and nobody is waited for, so of another machine, which may have died, all
    that can be told is when it was last seen, up to :data:`SEEN_S` ago.
    """
    file = path.with_suffix(".json")
    if _is_flocked(path):
        return _name(_look(file))
    try:
        content, written = _read(file), file.stat().st_mtime
    except OSError:
        return None
    age_s = time.time() - written
    if content is None or _is_dead(content) or abs(age_s) > SEEN_S:
        return None
    return f"{_name(content)} (last seen {max(age_s, 0):.0f} s ago)"


def forget(path: Path) -> None:
    """Remove the name of the holder."""
    path.with_suffix(".json").unlink(missing_ok=True)


@contextmanager
def _flock(path: Path, file: Path) -> Iterator[None]:
    """Keep the other processes of this machine out, where the file system can."""
    from filelock import FileLock, Timeout  # what only reads does without

    # Its own fallback would wait for ever for a machine that died.
    lock = FileLock(path, fallback_to_soft=False)
    try:
        # Who only looks whether a run is being written holds its lock for a moment, too.
        lock.acquire(timeout=1, poll_interval=0.1)
    except Timeout:
        raise _refused(file) from None
    except OSError as problem:
        if problem.errno not in _NO_FLOCK:
            raise unwritable(path, problem, what="the lock") from None
    try:
        yield
    finally:
        lock.release()


def _is_flocked(path: Path) -> bool:
    try:
        with open(path, "rb", opener=regular) as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # there is none, or nobody can tell
        return False
    return False


def _claim(file: Path, say: Callable[[str], None]) -> _Holder:
    """Write this process's name where there is none, or that of a dead one."""
    found = _read(file)
    if found is not None and not _is_dead(found):
        found = _watch(file, found, say)
    holder = _Holder(
        host=socket.gethostname(),
        pid=os.getpid(),
        since=now(),
        machine=_machine(),
        born=_born(os.getpid()),
        token=os.urandom(8).hex(),
    )
    _replace(file, holder, over={None, found})
    return holder


def _watch(file: Path, found: bytes, say: Callable[[str], None]) -> bytes | None:
    """What is to be replaced, after watching it for so long: the same, or nothing any more."""
    say(f"{_name(found)} may still write this run: watching it for {GIVEN_UP_AFTER_S:.0f} s")
    # Looks are counted, not seconds: while this process is suspended it sees no heartbeat.
    for _ in range(round(GIVEN_UP_AFTER_S / LOOK_S)):
        time.sleep(LOOK_S)
        if (there := _read(file)) is None:
            return None
        if there != found:
            raise _refused(file)
    return found


def _is_dead(content: bytes) -> bool:
    """Whether a holder is known to be dead; of another machine nothing is known.

    A name is replaced as a whole, so one that cannot be read is no living process's.
    """
    import psutil  # only where a name was left

    holder = _parse(content)
    if holder is None:
        return True
    if holder.machine != _machine():
        return False
    if not psutil.pid_exists(holder.pid):
        return True
    with suppress(psutil.Error, OSError):
        if holder.born and holder.born != _born(holder.pid):
            return True
        zombie: bool = psutil.Process(holder.pid).status() == psutil.STATUS_ZOMBIE
        return zombie
    return False


def _born(pid: int) -> str:
    """When a process was started, by a clock that nobody sets where there is one."""
    try:
        # Behind its name, which may hold anything, field 22: ticks since the machine started.
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        return stat.rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        import psutil

        return str(psutil.Process(pid).create_time())


def _machine() -> str:
    """Two processes with the same of these see each other by their process ids.

    The host's name is not enough: containers may share it, and have process ids of their own.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        namespace = Path("/proc/self/ns/pid").stat().st_ino
    except OSError:  # no Linux, so no containers either
        import psutil

        boot, namespace = str(psutil.boot_time()), 0
    return f"{socket.gethostname()} {boot} {namespace}"


def _is_by(content: bytes | None, holder: _Holder) -> bool:
    # By its token: a network can report a failure although the name was replaced.
    found = None if content is None else _parse(content)
    return found is not None and found.token == holder.token


def _parse(content: bytes) -> _Holder | None:
    try:
        return _Holder.model_validate_json(content)
    except ValueError:
        return None


def _read(file: Path) -> bytes | None:
    try:
        return read_bytes(file)
    except FileNotFoundError:
        return None
    except RunDirError:  # a link or a pipe, which no holder makes: damaged, and replaced
        return b""


def _look(file: Path) -> bytes | None:
    """What is read to be shown: a holder writes its name just after taking the lock."""
    with suppress(OSError):
        if (content := _read(file)) is not None:
            return content
        time.sleep(0.1)
        return _read(file)
    return None


def _replace(file: Path, holder: _Holder, *, over: Collection[bytes | None] = ()) -> None:
    """Replace the holder's own name, or one of these contents, atomically; or refuse.

    It is not forced to the disk: after a power cut nobody holds anything, and on a busy disk it
    would take seconds, between looking and replacing.
    """
    temporary = file.with_name(f"{file.name}.{holder.token}")
    try:
        temporary.write_bytes(holder.model_dump_json().encode() + b"\n")
        there = _read(file)
        if there not in over and not _is_by(there, holder):
            raise _refused(file)
        temporary.replace(file)
    finally:
        with suppress(OSError):  # it was renamed, or never made
            temporary.unlink()


def _name(content: bytes | None) -> str:
    holder = _parse(content) if content is not None else None
    return "another process" if holder is None else f"process {holder.pid} on {holder.host}"


def _refused(file: Path) -> Busy:
    return Busy(
        _RULE,
        received=f"{file.parent}, which {_name(_look(file))} is writing",
        next_step="wait for it, stop it, or give another --out",
    )
