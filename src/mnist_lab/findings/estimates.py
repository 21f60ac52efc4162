"""Estimates with their 95 % intervals: paired differences, rank correlations, optimism.

The bootstraps use NumPy alone and a fixed seed, so the same records give the same words. NumPy and
SciPy are loaded where they are needed: `status` of a sweep with one repeat goes without.
"""

from __future__ import annotations

import math
from statistics import fmean
from typing import TYPE_CHECKING, NamedTuple

from mnist_lab.analysis.intervals import Interval, student_interval

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    Vector = NDArray[np.float64]

N_RESAMPLES = 10_000
_SEED = 0
_BLOCK = 1_000  # resamples at a time, for the memory of long searches
# Resampling fewer trials than this gives intervals that are far too narrow.
FEWEST = 10
FEWEST_OF_A_CHOICE = 5
# Beyond so many standard deviations, noise does not make a trial the best one.
_FAR = 6.0


class Estimate(NamedTuple):
    """A number with its 95 % interval, from `n` observations."""

    value: float
    interval: Interval
    n: int

    @property
    def excludes_zero(self) -> bool:
        """Whether 0 lies outside the interval."""
        return self.interval.low > 0 or self.interval.high < 0


def mean(values: Sequence[float]) -> Estimate | None:
    """The mean with Student's interval.

    None for fewer than two values, and for values that are all equal: on few images that happens,
    and an interval of no width would claim to know everything.
    """
    if len(set(values)) < 2:  # noqa: PLR2004 - two different values are the fewest
        return None
    return Estimate(fmean(values), student_interval(values), len(values))


def deviation_interval(sd: float, n: int) -> Interval:
    """The 95 % interval of a standard deviation that was estimated from n normal values.

    (n - 1) sd^2 / sigma^2 has a chi-square distribution with n - 1 degrees of freedom.
    """
    from scipy.special import chdtri  # type: ignore[import-untyped]

    low, high = (sd * math.sqrt((n - 1) / chdtri(n - 1, tail)) for tail in (0.025, 0.975))
    return Interval(float(low), float(high))


def binomial_sd(error: float, n_images: int) -> float:
    """The standard deviation of an error measured on n images that are drawn at random."""
    return math.sqrt(error * (1 - error) / n_images)


def rank_correlation(x: Sequence[float], y: Sequence[float]) -> Estimate | None:
    """Spearman's rank correlation with its percentile bootstrap interval.

    C. Spearman (1904), "The proof and measurement of association between two things", American
    Journal of Psychology 15(1), 72-101: Pearson's correlation of the ranks, equal values sharing
    their mean rank. Percentile interval: B. Efron and R. Tibshirani (1993), "An Introduction to the
    Bootstrap", chapter 13; pairs are resampled.

    Returns:
        None for fewer than :data:`FEWEST` pairs, or if all values of one are equal.
    """
    import numpy as np

    n = len(x)
    if n < FEWEST or len(set(x)) == 1 or len(set(y)) == 1:
        return None
    both = [np.asarray(values, dtype=np.float64) for values in (x, y)]
    (value,) = _correlations(both, np.ones((1, n)))
    found = np.concatenate([_correlations(both, counts) for counts in _resamples(n)])
    low, high = np.quantile(found[~np.isnan(found)], (0.025, 0.975))
    return Estimate(float(value), Interval(float(low), float(high)), n)


def median_difference(one: Sequence[float], other: Sequence[float]) -> Estimate | None:
    """The median of `one` less that of `other`, with its percentile bootstrap interval.

    Each group is resampled by itself.

    Returns:
        None if a group has fewer than :data:`FEWEST_OF_A_CHOICE` values.
    """
    import numpy as np

    groups = [np.asarray(values, dtype=np.float64) for values in (one, other)]
    if min(map(len, groups)) < FEWEST_OF_A_CHOICE:
        return None
    random = np.random.default_rng(_SEED)
    drawn = []
    for _ in range(N_RESAMPLES // _BLOCK):
        a, b = (
            np.median(group[random.integers(len(group), size=(_BLOCK, len(group)))], axis=1)
            for group in groups
        )
        drawn.append(a - b)
    low, high = np.quantile(np.concatenate(drawn), (0.025, 0.975))
    value = float(np.median(groups[0]) - np.median(groups[1]))
    return Estimate(value, Interval(float(low), float(high)), len(one) + len(other))


def optimism(errors: Sequence[float], n_images: int) -> Estimate:
    """By how much the lowest of several measured errors lies below the true error of its trial.

    A parametric bootstrap: the measured errors are taken for the truth, each is measured again on
    `n_images` images drawn by themselves (binomial noise), and the measured error of the trial
    that then looks best is compared with its truth. The mean of the difference is the value; the
    interval holds the middle 95 % of the differences.

    In fact all trials are scored on the same images, which makes the noise of similar networks
    alike and the optimism smaller; and another seed would add noise of its own.
    """
    import numpy as np

    truth = np.asarray(errors, dtype=np.float64)
    noise = np.sqrt(truth * (1 - truth) / n_images)
    best = int(truth.argmin())
    # Whoever is that far behind never wins, and need not be drawn.
    truth = truth[truth - _FAR * noise <= truth[best] + _FAR * noise[best]]
    random = np.random.default_rng(_SEED)
    found = []
    for _ in range(N_RESAMPLES // _BLOCK):
        measured = random.binomial(n_images, truth, size=(_BLOCK, len(truth))) / n_images
        winners = measured.argmin(axis=1)
        found.append(truth[winners] - measured.min(axis=1))
    differences = np.concatenate(found)
    low, high = np.quantile(differences, (0.025, 0.975))
    return Estimate(float(differences.mean()), Interval(float(low), float(high)), len(errors))


def best_of(errors: Sequence[float], n_drawn: int) -> float:
    """The expected minimum of `n_drawn` of these errors, drawn without putting back.

    The i-th lowest of n is the minimum in C(n - i, m - 1) of the C(n, m) ways to draw m.
    """
    n = len(errors)
    ways = math.comb(n, n_drawn)
    return math.fsum(
        error * (math.comb(n - place, n_drawn - 1) / ways)
        for place, error in enumerate(sorted(errors), start=1)
    )


def _resamples(n: int) -> Iterator[Vector]:
    """How often each of n observations is drawn: blocks of shape `(resamples, n)`."""
    import numpy as np

    random = np.random.default_rng(_SEED)
    for _ in range(N_RESAMPLES // _BLOCK):
        drawn = random.integers(n, size=(_BLOCK, n)) + n * np.arange(_BLOCK)[:, np.newaxis]
        yield np.bincount(drawn.ravel(), minlength=_BLOCK * n).reshape(_BLOCK, n).astype(float)


def _correlations(both: Sequence[Vector], counts: Vector) -> Vector:
    """Spearman's correlation where pair i is there `counts[:, i]` times; NaN if undefined.

    Args:
        both: the values that are correlated, each of shape `(n,)`.
        counts: shape `(resamples, n)`.
    """
    import numpy as np

    ranks = [
        _mean_ranks(values, counts) - (counts.sum(axis=1, keepdims=True) + 1) / 2 for values in both
    ]
    covariance = (counts * ranks[0] * ranks[1]).sum(axis=1)
    squares = [(counts * one**2).sum(axis=1) for one in ranks]
    scale = np.sqrt(squares[0] * squares[1])
    found: Vector = np.divide(covariance, scale, out=np.full_like(scale, np.nan), where=scale > 0)
    return found


def _mean_ranks(values: Vector, counts: Vector) -> Vector:
    """The mean rank of each value where it is there so many times; shape `(resamples, n)`."""
    import numpy as np

    _, inverse = np.unique(values, return_inverse=True)
    order = np.argsort(inverse, kind="stable")
    starts = np.searchsorted(inverse[order], np.arange(inverse.max() + 1))
    equal = np.add.reduceat(counts[:, order], starts, axis=1)
    return np.take(equal.cumsum(axis=1) - (equal - 1) / 2, inverse, axis=1)
