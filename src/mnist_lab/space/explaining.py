"""Explain a search space: its hyperparameters, its rules, and what 10,000 draws show."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ConfigSpace import ConfigurationSpace

from mnist_lab.config import Hyperparameter
from mnist_lab.space.sampling import draws, to_dict
from mnist_lab.words import capital, counted, in_words, listed, percent, rounded

N_DRAWS = 10_000  # enough for a smooth histogram, half a second
# What the student of the exercise sheet drew, and wondered about.
ASKED = {"num_filters": 22, "batch_size": 95}
_FEW = 4  # doublings that are told one by one


def describe(space: ConfigurationSpace) -> list[Hyperparameter]:
    """The hyperparameters of the space, in its order, without draws."""
    named = set(re.findall(r"\w+", str(space.forbidden_clauses)))
    found = map(Hyperparameter.from_json, to_dict(space)["hyperparameters"])
    return [one._replace(forbids=one.name in named) for one in found]


def sampled(space: ConfigurationSpace) -> list[Hyperparameter]:
    """The hyperparameters of the space, with their draws."""
    drawn = draws(space, N_DRAWS)
    shares = {name: len(values) / N_DRAWS for name, values in drawn.items()}
    return [one._replace(draws=drawn[one.name], active=shares[one.name]) for one in describe(space)]


def rules(space: ConfigurationSpace) -> list[str]:
    """The conditions and the forbidden combinations of the space, in words."""
    found = [
        f"{one.child.name} only if {str(one).replace(f'{one.child.name} | ', '')}"
        for one in space.conditions
    ]
    found += [f"never {str(one).replace('Forbidden: ', '')}" for one in space.forbidden_clauses]
    text = "\n".join(found).replace(" && ", " and ").replace(" || ", " or ")
    return in_words(text.replace(" == ", " = ")).splitlines()


def examples(hyperparameters: Sequence[Hyperparameter]) -> dict[str, int]:
    """For each logarithmic range of whole numbers, the first draw that is no power of two."""
    return {
        one.name: odd[0]
        for one in hyperparameters
        if one.scale == "log" and one.whole and (odd := [n for n in one.draws if n & (n - 1)])
    }


def explain(
    hyperparameters: Sequence[Hyperparameter], examples: Mapping[str, int]
) -> dict[str, str]:
    """How a search space samples, in sentences with their numbers, by topic.

    `examples` are the whole numbers to explain, by hyperparameter.
    """
    found = {}
    if any(one.scale == "log" and one.distribution == "uniform" for one in hyperparameters):
        uniform = "log=True makes the logarithm of the value uniform: each doubling is equally"
        found["log"] = f"{uniform} likely. It does not mean powers of two."
    if examples:
        known = {one.name: one for one in hyperparameters}
        names, times = [], []
        for name, value in examples.items():
            one, is_filters = known[name], name == "num_filters"
            names.append(counted(value, "filter") if is_filters else f"{in_words(name)} {value}")
            n_values = (one.upper or 0) - (one.lower or 0) + 1
            without = f"{len(one.draws) / n_values:.0f} if all values were equally likely"
            n_times = counted(one.draws.count(value), "time")
            times.append(f"{names[-1]} came {n_times} in {len(one.draws):,} draws ({without})")
        are = "is an ordinary draw" if len(names) == 1 else "are ordinary draws"
        found["ordinary"] = (
            f"{capital(listed(names))} {are}, as any whole number of the range may come: "
            f"{listed(times)}."
        )
    for one in hyperparameters:
        text = " ".join(_choices(one) if one.choices else _range(one))
        if one.active < 1:
            text += f" Active in {percent(one.active)} of the draws; only those count here."
        if one.forbids and one.draws:
            text += " Forbidden combinations move these shares."
        found[in_words(one.name)] = text
    return found


def as_json(one: Hyperparameter, example: int | None) -> dict[str, Any]:
    """The draws of a hyperparameter; shares are of those in which it is active."""
    n_draws = len(one.draws)
    row: dict[str, Any] = {"name": one.name, "scale": one.scale, "n_draws": n_draws}
    row |= {"distribution": one.distribution, "active": one.active}
    if one.choices:
        shares = [one.draws.count(choice) / (n_draws or 1) for choice in one.choices]
        return row | {"choices": one.choices, "shares": shares, "expected": one.expected_shares}
    row |= {"lower": one.lower, "upper": one.upper} | quantiles(one) | {"octaves": _doublings(one)}

    def n_drawn(value: int) -> dict[str, int]:
        return {"value": value, "n_drawn": one.draws.count(value)}

    if one.whole:
        row["powers_of_two"] = [*map(n_drawn, _powers_of_two(one))]
    if example is not None:
        row["example"] = n_drawn(example)
    return row


def quantiles(one: Hyperparameter) -> dict[str, float]:
    """The quantiles of a range's draws while it was active; empty for choices."""
    ordered = [] if one.choices else sorted(one.draws)
    shares = {"p10": 0.1, "median": 0.5, "p90": 0.9}
    return {name: ordered[int(share * len(ordered))] for name, share in shares.items() if ordered}


def _doublings(one: Hyperparameter) -> list[dict[str, Any]]:
    """The bounds of each doubling of a range, with its expected share and its share of the draws.

    The upper bound belongs to the next doubling, and the last may be cut short. The expected share
    is known if the logarithm of any number is uniform: whole numbers only come close. A range that
    begins at 0 has no doublings.
    """
    if not one.lower or not one.upper:
        return []
    n_parts = max(1, math.ceil(math.log2(one.upper / one.lower) - 1e-9))
    is_exact = one.scale == "log" and one.distribution == "uniform" and not one.whole
    parts = []
    for power in range(n_parts):
        low, is_last = one.lower * 2**power, power == n_parts - 1
        n_drawn = sum(low <= value and (is_last or value < 2 * low) for value in one.draws)
        high = one.upper if is_last else 2 * low
        expected = math.log(high / low) / math.log(one.upper / one.lower) if is_exact else None
        drawn = n_drawn / len(one.draws) if one.draws else None
        parts.append({"low": low, "high": high, "expected": expected, "drawn": drawn})
    return parts


def _powers_of_two(one: Hyperparameter) -> list[int]:
    return [2**n for n in range(int(one.upper or 0).bit_length()) if 2**n >= (one.lower or 0)]


def _range(one: Hyperparameter) -> Iterator[str]:
    """Sentences about a range: its doublings, its median, its powers of two."""
    scale = "logarithmic" if one.scale == "log" else "linear"
    kind = scale if one.distribution == "uniform" else f"{scale}, {one.distribution}"
    text = f"{rounded(one.lower)} to {rounded(one.upper)}, {kind}"
    if not one.draws:
        yield f"{text}: never drawn."
        return
    parts = _doublings(one)
    if len(parts) > _FEW and (first := parts[0]["expected"]) is not None:
        shares = [part["drawn"] for part in parts[:-1]]
        text += f": each whole doubling is expected in {percent(first)} of the draws, and came in "
        text += f"{percent(min(shares))} to {percent(max(shares))}"
    elif len(parts) > 1:
        told = []
        for low, high, _, drawn in map(dict.values, parts):
            last = high - 1 if one.whole and high != one.upper else high
            told.append(f"{rounded(low)} to {rounded(last)} in {percent(drawn)}")
        text += f": {listed(told)} of the draws"
    yield f"{text}."
    median, (lower, upper) = rounded(quantiles(one)["median"]), (one.lower or 0, one.upper or 0)
    if one.scale == "log" and one.distribution == "uniform":
        middle = (lower + upper) / 2
        median += f"; without log it would be {rounded(round(middle) if one.whole else middle)}"
    yield f"The median is {median}."
    if one.scale == "log" and one.whole and (powers := _powers_of_two(one)):
        share = percent(sum(map(one.draws.count, powers)) / len(one.draws))
        values = f"{len(powers)} of {round(upper - lower) + 1} values"
        yield f"The powers of two are {values}, and {share} of the draws."


def _choices(one: Hyperparameter) -> Iterator[str]:
    told = []
    for choice, expected in zip(one.choices, one.expected_shares, strict=True):
        share = one.draws.count(choice) / (len(one.draws) or 1)
        drawn = f" (drawn {percent(share)})" if one.draws else ""
        told.append(f"{rounded(choice)} with {percent(expected)}{drawn}")
    yield f"{counted(len(told), 'choice')}: {listed(told)}."
