"""Estimates of errors and differences with their 95 % intervals, and the noise of seeds.

SciPy and NumPy are loaded only where they are needed.
"""

from __future__ import annotations

import math
from statistics import fmean, stdev
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# Of true errors: how far they may lie from measured ones in standard deviations, and how many are
# considered. Simulated searches (benchmarks/false_alarms_searches.py) chose how often they are
# weighed anew: more often makes them too sure, less often leaves luck in.
_FAR = 4.0
_N_TRUTHS = 400
_N_STEPS = 10


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


def error_interval(errors: Sequence[float], n_images: int) -> Interval:
    """The interval of the error of one configuration, within [0, 1].

    One training: Wilson's, which covers the choice of images. Several: Student's for their mean,
    which covers the choice of seeds.

    Args:
        errors: one from each training, on the same images; at least one.
        n_images: the number of images behind each error.
    """
    if len(errors) == 1:
        from scipy.stats import binomtest  # type: ignore[import-untyped]

        measured = binomtest(round(errors[0] * n_images), n_images)
        return Interval(*map(float, measured.proportion_ci(method="wilson")))
    low, high = student_interval(errors)
    return Interval(max(0.0, low), min(1.0, high))


def student_interval(values: Sequence[float]) -> Interval:
    """The interval of the mean of two or more values; of zero width if all are equal."""
    half = student_factor(len(values)) * stdev(values) / math.sqrt(len(values))
    return Interval(fmean(values) - half, fmean(values) + half)


def student_factor(n: int) -> float:
    """Student's quantile at 0.975 for the mean of n values: 12.7 for two, 2.8 for five."""
    from scipy.stats import t

    return float(t.ppf(0.975, n - 1))


def mean(values: Sequence[float]) -> Estimate | None:
    """The mean with Student's interval.

    None for fewer than two values, and if all are equal. That happens on few images, and an
    interval of zero width would claim certainty.
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
    """The standard deviation of an error measured on n images drawn at random."""
    return math.sqrt(error * (1 - error) / n_images)


class SeedNoise(NamedTuple):
    """How much another seed changes an error on the same images.

    Its standard deviation is `factor` times the sampling error of the images, estimated from `n`
    repeats; with n = 0 it is assumed.
    """

    factor: float
    n: int

    def sd(self, error: float, n_images: int) -> float:
        """The standard deviation over seeds; a perfect score counts as about one mistake."""
        bound = 1 / (n_images + 1)
        return self.factor * binomial_sd(min(max(error, bound), 1 - bound), n_images)


# Over the seeds of 6 configurations with 0.8 to 3 % error, 40 trainings, in results/reference
# (lr-sweep, filter-sweep, test-hyperband-6-train and test-random-search-6-train) the standard
# deviation is 1.12 times the sampling error, 95 % interval 0.90 to 1.46. Where networks have hardly
# learned it is far more; benchmarks/false_alarms_searches.py computes it.
ASSUMED_SEEDS = SeedNoise(1.12, 0)
_FEWEST_FREE = 5
_LEARNED = 0.1


def seed_noise(repeats: Iterable[Sequence[float]], n_images: int) -> SeedNoise:
    """Estimate the seeds' noise from repeats of the same configurations.

    Args:
        repeats: the errors of each configuration; those above 10 % on average are left out.
        n_images: the number of images behind each error.

    Returns:
        The noise; :data:`ASSUMED_SEEDS` if repeats are too few or all equal.
    """
    known = [errors for errors in repeats if len(errors) > 1 and 0 < fmean(errors) < _LEARNED]
    n_free = sum(len(errors) - 1 for errors in known)
    if n_free < _FEWEST_FREE:
        return ASSUMED_SEEDS
    ratios = [stdev(errors) ** 2 / binomial_sd(fmean(errors), n_images) ** 2 for errors in known]
    pooled = math.fsum(r * (len(e) - 1) for r, e in zip(ratios, known, strict=True)) / n_free
    return SeedNoise(math.sqrt(pooled), sum(map(len, known))) if pooled else ASSUMED_SEEDS


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
    return Estimate(expected, interval, len(errors))


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
