"""The errors and the exit codes: how every failure is named, to people and to scripts.

Every failure that a user can cause or meet is a :class:`LabError` with two parts: what is wrong,
and what to do. Any other exception that escapes is a defect of ours.
"""

from __future__ import annotations

from difflib import get_close_matches
from enum import IntEnum
from typing import TYPE_CHECKING, ClassVar, NoReturn

if TYPE_CHECKING:
    from collections.abc import Iterable


def printable(text: str) -> str:
    """A text as one line that is safe to show on a terminal, a page or a table, whoever wrote it.

    White space becomes a space. Control characters and invisible ones are shown as Python escapes
    them.
    """
    if text.isprintable():
        return text
    return "".join(
        sign if sign.isprintable() else " " if sign.isspace() else ascii(sign)[1:-1]
        for sign in text
    )


def printable_lines(text: str) -> str:
    """Each line of a text as :func:`printable` makes it."""
    return "\n".join(map(printable, text.split("\n")))


class ExitCode(IntEnum):
    """What the process returns to the shell; scripts rely on these numbers."""

    DONE = 0
    FAILED = 1  # no trial succeeded, disk full, ...
    USAGE = 2  # the command line, the settings or an input are unusable; nothing was started
    DEFECT = 3  # an error of mnist-lab itself, with a traceback
    TIME_LIMIT = 75  # stopped at a time limit: run again to continue (EX_TEMPFAIL of sysexits.h)
    INTERRUPTED = 130  # 128 + SIGINT
    TERMINATED = 143  # 128 + SIGTERM


class LabError(Exception):
    """An expected failure; as text it is one line.

    Args:
        problem: what is wrong, with the value received ("no file or folder 'sampel'").
        next_step: what the person can do now ("did you mean --data sample?").
    """

    exit_code: ClassVar[ExitCode] = ExitCode.FAILED

    def __init__(self, problem: str, *, next_step: str = "") -> None:
        super().__init__(_one_line("; ".join(filter(None, (problem, next_step)))))
        self.problem, self.next_step = problem, next_step

    def lines(self) -> list[str]:
        """The problem and the next step, as they are shown."""
        hint = [f"hint: {_one_line(self.next_step)}"] if self.next_step else []
        return [f"error: {_one_line(self.problem)}", *hint]

    def _render_traceback_(self) -> list[str]:
        """What IPython shows instead of a traceback."""
        return self.lines()


def _one_line(text: str) -> str:
    return printable(" ".join(text.split()))


class SettingsError(LabError):
    """A command line, a settings file or a configuration that cannot be used."""

    exit_code = ExitCode.USAGE


class DataError(LabError):
    """The data set is missing, damaged or of another kind."""

    exit_code = ExitCode.USAGE


class RunDirError(LabError):
    """A run directory that cannot be read or continued, or that another process is writing."""

    exit_code = ExitCode.USAGE


class WriteError(RunDirError):
    """A run directory that cannot be written, or no longer."""

    exit_code = ExitCode.FAILED


class DeviceError(LabError):
    """The requested device is missing."""

    exit_code = ExitCode.USAGE


class StudyError(LabError):
    """A study that cannot continue: no worker starts, no trial succeeds, the engine died."""


class _Stopped(LabError):
    """A stop on request, which is no failure."""

    def lines(self) -> list[str]:
        """Its text only, with a capital letter."""
        text = str(self)
        return [text[:1].upper() + text[1:]]


class Interrupted(_Stopped):
    """Ctrl-C; what is finished is kept."""

    exit_code = ExitCode.INTERRUPTED


class TimeLimit(_Stopped):
    """The time limit is reached; what is finished is kept."""

    exit_code = ExitCode.TIME_LIMIT


class Terminated(_Stopped):
    """SIGTERM or SIGHUP; what is finished is kept."""

    exit_code = ExitCode.TERMINATED


_asked: list[BaseException] = []


def stop(why: BaseException) -> NoReturn:
    """Raise what a signal asks for, and keep it for :func:`check_stop`.

    What a signal's handler raises may be lost, in a library's `except` or where Python ignores
    exceptions.
    """
    _asked.append(why)
    raise why


def check_stop() -> None:
    """Raise what a signal asked for, if that was lost."""
    if _asked:
        raise _asked[0]


def forget_stop() -> None:
    """Let go of a stop that was obeyed, and of the frames that it holds."""
    _asked.clear()


def no_gpu() -> DeviceError:
    """The error for a requested GPU where TensorFlow sees none."""
    next_step = "use --device cpu, or install tensorflow[and-cuda] and NVIDIA's driver"
    return DeviceError("--device gpu: TensorFlow sees no GPU", next_step=next_step)


def not_installed(what: str, package: str) -> SettingsError:
    """The error for `what`, which needs a missing optional package."""
    problem = f"{what} needs the package {package}, which is not installed"
    return SettingsError(problem, next_step=f"pip install {package}")


def nearest(word: str, legal: Iterable[str]) -> str:
    """The legal word closest to `word`, as ``"did you mean 'x'?"``, or all of them."""
    choices = sorted(legal)
    return similar(word, choices) or f"choose one of {', '.join(choices)}"


def similar(word: str, legal: Iterable[str], *, least: float = 0.6) -> str:
    """The legal word closest to `word`, as ``"did you mean 'x'?"``; "" if none is close.

    Args:
        word: as it was typed.
        legal: what it may be.
        least: the share of the letters that must agree, from 0 to 1.
    """
    close = get_close_matches(word, legal, n=1, cutoff=least)
    return f"did you mean {close[0]!r}?" if close else ""
