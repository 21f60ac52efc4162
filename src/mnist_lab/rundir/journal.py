"""The journal: every event of a run in the order it happened, one JSON object a line.

Each line has its number (`line`), the checksum of the line before it (`after`) and its own
(`crc32`, of everything before that key); the first names the run. So a line that is lost, doubled,
moved, changed or of another run is found. Damage at the end is cut off: nothing depends on it yet.
"""

from __future__ import annotations

import os
import re
import zlib
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

from pydantic import Field, TypeAdapter, ValidationError

from mnist_lab.records import EVENT, Event, Retried, Time, fold, now
from mnist_lab.rundir import files
from mnist_lab.rundir.documents import Identity

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from mnist_lab.errors import RunDirError

# What stands in `after` of the first line.
_NOTHING = "00000000"
_LINE = re.compile(
    rb'\{"line":(?P<number>\d{1,15}),"after":"(?P<after>[0-9a-f]{8})",(?P<entry>.*)'
    rb',"crc32":"(?P<crc32>[0-9a-f]{8})"\}'
)


class Begun(Identity):
    """The first line of a journal: the identity of its run."""

    event: Literal["begun"] = "begun"
    time: Time


# What a line has besides the event, as a JSON schema.
_CRC32 = {"type": "string", "pattern": "^[0-9a-f]{8}$"}
CHAIN = {"line": {"type": "integer", "minimum": 1}, "after": _CRC32, "crc32": _CRC32}
Entry = Annotated[Begun | Event, Field(discriminator="event")]
_ENTRY: TypeAdapter[Any] = TypeAdapter(Entry)


class _Line(NamedTuple):
    """An undamaged line, perhaps in the wrong place; lines of version 1 have number 0."""

    number: int
    after: str
    crc32: str
    entry: Begun | Event


class Journal:
    """The append-only journal of one run, open for writing.

    `events` are all its events; `repaired` tells the user what was cut off on opening, or is None.
    A journal of format version 1 is rewritten.

    Raises:
        RunDirError: the disk refuses to open it or to append, or the journal is damaged or another
            run's.
    """

    def __init__(self, path: Path, identity: Identity) -> None:
        self._path = path
        self._failure: RunDirError | None = None
        lines, n_bytes, n_damaged = _read(path, identity)
        is_old = bool(lines and not lines[0].number)
        self.events, self.repaired = _events(lines), None
        if n_damaged:
            size = "1 byte" if n_damaged == 1 else f"{n_damaged:,} bytes"
            self.repaired = (
                f"the end of the journal was damaged ({size}, as a power cut leaves it) and was "
                "cut off; the lost part is trained again"
            )
        self._n_lines, self._last, begun = 0, _NOTHING, b""
        if lines and not is_old:
            self._n_lines, self._last = len(lines), lines[-1].crc32
        else:
            entries = [Begun(time=now(), **dict(identity)), *self.events]
            begun = b"".join(map(self._chained, entries))
        try:
            if is_old:
                files.write_bytes(path, begun)
            with open(path, "ab", opener=files.regular) as file:
                is_shared = os.fstat(file.fileno()).st_nlink > 1
            if is_shared:  # a backup of hard links, or a stranger's file, would change with it
                files.write_bytes(path, files.read_bytes(path))
            files.sync_folder(path.parent)
            # Without a buffer there is nothing left to write, and to fail, when it is closed.
            self._file = open(path, "ab", buffering=0, opener=files.regular)  # noqa: SIM115
            if n_damaged and not is_old:
                os.ftruncate(self._file.fileno(), n_bytes)
        except OSError as problem:
            raise files.unwritable(path, problem, what="the journal") from None
        if begun and not is_old:
            self._write(begun)

    def append(self, event: Event) -> None:
        """Write one event, and return when it is on the disk.

        Raises:
            RunDirError: this event or one before it did not fit on the disk; the journal is
                unchanged.
        """
        if self._failure is not None:
            raise self._failure
        self._write(self._chained(event))
        self.events.append(event)

    def retry_failed(self) -> None:
        """Mark the failed trials for training again."""
        for trial in fold(self.events):
            if trial.state == "failed":
                self.append(Retried(time=now(), trial=trial.trial))

    def _chained(self, entry: Begun | Event) -> bytes:
        """The next line."""
        self._n_lines += 1
        values = entry.model_dump_json().encode()[1:-1]
        head = b'{"line":%d,"after":"%s",%s' % (self._n_lines, self._last.encode(), values)
        self._last = _checksum(head)
        return b'%s,"crc32":"%s"}\n' % (head, self._last.encode())

    def _write(self, rest: bytes) -> None:
        number = self._file.fileno()
        size = os.fstat(number).st_size
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
            os.fsync(number)
        except OSError as problem:
            self._failure = files.unwritable(self._path, problem, what="the journal")
            with suppress(OSError):  # what is left of the line is cut off by the next session
                os.ftruncate(number, size)
            raise self._failure from None

    def close(self) -> None:
        """Close the file; every event is on the disk already."""
        self._file.close()


def read_journal(path: Path, identity: Identity | None) -> list[Event]:
    """The events in a journal, in order, without damage at its end; empty without a file.

    A RunDirError if it is unreadable, damaged before its end, or does not belong to `identity`.
    """
    return _events(_read(path, identity)[0])


def _events(lines: Iterable[_Line]) -> list[Event]:
    return [line.entry for line in lines if not isinstance(line.entry, Begun)]


def _read(path: Path, identity: Identity | None) -> tuple[list[_Line], int, int]:
    """The sound lines of a journal, their number of bytes, and the number of damaged bytes."""
    try:
        content = files.read_bytes(path)
    except FileNotFoundError:
        content = b""
    except OSError as problem:
        fault = f"cannot read {path} ({problem.strerror})"
        next_step = f"fix its permissions, or {files.ANEW}"
        raise files.refused(fault, next_step) from None
    is_chained = not content.startswith(b'{"event":')
    texts = content.split(b"\n")  # not splitlines, which knows other ends of lines, too
    parse = _parse_chained if is_chained else _parse_old
    parsed = [parse(text, f"line {n} of {path}") for n, text in enumerate(texts[:-1], start=1)]
    n_sound = max((n for n, line in enumerate(parsed, start=1) if line), default=0)
    lines = [line for line in parsed[:n_sound] if line]
    if len(lines) < n_sound:
        raise _refused(path, parsed.index(None) + 1, "was changed or damaged")
    if len(parsed) > 1 and not lines:
        raise _refused(path, 1, "is not how a journal begins")
    if is_chained and lines:
        _check_chain(lines, identity, path)
    n_bytes = sum(len(text) + 1 for text in texts[:n_sound])
    return lines, n_bytes, len(content) - n_bytes


def _parse_chained(text: bytes, place: str) -> _Line | None:
    """The line with this text; None if it is damaged."""
    match = _LINE.fullmatch(text)
    if match is None or _checksum(text[: match.end("entry")]) != match["crc32"].decode():
        return None
    try:
        entry = _ENTRY.validate_json(b"{%s}" % match["entry"])
    except ValidationError as problem:
        fault = f"{place} is unknown to this mnist-lab ({files.first_line(problem)})"
        next_step = f"use the mnist-lab that wrote it, or {files.ANEW}"
        raise files.refused(fault, next_step) from None
    return _Line(int(match["number"]), match["after"].decode(), match["crc32"].decode(), entry)


def _parse_old(text: bytes, _: str) -> _Line | None:
    """As :func:`_parse_chained`, for format version 1."""
    try:
        return _Line(0, _NOTHING, _NOTHING, EVENT.validate_json(text))
    except ValidationError:
        return None


def _check_chain(lines: Sequence[_Line], identity: Identity | None, path: Path) -> None:
    """Refuse lines that do not follow one another, or that belong to another run."""
    last = _NOTHING
    for number, line in enumerate(lines, start=1):
        if line.number != number:
            raise _refused(path, number, f"is missing: line {line.number} stands there")
        if line.after != last:
            raise _refused(path, number, "belongs to another journal than the line before it")
        last = line.crc32
    begun = lines[0].entry
    if not isinstance(begun, Begun):
        raise _refused(path, 1, "is not how a journal begins")
    identity = identity or begun
    different = begun.differences(identity, "in the journal", "in run.json")
    if begun.id != identity.id or different:
        how = "; ".join(different) or "with the same settings"
        raise files.refused(f"{path} belongs to another run ({how})")


def _refused(path: Path, number: int, why: str) -> RunDirError:
    next_step = f"restore the file, or delete line {number} and all after it to train that again"
    return files.refused(f"line {number} of {path} {why}", next_step)


def _checksum(text: bytes) -> str:
    return f"{zlib.crc32(text):08x}"
