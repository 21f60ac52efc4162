"""Records -> numbers ready to draw or to put into a table; nothing here draws or computes twice.

Errors are fractions between 0 and 1, times are seconds, epochs and iterations count from 1. One
rule says which trials a final error is taken from: those that completed their budget of epochs
without diverging. The others are counted in a :class:`Tally`, never dropped in silence.
"""

from __future__ import annotations

import math
from statistics import fmean, median, stdev
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from mnist_lab.config import OPTIONAL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from mnist_lab.config import Bracket, TrainConfig
    from mnist_lab.records import Epoch, Rung, TestScore, Trial

Fate = Literal["complete", "diverged", "failed", "unfinished"]
SearchAxis = Literal["iterations", "epochs"]
# Of a trial at a rung of its bracket; `undecided` until the whole rung has ended.
Standing = Literal["promoted", "beaten", "winner", "undecided"]

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
    """A step of a search, at an iteration or after so many epochs of all trials together.

    `error` is None unless a trial completed its budget of epochs here; `best_so_far` is the lowest
    error up to here, whatever the budget.
    """

    at: int
    budget: int
    fate: Fate
    error: float | None
    best_so_far: float | None


class Incumbents(NamedTuple):
    """A search, step by step; `incumbent` is the best trial, found at `at`.

    Counted in iterations, a point is a trial, in the order of proposal. Counted in epochs, it is a
    training that ended, in that order: a trial with several budgets makes several points.
    """

    counted_in: SearchAxis
    points: tuple[SearchPoint, ...]
    tally: Tally
    at: int | None
    incumbent: Trial | None


class Step(NamedTuple):
    """One budget of a trial of Hyperband; `error` is None unless the trial completed it."""

    budget: int
    fate: Fate
    error: float | None
    standing: Standing


class Climb(NamedTuple):
    """A trial on its way up the rungs of a bracket; `bracket` counts its panel's from 0."""

    bracket: int
    steps: tuple[Step, ...]


class BracketPanel(NamedTuple):
    """The brackets of Hyperband that have the same numbers; `n_over` of `n_planned` have ended."""

    bracket: Bracket
    n_planned: int
    n_over: int
    climbs: tuple[Climb, ...]


class Spending(NamedTuple):
    """What `n` searches of one kind found for the epochs they spent.

    Entry i of `median`, `low` and `high` is over the searches, of the lowest error that each had
    found after `epochs[i]` epochs.
    """

    n: int
    epochs: tuple[int, ...]
    median: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


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
    and `probabilities` if they are not equal). `draws` lacks those in which it is inactive;
    `distribution`, on its scale, is `uniform`, `normal` or `beta`; `forbids` says that a forbidden
    combination names it, so that the draws need not follow it.
    """

    name: str
    scale: str
    lower: float | None
    upper: float | None
    choices: tuple[Any, ...]
    draws: Sequence[Any]
    probabilities: tuple[float, ...] = ()
    distribution: str = "uniform"
    forbids: bool = False


def active_shares(hyperparameters: Sequence[SampledHyperparameter]) -> list[float]:
    """In which share of the draws each hyperparameter of a space is active.

    What has no condition is active in all of them, and there is always such a one.
    """
    n_draws = max((len(one.draws) for one in hyperparameters), default=0)
    return [len(one.draws) / n_draws if n_draws else 1.0 for one in hyperparameters]


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


def endings(trials: Iterable[Trial]) -> list[Trial]:
    """Every training that ended, in the order in which they did: each trial as it was then.

    A trial with several budgets is there once for each that it was trained for.
    """
    ended = [
        one
        for trial in trials
        for one in (
            *(_as_of(trial, rung) for rung in trial.rungs),
            *([trial] if trial.state == "failed" else []),
        )
    ]
    return sorted(ended, key=lambda one: (one.ended or "", one.trial, one.configuration.epochs))


def _as_of(trial: Trial, rung: Rung) -> Trial:
    """The trial as it was when it ended this rung."""
    if trial.state == "complete" and rung == trial.rungs[-1]:
        return trial
    return trial.model_copy(
        update={
            "configuration": trial.configuration.model_copy(update={"epochs": rung.budget}),
            "state": "complete",
            "diverged": rung.diverged,
            "reason": None,
            "started": rung.started,
            "ended": rung.ended,
            "epochs": trial.epochs[: rung.budget],
            "rungs": trial.rungs[: trial.rungs.index(rung) + 1],
        }
    )


def best_trial(trials: Iterable[Trial]) -> Trial | None:
    """The incumbent: the lowest final validation error; of equals, the one proposed first.

    Only what was trained for the largest budget that any trial completed is compared, as HpBandSter
    does. A trial that has since been promoted stands here as it was at that budget.
    """
    counted = [
        (-one.configuration.epochs, error, one.trial, one)
        for one in endings(trials)
        if (error := final_error(one)) is not None
    ]
    return min(counted, key=lambda entry: entry[:3])[3] if counted else None


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


def incumbents(trials: Iterable[Trial], counted_in: SearchAxis = "iterations") -> Incumbents:
    """The best so far after each step of a search.

    Args:
        trials: of the search.
        counted_in: `epochs` where trials have several budgets.
    """
    proposed = sorted(trials, key=lambda trial: trial.trial)
    steps = proposed if counted_in == "iterations" else endings(proposed)
    places = _epochs_spent(steps) if counted_in == "epochs" else range(1, len(steps) + 1)
    points: list[SearchPoint] = []
    best: float | None = None
    for place, trial in zip(places, steps, strict=True):
        error = final_error(trial)
        if error is not None:
            best = error if best is None else min(best, error)
        points.append(SearchPoint(place, trial.configuration.epochs, fate(trial), error, best))
    winner = best_trial(proposed)
    found = [
        place
        for place, trial in zip(places, steps, strict=True)
        if winner and trial.trial == winner.trial and len(trial.epochs) >= len(winner.epochs)
    ]
    at = found[0] if found else None
    return Incumbents(counted_in, tuple(points), tally(proposed), at, winner)


def _epochs_spent(steps: Iterable[Trial]) -> list[int]:
    """After each training that ended, the epochs of all trainings that had ended by then.

    A promoted trial goes on where it stopped, so it adds only what is new. Epochs that were lost
    with their worker are in no record.
    """
    reached: dict[int, int] = {}
    spent = []
    for trial in steps:
        reached[trial.trial] = max(reached.get(trial.trial, 0), len(trial.epochs))
        spent.append(sum(reached.values()))
    return spent


def spending(trials: Iterable[Trial]) -> tuple[SearchPoint, ...]:
    """What a search of any kind found for the epochs it spent, training by training."""
    return incumbents(trials, "epochs").points


def median_spending(searches: Sequence[Sequence[SearchPoint]]) -> Spending:
    """Several searches of one kind, from different seeds, as one: median and extremes.

    It begins where more than half of the searches have a result, and those without one count as an
    error of 1.0; it ends where the first of them does, as the others would go on without it.

    Args:
        searches: each as :func:`spending` tells it.
    """
    begun = [points for points in searches if points]
    end = min((points[-1].at for points in begun), default=0)
    places = sorted({point.at for points in begun for point in points if point.at <= end})
    rows = []
    for place in places:
        bests = [_best_by(place, points) for points in searches]
        if sum(best is not None for best in bests) > len(bests) / 2:
            errors = [1.0 if best is None else best for best in bests]
            rows.append((place, median(errors), min(errors), max(errors)))
    epochs, middle, low, high = zip(*rows, strict=True) if rows else ((), (), (), ())
    return Spending(len(searches), epochs, middle, low, high)


def _best_by(place: int, points: Sequence[SearchPoint]) -> float | None:
    """The lowest error that a search had found after so many epochs."""
    return next((one.best_so_far for one in reversed(points) if one.at <= place), None)


def bracket_panels(trials: Iterable[Trial], planned: Sequence[Bracket]) -> list[BracketPanel]:
    """The brackets of Hyperband or BOHB, those of equal numbers together, in the order planned.

    Args:
        trials: of the search; HpBandSter's id says which bracket each belongs to.
        planned: the brackets in their order (`StudySettings.brackets`).
    """
    members = _grouped(trials, lambda trial: trial.id[0])
    panels = []
    for bracket in dict.fromkeys(planned):
        numbers = [number for number, one in enumerate(planned) if one == bracket]
        last, n_over = bracket.epochs[-1], 0
        climbs: list[Climb] = []
        for place, number in enumerate(numbers):
            own = members.get(number, [])
            decided = _decided(own, bracket)
            n_over += last in decided
            best = best_trial(own) if last in decided else None
            won = best is not None and best.configuration.epochs == last
            for trial in own:
                steps = [_step(one, trial, decided) for one in endings([trial])]
                if best and won and best.trial == trial.trial:
                    steps[-1] = steps[-1]._replace(standing="winner")
                climbs.append(Climb(place, tuple(steps)))
        panels.append(BracketPanel(bracket, len(numbers), n_over, tuple(climbs)))
    return panels


def _decided(trials: list[Trial], bracket: Bracket) -> set[int]:
    """The budgets of a bracket's rungs where it is known who goes on, or who won."""
    reached = [trial.configuration.epochs for trial in trials]
    decided = {
        budget
        for budget, above, n in zip(
            bracket.epochs, bracket.epochs[1:], bracket.n_configs[1:], strict=False
        )
        if sum(one >= above for one in reached) >= n
    }
    last = bracket.epochs[-1]
    n_ended = sum(one.configuration.epochs == last for one in endings(trials))
    return decided | ({last} if n_ended >= bracket.n_configs[-1] else set())


def _step(one: Trial, trial: Trial, decided: set[int]) -> Step:
    """The step of `trial` that ended as `one`."""
    budget = one.configuration.epochs
    standing: Standing = "undecided"
    if trial.configuration.epochs > budget:
        standing = "promoted"
    elif budget in decided or one.state == "failed":
        standing = "beaten"
    return Step(budget, fate(one), final_error(one), standing)


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
    """A configuration in words; what is not on the exercise sheet only where it is not 0."""
    filters, size = configuration.num_filters, configuration.filter_size
    epochs = configuration.epochs
    others = ((name, getattr(configuration, name)) for name in OPTIONAL)
    return (
        f"learning rate {configuration.learning_rate:.4g}, batch size {configuration.batch_size}, "
        f"{filters} filter{'s' * (filters > 1)} of {size}×{size}, "
        f"{epochs} epoch{'s' * (epochs > 1)}"
        + "".join(f", {name.replace('_', ' ')} {value:.4g}" for name, value in others if value)
    )


def _grouped(trials: Iterable[Trial], key: Callable[[Trial], Any]) -> dict[Any, list[Trial]]:
    """The trials by key, keys in the order of their first trial."""
    groups: dict[Any, list[Trial]] = {}
    for trial in trials:
        groups.setdefault(key(trial), []).append(trial)
    return groups
