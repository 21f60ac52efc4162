"""What a search space samples: the draws, and how likely each of them was."""

from __future__ import annotations

import math
from itertools import accumulate
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence


class SampledHyperparameter(NamedTuple):
    """One hyperparameter of a search space, and what was drawn from it.

    `scale` is `log`, `linear` (then `lower` and `upper` are set) or `choice` (then `choices` are,
    and `probabilities` if they are not equal). `draws` lacks those in which it is inactive;
    `distribution`, on its scale, is `uniform`, `normal` or `beta`; `forbids` says that a forbidden
    combination names it, so that the draws need not follow it.

    Of a range the exact distribution is known: cell i, from `edges[i]` to `edges[i + 1]`, is drawn
    with the probability `masses[i]`. Where the values are `whole` numbers, it is the one in its
    middle.
    """

    name: str
    scale: str
    lower: float | None
    upper: float | None
    choices: tuple[Any, ...]
    draws: Sequence[Any]
    probabilities: tuple[float, ...] = ()
    distribution: str = "uniform"
    forbids: bool = False
    edges: tuple[float, ...] = ()
    masses: tuple[float, ...] = ()
    whole: bool = False


class Part(NamedTuple):
    """A part of a range from `low` to `high`, and which shares of the draws are in it.

    `high` belongs to the next part, if there is one. `drawn` is None without a draw.
    """

    low: float
    high: float
    expected: float
    drawn: float | None


class Chance(NamedTuple):
    """How often a whole number is drawn.

    Of `n_values` values, `rank` is its place among them, the most likely first. It was drawn
    `n_drawn` times.
    """

    value: int
    probability: float
    rank: int
    n_values: int
    n_drawn: int


def active_shares(hyperparameters: Sequence[SampledHyperparameter]) -> list[float]:
    """In which share of the draws each hyperparameter of a space is active.

    What has no condition is active in all of them, and there is always such a one.
    """
    n_draws = max((len(one.draws) for one in hyperparameters), default=0)
    return [len(one.draws) / n_draws if n_draws else 1.0 for one in hyperparameters]


def octaves(one: SampledHyperparameter) -> list[Part]:
    """The doublings of a range, from its lower bound on; the last may be cut short.

    A choice, and a range that begins at 0, has none.
    """
    if not one.masses or not one.lower or not one.upper:
        return []
    n_parts = max(1, math.ceil(math.log2(one.upper / one.lower) - 1e-9))
    bounds = [one.lower * 2**power for power in range(n_parts)]
    parts = []
    for low, high in zip(bounds, [*bounds[1:], math.inf], strict=True):
        n_drawn = sum(low <= value < high for value in one.draws)
        drawn = n_drawn / len(one.draws) if one.draws else None
        expected = _below(one, high) - _below(one, low)
        parts.append(Part(low, min(high, one.upper), expected, drawn))
    return parts


def expected_median(one: SampledHyperparameter) -> float:
    """The value that half of the draws are expected to stay at or below; of a range."""
    cells = zip(one.edges, one.edges[1:], one.masses, accumulate(one.masses), strict=False)
    for low, high, mass, below in cells:
        if below >= 0.5 - 1e-12:
            place = 1 - (below - 0.5) / mass
            return round((low + high) / 2) if one.whole else _between(one, low, high, place)
    raise ValueError(f"a range has a median: got the choices of {one.name}")


def chance(one: SampledHyperparameter, value: int) -> Chance:
    """How often `value` is drawn.

    Raises:
        ValueError: the hyperparameter has no whole numbers, or not this one.
    """
    if not one.whole or not one.edges[0] < value < one.edges[-1]:
        raise ValueError(f"a whole number of {one.name}: got {value}")
    probability = one.masses[round(value - one.edges[0] - 0.5)]
    return Chance(
        value,
        probability,
        1 + sum(other > probability * (1 + 1e-9) for other in one.masses),
        len(one.masses),
        sum(drawn == value for drawn in one.draws),
    )


def powers_of_two(one: SampledHyperparameter) -> list[Chance]:
    """The powers of two among the whole numbers of a hyperparameter."""
    if not one.whole:
        return []
    last = int(one.edges[-1])
    powers = [2**power for power in range(last.bit_length())]
    return [chance(one, value) for value in powers if one.edges[0] < value < one.edges[-1]]


def _below(one: SampledHyperparameter, bound: float) -> float:
    """The probability of a value below `bound`."""
    share = 0.0
    for low, high, mass in zip(one.edges, one.edges[1:], one.masses, strict=False):
        if one.whole:
            share += mass * ((low + high) / 2 < bound)
        elif high <= bound:
            share += mass
        elif low < bound:
            share += mass * place_between(low, high, bound, log=one.scale == "log")
    return share


def place_between(low: float, high: float, value: float, *, log: bool) -> float:
    """Where a value lies between two others, from 0 at `low` to 1 at `high`.

    Args:
        low: below `high`; on a logarithmic scale above 0.
        high: the upper end.
        value: between them.
        log: count on a logarithmic scale instead of a linear one.
    """
    if log:
        return math.log(value / low) / math.log(high / low)
    return (value - low) / (high - low)


def _between(one: SampledHyperparameter, low: float, high: float, place: float) -> float:
    """The value at a place of a cell; the inverse of :func:`place_between`."""
    if one.scale == "log":
        return low * math.pow(high / low, place)
    return low + (high - low) * place
