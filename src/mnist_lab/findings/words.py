"""What a finding is, and how numbers are put into its words."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from mnist_lab.curves import percent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnist_lab.curves import Interval

_LONGEST_LIST = 6


class Finding(NamedTuple):
    """A conclusion: a `topic` of a word or three, and a `text` that stands for itself."""

    topic: str
    text: str


def points(difference: float) -> str:
    """The size of a difference between errors: `0.35`, `12.4`; the caller says points."""
    size = abs(100 * difference)
    return f"{size:.2f}" if size < 10 else f"{size:.1f}"  # noqa: PLR2004 - as curves.percent


def signed(difference: float) -> str:
    """The same with its sign: `+0.35`, `-12.4`, `0.00`."""
    shown = points(difference)
    if float(shown) == 0:
        return shown
    return ("+" if difference > 0 else "-") + shown


def between(interval: Interval) -> str:
    """An interval of errors: `1.07 to 1.51 %`."""
    low, high = map(percent, interval)
    return f"{low.removesuffix(' %')} to {high}"


def listed(items: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`; of a long list only the beginning, and how many more."""
    shown = list(items)
    if len(shown) > _LONGEST_LIST:
        shown[_LONGEST_LIST - 1 :] = [f"{len(shown) - _LONGEST_LIST + 1} more"]
    return " and ".join([", ".join(shown[:-1])] * (len(shown) > 1) + shown[-1:])


def counted(number: int, noun: str) -> str:
    """`1 epoch`, `12 epochs`."""
    return f"{number:,} {noun}{'s' * (number != 1)}"


def capital(text: str) -> str:
    """The text with a capital letter, as a sentence begins."""
    return text[:1].upper() + text[1:]
