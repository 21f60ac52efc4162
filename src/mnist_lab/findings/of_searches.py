"""What a search shows: the best, how far to trust it, what matters, what failed, what to try next.

Only errors after the same number of epochs are compared: the best with those of its budget, as
``best_trial`` does. What matters is judged from all trials, each by its standing among those that
began with the same budget (``analysis.importance``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnist_lab.analysis import intervals
from mnist_lab.analysis.importance import (
    CHANCE,
    N_GOOD,
    dimensions_of,
    has_failed,
    importance,
    in_common,
    judged,
    last_endings,
    separating,
    standings,
)
from mnist_lab.analysis.outcomes import (
    best_row,
    endings,
    final_error,
    outcome_of,
    tally_of,
)
from mnist_lab.config import place_between
from mnist_lab.findings.common import Finding, best, gaps, left_out, overfitting, source
from mnist_lab.words import (
    between,
    capital,
    counted,
    describe,
    epochs_text,
    in_words,
    listed,
    percent,
    points,
    rounded,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from mnist_lab.analysis.importance import Common, Condition, Importance
    from mnist_lab.analysis.intervals import Estimate, SeedNoise
    from mnist_lab.config import Hyperparameter, StudySettings
    from mnist_lab.records import Trial

_EDGE = 0.05


def of_search(settings: StudySettings, trials: Sequence[Trial], n_valid: int) -> Iterator[Finding]:
    """The findings of random search, Hyperband or BOHB."""
    row = best_row(settings, trials)
    dimensions = list(dimensions_of(settings.space or {}))
    if row is not None:
        (winner,) = row.trials
        ended = [one for one in endings(trials) if final_error(one) is not None]
        rivals = [one for one in ended if one.configuration.epochs == row.budget]
        # The most there can be, with which sweeps are careful, would exaggerate the winner's luck.
        noise = intervals.USUAL
        matters = importance(dimensions, trials)
        claim = f"The best configuration has a validation error of {percent(row.mean)}."
        described = f"{describe(row.configuration)} (trial {winner.trial} of {len(trials)})"
        yield best(row, n_valid, claim, f"{capital(described)}.")
        errors = _errors(rivals)
        others = _errors(one for one in rivals if one.trial != winner.trial)
        if others:
            expected = intervals.expected_of_lowest(errors, n_valid, noise)
            yield from _luck(errors, expected, n_valid, noise)
            which = f" trained for {epochs_text(row.budget)}" * (len(ended) > len(rivals))
            yield from _equals(others, min(errors), expected.value, n_valid, noise, which=which)
        yield from _matters(matters, trials, drawn=settings.experiment != "bohb")
        if shared := in_common(dimensions, matters, trials):
            yield _common(shared, winner)
    yield from _failures(dimensions, trials)
    if row is not None:
        yield from _edges(dimensions, matters, winner)
        if settings.experiment == "random-search":
            yield from _more(trials, ended, n_valid, noise)
        yield from gaps([row], n_valid)
        yield from overfitting(row, "the best")
    yield from left_out(trials)


def _errors(ended: Iterable[Trial]) -> list[float]:
    return [error for one in ended if (error := one.valid_error) is not None]


def _luck(
    errors: Sequence[float], expected: Estimate, n_valid: int, noise: SeedNoise
) -> Iterator[Finding]:
    """How far the lowest of n noisy errors probably lies below its mean over seeds."""
    luck, sd = expected.value - min(errors), noise.sd(expected.value, n_valid)
    if luck < sd / 5:
        return
    yield Finding(
        "luck",
        f"The winner probably looks better than it is, by about {points(luck)} points.",
        f"Expect about {percent(expected.value)} ({between(expected.interval)}) on average over "
        f"other seeds. Its error is the lowest of {len(errors)}. Another seed alone changes an "
        f"error by {points(sd)} points (standard deviation, {source(noise)}). "
        "`mnist-lab race RUN_DIR` retrains the best ones with several seeds.",
    )


def _equals(
    others: Sequence[float],
    lowest: float,
    expected: float,
    n_valid: int,
    noise: SeedNoise,
    *,
    which: str,
) -> Iterator[Finding]:
    """How many of the others may be as good as the best.

    All are measured on the same images, so only their seeds make a difference between them. Each is
    compared with the best as a pair of trainings. The best was chosen for being the lowest and is
    probably lucky, so each is also compared with its expected error.
    """
    n_close, n_lucky = (
        sum(error - reference <= noise.apart(lowest, error, n_valid) for error in others)
        for reference in (lowest, max(lowest, expected))
    )
    of = (f"the {len(others)} others" if len(others) > 1 else "the other one") + which
    if not n_lucky:
        claim = f"The best is better than {'each of ' * (len(others) > 1)}{of}."
    else:
        who = capital(of) if n_lucky == len(others) else f"{n_lucky} of {of}"
        claim = f"{who} may be as good as the best."
        if n_close < n_lucky:
            who = f"{n_close or 'None'} of {of}" if len(others) > 1 else capital(of)
            more = f"{n_lucky}" if len(others) > 1 else "but only"
            claim = f"{who} may be as good as the best, {more} if its seed was lucky."
    second = min(others)
    apart = points(noise.apart(lowest, second, n_valid))
    yield Finding(
        "best against others",
        claim,
        f"The second best has {percent(second)}. With one seed each, two trainings on the same "
        f"images differ by chance by up to {apart} points in 19 of 20 pairs (seeds' "
        f"noise {source(noise)}).",
    )


def _matters(
    matters: Sequence[Importance], trials: Sequence[Trial], *, drawn: bool
) -> Iterator[Finding]:
    """Which hyperparameters matter, given the others, and how much.

    Args:
        matters: the importance of each hyperparameter.
        trials: of the search.
        drawn: whether all were drawn at random; if not, shares depend on the proposals.
    """
    if not matters:
        return
    seen = [one for one in matters if one.matters]
    unseen = [in_words(one.name) for one in matters if not one.matters]
    n = len(standings(trials))
    how = f"n = {n}"
    among = f"Among the {n} that learned, low" if n < len(last_endings(trials)) else "Low"
    how += "" if drawn else "; BOHB does not draw all at random, so shares depend on what it tried"
    if not seen:
        which = "No hyperparameter is" if len(unseen) > 1 else f"{capital(unseen[0])} is not"
        claim = f"{which} shown to matter."
        yield Finding("what matters", claim, f"It takes more trials or larger effects ({how}).")
        return
    first, *rest = (in_words(one.name) for one in seen)
    claim = (
        f"{capital(first)} matters most, then {listed(rest)}."
        if rest
        else (f"{capital(first)} matters" + ("; no other is shown to." if unseen else "."))
    )
    shares = [f"{_low_with(one)} ({_share(one)})" for one in seen]
    numbers = (
        f"{among} errors come with {listed(shares)}. In brackets: each one's own share of the "
        f"variance of the trials' ranks, given the others, with its 95 % interval ({how})."
    )
    if unseen and rest:
        numbers += f" Not shown to matter: {listed(unseen)}."
    yield Finding("what matters", claim, numbers)


def _low_with(one: Importance) -> str:
    """`a higher learning rate`, `a medium number of filters`, `filter size 5`."""
    words = {"higher": "a higher", "lower": "a lower", "in between": "a medium"}
    name = in_words(one.name)
    if isinstance(one.better, str) and one.better in words:
        return f"{words[one.better]} {name}"
    return f"{name} {one.better}"


def _share(one: Importance) -> str:
    low, high = one.interval
    digits = 0 if one.share >= 0.1 else 1  # noqa: PLR2004 - two significant digits
    return f"{100 * one.share:.{digits}f} %, {100 * low:.{digits}f} to {100 * high:.{digits}f}"


def _common(shared: Common, winner: Trial) -> Finding:
    """Which values of the most important number the good trials share."""
    name, low, high, n, budget, others = shared
    of, how = f"the {n}", " Trials that began with the same number of epochs are ranked together."
    if budget is not None:
        of, how = f"the {n} trained for {epochs_text(budget)}", ""
    own, n_within = getattr(winner.configuration, name), shared.n_within
    outside = "" if low <= own <= high else f" The best itself has {own:.3g}."
    return Finding(
        "in common",
        f"The best {N_GOOD} of {of} have a {in_words(name)} of {low:.3g} to {high:.3g}.{outside}",
        f"{n_within or 'None'} of the {len(others)} others {'lie' if n_within > 1 else 'lies'} "
        f"there too; these others go from {others[0]:.3g} to {others[-1]:.3g}.{how}",
    )


def _failures(dimensions: Sequence[Hyperparameter], trials: Sequence[Trial]) -> Iterator[Finding]:
    """How many learned nothing, the simplest rule for which, and what to do about it."""
    ended = judged(trials)
    failed = [one for one in ended if has_failed(one)]
    if not failed:
        return
    n_diverged = sum(outcome_of(one) == "diverged" for one in failed)
    n_stuck, n_sound = len(failed) - n_diverged, len(ended) - len(failed)
    how = [f"{n_diverged} diverged"] * bool(n_diverged)
    how += [f"{n_stuck} stayed above {100 * CHANCE:.0f} % error"] * bool(n_stuck)
    numbers = capital(listed(how))
    last, budgets = last_endings(trials), {one.configuration.epochs for one in failed}
    of, how_long = counted(len(last), "trial"), ""
    if len(budgets) == 1:
        budget = budgets.pop()
        how_long = f" in {epochs_text(budget)}"
        n_as_long = sum(one.configuration.epochs >= budget for one in last)
        if n_as_long < len(last):
            of = f"the {n_as_long} trained that long"
    claim = f"{len(failed)} of {of} learned next to nothing{how_long}"
    rule = separating(dimensions, trials)
    if rule is None:
        rates = sorted({one.configuration.learning_rate for one in failed})
        shown = f"learning rate {rates[0]:.3g}"
        if len(rates) > 1:
            shown = f"learning rates of {rates[0]:.3g} to {rates[-1]:.3g}"
        numbers += f", with {shown}"
        numbers += "; no simple rule separates them." if len(failed) > 2 else "."  # noqa: PLR2004
        yield Finding("learned nothing", f"{claim}.", numbers)
        return
    conditions, lost = zip(*sorted(zip(rule.conditions, rule.lost, strict=True)), strict=True)
    joined = (" and " if rule.every else " or ").join(
        _in_words(one, again=place > 0 and one.name == conditions[0].name)
        for place, one in enumerate(conditions)
    )
    who = "those" if not rule.misses else f"{len(failed) - rule.misses} of them"
    taken = f"wrongly includes {rule.wrongly or 'none'} of the {n_sound} others"
    bounds = [_bound(one) for one in conditions]
    n_lost = rule.wrongly
    if rule.every:
        n_lost = min(lost)
        bounds = [bounds[lost.index(n_lost)]]
    yield Finding(
        "learned nothing",
        f"{claim}: {who} with {joined}.",
        f"{numbers}. The rule misses {rule.misses or 'none'} and {taken}. Shuffled outcomes "
        f"give a rule as good with p = {rule.p:.2g}. In the search space (--space), "
        f"{listed(bounds)} would avoid {'them' if not rule.misses else 'these'} and leave "
        f"out {n_lost or 'none'} of the {n_sound} that learned.",
    )


def _in_words(one: Condition, *, again: bool = False) -> str:
    """A condition in words, without the name if the condition before has the same one."""
    name, value = in_words(one.name), rounded(one.value)
    words = {
        "<": f"below {value}",
        ">": f"above {value}",
        "<=": f"of {value} or less",
        ">=": f"of {value} or more",
        "is": value,
        "is not": f"other than {value}",
    }[one.sign]
    return words if again else f"{name} {words}" if one.sign == "is" else f"a {name} {words}"


def _bound(one: Condition) -> str:
    """What keeps a search out of where the condition holds."""
    name, value = in_words(one.name), rounded(one.value)
    return {
        "<": f"a lower bound of {value} for the {name}",
        ">": f"an upper bound of {value} for the {name}",
        "<=": f"only a {name} above {value}",
        ">=": f"only a {name} below {value}",
        "is": f"no {name} {value}",
        "is not": f"only {name} {value}",
    }[one.sign]


def _edges(
    dimensions: Sequence[Hyperparameter], matters: Sequence[Importance], winner: Trial
) -> Iterator[Finding]:
    """Whether the best lies near the edge of the space, on the scale of each range."""
    near, beyond = [], []
    n_ranges = 0
    better = {one.name: one.better for one in matters if one.matters}
    for one in dimensions:
        if one.lower is None or one.upper is None or one.lower >= one.upper:
            continue
        n_ranges += 1
        value = getattr(winner.configuration, one.name)
        place = place_between(one.lower, one.upper, value, log=one.scale == "log" and one.lower > 0)
        if _EDGE < place < 1 - _EDGE:
            continue
        near.append(f"{in_words(one.name)} {value:.4g} ({one.lower:.4g} to {one.upper:.4g})")
        side = "lower" if place <= _EDGE else "higher"
        if better.get(one.name) == side:
            beyond.append(f"a {side} {in_words(one.name)}")
    if not near:
        return
    chance = 100 * (1 - (1 - 2 * _EDGE) ** n_ranges)
    claim = f"The best lies near the edge of the search space: {listed(near)}."
    if beyond:
        advice = (
            f"Other trials are also better with {listed(beyond)}: widen the range there (--space)."
        )
    else:
        advice = "Other trials do not show that it is better there, so this may be chance:"
        advice += f" {chance:.0f} % of random configurations lie as near to an end."
    yield Finding("edge", claim, advice)


def _more(
    trials: Sequence[Trial], ended: Sequence[Trial], n_valid: int, noise: SeedNoise
) -> Iterator[Finding]:
    """How many more iterations of random search are worth it.

    Iterations of random search are exchangeable: each of n + k is the best with the same
    probability, so one of k more beats the best of n with probability k / (n + k); an even chance
    takes n more (A. Renyi (1962), on records: "Theorie des elements saillants d'une suite
    d'observations"). The expected number is infinite, because the sum of n / (n + k) over all k is.
    A diverged iteration counts as lost. The second half gained the expected minimum of a random
    half minus the minimum of all.
    """
    errors = _errors(ended)
    n = len(errors) + tally_of(trials).diverged
    if len(errors) < 2 or len({one.configuration.epochs for one in ended}) > 1:  # noqa: PLR2004
        return
    lowest, expected = min(errors), intervals.best_of(errors, len(errors) // 2)
    gain, sd = expected - lowest, noise.sd(lowest, n_valid)
    less = "less" if gain < sd else "more"
    yield Finding(
        "more iterations",
        f"Another {n} configurations have an even chance of beating this best.",
        f"Doubling them to {n} gained {points(gain)} points (a random half has {percent(expected)} "
        f"on average), {less} than another seed changes ({points(sd)} points). The next one "
        f"alone beats the best with a probability of {100 / (n + 1):.1f} %.",
    )
