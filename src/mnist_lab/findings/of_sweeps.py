"""What a sweep shows: the best value, how sure that is, who learns, who still falls, what it costs.

One repeat says how good a network is on these images, within their sampling error. It does not say
how much another seed would change, and two networks are scored on the same images, so their errors
are not independent: intervals that overlap do not prove that there is no difference. So of one
repeat only the intervals are told. With repeats the seeds are the same for every value, and the
differences are taken seed by seed.
"""

from __future__ import annotations

import math
from statistics import fmean, variance
from typing import TYPE_CHECKING

from mnist_lab.analysis.intervals import binomial_sd, interval_kind, mean, student_factor
from mnist_lab.analysis.outcomes import n_ended, outcome_of, summary
from mnist_lab.config import VARIED
from mnist_lab.findings.common import Finding, best, gaps, left_out, measured, overfitting
from mnist_lab.words import between, capital, counted, listed, percent, points, signed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mnist_lab.analysis.outcomes import SummaryRow
    from mnist_lab.config import StudySettings
    from mnist_lab.records import Trial

# What the exercise sheet asks for: 90 % of the validation images recognised.
_GOAL = 0.1
# Above this a network "barely learns"; ten classes are guessed with an error of about 90 %.
_BARELY = 0.5
# Epochs that a clock can tell, and that somebody waited for: others give no ratio.
_SHORTEST_S, _LONGEST_S = 1e-6, 1e9
_N_CLOSE = 2  # repeats that make an interval so wide that it needs a word


def of_sweep(settings: StudySettings, trials: Sequence[Trial], n_valid: int) -> Iterator[Finding]:
    """The findings of a sweep, or of a single training, which is a sweep of one value."""
    rows = summary(trials, VARIED.get(settings.experiment))
    known = sorted((row for row in rows if row.errors), key=lambda row: row.mean)
    by_value, is_of_rates = sorted(known, key=_value), settings.experiment == "lr-sweep"
    if known:
        yield best(known[0], n_valid)
    if len(known) > 1:
        yield _second(known[0], known[1], n_valid)
    if settings.experiment == "filter-sweep":
        yield from _costs(by_value, n_valid)
    if is_of_rates and known:
        yield _passing(by_value, n_valid)
    yield from _falling(known, n_valid)
    for row in by_value:
        if row.mean > _BARELY:
            yield _barely(row, by_value if is_of_rates else [], n_valid)
    for row in sorted(rows, key=_value):
        yield from _diverging(row, by_value)
    if known:
        yield from gaps(known, n_valid)
        yield from overfitting(known[0])
    yield from left_out(trials)


def _value(row: SummaryRow) -> float:
    return row.value or 0.0


def _kind(row: SummaryRow) -> str:
    return interval_kind(len(row.errors))


def _each(rows: Sequence[SummaryRow]) -> str:
    """How many trainings stand behind each error: `n = 1 each`, `n = 2 to 3 each`."""
    counts = sorted({len(row.errors) for row in rows})
    return f"n = {' to '.join(map(str, dict.fromkeys((counts[0], counts[-1]))))} each"


def _compared(low: SummaryRow, high: SummaryRow, n_valid: int) -> tuple[bool, str]:
    """Whether the error of `low` is shown to be below that of `high`, and what is known of it."""
    if len(low.errors) == len(high.errors) == 1:
        first, second = low.interval(n_valid), high.interval(n_valid)
        if first is None or second is None or second.low <= first.high:
            return False, (
                "the intervals overlap, and without repeated seeds (n = 1) it cannot be told which "
                "is better; --repeats 5 would tell more"
            )
        return True, (
            "the intervals do not overlap, so the images alone do not explain the difference; what "
            "another seed would change cannot be told from n = 1"
        )
    seeds = {one.seed: error for one, error in zip(low.completed, low.errors, strict=True)}
    differences = [
        error - seeds[one.seed]
        for one, error in zip(high.completed, high.errors, strict=True)
        if one.seed in seeds
    ]
    estimate, n = mean(differences), len(differences)
    if estimate is None:
        pairs = counted(n, "pair") + " of equal seeds"
        same = f", each {signed(differences[0])} points apart" if n > 1 else ""
        return False, f"{pairs}{same}: too little for an interval"
    bounds = " to ".join(map(signed, estimate.interval))
    verdict = "distinguishable" if estimate.excludes_zero else "0 lies in it: not distinguishable"
    if estimate.interval.high < 0:
        verdict = "in these pairs it is the other way round"
    words = (
        f"seed by seed the second has {signed(estimate.value)} points "
        f"(95 % Student interval {bounds}, n = {n} pairs); {verdict}"
    )
    if n == _N_CLOSE:
        factor = student_factor(n)
        words += f" (of {n} pairs the interval is wide: ± {factor:.1f} standard errors)"
    return estimate.interval.low > 0, words


def _second(first: SummaryRow, second: SummaryRow, n_valid: int) -> Finding:
    """Whether the best is distinguishable from the second best."""
    kinds = " and ".join(dict.fromkeys((_kind(first), _kind(second))))
    text = (
        f"Lowest validation errors: {measured(first, n_valid)} with {first.name} and "
        f"{measured(second, n_valid)} with {second.name}, 95 % {kinds} intervals on the same "
        f"{n_valid:,} images: {_compared(first, second, n_valid)[1]}."
    )
    return Finding("best against second", text)


def _costs(by_value: Sequence[SummaryRow], n_valid: int) -> Iterator[Finding]:
    """What each filter size costs in time and gains in error, and whether the gain is shown."""
    timed = [
        (seconds, row)
        for row in by_value
        if (seconds := row.seconds_per_epoch) is not None and _SHORTEST_S < seconds < _LONGEST_S
    ]
    if len(timed) < 2:  # noqa: PLR2004 - nothing to compare
        return
    (base_s, base), *others = timed
    relative = [
        f"{row.name} takes {seconds / base_s:.2g} times as long for {_gain(base.mean - row.mean)}"
        for seconds, row in others
    ]
    # The first epoch of each compiles, and does not count if there are others.
    n_later = sum(len(trial.epochs[1:]) for trial in base.trials)
    n_epochs = n_later or sum(len(trial.epochs) for trial in base.trials)
    yield Finding(
        "cost",
        f"Against {base.name} ({base_s:.3g} s per epoch, the median of {n_epochs}; "
        f"{percent(base.mean)}), {listed(relative)}.",
    )
    (kept_s, kept), *slower = sorted(timed, key=lambda one: (one[0], one[1].value))
    gains: dict[str, list[str]] = {"A gain": [], "No gain": []}
    for seconds, row in slower:
        words = (
            f"{row.name} over {kept.name} ({seconds / kept_s:.2g} times the time, "
            f"{_gain(kept.mean - row.mean)})"
        )
        is_shown = row.mean < kept.mean and _compared(row, kept, n_valid)[0]
        gains["A gain" if is_shown else "No gain"].append(words)
        if is_shown:
            kept_s, kept = seconds, row
    worth = [f"{one} beyond the 95 % intervals: {listed(of)}." for one, of in gains.items() if of]
    yield Finding("worth its time", f"{' '.join(worth)[:-1]}; {_each(by_value)}.")


def _gain(less: float) -> str:
    return f"{points(less)} points {'less' if less >= 0 else 'more'} error"


def _passing(by_value: Sequence[SummaryRow], n_valid: int) -> Finding:
    """Which values pass the goal, and after which epoch their mean error was first below it.

    What diverged is not judged here.
    """
    passing, others = [], []
    n_epochs = 0
    for row in reversed(by_value):
        means = [point.mean if point else 1.0 for point in row.curve("valid_error")]
        n_epochs = max(n_epochs, len(means))
        place = next((at for at, error in enumerate(means, start=1) if error < _GOAL), None)
        if place is None:
            interval = row.interval(n_valid)
            words = f", 95 % {_kind(row)} {between(interval)}" if interval else ""
            others.append(f"{row.name} ({percent(row.mean)}{words})")
        else:
            passing.append(f"{row.name} after epoch {place} ({percent(means[place - 1])})")
    goal = f"{100 - 100 * _GOAL:.0f} % accuracy (an error below {100 * _GOAL:.0f} %)"
    text = f"Learning rates that pass {goal}: {listed(passing) or 'none'}"
    if others:
        text += f"; not within {counted(n_epochs, 'epoch')}: {listed(others)}"
    return Finding("90 % accuracy", f"{text}; {_each(by_value)}.")


def _falling(known: Sequence[SummaryRow], n_valid: int) -> Iterator[Finding]:
    """Which errors still fell at the end; for what barely learns, more epochs are no advice."""
    learning = [row for row in known if row.mean <= _BARELY]
    falls = [(row, fall) for row in learning if (fall := _fall(row, n_valid)) is not None]
    if not falls:
        return
    (row, (n, *_)), *_ = falls
    words = [
        f"{row.name} by {points(by)} ± {points(noise)} points" for row, (_, by, noise) in falls
    ]
    yield Finding(
        "still falling",
        f"The validation error still falls: with {listed(words)} (mean of the last {n} of "
        f"{len(row.completed[0].epochs)} epochs against the {n} before, ± twice the noise; the "
        "last epoch is the lowest), so more epochs are worth a try.",
    )


def _fall(row: SummaryRow, n_valid: int) -> tuple[int, float, float] | None:
    """By how much the error fell at the end, if it is more than noise.

    The rule: the mean of the last quarter of the epochs lies below the mean of the quarter before
    by more than two standard errors of that difference, and the last epoch is the lowest of all.
    The reason: a validation error jumps from epoch to epoch, so that the last two tell nothing; a
    mean over a quarter is steadier, and the last epoch must be the lowest so that what fell before
    and is flat now does not count. The noise of one epoch is the larger of the binomial standard
    deviation on the validation images and what is seen within the two quarters, so that a single
    bad epoch makes no fall.

    Returns:
        The epochs of a quarter, by how much, and two standard errors of that.
    """
    curve = row.curve("valid_error")
    n = max(1, len(curve) // 4)
    means = [point.mean for point in curve if point is not None]
    # Repeats that ended early would change who is in the mean.
    counts = {point.n for point in curve if point is not None}
    complete = len(means) == row.budget and len(counts) == 1 and not row.tally.unfinished
    if not complete or len(means) < 2:  # noqa: PLR2004 - one epoch does not fall
        return None
    before, after = means[-2 * n : -n], means[-n:]
    seen = (variance(before) + variance(after)) / 2 if n > 1 else 0.0
    sd = max(binomial_sd(fmean(before), n_valid), math.sqrt(seen))
    by, noise = fmean(before) - fmean(after), 2 * sd * math.sqrt(2 / n)
    return (n, by, noise) if by > noise and means[-1] < min(means[:-1]) else None


def _barely(row: SummaryRow, others: Sequence[SummaryRow], n_valid: int) -> Finding:
    """That a value barely learns, whether it still falls, and which of the `others` did better.

    The others are by value, this one among them; none where no other can be tried.
    """
    text = (
        f"{capital(row.title)} barely learns: {measured(row, n_valid)} after "
        f"{counted(len(row.completed[0].epochs), 'epoch')} (95 % {_kind(row)} interval), where "
        "guessing is wrong in about 90 %."
    )
    if fall := _fall(row, n_valid):
        n, by, noise = fall
        text += (
            f" It still falls, by {points(by)} ± {points(noise)} points over "
            f"the last {counted(n, 'epoch')} against the {n} before."
        )
    # A larger one first: what is too small only wants for more epochs.
    better = [other for other in others if other.mean <= _BARELY]
    larger = [other for other in better if _value(other) > _value(row)]
    if better:
        other = larger[0] if larger else better[-1]
        word = "larger" if larger else "smaller"
        text += f" Try a {word} learning rate: {other.name} reaches {percent(other.mean)}."
    return Finding("barely learns", text)


def _diverging(row: SummaryRow, known: Sequence[SummaryRow]) -> Iterator[Finding]:
    """Whether a value diverged, when, and which smaller one of the `known` did not."""
    diverged = [trial for trial in row.trials if outcome_of(trial) == "diverged"]
    if not diverged:
        return
    first = min(trial.n_epochs for trial in diverged)
    rate = diverged[0].configuration.learning_rate
    of = f"{len(diverged)} of {counted(n_ended(row.trials) or len(row.trials), 'training')}"
    when = f"first in epoch {first}" if first else "at once"
    text = f"{capital(row.title)} diverged in {of}, {when}."
    smaller = [other for other in known if _value(other) < _value(row)]
    steady = [other for other in smaller if len(other.errors) == len(other.trials)]
    if row.value not in (rate, None):
        text += f" Try a learning rate below {rate:.4g}."
    elif steady:
        text += f" {steady[-1].name} did not, and reaches {percent(steady[-1].mean)}."
    else:
        text += f" Try a learning rate ten times smaller: {rate / 10:.4g}."
    yield Finding("diverges", text)
