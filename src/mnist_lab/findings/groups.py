"""The trials that are judged together, and how their error is told with its uncertainty."""

from __future__ import annotations

import math
from itertools import pairwise
from statistics import fmean, stdev
from typing import TYPE_CHECKING, NamedTuple

from mnist_lab.analysis.intervals import error_interval, interval_kind
from mnist_lab.analysis.trials import final_error, spread_of, tally_of
from mnist_lab.findings.finding import Finding
from mnist_lab.words import between, capital, counted, describe, listed, percent, points

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnist_lab.analysis.intervals import Interval
    from mnist_lab.records import Trial

# So many epochs in a row must the validation loss have risen: of a curve that only jitters, one in
# 24 ends with three rises.
_N_RISES = 3


class Group(NamedTuple):
    """The repeats of one configuration.

    `name` is what tells it from the others, such as `0.1`; `title` stands for itself.
    """

    name: str
    title: str
    value: float
    trials: tuple[Trial, ...]

    @property
    def sound(self) -> list[Trial]:
        """The repeats whose final error counts."""
        return [trial for trial in self.trials if final_error(trial) is not None]

    @property
    def errors(self) -> list[float]:
        """Their final validation errors."""
        found = (final_error(trial) for trial in self.trials)
        return [error for error in found if error is not None]

    @property
    def error(self) -> float:
        """Their mean; there must be one."""
        return fmean(self.errors)

    @property
    def train_error(self) -> float:
        """The mean training error of their last epochs; there must be one."""
        return fmean(trial.epochs[-1].train_error for trial in self.sound)


def wilson(error: float, n_images: int) -> Interval:
    """Wilson's interval of an error that was measured on so many images."""
    return error_interval([error], n_images)


def uncertainty(group: Group, n_valid: int) -> Interval | None:
    """The 95 % interval of a group's error, None if its repeats are all equal.

    On few images that happens, and an interval of no width would claim to know everything.
    """
    errors = group.errors
    all_equal = len(errors) > 1 and len(set(errors)) == 1
    return None if all_equal else error_interval(errors, n_valid)


def kind(group: Group) -> str:
    """Which interval :func:`uncertainty` gives."""
    return interval_kind(len(group.errors))


def measured(group: Group, n_valid: int) -> str:
    """A group's error with its interval: `1.27 % (1.07 to 1.51 %)`."""
    interval = uncertainty(group, n_valid)
    return percent(group.error) + (f" ({between(interval)})" if interval else "")


def each(groups: Sequence[Group]) -> str:
    """How many trainings stand behind each error: `n = 1 each`, `n = 2 to 3 each`."""
    counts = [len(group.errors) for group in groups]
    low, high = min(counts), max(counts)
    return f"n = {low} each" if low == high else f"n = {low} to {high} each"


def best(group: Group, n_valid: int, place: str = "") -> Finding:
    """The configuration with the lowest error, and that error."""
    described = capital(describe(group.sound[0].configuration))
    n, interval = len(group.errors), uncertainty(group, n_valid)
    if n == 1:
        error, of = percent(group.error), f"{n_valid:,} validation images, n = 1"
    else:
        sd = spread_of(group.errors)
        error = percent(group.error, sd.sd if sd else None)
        of = f"for the mean over seeds, n = {n}"
    words = f"95 % {kind(group)} interval {between(interval)}, {of}" if interval else f"n = {n}"
    return Finding("best", f"{described}{place}: validation error {error} ({words}).")


def left_out(trials: Sequence[Trial]) -> list[Finding]:
    """How many trials failed."""
    tally = tally_of(trials)
    if not tally.failed:
        return []
    text = f"{tally.failed} of {counted(tally.total, 'trial')} failed, and no finding counts them."
    return [Finding("failed", text)]


def gaps(groups: Sequence[Group], n_valid: int) -> list[Finding]:
    """Where training and validation error differ by more than the validation's uncertainty."""
    above, below, within = [], [], []
    for group in groups:
        interval = uncertainty(group, n_valid)
        if interval is None:
            continue
        gap = group.error - group.train_error
        both = f"{percent(group.error)} against {percent(group.train_error)}"
        words = f"{group.name} by {points(gap)} points ({both})"
        if group.train_error < interval.low:
            above.append(words)
        elif group.train_error > interval.high:
            below.append(words)
        else:
            within.append(f"{group.name} ({both})")
    sentences = []
    if above:
        sentences.append(
            "The validation error is above the training error of the last epoch, beyond its 95 % "
            f"interval: {listed(above)}."
        )
    if below:
        sentences.append(
            f"Validation error below the training error: {listed(below)}; the latter is a mean "
            "over the epoch, taken while the weights improve, so it lags."
        )
    if within:
        sentences.append(
            f"Training error within the 95 % interval of the validation error: {listed(within)}."
        )
    return [Finding("training and validation", " ".join(sentences))] if sentences else []


def overfitting(group: Group) -> list[Finding]:
    """Where the validation loss was lowest, and whether it rose while the training loss fell.

    The rule for one training: in each of its last :data:`_N_RISES` epochs the validation loss rose
    and the training loss fell; or, where a dip ends such a row, the mean validation loss of the
    last quarter of the epochs lies above that of the quarter before by more than twice the noise,
    which is the standard deviation within the quarters, while the mean training loss fell. Of a
    shorter training than eight epochs only the first is asked. The error need not rise with the
    loss: a network may become surer of the same mistakes.
    """
    lowest: list[int] = []
    n_rising = 0
    losses = ""
    for trial in group.sound:
        valid = [loss for epoch in trial.epochs if (loss := epoch.valid_loss) is not None]
        train = [loss for epoch in trial.epochs if (loss := epoch.train_loss) is not None]
        if not len(valid) == len(train) == len(trial.epochs) > _N_RISES:
            return []
        place = valid.index(min(valid))
        lowest.append(place + 1)
        n_rising += _overfits(valid, train)
        losses = f" ({valid[place]:.3g})"
        if place < len(valid) - 1:
            losses += (
                f" and {valid[-1]:.3g} at the end; the training loss went from {train[place]:.3g} "
                f"to {train[-1]:.3g}"
            )
    if not lowest:
        return []
    n, n_epochs = len(lowest), max(len(trial.epochs) for trial in group.sound)
    first, last = min(lowest), max(lowest)
    where = f"after epoch {first}" if first == last else f"between epochs {first} and {last}"
    text = f"With {group.title} the validation loss was lowest {where} of {n_epochs}"
    text += f"{losses}." if n == 1 else f" (n = {n})."
    if n_rising:
        text += (
            f" In {n_rising} of {counted(n, 'training')} it rose at the end beyond its noise while "
            "the training loss fell: overfitting."
        )
    return [Finding("overfitting", text)]


def _overfits(valid: Sequence[float], train: Sequence[float]) -> bool:
    """The rule of :func:`overfitting`."""
    if _rises(valid) and _rises([-loss for loss in train]):
        return True
    n = len(valid) // 4
    if n < 2:  # noqa: PLR2004 - a single epoch does not show its noise
        return False
    # Losses may be huge: scaled, their squares and sums are not.
    scales = [max(map(abs, losses)) or 1.0 for losses in (valid, train)]
    (before, after), (train_before, train_after) = (
        ([loss / scale for loss in losses[-2 * n : -n]], [loss / scale for loss in losses[-n:]])
        for losses, scale in zip((valid, train), scales, strict=True)
    )
    rise = fmean(after) - fmean(before)
    noise = 2 * math.hypot(stdev(before), stdev(after)) / math.sqrt(n)
    return rise > noise and fmean(train_after) < fmean(train_before)


def _rises(losses: Sequence[float]) -> bool:
    """Whether each of the last epochs is above the one before."""
    return all(before < after for before, after in pairwise(losses[-_N_RISES - 1 :]))
