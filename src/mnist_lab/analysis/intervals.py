"""Estimates of errors, differences and correlations, with their 95 % intervals.

The bootstraps have a fixed seed, so the same records give the same words; who calls them gives the
values in an order that does not depend on the workers. SciPy and NumPy are loaded where they are
needed: what shows a sweep goes without.
"""

from __future__ import annotations

import math
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

N_RESAMPLES = 10_000
_BLOCK = 1_000  # resamples at a time, for the memory of long searches
# Resampling fewer trials than this gives intervals that are far too narrow.
FEWEST = 10
FEWEST_OF_A_CHOICE = 5
# Beyond so many standard deviations, noise does not make a trial the best one.
_FAR = 6.0


class Interval(NamedTuple):
    """A 95 % confidence interval."""

    low: float
    high: float


class Estimate(NamedTuple):
    """A number with its 95 % interval, from `n` observations."""

    value: float
    interval: Interval
    n: int

    @property
    def excludes_zero(self) -> bool:
        """Whether 0 lies outside the interval."""
        return self.interval.low > 0 or self.interval.high < 0


def interval_kind(n: int) -> str:
    """The name of the interval that :func:`error_interval` gives for `n` trainings."""
    return "Wilson" if n == 1 else "Student"


def error_interval(errors: Sequence[float], n_images: int) -> Interval:
    """The interval of the error of one configuration, within [0, 1].

    One training: Wilson's, for the images that happened to be drawn. Several: Student's for their
    mean, for the seeds that happened to be drawn.

    Args:
        errors: one from each training, on the same images; at least one.
        n_images: how many images each is measured on.
    """
    if len(errors) == 1:
        from scipy.stats import binomtest  # type: ignore[import-untyped]

        measured = binomtest(round(errors[0] * n_images), n_images)
        return Interval(*map(float, measured.proportion_ci(method="wilson")))
    low, high = student_interval(errors)
    return Interval(max(0.0, low), min(1.0, high))


def student_interval(values: Sequence[float]) -> Interval:
    """The interval of the mean of two or more values; without width if they are all equal."""
    half = student_factor(len(values)) * stdev(values) / math.sqrt(len(values))
    return Interval(fmean(values) - half, fmean(values) + half)


def student_factor(n: int) -> float:
    """Student's quantile at 0.975 for the mean of n values: 12.7 for two, 2.8 for five."""
    from scipy.stats import t

    return float(t.ppf(0.975, n - 1))


def mean(values: Sequence[float]) -> Estimate | None:
    """The mean with Student's interval.

    None for fewer than two values, and for values that are all equal: on few images that happens,
    and an interval of no width would claim to know everything.
    """
    if len(set(values)) < 2:  # noqa: PLR2004 - two different values are the fewest
        return None
    return Estimate(fmean(values), student_interval(values), len(values))


def deviation_interval(sd: float, n: int) -> Interval:
    """The chi-square interval of a standard deviation estimated from n normal values."""
    from scipy.stats import chi2

    low, high = (sd * math.sqrt((n - 1) / float(one)) for one in chi2.ppf((0.975, 0.025), n - 1))
    return Interval(low, high)


def binomial_sd(error: float, n_images: int) -> float:
    """The standard deviation of an error measured on n images that are drawn at random."""
    return math.sqrt(error * (1 - error) / n_images)


def rank_correlation(x: Sequence[float], y: Sequence[float]) -> Estimate | None:
    """Spearman's rank correlation with its percentile bootstrap interval; pairs are resampled.

    Returns:
        None for fewer than :data:`FEWEST` pairs, or if all values of one are equal.
    """
    import numpy as np
    from scipy.stats import rankdata

    def spearman(*both: Any, axis: int) -> Any:
        ranks = [rankdata(values, axis=axis) for values in both]
        a, b = (one - one.mean(axis=axis, keepdims=True) for one in ranks)
        scale = np.sqrt((a**2).sum(axis=axis) * (b**2).sum(axis=axis))
        # Resamples of one value alone have none, and say nothing.
        return np.where(scale > 0, (a * b).sum(axis=axis) / np.where(scale > 0, scale, 1), np.nan)

    if len(x) < FEWEST or len(set(x)) == 1 or len(set(y)) == 1:
        return None
    return _bootstrap(spearman, (x, y), len(x), paired=True)


def median_difference(one: Sequence[float], other: Sequence[float]) -> Estimate | None:
    """The median of `one` less that of `other`, with its percentile bootstrap interval.

    Each group is resampled by itself.

    Returns:
        None if a group has fewer than :data:`FEWEST_OF_A_CHOICE` values.
    """
    import numpy as np

    def difference(a: Any, b: Any, axis: int) -> Any:
        return np.median(a, axis=axis) - np.median(b, axis=axis)

    if min(len(one), len(other)) < FEWEST_OF_A_CHOICE:
        return None
    return _bootstrap(difference, (one, other), len(one) + len(other), paired=False)


def _bootstrap(
    statistic: Callable[..., Any], data: tuple[Sequence[float], ...], n: int, *, paired: bool
) -> Estimate:
    import numpy as np
    from scipy.stats import bootstrap

    arrays = [np.asarray(values, dtype=np.float64) for values in data]
    found = bootstrap(
        arrays,
        statistic,
        paired=paired,
        n_resamples=N_RESAMPLES,
        batch=_BLOCK,
        method="percentile",
        rng=np.random.default_rng(0),
    )
    low, high = np.nanquantile(found.bootstrap_distribution, (0.025, 0.975))
    value = float(statistic(*arrays, axis=-1))
    return Estimate(value, Interval(float(low), float(high)), n)


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
    random = np.random.default_rng(0)
    found = []
    for _ in range(N_RESAMPLES // _BLOCK):
        measured = random.binomial(n_images, truth, size=(_BLOCK, len(truth))) / n_images
        found.append(truth[measured.argmin(axis=1)] - measured.min(axis=1))
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
