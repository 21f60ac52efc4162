"""What a sweep shows: the best value, how sure that is, what learns, what still falls, the cost.

All values are trained from the same seeds and validated on the same images, so differences are
taken seed by seed, and the images hardly affect them. With fewer than three seeds, a difference
is compared with the usual effect of another seed, taken from the reference runs. Where several
questions of one kind are asked, Holm's method corrects p.
"""

from __future__ import annotations

import math
from itertools import combinations
from statistics import fmean, variance
from typing import TYPE_CHECKING, NamedTuple

from mnist_lab.analysis.intervals import ASSUMED_SEEDS, SeedNoise, binomial_sd, mean
from mnist_lab.analysis.outcomes import n_ended, outcome_of, summary
from mnist_lab.config import VARIED
from mnist_lab.findings.common import (
    FEWEST_FOR_INTERVAL,
    Finding,
    best,
    bounds,
    gaps,
    left_out,
    measured,
    overfitting,
)
from mnist_lab.words import (
    capital,
    counted,
    describe,
    epochs_text,
    in_words,
    listed,
    percent,
    points,
    signed,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mnist_lab.analysis.outcomes import SummaryRow
    from mnist_lab.config import StudySettings
    from mnist_lab.records import Trial

# What the exercise sheet asks for: 90 % of the validation images recognised.
_GOAL = 0.1
# Above this a network "barely learns"; ten classes are guessed with an error of about 90 %.
_BARELY = 0.5
# After fewer epochs a network that has not learned yet has hardly begun.
_BEGUN = 3
# Epochs that a clock can tell, and that somebody waited for: others give no ratio.
_SHORTEST_S, _LONGEST_S = 1e-6, 1e9
# A conclusion is drawn where chance would lead to it this rarely.
_ALPHA = 0.05
# Up to which error the seeds' standard deviation is how many times the sampling error: the largest
# of the reference runs are 1.16, 3.22 and 11.6 (lr-sweep, filter-sweep, filter-sweep-0.001, n = 3
# to 10 each); ASSUMED_SEEDS is the mean of the first kind.
_NOISES = ((0.03, ASSUMED_SEEDS.factor), (0.3, 3.2), (1.0, 12.0))


def of_sweep(settings: StudySettings, trials: Sequence[Trial], n_valid: int) -> Iterator[Finding]:
    """The findings of a sweep, or of a single training, which is a sweep of one value."""
    varied = VARIED.get(settings.experiment)
    rows = summary(trials, varied)
    known = sorted((row for row in rows if row.errors), key=lambda row: row.mean)
    by_value, is_of_rates = sorted(known, key=_value), settings.experiment == "lr-sweep"
    if known:
        yield _best(known[0], varied, n_valid)
    if len(known) > 1:
        yield _against_others(known, n_valid)
    if settings.experiment == "filter-sweep":
        yield from _costs(by_value, n_valid)
    if is_of_rates and known:
        yield _passing(by_value, n_valid)
    falls = _falls(known, n_valid)
    yield from _falling(falls)
    for row in by_value:
        if row.mean > _BARELY:
            yield _barely(row, by_value if is_of_rates else [row], falls, n_valid)
    for row in sorted(rows, key=_value):
        yield from _diverging(row, by_value)
    if known:
        yield from gaps(known, n_valid)
        yield from overfitting(known[0], known[0].title)
    yield from left_out(trials)


def _best(row: SummaryRow, varied: str | None, n_valid: int) -> Finding:
    """The value with the lowest error."""
    error, described = percent(row.mean), describe(row.configuration, without=varied)
    claim = f"The validation error is {error}."
    if varied is not None:
        claim = f"The best {in_words(varied)} is {row.name}, with a validation error of {error}."
    return best(row, n_valid, claim, f"{capital(described.strip(', '))}.")


def _value(row: SummaryRow) -> float:
    return row.value or 0.0


def holm(chances: Sequence[float]) -> list[float]:
    """The p of several questions, corrected for their number (Holm 1979, Scand. J. Stat. 6)."""
    corrected, largest = [1.0] * len(chances), 0.0
    for rank, place in enumerate(sorted(range(len(chances)), key=chances.__getitem__)):
        largest = max(largest, min(1.0, (len(chances) - rank) * chances[place]))
        corrected[place] = largest
    return corrected


def _noise(error: float, n_valid: int) -> float:
    """The assumed standard deviation over seeds, for where too few were trained."""
    factor = next(factor for most, factor in _NOISES if error <= most)
    return SeedNoise(factor, 0).sd(error, n_valid)


class _Difference(NamedTuple):
    """How much more error `high` has than `low`: on average, by equal seeds, and its p."""

    value: float
    pairs: list[float]
    p: float

    @property
    def words(self) -> str:
        """`1.41 points more (1.09 to 1.73)`; the interval only of three pairs or more."""
        found = mean(self.pairs) if len(self.pairs) >= FEWEST_FOR_INTERVAL else None
        more = "more" if self.value >= 0 else "less"
        words = f"{points(self.value)} points {more}"
        if found is None:
            return words
        low, high = found.interval
        if low >= 0:
            return f"{words} ({points(low)} to {points(high)})"
        return f"{words} ({signed(low)} to {signed(high)})"


def _difference(low: SummaryRow, high: SummaryRow, n_valid: int) -> _Difference:
    """Student's paired test over equal seeds; for fewer than three a normal one, by `_NOISES`."""
    from scipy.stats import norm, ttest_1samp  # type: ignore[import-untyped]

    seeds = {one.seed: error for one, error in zip(low.completed, low.errors, strict=True)}
    # Rounded, as the last binary digits would make equal differences unequal, and p tiny.
    pairs = [
        round(error - seeds[one.seed], 9)
        for one, error in zip(high.completed, high.errors, strict=True)
        if one.seed in seeds
    ]
    value = fmean(pairs) if pairs else high.mean - low.mean
    if len(pairs) >= FEWEST_FOR_INTERVAL and len(set(pairs)) > 1:
        return _Difference(value, pairs, float(ttest_1samp(pairs, 0).pvalue))
    sds = [_noise(row.mean, n_valid) / math.sqrt(len(row.errors)) for row in (low, high)]
    # Where nothing is wrong, or all, a difference of one image says nothing all the same.
    sd = max(math.hypot(*sds), 1 / n_valid)
    return _Difference(value, pairs, float(2 * norm.sf(abs(value) / sd)))


def _how_compared(rows: Sequence[SummaryRow], n_valid: int) -> str:
    """The basis of the comparison, in words."""
    n = min(len(row.errors) for row in rows)
    if n >= FEWEST_FOR_INTERVAL:
        return f"Differences are taken seed by seed, n = {n} pairs."
    noise = 1.96 * math.sqrt(2 / n) * _noise(min(row.mean for row in rows), n_valid)
    each = "One training" if n == 1 else "Two trainings"
    return (
        f"{each} each: another seed alone changes the difference between the best values by up to "
        f"{points(noise)} points (assumed: see below). --repeats 5 shows more."
    )


def _p(value: float) -> str:
    return f"p = {value:.2g}" if value >= 0.001 else "p < 0.001"  # noqa: PLR2004 - as usual


def _against_others(known: Sequence[SummaryRow], n_valid: int) -> Finding:
    """Which values are worse than the best beyond chance.

    Only the results show which one is lowest, so in effect every pair was tested, and p is
    corrected for all of them. Pairs with the lowest come first.
    """
    lowest, *others = known
    pairs = [_difference(low, high, n_valid) for low, high in combinations(known, 2)]
    found, chances = pairs[: len(others)], holm([one.p for one in pairs])[: len(others)]
    equals = [
        other.name
        for other, one, p in zip(others, found, chances, strict=True)
        if p >= _ALPHA or one.value <= 0  # seeds that only one of them has can make it the lowest
    ]
    if not equals:
        which = "every other value" if len(others) > 1 else others[0].name
        claim = f"{lowest.name} is better than {which}."
    elif len(equals) < len(others):
        claim = f"{capital(listed(equals))} may be as good as {lowest.name}; the others are worse."
    else:
        which = "no other value" if len(others) > 1 else others[0].name
        shown = "is shown to be" if len(others) > 1 else "is not shown to be"
        claim = f"{lowest.name} has the lowest error, but {which} {shown} worse."
    words = [
        f"{other.name} has {one.words}, {_p(p)}"
        for other, one, p in zip(others, found, chances, strict=True)
    ]
    return Finding(
        "best against others",
        claim,
        f"{capital('; '.join(words))}. {_how_compared([lowest, *others], n_valid)}",
    )


def _costs(by_value: Sequence[SummaryRow], n_valid: int) -> Iterator[Finding]:
    """What each filter size costs in time and gains in error, and whether the gain is certain."""
    timed = [
        (seconds, row)
        for row in by_value
        if (seconds := row.seconds_per_epoch) is not None and _SHORTEST_S < seconds < _LONGEST_S
    ]
    if len(timed) < 2:  # noqa: PLR2004 - nothing to compare
        return
    (base_s, base), *others = timed
    slowest_s, slowest = max(timed, key=lambda one: one[0])
    relative = [f"{row.name} {seconds / base_s:.2g} times" for seconds, row in others]
    # The first epoch of each may compile, and does not count if there are others.
    n_later = sum(len(trial.epochs[1:]) for trial in base.trials)
    n_epochs = n_later or sum(len(trial.epochs) for trial in base.trials)
    claim = f"An epoch with {slowest.name} takes {slowest_s / base_s:.2g} times as long as with "
    yield Finding(
        "cost",
        f"{claim}{base.name}." if slowest is not base else "Larger filters cost no more time here.",
        f"Compared with {base.name} ({base_s:.3g} s, the median of {n_epochs} epochs): "
        f"{listed(relative)} as long.",
    )
    (kept_s, kept), *slower = sorted(timed, key=lambda one: (one[0], one[1].value))
    gains: dict[bool, list[str]] = {True: [], False: []}
    numbers = []
    for seconds, row in slower:
        found = _difference(row, kept, n_valid)
        p = min(1.0, len(slower) * found.p)
        is_shown = row.mean < kept.mean and found.value > 0 and p < _ALPHA
        gains[is_shown].append(f"{row.name} over {kept.name}")
        more = f"{points(found.value)} points {'less' if found.value >= 0 else 'more'} error"
        numbers.append(
            f"{row.name} over {kept.name}: {seconds / kept_s:.2g} times the time, {more}, {_p(p)}"
        )
        if is_shown:
            kept_s, kept = seconds, row
    shown, unshown = gains[True], gains[False]
    claim = f"A lower error is shown for {listed(shown)}" if shown else "No lower error is shown"
    if unshown:
        claim += f", not for {listed(unshown)}" if shown else f" for {listed(unshown)}"
    rows = [row for _, row in timed]
    yield Finding(
        "worth its time", f"{claim}.", f"{'; '.join(numbers)}. {_how_compared(rows, n_valid)}"
    )


def _passing(by_value: Sequence[SummaryRow], n_valid: int) -> Finding:
    """Which values reach the goal, and after which epoch their mean error was first below it.

    Diverged values are not judged here.
    """
    passing, others = [], []
    n_epochs = 0
    for row in reversed(by_value):
        means = [point.mean if point else 1.0 for point in row.curve("valid_error")]
        n_epochs = max(n_epochs, len(means))
        place = next((at for at, error in enumerate(means, start=1) if error < _GOAL), None)
        if place is None:
            others.append(f"{row.name} ends with {measured(row, n_valid)}")
        else:
            passing.append(f"{row.name} after epoch {place} ({percent(means[place - 1])} error)")
    goal = f"{100 - 100 * _GOAL:.0f} % accuracy"
    if not passing:
        within = counted(n_epochs, "epoch")
        claim = f"No learning rate reaches {goal} within {within}."
    elif others:
        claim = f"{len(passing)} of {counted(len(by_value), 'learning rate')} reach {goal}."
    else:
        claim = (
            f"Every learning rate reaches {goal}." if len(passing) > 1 else f"It reaches {goal}."
        )
    return Finding("90 % accuracy", claim, f"{capital('; '.join(passing + others))}.")


class _Fall(NamedTuple):
    """How much a mean error fell over the last `n` epochs, and how sure that is."""

    row: SummaryRow
    n: int
    by: float
    spread: str
    p: float

    @property
    def words(self) -> str:
        """`0.61 points with 0.01 (0.50 to 0.72)`."""
        return f"{points(self.by)} points with {self.row.name} ({self.spread})"


def _falls(known: Sequence[SummaryRow], n_valid: int) -> list[_Fall]:
    """Of all rows, the falls that are more than chance."""
    found = [fall for row in known if (fall := _fall(row, n_valid)) is not None]
    chances = holm([one.p for one in found])
    return [one for one, p in zip(found, chances, strict=True) if one.by > 0 and p < _ALPHA]


def _falling(falls: Sequence[_Fall]) -> Iterator[Finding]:
    """Which errors still fell at the end; more epochs are no advice for what barely learns."""
    learning = [fall for fall in falls if fall.row.mean <= _BARELY]
    if not learning:
        return
    names = [fall.row.name for fall in learning]
    error = "their errors were" if len(names) > 1 else "its error was"
    n, n_epochs = learning[0].n, len(learning[0].row.completed[0].epochs)
    when = f"From the {n} epochs before to the last {n} of {n_epochs},"
    if n == 1:
        when = f"From epoch {n_epochs - 1} to epoch {n_epochs},"
    yield Finding(
        "still falling",
        f"More epochs may help {listed(names)}: {error} still falling.",
        f"{when} the error fell by {listed([fall.words for fall in learning])}.",
    )


def _fall(row: SummaryRow, n_valid: int) -> _Fall | None:
    """How far the mean error of the last quarter lies below that of the quarter before.

    A validation error jumps from epoch to epoch, so the last two say nothing; a mean over a
    quarter is steadier. With three seeds or more each has its own fall, and Student's test says
    whether they are more than chance. With fewer, the noise of an epoch is the larger of the
    sampling error and the spread within the two quarters, so a single bad epoch makes no fall. The
    last epoch must also be the lowest, so a curve that fell before and is flat now does not count.
    """
    from scipy.stats import norm, ttest_1samp

    curves = [[one.valid_error for one in trial.epochs] for trial in row.completed]
    sound = [[error for error in curve if error is not None] for curve in curves]
    n = max(1, len(sound[0]) // 4)
    complete = {len(curve) for curve in sound} == {row.budget} and not row.tally.unfinished
    if not complete or len(sound[0]) < 2:  # noqa: PLR2004 - one epoch does not fall
        return None
    falls = [round(fmean(curve[-2 * n : -n]) - fmean(curve[-n:]), 9) for curve in sound]
    by = fmean(falls)
    known = mean(falls) if len(falls) >= FEWEST_FOR_INTERVAL else None
    if known is not None:
        p = float(ttest_1samp(falls, 0, alternative="greater").pvalue)
        low, high = known.interval
        shown = f"{points(low) if low >= 0 else signed(low)} to {points(high)}"
        return _Fall(row, n, by, f"{shown}, {len(falls)} seeds", p)
    means = [fmean(errors) for errors in zip(*sound, strict=True)]
    before, after = means[-2 * n : -n], means[-n:]
    seen = (variance(before) + variance(after)) / 2 if n > 1 else 0.0
    sampling = max(binomial_sd(fmean(before), n_valid), 1 / n_valid)
    sd = max(sampling, math.sqrt(seen)) * math.sqrt(2 / n)
    p = float(norm.sf(by / sd)) if means[-1] < min(means[:-1]) else 1.0
    return _Fall(row, n, by, f"± {points(2 * sd)}", p)


def _barely(
    row: SummaryRow, others: Sequence[SummaryRow], falls: Sequence[_Fall], n_valid: int
) -> Finding:
    """A value that has not learned, whether it still falls, and which of the `others` did better.

    The others are sorted by value and include this one; only this one where none can be tried.
    """
    n_epochs, name = len(row.completed[0].epochs), capital(row.title)
    better = [other for other in others if other.mean <= _BARELY]
    larger = [other for other in better if _value(other) > _value(row)]
    fall = next((one for one in falls if one.row is row), None)
    known = f"{percent(row.mean)} error"
    known += f" ({where})" if (where := bounds(row, n_valid)) else ""
    numbers = f"{known} after {epochs_text(n_epochs)}; guessing has about 90 %."
    if better and not larger:
        other = better[-1]
        claim = f"{name} is too high: the network does not learn."
        numbers += f" {other.name} reaches {percent(other.mean)}."
        return Finding("barely learns", claim, numbers)
    if n_epochs < _BEGUN:
        claim = f"{name} has hardly begun to learn after {epochs_text(n_epochs)}."
    else:
        claim = f"{name} barely learns within {epochs_text(n_epochs)}."
    if fall:
        numbers += f" It was still falling at the end: by {points(fall.by)} points ({fall.spread})."
    if larger:
        other = larger[0]
        numbers += f" Try a larger one: {other.name} reaches {percent(other.mean)}."
    return Finding("barely learns", claim, numbers)


def _diverging(row: SummaryRow, known: Sequence[SummaryRow]) -> Iterator[Finding]:
    """Whether a value diverged, when, and which smaller one of the `known` did not."""
    diverged = [trial for trial in row.trials if outcome_of(trial) == "diverged"]
    if not diverged:
        return
    first = min(trial.n_epochs for trial in diverged)
    rate = diverged[0].configuration.learning_rate
    of = f"{len(diverged)} of {counted(n_ended(row.trials) or len(row.trials), 'training')}"
    when = f"first in epoch {math.ceil(first)}" if first else "at once"
    claim = f"{capital(row.title)} diverged in {of}, {when}."
    smaller = [other for other in known if _value(other) < _value(row)]
    steady = [other for other in smaller if len(other.errors) == len(other.trials)]
    if row.value not in (rate, None):
        advice = f"Try a learning rate below {rate:.4g}."
    elif steady:
        advice = f"{steady[-1].name} did not, and reaches {percent(steady[-1].mean)}."
    else:
        advice = f"Try a learning rate ten times smaller: {rate / 10:.4g}."
    yield Finding("diverges", claim, advice)
