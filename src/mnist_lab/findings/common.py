"""What every kind of study shows: the best, its fit to the training images, what failed."""

from __future__ import annotations

import math
from itertools import pairwise
from statistics import fmean, stdev
from typing import TYPE_CHECKING, NamedTuple

from mnist_lab.analysis.intervals import interval_kind
from mnist_lab.analysis.outcomes import tally_of
from mnist_lab.words import between, capital, counted, describe, listed, percent, points

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mnist_lab.analysis.outcomes import SummaryRow
    from mnist_lab.records import Trial

# So many epochs in a row must the validation loss have risen: of a curve that only jitters, one in
# 24 ends with three rises.
_N_RISES = 3


class Finding(NamedTuple):
    """A conclusion: a `topic` of a word or three, a `claim` of one sentence, and its evidence.

    `numbers` may be empty.
    """

    topic: str
    claim: str
    numbers: str = ""

    @property
    def text(self) -> str:
        """Both."""
        return f"{self.claim} {self.numbers}".rstrip()


def measured(row: SummaryRow, n_valid: int) -> str:
    """An error with its interval: `1.27 % (1.07 to 1.51 %)`."""
    interval = row.interval(n_valid)
    return percent(row.mean) + (f" ({between(interval)})" if interval else "")


def best(row: SummaryRow, n_valid: int, place: str = "") -> Finding:
    """The configuration with the lowest error, and that error."""
    n, error, interval = len(row.errors), row.error, row.interval(n_valid)
    of = f"{n_valid:,} validation images, n = 1" if n == 1 else f"for the mean over seeds, n = {n}"
    kind = interval_kind(n)
    words = f"95 % {kind} interval {between(interval)}, {of}" if interval else f"n = {n}"
    shown = percent(row.mean, error.sd if error else None)
    described = capital(describe(row.configuration))
    return Finding("best", f"{described}{place}: validation error {shown} ({words}).")


def left_out(trials: Sequence[Trial]) -> Iterator[Finding]:
    """How many trials failed."""
    tally = tally_of(trials)
    if tally.failed:
        failed = f"{tally.failed} of {counted(tally.total, 'trial')} failed"
        yield Finding("failed", f"{failed}, and no finding counts them.")


def gaps(rows: Sequence[SummaryRow], n_valid: int) -> Iterator[Finding]:
    """Where training and validation error differ by more than the validation's uncertainty."""
    above, below, within = [], [], []
    for row in rows:
        interval, train = row.interval(n_valid), row.train_error
        if interval is None:
            continue
        both = f"({percent(row.mean)} against {percent(train)})"
        words = f"{row.name} by {points(row.mean - train)} points {both}"
        if train < interval.low:
            above.append(words)
        elif train > interval.high:
            below.append(words)
        else:
            within.append(f"{row.name} {both}")
    sentences = {
        "The validation error is above the training error of the last epoch, beyond its 95 % "
        f"interval: {listed(above)}.": above,
        f"Validation error below the training error: {listed(below)}; the latter is a mean "
        "over the epoch, taken while the weights improve, so it lags.": below,
        f"Training error within the 95 % interval of the validation error: {listed(within)}.": (
            within
        ),
    }
    if text := " ".join(sentence for sentence, of in sentences.items() if of):
        yield Finding("training and validation", text)


def overfitting(row: SummaryRow) -> Iterator[Finding]:
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
    for trial in row.completed:
        epochs = [one for one in trial.epochs if one.epoch == int(one.epoch)]
        valid = [loss for epoch in epochs if (loss := epoch.valid_loss) is not None]
        train = [loss for epoch in epochs if (loss := epoch.train_loss) is not None]
        if not len(valid) == len(train) == len(epochs) > _N_RISES:
            return
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
        return
    n, n_epochs = len(lowest), max(int(trial.n_epochs) for trial in row.completed)
    first, last = min(lowest), max(lowest)
    where = f"after epoch {first}" if first == last else f"between epochs {first} and {last}"
    text = f"With {row.title} the validation loss was lowest {where} of {n_epochs}"
    text += f"{losses}." if n == 1 else f" (n = {n})."
    if n_rising:
        text += (
            f" In {n_rising} of {counted(n, 'training')} it rose at the end beyond its noise while "
            "the training loss fell: overfitting."
        )
    yield Finding("overfitting", text)


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
