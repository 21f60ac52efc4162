"""The results of a test: the confusion of digits, with its uncertainty."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from mnist_lab.analysis.intervals import Interval, error_interval
from mnist_lab.analysis.outcomes import Spread, grouped, spread_of

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

    @property
    def wrong(self) -> list[tuple[int, int, int]]:
        """The count of each pair of a true and another, predicted digit; the largest first."""
        cells = [
            (count, true, predicted)
            for true, row in enumerate(self.matrix)
            for predicted, count in enumerate(row)
            if true != predicted
        ]
        return sorted(cells, reverse=True)

    @property
    def n_wrong(self) -> int:
        """The mistakes of all repeats; records list only the most confident ones of each."""
        return sum(count for count, *_ in self.wrong)

    @property
    def most_often(self) -> tuple[int, int, int] | None:
        """The first of `wrong`; None where another is as frequent, or it happened once."""
        first, second = [*self.wrong, (0, 0, 0), (0, 0, 0)][:2]
        return first if first[0] > max(second[0], 1) else None


def confusion(scores: Sequence[TestScore]) -> Confusion:
    """The test results of all repeats together; all of them scored the same images."""
    # zip(*...) twice: the same row of every score, then the same cell of those rows.
    matrix = tuple(
        tuple(sum(cells) for cells in zip(*rows, strict=True))
        for rows in zip(*(score.confusion for score in scores), strict=True)
    )
    n_images = sum(map(sum, matrix)) // len(scores) if scores else 0
    errors = tuple(score.test_error for score in scores)
    class_errors = tuple(
        (sum(row) - row[digit]) / sum(row) if sum(row) else None for digit, row in enumerate(matrix)
    )
    interval = error_interval(errors, n_images)
    return Confusion(matrix, class_errors, n_images, errors, spread_of(errors), interval)


def wrong_images(scores: Sequence[TestScore]) -> list[tuple[Mistake, int]]:
    """The misclassified test images; those that most repeats agree on come first.

    Each has the mistake of the most confident repeat, and the number of repeats that recorded one.
    Among equals the most confident comes first. All scores are of the same images.
    """
    mistakes = [one for score in scores for one in score.mistakes]
    found = [
        (max(made, key=lambda one: one.confidence), len(made))
        for made in grouped(mistakes, lambda one: one.image).values()
    ]
    return sorted(found, key=lambda one: (-one[1], -one[0].confidence, one[0].image))
