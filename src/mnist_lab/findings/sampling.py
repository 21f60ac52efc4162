"""What a search space samples, in words: what `log` does, and how often an exact value comes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnist_lab.analysis.sampling import (
    Part,
    active_shares,
    chance,
    expected_median,
    octaves,
    powers_of_two,
)
from mnist_lab.findings.common import Finding
from mnist_lab.words import capital, counted, in_words, listed, percent, rounded

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from mnist_lab.analysis.sampling import Chance, SampledHyperparameter

# Configurations of a search such as the exercise sheet's.
_SEARCH = 50
# Doublings that are told one by one.
_FEW = 4


def sampling(
    hyperparameters: Sequence[SampledHyperparameter], asked: Mapping[str, int] | None = None
) -> list[Finding]:
    """How a search space samples, each sentence with its numbers.

    Args:
        hyperparameters: with their draws.
        asked: the whole numbers that somebody wonders about, by hyperparameter; without it, of
            each logarithmic range the first that was drawn and is no power of two.
    """
    found = []
    if any(one.scale == "log" and one.distribution == "uniform" for one in hyperparameters):
        text = (
            "log=True makes the logarithm of the value uniform: each doubling is equally likely. "
            "It does not mean powers of two."
        )
        found.append(Finding("log", text))
    found += _ordinary(hyperparameters, asked)
    for one, share in zip(hyperparameters, active_shares(hyperparameters), strict=True):
        text = " ".join(_choices(one) if one.choices else _range(one))
        if share < 1:
            text += f" Active in {percent(share)} of the draws, of which these are the shares."
        if one.forbids:
            text += " What is expected is before the forbidden combinations."
        found.append(Finding(in_words(one.name), text))
    return found


def examples(
    hyperparameters: Sequence[SampledHyperparameter], asked: Mapping[str, int] | None = None
) -> dict[str, Chance]:
    """The exact values that :func:`sampling` tells about, by hyperparameter."""
    chosen = dict(asked or {})
    if asked is None:
        for one in hyperparameters:
            if one.scale == "log" and one.whole:
                odd = (value for value in one.draws if value & (value - 1))
                if (first := next(odd, next(iter(one.draws), None))) is not None:
                    chosen[one.name] = first
    known = {one.name: one for one in hyperparameters}
    return {name: chance(known[name], value) for name, value in chosen.items()}


def _range(one: SampledHyperparameter) -> Iterator[str]:
    """Of a range: its doublings, its median, its powers of two."""
    parts = octaves(one)
    uniform = one.distribution == "uniform"
    scale = "logarithmic" if one.scale == "log" else "linear"
    kind = scale if uniform else f"{scale}, {one.distribution}"
    text = f"{rounded(one.lower)} to {rounded(one.upper)}, {kind}"
    if len(parts) > _FEW and one.scale == "log" and uniform:
        drawn = [part.drawn for part in parts[:-1] if part.drawn is not None]
        shares = f" (drawn {percent(min(drawn))} to {percent(max(drawn))})" if drawn else ""
        whole = [part for part in parts if part.high >= 2 * part.low * (1 - 1e-9)]
        text += f": each of its {len(whole)} whole doublings has {percent(parts[0].expected)}"
        yield f"{text}{shares}."
    elif len(parts) > 1:
        told = [f"{_span(one, part)} with {_share(part.expected, part.drawn)}" for part in parts]
        yield f"{text}: {listed(told)}."
    else:
        yield f"{text}."
    if one.masses:
        yield _median(one)
    powers = powers_of_two(one)
    if one.scale == "log" and powers:
        expected = sum(power.probability for power in powers)
        n_drawn = sum(power.n_drawn for power in powers)
        drawn_share = n_drawn / len(one.draws) if one.draws else None
        yield (
            f"The powers of two are {len(powers)} of {len(one.masses)} values, with "
            f"{_share(expected, drawn_share)} together."
        )


def _median(one: SampledHyperparameter) -> str:
    expected = rounded(expected_median(one))
    ordered = sorted(one.draws)
    drawn = f" (drawn {rounded(ordered[len(ordered) // 2])})" if ordered else ""
    text = f"The median is {expected}{drawn}"
    if one.scale != "log" or one.distribution != "uniform":
        return f"{text}."
    middle = ((one.lower or 0) + (one.upper or 0)) / 2
    return f"{text}; without log it would be {rounded(round(middle) if one.whole else middle)}."


def _choices(one: SampledHyperparameter) -> Iterator[str]:
    expected = one.probabilities or [1 / len(one.choices)] * len(one.choices)
    told = []
    for choice, share in zip(one.choices, expected, strict=True):
        drawn = one.draws.count(choice) / len(one.draws) if one.draws else None
        told.append(f"{rounded(choice)} with {_share(share, drawn)}")
    yield f"{counted(len(told), 'choice')}: {listed(told)}."


def _ordinary(
    hyperparameters: Sequence[SampledHyperparameter], asked: Mapping[str, int] | None
) -> list[Finding]:
    """How often one would see the values that somebody wonders about."""
    found = examples(hyperparameters, asked)
    if not found:
        return []
    known = {one.name: one for one in hyperparameters}
    told = [_seen(known[name], one) for name, one in found.items()]
    names = [_named(name, one.value) for name, one in found.items()]
    are = "is an ordinary draw" if len(names) == 1 else "are ordinary draws"
    return [Finding("ordinary", f"{capital(listed(names))} {are}. {' '.join(told)}")]


def _seen(hyperparameter: SampledHyperparameter, one: Chance) -> str:
    """A value's probability, its rank, and how often a search would draw it."""
    most = max(hyperparameter.masses)
    first = chance(
        hyperparameter, round(hyperparameter.edges[0] + 0.5 + hyperparameter.masses.index(most))
    )
    n_draws = len(hyperparameter.draws)
    drawn = f" (drawn {counted(one.n_drawn, 'time')} in {n_draws:,})" if n_draws else ""
    text = (
        f"{capital(_named(hyperparameter.name, one.value))}: one draw in "
        f"{_one_in(one.probability)}{drawn}, number {one.rank} of {one.n_values} values by "
        f"probability, expected {_SEARCH * one.probability:.2g} times in a search of {_SEARCH}"
    )
    if one.rank > 1:
        text += f"; the likeliest, {first.value}, comes once in {_one_in(first.probability)}"
    return f"{text}."


def _named(name: str, value: int) -> str:
    """`22 filters`, `batch size 95`."""
    if name == "num_filters":
        return counted(value, "filter")
    return f"{in_words(name)} {value}"


def _one_in(probability: float) -> str:
    return f"{1 / probability:,.0f}" if probability > 0 else "infinitely many"


def _span(one: SampledHyperparameter, part: Part) -> str:
    high = part.high - 1 if one.whole and part.high != one.upper else part.high
    return f"{rounded(part.low)} to {rounded(high)}"


def _share(expected: float, drawn: float | None) -> str:
    return percent(expected) + ("" if drawn is None else f" (drawn {percent(drawn)})")
