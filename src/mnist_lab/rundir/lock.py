"""The lock of a run: only one process writes it, on any machine that sees the folder.

The lock of the operating system (flock) refuses at once and ends with its process, but on a shared
folder it may work only within one machine, or not at all. So the holder also keeps a lease beside
it: a file with its name, which it touches every few seconds. A process that finds a lease watches
it: if it changes, the holder lives; if not, the holder has died and is replaced. Only changes
count, because the clocks of two machines differ.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from mnist_lab.errors import RunDirError, WriteError
from mnist_lab.rundir.files import refuse_link, regular, unwritable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from filelock import OwnerRecord, SoftFileLease

# A holder touches its lease this often, ...
HEARTBEAT_S = 5.0
# ... and three that are missed in a row mean that it died.
GIVEN_UP_AFTER_S = 16.0
# How often whoever waits for that looks.
LOOK_S = 0.5
# Of two who follow a dead one at the same moment the second's lease stays; by then both see it.
SETTLE_S = 0.3
# How old the last sign of a writer may be where nothing is known but the time of its file, which
# is by the clock of the machine that keeps the folder.
SEEN_S = 60.0

_NO_FLOCK = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}


class Busy(RunDirError):
    """Another process writes the run."""


class Held:
    """A lock that this process holds, or held until another took it over."""

    def __init__(self, lease: SoftFileLease) -> None:
        self._lease, self._file = lease, Path(lease.lock_file)

    def check(self) -> None:
        """Check that this process may still write the run; it takes one small read.

        A RunDirError if another process took it over, or may soon: nothing more is written.
        """
        if not self.is_mine():
            taken = f"{_look(self._file)} took over {self._file.parent} while this process was"
            next_step = "wait for that one, or stop it; then run the same command again to continue"
            raise WriteError(f"{taken} suspended or cut off", next_step=next_step)
        if (lost := self._lease.compromise) and isinstance(lost.error, OSError):
            raise unwritable(self._file, lost.error, what="the lock")

    def is_mine(self) -> bool:
        """Whether no other process seems to have taken the lock over."""
        # What cannot be read now, as the network is down, is not lost yet. A lease that is gone
        # is: whoever took over may have ended since.
        with suppress(OSError):
            content = (_read(self._file) or (b"",))[0]
            return f"token={self._lease.token}".encode() in content.splitlines()
        return True


@contextmanager
def hold(path: Path, say: Callable[[str], None]) -> Iterator[Held]:
    """Hold the lock `path`; it ends with the process, however that ends.

    `say` gets a line if another machine must be watched for :data:`GIVEN_UP_AFTER_S`. Raises Busy,
    with host and process id, if another process writes the run.
    """
    from filelock import FileLock, Timeout

    refuse_link(path)
    lease = _lease(path)
    file = Path(lease.lock_file)
    # Its own fallback would wait for ever for a machine that died.
    lock = FileLock(path, fallback_to_soft=False)
    try:
        try:
            # Who only looks whether a run is being written holds its lock for a moment, too.
            lock.acquire(timeout=1, poll_interval=0.1)
        except Timeout:
            raise _refused(file) from None
        except OSError as problem:
            if problem.errno not in _NO_FLOCK:
                raise unwritable(path, problem, what="the lock") from None
        try:
            _claim(lease, say)
            for left in file.parent.glob(f"{path.name}.*"):  # of one killed while it claimed
                if left != file:
                    left.unlink(missing_ok=True)
        except OSError as problem:
            raise unwritable(file, problem, what="the lock") from None
        yield Held(lease)
    finally:
        with suppress(OSError):
            lease.release()
        lock.release()


def writer(path: Path) -> str | None:
    """The holder of the lock, in words; None if there is none.

    This writes nothing and waits for nothing. So it only says when another machine, which may have
    died, was last seen, up to :data:`SEEN_S` ago.
    """
    file = path.with_suffix(".lease")
    with suppress(OSError), open(path, "rb", opener=regular) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return _look(file)
    with suppress(OSError):
        if (found := _read(file)) and (owner := _lease(path).owner) and not _is_dead(owner):
            age_s = time.time() - found[1] / 1e9
            if abs(age_s) <= SEEN_S:
                return f"{_name(owner)} (last seen {max(age_s, 0):.0f} s ago)"
    return None


def forget(path: Path) -> None:
    """Remove the lease, whoever holds it."""
    path.with_suffix(".lease").unlink(missing_ok=True)


def _lease(path: Path) -> SoftFileLease:
    from filelock import SoftFileLease  # what only reads a run that nobody writes does without

    return SoftFileLease(
        # Beside the lock, not in it: where locks are mandatory nobody else could read it.
        path.with_suffix(".lease"),
        lease_duration=GIVEN_UP_AFTER_S,
        heartbeat_interval=HEARTBEAT_S,
        thread_local=False,
    )


def _claim(lease: SoftFileLease, say: Callable[[str], None]) -> None:
    """Take the lease if there is none, or if its process is dead."""
    from filelock import LeaseSettingsMismatch, Timeout

    file = Path(lease.lock_file)
    if found := _read(file):
        n_looks = 0
        if (owner := lease.owner) is None:  # damaged, unless somebody writes it just now
            time.sleep(SETTLE_S)
        elif not _is_dead(owner):
            wait = f"watching it for {GIVEN_UP_AFTER_S:.0f} s"
            say(f"{_name(owner)} may still write this run: {wait}")
            n_looks = round(GIVEN_UP_AFTER_S / LOOK_S)
        # Looks are counted, not seconds: while this process is suspended it sees no heartbeat.
        while (there := _read(file)) == found and n_looks > 0:
            time.sleep(LOOK_S)
            n_looks -= 1
        if there not in {found, None}:
            raise _refused(file)
        lease.break_lock()
    try:
        lease.acquire(blocking=False)
    except (Timeout, LeaseSettingsMismatch):
        raise _refused(file) from None
    if found:
        time.sleep(SETTLE_S)
        if not Held(lease).is_mine():
            raise _refused(file)


def _is_dead(owner: OwnerRecord) -> bool:
    """Whether a holder is known to be dead; for another machine this is unknown.

    filelock mistakes two machines of one name for one that restarted, and a zombie for a living
    process.
    """
    import psutil
    from filelock._identity import host_name, owner_is_stale, process_start_token

    boots = [(token or 0) >> 64 for token in (owner.start, process_start_token(os.getpid()))]
    if owner.hostname != host_name() or (all(boots) and boots[0] != boots[1]):
        return False
    with suppress(psutil.Error):
        if psutil.Process(owner.pid).status() == psutil.STATUS_ZOMBIE:
            return True
    return owner_is_stale(owner.pid, owner.hostname, owner.start)


def _read(file: Path) -> tuple[bytes, int, int] | None:
    """What changes with every heartbeat and holder: content, time in ns, inode."""
    try:
        with open(file, "rb", opener=regular) as opened:
            found = os.fstat(opened.fileno())
            return opened.read(1024), found.st_mtime_ns, found.st_ino
    except FileNotFoundError:
        return None
    except RunDirError:  # a link or a pipe, which no holder makes: damaged, and replaced
        return b"", 0, 0


def _look(file: Path) -> str:
    """The holder's name; it writes it just after taking the lock."""
    lease = _lease(file.with_suffix(""))
    if lease.owner is None:
        time.sleep(0.1)
    return _name(owner) if (owner := lease.owner) else "another process"


def _name(owner: OwnerRecord) -> str:
    return f"process {owner.pid} on {owner.hostname.partition('?pidns-')[0]}"


def _refused(file: Path) -> Busy:
    problem = f"{_look(file)} is writing {file.parent}"
    return Busy(problem, next_step="wait for it, stop it, or give another --out")
