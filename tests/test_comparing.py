"""A sweep's values are compared once: findings, figures and the end of a command say the same."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from made_events import made_trial, run_info, study_settings
from made_figures import CAPTION

from mnist_lab.analysis.outcomes import summary
from mnist_lab.cli.ending import ending
from mnist_lab.findings import findings
from mnist_lab.plots import sweeps
from mnist_lab.study import Run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mnist_lab.records import Trial

N_VALID = 10_000
NAMES = {
    "learning_rate": ("0.1", "0.03", "0.01", "0.003"),
    "filter_size": ("7×7", "5×5", "3×3", "1×1"),
}
MADE = [
    (varied, effect, n_values, chance)
    for varied in NAMES
    for effect, n_values, chance in product((0.0, 0.002, 0.02), (2, 4), range(4))
]


def made(
    varied: str, n_seeds: int, effect: float, n_values: int, chance: int
) -> Iterator[tuple[str, int, float]]:
    """Of each value, in the order of :data:`NAMES`, its seeds and errors; each worse by `effect`.

    Half of a seed's luck is the same for all values. Every second time one training has failed.
    """
    random = np.random.default_rng([n_seeds, round(1e4 * effect), n_values, chance])
    common = random.normal(0, 0.0009, n_seeds)
    for place, name in enumerate(NAMES[varied][:n_values]):
        for seed in range(n_seeds):
            error = 0.012 + effect * place + common[seed] + random.normal(0, 0.0009)
            if n_seeds > 1 and chance % 2 and (place, seed) == (n_values - 1, 0):
                continue
            yield name, seed, round(error, 4)


def trials_of(varied: str, *how: Any) -> list[Trial]:
    """The trials of such a sweep; larger filters take longer."""
    trials = []
    for number, (name, seed, error) in enumerate(made(varied, *how), start=1):
        value = float(name.split("×")[0])
        config: dict[str, Any] = {varied: int(value) if "×" in name else value}
        errors = [3 * error, 2 * error, error]
        trials.append(made_trial(number, errors, seed=seed, seconds=1 + value, **config))
    return trials


def names_in(text: str, varied: str) -> set[str]:
    """Which values a text names."""
    return {name for name in NAMES[varied] if re.search(rf"(?<![\d.]){name}(?![\d.]*\d)", text)}


@pytest.mark.parametrize("n_seeds", [1, 2, 3, 5, 10])
def test_what_is_said_agrees(n_seeds: int) -> None:
    """Whoever is too close to call in the findings is so in the titles, and at the end."""
    met = set()
    for varied, effect, n_values, chance in MADE:
        trials = trials_of(varied, n_seeds, effect, n_values, chance)
        experiment = {"learning_rate": "lr-sweep", "filter_size": "filter-sweep"}[varied]
        settings = study_settings(experiment=experiment, values=(1, 3), repeats=n_seeds)
        found = findings(settings, trials, N_VALID)
        said = {one.topic: one for one in found}
        rows = summary(trials, varied)
        best_row = min(rows, key=lambda row: row.mean)
        best, n_best = best_row.name, len(best_row.errors)

        claim = said["best against others"].claim
        rivals = names_in(claim, varied) - {best} if "may be as good as" in claim else set()
        if "has the lowest error, but" in claim:
            rivals = {row.name for row in rows} - {best}
        met.add(len(rivals) / (n_values - 1))
        title = sweeps._verdict(rows, varied, CAPTION)
        assert ("too close to call" in title) == bool(rivals)
        assert names_in(title.partition(":")[0], varied) == {best} | rivals

        run = Run(Path(), run_info(settings=settings, state="stopped"), trials, 0, ())
        end = " ".join(" ".join(line.text.split()) for line in ending(run, found))
        assert claim in end
        assert f"{best}, with a validation error of" in end
        assert ("95 % interval" in end) == any(len(row.errors) != 2 for row in rows)
        assert ("95 % interval" in said["best"].numbers) == (n_best != 2)

        if varied == "filter_size":
            worth = said["worth its time"].claim
            shown = re.findall(r"(\d×\d) over (\d×\d)", worth.partition("not for")[0])
            shown = shown if "A lower error is shown" in worth else []
            fastest = rows[-1].name
            worthy = shown[-1][0] if shown else fastest
            title = sweeps._bargain(rows, CAPTION)
            assert title.startswith(f"{worthy} ")
            assert ("may be as good as" in title) == (worthy != best)
            assert best in title
            assert worthy in {best} | rivals
    assert {0.0, 1.0} <= met  # each was seen


def test_a_gain_is_asked_for_each_pair_once() -> None:
    """The p of a pair is the same wherever it is told."""
    found = findings(
        study_settings(experiment="filter-sweep", values=(1, 3)),
        trials_of("filter_size", 5, 0.0, 2, 2),
        N_VALID,
    )
    told = [one.numbers for one in found if one.topic in {"best against others", "worth its time"}]
    first, second = (re.search(r"p [=<] [\d.]+", numbers) for numbers in told)
    assert first is not None
    assert second is not None
    assert first[0] == second[0]
