"""What the test images say: the confusion of digits, with its uncertainty."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from mnist_lab.curves.trials import Spread, spread

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnist_lab.records import Mistake, TestScore

_Z_95 = 1.959963984540054  # the standard normal's quantile at 0.975


class Interval(NamedTuple):
    """A 95 % confidence interval."""

    low: float
    high: float


class Confusion(NamedTuple):
    """Test results: `matrix[true digit][predicted digit]` counts images, summed over repeats.

    `class_errors` has one entry per row, None without an image; `errors` one per repeat, each of
    `n_images` images. The interval of one repeat is Wilson's, for the images that happened to be
    drawn; that of several is Student's for their mean, for the seeds that happened to be drawn.
    """

    matrix: tuple[tuple[int, ...], ...]
    class_errors: tuple[float | None, ...]
    n_images: int
    errors: tuple[float, ...]
    error: Spread | None
    interval: Interval | None


class WrongImage(NamedTuple):
    """A test image that at least one repeat misclassified, as the most confident of them did.

    `n_repeats` of them list it among their recorded mistakes.
    """

    image: int
    true: int
    predicted: int
    confidence: float
    n_repeats: int


def wrong_images(scores: Sequence[TestScore]) -> list[WrongImage]:
    """The misclassified test images, those that most repeats agree on first.

    Of equals the most confident comes first. All scores are of the same images.
    """
    by_image: dict[int, list[Mistake]] = {}
    for score in scores:
        for one in score.mistakes:
            by_image.setdefault(one.image, []).append(one)
    found = []
    for made in by_image.values():
        worst = max(made, key=lambda one: one.confidence)
        found.append(WrongImage(**worst.model_dump(), n_repeats=len(made)))
    return sorted(found, key=lambda one: (-one.n_repeats, -one.confidence, one.image))


def confusion(scores: Sequence[TestScore]) -> Confusion:
    """The test results of all repeats together; all of them scored the same images."""
    # zip(*...) twice: the same row of every score, then the same cell of those rows.
    matrix = tuple(
        tuple(sum(cells) for cells in zip(*rows, strict=True))
        for rows in zip(*(score.confusion for score in scores), strict=True)
    )
    n_images = sum(map(sum, matrix)) // len(scores) if scores else 0
    errors = tuple(score.test_error for score in scores)
    over_repeats = spread(errors)
    if over_repeats is None:
        interval = None
    elif over_repeats.sd is None:
        n_right = sum(row[digit] for digit, row in enumerate(matrix))
        interval = wilson_interval(n_images - n_right, n_images)
    else:
        interval = _student_interval(over_repeats.n, over_repeats.mean, over_repeats.sd)
    return Confusion(
        matrix=matrix,
        class_errors=tuple(
            (sum(row) - row[digit]) / sum(row) if sum(row) else None
            for digit, row in enumerate(matrix)
        ),
        n_images=n_images,
        errors=errors,
        error=over_repeats,
        interval=interval,
    )


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


def _student_interval(n: int, mean: float, sd: float) -> Interval:
    # Imported for repeated tests alone; scipy.stats, whose t.ppf this is, would take a second.
    from scipy.special import stdtrit  # type: ignore[import-untyped]

    half = float(stdtrit(n - 1, 0.975)) * sd / math.sqrt(n)
    return Interval(max(0.0, mean - half), min(1.0, mean + half))
