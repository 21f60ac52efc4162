"""What a search shows: the best, how far to trust it, what matters, where to look next.

Only trainings of the same number of epochs are compared: the best with those of its budget, as
``best_trial`` does. What the good ones have in common is asked at the budget
that most trainings have; with Hyperband that is the smallest, where nothing was selected yet.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

from mnist_lab.analysis import intervals
from mnist_lab.analysis.outcomes import best_row, endings, final_error, outcome_of, tally_of
from mnist_lab.config import Hyperparameter, place_between
from mnist_lab.findings.common import Finding, best, gaps, left_out, overfitting
from mnist_lab.words import between, counted, in_words, listed, percent, points, signed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mnist_lab.analysis.intervals import Estimate
    from mnist_lab.analysis.outcomes import SummaryRow
    from mnist_lab.config import StudySettings
    from mnist_lab.records import Trial

_N_GOOD = 5  # trials of which is told what they have in common
_EDGE = 0.05


class Ended(NamedTuple):
    """A training that completed its budget, and its error."""

    trial: Trial
    error: float


def of_search(settings: StudySettings, trials: Sequence[Trial], n_valid: int) -> list[Finding]:
    """The findings of random search, Hyperband or BOHB."""
    row = best_row(settings, trials)
    if row is None:
        return _diverged(trials) + left_out(trials)
    (winner,) = row.trials
    # By trial, as what is drawn at random below must not depend on which training ended first.
    ended = sorted(
        (Ended(one, error) for one in endings(trials) if (error := final_error(one)) is not None),
        key=lambda one: one.trial.trial,
    )
    rivals = [one for one in ended if one.trial.configuration.epochs == row.budget]
    dimensions = list(_dimensions(settings.space or {}))
    found = [best(row, n_valid, f" (number {winner.trial} of {len(trials)})")]
    others = sorted(one.error for one in rivals if one.trial.trial != winner.trial)
    found += _equals(row, others, n_valid)
    found += _optimism([one.error for one in rivals], n_valid)
    drawn = settings.experiment != "bohb"
    found += _common(dimensions, ended, tally_of(trials).diverged, drawn=drawn)
    found += _edges(dimensions, winner)
    if settings.experiment == "random-search":
        found += _more(trials, ended, n_valid)
    found += gaps([row], n_valid) + overfitting(row)
    return found + _diverged(trials) + left_out(trials)


def _dimensions(space: dict[str, Any]) -> Iterator[Hyperparameter]:
    """The hyperparameters of a space in ConfigSpace's JSON that are always active.

    Where a condition leaves one out, a configuration holds the base's value, which nobody drew.
    Bounds are those of uniform ranges; nobody meant those of the others to be reached.
    """
    conditional = _children(space.get("conditions", []))
    for json in space.get("hyperparameters", []):
        kind, one = json["type"], Hyperparameter.from_json(json)
        if one.name in conditional or kind == "constant":
            continue
        if one.distribution != "uniform":
            one = one._replace(lower=None, upper=None)
        # The values of an ordinal have an order, as numbers have.
        yield one._replace(choices=()) if kind == "ordinal" else one


def _children(conditions: Any) -> set[str]:
    """The hyperparameters that depend on others; conditions may be nested."""
    if isinstance(conditions, dict):
        own = {conditions["child"]} if "child" in conditions else set()
        return own | _children(list(conditions.values()))
    if isinstance(conditions, list):
        return {name for one in conditions for name in _children(one)}
    return set()


def _equals(row: SummaryRow, others: Sequence[float], n_valid: int) -> list[Finding]:
    """How many of the others' errors, the lowest first, cannot be told from the best's."""
    if not others:
        return []
    high = intervals.error_interval(row.errors, n_valid).high
    bounds = [intervals.error_interval([error], n_valid) for error in others]
    n_close = sum(one.low <= high for one in bounds)
    budget = counted(row.budget, "epoch")
    text = (
        f"The second best has {percent(others[0])} ({between(bounds[0])}); "
        f"{n_close} of the {len(others)} others with {budget} have a 95 % Wilson "
        "interval that overlaps the best's, and from n = 1 each it cannot be told which is better."
        if n_close
        else f"The second best has {percent(others[0])}: none of the {len(others)} others with "
        f"{budget} has a 95 % Wilson interval that overlaps the best's; what "
        "another seed would change cannot be told from n = 1 each."
    )
    return [Finding("best against others", text)]


def _optimism(errors: Sequence[float], n_valid: int) -> list[Finding]:
    """How much lower than its true error the lowest of n noisy errors is."""
    if len(errors) < 2:  # noqa: PLR2004 - one error is not chosen
        return []
    bias = intervals.optimism(errors, n_valid)
    low, high = map(signed, bias.interval)
    text = (
        f"The lowest of {len(errors)} errors, each on {n_valid:,} images, is lucky by about "
        f"{points(bias.value)} points (parametric bootstrap, middle 95 % {low} to {high}): expect "
        f"about {percent(min(1.0, min(errors) + bias.value))} on other images."
    )
    return [Finding("optimism", text)]


def _common(
    dimensions: Sequence[Hyperparameter], ended: Sequence[Ended], n_out: int, *, drawn: bool
) -> list[Finding]:
    """What goes with a low error, as far as it can be told from chance.

    Args:
        dimensions: of the space.
        ended: trainings with an error.
        n_out: how many diverged.
        drawn: at random, all of them; else one hyperparameter may stand for another.
    """
    budgets = Counter(one.trial.configuration.epochs for one in ended)
    budget = max(budgets, key=lambda one: (budgets[one], one))
    equal = [one for one in ended if one.trial.configuration.epochs == budget]
    errors = [one.error for one in equal]
    told: list[tuple[float, str]] = []
    n_asked = n_told = 0
    for one in dimensions:
        values = [getattr(ending.trial.configuration, one.name) for ending in equal]
        asked = list(
            _choices(one, values, errors) if one.choices else _tendency(one, values, errors)
        )
        shown = [entry for entry in asked if entry[2].excludes_zero]
        n_asked, n_told = n_asked + bool(asked), n_told + bool(shown)
        told += [(weight, words) for weight, words, _ in shown]
    if not n_asked:
        return []
    out = f", {n_out} diverged left out" if n_out else ""
    how = f"n = {len(equal)} after {counted(budget, 'epoch')}{out}"
    how += "" if drawn else " of BOHB, which does not draw all of them at random"
    if not told:
        text = (
            f"None of {counted(n_asked, 'hyperparameter')} is seen to matter: every 95 % bootstrap "
            f"interval (rank correlation with the error, difference of medians) has 0 ({how})."
        )
        return [Finding("in common", text)]
    ordered = [words for _, words in sorted(told, key=lambda one: -one[0])]
    text = (
        f"A lower error goes with {listed(ordered)}; {how}, 95 % percentile bootstrap intervals, "
        f"which exclude 0 for {n_told} of {counted(n_asked, 'hyperparameter')}."
    )
    return [Finding("in common", text + _good(dimensions, equal))]


def _good(dimensions: Sequence[Hyperparameter], equal: Sequence[Ended]) -> str:
    """The learning rates of the best few, where there are enough others."""
    varies = any(one.name == "learning_rate" for one in dimensions)
    if not varies or len(equal) < 4 * _N_GOOD:
        return ""
    good = sorted(equal, key=lambda one: one.error)[:_N_GOOD]
    rates = [one.trial.configuration.learning_rate for one in good]
    return f" The best {_N_GOOD} have learning rates of {min(rates):.3g} to {max(rates):.3g}."


def _tendency(
    one: Hyperparameter, values: Sequence[float], errors: Sequence[float]
) -> Iterator[tuple[float, str, Estimate]]:
    """Whether the error goes with a range: how much it says, in words and as a correlation."""
    found = intervals.rank_correlation(values, errors)
    if found is not None:
        more = "higher" if found.value < 0 else "lower"
        low, high = found.interval
        bounds = f"{found.value:.2f}, {low:.2f} to {high:.2f}"
        yield abs(found.value), f"a {more} {in_words(one.name)} (rank correlation {bounds})", found


def _choices(
    one: Hyperparameter, values: Sequence[Any], errors: Sequence[float]
) -> Iterator[tuple[float, str, Estimate]]:
    """Each choice against the others; of two choices the second against the first."""
    asked = one.choices[1:] if len(one.choices) == 2 else one.choices  # noqa: PLR2004
    for choice in asked:
        pairs = list(zip(values, errors, strict=True))
        own = [error for value, error in pairs if value == choice]
        others = [error for value, error in pairs if value != choice]
        found = intervals.median_difference(own, others)
        if found is not None:
            low, high = map(signed, found.interval)
            rest = one.choices[0] if len(one.choices) == 2 else "others"  # noqa: PLR2004
            better, worse = (choice, rest) if found.value < 0 else (rest, choice)
            words = (
                f"{in_words(one.name)} {better} rather than {worse} (median of {choice} less that "
                f"of {rest} {signed(found.value)} points, {low} to {high})"
            )
            yield 0.0, words, found


def _edges(dimensions: Sequence[Hyperparameter], winner: Trial) -> list[Finding]:
    """Whether the best lies at the edge of the space, on the scale of each range."""
    near, depths = [], []
    for one in dimensions:
        if one.lower is None or one.upper is None or one.lower >= one.upper:
            continue
        value = getattr(winner.configuration, one.name)
        place = place_between(one.lower, one.upper, value, log=one.scale == "log" and one.lower > 0)
        depth = max(0.0, min(place, 1 - place))
        depths.append((depth, one, value))
        if depth <= _EDGE:
            near.append(f"{in_words(one.name)} {value:.4g} ({one.lower:.4g} to {one.upper:.4g})")
    if not depths:
        return []
    chance = 100 * (1 - (1 - 2 * _EDGE) ** len(depths))
    if not near:
        depth, one, value = min(depths, key=lambda entry: entry[0])
        text = (
            f"The best lies inside the space: nearest to a bound is {in_words(one.name)} "
            f"{value:.4g}, {100 * depth:.0f} % of its range away."
        )
        return [Finding("edge", text)]
    text = (
        f"The best is at the edge of the space, within {100 * _EDGE:.0f} % of the end of a range: "
        f"{listed(near)}. About {chance:.0f} % of random configurations do; widening the range "
        "there (--space) would tell whether better ones lie beyond."
    )
    return [Finding("edge", text)]


def _more(trials: Sequence[Trial], ended: Sequence[Ended], n_valid: int) -> list[Finding]:
    """How many more iterations of random search are worth it.

    Iterations of random search are exchangeable: each of n + k is the best with the same
    probability, so one of k more beats the best of n with probability k / (n + k); an even chance
    takes n more (A. Renyi (1962), on records: "Theorie des elements saillants d'une suite
    d'observations"). The expected number is infinite, as the sum of n / (n + k) over all k is. A
    diverged iteration is one that lost. What the second half was worth is the expected minimum of
    a half drawn at random, less the minimum of all.
    """
    errors = [one.error for one in ended]
    n = len(errors) + tally_of(trials).diverged
    if len(errors) < 2 or len({one.trial.configuration.epochs for one in ended}) > 1:  # noqa: PLR2004
        return []
    half = len(errors) // 2
    lowest, expected = min(errors), intervals.best_of(errors, half)
    text = (
        f"Random search's iterations are alike, so the next one beats the best of {n} with "
        f"probability 1/{n + 1} = {100 / (n + 1):.1f} %, and an even chance takes {n} more. "
        f"A random half of them would have reached {percent(expected)} on average: the other half "
        f"gained {points(expected - lowest)} points, where the standard error on {n_valid:,} "
        f"images is {points(intervals.binomial_sd(lowest, n_valid))}."
    )
    return [Finding("more iterations", text)]


def _diverged(trials: Sequence[Trial]) -> list[Finding]:
    """How many configurations diverged, and at which learning rates."""
    rates = [t.configuration.learning_rate for t in trials if outcome_of(t) == "diverged"]
    if not rates:
        return []
    text = (
        f"{len(rates)} of {counted(len(trials), 'configuration')} diverged, with learning rates of "
        f"{min(rates):.3g} to {max(rates):.3g}."
    )
    return [Finding("diverged", text)]
