"""Records -> numbers ready to draw or to put into a table; nothing here draws or computes twice.

Errors are fractions between 0 and 1, times are seconds, epochs and iterations count from 1. One
rule says which trials a final error is taken from: those that completed their budget of epochs
without diverging. The others are counted in a :class:`Tally`, never dropped in silence.
"""

from __future__ import annotations

import math
from statistics import fmean, median, stdev
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from mnist_lab.config import TrainConfig
    from mnist_lab.records import Epoch, TestScore, Trial

Fate = Literal["complete", "diverged", "failed", "unfinished"]

_Z_95 = 1.959963984540054  # the standard normal's quantile at 0.975


class Spread(NamedTuple):
    """One number over `n` repeats; `sd` is the sample standard deviation, None with one repeat."""

    n: int
    mean: float
    sd: float | None
    low: float
    high: float


class Tally(NamedTuple):
    """How many trials there are, by what became of them; `unfinished` ones wait or run."""

    complete: int = 0
    diverged: int = 0
    failed: int = 0
    unfinished: int = 0

    @property
    def total(self) -> int:
        """All of them."""
        return sum(self)


class LearningCurve(NamedTuple):
    """The errors by epoch of all trials that share a value of the varied hyperparameter.

    Entry i of `epochs`, `valid` and `train` is epoch i + 1, over the trials that reached it (as
    `Spread.n` says); None where none of them validated. The epoch in which a trial diverged ends
    its curve, and enters the mean only where there is no other trial: the mean of 90 % and four
    times 1 % says nothing about either. `budget` is how many epochs were asked for.
    """

    value: float
    epochs: tuple[int, ...]
    valid: tuple[Spread | None, ...]
    train: tuple[Spread | None, ...]
    budget: int
    tally: Tally


class LearningCurves(NamedTuple):
    """A sweep: `varied` is the name of the hyperparameter; one curve for each of its values."""

    varied: str
    curves: tuple[LearningCurve, ...]


class SearchPoint(NamedTuple):
    """One iteration of a search; `error` is None unless the trial completed its budget."""

    iteration: int
    fate: Fate
    error: float | None
    best_so_far: float | None


class Incumbents(NamedTuple):
    """A search, iteration by iteration; `iteration` and `incumbent` are of the best trial."""

    points: tuple[SearchPoint, ...]
    tally: Tally
    iteration: int | None
    incumbent: Trial | None


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


class SummaryRow(NamedTuple):
    """What one configuration achieved and cost: a line of the final table.

    `value` is that of the varied hyperparameter, None where nothing in particular varies; `errors`
    are the final validation errors of the repeats that count, and `error` is their spread.
    """

    value: float | None
    configuration: TrainConfig
    tally: Tally
    errors: tuple[float, ...]
    error: Spread | None
    seconds_per_epoch: float | None


class SampledHyperparameter(NamedTuple):
    """One hyperparameter of a search space, and what was drawn from it.

    `scale` is `log`, `linear` (then `lower` and `upper` are set) or `choice` (then `choices` are,
    and `probabilities` if they are not equal).
    """

    name: str
    scale: str
    lower: float | None
    upper: float | None
    choices: tuple[Any, ...]
    draws: Sequence[Any]
    probabilities: tuple[float, ...] = ()


def spread(values: Iterable[float | None]) -> Spread | None:
    """Mean and spread of the values that are not None; None if no value is left."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    sd = stdev(known) if len(known) > 1 else None
    return Spread(len(known), fmean(known), sd, min(known), max(known))


def fate(trial: Trial) -> Fate:
    """What became of a trial."""
    if trial.state == "complete":
        return "diverged" if trial.diverged else "complete"
    return "failed" if trial.state == "failed" else "unfinished"


def tally(trials: Iterable[Trial]) -> Tally:
    """How many trials met each fate."""
    fates = [fate(trial) for trial in trials]
    return Tally(*(fates.count(one) for one in Tally._fields))  # type: ignore[arg-type]


def final_error(trial: Trial) -> float | None:
    """The validation error that counts: of a trial that completed its budget, else None."""
    reached = len(trial.epochs) >= trial.configuration.epochs
    return trial.valid_error if reached and fate(trial) == "complete" else None


def best_trial(trials: Iterable[Trial]) -> Trial | None:
    """The incumbent: the lowest final validation error; of equals, the one proposed first."""
    counted = [
        (error, trial.trial, trial) for trial in trials if (error := final_error(trial)) is not None
    ]
    return min(counted, key=lambda entry: entry[:2])[2] if counted else None


def seconds_per_epoch(*trials: Trial) -> float | None:
    """The median duration of an epoch; None before the first.

    The first epoch of a trial includes the compilation, so it only counts if there is no other.
    """
    later = [epoch.duration_s for trial in trials for epoch in trial.epochs[1:]]
    first = [epoch.duration_s for trial in trials for epoch in trial.epochs[:1]]
    durations = later or first
    return median(durations) if durations else None


def learning_curves(trials: Iterable[Trial], varied: str) -> LearningCurves:
    """The curves of a sweep, in the order in which the values were proposed.

    Args:
        trials: of the sweep; those with the same value are repeats.
        varied: the field of the configuration that varies, such as `learning_rate`.
    """
    groups = _grouped(trials, lambda trial: getattr(trial.configuration, varied))
    return LearningCurves(
        varied, tuple(_learning_curve(value, group) for value, group in groups.items())
    )


def _learning_curve(value: float, trials: list[Trial]) -> LearningCurve:
    n_epochs = max(len(trial.epochs) for trial in trials)
    rows = [_reached(trials, number) for number in range(1, n_epochs + 1)]
    return LearningCurve(
        value,
        tuple(range(1, n_epochs + 1)),
        tuple(spread(epoch.valid_error for epoch in row) for row in rows),
        tuple(spread(epoch.train_error for epoch in row) for row in rows),
        max(trial.configuration.epochs for trial in trials),
        tally(trials),
    )


def _reached(trials: list[Trial], number: int) -> list[Epoch]:
    """Epoch `number` of the trials that have it, of the sound ones if there are any."""
    having = [trial for trial in trials if len(trial.epochs) >= number]
    sound = [trial for trial in having if not (trial.diverged and len(trial.epochs) == number)]
    return [trial.epochs[number - 1] for trial in sound or having]


def incumbents(trials: Iterable[Trial]) -> Incumbents:
    """The best so far after each iteration of a search, in the order of the trials' numbers."""
    ordered = sorted(trials, key=lambda trial: trial.trial)
    points: list[SearchPoint] = []
    best: float | None = None
    for iteration, trial in enumerate(ordered, start=1):
        error = final_error(trial)
        if error is not None:
            best = error if best is None else min(best, error)
        points.append(SearchPoint(iteration, fate(trial), error, best))
    winner = best_trial(ordered)
    place = ordered.index(winner) + 1 if winner else None
    return Incumbents(tuple(points), tally(ordered), place, winner)


def summary(trials: Iterable[Trial], varied: str | None = None) -> list[SummaryRow]:
    """The rows of the final table, in the order of proposal.

    Args:
        trials: of any study.
        varied: the hyperparameter whose values make the rows; without it each configuration is one.
    """
    groups = _grouped(
        trials,
        lambda trial: getattr(trial.configuration, varied) if varied else trial.configuration,
    )
    return [_summary_row(value if varied else None, group) for value, group in groups.items()]


def filter_costs(trials: Iterable[Trial]) -> list[SummaryRow]:
    """What each filter size achieves and costs, in the order in which they were proposed."""
    return summary(trials, "filter_size")


def _summary_row(value: float | None, trials: list[Trial]) -> SummaryRow:
    errors = tuple(error for trial in trials if (error := final_error(trial)) is not None)
    return SummaryRow(
        value=value,
        configuration=trials[0].configuration,
        tally=tally(trials),
        errors=errors,
        error=spread(errors),
        seconds_per_epoch=seconds_per_epoch(*trials),
    )


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


def percent(error: float, sd: float | None = None) -> str:
    """An error in words: `1.21 %`, `12.3 %`, or with its deviation `1.21 ± 0.08 %`."""
    digits = 2 if error < 0.1 else 1  # noqa: PLR2004 - three significant digits either way
    deviation = "" if sd is None else f" ± {100 * sd:.{digits}f}"
    return f"{100 * error:.{digits}f}{deviation} %"


def describe(configuration: TrainConfig) -> str:
    """A configuration in words."""
    filters, size = configuration.num_filters, configuration.filter_size
    epochs = configuration.epochs
    return (
        f"learning rate {configuration.learning_rate:.4g}, batch size {configuration.batch_size}, "
        f"{filters} filter{'s' * (filters > 1)} of {size}×{size}, "
        f"{epochs} epoch{'s' * (epochs > 1)}"
    )


def _grouped(trials: Iterable[Trial], key: Callable[[Trial], Any]) -> dict[Any, list[Trial]]:
    """The trials by key, keys in the order of their first trial."""
    groups: dict[Any, list[Trial]] = {}
    for trial in trials:
        groups.setdefault(key(trial), []).append(trial)
    return groups
