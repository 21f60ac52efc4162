"""What a sweep shows: the best value, how sure that is, what learns, what still falls, the cost.

``analysis.comparing`` says how values are compared. Where several questions of one kind are asked,
Holm's method corrects p.
"""

from __future__ import annotations

import math
from statistics import fmean, variance
from typing import TYPE_CHECKING, NamedTuple

from mnist_lab.analysis.comparing import compare, gains, timed
from mnist_lab.analysis.intervals import ALPHA, FEWEST, assumed_noise, binomial_sd, holm, mean
from mnist_lab.analysis.outcomes import GOAL, n_ended, outcome_of, summary
from mnist_lab.config import VARIED
from mnist_lab.findings.common import (
    Finding,
    best,
    bounds,
    gaps,
    left_out,
    measured,
    overfitting,
    source,
)
from mnist_lab.words import (
    budget_text,
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

    from mnist_lab.analysis.comparing import Comparison, Difference
    from mnist_lab.analysis.outcomes import SummaryRow
    from mnist_lab.config import StudySettings
    from mnist_lab.records import Trial

# Above this a network "barely learns"; ten classes are guessed with an error of about 90 %.
_BARELY = 0.5
# Errors of one value that differ by this factor and by so much are no noise of 10,000 images.
_UNSTEADY, _APART = 2, 0.02
# After fewer epochs a network that has not learned yet has hardly begun.
_BEGUN = 3


def of_sweep(settings: StudySettings, trials: Sequence[Trial], n_valid: int) -> Iterator[Finding]:
    """The findings of a sweep, or of a single training, which is a sweep of one value."""
    varied = VARIED.get(settings.experiment)
    rows = summary(trials, varied)
    compared = compare(rows, n_valid)
    known = compared.rows if compared else ()
    by_value, is_of_rates = sorted(known, key=_value), settings.experiment == "lr-sweep"
    if compared:
        yield _best(known[0], varied, n_valid)
        if len(known) > 1:
            yield _against_others(compared, n_valid)
            yield from _edge(known[0], rows)
        if settings.experiment == "filter-sweep":
            yield from _costs(compared, by_value, n_valid)
        if is_of_rates:
            yield _passing(by_value, n_valid)
    falls = _falls(known, n_valid)
    yield from _falling(falls)
    for row in by_value:
        if row.mean > _BARELY:
            yield _barely(row, by_value if is_of_rates else [row], falls, n_valid)
    for row in sorted(rows, key=_value):
        yield from _diverging(row, by_value)
    for row in by_value:
        yield from _unsteady(row)
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


def _more(difference: Difference) -> str:
    """`1.41 points more (1.09 to 1.73), p < 0.001`; the interval only of three pairs or more."""
    found, p = mean(difference.pairs), _p(difference.p)
    words = f"{points(difference.value)} points {'more' if difference.value >= 0 else 'less'}"
    if found is None:
        return f"{words}, {p}"
    low, high = found.interval
    shown = f"{points(low)} to {points(high)}" if low >= 0 else f"{signed(low)} to {signed(high)}"
    return f"{words} ({shown}), {p}"


def _p(value: float) -> str:
    if value < 0.001:  # noqa: PLR2004 - as usual
        return "p < 0.001"
    text = f"{value:.2g}"
    # Rounded, it stays on its side of what decides.
    return f"p = {text if (float(text) < ALPHA) == (value < ALPHA) else f'{value:.3g}'}"


def _how_compared(rows: Sequence[SummaryRow], n_valid: int) -> str:
    """The basis of the comparison, in words."""
    n = min(len(row.errors) for row in rows)
    if n >= FEWEST:
        return f"Differences are taken seed by seed, n = {n} pairs."
    lowest = min(row.mean for row in rows)
    noise = assumed_noise(lowest)
    each = "One training" if n == 1 else "Two trainings"
    return (
        f"{each} each: another seed alone changes the difference between the best values by up to "
        f"{points(noise.apart(lowest, lowest, n_valid) / math.sqrt(n))} points ({source(noise)}). "
        "--repeats 5 shows more."
    )


def _against_others(compared: Comparison, n_valid: int) -> Finding:
    """Which values are worse than the best beyond chance; those with the lowest come first."""
    lowest, *others = (row.name for row in compared.rows)
    rivals = [row.name for row in compared.rivals]
    if not rivals:
        which = "every other value" if len(others) > 1 else others[0]
        claim = f"{lowest} is better than {which}."
    elif len(rivals) < len(others):
        claim = f"{capital(listed(rivals))} may be as good as {lowest}; the others are worse."
    else:
        which = "no other value is shown" if len(others) > 1 else f"{others[0]} is not shown"
        claim = f"{lowest} has the lowest error, but {which} to be worse."
    words = [f"{row.name} has {_more(more)}" for row, more in compared.against_best]
    return Finding(
        "best against others",
        claim,
        f"{capital('; '.join(words))}. {_how_compared(compared.rows, n_valid)}",
    )


def _edge(lowest: SummaryRow, rows: Sequence[SummaryRow]) -> Iterator[Finding]:
    """Whether nothing beyond the best value was tried."""
    values = sorted(map(_value, rows))
    if lowest.value not in {values[0], values[-1]}:
        return
    end, beyond = ("largest", "larger") if lowest.value == values[-1] else ("smallest", "smaller")
    yield Finding(
        "edge",
        f"{lowest.name} is the {end} value tried: a {beyond} one may be better.",
        f"--values takes {beyond} ones.",
    )


def _unsteady(row: SummaryRow) -> Iterator[Finding]:
    """Whether some trainings of a value end with far higher errors than others."""
    low, high = min(row.errors), max(row.errors)
    if high < _UNSTEADY * low or high - low < _APART:
        return
    yield Finding(
        "unsteady",
        f"{capital(row.title)} depends on the seed: errors end between {percent(low)} and "
        f"{percent(high)}.",
        f"The {len(row.errors)} trainings end with "
        f"{listed([percent(error) for error in sorted(row.errors)])}.",
    )


def _costs(compared: Comparison, by_value: Sequence[SummaryRow], n_valid: int) -> Iterator[Finding]:
    """What each filter size costs in time and gains in error, and whether the gain is certain."""
    seconds_of = timed(by_value)
    if len(seconds_of) < 2:  # noqa: PLR2004 - nothing to compare
        return
    (base_s, base), *others = seconds_of
    slowest_s, slowest = max(seconds_of, key=lambda one: one[0])
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
    found: dict[bool, list[str]] = {True: [], False: []}
    numbers = []
    for one in gains(compared):
        pair = f"{one.row.name} over {one.over.name}"
        found[one.is_shown].append(pair)
        times = (one.row.seconds_per_epoch or 0.0) / (one.over.seconds_per_epoch or 1.0)
        less = f"{points(one.value)} points {'less' if one.value >= 0 else 'more'} error"
        numbers.append(f"{pair}: {times:.2g} times the time, {less}, {_p(one.p)}")
    shown, unshown = found[True], found[False]
    claim = f"A lower error is shown for {listed(shown)}" if shown else "No lower error is shown"
    if unshown:
        claim += f", not for {listed(unshown)}" if shown else f" for {listed(unshown)}"
    how = _how_compared([row for _, row in seconds_of], n_valid)
    yield Finding("worth its time", f"{claim}.", f"{'; '.join(numbers)}. {how}")


def _passing(by_value: Sequence[SummaryRow], n_valid: int) -> Finding:
    """Which values reach the goal, and after which epoch their mean error was first below it.

    Diverged values are not judged here.
    """
    passing, others = [], []
    for row in reversed(by_value):
        if (passed := row.passed) is None:
            others.append(f"{row.name} ends with {measured(row, n_valid)}")
        else:
            epoch, error = passed
            passing.append(f"{row.name} after epoch {budget_text(epoch)} ({percent(error)} error)")
    goal = f"{100 - 100 * GOAL:.0f} % accuracy"
    if not passing:
        within = epochs_text(max(row.positions[-1] for row in by_value))
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
    return [one for one, p in zip(found, chances, strict=True) if one.by > 0 and p < ALPHA]


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
    from scipy.stats import norm, ttest_1samp  # type: ignore[import-untyped]

    curves = [[one.valid_error for one in trial.epochs] for trial in row.completed]
    sound = [[error for error in curve if error is not None] for curve in curves]
    n = max(1, len(sound[0]) // 4)
    complete = {len(curve) for curve in sound} == {row.budget} and not row.tally.unfinished
    if not complete or len(sound[0]) < 2:  # noqa: PLR2004 - one epoch does not fall
        return None
    falls = [round(fmean(curve[-2 * n : -n]) - fmean(curve[-n:]), 9) for curve in sound]
    by = fmean(falls)
    known = mean(falls)
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
    n_epochs, name = row.completed[0].n_epochs, capital(row.title)
    better = [other for other in others if other.mean <= _BARELY]
    larger = [other for other in better if _value(other) > _value(row)]
    fall = next((one for one in falls if one.row is row), None)
    known = f"{percent(row.mean)} error"
    known += f" ({where})" if (where := bounds(row.errors, n_valid)) else ""
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
