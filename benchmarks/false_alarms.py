"""Do the findings of sweeps and tests cry wolf? Made records with nothing in them, and with.

    python benchmarks/false_alarms.py --out docs/performance

Trains nothing: errors and losses come from a formula, and what another seed changes is drawn as the
reference runs have it. Of each :class:`Instrument` records are made `runs` times without an effect,
where it may speak up as often as it claims, and with one, where it should. Writes false_alarms.json
and .md. 1,000 records of each kind take about a minute.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np

from mnist_lab.analysis.intervals import binomial_sd, deviation_interval, error_interval
from mnist_lab.config import StudySettings, TrainConfig
from mnist_lab.findings import Finding, findings
from mnist_lab.records import Epoch, Rung, TestScore, Trial, now

N_IMAGES = 10_000
ROOT = Path(__file__).resolve().parents[1]
# A finding that draws a conclusion may do so without a reason in one of twenty runs.
MOST = 0.05
# The seeds' standard deviation in sampling errors, at 1 % and at 15 % error (results/reference).
SEEDS = {0.012: 1.12, 0.15: 3.2}

Random = np.random.Generator
Records = tuple[StudySettings, list[Trial]]


class Instrument(NamedTuple):
    """A kind of finding under test.

    `make(random, effect)` gives the settings and the trials of a made study, with nothing to find
    where `effect` is 0; `rule(found)` says whether its findings, a list of
    :class:`~mnist_lab.findings.Finding`, say that there is. Without an effect it may do so in a
    share of `most`; `effect` is one that should be found, and `is_what` says in words.
    """

    name: str
    make: Callable[[Random, float], Records]
    rule: Callable[[list[Finding]], bool]
    effect: float
    is_what: str
    most: float = MOST


def training(
    number: int,
    seed: int,
    errors: Sequence[float],
    *,
    train: Sequence[float] = (),
    losses: Sequence[tuple[float, float]] = (),
    seconds: float = 1.0,
    test: TestScore | None = None,
    **configuration: Any,
) -> Trial:
    """A trial with these validation errors, one an epoch.

    `train` are its training errors, else the same; `losses` those of validation and training.
    """
    epochs = tuple(
        Epoch(
            epoch=place + 1,
            train_loss=losses[place][1] if losses else 0.1,
            train_error=train[place] if train else error,
            valid_loss=losses[place][0] if losses else 0.1,
            valid_error=error,
            duration_s=seconds,
        )
        for place, error in enumerate(errors)
    )
    last = errors[-1] if errors else None
    rung = {"budget": max(1, len(epochs)), "valid_error": last, "valid_loss": None}
    return Trial(
        trial=number,
        id=(number, 0, 0),
        configuration=TrainConfig(epochs=max(1, len(epochs)), **configuration),
        seed=seed,
        repeat=None,
        state="complete",
        diverged=False,
        reason=None,
        started=None,
        ended="",
        worker=None,
        epochs=epochs,
        rungs=(Rung(**rung, diverged=False, started=None, ended=""),),  # type: ignore[arg-type]
        test=test,
    )


def settings(experiment: str, **more: Any) -> StudySettings:
    """Those of a study; its values and repeats are in the trials."""
    return StudySettings(experiment=experiment, base=TrainConfig(epochs=1), **more)


LR_SWEEP = settings("lr-sweep", values=(0.1, 0.01))
FILTER_SWEEP = settings("filter-sweep", values=(1, 3))
TRAIN = settings("train")
TEST = settings("test", fit_on="train+valid")


def measured(true: float, random: Random, factor: float | None = None) -> float:
    """What one training shows of a true error, by its seed, on the images that all share."""
    by = SEEDS.get(true, SEEDS[0.012]) if factor is None else factor
    error = true + by * binomial_sd(true, N_IMAGES) * random.standard_normal()
    return round(min(1.0, max(0.0, error)) * N_IMAGES) / N_IMAGES


def sweep(
    n_values: int, n_seeds: int, true: float = 0.012, *, of: StudySettings = LR_SWEEP
) -> Callable[[Random, float], Records]:
    """Values that are alike, but that the first is better by `effect`, from the same seeds.

    A seed's luck is shared by half: the shuffling is the same, the network another.
    """
    hyperparameter = "filter_size" if of is FILTER_SWEEP else "learning_rate"

    def make(random: Random, effect: float) -> Records:
        luck = [random.standard_normal() * (0.5**0.5) for _ in range(n_seeds)]
        sd = SEEDS[true] * binomial_sd(true, N_IMAGES)
        trials = []
        for value in range(n_values):
            for seed, shared in enumerate(luck):
                own = shared + random.standard_normal() * (0.5**0.5)
                # The last costs most, so that a gain may be worth its time.
                error = true - effect * (value == n_values - 1) + sd * own
                error = round(max(error, 0.0) * N_IMAGES) / N_IMAGES
                place = n_seeds * value + seed + 1
                named = 2 * value + 1 if of is FILTER_SWEEP else 10.0**-value
                varied: Any = {hyperparameter: named}
                trials.append(training(place, seed, [error], seconds=1.0 + value, **varied))
        return of, trials

    return make


def curves(
    n_seeds: int, n_epochs: int = 12, kept: float = 0.0
) -> Callable[[Random, float], Records]:
    """Errors that fall by `effect` from quarter to quarter, with the jitter of epochs.

    What an epoch is off, the next one keeps in part: `kept`.
    """

    def make(random: Random, effect: float) -> Records:
        trials = []
        for seed in range(n_seeds):
            true, off, errors = 0.015, 0.0, []
            sd = SEEDS[0.012] * binomial_sd(true, N_IMAGES)
            for epoch in range(n_epochs):
                off = kept * off + (1 - kept**2) ** 0.5 * random.standard_normal()
                fallen = effect * 4 * (n_epochs - 1 - epoch) / n_epochs
                errors.append(round(max(true + fallen + sd * off, 0.0) * N_IMAGES) / N_IMAGES)
            trials.append(training(seed + 1, seed, errors))
        return TRAIN, trials

    return make


def fits(n_seeds: int) -> Callable[[Random, float], Records]:
    """Training errors that are lower by `effect`, on five times as many images."""

    def make(random: Random, effect: float) -> Records:
        # The images are lucky or not for all trainings alike.
        images = 0.012 + binomial_sd(0.012, N_IMAGES) * random.standard_normal() * (n_seeds == 1)
        trials = []
        for seed in range(n_seeds):
            train = measured(0.012 - effect, random, 0.5)
            trials.append(training(seed + 1, seed, [measured(images, random, 0.5)], train=[train]))
        return TRAIN, trials

    return make


def losses(n_seeds: int, n_epochs: int) -> Callable[[Random, float], Records]:
    """A validation loss that rises by `effect` an epoch after a third of them, and jitters.

    The training loss falls to the end.
    """

    def make(random: Random, effect: float) -> Records:
        trials = []
        for seed in range(n_seeds):
            both = [
                (
                    0.05
                    + 0.05 * 0.2**epoch
                    + effect * max(0, epoch - n_epochs // 3)
                    + 0.002 * random.standard_normal(),
                    0.1 * 0.8**epoch,
                )
                for epoch in range(n_epochs)
            ]
            trials.append(training(seed + 1, seed, [0.015] * n_epochs, losses=both))
        return TRAIN, trials

    return make


def tested(n_seeds: int) -> Callable[[Random, float], Records]:
    """Test scores: ten classes, of which the last has an error that is higher by `effect`.

    Every network finds the same images hard: it takes nine of ten mistakes from a common list.
    """

    def make(random: Random, effect: float) -> Records:
        sizes = [N_IMAGES // 10] * 10
        hard = [
            random.binomial(size, 0.012 + effect * (digit == len(sizes) - 1))
            for digit, size in enumerate(sizes)
        ]
        trials = []
        for seed in range(n_seeds):
            rows = []
            for digit, (size, count) in enumerate(zip(sizes, hard, strict=True)):
                wrong = int(random.binomial(count, 0.9) + random.binomial(size, 0.0012))
                row = [0] * 10
                row[digit], row[(digit + 1) % 10] = size - wrong, wrong
                rows.append(tuple(row))
            n_wrong = N_IMAGES - sum(row[digit] for digit, row in enumerate(rows))
            score = TestScore(
                test_error=n_wrong / N_IMAGES, test_loss=0.1, confusion=tuple(rows), mistakes=()
            )
            trials.append(training(seed + 1, seed, [], test=score))
        return TEST, trials

    return make


def says(topic: str, *words: str) -> Callable[[list[Finding]], bool]:
    """Whether a finding of this topic has one of these words in its claim."""

    def rule(found: list[Finding]) -> bool:
        claims = [one.claim for one in found if one.topic == topic]
        return any(word in claim for claim in claims for word in words or ("",))

    return rule


BETTER = says("best against others", "is better than", "the others are worse")
GAP = says("training and validation")
INSTRUMENTS = (
    *(
        Instrument(
            f"one of {n_values} values is better, {n_seeds} seed{'s' * (n_seeds > 1)}, "
            f"{100 * true:.3g} % error",
            sweep(n_values, n_seeds, true),
            BETTER,
            effect,
            f"{100 * effect:.2g} points",
        )
        for n_values, n_seeds, true, effect in (
            (2, 5, 0.012, 0.004),
            (4, 5, 0.012, 0.004),
            (8, 5, 0.012, 0.004),
            (4, 3, 0.012, 0.006),
            (4, 2, 0.012, 0.006),
            (4, 1, 0.012, 0.008),
            (4, 5, 0.15, 0.05),
            (4, 1, 0.15, 0.08),
        )
    ),
    *(
        Instrument(
            f"a larger filter is worth its time, {n_seeds} seed{'s' * (n_seeds > 1)}",
            sweep(4, n_seeds, of=FILTER_SWEEP),
            says("worth its time", "A lower error is shown"),
            0.006,
            "0.6 points",
        )
        for n_seeds in (5, 1)
    ),
    Instrument("still falling, 1 seed", curves(1), says("still falling"), 0.004, "0.4 points"),
    Instrument("still falling, 5 seeds", curves(5), says("still falling"), 0.002, "0.2 points"),
    Instrument(
        "the same, 1 seed, half of an epoch's luck kept",
        curves(1, kept=0.5),
        says("still falling"),
        0.004,
        "0.4 points",
    ),
    Instrument("training beats validation, 1 seed", fits(1), GAP, 0.006, "0.6 points"),
    Instrument("training beats validation, 5 seeds", fits(5), GAP, 0.003, "0.3 points"),
    *(
        Instrument(
            f"overfitting, {n_seeds} seed{'s' * (n_seeds > 1)}, {n_epochs} epochs",
            losses(n_seeds, n_epochs),
            says("overfitting", "The network overfits"),
            0.004,
            "0.004 an epoch, twice the jitter",
        )
        for n_seeds, n_epochs in ((1, 6), (1, 12), (1, 20), (5, 12))
    ),
    *(
        Instrument(
            f"a digit is harder, {n_seeds} network{'s' * (n_seeds > 1)}",
            tested(n_seeds),
            says("digits", "is the hardest"),
            0.02,
            "2 points",
        )
        for n_seeds in (1, 10)
    ),
)


def rate(one: Instrument, effect: float, runs: int) -> float:
    """In which share of the made records the instrument speaks up."""
    random = np.random.default_rng(0)
    made = (one.make(random, effect) for _ in range(runs))
    return fmean(one.rule(findings(of, trials, N_IMAGES)) for of, trials in made)


def coverage(runs: int) -> dict[str, float]:
    """In which share the intervals that findings print hold the truth; 95 % is claimed."""
    random = np.random.default_rng(0)
    true, n = 0.012, 5
    sd = SEEDS[true] * binomial_sd(true, N_IMAGES)
    held = {"error, 1 training (Wilson)": 0, "mean of 5 (Student)": 0, "spread of 5": 0}
    held["mean of 5, of the lowest of 4 equal values"] = 0
    for _ in range(runs):
        low, high = error_interval([random.binomial(N_IMAGES, true) / N_IMAGES], N_IMAGES)
        held["error, 1 training (Wilson)"] += low <= true <= high
        errors = [measured(true, random) for _ in range(n)]
        low, high = error_interval(errors, N_IMAGES)
        held["mean of 5 (Student)"] += low <= true <= high
        low, high = deviation_interval(float(np.std(errors, ddof=1)), n)
        held["spread of 5"] += low <= sd <= high
        means = [errors, *([measured(true, random) for _ in range(n)] for _ in range(3))]
        low, high = error_interval(min(means, key=fmean), n_images=N_IMAGES)
        held["mean of 5, of the lowest of 4 equal values"] += low <= true <= high
    return {name: count / runs for name, count in held.items()}


def table(record: dict[str, Any]) -> str:
    """The record as Markdown."""
    lines = [
        (
            f"{record['runs']:,} made records of each kind with nothing to find, "
            f"{record['runs'] // 5:,} with an effect."
        ),
        "",
        "| it says | where nothing is there | at most | where there is | which is |",
        "| --- | ---: | ---: | ---: | --- |",
        *(
            f"| {one['name']} | {one['alarms']:.1%} | {one['most']:.0%} | {one['found']:.1%} | "
            f"{one['effect']} |"
            for one in record["instruments"]
        ),
        "",
        "| interval | holds the truth |",
        "| --- | ---: |",
        *(f"| {name} | {share:.1%} |" for name, share in record["coverage"].items()),
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Simulate, and write the files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--out", type=Path, default=ROOT / "docs/performance")
    arguments = parser.parse_args()
    rows = [
        {
            "name": one.name,
            "alarms": rate(one, 0.0, arguments.runs),
            "most": one.most,
            "found": rate(one, one.effect, arguments.runs // 5),
            "effect": one.is_what,
        }
        for one in INSTRUMENTS
    ]
    record = {
        "date": now()[:10],
        "runs": arguments.runs,
        "instruments": rows,
        "coverage": coverage(arguments.runs),
    }
    for name, text in (("json", json.dumps(record, indent=1) + "\n"), ("md", table(record))):
        (arguments.out / f"false_alarms.{name}").write_text(text, encoding="utf-8")
    print(table(record))


if __name__ == "__main__":
    main()
