"""How often does a race name a wrong winner, and what does it save? Simulated races.

    python benchmarks/race.py                # 2,000 races of each kind: a quarter of an hour
    python benchmarks/race.py --races 100    # a look

Errors are made, no network is trained: configuration k has the mean error 1 % + its gap, and each
seed adds a normal deviation of its own to each, whose standard deviation is drawn for each
configuration from 0.05 to 0.12 points, as the tests in results/reference have it. A part of the
deviation may be common to all of a seed, as is what the validation images add: neither changes a
paired difference. A configuration is wrong whose gap is more than 0.05 points above the lowest.

Beside the race stands what it replaces: everybody repeated as often as the race may, and the lowest
mean taken; and the lowest of one training each, which is what a search tells. Also measured is what
the test divides its level by: how much more often one of two equals loses when one looks after each
round. Writes docs/performance/race.json and race.md.
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy.special import stdtr  # type: ignore[import-untyped]

from mnist_lab.racing import ALPHA, FEWEST, LOOKS, MOST_ROUNDS, judge

if TYPE_CHECKING:
    from collections.abc import Callable

OUT = Path(__file__).parents[1] / "docs" / "performance"
DEVIATIONS = (0.05, 0.12)  # points
NEAR = 0.05  # points
MOST = 20
# Gaps in points of the configurations, drawn for each race.
KINDS: dict[str, Callable[[random.Random], list[float]]] = {
    "2, equal": lambda _: [0.0] * 2,
    "5, equal": lambda _: [0.0] * 5,
    "10, equal": lambda _: [0.0] * 10,
    "5, gaps from 0 to 0.2": lambda draw: [draw.uniform(0, 0.2) for _ in range(5)],
    "10, gaps from 0 to 0.2": lambda draw: [draw.uniform(0, 0.2) for _ in range(10)],
    "5, one better by 0.05": lambda _: [0.0] + [0.05] * 4,
    "5, one better by 0.1": lambda _: [0.0] + [0.1] * 4,
    "5, one better by 0.2": lambda _: [0.0] + [0.2] * 4,
}


class Outcome(NamedTuple):
    """What a simulated race came to; `wrong` are the race's, all repeated, and one training's."""

    wrong: bool
    wrong_repeated: bool
    wrong_once: bool
    lost_best: bool
    n_left: int
    share: float


def simulated(gaps: list[float], draw: random.Random) -> Outcome:
    """One race of configurations with these gaps, in points."""
    deviations = [draw.uniform(*DEVIATIONS) for _ in gaps]
    errors = {}
    for number in range(1, MOST + 1):
        common = draw.gauss(0, DEVIATIONS[0])
        for place, (gap, deviation) in enumerate(zip(gaps, deviations, strict=True)):
            errors[place, number] = (1 + gap + common + draw.gauss(0, deviation)) / 100
    race = judge(len(gaps), errors, MOST)
    places, lowest = range(len(gaps)), min(gaps)

    def is_wrong(place: int) -> bool:
        return gaps[place] > lowest + NEAR

    means = [fmean(errors[k, number] for number in range(1, MOST + 1)) for k in places]
    best = race.contenders[gaps.index(lowest)]
    return Outcome(
        wrong=is_wrong(race.left[0].place),
        wrong_repeated=is_wrong(means.index(min(means))),
        wrong_once=is_wrong(min(places, key=lambda k: errors[k, 1])),
        lost_best=best.dropped is not None,
        n_left=len(race.left),
        share=sum(len(one.errors) for one in race.contenders) / (len(gaps) * MOST),
    )


def divisors(n_pairs: int) -> dict[str, float]:
    """By what a level must be divided so that equals lose that often within so many rounds."""
    rng = np.random.default_rng(0)
    total, squares, lowest = np.zeros(n_pairs), np.zeros(n_pairs), np.ones(n_pairs)
    found = {}
    for n in range(1, MOST_ROUNDS + 1):
        differences = rng.standard_normal(n_pairs)
        total, squares = total + differences, squares + differences**2
        if n >= FEWEST:
            deviation = np.sqrt((squares - total**2 / n) / (n - 1))
            lowest = np.minimum(lowest, stdtr(n - 1, -total / deviation / np.sqrt(n)))
        if n in {MOST, MOST_ROUNDS}:
            for others in (1, 4, 9):
                level = ALPHA / others
                divisor = level / float(np.quantile(lowest, level))
                found[f"{others + 1} configurations, {n} rounds"] = round(divisor, 1)
    return found


def measured(n_races: int) -> dict[str, dict[str, float]]:
    """The means of the outcomes, kind by kind."""
    table = {}
    for kind, gaps in KINDS.items():
        draw = random.Random(0)  # noqa: S311 - the same numbers each time
        outcomes = [simulated(gaps(draw), draw) for _ in range(n_races)]
        rows = {name: fmean(getattr(one, name) for one in outcomes) for name in Outcome._fields}
        rows["decided"] = fmean(one.n_left == 1 for one in outcomes)
        table[kind] = {name: round(value, 4) for name, value in rows.items()}
        print(kind, table[kind], flush=True)
    return table


def page(record: dict[str, Any]) -> str:
    """The record as a page of Markdown."""
    heads = "| configurations | a race | all repeated | trained once | best dropped | decided | "
    about = (
        f"`benchmarks/race.py`: {record['n']:,} races of each kind, up to {MOST} repeats, seeds "
        f"that vary by {DEVIATIONS[0]} to {DEVIATIONS[1]} points. Wrong is who is more than {NEAR} "
        "points worse than the best: named by a race, by the lowest mean of all repeated, by the "
        "lowest of one training each. Trainings: of those that repeating all takes."
    )
    lines = ["# Races, simulated", "", about, "", heads + "left at the end | trainings |"]
    lines += ["| --- " * 8 + "|"]
    for kind, row in record["races"].items():
        shares = [
            row[name] for name in ("wrong", "wrong_repeated", "wrong_once", "lost_best", "decided")
        ]
        cells = [kind, *(f"{100 * share:.1f} %" for share in shares)]
        cells += [f"{row['n_left']:.1f}", f"{100 * row['share']:.0f} %"]
        lines.append(f"| {' | '.join(cells)} |")
    told = "; ".join(f"{name}: {value}" for name, value in record["divisors"].items())
    looking = (
        "A test after each round instead of one makes one of two equals lose more often, as if its "
        f"level were so many times as large: {told}. The race divides by {LOOKS}."
    )
    return "\n".join([*lines, "", looking, ""])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--races", type=int, default=2000)
    n_races = parser.parse_args().races
    record = {"n": n_races, "races": measured(n_races), "divisors": divisors(100 * n_races)}
    (OUT / "race.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    (OUT / "race.md").write_text(page(record), encoding="utf-8")
