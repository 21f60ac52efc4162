"""What a search shows: the best, how far to trust it, what matters, where to look next.

Only trainings of the same number of epochs are compared: the best with those of its budget, as
``best_trial`` does. What the good ones have in common is asked at the budget
that most trainings have; with Hyperband that is the smallest, where nothing was selected yet.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from mnist_lab.analysis import intervals
from mnist_lab.analysis.outcomes import best_row, endings, final_error, outcome_of, tally_of
from mnist_lab.config import Hyperparameter, place_between
from mnist_lab.findings.common import Finding, best, gaps, left_out, overfitting
from mnist_lab.words import between, counted, epochs_text, in_words, listed, percent, points, signed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from mnist_lab.analysis.intervals import Estimate
    from mnist_lab.analysis.outcomes import SummaryRow
    from mnist_lab.config import StudySettings
    from mnist_lab.records import Trial

_N_GOOD = 5  # trials of which is told what they have in common
_EDGE = 0.05


def of_search(settings: StudySettings, trials: Sequence[Trial], n_valid: int) -> Iterator[Finding]:
    """The findings of random search, Hyperband or BOHB."""
    row = best_row(settings, trials)
    if row is not None:
        (winner,) = row.trials
        # By trial, as what is drawn at random below must not depend on which training ended first.
        ended = [one for one in endings(trials) if final_error(one) is not None]
        ended.sort(key=lambda one: one.trial)
        rivals = [one for one in ended if one.configuration.epochs == row.budget]
        dimensions = list(_dimensions(settings.space or {}))
        yield best(row, n_valid, f" (number {winner.trial} of {len(trials)})")
        yield from _equals(row, _errors(o for o in rivals if o.trial != winner.trial), n_valid)
        yield from _optimism(_errors(rivals), n_valid)
        drawn = settings.experiment != "bohb"
        yield from _common(dimensions, ended, tally_of(trials).diverged, drawn=drawn)
        yield from _edges(dimensions, winner)
        if settings.experiment == "random-search":
            yield from _more(trials, ended, n_valid)
        yield from gaps([row], n_valid)
        yield from overfitting(row)
    rates = [t.configuration.learning_rate for t in trials if outcome_of(t) == "diverged"]
    if rates:
        yield Finding(
            "diverged",
            f"{len(rates)} of {counted(len(trials), 'configuration')} diverged, with learning "
            f"rates of {min(rates):.3g} to {max(rates):.3g}.",
        )
    yield from left_out(trials)


def _errors(ended: Iterable[Trial]) -> list[float]:
    return [error for one in ended if (error := one.valid_error) is not None]


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


def _equals(row: SummaryRow, others: Sequence[float], n_valid: int) -> Iterator[Finding]:
    """How many of the others' errors cannot be told from the best's."""
    if not others:
        return
    high = intervals.error_interval(row.errors, n_valid).high
    bounds = [intervals.error_interval([error], n_valid) for error in sorted(others)]
    n_close = sum(one.low <= high for one in bounds)
    second, budget = percent(min(others)), epochs_text(row.budget)
    text = (
        f"The second best has {second} ({between(bounds[0])}); "
        f"{n_close} of the {len(others)} others with {budget} have a 95 % Wilson "
        "interval that overlaps the best's, and from n = 1 each it cannot be told which is better."
        if n_close
        else f"The second best has {second}: none of the {len(others)} others with "
        f"{budget} has a 95 % Wilson interval that overlaps the best's; what "
        "another seed would change cannot be told from n = 1 each."
    )
    yield Finding("best against others", text)


def _optimism(errors: Sequence[float], n_valid: int) -> Iterator[Finding]:
    """How much lower than its true error the lowest of n noisy errors is."""
    if len(errors) < 2:  # noqa: PLR2004 - one error is not chosen
        return
    bias = intervals.optimism(errors, n_valid)
    low, high = map(signed, bias.interval)
    yield Finding(
        "optimism",
        f"The lowest of {len(errors)} errors, each on {n_valid:,} images, is lucky by about "
        f"{points(bias.value)} points (parametric bootstrap, middle 95 % {low} to {high}): expect "
        f"about {percent(min(1.0, min(errors) + bias.value))} on other images.",
    )


def _common(
    dimensions: Sequence[Hyperparameter], ended: Sequence[Trial], n_out: int, *, drawn: bool
) -> Iterator[Finding]:
    """What goes with a low error, as far as it can be told from chance.

    Args:
        dimensions: of the space.
        ended: trainings with an error.
        n_out: how many diverged.
        drawn: at random, all of them; else one hyperparameter may stand for another.
    """
    budgets = Counter(one.configuration.epochs for one in ended)
    budget = max(budgets, key=lambda one: (budgets[one], one))
    equal = [one for one in ended if one.configuration.epochs == budget]
    told: list[tuple[float, str]] = []
    n_asked = n_told = 0
    for one in dimensions:
        values = [getattr(ending.configuration, one.name) for ending in equal]
        asked = list((_choices if one.choices else _tendency)(one, values, _errors(equal)))
        shown = [(weight, words) for weight, words, found in asked if found.excludes_zero]
        n_asked, n_told = n_asked + bool(asked), n_told + bool(shown)
        told += shown
    if not n_asked:
        return
    how = f"n = {len(equal)} after {epochs_text(budget)}"
    how += f", {n_out} diverged left out" * bool(n_out)
    how += "" if drawn else " of BOHB, which does not draw all of them at random"
    text = (
        f"None of {counted(n_asked, 'hyperparameter')} is seen to matter: every 95 % bootstrap "
        f"interval (rank correlation with the error, difference of medians) has 0 ({how})."
    )
    if told:
        ordered = [words for _, words in sorted(told, key=lambda one: -one[0])]
        text = (
            f"A lower error goes with {listed(ordered)}; {how}, 95 % percentile bootstrap "
            f"intervals, which exclude 0 for {n_told} of {counted(n_asked, 'hyperparameter')}."
        )
    # Where there are enough others.
    if told and len(equal) >= 4 * _N_GOOD and any(o.name == "learning_rate" for o in dimensions):
        good = sorted(equal, key=lambda one: one.valid_error or 0.0)[:_N_GOOD]
        rates = [one.configuration.learning_rate for one in good]
        text += f" The best {_N_GOOD} have learning rates of {min(rates):.3g} to {max(rates):.3g}."
    yield Finding("in common", text)


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
    is_pair = len(one.choices) == 2  # noqa: PLR2004
    rest = one.choices[0] if is_pair else "others"
    for choice in one.choices[is_pair:]:
        pairs = list(zip(values, errors, strict=True))
        own = [error for value, error in pairs if value == choice]
        found = intervals.median_difference(own, [e for value, e in pairs if value != choice])
        if found is not None:
            low, high = map(signed, found.interval)
            better, worse = (choice, rest) if found.value < 0 else (rest, choice)
            words = (
                f"{in_words(one.name)} {better} rather than {worse} (median of {choice} less that "
                f"of {rest} {signed(found.value)} points, {low} to {high})"
            )
            yield 0.0, words, found


def _edges(dimensions: Sequence[Hyperparameter], winner: Trial) -> Iterator[Finding]:
    """Whether the best lies at the edge of the space, on the scale of each range."""
    depths = []
    for one in dimensions:
        if one.lower is None or one.upper is None or one.lower >= one.upper:
            continue
        value = getattr(winner.configuration, one.name)
        place = place_between(one.lower, one.upper, value, log=one.scale == "log" and one.lower > 0)
        words, bounds = f"{in_words(one.name)} {value:.4g}", f"{one.lower:.4g} to {one.upper:.4g}"
        depths.append((max(0.0, min(place, 1 - place)), words, bounds))
    if not depths:
        return
    near = [f"{words} ({bounds})" for depth, words, bounds in depths if depth <= _EDGE]
    depth, words, _ = min(depths, key=lambda entry: entry[0])
    chance = 100 * (1 - (1 - 2 * _EDGE) ** len(depths))
    yield Finding(
        "edge",
        f"The best is at the edge of the space, within {100 * _EDGE:.0f} % of the end of a range: "
        f"{listed(near)}. About {chance:.0f} % of random configurations do; widening the range "
        "there (--space) would tell whether better ones lie beyond."
        if near
        else f"The best lies inside the space: nearest to a bound is {words}, "
        f"{100 * depth:.0f} % of its range away.",
    )


def _more(trials: Sequence[Trial], ended: Sequence[Trial], n_valid: int) -> Iterator[Finding]:
    """How many more iterations of random search are worth it.

    Iterations of random search are exchangeable: each of n + k is the best with the same
    probability, so one of k more beats the best of n with probability k / (n + k); an even chance
    takes n more (A. Renyi (1962), on records: "Theorie des elements saillants d'une suite
    d'observations"). The expected number is infinite, as the sum of n / (n + k) over all k is. A
    diverged iteration is one that lost. What the second half was worth is the expected minimum of
    a half drawn at random, less the minimum of all.
    """
    errors = _errors(ended)
    n = len(errors) + tally_of(trials).diverged
    if len(errors) < 2 or len({one.configuration.epochs for one in ended}) > 1:  # noqa: PLR2004
        return
    lowest, expected = min(errors), intervals.best_of(errors, len(errors) // 2)
    yield Finding(
        "more iterations",
        f"Random search's iterations are alike, so the next one beats the best of {n} with "
        f"probability 1/{n + 1} = {100 / (n + 1):.1f} %, and an even chance takes {n} more. "
        f"A random half of them would have reached {percent(expected)} on average: the other half "
        f"gained {points(expected - lowest)} points, where the standard error on {n_valid:,} "
        f"images is {points(intervals.binomial_sd(lowest, n_valid))}.",
    )
