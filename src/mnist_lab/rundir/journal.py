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

from mnist_lab.errors import RunDirError
from mnist_lab.records import EVENT, Event, Retried, Time, Trial, Trials, fold, now
from mnist_lab.rundir import files
from mnist_lab.rundir.documents import Identity
from mnist_lab.words import counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path


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


class _Place(NamedTuple):
    """Where a reader stands: behind so many bytes and lines, the last with this checksum."""

    n_bytes: int = 0
    n_lines: int = 0
    last: str = _NOTHING


_START = _Place()


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
            self.repaired = (
                f"the end of the journal was damaged ({counted(n_damaged, 'byte')}, as a power cut "
                "leaves it) and was cut off; the lost part is trained again"
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


class Follower:
    """The trials of a journal that somebody may be writing: each look reads only what is new.

    `n_events` are known by now. A journal of more than `most` bytes is refused.
    """

    def __init__(self, path: Path, most: int) -> None:
        self._path, self._most = path, most
        self._identity: Identity | None = None
        self._forget()

    def _forget(self) -> None:
        self._trials, self._place, self.n_events = Trials(), _START, 0

    def look(self, identity: Identity | None) -> None:
        """Read on; raises as :func:`read_journal`, also where an event cannot follow the others."""
        if identity != self._identity:  # another run was begun there
            self._forget()
            self._identity = identity
        try:
            self._read_on()
        except RunDirError:
            if self._place == _START:
                raise
            self._forget()  # what was read may have been replaced
            self._read_on()

    def _read_on(self) -> None:
        if self._place == _START:
            self._forget()  # version 1 is read as a whole each time
        lines, n_bytes, _ = _read(self._path, self._identity, self._place, self._most)
        events = _events(lines)
        try:
            for event in events:
                self._trials.apply(event)
        except ValueError as problem:
            self._forget()
            raise files.refused(f"{self._path} is damaged: {problem}") from None
        self.n_events += len(events)
        if lines and lines[-1].number:
            self._place = _Place(n_bytes, lines[-1].number, lines[-1].crc32)

    def trials(self) -> list[Trial]:
        """Each trial as the last look found it, in the order of their proposal.

        A RunDirError where their tests are not of the same classes.
        """
        trials = list(self._trials)
        sizes = sorted({len(trial.test.confusion) for trial in trials if trial.test})
        if len(sizes) > 1:
            kinds = " and ".join(map(str, sizes))
            raise files.refused(f"{self._path} mixes tests with {kinds} classes")
        return trials


def read_journal(path: Path, identity: Identity | None) -> list[Event]:
    """The events in a journal, in order, without damage at its end; empty without a file.

    A RunDirError if it is unreadable, damaged before its end, or does not belong to `identity`.
    """
    return _events(_read(path, identity)[0])


def _events(lines: Iterable[_Line]) -> list[Event]:
    return [line.entry for line in lines if not isinstance(line.entry, Begun)]


def _read(
    path: Path,
    identity: Identity | None,
    start: _Place = _START,
    most: int = files.MOST_BYTES,
) -> tuple[list[_Line], int, int]:
    """The sound lines behind `start`, where they end, and how many damaged bytes follow."""
    try:
        content = files.read_bytes(path, most=most, start=start.n_bytes)
    except FileNotFoundError:
        if start != _START:
            raise files.refused(f"{path} is gone") from None
        content = b""
    except OSError as problem:
        fault = f"cannot read {path} ({problem.strerror})"
        next_step = f"fix its permissions, or {files.ANEW}"
        raise files.refused(fault, next_step) from None
    is_chained = start != _START or not content.startswith(b'{"event":')
    texts = content.split(b"\n")  # not splitlines, which knows other ends of lines, too
    parse = _parse_chained if is_chained else _parse_old
    first = start.n_lines + 1
    parsed = [parse(text, f"line {n} of {path}") for n, text in enumerate(texts[:-1], first)]
    n_sound = max((n for n, line in enumerate(parsed, start=1) if line), default=0)
    lines = [line for line in parsed[:n_sound] if line]
    if len(lines) < n_sound:
        raise _refused(path, first + parsed.index(None), "was changed or damaged")
    if not lines and len(parsed) > (start == _START):  # the first line of all may be torn
        raise _refused(path, 1, "is not how a journal begins")
    if is_chained and lines:
        _check_chain(lines, path, start)
        if start == _START:
            _check_begin(lines[0].entry, identity, path)
    n_bytes = sum(len(text) + 1 for text in texts[:n_sound])
    return lines, start.n_bytes + n_bytes, len(content) - n_bytes


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


def _check_chain(lines: Sequence[_Line], path: Path, start: _Place) -> None:
    """Refuse lines that do not follow one another."""
    last = start.last
    for number, line in enumerate(lines, start.n_lines + 1):
        if line.number != number:
            raise _refused(path, number, f"is missing: line {line.number} stands there")
        if line.after != last:
            raise _refused(path, number, "belongs to another journal than the line before it")
        last = line.crc32


def _check_begin(begun: Begun | Event, identity: Identity | None, path: Path) -> None:
    """Refuse the first line of another run's journal."""
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
