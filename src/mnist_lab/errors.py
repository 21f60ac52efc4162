"""The errors and the exit codes: how every failure is named to a person and to a script.

What a user can cause or meet is a :class:`LabError`, one line of three parts: the rule, the value
received, the next step. Anything else that escapes is a defect of ours.
"""

from __future__ import annotations

from difflib import get_close_matches
from enum import IntEnum
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Iterable


def printable(text: str) -> str:
    """A text as one line that a terminal, a page or a table only shows, whoever wrote it.

    White space becomes a space; control characters, and what else would be obeyed or not be seen,
    is shown as Python escapes it.
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
    """An expected failure.

    Args:
        rule: what must hold, as a statement ("the learning rate is above 0").
        received: the offending value, as it was received.
        next_step: what the person can do now ("give --learning-rate 0.1").
    """

    exit_code: ClassVar[ExitCode] = ExitCode.FAILED

    def __init__(self, rule: str, *, received: object = None, next_step: str = "") -> None:
        text = rule
        if received is not None:
            text += f": got {received}"
        if next_step:
            text += f"; {next_step}"
        super().__init__(printable(" ".join(text.split())))
        self.rule, self.received, self.next_step = rule, received, next_step

    def _render_traceback_(self) -> list[str]:
        """What IPython shows instead of a traceback: the one line, in a notebook too."""
        return [f"{type(self).__name__}: {self}"]


class SettingsError(LabError):
    """A command line, a settings file or a configuration that cannot be used."""

    exit_code = ExitCode.USAGE


class DataError(LabError):
    """The data set is missing, damaged or of another kind."""

    exit_code = ExitCode.USAGE


class RunDirError(LabError):
    """A run directory that cannot be read, written or continued."""


class DeviceError(LabError):
    """The device asked for is not there."""


class StudyError(LabError):
    """A study that cannot go on: no worker starts, no trial succeeds, the engine died."""


class Interrupted(LabError):
    """Ctrl-C; what is finished is kept."""

    exit_code = ExitCode.INTERRUPTED


class TimeLimit(LabError):
    """The time limit that was given is reached; what is finished is kept."""

    exit_code = ExitCode.TIME_LIMIT


class Terminated(LabError):
    """SIGTERM or SIGHUP; what is finished is kept."""

    exit_code = ExitCode.TERMINATED


def no_gpu() -> DeviceError:
    """The error where a GPU is asked for and TensorFlow sees none."""
    next_step = "give --device cpu, or install tensorflow[and-cuda] and NVIDIA's driver"
    rule = "--device gpu needs a GPU that TensorFlow sees"
    return DeviceError(rule, received="none", next_step=next_step)


def not_installed(what: str, package: str) -> SettingsError:
    """The error where `what` needs a package that is an extra of ours."""
    rule = f"{what} needs the package {package}"
    return SettingsError(rule, received="none", next_step=f"pip install {package}")


def nearest(word: str, legal: Iterable[str]) -> str:
    """The legal word that `word` most resembles, as ``"did you mean 'x'?"``, or all of them."""
    choices = sorted(legal)
    close = get_close_matches(word, choices, n=1)
    return f"did you mean {close[0]!r}?" if close else f"choose one of {', '.join(choices)}"
