"""Writing files so that no failure damages them: a full disk, a power cut or a killed process.

The promise, for every file of a run:

* A file that is replaced is whole at every moment, the old one or the new one. A failure leaves no
  temporary file; a killed process or a power cut may.
* The journal only grows, by whole lines in order. An unfinished line is cut off: at once, or when
  the journal is next opened.
* When a call returns, what it wrote survives a power cut, as far as the file system and the disk
  keep their own promises.
* No link is followed out of a run: reading and appending need a real file, and replacing replaces
  the name. The run directory itself may be a link.
* A disk that is full, over its quota or read-only ends the run with one line. The same command
  continues it when there is room, from the last epoch that was written.
"""

from __future__ import annotations

import errno
import json
import os
import re
import stat
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from mnist_lab.config import in_our_words
from mnist_lab.errors import RunDirError, WriteError

if TYPE_CHECKING:
    from pathlib import Path

# The ways on from a run that cannot be read.
ANEW = "train anew with --fresh, which sets the run aside"
RESTORE = f"restore the file, or {ANEW}"
# What a folder's fsync reports when the disk failed; anything else is a file system that has none.
DISK_FAILS = {errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EROFS}
# How the file begins that tries whether a folder can be written.
PROBE = ".writable-"
# What :func:`write_bytes` writes first, with the number of its process; and those others.
_TEMPORARY = re.compile(rf"\..+\.(\d+)-[0-9a-f]{{8}}|{re.escape(PROBE)}[0-9a-f]{{8}}")
# What opening reports of a link, of a folder, and of a pipe that nobody reads.
_IS_NO_FILE = {errno.ELOOP, errno.EISDIR, errno.ENXIO}
# More than a run of any length writes into one file that is read whole.
MOST_BYTES = 2**30


def regular(path: str, flags: int) -> int:
    """The `opener` for Python's `open` on a file of a run; a RunDirError for anything else.

    It never follows a link and never waits for a pipe or device.
    """
    try:
        number = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
    except OSError as problem:
        if problem.errno in _IS_NO_FILE:
            raise _not_of_a_run(path) from None
        raise
    if not stat.S_ISREG(os.fstat(number).st_mode):
        os.close(number)
        raise _not_of_a_run(path)
    return number


def read_bytes(path: Path, *, most: int | None = MOST_BYTES, start: int = 0) -> bytes:
    """The content of a file of a run from byte `start` on, at most `most` bytes in all.

    A RunDirError where it is none, has more, or is shorter than `start`.
    """
    with open(path, "rb", opener=regular) as file:
        size = os.fstat(file.fileno()).st_size
        if most is not None and size > most:
            raise refused(f"{path} has more than {most:,} bytes, so no run wrote it")
        if file.seek(start) > size:
            raise refused(f"{path} is shorter than it was")
        return file.read()


def refused(problem: str, next_step: str = RESTORE) -> RunDirError:
    """The error for a file of a run that was changed since it was written."""
    return RunDirError(problem, next_step=next_step)


def _not_of_a_run(path: Path | str) -> RunDirError:
    problem = f"{path} is a link, a pipe, a device or the like, which no run has"
    return refused(problem, "put the file or folder itself there, or delete it")


def write_bytes(path: Path, content: bytes, *, mode: int = 0o666) -> None:
    """Replace `path` atomically, with `mode` less the umask; return when it is on the disk.

    Raises:
        RunDirError: the file cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{os.urandom(4).hex()}")
    try:
        if not (path.is_symlink() or path.is_file() or not path.exists()):
            # As root it would be replaced, were it /dev/null.
            raise OSError(errno.EINVAL, "not a regular file")  # noqa: TRY301 - as if by the disk
        number = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with open(number, "wb") as file:  # noqa: PTH123 - a path cannot be opened with a mode
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_folder(path.parent)
    except OSError as problem:
        raise unwritable(path, problem) from None
    finally:
        with suppress(OSError):  # it was renamed, or never made
            temporary.unlink()


def is_leftover(path: Path, *, may_live: bool) -> bool:
    """Whether a killed process left this file of a run half written.

    If `may_live`, a living process is recognised by the number in the file's name and by a start
    before the file's; one of another machine counts as killed.
    """
    match = _TEMPORARY.fullmatch(path.name)
    if match and match[1] and may_live:
        import psutil  # only where something was left

        with suppress(psutil.Error, OSError):
            return psutil.Process(int(match[1])).create_time() > path.lstat().st_mtime
    return match is not None


def write_json(path: Path, value: Any) -> None:
    """Replace `path` by indented JSON as :func:`write_bytes` does; a ValueError refuses NaN."""
    text = json.dumps(value, indent=1, allow_nan=False, ensure_ascii=False)
    write_bytes(path, text.encode() + b"\n")


def write_below(root: Path, name: str, content: bytes) -> Path:
    """Replace the file `name` below `root`, making its folders, none of them a link; its path."""
    path = root / name
    try:
        root.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise refused(f"{root} is, or lies below, a file", "give another folder") from None
    except OSError as problem:
        raise unwritable(path, problem) from None
    for folder in reversed(path.relative_to(root).parents[:-1]):
        make_folder(root / folder)
    write_bytes(path, content)
    return path


def make_folder(path: Path) -> None:
    """Make a folder inside a run, if it is missing; a RunDirError if it is a link."""
    refuse_link(path)
    if path.is_dir():
        return
    try:
        path.mkdir(exist_ok=True)  # another thread may be making it
        sync_folder(path.parent)
    except OSError as problem:
        raise unwritable(path, problem) from None


def refuse_link(path: Path) -> None:
    """Raise a RunDirError if a file or folder inside a run is a link."""
    if path.is_symlink():
        raise _not_of_a_run(path)


def sync_folder(path: Path) -> None:
    """Force the names in a folder to the disk: until then a power cut can undo a rename."""
    try:
        number = os.open(path, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)
    except OSError as problem:
        if problem.errno in DISK_FAILS:
            raise


def unwritable(path: Path, problem: OSError, *, what: str = "") -> WriteError:
    """The error for a file of a run that cannot be written."""
    next_step = "make room or fix the permissions, then run the same command again"
    problem_text = f"cannot write {what and what + ' '}{path} ({problem.strerror})"
    return WriteError(problem_text, next_step=next_step)


def first_line(problem: Exception) -> str:
    """An exception's first line, cut to 200 characters."""
    words = str(problem)
    if isinstance(problem, ValidationError):
        first = problem.errors(include_url=False)[0]
        words = ": ".join(filter(None, (".".join(map(str, first["loc"])), in_our_words(first))))
    return " ".join(words.split())[:200]
