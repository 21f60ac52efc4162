"""How much each hyperparameter matters, given the others; and a simple rule for failed trials.

Made for the few dozen trials of a search; needs only NumPy and SciPy. A forest with functional
ANOVA (fANOVA, Hutter et al. 2014) also sees interactions, but needs another large package and
hundreds of trials, and does not test whether there is any effect.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from mnist_lab.analysis.intervals import ALPHA, Interval, holm
from mnist_lab.analysis.outcomes import best_trial, endings, final_error, grouped, outcome_of
from mnist_lab.config import Hyperparameter, place_between

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from mnist_lab.config import TrainConfig
    from mnist_lab.records import Trial

# Guessing is wrong in 90 %: who ends above this has learned next to nothing. The errors of those
# that are stuck in results/reference/wide-space differ by 0.013 at most; slow learners' fall.
CHANCE = 0.8
_FALL = 0.02
N_GOOD = 5  # trials of which is told what they have in common
_FEWEST_FREE = 10  # trials beyond the regression's weights
_FEWEST_FAILED = 3
_N_PERMUTATIONS = 199
_MOST_CUTS = 50  # of one hyperparameter
# Of a scale from -1 to 1, where the lowest error is said to lie in between.
_INNER = 0.75


class Importance(NamedTuple):
    """How much one hyperparameter matters, given all the others.

    `share` is the part of the variance of the trials' ranks that it alone explains, from 0 to 1,
    with its 95 % interval. `p` tests "it does not matter", with Holm's correction for the number of
    hyperparameters. `better` says where errors are low: `higher`, `lower`, `in between`, or which
    choice.
    """

    name: str
    share: float
    interval: Interval
    p: float
    better: Any

    @property
    def matters(self) -> bool:
        """Whether the effect is more than chance."""
        return self.p < ALPHA


class Common(NamedTuple):
    """The :data:`N_GOOD` best of `n` trials have values of `name` from `low` to `high`.

    They are compared after `budget` epochs or, if that is None, by their :func:`standings`.
    `others` are the values of the other trials, in order.
    """

    name: str
    low: float
    high: float
    n: int
    budget: float | None
    others: list[float]

    @property
    def n_within(self) -> int:
        """How many of the others lie there too."""
        return sum(self.low <= value <= self.high for value in self.others)


class Condition(NamedTuple):
    """A hyperparameter on one side of a cut, or a choice."""

    name: str
    sign: Literal["<", ">", "<=", ">=", "is", "is not"]
    value: Any


class Rule(NamedTuple):
    """What separates the failed trials from the others: one condition, or two.

    With `every`, a trial fails where all conditions hold, else where any does. The rule `misses`
    some of the failed and includes some others `wrongly`. `p` is how often a rule this good is
    found where nothing separates them. `lost` counts the others that each condition includes alone.
    """

    conditions: tuple[Condition, ...]
    every: bool
    misses: int
    wrongly: int
    p: float
    lost: tuple[int, ...]


class _Split(NamedTuple):
    """A condition, its opposite, for which trials it holds, and how wide the gap at its cut is."""

    condition: Condition
    opposite: Condition
    holds: list[bool]
    width: float


def dimensions_of(space: dict[str, Any]) -> Iterator[Hyperparameter]:
    """The hyperparameters of a space in ConfigSpace's JSON that are always active.

    An inactive hyperparameter holds the base's value, which was not drawn. Only uniform ranges have
    bounds; those of other distributions are not meant to be reached.
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


def has_failed(trial: Trial) -> bool:
    """Whether a training diverged, or stayed near the error of guessing.

    One that ends there but has begun to fall learns slowly. Within the first epoch the two look the
    same.
    """
    if outcome_of(trial) == "diverged":
        return True
    errors = _errors(trial)
    return trial.n_epochs >= 1 and _guesses(trial) and errors[0] - errors[-1] < _FALL


def _errors(trial: Trial) -> list[float]:
    return [error for one in trial.epochs if (error := one.valid_error) is not None]


def _guesses(trial: Trial) -> bool:
    error = final_error(trial)
    return error is not None and error > CHANCE


def last_endings(trials: Iterable[Trial]) -> list[Trial]:
    """Each trial once, by number: as it was when it last ended with an error, or diverged."""
    ended = [
        one
        for one in endings(trials)
        if outcome_of(one) == "diverged" or final_error(one) is not None
    ]
    ended.sort(key=lambda one: (one.trial, one.configuration.epochs))
    return list({one.trial: one for one in ended}.values())


def judged(trials: Iterable[Trial]) -> list[Trial]:
    """The last endings of the trials that clearly failed or clearly learned."""
    return [one for one in last_endings(trials) if has_failed(one) or not _guesses(one)]


def standings(trials: Iterable[Trial]) -> list[tuple[Trial, float]]:
    """Each trial that did not fail, with its standing among those, from 0 (the best) to 1.

    After a single validation, stuck and slow trials look the same, so both are included.

    Trials are compared with those that began with the same budget, because Hyperband's brackets
    differ in it. A trial that trained longer ranks before one that was dropped, as the search
    itself judged; at equal budgets the lower error ranks first.
    """
    from scipy.stats import rankdata  # type: ignore[import-untyped]

    known = [
        one
        for one in last_endings(trials)
        if outcome_of(one) == "complete" and not (has_failed(one) and len(_errors(one)) > 1)
    ]
    found = []
    for group in grouped(known, lambda one: one.rungs[0].budget if one.rungs else 0).values():
        keys = [(-one.configuration.epochs, one.valid_error or 0.0) for one in group]
        places = {key: place for place, key in enumerate(sorted(set(keys)))}
        ranks = rankdata([places[key] for key in keys])
        shares = [(float(rank) - 0.5) / len(group) for rank in ranks]
        found += list(zip(group, shares, strict=True))
    return found


def importance(dimensions: Sequence[Hyperparameter], trials: Iterable[Trial]) -> list[Importance]:
    """How much each hyperparameter matters, given the others; what matters most comes first.

    The :func:`standings` are regressed on all hyperparameters at once. A number enters as its place
    on its scale and the square of that, so that a best value in the middle shows; choices enter as
    all but one. A partial F test judges each, so that a strong one hides no other. The share is
    what would be left unexplained without it, minus what chance explains. Its interval is that of
    the noncentral F distribution (Steiger 2004, Psychological Methods 9).

    Args:
        dimensions: of the space; those with a single value are left out.
        trials: of a search. Failed ones are left out: they follow a rule, not a tendency.

    Returns:
        Empty where there are too few trials for so many hyperparameters.
    """
    import numpy as np
    from scipy.stats import f as f_distribution

    standing = standings(trials)
    drawn = [trial.configuration for trial, _ in standing]
    values = {one.name: [getattr(each, one.name) for each in drawn] for one in dimensions}
    varied = [one for one in dimensions if len(set(values[one.name])) > 1]
    blocks = [_columns(one, values[one.name]) for one in varied]
    y = np.array([place for _, place in standing])
    n = len(y)
    n_free = n - 1 - sum(block.shape[1] for block in blocks)
    if not blocks or n_free < _FEWEST_FREE or len(set(y)) == 1:
        return []
    y -= y.mean()
    unexplained, weights = _fit(blocks, y)
    noise = max(unexplained / n_free, 1e-12)
    rows = []
    start = 1
    for place, (one, block) in enumerate(zip(varied, blocks, strict=True)):
        without = _fit(blocks[:place] + blocks[place + 1 :], y)[0]
        gain, q = max(0.0, without - unexplained) / noise, block.shape[1]
        rest = max(float(y @ y) / noise - gain, 1e-12)
        sizes = (gain - q, *(_noncentrality(gain / q, q, n_free, p) for p in (0.975, 0.025)))
        share, low, high = (max(0.0, size) / (max(0.0, size) + rest) for size in sizes)
        p = float(f_distribution.sf(gain / q, q, n_free))
        bends = q > 1 and not one.choices
        if bends:
            straight = [*blocks[:place], block[:, :1], *blocks[place + 1 :]]
            gain_of_bend = (_fit(straight, y)[0] - unexplained) / noise
            bends = float(f_distribution.sf(gain_of_bend, 1, n_free)) < ALPHA
        effects = weights[start : start + q]
        better = _better(one, values[one.name], block, effects, bends=bends)
        rows.append(Importance(one.name, share, Interval(low, high), p, better))
        start += q
    corrected = holm([row.p for row in rows])
    rows = [row._replace(p=p) for row, p in zip(rows, corrected, strict=True)]
    return sorted(rows, key=lambda row: (not row.matters, -row.share, row.name))


def in_common(
    dimensions: Sequence[Hyperparameter], matters: Sequence[Importance], trials: Sequence[Trial]
) -> Common | None:
    """Which values of the most important number the good trials share, if most others do not.

    Good trials are the best of those trained as long as the winner. Where these are few, they are
    the best by rank among all.

    Args:
        dimensions: of the space.
        matters: as :func:`importance` has it.
        trials: of the search.
    """
    numeric = {one.name for one in dimensions if one.scale != "choice"}
    name = next((one.name for one in matters if one.matters and one.name in numeric), None)
    winner = best_trial(trials)
    if name is None or winner is None:
        return None
    budget: float | None = winner.configuration.epochs
    ranked = [
        (final_error(one) or 0.0, one.trial, one)
        for one in endings(trials)
        if one.configuration.epochs == budget and final_error(one) is not None
    ]
    if len(ranked) < 2 * N_GOOD:
        budget, ranked = None, [(place, one.trial, one) for one, place in standings(trials)]
        if len(ranked) < 4 * N_GOOD:
            return None
    ranked.sort(key=lambda one: one[:2])
    values = [getattr(one.configuration, name) for *_, one in ranked]
    good, others = values[:N_GOOD], sorted(values[N_GOOD:])
    found = Common(name, min(good), max(good), len(values), budget, others)
    return found if found.n_within <= len(others) / 2 else None


def _met(one: Hyperparameter, values: Sequence[Any]) -> list[Any]:
    """The values that were drawn, in order."""
    return [c for c in one.choices if c in values] if one.choices else sorted(set(values))


def _columns(one: Hyperparameter, values: Sequence[Any]) -> Any:
    """The regressors of one hyperparameter, (n, 1 or more), float64.

    Of a number its place on its scale from -1, the lowest drawn, to 1; of an ordinal only the order
    of its values is known.
    """
    import numpy as np

    met = _met(one, values)
    if one.choices:
        return np.array([[value == choice for choice in met[1:]] for value in values], dtype=float)
    numbers = [met.index(value) for value in values] if one.scale == "choice" else values
    low, high = min(numbers), max(numbers)
    log = one.scale == "log" and low > 0
    place = np.array([2 * place_between(low, high, number, log=log) - 1 for number in numbers])
    return np.column_stack([place, place**2])[:, : len(met) - 1]


def _fit(blocks: Sequence[Any], y: Any) -> tuple[float, Any]:
    """What a regression with a constant leaves unexplained, and its weights."""
    import numpy as np

    x = np.column_stack([np.ones(len(y)), *blocks])
    weights = np.linalg.lstsq(x, y, rcond=None)[0]
    return float(((y - x @ weights) ** 2).sum()), weights


def _noncentrality(f: float, q: int, n_free: int, p: float) -> float:
    """With which an F statistic is below `f` with probability `p`; 0 where none is so large."""
    from scipy.optimize import brentq  # type: ignore[import-untyped]
    from scipy.special import ncfdtr  # type: ignore[import-untyped]

    def excess(size: float) -> float:
        return float(ncfdtr(q, n_free, size, f)) - p

    if excess(0.0) <= 0:
        return 0.0
    top = 1.0
    while excess(top) > 0 and top < 1e6:  # noqa: PLR2004 - beyond, the share is 1
        top *= 2
    return float(brentq(excess, 0.0, top)) if excess(top) <= 0 else top


def _better(
    one: Hyperparameter, values: Sequence[Any], block: Any, weights: Any, *, bends: bool
) -> Any:
    """Where the fitted curve is lowest; in between only if it is seen to bend."""
    if one.choices:
        effects = [0.0, *weights]
        return _met(one, values)[effects.index(min(effects))]
    place, fitted = block[:, 0], block @ weights
    lowest = float(place[fitted.argmin()])
    if abs(lowest) < _INNER:
        if bends:
            return "in between"
        lowest = float(fitted[place.argmin()] - fitted[place.argmax()])
    return "higher" if lowest > 0 else "lower"


def separating(dimensions: Sequence[Hyperparameter], trials: Iterable[Trial]) -> Rule | None:
    """The simplest rule that separates the failed trials from the others; None if none does.

    It tries each choice, each cut between two values, and every pair of those, where both must hold
    or either. The rule with the fewest mistakes wins; a second condition must save two. With so
    many rules, some always fit. So the same is done with shuffled outcomes, and a rule that is not
    better than 95 % of those is dropped.
    """
    import numpy as np

    ended = judged(trials)
    failed = np.array([has_failed(one) for one in ended], dtype=bool)
    n, n_failed = len(ended), int(failed.sum())
    splits = list(_splits(dimensions, [one.configuration for one in ended]))
    if not splits or not _FEWEST_FAILED <= n_failed <= n - _FEWEST_FAILED:
        return None
    # Of equally good cuts the first is taken: that with the widest gap.
    splits.sort(key=lambda one: -one.width)
    # With itself, a condition is alone.
    first, second = np.triu_indices(len(splits))
    words = _packed([one.holds for one in splits])
    both = words[first] & words[second]
    sizes, price = _counts(both), first != second

    def mistakes(failing: Any) -> Any:
        """(2, pairs): if trials fail where both hold, and if they fail everywhere else."""
        wrong = sizes + n_failed - 2 * _counts(both & _packed([failing]))
        return np.stack([wrong, n - wrong]) + price

    found = mistakes(failed)
    random = np.random.default_rng(0)
    as_good = 1
    for _ in range(_N_PERMUTATIONS):
        as_good += int(mistakes(random.permutation(failed)).min() <= found.min())
        if as_good > ALPHA * (1 + _N_PERMUTATIONS):
            return None
    of_learned, place = divmod(int(found.argmin()), len(price))
    pair = (int(first[place]), int(second[place]))
    chosen = [splits[place] for place in dict.fromkeys(pair)]
    masks = np.array([one.holds for one in chosen]) ^ bool(of_learned)
    told = masks.any(axis=0) if of_learned else masks.all(axis=0)
    learned = ~failed
    return Rule(
        tuple(one.opposite if of_learned else one.condition for one in chosen),
        every=not of_learned,
        misses=int((~told & ~learned).sum()),
        wrongly=int((told & learned).sum()),
        p=as_good / (1 + _N_PERMUTATIONS),
        lost=tuple(int((mask & learned).sum()) for mask in masks),
    )


def _packed(masks: Sequence[Any]) -> Any:
    """Rows of bits, (n, 64-bit words): counting those is faster than a product of matrices.

    A product would also wake threads of its own on a machine whose cores are all busy.
    """
    import numpy as np

    packed = np.packbits(np.asarray(masks, dtype=bool), axis=1)
    return np.pad(packed, ((0, 0), (0, -packed.shape[1] % 8))).view(np.uint64)


def _counts(words: Any) -> Any:
    """How many bits of each row are set."""
    import numpy as np

    return np.bitwise_count(words).sum(axis=1, dtype=np.int32)


def _splits(dimensions: Sequence[Hyperparameter], drawn: Sequence[TrainConfig]) -> Iterator[_Split]:
    """Every condition that holds for some and not for others; of many cuts only some."""
    for one in dimensions:
        values = [getattr(each, one.name) for each in drawn]
        met = _met(one, values)
        if len(met) == 1:
            continue
        if one.choices:
            for choice in met:
                has = Condition(one.name, "is", choice)
                lacks = has._replace(sign="is not")
                yield _Split(has, lacks, [value == choice for value in values], 1.0)
                yield _Split(lacks, has, [value != choice for value in values], 1.0)
            continue
        log = one.scale == "log" and met[0] > 0
        steps = one.scale == "choice" or all(isinstance(value, int) for value in met)
        cuts = list(pairwise(met))
        for low, high in cuts[:: -(-len(cuts) // _MOST_CUTS)]:
            ends = (place_between(met[0], met[-1], value, log=log) for value in (high, low))
            width = float(next(ends) - next(ends))
            cut = _roundest(low, high)
            below = Condition(one.name, "<=", low) if steps else Condition(one.name, "<", cut)
            above = Condition(one.name, ">=", high) if steps else Condition(one.name, ">", cut)
            yield _Split(below, above, [value <= low for value in values], width)
            yield _Split(above, below, [value >= high for value in values], width)


def _roundest(low: float, high: float) -> float:
    """A number between two others with as few digits as can be."""
    middle = math.sqrt(low * high) if low > 0 else (low + high) / 2
    rounded = (float(f"{middle:.{digits}g}") for digits in range(1, 17))
    return next((one for one in rounded if low < one < high), high)
