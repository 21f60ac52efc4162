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
from typing import TYPE_CHECKING, NamedTuple

from mnist_lab.analysis.intervals import student_factor
from mnist_lab.analysis.learning import learning_curves
from mnist_lab.analysis.trials import n_ended, outcome_of, seconds_per_epoch
from mnist_lab.config import VARIED
from mnist_lab.findings import estimates, groups
from mnist_lab.findings.finding import Finding
from mnist_lab.findings.groups import Group, measured, uncertainty
from mnist_lab.words import (
    between,
    capital,
    counted,
    in_words,
    listed,
    percent,
    points,
    signed,
    value_text,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnist_lab.analysis.learning import LearningCurve
    from mnist_lab.config import StudySettings
    from mnist_lab.records import Trial

# What the exercise sheet asks for: 90 % of the validation images recognised.
_GOAL = 0.1
# Above this a network "barely learns"; ten classes are guessed with an error of about 90 %.
_BARELY = 0.5
# Epochs that a clock can tell, and that somebody waited for: others give no ratio.
_SHORTEST_S, _LONGEST_S = 1e-6, 1e9
_N_CLOSE = 2  # repeats that make an interval so wide that it needs a word


class Difference(NamedTuple):
    """How much higher the second error is than the first: in words, and what it shows."""

    shown: bool
    words: str


class Fall(NamedTuple):
    """By how much an error fell at the end, `n` epochs against the `n` before; `noise` is 2 sd."""

    group: Group
    n: int
    by: float
    noise: float


def sweep(settings: StudySettings, trials: Sequence[Trial], n_valid: int) -> list[Finding]:
    """The findings of a sweep, or of a single training, which is a sweep of one value."""
    varied = VARIED.get(settings.experiment, "learning_rate")
    lines = learning_curves(trials, varied).curves
    alone = settings.experiment not in VARIED
    all_groups = [_group(line, varied, trials, alone=alone) for line in lines]
    known = sorted((group for group in all_groups if group.errors), key=lambda one: one.error)
    found = [groups.best(known[0], n_valid)] if known else []
    found += _second(known, n_valid)
    if settings.experiment == "filter-sweep":
        found += _costs(known, n_valid)
    if settings.experiment == "lr-sweep":
        found += _passing(lines, known, n_valid)
    found += _falling(lines, known, n_valid)
    found += _barely(lines, known, n_valid, compared=settings.experiment == "lr-sweep")
    found += _diverging(all_groups, known)
    if known:
        found += groups.gaps(known, n_valid)
        found += groups.overfitting(known[0])
    return found + groups.left_out(trials)


def _group(line: LearningCurve, varied: str, trials: Sequence[Trial], *, alone: bool) -> Group:
    own = tuple(one for one in trials if getattr(one.configuration, varied) == line.value)
    if alone:
        return Group("this configuration", "this configuration", line.value, own)
    name = value_text(varied, line.value)
    return Group(name, f"{in_words(varied)} {name}", line.value, own)


def _compared(low: Group, high: Group, n_valid: int) -> Difference:
    """Whether the error of `low` is below that of `high`, and what is known of it."""
    if len(low.errors) == len(high.errors) == 1:
        first, second = uncertainty(low, n_valid), uncertainty(high, n_valid)
        if first is None or second is None or second.low <= first.high:
            words = (
                "the intervals overlap, and without repeated seeds (n = 1) it cannot be told which "
                "is better; --repeats 5 would tell more"
            )
            return Difference(shown=False, words=words)
        words = (
            "the intervals do not overlap, so the images alone do not explain the difference; what "
            "another seed would change cannot be told from n = 1"
        )
        return Difference(shown=True, words=words)
    seeds = {trial.seed: trial.valid_error for trial in low.sound}
    differences = [
        other - own
        for trial in high.sound
        if (other := trial.valid_error) is not None and (own := seeds.get(trial.seed)) is not None
    ]
    estimate, n = estimates.mean(differences), len(differences)
    if estimate is None:
        pairs = counted(n, "pair") + " of equal seeds"
        same = f", each {signed(differences[0])} points apart" if n > 1 else ""
        return Difference(shown=False, words=f"{pairs}{same}: too little for an interval")
    bounds = " to ".join(map(signed, estimate.interval))
    shown = estimate.interval.low > 0
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
    return Difference(shown, words)


def _second(known: Sequence[Group], n_valid: int) -> list[Finding]:
    """Whether the best is distinguishable from the second best."""
    if len(known) < 2:  # noqa: PLR2004 - there is no second
        return []
    first, second = known[:2]
    difference = _compared(first, second, n_valid)
    kinds = " and ".join(dict.fromkeys((groups.kind(first), groups.kind(second))))
    text = (
        f"Lowest validation errors: {measured(first, n_valid)} with {first.name} and "
        f"{measured(second, n_valid)} with {second.name}, 95 % {kinds} intervals on the same "
        f"{n_valid:,} images: {difference.words}."
    )
    return [Finding("best against second", text)]


def _costs(known: Sequence[Group], n_valid: int) -> list[Finding]:
    """What each filter size costs in time and gains in error, and whether the gain is shown."""
    timed = [
        (seconds, group)
        for group in known
        if (seconds := seconds_per_epoch(*group.trials)) is not None
        and _SHORTEST_S < seconds < _LONGEST_S
    ]
    timed.sort(key=lambda one: (one[0], one[1].value))
    if len(timed) < 2:  # noqa: PLR2004 - nothing to compare
        return []
    base_s, base = min(timed, key=lambda one: one[1].value)
    others = sorted((one for one in timed if one[1] is not base), key=lambda one: one[1].value)
    relative = [
        f"{group.name} takes {seconds / base_s:.2g} times as long for "
        f"{_gain(base.error - group.error)}"
        for seconds, group in others
    ]
    # The first epoch of each compiles, and does not count if there are others.
    n_later = sum(len(trial.epochs[1:]) for trial in base.trials)
    n_epochs = n_later or sum(len(trial.epochs) for trial in base.trials)
    cost = (
        f"Against {base.name} ({base_s:.3g} s per epoch, the median of {n_epochs}; "
        f"{percent(base.error)}), {listed(relative)}."
    )
    kept_s, kept = timed[0]
    shown, not_shown = [], []
    for seconds, group in timed[1:]:
        words = (
            f"{group.name} over {kept.name} ({seconds / kept_s:.2g} times the time, "
            f"{_gain(kept.error - group.error)})"
        )
        if group.error < kept.error and _compared(group, kept, n_valid).shown:
            shown.append(words)
            kept_s, kept = seconds, group
        else:
            not_shown.append(words)
    sentences = []
    if shown:
        sentences.append(f"A gain beyond the 95 % intervals: {listed(shown)}.")
    if not_shown:
        sentences.append(f"No gain beyond the 95 % intervals: {listed(not_shown)}.")
    worth = f"{' '.join(sentences)[:-1]}; {groups.each(known)}."
    return [Finding("cost", cost), Finding("worth its time", worth)]


def _gain(less: float) -> str:
    return f"{points(less)} points {'less' if less >= 0 else 'more'} error"


def _passing(lines: Sequence[LearningCurve], known: Sequence[Group], n_valid: int) -> list[Finding]:
    """Which values pass the goal, and after which epoch their mean error was first below it.

    What diverged is not judged here.
    """
    passing, others = [], []
    n_epochs = 0
    for group in sorted(known, key=lambda one: -one.value):
        line = next(line for line in lines if line.value == group.value)
        n_epochs = max(n_epochs, len(line.epochs))
        means = [point.mean if point else 1.0 for point in line.valid]
        place = next((row for row, error in enumerate(means, start=1) if error < _GOAL), None)
        if place is None:
            interval = uncertainty(group, n_valid)
            words = f", 95 % {groups.kind(group)} {between(interval)}" if interval else ""
            others.append(f"{group.name} ({percent(group.error)}{words})")
        else:
            passing.append(f"{group.name} after epoch {place} ({percent(means[place - 1])})")
    if not n_epochs:
        return []
    goal = f"{100 - 100 * _GOAL:.0f} % accuracy (an error below {100 * _GOAL:.0f} %)"
    text = f"Learning rates that pass {goal}: "
    text += listed(passing) if passing else "none"
    if others:
        text += f"; not within {counted(n_epochs, 'epoch')}: {listed(others)}"
    return [Finding("90 % accuracy", f"{text}; {groups.each(known)}.")]


def _falling(lines: Sequence[LearningCurve], known: Sequence[Group], n_valid: int) -> list[Finding]:
    """Which errors still fell at the end."""
    falls = [
        fall
        for group in known
        # For what barely learns, more epochs are no advice.
        if group.error <= _BARELY
        for line in lines
        if line.value == group.value and (fall := _fall(line, group, n_valid)) is not None
    ]
    if not falls:
        return []
    n, n_epochs = falls[0].n, len(falls[0].group.sound[0].epochs)
    words = [f"{one.group.name} by {points(one.by)} ± {points(one.noise)} points" for one in falls]
    text = (
        f"The validation error still falls: with {listed(words)} (mean of the last {n} of "
        f"{n_epochs} epochs against the {n} before, ± twice the noise; the last epoch is the "
        "lowest), so more epochs are worth a try."
    )
    return [Finding("still falling", text)]


def _fall(line: LearningCurve, group: Group, n_valid: int) -> Fall | None:
    """By how much the error fell at the end, if it is more than noise.

    The rule: the mean of the last quarter of the epochs lies below the mean of the quarter before
    by more than two standard errors of that difference, and the last epoch is the lowest of all.
    The reason: a validation error jumps from epoch to epoch, so that the last two tell nothing; a
    mean over a quarter is steadier, and the last epoch must be the lowest so that what fell before
    and is flat now does not count. The noise of one epoch is the larger of the binomial standard
    deviation on the validation images and what is seen within the two quarters, so that a single
    bad epoch makes no fall.
    """
    n = max(1, len(line.valid) // 4)
    means = [point.mean for point in line.valid if point is not None]
    # Repeats that ended early would change who is in the mean.
    counts = {point.n for point in line.valid if point is not None}
    complete = len(means) == line.budget and len(counts) == 1 and not line.tally.unfinished
    if not complete or len(means) < 2:  # noqa: PLR2004 - one epoch does not fall
        return None
    before, after = means[-2 * n : -n], means[-n:]
    seen = (variance(before) + variance(after)) / 2 if n > 1 else 0.0
    sd = max(estimates.binomial_sd(fmean(before), n_valid), math.sqrt(seen))
    by, noise = fmean(before) - fmean(after), 2 * sd * math.sqrt(2 / n)
    return Fall(group, n, by, noise) if by > noise and means[-1] < min(means[:-1]) else None


def _barely(
    lines: Sequence[LearningCurve], known: Sequence[Group], n_valid: int, *, compared: bool
) -> list[Finding]:
    """Which values barely learn, whether they still fall, and where the sweep found better.

    Args:
        lines: the curves.
        known: the values that have an error.
        n_valid: how many images validate.
        compared: whether the values are learning rates, of which another can be tried.
    """
    found = []
    by_value = sorted(known, key=lambda one: one.value)
    for place, group in enumerate(by_value):
        if group.error <= _BARELY:
            continue
        n_epochs = len(group.sound[0].epochs)
        text = (
            f"{capital(group.title)} barely learns: {measured(group, n_valid)} after "
            f"{counted(n_epochs, 'epoch')} (95 % {groups.kind(group)} interval), where guessing "
            "is wrong in about 90 %."
        )
        for line in lines:
            fall = _fall(line, group, n_valid) if line.value == group.value else None
            if fall is not None:
                text += (
                    f" It still falls, by {points(fall.by)} ± {points(fall.noise)} points over "
                    f"the last {counted(fall.n, 'epoch')} against the {fall.n} before."
                )
        # A larger one first: what is too small only wants for more epochs.
        better = [
            (word, other)
            for word, others in (("larger", by_value[place + 1 :]), ("smaller", by_value[:place]))
            for other in others
            if other.error <= _BARELY
        ]
        if compared and better:
            word, other = better[0] if better[0][0] == "larger" else better[-1]
            text += f" Try a {word} learning rate: {other.name} reaches {percent(other.error)}."
        found.append(Finding("barely learns", text))
    return found


def _diverging(all_groups: Sequence[Group], known: Sequence[Group]) -> list[Finding]:
    """Which values diverged, when, and which smaller learning rate did not."""
    found = []
    for group in sorted(all_groups, key=lambda one: one.value):
        diverged = [trial for trial in group.trials if outcome_of(trial) == "diverged"]
        if not diverged:
            continue
        first = min(len(trial.epochs) for trial in diverged)
        config = diverged[0].configuration
        n_trained = n_ended(group.trials) or len(group.trials)
        of = f"{len(diverged)} of {counted(n_trained, 'training')}"
        when = f"first in epoch {first}" if first else "at once"
        text = f"{capital(group.title)} diverged in {of}, {when}."
        steady = [
            other
            for other in known
            if other.value < group.value and len(other.errors) == len(other.trials)
        ]
        if group.value != config.learning_rate:
            text += f" Try a learning rate below {config.learning_rate:.4g}."
        elif steady:
            other = max(steady, key=lambda one: one.value)
            text += f" {other.name} did not, and reaches {percent(other.error)}."
        else:
            text += f" Try a learning rate ten times smaller: {group.value / 10:.4g}."
        found.append(Finding("diverges", text))
    return found
