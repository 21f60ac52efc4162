"""The journal: every event of a run in the order it happened, one JSON object a line."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from pydantic import ValidationError

from mnist_lab.errors import RunDirError
from mnist_lab.records import EVENT, Event
from mnist_lab.rundir.files import (
    first_line,
    own_file,
    read_bytes,
    regular,
    sync_folder,
    unwritable,
)

if TYPE_CHECKING:
    from pathlib import Path


class Journal:
    """The append-only journal of one run, open for writing.

    `repaired` says in words, for the user, what opening it cut off; None if it was whole.

    Raises:
        RunDirError: when opened on, or told to append to, a disk that does not take it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._failure: RunDirError | None = None
        try:
            own_file(path)
            sync_folder(path.parent)
            self.repaired = _cut_torn_line(path)
            # Without a buffer there is nothing left to write, and to fail, when it is closed.
            self._file = open(path, "ab", buffering=0, opener=regular)  # noqa: SIM115
        except OSError as problem:
            raise unwritable(path, problem, what="the journal") from None

    def append(self, event: Event) -> None:
        """Write one event, and return when it is on the disk.

        After one that could not be written none is taken, however much room there is: what comes
        later would stand behind a gap. Opening the journal again continues it.

        Raises:
            RunDirError: the event, or one before it, cannot be written; the journal is as before.
        """
        if self._failure is not None:
            raise self._failure
        number = self._file.fileno()
        size = os.fstat(number).st_size
        try:
            rest = event.model_dump_json().encode() + b"\n"
            while rest:
                rest = rest[self._file.write(rest) :]
            os.fsync(number)
        except OSError as problem:
            self._failure = unwritable(self._path, problem, what="the journal")
            with suppress(OSError):  # what is left of the line is cut off by the next session
                os.ftruncate(number, size)
            raise self._failure from None

    def close(self) -> None:
        """Close the file; every event is on the disk already."""
        self._file.close()


def _cut_torn_line(path: Path) -> str | None:
    """Cut off what stands behind the last whole line, and say so; None if nothing does."""
    content = read_bytes(path)
    whole = content.rfind(b"\n") + 1
    n_torn = len(content) - whole
    if n_torn == 0:
        return None
    os.truncate(path, whole)
    size = "1 byte" if n_torn == 1 else f"{n_torn:,} bytes"
    return (
        f"the journal's last line was torn ({size}, as a power cut leaves it) and was cut off; "
        "at most one epoch is trained again"
    )


def read_journal(path: Path) -> list[Event]:
    """The events in a journal, in order; a torn last line is left out.

    Raises:
        RunDirError: a line other than the last is not an event.
    """
    try:
        lines = read_bytes(path).splitlines(keepends=True)
    except FileNotFoundError:
        return []
    except OSError as problem:
        raise RunDirError(
            "the journal can be read",
            received=f"{path} ({problem.strerror})",
            next_step="permit it, or give --fresh to set the run aside",
        ) from None
    if lines and not lines[-1].endswith(b"\n"):
        del lines[-1]
    return [_event(line, number, path) for number, line in enumerate(lines, start=1)]


def _event(line: bytes, number: int, path: Path) -> Event:
    try:
        event: Event = EVENT.validate_json(line)
    except ValidationError as problem:
        raise RunDirError(
            "each line of the journal is an event that mnist-lab wrote",
            received=f"line {number} of {path} ({first_line(problem)})",
            next_step="restore the file, or give --fresh to set the run aside",
        ) from None
    return event
