"""95 % confidence intervals of errors and their means: Wilson's and Student's."""

from __future__ import annotations

import math
from statistics import fmean, stdev
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

_Z_95 = 1.959963984540054  # the standard normal's quantile at 0.975


class Interval(NamedTuple):
    """A 95 % confidence interval."""

    low: float
    high: float


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
        return wilson_interval(round(errors[0] * n_images), n_images)
    low, high = student_interval(errors)
    return Interval(max(0.0, low), min(1.0, high))


def wilson_interval(n_wrong: int, n_images: int) -> Interval:
    """The 95 % score interval of an error measured as `n_wrong` of `n_images`.

    Formula: E. B. Wilson (1927), "Probable inference, the law of succession, and statistical
    inference", Journal of the American Statistical Association 22(158), 209-212. Unlike the
    textbook's p +- z sqrt(p (1 - p) / n) it stays in [0, 1] and is not empty for no error at all.

    Raises:
        ValueError: there is no image, or more errors than images.
    """
    if n_images < 1 or not 0 <= n_wrong <= n_images:
        raise ValueError(f"of n images 0 to n are wrong: got {n_wrong} of {n_images}")
    share, weight = n_wrong / n_images, _Z_95**2 / n_images
    centre = (share + weight / 2) / (1 + weight)
    half = math.sqrt(share * (1 - share) * weight + weight**2 / 4) / (1 + weight)
    # The bounds against rounding: with no error at all, the low end is 0 and not 1e-20.
    return Interval(max(0.0, min(share, centre - half)), min(1.0, max(share, centre + half)))


def student_interval(values: Sequence[float]) -> Interval:
    """The interval of the mean of two or more values, with n - 1 degrees of freedom.

    Formula: Student (1908), "The probable error of a mean", Biometrika 6(1), 1-25. For values that
    are all equal it has no width.

    Raises:
        StatisticsError: there are fewer than two values.
    """
    half = student_factor(len(values)) * stdev(values) / math.sqrt(len(values))
    return Interval(fmean(values) - half, fmean(values) + half)


def student_factor(n: int) -> float:
    """Student's quantile at 0.975 for the mean of n values: 12.7 for two, 2.8 for five."""
    # Imported for repeated trainings alone; scipy.stats, whose t.ppf this is, would take a second.
    from scipy.special import stdtrit  # type: ignore[import-untyped]

    return float(stdtrit(n - 1, 0.975))
