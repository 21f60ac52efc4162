"""Writing a file so that whoever reads it sees the old one or the new one, and nothing between."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from mnist_lab.errors import RunDirError

if TYPE_CHECKING:
    from pathlib import Path


def write_bytes(path: Path, content: bytes) -> None:
    """Replace `path` atomically; after a failure the old file is whole and no temporary remains.

    Raises:
        RunDirError: the file cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{os.urandom(4).hex()}")
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
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


def make_folder(path: Path) -> None:
    """Make a folder inside a run, if it is not there.

    Raises:
        RunDirError: it cannot be made.
    """
    try:
        path.mkdir(exist_ok=True)
    except OSError as problem:
        raise unwritable(path, problem) from None


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
