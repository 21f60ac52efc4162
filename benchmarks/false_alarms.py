"""Do findings cry wolf? Made records with nothing in them, and with something.

    python benchmarks/false_alarms.py                # 1,000 of each kind: four minutes of a core
    python benchmarks/false_alarms.py --runs 100     # a look

Trains nothing: errors and losses come from a formula, and what another seed changes is drawn as the
reference runs have it, which is computed first. Of each :class:`Instrument` records are made `runs`
times without an effect, where it may speak up as often as it claims, and a fifth of that with one,
where it should. Writes docs/performance/false_alarms.json and .md.
"""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, NamedTuple

import numpy as np
import recording

sys.path.append(str(Path(__file__).parents[1] / "tests"))

from made_events import made_trial

from mnist_lab import space as spaces
from mnist_lab.analysis import intervals
from mnist_lab.analysis.intervals import binomial_sd
from mnist_lab.analysis.outcomes import grouped
from mnist_lab.config import StudySettings, TrainConfig
from mnist_lab.findings import Finding, findings
from mnist_lab.records import TestScore, Trial, now
from mnist_lab.rundir import RunDir
from mnist_lab.space.sampling import sample
from mnist_lab.words import counted

N_IMAGES = 10_000
ROOT = Path(__file__).resolve().parents[1]
REFERENCE = ROOT / "results" / "reference"
EXERCISE, WIDE = (ROOT / "configs" / name for name in ("space.json", "wide-space.json"))
# Not 0, with which the interval of `expected_of_lowest` was chosen.
SEED = 1
# A finding that draws a conclusion may do so without a reason in one of twenty runs.
MOST = 0.05
# The seeds' standard deviation in sampling errors, at about 1 % error.
FACTOR = intervals.USUAL.factor
# The repeats that it is known from; filter size 3x3 is the learning rate 0.1.
TESTS = ("test-hyperband-whole-6-train", "test-random-search-6-train")
REPEATED = ("lr-sweep", "filter-sweep", *TESTS)
LEARNED = 0.03
LOWEST = "mean of 5, of the lowest of 4 equal values"

Random = np.random.Generator
Records = tuple[StudySettings, list[Trial]]
Make = Callable[[Random, float], Records]
Rule = Callable[[list[Finding]], bool]
# The mean errors over seeds of these configurations.
Truth = Callable[[Sequence[TrainConfig], Random], Any]


class Instrument(NamedTuple):
    """A kind of finding under test.

    `make(random, effect)` gives the settings and the trials of a made study, with nothing to find
    where `effect` is 0; `rule(found)` says whether its findings say that there is. Without an
    effect it may do so in a share of `MOST`; `effect` is one that should be found, and `is_what`
    says in words.
    """

    name: str
    make: Make
    rule: Rule
    effect: float
    is_what: str


def seeds() -> tuple[float, tuple[float, float], int, int]:
    """The seeds' noise in the reference runs: factor, its 95 % interval, trainings, groups."""
    groups: dict[TrainConfig, list[float]] = {}
    for name in REPEATED:
        of_one = grouped(RunDir(REFERENCE / name).read_trials(), lambda one: one.configuration)
        for configuration, trials in of_one.items():
            errors = [one.valid_error for one in trials if one.valid_error is not None]
            if 0 < fmean(errors) < LEARNED:
                groups[configuration] = errors
    ratios = [
        (len(errors) - 1, stdev(errors) / binomial_sd(fmean(errors), N_IMAGES))
        for errors in groups.values()
    ]
    n_free = sum(n for n, _ in ratios)
    factor = math.sqrt(math.fsum(n * ratio**2 for n, ratio in ratios) / n_free)
    low, high = intervals.deviation_interval(factor, n_free + 1)
    return factor, (low, high), n_free + len(groups), len(groups)


def settings(experiment: str, **more: Any) -> StudySettings:
    """Those of a study; its values and repeats are in the trials."""
    return StudySettings(experiment=experiment, base=TrainConfig(epochs=1), **more)


LR_SWEEP = settings("lr-sweep", values=(0.1, 0.01))
FILTER_SWEEP = settings("filter-sweep", values=(1, 3))
TRAIN = settings("train")
TEST = settings("test", fit_on="train+valid")


def measured(true: float, random: Random, factor: float = FACTOR) -> float:
    """What one training shows of a true error, by its seed, on the images that all share."""
    error = true + factor * binomial_sd(true, N_IMAGES) * random.standard_normal()
    return round(min(1.0, max(0.0, error)) * N_IMAGES) / N_IMAGES


def sweep(
    n_values: int, n_seeds: int, true: float = 0.012, *, of: StudySettings = LR_SWEEP
) -> Make:
    """Values that are alike, but that the first is better by `effect`, from the same seeds.

    A seed's luck is shared by half: the shuffling is the same, the network another.
    """
    hyperparameter = "filter_size" if of is FILTER_SWEEP else "learning_rate"

    def make(random: Random, effect: float) -> Records:
        luck = [random.standard_normal() * (0.5**0.5) for _ in range(n_seeds)]
        sd = intervals.assumed_noise(true).factor * binomial_sd(true, N_IMAGES)
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
                trials.append(made_trial(place, [error], seed=seed, seconds=1.0 + value, **varied))
        return of, trials

    return make


def curves(n_seeds: int, n_epochs: int = 12, kept: float = 0.0) -> Make:
    """Errors that fall by `effect` from quarter to quarter, with the jitter of epochs.

    What an epoch is off, the next one keeps in part: `kept`.
    """

    def make(random: Random, effect: float) -> Records:
        trials = []
        for seed in range(n_seeds):
            true, off, errors = 0.015, 0.0, []
            sd = FACTOR * binomial_sd(true, N_IMAGES)
            for epoch in range(n_epochs):
                off = kept * off + (1 - kept**2) ** 0.5 * random.standard_normal()
                fallen = effect * 4 * (n_epochs - 1 - epoch) / n_epochs
                errors.append(round(max(true + fallen + sd * off, 0.0) * N_IMAGES) / N_IMAGES)
            trials.append(made_trial(seed + 1, errors, seed=seed))
        return TRAIN, trials

    return make


def fits(n_seeds: int) -> Make:
    """Training errors that are lower by `effect`, on five times as many images."""

    def make(random: Random, effect: float) -> Records:
        # The images are lucky or not for all trainings alike.
        images = 0.012 + binomial_sd(0.012, N_IMAGES) * random.standard_normal() * (n_seeds == 1)
        trials = []
        for seed in range(n_seeds):
            train = measured(0.012 - effect, random, 0.5)
            error = measured(images, random, 0.5)
            trials.append(made_trial(seed + 1, [error], seed=seed, train=train))
        return TRAIN, trials

    return make


def losses(n_seeds: int, n_epochs: int) -> Make:
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
            trials.append(made_trial(seed + 1, [0.015] * n_epochs, seed=seed, losses=both))
        return TRAIN, trials

    return make


def tested(n_seeds: int) -> Make:
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
            trials.append(made_trial(seed + 1, [], seed=seed, test=score))
        return TEST, trials

    return make


@cache
def search_settings(space: Path, n: int, *, is_halving: bool) -> tuple[Any, StudySettings]:
    """A search space, and the settings of a search of it."""
    loaded = spaces.read_space(space)
    more = {"iters": n, "space": spaces.to_dict(loaded)}
    if is_halving:
        return loaded, settings("hyperband", min_epochs=2, **more)
    return loaded, settings("random-search", **more)


def search(
    nothing: Truth,
    something: Truth,
    *,
    space: Path = EXERCISE,
    n: int = 50,
    plan: Sequence[tuple[int, int]] = ((0, 6),),
) -> Make:
    """A search of `n` configurations drawn from a space, with these true errors.

    `plan` has the rungs of its brackets, `(configurations, epochs)`: of random search there is one,
    for all. The shorter a training, the higher its error.
    """

    def make(random: Random, effect: float) -> Records:
        loaded, of = search_settings(space, n, is_halving=len(plan) > 1)
        draw = np.random.RandomState(random.integers(2**31))
        values: list[dict[str, Any]] = []
        while len(values) < n:
            values += sample(loaded, n, draw)
        drawn = [of.base.model_copy(update=one) for one in values[:n]]
        truth = (something if effect else nothing)(drawn, random)
        errors: list[list[float]] = [[] for _ in drawn]
        size = plan[0][0] or n
        for first in range(0, n, size):
            alive = list(range(first, min(n, first + size)))
            for most, epochs in plan:
                alive = alive[: most or n]
                for one in alive:
                    slow = (plan[-1][1] / epochs) ** 0.5
                    errors[one].append(measured(min(0.9, float(truth[one]) * slow), random))
                alive.sort(key=lambda one: errors[one][-1])
        budgets = [epochs for _, epochs in plan]
        trials = []
        for place, (own, config) in enumerate(zip(errors, drawn, strict=True), start=1):
            chosen = config.model_dump(exclude={"epochs"})
            trials.append(made_trial(place, own, seed=place, at=budgets[: len(own)], **chosen))
        return of, trials

    return make


def spread(scale: float) -> Truth:
    """True errors that have nothing to do with the hyperparameters: 1 %, and more."""
    return lambda drawn, random: np.minimum(
        0.8, 0.01 * np.exp(np.abs(random.standard_normal(len(drawn))) * scale)
    )


def apart(drawn: Sequence[TrainConfig], random: Random) -> Any:
    """Each twice the one before: 1 %, 2 %, 4 %."""
    return random.permutation([min(0.8, 0.01 * 2**place) for place in range(len(drawn))])


def ahead(drawn: Sequence[TrainConfig], random: Random) -> Any:
    """One of 1 % among others of 2 %."""
    return random.permutation([0.01] + [0.02] * (len(drawn) - 1))


def failing(n: int) -> Truth:
    """So many fail, whichever they are."""
    return lambda drawn, random: random.permutation([0.89] * n + [0.02] * (len(drawn) - n))


def above(rate: float) -> Truth:
    """Those with a larger learning rate fail."""
    return lambda drawn, _: [0.89 if one.learning_rate > rate else 0.02 for one in drawn]


def two_conditions(drawn: Sequence[TrainConfig], _random: Random) -> Any:
    """What the wide space has: a large momentum and a large rate together learn nothing."""
    momentum, learning_rate = 0.9, 0.06
    return [
        0.89 if one.momentum >= momentum and one.learning_rate > learning_rate else 0.02
        for one in drawn
    ]


def tendency(of_filters: float = 0.1) -> Truth:
    """As the exercise's space: the learning rate most, then batch, filters and their size."""
    return lambda drawn, _: [
        min(
            0.75,
            0.008
            * (0.08 / one.learning_rate) ** 0.5
            * (one.batch_size / 16) ** 0.35
            * (64 / one.num_filters) ** of_filters
            * one.filter_size**-0.2,
        )
        for one in drawn
    ]


def u_shape(drawn: Sequence[TrainConfig], _random: Random) -> Any:
    """Best in the middle of the learning rates; nothing else matters."""
    return [0.01 * math.exp(math.log10(one.learning_rate / 0.003) ** 2) for one in drawn]


def edge(drawn: Sequence[TrainConfig], _random: Random) -> Any:
    """The lower the batch size, the better."""
    return [0.01 * one.batch_size / 16 for one in drawn]


def says(topic: str, *words: str) -> Rule:
    """Whether a finding of this topic has one of these words."""

    def rule(found: list[Finding]) -> bool:
        texts = [one.text for one in found if one.topic == topic]
        return any(word in text for text in texts for word in words or ("",))

    return rule


BETTER = says("best against others", "is better than", "the others are worse")
GAP = says("training and validation")
SWEEPS_AND_TESTS = (
    *(
        Instrument(
            f"one of {n_values} values is better, {counted(n_seeds, 'seed')}, "
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
            f"a larger filter is worth its time, {counted(n_seeds, 'seed')}",
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
            f"overfitting, {counted(n_seeds, 'seed')}, {n_epochs} epochs",
            losses(n_seeds, n_epochs),
            says("overfitting", "The network overfits"),
            0.004,
            "0.004 an epoch, twice the jitter",
        )
        for n_seeds, n_epochs in ((1, 6), (1, 12), (1, 20), (5, 12))
    ),
    *(
        Instrument(
            f"a digit is harder, {counted(n_seeds, 'network')}",
            tested(n_seeds),
            says("digits", "is the hardest"),
            0.02,
            "2 points",
        )
        for n_seeds in (1, 10)
    ),
)


MATTERS, RULE = says("what matters", "matters"), says("learned nothing", "rule misses")
BEST = says("best against others", "is better")
HYPERBAND = ((9, 2), (3, 6), (1, 18))
NOISE, TENDENCY = spread(1.0), tendency()
SEARCHES = tuple(
    Instrument(name, make, rule, 1.0, is_what)
    for name, make, rule, is_what in (
        ("a hyperparameter matters", search(NOISE, TENDENCY), MATTERS, "four do"),
        ("the same, wide space", search(NOISE, TENDENCY, space=WIDE), MATTERS, "four of six do"),
        ("the same, 20 trials", search(NOISE, TENDENCY, n=20), MATTERS, "four do"),
        (
            "the same, Hyperband of 27",
            search(NOISE, TENDENCY, n=27, plan=HYPERBAND),
            MATTERS,
            "four do",
        ),
        (
            "filters matter, beside the learning rate",
            search(tendency(0.0), TENDENCY),
            says("what matters", "number of filters ("),
            "8 filters: 23 % more error than 64",
        ),
        (
            "a medium learning rate is best",
            search(NOISE, u_shape),
            says("what matters", "a medium learning rate ("),
            "a U",
        ),
        (
            "good ones have a range in common",
            search(NOISE, TENDENCY),
            says("in common"),
            "of the learning rate",
        ),
        ("widen a range", search(NOISE, edge), says("edge", "widen"), "the smaller the batch"),
        ("a rule for 10 that fail", search(failing(10), above(0.025)), RULE, "a rate above 0.025"),
        (
            "the same, wide space",
            search(failing(10), two_conditions, space=WIDE),
            RULE,
            "two conditions together",
        ),
        ("a rule for 3 that fail", search(failing(3), above(0.06)), RULE, "a rate above 0.06"),
        ("the best is better, of 2", search(spread(0.0), apart, n=2), BEST, "half the error"),
        ("the best is better, of 50", search(spread(0.0), ahead), BEST, "half the error"),
        ("the winner was lucky", search(apart, spread(0.2), n=6), says("luck"), "errors alike"),
    )
)


def rate(one: Instrument, effect: float, runs: int) -> float:
    """In which share of the made records the instrument speaks up."""
    random = np.random.default_rng(SEED)
    made = (one.make(random, effect) for _ in range(runs))
    return fmean(one.rule(findings(of, trials, N_IMAGES)) for of, trials in made)


def coverage(runs: int) -> dict[str, float]:
    """In which share the intervals that findings print hold the truth; 95 % is claimed."""
    random = np.random.default_rng(SEED)
    true, n = 0.012, 5
    sd = FACTOR * binomial_sd(true, N_IMAGES)
    held: Counter[str] = Counter()
    for _ in range(runs):
        once = [random.binomial(N_IMAGES, true) / N_IMAGES]
        means = [[measured(true, random) for _ in range(n)] for _ in range(4)]
        deviation = float(np.std(means[0], ddof=1))
        for name, interval, truth in (
            ("error, 1 training (Wilson)", intervals.error_interval(once, N_IMAGES), true),
            ("mean of 5 (Student)", intervals.error_interval(means[0], N_IMAGES), true),
            ("spread of 5", intervals.deviation_interval(deviation, n), sd),
            (LOWEST, intervals.error_interval(min(means, key=fmean), N_IMAGES), true),
        ):
            held[name] += interval is not None and interval.low <= truth <= interval.high
    return {name: count / runs for name, count in held.items()} | {
        f"winner of {n}, on average over seeds, errors {how}": fmean(
            expects_rightly(spread(scale), n, random) for _ in range(runs)
        )
        for n, scale, how in (
            (50, 1.8, "far apart"),
            (50, 0.2, "close together"),
            (50, 0.0, "equal"),
            (11, 0.5, "apart"),
        )
    }


def expects_rightly(truth: Truth, n: int, random: Random) -> bool:
    """Whether the winner's true error lies in the interval of what is expected."""
    true = [float(one) for one in truth([TrainConfig(epochs=1)] * n, random)]
    errors = [measured(one, random) for one in true]
    low, high = intervals.expected_of_lowest(errors, N_IMAGES, intervals.USUAL).interval
    return low <= true[errors.index(min(errors))] <= high


def table(record: dict[str, Any]) -> str:
    """The record as Markdown."""
    noise = record["seeds"]
    low, high = noise["interval"]
    lines = [
        "# False alarms of the findings, simulated",
        "",
        (
            f"`benchmarks/false_alarms.py`: {record['runs']:,} made records of each kind with "
            f"nothing to find, {record['runs'] // 5:,} with an effect. Seeds change an error by "
            f"{noise['factor']:.2f} times the sampling error (95 % interval {low:.2f} to "
            f"{high:.2f}, {noise['trainings']} trainings of {noise['groups']} configurations)."
        ),
    ]
    for kind in ("sweeps and tests", "searches"):
        lines += [
            "",
            f"| of {kind} it says | where nothing is there | where there is | which is |",
            "| --- | ---: | ---: | --- |",
            *(
                f"| {one['name']} | {one['alarms']:.1%} | {one['found']:.1%} | {one['effect']} |"
                for one in record[kind]
            ),
        ]
    lines += [
        "",
        "| interval | holds the truth |",
        "| --- | ---: |",
        *(f"| {name} | {share:.1%} |" for name, share in record["coverage"].items()),
    ]
    return "\n".join(lines) + "\n"


def rates(instruments: Sequence[Instrument], runs: int) -> list[dict[str, Any]]:
    """How often each speaks up, printed as soon as it is known."""
    rows: list[dict[str, Any]] = []
    for one in instruments:
        alarms, found = rate(one, 0.0, runs), rate(one, one.effect, max(runs // 5, 1))
        rows.append({"name": one.name, "alarms": alarms, "found": found, "effect": one.is_what})
        print(rows[-1], flush=True)
    return rows


def main() -> None:
    """Simulate, and write the files."""
    parser = recording.parser(__doc__)
    parser.add_argument("--runs", type=int, default=1000)
    arguments = parser.parse_args()
    factor, interval, trainings, groups = seeds()
    record = {
        "date": now()[:10],
        "runs": arguments.runs,
        "seeds": {
            "factor": factor,
            "interval": interval,
            "trainings": trainings,
            "groups": groups,
        },
        "coverage": coverage(arguments.runs),
        "sweeps and tests": rates(SWEEPS_AND_TESTS, arguments.runs),
        "searches": rates(SEARCHES, arguments.runs),
    }
    recording.write(record, arguments.out / "false_alarms.json")
    (arguments.out / "false_alarms.md").write_text(table(record), encoding="utf-8")


if __name__ == "__main__":
    main()
