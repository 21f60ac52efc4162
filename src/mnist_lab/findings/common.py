"""What every kind of study shows: the best, its fit to the training images, what failed."""

from __future__ import annotations

import math
from statistics import fmean
from typing import TYPE_CHECKING, NamedTuple

from mnist_lab.analysis.intervals import (
    ALPHA,
    FEWEST,
    USUAL,
    binomial_sd,
    error_interval,
    mean,
)
from mnist_lab.analysis.outcomes import tally_of
from mnist_lab.words import between, capital, counted, listed, percent, points

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mnist_lab.analysis.intervals import SeedNoise
    from mnist_lab.analysis.outcomes import SummaryRow
    from mnist_lab.records import Trial

# Of fewer epochs no trend can be shown: four in order are one chance in 24.
_FEWEST_OF_TREND = 4
# Standard errors beyond which training and validation differ; a hundred rows have one by chance.
_CLEARLY = 2.6


class Finding(NamedTuple):
    """A conclusion: a `topic` of one to three words, a one-sentence `claim`, and its evidence.

    `numbers` may be empty.
    """

    topic: str
    claim: str
    numbers: str = ""

    @property
    def text(self) -> str:
        """The claim and its numbers."""
        return f"{self.claim} {self.numbers}".rstrip()


def bounds(errors: Sequence[float], n_images: int) -> str:
    """The uncertainty of a mean error: its interval, or the two errors behind it."""
    if len(errors) == 2:  # noqa: PLR2004 - too few for an interval
        low, high = map(percent, sorted(errors))
        return f"{low.removesuffix(' %')} and {high}"
    interval = error_interval(errors, n_images)
    return between(interval) if interval else ""


def measured(row: SummaryRow, n_valid: int) -> str:
    """An error with its uncertainty: `1.27 % (1.07 to 1.51 %)`."""
    known = bounds(row.errors, n_valid)
    return percent(row.mean) + (f" ({known})" if known else "")


def trainings(errors: Sequence[float], n_images: int) -> str:
    """The basis of an error: `The mean of 5 trainings from different seeds, 95 % interval ...`."""
    n, known = len(errors), bounds(errors, n_images)
    if n < FEWEST:
        return f"One training, 95 % interval {known}" if n == 1 else f"Two trainings: {known}"
    known = f"95 % interval {known}" if known else "all equal"
    return f"The mean of {n} trainings from different seeds, {known}"


def best(row: SummaryRow, n_valid: int, claim: str, more: str) -> Finding:
    """The lowest error: a `claim` that names it, its uncertainty, and `more`."""
    how, error = trainings(row.errors, n_valid), row.error
    if error is not None and error.sd and error.n >= FEWEST:
        how += f"; standard deviation {points(error.sd)} points"
    return Finding("best", claim, f"{how}. {more}")


def source(noise: SeedNoise) -> str:
    """What is assumed of the seeds, and where from."""
    known = "as 40 repeats with errors of 1 to 3 % have it on MNIST"
    if noise != USUAL:
        known = "the most that the reference runs on MNIST have at such errors"
    return f"assumed: {noise.factor:.3g} times the sampling error, {known}"


def left_out(trials: Sequence[Trial]) -> Iterator[Finding]:
    """How many trials failed."""
    tally = tally_of(trials)
    if tally.failed:
        failed = f"{tally.failed} of {counted(tally.total, 'trial')} failed"
        yield Finding("failed", f"{failed}; the findings ignore them.")


def gaps(rows: Sequence[SummaryRow], n_valid: int) -> Iterator[Finding]:
    """Where training and validation error differ by more than their uncertainty."""
    above: list[tuple[str, float, str]] = []
    below: list[tuple[str, float, str]] = []
    within: list[tuple[str, float, str]] = []
    for row in rows:
        gap = _gap(row, n_valid)
        if gap is None:
            continue
        both = f"{percent(row.mean)} against {percent(row.train_error)}"
        (above if gap > 0 else below if gap < 0 else within).append((row.name, gap, both))
    if above:
        yield Finding(
            "training and validation",
            "The network knows its training images better than new ones.",
            f"The validation error exceeds the training error of the last epoch by "
            f"{_apart(above)}.",
        )
    if within:
        names = [f"{name} ({both})" for name, _, both in within]
        claim = "Training and validation error agree"
        claim += "." if not above else f" for {listed([name for name, *_ in within])}."
        yield Finding("agreement", claim, f"{capital(listed(names))}: no gap beyond chance.")
    if below:
        yield Finding(
            "lag",
            "A validation error below the training error is normal here.",
            f"It is lower by {_apart(below)}. The training error is a mean over the epoch, taken "
            "while the weights improve, so it lags.",
        )


def _apart(rows: Sequence[tuple[str, float, str]]) -> str:
    """`0.76 points with 0.1 (1.39 % against 0.63 %) and ...`."""
    return listed([f"{points(gap)} points with {name} ({both})" for name, gap, both in rows])


def _gap(row: SummaryRow, n_valid: int) -> float | None:
    """The validation error minus the training error: 0 if they agree, None if that is unknown.

    Three or more trainings are judged by the spread of their differences, fewer by the sampling
    error of the validation images; there are many more training images. Where the spread would
    hide a gap of half the error, nothing is known.
    """
    differences = [
        one.valid_error - one.epochs[-1].train_error
        for one in row.completed
        if one.valid_error is not None
    ]
    if not differences:
        return None
    gap = fmean(differences)
    if len(differences) >= FEWEST:
        found = mean(differences)
        if found is None or not found.interval.low <= 0 <= found.interval.high:
            return gap
        return 0.0 if max(map(abs, found.interval)) <= row.mean / 2 else None
    error = _CLEARLY * binomial_sd(min(max(row.mean, 1 / n_valid), 1 - 1 / n_valid), n_valid)
    return gap if abs(gap) > error / math.sqrt(len(differences)) else 0.0


def overfitting(row: SummaryRow, of: str) -> Iterator[Finding]:
    """Where the validation loss was lowest, and whether it rose while the training loss fell.

    The rule: over the second half of the epochs (at least four), the validation loss rises and the
    training loss falls, by Kendall's test for a trend. The mean over the trainings is tested: that
    is one question, however many there are. The error need not rise with the loss: a network may
    become more confident in the same mistakes.

    Args:
        row: the trainings to check.
        of: their name in the text: `the best`, `learning rate 0.1`.
    """
    lowest: list[int] = []
    curves: list[tuple[list[float], list[float]]] = []
    losses = ""
    for trial in row.completed:
        epochs = [one for one in trial.epochs if one.epoch == int(one.epoch)]
        valid = [loss for epoch in epochs if (loss := epoch.valid_loss) is not None]
        train = [loss for epoch in epochs if (loss := epoch.train_loss) is not None]
        if not len(valid) == len(train) == len(epochs) >= _FEWEST_OF_TREND:
            return
        place = valid.index(min(valid))
        lowest.append(place + 1)
        curves.append((valid, train))
        losses = f" ({valid[place]:.3g})"
        if place < len(valid) - 1:
            losses += (
                f" and ended at {valid[-1]:.3g}; the training loss went from {train[place]:.3g} "
                f"to {train[-1]:.3g}"
            )
    if not lowest:
        return
    n, n_epochs = len(lowest), max(int(trial.n_epochs) for trial in row.completed)
    first, last = min(lowest), max(lowest)
    where = f"after epoch {first}" if first == last else f"between epochs {first} and {last}"
    numbers = f"With {of}, the validation loss was lowest {where} of {n_epochs}"
    numbers += f"{losses}." if n == 1 else f" ({n} trainings)."
    shortest = min(len(valid) for valid, _ in curves)
    n_last = max(_FEWEST_OF_TREND, shortest // 2)
    valid, train = (
        [fmean(at) for at in zip(*(one[-n_last:] for one in all_of), strict=True)]
        for all_of in zip(*curves, strict=True)
    )
    rise, fall = _trend(valid), _trend([-loss for loss in train])
    if max(rise, fall) >= ALPHA:
        yield Finding("overfitting", "There is no sign of overfitting.", numbers)
        return
    yield Finding(
        "overfitting",
        "The network overfits: validation loss rose at the end while training loss fell.",
        f"{numbers} The rise over the last {n_last} epochs is more than chance, p = {rise:.2g}.",
    )


def _trend(losses: Sequence[float]) -> float:
    """Kendall's p that they rise by chance alone; 1 if they are all equal."""
    from scipy.stats import kendalltau  # type: ignore[import-untyped]

    p = float(kendalltau(range(len(losses)), losses, alternative="greater").pvalue)
    return 1.0 if math.isnan(p) else p
