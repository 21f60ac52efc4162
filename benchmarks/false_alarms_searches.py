"""Do the findings of searches cry wolf? Made searches in which there is nothing, and in which is.

    python benchmarks/false_alarms_searches.py --out docs/performance

Trains nothing: configurations are drawn from a space, errors come from a formula, and what another
seed changes is drawn as the reference runs have it, which is computed first. Without an effect a
finding may appear as often as it claims; with one it should appear. Writes
false_alarms_searches.json and .md. 1,000 searches of each kind take some minutes.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np

from mnist_lab import space
from mnist_lab.analysis import intervals
from mnist_lab.analysis.outcomes import grouped
from mnist_lab.config import StudySettings, TrainConfig
from mnist_lab.findings import Finding, findings
from mnist_lab.records import Epoch, Rung, Trial, now
from mnist_lab.rundir import RunDir
from mnist_lab.space.sampling import sample

N_VALID = 10_000
ROOT = Path(__file__).resolve().parents[1]
EXERCISE = ROOT / "configs/space.json"
WIDE = ROOT / "configs/wide-space.json"
REFERENCE = ROOT / "results/reference"
# The repeats that ASSUMED_SEEDS is made from; filter size 3x3 is the learning rate 0.1.
REPEATED = ("lr-sweep", "filter-sweep", "test-hyperband-6-train", "test-random-search-6-train")
LEARNED = 0.03
FACTOR = intervals.ASSUMED_SEEDS.factor

Random = np.random.Generator
Truth = Callable[[list[TrainConfig], Random], Any]


class Kind(NamedTuple):
    """A kind of made searches, and what is counted.

    `truth` gives the mean errors over seeds; `counts` says whether a search counts, from what was
    found and from the trials' true errors; `most` is how often that may be, None: the more, the
    better. `plan` has the rungs of a bracket, `(configurations, epochs)`.
    """

    name: str
    truth: Truth
    counts: Callable[[list[Finding], list[Trial], list[float]], bool]
    most: float | None
    space: Path = EXERCISE
    n: int = 50
    plan: tuple[tuple[int, int], ...] = ()


def seeds() -> tuple[float, tuple[float, float], int, int]:
    """The seeds' noise in the reference runs: factor, its 95 % interval, trainings, groups."""
    groups: dict[tuple[Any, ...], list[float]] = {}
    for name in REPEATED:
        for key, trials in grouped(RunDir(REFERENCE / name).read_trials(), _what).items():
            errors = [one.valid_error for one in trials if one.valid_error is not None]
            if 0 < fmean(errors) < LEARNED:
                groups[key] = errors
    found = intervals.seed_noise(groups.values(), N_VALID)
    bounds = intervals.deviation_interval(found.factor, found.n - len(groups) + 1)
    return found.factor, tuple(bounds), found.n, len(groups)  # type: ignore[return-value]


def _what(trial: Trial) -> tuple[Any, ...]:
    return tuple(trial.configuration.model_dump().values())


def training(number: int, configuration: TrainConfig, errors: dict[int, float]) -> Trial:
    """A trial with the error after each budget that it was trained for."""
    last = max(errors)
    epochs = tuple(
        Epoch(
            epoch=budget,
            train_loss=0.1,
            train_error=error,
            valid_loss=0.1,
            valid_error=error,
            duration_s=1.0,
        )
        for budget, error in sorted(errors.items())
    )
    rungs = tuple(
        Rung(
            budget=one.epoch,
            valid_error=one.valid_error,
            valid_loss=0.1,
            diverged=False,
            started=None,
            ended="",
        )
        for one in epochs
    )
    return Trial(
        trial=number,
        id=(number, 0, 0),
        configuration=configuration.model_copy(update={"epochs": last}),
        seed=number,
        repeat=None,
        state="complete",
        diverged=False,
        reason=None,
        started=None,
        ended="",
        worker=None,
        epochs=epochs,
        rungs=rungs,
        test=None,
    )


def measure(true: float, random: Random) -> float:
    """What one training shows of a true error."""
    noise = FACTOR * intervals.binomial_sd(true, N_VALID) * random.standard_normal()
    return round(min(1.0, max(0.0, true + noise)) * N_VALID) / N_VALID


def searched(kind: Kind, drawn: list[TrainConfig], random: Random) -> tuple[list[Trial], Any]:
    """A made search, and the true errors of its trials."""
    truth = [float(one) for one in kind.truth(drawn, random)]
    if not kind.plan:
        trials = [
            training(number, one, {6: measure(true, random)})
            for number, (one, true) in enumerate(zip(drawn, truth, strict=True), start=1)
        ]
        return trials, truth
    errors: list[dict[int, float]] = [{} for _ in drawn]
    for first in range(0, len(drawn), kind.plan[0][0]):
        alive = list(range(first, min(len(drawn), first + kind.plan[0][0])))
        for n, epochs in kind.plan:
            alive = alive[:n]
            for one in alive:
                errors[one][epochs] = measure(min(0.9, truth[one] * (18 / epochs) ** 0.5), random)
            alive.sort(key=lambda one: errors[one][epochs])
    trials = [
        training(number, *both)
        for number, both in enumerate(zip(drawn, errors, strict=True), start=1)
    ]
    return trials, truth


def rate(kind: Kind, runs: int) -> float:
    """In which share of `runs` made searches the kind counts."""
    random = np.random.default_rng(0)
    loaded = space.read_space(kind.space)
    draw = np.random.RandomState(0)
    base = TrainConfig(epochs=6)
    settings = StudySettings(
        experiment="hyperband" if kind.plan else "random-search",
        base=base,
        iters=kind.n,
        min_epochs=2 if kind.plan else None,
        space=space.to_dict(loaded),
    )
    counted = 0
    for _ in range(runs):
        values: list[dict[str, Any]] = []
        while len(values) < kind.n:
            values += sample(loaded, kind.n, draw)
        drawn = [base.model_copy(update=one) for one in values[: kind.n]]
        trials, truth = searched(kind, drawn, random)
        counted += kind.counts(findings(settings, trials, N_VALID), trials, truth)
    return counted / runs


def told(topic: str, words: str = "") -> Callable[[list[Finding], list[Trial], list[float]], bool]:
    """Whether a finding of this topic has these words in its claim."""

    def counts(found: list[Finding], _trials: list[Trial], _truth: list[float]) -> bool:
        return any(one.topic == topic and words in one.text for one in found)

    return counts


def misjudged_luck(_found: list[Finding], trials: list[Trial], truth: list[float]) -> bool:
    """Whether the winner's true error lies outside the interval of what is expected."""
    errors = [one.valid_error or 0.0 for one in trials]
    noise = intervals.ASSUMED_SEEDS
    low, high = intervals.expected_of_lowest(errors, N_VALID, noise).interval
    return not low <= truth[errors.index(min(errors))] <= high


def spread(scale: float) -> Truth:
    """True errors that have nothing to do with the hyperparameters: 1 %, and more."""
    return lambda drawn, random: np.minimum(
        0.8, 0.01 * np.exp(np.abs(random.standard_normal(len(drawn))) * scale)
    )


def failing(n: int) -> Truth:
    """So many fail, whichever they are."""
    return lambda drawn, random: random.permutation([0.89] * n + [0.02] * (len(drawn) - n))


def tendency(drawn: list[TrainConfig], _random: Random) -> Any:
    """As the exercise's space: the learning rate most, then batch, filters and their size."""
    return [
        min(
            0.75,
            0.008
            * (0.08 / one.learning_rate) ** 0.5
            * (one.batch_size / 16) ** 0.35
            * (64 / one.num_filters) ** 0.1
            * one.filter_size**-0.2,
        )
        for one in drawn
    ]


def u_shape(drawn: list[TrainConfig], _random: Random) -> Any:
    """Best in the middle of the learning rates; nothing else matters."""
    return [0.01 * math.exp(math.log10(one.learning_rate / 0.003) ** 2) for one in drawn]


def two_conditions(drawn: list[TrainConfig], _random: Random) -> Any:
    """What the wide space has: a large momentum and a large rate together learn nothing."""
    momentum, learning_rate = 0.9, 0.06
    return [
        0.89 if one.momentum >= momentum and one.learning_rate > learning_rate else 0.02
        for one in drawn
    ]


def edge(drawn: list[TrainConfig], _random: Random) -> Any:
    """The lower the batch size, the better."""
    return [0.01 * one.batch_size / 16 for one in drawn]


ANY = "matters"
HYPERBAND = ((9, 2), (3, 6), (1, 18))
ALARMS = (
    Kind("a hyperparameter matters", spread(1.0), told("what matters", ANY), 0.05),
    Kind("the same, 6 hyperparameters", spread(1.0), told("what matters", ANY), 0.05, WIDE),
    Kind("the same, 20 trials", spread(1.0), told("what matters", ANY), 0.05, n=20),
    Kind(
        "the same, Hyperband",
        spread(1.0),
        told("what matters", ANY),
        0.05,
        n=27,
        plan=HYPERBAND,
    ),
    Kind("good ones have a range in common", spread(1.0), told("in common"), 0.05),
    Kind("widen a range", spread(1.0), told("edge", "widen"), 0.05),
    Kind("a rule for 10 that fail", failing(10), told("learned nothing", "rule misses"), 0.05),
    Kind("the same, wide", failing(10), told("learned nothing", "rule misses"), 0.05, WIDE),
    Kind("a rule for 3 that fail", failing(3), told("learned nothing", "rule misses"), 0.05),
    Kind(
        "the best is better, of 2 equal ones",
        spread(0.0),
        told("best against others", "is better"),
        0.05,
        n=2,
    ),
    Kind(
        "the best is better, of 50 equal ones",
        spread(0.0),
        told("best against others", "is better"),
        0.05,
    ),
    Kind("winner outside what is expected, wide", spread(1.8), misjudged_luck, 0.05),
    Kind("the same, errors close together", spread(0.2), misjudged_luck, 0.05),
    Kind("the same, equal", spread(0.0), misjudged_luck, 0.05),
    Kind("the same, 11 trials", spread(0.5), misjudged_luck, 0.05, n=11),
)
SIGHTS = (
    Kind(
        "learning rate matters most, of four",
        tendency,
        told("what matters", "Learning rate matters"),
        None,
    ),
    Kind("filters matter, too", tendency, told("what matters", "number of filters ("), None),
    Kind("a U is seen", u_shape, told("what matters", "a medium learning rate"), None),
    Kind(
        "the same, Hyperband of 27",
        tendency,
        told("what matters", "Learning rate matters"),
        None,
        n=27,
        plan=HYPERBAND,
    ),
    Kind(
        "the rule of two conditions",
        two_conditions,
        told("learned nothing", "momentum of 0.9 or more"),
        None,
        WIDE,
    ),
    Kind("widen a range", edge, told("edge", "widen"), None),
    Kind("luck", spread(0.2), told("luck"), None),
)


def table(record: dict[str, Any]) -> str:
    """The record as Markdown."""
    seen = record["seeds"]
    low, high = seen["interval"]
    lines = [
        (
            f"Seeds change an error by {seen['factor']:.2f} times the sampling error (95 % "
            f"interval {low:.2f} to {high:.2f}, {seen['trainings']} trainings of "
            f"{seen['groups']} configurations)."
        ),
        "",
        f"{record['runs']:,} made searches of each kind without an effect, a fifth with one.",
        "",
        "| nothing is there, and yet it says | share | at most |",
        "| --- | ---: | ---: |",
        *(f"| {o['name']} | {o['share']:.1%} | {o['most']:.0%} |" for o in record["alarms"]),
        "",
        "| it is there, and it says | share |",
        "| --- | ---: |",
        *(f"| {one['name']} | {one['share']:.1%} |" for one in record["sights"]),
    ]
    return "\n".join(lines) + "\n"


def measured(kinds: tuple[Kind, ...], runs: int) -> list[dict[str, Any]]:
    """The rate of each kind, printed as soon as it is known."""
    rows: list[dict[str, Any]] = []
    for one in kinds:
        rows.append({"name": one.name, "share": rate(one, runs)})
        if one.most is not None:
            rows[-1]["most"] = one.most
        print(rows[-1], flush=True)
    return rows


def main() -> None:
    """Simulate, and write the files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--out", type=Path, default=ROOT / "docs/performance")
    arguments = parser.parse_args()
    factor, interval, trainings, groups = seeds()
    found = {"factor": factor, "interval": interval, "trainings": trainings, "groups": groups}
    record = {
        "date": now()[:10],
        "runs": arguments.runs,
        "seeds": found,
        "alarms": measured(ALARMS, arguments.runs),
        "sights": measured(SIGHTS, arguments.runs // 5),
    }
    for name, text in (("json", json.dumps(record, indent=1) + "\n"), ("md", table(record))):
        path = arguments.out / f"false_alarms_searches.{name}"
        path.write_text(text, encoding="utf-8")
    print(table(record))


if __name__ == "__main__":
    main()
