"""Which value of a sweep is the best, which are worse, and which may be as good.

Findings, titles and the end of a command ask here, so none contradicts another. All values are
trained from the same seeds and validated on the same images, so differences are taken seed by seed,
and the images hardly affect them. With fewer than three seeds, a difference is compared with the
usual effect of another seed, taken from the reference runs.
"""

from __future__ import annotations

import math
from itertools import combinations
from statistics import fmean
from typing import TYPE_CHECKING, NamedTuple

from mnist_lab.analysis.intervals import ALPHA, FEWEST, assumed_noise, holm

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from mnist_lab.analysis.outcomes import SummaryRow

# Epochs that a clock can tell, and that somebody waited for: others give no ratio.
_SHORTEST_S, _LONGEST_S = 1e-6, 1e9


class Difference(NamedTuple):
    """How much higher one row's mean error is than another's, and the p of this difference.

    `pairs` are the differences of equal seeds. Holm's method corrects `p` for every pair of rows:
    only the results show which one is lowest, so in effect every pair was tested.
    """

    value: float
    pairs: tuple[float, ...]
    p: float

    @property
    def is_shown(self) -> bool:
        """Whether the row is worse beyond chance."""
        # Seeds that only one of them has can make the lower mean the worse one.
        return self.value > 0 and self.p < ALPHA


class Comparison(NamedTuple):
    """Rows with an error, lowest mean first; `more[i, k]` is how far row k lies above row i."""

    rows: tuple[SummaryRow, ...]
    more: Mapping[tuple[int, int], Difference]

    @property
    def against_best(self) -> list[tuple[SummaryRow, Difference]]:
        """Each of the other rows, with its difference from the best."""
        return [(row, self.more[0, place]) for place, row in enumerate(self.rows) if place]

    @property
    def rivals(self) -> list[SummaryRow]:
        """The other rows that are not shown to be worse than the best, lowest first."""
        return [row for row, more in self.against_best if not more.is_shown]


class Gain(NamedTuple):
    """How much lower a slower row's error is than that of `over`, the last one worth its time."""

    row: SummaryRow
    over: SummaryRow
    value: float
    p: float
    is_shown: bool


def compare(rows: Iterable[SummaryRow], n_valid: int) -> Comparison | None:
    """Compare the rows that have an error; None without any.

    Args:
        rows: of one sweep.
        n_valid: the number of validation images.
    """
    known = tuple(sorted((row for row in rows if row.errors), key=lambda row: row.mean))
    errors = [
        {one.seed: error for one, error in zip(row.completed, row.errors, strict=True)}
        for row in known
    ]
    return Comparison(known, differences(errors, n_valid)) if known else None


def differences(
    groups: Sequence[Mapping[int, float]], n_images: int
) -> dict[tuple[int, int], Difference]:
    """How far each group lies above each group before it, corrected together.

    Args:
        groups: of each configuration the errors by seed, at least one; lowest mean first.
        n_images: the number of images that all are measured on.
    """
    pairs = list(combinations(range(len(groups)), 2))
    found = [_difference(groups[low], groups[high], n_images) for low, high in pairs]
    corrected = holm([one.p for one in found])
    more = [one._replace(p=p) for one, p in zip(found, corrected, strict=True)]
    return dict(zip(pairs, more, strict=True))


def _difference(low: Mapping[int, float], high: Mapping[int, float], n_images: int) -> Difference:
    """Student's paired test over equal seeds; for fewer than three a normal one, as assumed."""
    from scipy.stats import norm, ttest_1samp  # type: ignore[import-untyped]

    # Rounded, as the last binary digits would make equal differences unequal, and p tiny.
    pairs = tuple(round(error - low[seed], 9) for seed, error in high.items() if seed in low)
    means = fmean(low.values()), fmean(high.values())
    value = fmean(pairs) if pairs else means[1] - means[0]
    if len(pairs) >= FEWEST and len(set(pairs)) > 1:
        return Difference(value, pairs, float(ttest_1samp(pairs, 0).pvalue))
    n_images = max(n_images, 1)
    sds = [
        assumed_noise(mean).sd(mean, n_images) / math.sqrt(len(errors))
        for mean, errors in zip(means, (low, high), strict=True)
    ]
    # Where nothing is wrong, or all, a difference of one image says nothing all the same.
    sd = max(math.hypot(*sds), 1 / n_images)
    return Difference(value, pairs, float(2 * norm.sf(abs(value) / sd)))


def timed(rows: Iterable[SummaryRow]) -> list[tuple[float, SummaryRow]]:
    """The rows with a usable time, and their seconds per epoch."""
    seconds = ((row.seconds_per_epoch or 0.0, row) for row in rows)
    return [(s, row) for s, row in seconds if _SHORTEST_S < s < _LONGEST_S]


def gains(compared: Comparison) -> list[Gain]:
    """The gain of each row over faster ones, fastest first; the fastest itself has none.

    A row is worth its time if its error is the lowest so far, and lower beyond chance than that of
    the last row worth its time.
    """
    found: list[Gain] = []
    ordered = sorted(
        (seconds, row.value or 0.0, place)
        for place, one in enumerate(compared.rows)
        for seconds, row in timed([one])
    )
    places = [place for *_, place in ordered]
    kept = places[0] if places else 0
    for at, place in enumerate(places[1:], start=1):
        more = compared.more[min(place, kept), max(place, kept)]
        is_shown = more.is_shown and place < min(places[:at])
        value = more.value if place < kept else -more.value
        found.append(Gain(compared.rows[place], compared.rows[kept], value, more.p, is_shown))
        kept = place if is_shown else kept
    return found
