"""The lock of a run: one process writes it, of this machine or of another that sees the folder.

Two locks of filelock's decide. The operating system's (flock) refuses at once and ends with its
process, but on a shared folder it may hold among the processes of one machine only, or not exist.
So the holder also keeps a lease beside it, a file with its name whose time it renews every few
seconds. Whoever finds a lease watches it: if it is renewed its process lives, if not that one died
and is followed. Only change counts: the clocks of two machines differ.
"""

from __future__ import annotations

import errno
import fcntl
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from mnist_lab.errors import RunDirError, printable
from mnist_lab.rundir.files import refuse_link, regular, unwritable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from filelock import SoftFileLease

# A holder renews its lease this often, ...
HEARTBEAT_S = 5.0
# ... and three that are missed in a row mean that it died.
GIVEN_UP_AFTER_S = 16.0
# How often whoever waits for that looks.
LOOK_S = 0.5
# Longer than a lease is between two states: being written, or moved aside to be looked at.
SETTLE_S = 0.3
# How old the last sign of a writer may be where nothing is known but the time of its file, which
# is by the clock of the machine that keeps the folder.
SEEN_S = 60.0

_RULE = "one process writes a run at a time"
_NO_FLOCK = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}


class Busy(RunDirError):
    """Another process writes the run."""


class Held:
    """A lock that this process holds, or held until another took it over."""

    def __init__(self, file: Path, lease: SoftFileLease) -> None:
        self._file = file
        self._lease = lease
        self._taken_over = False

    def check(self) -> None:
        """Make sure that the run is still this process's to write; it takes one small read.

        Raises:
            RunDirError: another process took the lock over, as this one gave no sign of life for
                so long, suspended or cut off. Nothing may be written any more.
        """
        if not self._taken_over and self._is_anothers():
            time.sleep(SETTLE_S)
            self._taken_over = self._is_anothers()
        if self._taken_over:
            raise RunDirError(
                _RULE,
                received=f"{self._file.parent}, which {_name(self._file)} took over while "
                "this one was suspended or cut off",
                next_step="wait for that one, or stop it; then give the same command to continue",
            )

    def _is_anothers(self) -> bool:
        owner = self._lease.owner
        if owner is not None:
            return owner.token != self._lease.token
        try:
            self._file.lstat()
        except FileNotFoundError:  # whoever took over may have ended since
            return True
        except OSError:
            pass
        return False  # what cannot be read now, as the network is down, is not lost yet


@contextmanager
def hold(path: Path, say: Callable[[str], None] = lambda _: None) -> Iterator[Held]:
    """Hold the lock; it ends with the process, however that ends.

    Args:
        path: the file to lock; the lease is beside it.
        say: told in one line when another machine must be watched, which takes
            :data:`GIVEN_UP_AFTER_S`.

    Raises:
        Busy: another process writes the run, whose host and process id are named.
        RunDirError: the folder cannot be written, or the lock is a link.
    """
    from filelock import LeaseSettingsMismatch, SoftFileLease, Timeout  # readers do without

    # Beside the lock, not in it: where locks are mandatory nobody else could read it.
    file = _lease_of(path)
    refuse_link(path)
    refuse_link(file)
    with _flock(path, file):
        lease = SoftFileLease(
            file,
            lease_duration=GIVEN_UP_AFTER_S,
            heartbeat_interval=HEARTBEAT_S,
            thread_local=False,
        )
        try:
            _clear(lease, file)
            try:
                lease.acquire(timeout=SETTLE_S, poll_interval=SETTLE_S / 3)
            except Timeout:
                found = _renewed(file)
                seconds = f"{GIVEN_UP_AFTER_S:.0f} s"
                say(f"{_name(file)} may still write this run: watching it for {seconds}")
                lease.acquire(
                    timeout=GIVEN_UP_AFTER_S + LOOK_S,
                    poll_interval=LOOK_S,
                    cancel_check=lambda: _renewed(file) not in {None, found},
                )
        except (Timeout, LeaseSettingsMismatch):
            raise _refused(file) from None
        except OSError as problem:
            raise unwritable(file, problem, what="the lock") from None
        try:
            yield Held(file, lease)
        finally:
            lease.release()


def writer(path: Path) -> str | None:
    """Who holds the lock, in words; None if nobody does.

    Nothing is written and nobody is waited for, so of another machine, which may have died, all
    that can be told is when it was last seen, up to :data:`SEEN_S` ago.
    """
    file = _lease_of(path)
    if _is_flocked(path):
        return _name(file)
    owner, renewed = _owner(file), _renewed(file)
    if owner is None or renewed is None or _is_dead(owner):
        return None
    age_s = time.time() - renewed
    return f"{_name(file)} (last seen {max(age_s, 0):.0f} s ago)" if abs(age_s) <= SEEN_S else None


def forget(path: Path) -> None:
    """Remove the lease of the holder."""
    _lease_of(path).unlink(missing_ok=True)


@contextmanager
def _flock(path: Path, file: Path) -> Iterator[None]:
    """Keep the other processes of this machine out, where the file system can."""
    from filelock import FileLock, Timeout

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


def _clear(lease: SoftFileLease, file: Path) -> None:
    """Remove a lease that filelock would wait for: one that names nobody, or a zombie's."""
    if _renewed(file) is None:
        return
    owner = _owner(file)
    if owner is None:
        time.sleep(SETTLE_S)  # it may just be written
        if _owner(file) is None:
            file.unlink(missing_ok=True)
    elif _is_dead(owner):
        lease.force_break()


def _lease_of(path: Path) -> Path:
    return path.with_suffix(".lease")


def _owner(file: Path) -> Any:
    """Filelock's record of who holds the lease; None if it names nobody."""
    from filelock import SoftFileLease

    return SoftFileLease(file).owner


def _renewed(file: Path) -> float | None:
    """When the lease was renewed, by the clock of the folder's machine; None if there is none."""
    with suppress(OSError):
        return file.lstat().st_mtime
    return None


def _is_dead(owner: Any) -> bool:
    """Whether a holder is known to be dead; of another machine nothing is known."""
    import psutil
    from filelock._identity import host_name, owner_is_stale  # nowhere public

    if owner_is_stale(owner.pid, owner.hostname, owner.start):
        return True
    with suppress(psutil.Error):
        is_here = owner.hostname == host_name()
        return bool(is_here and psutil.Process(owner.pid).status() == psutil.STATUS_ZOMBIE)
    return False


def _name(file: Path) -> str:
    if (owner := _owner(file)) is None:
        return "another process"
    # In a container filelock appends the number of its process ids' namespace.
    return printable(f"process {owner.pid} on {owner.hostname.partition('?pidns-')[0]}")


def _refused(file: Path) -> Busy:
    return Busy(
        _RULE,
        received=f"{file.parent}, which {_name(file)} is writing",
        next_step="wait for it, stop it, or give another --out",
    )
