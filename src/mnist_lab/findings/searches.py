"""What a search shows: the best, how far to trust it, what matters, where to look next.

Only trainings of the same number of epochs are compared: the best with those of its budget, as
``best_trial`` does. What the good ones have in common is asked at the budget
that most trainings have; with Hyperband that is the smallest, where nothing was selected yet.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from mnist_lab.analysis.trials import best_trial, endings, final_error, outcome_of, tally_of
from mnist_lab.config import Hyperparameter, place_between
from mnist_lab.findings import estimates, groups
from mnist_lab.findings.finding import Finding
from mnist_lab.findings.groups import Group
from mnist_lab.words import between, counted, in_words, listed, percent, points, signed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mnist_lab.config import StudySettings
    from mnist_lab.findings.estimates import Estimate
    from mnist_lab.records import Trial

_N_GOOD = 5  # trials of which is told what they have in common
_EDGE = 0.05


def search(settings: StudySettings, trials: Sequence[Trial], n_valid: int) -> list[Finding]:
    """The findings of random search, Hyperband or BOHB."""
    winner = best_trial(trials)
    if winner is None:
        return _diverged(trials) + groups.left_out(trials)
    ended = [trial for trial in endings(trials) if final_error(trial) is not None]
    group = Group("the best", "the best", winner.configuration.learning_rate, (winner,))
    dimensions = list(_dimensions(settings.space or {}))
    place = f" (number {winner.trial} of {len(trials)})"
    found = [groups.best(group, n_valid, place)]
    found += _equals(winner, ended, n_valid)
    found += _optimism(winner, ended, n_valid)
    drawn = settings.experiment != "bohb"
    found += _common(dimensions, ended, tally_of(trials).diverged, drawn=drawn)
    found += _edges(dimensions, winner)
    if settings.experiment == "random-search":
        found += _more(trials, ended, n_valid)
    found += groups.gaps([group], n_valid)
    found += groups.overfitting(group)
    return found + _diverged(trials) + groups.left_out(trials)


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


def _equals(winner: Trial, ended: Sequence[Trial], n_valid: int) -> list[Finding]:
    """How many configurations cannot be told from the best."""
    budget = winner.configuration.epochs
    others = sorted(
        _error(trial)
        for trial in ended
        if trial.configuration.epochs == budget and trial.trial != winner.trial
    )
    if not others:
        return []
    high = groups.wilson(_error(winner), n_valid).high
    n_close = sum(groups.wilson(error, n_valid).low <= high for error in others)
    text = (
        f"The second best has {percent(others[0])} ({between(groups.wilson(others[0], n_valid))}); "
        f"{n_close} of the {len(others)} others with {counted(budget, 'epoch')} have a 95 % Wilson "
        "interval that overlaps the best's, and from n = 1 each it cannot be told which is better."
        if n_close
        else f"The second best has {percent(others[0])}: none of the {len(others)} others with "
        f"{counted(budget, 'epoch')} has a 95 % Wilson interval that overlaps the best's; what "
        "another seed would change cannot be told from n = 1 each."
    )
    return [Finding("best against others", text)]


def _optimism(winner: Trial, ended: Sequence[Trial], n_valid: int) -> list[Finding]:
    """How much lower than its true error the lowest of n noisy errors is."""
    budget = winner.configuration.epochs
    errors = [_error(trial) for trial in ended if trial.configuration.epochs == budget]
    if len(errors) < 2:  # noqa: PLR2004 - one error is not chosen
        return []
    bias = estimates.optimism(errors, n_valid)
    low, high = (signed(bound) for bound in bias.interval)
    text = (
        f"The lowest of {len(errors)} errors, each on {n_valid:,} images, is lucky by about "
        f"{points(bias.value)} points (parametric bootstrap, middle 95 % {low} to {high}): expect "
        f"about {percent(min(1.0, min(errors) + bias.value))} on other images."
    )
    return [Finding("optimism", text)]


def _common(
    dimensions: Sequence[Hyperparameter], ended: Sequence[Trial], n_out: int, *, drawn: bool
) -> list[Finding]:
    """What goes with a low error, as far as it can be told from chance.

    Args:
        dimensions: of the space.
        ended: trainings with an error.
        n_out: how many diverged.
        drawn: at random, all of them; else one hyperparameter may stand for another.
    """
    budgets = Counter(trial.configuration.epochs for trial in ended)
    budget = max(budgets, key=lambda one: (budgets[one], one))
    equal = [trial for trial in ended if trial.configuration.epochs == budget]
    errors = [_error(trial) for trial in equal]
    told: list[tuple[float, str]] = []
    n_asked = n_told = 0
    for one in dimensions:
        values = [getattr(trial.configuration, one.name) for trial in equal]
        if one.choices:
            differences = list(_choices(one, values, errors))
            n_asked += bool(differences)
            shown = [(0.0, words) for words, found in differences if found.excludes_zero]
            n_told += bool(shown)
            told += shown
            continue
        correlation = estimates.rank_correlation(values, errors)
        n_asked += correlation is not None
        if correlation is not None and correlation.excludes_zero:
            more = "higher" if correlation.value < 0 else "lower"
            low, high = correlation.interval
            words = (
                f"a {more} {in_words(one.name)} (rank correlation {correlation.value:.2f}, "
                f"{low:.2f} to {high:.2f})"
            )
            n_told += 1
            told.append((abs(correlation.value), words))
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


def _good(dimensions: Sequence[Hyperparameter], equal: Sequence[Trial]) -> str:
    """The learning rates of the best few, where there are enough others."""
    varies = any(one.name == "learning_rate" for one in dimensions)
    if not varies or len(equal) < 4 * _N_GOOD:
        return ""
    good = sorted(equal, key=_error)[:_N_GOOD]
    rates = [trial.configuration.learning_rate for trial in good]
    return f" The best {_N_GOOD} have learning rates of {min(rates):.3g} to {max(rates):.3g}."


def _choices(
    one: Hyperparameter, values: Sequence[Any], errors: Sequence[float]
) -> Iterator[tuple[str, Estimate]]:
    """Each choice against the others, in words; of two choices the second against the first."""
    asked = one.choices[1:] if len(one.choices) == 2 else one.choices  # noqa: PLR2004
    for choice in asked:
        pairs = list(zip(values, errors, strict=True))
        own = [error for value, error in pairs if value == choice]
        others = [error for value, error in pairs if value != choice]
        found = estimates.median_difference(own, others)
        if found is not None:
            low, high = map(signed, found.interval)
            rest = one.choices[0] if len(one.choices) == 2 else "others"  # noqa: PLR2004
            better, worse = (choice, rest) if found.value < 0 else (rest, choice)
            words = (
                f"{in_words(one.name)} {better} rather than {worse} (median of {choice} less "
                f"that of {rest} {signed(found.value)} points, {low} to {high})"
            )
            yield words, found


def _edges(dimensions: Sequence[Hyperparameter], winner: Trial) -> list[Finding]:
    """Whether the best lies at the edge of the space, on the scale of each range."""
    near, depths = [], []
    for one in dimensions:
        if one.lower is None or one.upper is None or one.lower >= one.upper:
            continue
        value = getattr(winner.configuration, one.name)
        place = _place(value, one)
        depth = min(place, 1 - place)
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


def _place(value: float, one: Hyperparameter) -> float:
    """Where a value lies in its range, from 0 to 1, on the range's scale."""
    low, high = float(one.lower or 0.0), float(one.upper or 0.0)
    place = place_between(low, high, value, log=one.scale == "log" and low > 0)
    return min(1.0, max(0.0, place))


def _more(trials: Sequence[Trial], ended: Sequence[Trial], n_valid: int) -> list[Finding]:
    """How many more iterations of random search are worth it.

    Iterations of random search are exchangeable: each of n + k is the best with the same
    probability, so one of k more beats the best of n with probability k / (n + k); an even chance
    takes n more (A. Renyi (1962), on records: "Theorie des elements saillants d'une suite
    d'observations"). The expected number is infinite, as the sum of n / (n + k) over all k is. A
    diverged iteration is one that lost. What the second half was worth is the expected minimum of
    a half drawn at random, less the minimum of all.
    """
    errors = [_error(trial) for trial in ended]
    n = len(errors) + tally_of(trials).diverged
    if len(errors) < 2 or len({trial.configuration.epochs for trial in ended}) > 1:  # noqa: PLR2004
        return []
    half = len(errors) // 2
    lowest, expected = min(errors), estimates.best_of(errors, half)
    text = (
        f"Random search's iterations are alike, so the next one beats the best of {n} with "
        f"probability 1/{n + 1} = {100 / (n + 1):.1f} %, and an even chance takes {n} more. "
        f"A random half of them would have reached {percent(expected)} on average: the other half "
        f"gained {points(expected - lowest)} points, where the standard error on {n_valid:,} "
        f"images is {points(estimates.binomial_sd(lowest, n_valid))}."
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


def _error(trial: Trial) -> float:
    """The final error of a trial that is known to have one."""
    error = final_error(trial)
    assert error is not None  # noqa: S101 - the callers keep only those
    return error
