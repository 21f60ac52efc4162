"""Estimates of errors and differences with their 95 % intervals, and the noise of seeds.

SciPy and NumPy are loaded only where they are needed.
"""

from __future__ import annotations

import math
from statistics import fmean, stdev
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

_Z = 1.959963984540054  # the standard normal quantile at 0.975
# Trainings that make an interval over seeds.
FEWEST = 3
# A conclusion is drawn where chance would lead to it this rarely.
ALPHA = 0.05
# Of true errors: how far they may lie from measured ones in standard deviations, and how many are
# considered. Simulated searches (benchmarks/false_alarms.py) chose how often they are
# weighed anew: more often makes them too sure, less often leaves luck in.
_FAR = 4.0
_N_TRUTHS = 400
_N_STEPS = 10


class Interval(NamedTuple):
    """A 95 % confidence interval."""

    low: float
    high: float


class Estimate(NamedTuple):
    """A number with its 95 % interval."""

    value: float
    interval: Interval


def error_interval(errors: Sequence[float], n_images: int) -> Interval | None:
    """The interval of the error of one configuration, within [0, 1]; only this function decides it.

    One training has Wilson's, which covers the choice of images; three or more have that of
    :func:`mean`. None for two, and without a training or an image.

    Args:
        errors: one from each training, on the same images.
        n_images: the number of images behind each error.
    """
    if len(errors) == 1 and n_images:
        return wilson_interval(errors[0], n_images)
    found = mean(errors) if n_images else None
    return found and Interval(max(0.0, found.interval.low), min(1.0, found.interval.high))


def wilson_interval(error: float, n_images: int) -> Interval:
    """The interval of an error that was measured once, on at least one image.

    As SciPy's `binomtest` has it, digit for digit: importing that takes a second.
    """
    n_wrong = round(error * n_images)
    share = n_wrong / n_images
    denominator = 2 * (n_images + _Z**2)
    center = (2 * n_images * share + _Z**2) / denominator
    half = _Z / denominator * math.sqrt(4 * n_images * share * (1 - share) + _Z**2)
    return Interval(
        center - half if n_wrong else 0.0,
        center + half if n_wrong < n_images else 1.0,
    )


def mean(values: Sequence[float]) -> Estimate | None:
    """The mean of three or more values with Student's interval, which covers the choice of seeds.

    None for two, whose interval of 12.7 standard errors says nothing, and if all are equal. That
    happens on few images, and an interval of zero width would claim certainty.
    """
    from scipy.special import stdtrit  # type: ignore[import-untyped] # lighter than scipy.stats

    n = len(values)
    if n < FEWEST or len(set(values)) == 1:
        return None
    half = float(stdtrit(n - 1, 0.975)) * stdev(values) / math.sqrt(n)
    middle = fmean(values)
    return Estimate(middle, Interval(middle - half, middle + half))


def holm(chances: Sequence[float]) -> list[float]:
    """The p of several questions, corrected for their number (Holm 1979, Scand. J. Stat. 6)."""
    corrected, largest = [1.0] * len(chances), 0.0
    for rank, place in enumerate(sorted(range(len(chances)), key=chances.__getitem__)):
        largest = max(largest, min(1.0, (len(chances) - rank) * chances[place]))
        corrected[place] = largest
    return corrected


def deviation_interval(sd: float, n: int) -> Interval:
    """The chi-square interval of a standard deviation estimated from n normal values."""
    from scipy.stats import chi2  # type: ignore[import-untyped]

    low, high = (sd * math.sqrt((n - 1) / float(one)) for one in chi2.ppf((0.975, 0.025), n - 1))
    return Interval(low, high)


def binomial_sd(error: float, n_images: int) -> float:
    """The standard deviation of an error measured on n images drawn at random."""
    return math.sqrt(error * (1 - error) / n_images)


class SeedNoise(NamedTuple):
    """How much another seed changes an error on the same images.

    Its standard deviation is `factor` times the sampling error of so many images.
    """

    factor: float

    def sd(self, error: float, n_images: int) -> float:
        """The standard deviation over seeds; a perfect score counts as about one mistake."""
        bound = 1 / (n_images + 1)
        return self.factor * binomial_sd(min(max(error, bound), 1 - bound), n_images)

    def apart(self, one: float, other: float, n_images: int) -> float:
        """How far two trainings differ by their seeds alone, in 19 of 20 pairs."""
        return 1.96 * math.hypot(self.sd(one, n_images), self.sd(other, n_images))


# Over the seeds of 6 configurations with 0.8 to 3 % error, 40 trainings, in results/reference
# (lr-sweep, filter-sweep, test-hyperband-whole-6-train and test-random-search-6-train) the standard
# deviation is 1.12 times the sampling error, 95 % interval 0.90 to 1.46;
# benchmarks/false_alarms.py computes it.
USUAL = SeedNoise(1.12)
# Where networks have learned less it may be more: the largest up to an error of 30 % is 3.22 times,
# and 11.6 times above (filter-sweep and filter-sweep-0.001, n = 3 to 10 each).
_ASSUMED = ((0.03, USUAL.factor), (0.3, 3.2), (1.0, 12.0))


def assumed_noise(error: float) -> SeedNoise:
    """What is assumed of the seeds at such an error, to be careful, where too few were trained."""
    return SeedNoise(next(factor for most, factor in _ASSUMED if error <= most))


def expected_of_lowest(errors: Sequence[float], n_images: int, noise: SeedNoise) -> Estimate:
    """The expected error over other seeds of the trial with the lowest measured error.

    The lowest of many is also the luckiest. An empirical Bayes estimate says by how much.
    Expectation maximisation, stopped early, estimates the distribution of the true errors from the
    measured ones. The expectation given the lowest is not biased by the selection (Efron 2011,
    J. Am. Stat. Assoc. 106). The interval covers the noise of its seed.

    All are measured on the same images, which are lucky for all alike: the effect of other images
    comes on top.
    """
    import numpy as np

    measured = np.sort(np.asarray(errors, dtype=np.float64))
    first, last = (noise.sd(float(measured[place]), n_images) for place in (0, -1))
    low = max(float(measured[0]) - _FAR * first, 0.1 / n_images)
    high = min(float(measured[-1]) + _FAR * last, 1.0)
    truth = np.geomspace(low, high, _N_TRUTHS)
    sds = np.array([noise.sd(float(one), n_images) for one in truth])
    distances = (measured[:, None] - truth) / sds
    chances = np.exp(-0.5 * distances**2) / sds + 1e-300
    weights = np.full(_N_TRUTHS, 1 / _N_TRUTHS)
    for _ in range(_N_STEPS):
        given = chances * weights
        given /= given.sum(axis=1, keepdims=True)
        weights = given.mean(axis=0)
    expected = float((chances[0] * weights * truth).sum() / (chances[0] * weights).sum())
    # The fewer errors, the less is known of how the true ones are distributed: as simulated.
    half = 1.96 * noise.sd(expected, n_images) * math.sqrt(1 + 2 / len(errors))
    interval = Interval(max(0.0, expected - half), min(1.0, expected + half))
    return Estimate(expected, interval)


def best_of(errors: Sequence[float], n_drawn: int) -> float:
    """The expected minimum of `n_drawn` of these errors, drawn without replacement.

    The i-th lowest of n is the minimum in C(n - i, m - 1) of the C(n, m) ways to draw m.
    """
    n = len(errors)
    ways = math.comb(n, n_drawn)
    return math.fsum(
        error * (math.comb(n - place, n_drawn - 1) / ways)
        for place, error in enumerate(sorted(errors), start=1)
    )
