"""What `mnist-lab space` answers: a search space, what was drawn from it, how likely that was."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from rich.table import Table

from mnist_lab.analysis.sampling import (
    Chance,
    active_shares,
    expected_median,
    octaves,
    powers_of_two,
)
from mnist_lab.words import rounded

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mnist_lab.analysis.sampling import SampledHyperparameter
    from mnist_lab.findings import Finding

# What the student of the exercise sheet drew, and wondered about.
_ASKED = {"num_filters": 22, "batch_size": 95}


class Answer(NamedTuple):
    """A search space by its name: its hyperparameters with their draws, its rules, the findings."""

    name: str
    hyperparameters: list[SampledHyperparameter]
    rules: list[str]
    findings: list[Finding]
    examples: dict[str, Chance]


def examine(path: Path | None) -> Answer:
    """Draw from the search space in a file; None is the exercise sheet's.

    Raises:
        SettingsError: the file is no search space.
    """
    from mnist_lab import space as spaces  # ConfigSpace takes a second to import
    from mnist_lab.findings import sampling
    from mnist_lab.study.results import sampled

    chosen = spaces.default_space() if path is None else spaces.read_space(path)
    asked = _ASKED if path is None else None
    hyperparameters = sampled(chosen)
    return Answer(
        "the exercise sheet's space" if path is None else path.name,
        hyperparameters,
        spaces.rules(chosen),
        sampling.sampling(hyperparameters, asked),
        sampling.examples(hyperparameters, asked),
    )


def as_json(answer: Answer) -> dict[str, Any]:
    """The numbers of an answer; shares are of the draws in which a hyperparameter is active."""
    active = active_shares(answer.hyperparameters)
    rows = [
        _row(one, answer.examples.get(one.name)) | {"active": share}
        for one, share in zip(answer.hyperparameters, active, strict=True)
    ]
    return {
        "hyperparameters": rows,
        "rules": answer.rules,
        "findings": [one.text for one in answer.findings],
    }


def table(hyperparameters: Sequence[SampledHyperparameter]) -> Table:
    """A line for each hyperparameter: its range, what was drawn from it."""
    made = Table("hyperparameter", "scale", "range", "10 %", "median", "90 %", "five draws")
    active = active_shares(hyperparameters)
    conditional = min(active) < 1
    if conditional:
        made.add_column("active")
    for one, share in zip(hyperparameters, active, strict=True):
        row = _quantiles(one)
        bounds = ", ".join(map(rounded, one.choices)) or f"{one.lower:g} to {one.upper:g}"
        scale = one.scale if one.distribution == "uniform" else f"{one.scale}, {one.distribution}"
        quantiles = [rounded(row[key]) if key in row else "–" for key in ("p10", "median", "p90")]
        five = ", ".join(rounded(value) for value in one.draws[:5])
        words = "always" if share == 1 else f"in {100 * share:.0f} % of draws"
        made.add_row(one.name, scale, bounds, *quantiles, five, *([words] * conditional))
    return made


def _row(one: SampledHyperparameter, example: Chance | None) -> dict[str, Any]:
    """A hyperparameter as JSON has it."""
    row: dict[str, Any] = {
        "name": one.name,
        "scale": one.scale,
        "distribution": one.distribution,
        "n_draws": len(one.draws),
    }
    if one.choices:
        n_choices = len(one.choices)
        shares = [one.draws.count(choice) / (len(one.draws) or 1) for choice in one.choices]
        expected = list(one.probabilities or [1 / n_choices] * n_choices)
        return row | {"choices": list(one.choices), "shares": shares, "expected": expected}
    row |= {"lower": one.lower, "upper": one.upper} | _quantiles(one)
    row |= {"expected_median": expected_median(one)}
    row |= {"octaves": [part._asdict() for part in octaves(one)]}
    if one.whole:
        row["powers_of_two"] = [power._asdict() for power in powers_of_two(one)]
    return row | ({} if example is None else {"example": example._asdict()})


def _quantiles(one: SampledHyperparameter) -> dict[str, Any]:
    """What was drawn of a range while it was active."""
    if one.choices:
        return {}
    ordered = sorted(one.draws)
    quantiles = {"p10": 0.1, "median": 0.5, "p90": 0.9}
    return {
        name: ordered[int(share * len(ordered))] for name, share in quantiles.items() if ordered
    }
