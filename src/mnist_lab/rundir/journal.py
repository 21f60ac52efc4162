"""The journal: every event of a run in the order it happened, one JSON object a line."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pydantic import ValidationError

from mnist_lab.errors import RunDirError
from mnist_lab.records import EVENT, Event
from mnist_lab.rundir.files import first_line, unwritable

if TYPE_CHECKING:
    from pathlib import Path


class Journal:
    """The append-only journal of one run, open for writing.

    Raises:
        RunDirError: when opened on, or told to append to, a disk that does not take it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            # Without a buffer there is nothing left to write, and to fail, when it is closed.
            self._file = self._path.open("ab", buffering=0)
            self._cut_torn_line()
        except OSError as problem:
            raise unwritable(self._path, problem, what="the journal") from None

    def append(self, event: Event) -> None:
        """Write one event, and return when it is on the disk."""
        try:
            rest = event.model_dump_json().encode() + b"\n"
            while rest:
                rest = rest[self._file.write(rest) :]
            os.fsync(self._file.fileno())
        except OSError as problem:
            raise unwritable(self._path, problem, what="the journal") from None

    def close(self) -> None:
        """Close the file; every event is on the disk already."""
        self._file.close()

    def _cut_torn_line(self) -> None:
        content = self._path.read_bytes()
        if not content.endswith(b"\n"):
            os.truncate(self._path, content.rfind(b"\n") + 1)


def read_journal(path: Path) -> list[Event]:
    """The events in a journal, in order; a torn last line is left out.

    Raises:
        RunDirError: a line other than the last is not an event.
    """
    try:
        lines = path.read_bytes().splitlines(keepends=True)
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
