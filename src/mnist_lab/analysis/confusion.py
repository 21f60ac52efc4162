"""What the test images say: the confusion of digits, with its uncertainty."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from mnist_lab.analysis.intervals import Interval, error_interval
from mnist_lab.analysis.outcomes import Spread, spread_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnist_lab.records import Mistake, TestScore


class Confusion(NamedTuple):
    """Test results: `matrix[true digit][predicted digit]` counts images, summed over repeats.

    `class_errors` has one entry per row, None without an image; `errors` one per repeat, each of
    `n_images` images; `interval` is that of :func:`~mnist_lab.analysis.intervals.error_interval`.
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
    return Confusion(
        matrix=matrix,
        class_errors=tuple(
            (sum(row) - row[digit]) / sum(row) if sum(row) else None
            for digit, row in enumerate(matrix)
        ),
        n_images=n_images,
        errors=errors,
        error=spread_of(errors),
        interval=error_interval(errors, n_images) if errors else None,
    )
