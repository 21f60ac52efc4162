"""Writing files so that no failure damages what is there: full disk, power cut or killed process.

The promise, for every file of a run:

* A file that is replaced is whole at every moment: whoever reads it sees the old one or the new
  one, and nothing between. A failure leaves no temporary file; a killed process or a power cut may.
* The journal is only added to, and what was added is whole lines, in order, from the first on. A
  line that could not be finished is cut off: at once, or when the journal is next opened.
* What a call has written when it returns is on the disk, under its name, and survives a power cut,
  as far as the file system and the disk keep their own promises.
* A disk that is full, over its quota or read-only ends the run with one line. The same command
  continues it when there is room, from the last epoch that was written.
"""

from __future__ import annotations

import errno
import json
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from mnist_lab.errors import RunDirError

if TYPE_CHECKING:
    from pathlib import Path

# What a folder's fsync reports when the disk failed; anything else is a file system that has none.
_DISK_FAILS = {errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EROFS}


def write_bytes(path: Path, content: bytes, *, mode: int = 0o666) -> None:
    """Replace `path` atomically, and return when the new file is on the disk.

    Args:
        path: the file.
        content: its bytes.
        mode: who may read it, less the process's umask: 0o600 for a secret.

    Raises:
        RunDirError: the file cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{os.urandom(4).hex()}")
    try:
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


def write_json(path: Path, value: Any) -> None:
    """Replace `path` atomically by `value` as indented JSON.

    Raises:
        ValueError: `value` holds NaN or an infinity.
        RunDirError: the file cannot be written.
    """
    text = json.dumps(value, indent=1, allow_nan=False, ensure_ascii=False)
    write_bytes(path, text.encode() + b"\n")


def write_file(path: Path, content: bytes) -> Path:
    """Replace a file that is not a run's own, make the folders above it, and return its path.

    Raises:
        RunDirError: the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise unwritable(path, problem, what="the files") from None
    write_bytes(path, content)
    return path


def make_folder(path: Path) -> None:
    """Make a folder inside a run, if it is not there; what is written into it later survives, too.

    Raises:
        RunDirError: it cannot be made.
    """
    if path.is_dir():
        return
    try:
        path.mkdir(exist_ok=True)  # another thread may be making it
        sync_folder(path.parent)
    except OSError as problem:
        raise unwritable(path, problem) from None


def sync_folder(path: Path) -> None:
    """Put the names in a folder on the disk: until then a power cut can undo a rename.

    Raises:
        OSError: the disk failed. A file system that cannot do this for a folder is let alone.
    """
    try:
        number = os.open(path, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)
    except OSError as problem:
        if problem.errno in _DISK_FAILS:
            raise


def unwritable(path: Path, problem: OSError, *, what: str = "files of a run") -> RunDirError:
    """The error for a file of a run that cannot be written."""
    return RunDirError(
        f"{what} can be written",
        received=f"{path} ({problem.strerror})",
        next_step="make room or permit it, then give the same command to continue",
    )


def first_line(problem: Exception) -> str:
    """An exception's words as part of one line, 200 characters at most."""
    return " ".join(str(problem).split())[:200]
