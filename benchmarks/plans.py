"""Which budgets should a search have? Plans of Hyperband, replayed on recorded learning curves.

    python benchmarks/plans.py --out docs/performance

Trains nothing. The curves are those of results/reference/random-search and wide-space beside it, 50
configurations of 6 epochs each, and within the first epoch docs/performance/fractions.jsonl. A
replay draws as many of the 50 as its plan needs, with replacement, and hands them to two workers
as HpBandSter does. What is above 6 epochs is modelled, see `SLOPE`. BOHB's own proposals cannot be
replayed: its plans are those of Hyperband. Writes plans.json and plans.md. Takes a minute.
"""

from __future__ import annotations

import heapq
import itertools
import json
import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import recording
from numpy.typing import NDArray
from scipy import stats  # type: ignore[import-untyped]

from mnist_lab import study
from mnist_lab.config import Bracket, TrainConfig, bracket, count_rungs
from mnist_lab.records import now
from mnist_lab.words import budget_text

SPACES = {"exercise": "random-search", "wide": "wide-space"}
RECORDED = 6
# Error and loss fall as epochs ** -SLOPE beyond the recorded ones, and a trial's error then differs
# by a factor with this deviation from where the curve is. Both are means over the 14 curves of 18
# epochs that end below 5 % (slopes 0.07 to 0.34) in results/reference/hyperband-whole and in a BOHB
# of whole epochs that was there, too.
SLOPE, NOISE = 0.20, 0.08
# The program of today against the one of the reference runs: 28 instead of 34.4 s an epoch for
# batches of 24 and 54 filters of 5x5. Small networks have gained more.
SPEED = 28 / 34.4
# A validation on all images takes this part of an epoch (docs/performance.md), one on 2,500 within
# the first epoch a quarter of it.
VALIDATION, PARTIAL = 1 / 15, 1 / 4
# Seconds that a training costs besides: starting, its checkpoint, handing over. The mean of the 78
# below one epoch of `hyperband --seed 0` on MNIST (median 0.03), two workers.
OVERHEAD = 0.06
N_WORKERS = 2
# Plans that are worse by more, in points of error, are left out of the table.
WORTHWHILE = 0.1
# The error below which a configuration has learned something.
LEARNED = 0.1
# Ranked last where the loss is not finite.
WORST = 1e9
MINIMA = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2, 1)
MAXIMA = (3, 4, 6, 8, 9, 12, 16, 18)
ETAS = (2, 3, 4, 5, 6, 8)
SURVIVORS = 1, 2
MOST_EPOCHS, MOST_TRIALS = 100, 300
# Up to which budget loss ranks; the last rung is always ranked by error.
RULES = {"never": 0.0, "below 1 epoch": 0.999, "up to 1 epoch": 1.0, "always": math.inf}
RULE = "below 1 epoch"  # as the program


class Curves(NamedTuple):
    """The recorded trials of a space: `errors`, `losses` (50, 6) after whole epochs, float64.

    `within` has (fraction, loss, error) for 7 fractions, (50, 7, 3); `seconds` (50,) of an epoch
    with its validation, while both workers train; `configurations` are the 50.
    """

    errors: NDArray[np.float64]
    losses: NDArray[np.float64]
    within: NDArray[np.float64]
    seconds: NDArray[np.float64]
    configurations: list[TrainConfig]

    def at(self, epochs: float, *, by_loss: bool) -> NDArray[np.float64]:
        """Validation loss or error (50,) after these epochs; within the first, between the records.

        Below the first record (1/64 or 1/32 epoch, by batch size) it is that record.
        """
        whole = self.losses if by_loss else self.errors
        if epochs > RECORDED:
            return self.expected(epochs, by_loss=by_loss)
        if epochs >= 1:
            return whole[:, round(epochs) - 1]
        column = 1 if by_loss else 2
        return np.array(
            [np.interp(math.log(epochs), np.log(one[:, 0]), one[:, column]) for one in self.within]
        )

    def expected(self, epochs: float, *, by_loss: bool = False) -> NDArray[np.float64]:
        """Where the curve (50,) is after these epochs, at least 2, without the luck of the last."""
        whole = self.losses if by_loss else self.errors
        last = round(min(epochs, RECORDED))
        middle = np.sqrt(whole[:, last - 2] * whole[:, last - 1])
        return np.asarray(middle * (epochs / (last - 0.5)) ** -SLOPE)


class Replay(NamedTuple):
    """One replay: the winner's error, all epochs and seconds, and when the target was reached.

    `bracket` is the winner's, from 0; what was not reached is infinite.
    """

    error: float
    epochs: float
    seconds: float
    bracket: int
    epochs_to_target: float
    seconds_to_target: float


def load(space: str, fractions: Path) -> Curves:
    """The recorded curves of a space."""
    run = study.load_run(Path("results/reference") / SPACES[space])
    lines = [json.loads(line) for line in fractions.read_text(encoding="utf-8").splitlines()]
    within = {one["number"]: one["rows"] for one in lines if one["space"] == space}
    rows = [[row[:3] for row in within[number]] for number in range(1, len(run.trials) + 1)]
    epochs = [trial.epochs for trial in run.trials]
    return Curves(
        np.array([[one.valid_error for one in trial] for trial in epochs]),
        finite([[one.valid_loss for one in trial] for trial in epochs]),
        finite(rows),
        np.array([np.median([one.duration_s for one in trial]) for trial in epochs]) * SPEED,
        [trial.configuration for trial in run.trials],
    )


def finite(values: list[Any]) -> NDArray[np.float64]:
    """The numbers as float64, `WORST` for those that are missing or not finite."""
    numbers = np.array(values, dtype=float)
    return np.where(np.isfinite(numbers), numbers, WORST)


def plan(first: float, last: float, eta: int, survivors: int = 1) -> list[Bracket]:
    """One whole round of brackets."""
    n_rungs = count_rungs(first, last, eta)
    return [bracket(number, first, last, eta, survivors) for number in range(n_rungs)]


def seconds_of(curves: Curves, before: float, after: float) -> NDArray[np.float64]:
    """Seconds (50,) of training on from one budget to the next, with the validations."""
    validations = int(after) - int(before) if after >= 1 else PARTIAL
    return curves.seconds * ((after - before) * (1 - VALIDATION) + validations * VALIDATION)


class _Running:
    """A bracket that has begun: its rung, who waits for a worker (last first), who is trained."""

    def __init__(self, number: int, one: Bracket, trials: list[int]) -> None:
        self.number, self.plan, self.rung = number, one, 0
        self.waiting = trials[::-1]
        self.results: list[tuple[float, int]] = []

    def add(self, score: float, trial: int) -> None:
        """Take a result; with the last one of a rung its best go on."""
        self.results.append((score, trial))
        last = len(self.plan.n_configs) - 1
        if len(self.results) == self.plan.n_configs[self.rung] and self.rung < last:
            self.rung += 1
            best = sorted(self.results)[: self.plan.n_configs[self.rung]]
            self.waiting = [trial for _, trial in best][::-1]
            self.results = []


class Tables(NamedTuple):
    """Scores and seconds (50,) of each rung of each bracket."""

    scores: list[list[list[float]]]
    seconds: list[list[list[float]]]


def tables(curves: Curves, brackets: list[Bracket], rule: str) -> Tables:
    """What a replay looks up."""
    scores, seconds = [], []
    for one in brackets:
        by_loss = [budget <= RULES[rule] for budget in one.epochs[:-1]] + [False]
        rungs = zip((0, *one.epochs[:-1]), one.epochs, strict=True)
        pairs = zip(one.epochs, by_loss, strict=True)
        scores.append([curves.at(budget, by_loss=loss).tolist() for budget, loss in pairs])
        # What counts in the end has the luck of its seed, which is drawn anew in each replay.
        scores[-1][-1] = curves.expected(one.epochs[-1]).tolist()
        seconds.append([(seconds_of(curves, *rung) + OVERHEAD).tolist() for rung in rungs])
    return Tables(scores, seconds)


def replay(
    brackets: list[Bracket], known: Tables, drawn: list[int], noise: list[float], target: float
) -> Replay:
    """Two workers train what HpBandSter gives them: the earliest bracket that has something to do.

    Trial i is recorded configuration `drawn[i]`; `noise[i]` is its factor above 6 epochs.
    """
    trials = iter(range(len(drawn)))
    begun: list[_Running] = []
    busy: list[tuple[float, int, _Running]] = []
    clock = epochs = 0.0
    winner = (math.inf, -1)
    reached = (math.inf, math.inf)
    while True:
        while len(busy) < N_WORKERS:
            one = next((one for one in begun if one.waiting), None)
            if one is None and len(begun) < len(brackets):
                number = len(begun)
                n_configs = brackets[number].n_configs[0]
                one = _Running(number, brackets[number], list(itertools.islice(trials, n_configs)))
                begun.append(one)
            if one is None:
                break
            trial = one.waiting.pop()
            budgets = (0, *one.plan.epochs)
            epochs += budgets[one.rung + 1] - budgets[one.rung]
            takes = known.seconds[one.number][one.rung][drawn[trial]]
            heapq.heappush(busy, (clock + takes, trial, one))
        if not busy:
            return Replay(winner[0], epochs, clock, winner[1], *reached)
        clock, trial, one = heapq.heappop(busy)
        score = known.scores[one.number][one.rung][drawn[trial]]
        is_last = one.rung == len(one.plan.epochs) - 1
        if is_last or one.plan.epochs[one.rung] > RECORDED:
            score *= noise[trial]
        if is_last:
            winner = min(winner, (score, one.number))
            if score <= target and reached[0] == math.inf:
                reached = epochs, clock
        one.add(score, trial)


def replays(
    curves: Curves,
    brackets: list[Bracket],
    n: int,
    *,
    target: float = 0.0,
    rule: str = RULE,
) -> list[Replay]:
    """`n` replays of a plan; each plan begins with the same draws."""
    random = np.random.default_rng(0)
    known = tables(curves, brackets, rule)
    n_trials = sum(one.n_configs[0] for one in brackets)
    every = []
    for _ in range(n):
        drawn = random.integers(len(curves.errors), size=n_trials).tolist()
        noise = np.exp(random.normal(0, NOISE, n_trials)).tolist()
        every.append(replay(brackets, known, drawn, noise, target))
    return every


def summary(every: list[Replay], target: float) -> dict[str, float]:
    """Means and deviations of replays; `regret` in points of error above random search's mean."""
    errors = [one.error for one in every]
    values = {
        "regret": 100 * (np.mean(errors) - target),
        "regret_sd": 100 * np.std(errors),
        "epochs": np.mean([one.epochs for one in every]),
        "seconds": np.mean([one.seconds for one in every]),
        "reached": np.mean([one.seconds_to_target < math.inf for one in every]),
        "median_epochs_to_target": np.median([one.epochs_to_target for one in every]),
        "median_seconds_to_target": np.median([one.seconds_to_target for one in every]),
        "won_by_later_brackets": np.mean([one.bracket > 0 for one in every]),
    }
    return {name: round(float(value), 4) for name, value in values.items()}


def candidates() -> list[tuple[tuple[float, float, int, int], str, list[Bracket]]]:
    """Every plan that is tried: (first budget, last, eta, survivors), its part, its brackets."""
    found = {}
    for last, eta, survivors, first in itertools.product(MAXIMA, ETAS, SURVIVORS, MINIMA):
        turn = plan(first, last, eta, survivors)
        for part, brackets in (("one bracket", turn[:1]), ("one round", turn)):
            n_trials = sum(one.n_configs[0] for one in brackets)
            n_epochs = sum(one.n_epochs for one in brackets)
            if len(turn) > 1 and n_epochs <= MOST_EPOCHS and n_trials <= MOST_TRIALS:
                key = (turn[0].epochs[0], last, eta, survivors)
                found[key, part] = (key, part, brackets)
    return list(found.values())


def frontier(plans: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The plans to which no other of their part and survivors is both better and faster."""

    def cost(one: dict[str, Any], what: str) -> float:
        return float(np.mean([one["spaces"][space][what] for space in SPACES]))

    best: dict[Any, float] = {}
    kept = []
    for one in sorted(plans, key=lambda one: cost(one, "seconds")):
        regret = cost(one, "regret")
        kind = one["part"], one["survivors"]
        if regret <= WORTHWHILE and regret < best.get(kind, math.inf):
            best[kind] = regret
            kept.append(one)
    return kept


def fairness(curves: Curves) -> list[dict[str, Any]]:
    """For each budget: places by loss of the final five, and what is ranked too low early.

    `misjudged`: Spearman's correlation of a hyperparameter with (early place - final place), over
    the configurations that `LEARNED`. Positive: large values look worse early than they end.
    """
    final = curves.errors[:, -1]
    learned = np.flatnonzero(final < LEARNED)
    rows = []
    for budget in MINIMA:
        early = stats.rankdata(curves.at(budget, by_loss=True), "ordinal")
        five = [int(early[i]) for i in np.argsort(final)[:5]]
        gap = stats.rankdata(early[learned], "ordinal") - stats.rankdata(final[learned], "ordinal")
        names = (
            "learning_rate",
            "momentum",
            "dropout",
            "weight_decay",
            "batch_size",
            "num_filters",
        )
        columns = {
            name: np.array([getattr(curves.configurations[i], name) for i in learned])
            for name in names
        }
        rows.append(
            {
                "budget": budget,
                "places_of_final_five": five,
                "dropped": {
                    eta: [round(dropped(place - 1, eta), 2) for place in five] for eta in (4, 8)
                },
                "misjudged": {
                    name: round(float(stats.spearmanr(column, gap).statistic), 2)
                    for name, column in columns.items()
                    if len(set(column.tolist())) > 1
                },
            }
        )
    return rows


def dropped(n_better: int, eta: int) -> float:
    """How likely a rung of 64 draws from 50 drops one to which so many of the 50 are better."""
    return float(stats.binom.sf(64 // eta - 1, 64 - 1, n_better / 50))


def name_of(one: dict[str, Any]) -> str:
    """The budgets of the longest bracket, `1/16, 1/4, 1, 4`."""
    return ", ".join(budget_text(budget) for budget in one["budgets"])


def markdown(record: dict[str, Any]) -> str:
    """The plans of the frontier, the rules of ranking and the early places, as tables.

    Errors are in points, `reached` is the share of replays that reach random search's.
    `then`: the median epochs and seconds until random search's error, where most replays reach it.
    """
    plan_of, error = "budgets; eta; survivors", "error above random search's"
    lines = [
        f"| {plan_of} | part | trials | space | {error} | epochs | seconds | reached | then |",
        "| --- | --- | ---: | --- | ---: | ---: | ---: | ---: | --- |",
    ]
    for one in record["frontier"]:
        for space, values in one["spaces"].items():
            after = "–"
            if values["reached"] > 1 / 2:
                after = f"{values['median_epochs_to_target']:.0f} epochs, "
                after += f"{values['median_seconds_to_target']:.0f} s"
            plan_of = f"{name_of(one)}; {one['eta']}; {one['survivors']}"
            lines.append(
                f"| {plan_of} | {one['part']} | {one['trials']} | {space} "
                f"| {values['regret']:+.3f} ± {values['regret_sd']:.3f} | {values['epochs']:.1f} "
                f"| {values['seconds']:.0f} | {values['reached']:.0%} | {after} |"
            )
    lines += ["", f"| ranked by loss | {' | '.join(RULES)} |", f"| --- |{' ---: |' * len(RULES)}"]
    for one in record["rules"]:
        cells = " | ".join(f"{one['regret'][rule]:+.3f}" for rule in RULES)
        lines.append(f"| {name_of(one)}; {one['eta']}, {one['space']} | {cells} |")
    lines += [
        "",
        "| space | after | places of the final five | dropped, eta 4 | eta 8 | misjudged |",
    ]
    lines += ["| --- | ---: | --- | --- | --- | --- |"]
    for space, rows in record["early"].items():
        for row in rows:
            found = ", ".join(f"{name} {value:+.2f}" for name, value in row["misjudged"].items())
            ordered = ", ".join(map(str, row["places_of_final_five"]))
            shares = " | ".join(
                ", ".join(f"{share:.0%}" for share in every) for every in row["dropped"].values()
            )
            lines.append(
                f"| {space} | {budget_text(row['budget'])} | {ordered} | {shares} | {found} |"
            )
    return "\n".join(lines) + "\n"


def measure(spaces: dict[str, Curves], n: int) -> dict[str, Any]:
    """Replay every plan in every space."""
    whole = [Bracket((50,), (RECORDED,))]
    random_search = {space: replays(curves, whole, 4 * n) for space, curves in spaces.items()}
    targets = {
        space: float(np.mean([one.error for one in every]))
        for space, every in random_search.items()
    }
    plans = []
    for (first, last, eta, survivors), part, brackets in candidates():
        found = {
            space: summary(replays(curves, brackets, n, target=targets[space]), targets[space])
            for space, curves in spaces.items()
        }
        plans.append(
            {
                "first": first,
                "last": last,
                "eta": eta,
                "survivors": survivors,
                "part": part,
                "budgets": brackets[0].epochs,
                "trials": sum(one.n_configs[0] for one in brackets),
                "spaces": found,
            }
        )
    rules = [
        {
            "budgets": plan(*budgets)[0].epochs,
            "eta": budgets[2],
            "space": space,
            "regret": {
                rule: summary(replays(curves, plan(*budgets), n, rule=rule), targets[space])[
                    "regret"
                ]
                for rule in RULES
            },
        }
        for budgets in (
            (1 / 16, 4, 4),
            (1 / 16, 6, 8),
            (1 / 16, 6, 3),
            (1 / 8, 6, 2),
            (1 / 4, 16, 4),
        )
        for space, curves in spaces.items()
    ]
    return {
        "date": now()[:10],
        "replays": n,
        "random_search": {
            space: summary(every, targets[space]) | {"error": 100 * targets[space]}
            for space, every in random_search.items()
        },
        "frontier": frontier(plans),
        "rules": rules,
        "early": {space: fairness(curves) for space, curves in spaces.items()},
        "plans": plans,
    }


def main() -> None:
    """Replay the plans and write the files."""
    parser = recording.parser(__doc__)
    parser.add_argument("--replays", type=int, default=500)
    arguments = parser.parse_args()
    fractions = Path("docs/performance/fractions.jsonl")
    spaces = {space: load(space, fractions) for space in SPACES}
    record = measure(spaces, arguments.replays)
    text = json.dumps(record).replace("Infinity", "null")
    (arguments.out / "plans.json").write_text(text + "\n", encoding="utf-8")
    (arguments.out / "plans.md").write_text(markdown(record), encoding="utf-8")
    print(markdown(record))


if __name__ == "__main__":
    main()
