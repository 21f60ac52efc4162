"""A race: which configuration is dropped when, a pure function of the errors, round by round.

A round trains every configuration left from the same seed. After each round from the fifth on, a
configuration is dropped if it is clearly worse than another: by Student's one-sided t test on the
differences of equal seeds, at a level of 0.05 / (K - 1) / 10 for K configurations. K - 1 corrects
for the rivals of the best one (Bonferroni), and 10 for testing after each of up to 40 rounds. In
simulations, one of two equals is then dropped against the other with a chance of at most
0.05 / (K - 1) (benchmarks/race.py). So at most 5 % of races drop the best one. No decision depends
on how many rounds are planned, so a race can be continued.
"""

from __future__ import annotations

import math
from functools import cache
from statistics import fmean
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from mnist_lab.config import StudySettings, TrainConfig
    from mnist_lab.records import Trial

# The chance that the best configuration is dropped.
ALPHA = 0.05
# By what a level is divided so that it may be asked after each round, and after how many at most.
LOOKS, MOST_ROUNDS = 10, 40
# The first round after which somebody is dropped.
FEWEST = 5


class Gap(NamedTuple):
    """How far the errors of one lie above those of another, over `n` common seeds.

    The interval is `mean` ± `half`, infinite where `n` is too small. At the level of a race, all
    lower ends hold together with 95 %, for all rounds and all rivals of the best.
    """

    n: int
    mean: float
    half: float

    @property
    def is_worse(self) -> bool:
        """Whether the one is clearly worse."""
        return self.mean > self.half


def gap(one: Sequence[float], other: Sequence[float], level: float) -> Gap:
    """The difference of two, seed by seed, with its interval; it needs at least one pair."""
    pairs = [a - b for a, b in zip(one, other, strict=False)]
    n, middle, half = len(pairs), fmean(pairs), math.inf
    # An interval of no width, as few images give it, would claim to know everything.
    if n >= FEWEST and len(set(pairs)) > 1:
        variance = math.fsum((pair - middle) ** 2 for pair in pairs) / (n - 1)
        half = _quantile(n - 1, level) * math.sqrt(variance / n)
    return Gap(n, middle, half)


@cache
def _quantile(df: int, level: float) -> float:
    from scipy.special import stdtrit  # type: ignore[import-untyped]

    return float(stdtrit(df, 1 - level))


def level_of(n_configurations: int) -> float:
    """The level of each test in a race of so many."""
    return ALPHA / max(n_configurations - 1, 1) / LOOKS


class Contender(NamedTuple):
    """A configuration in a race, the `place`-th from 0.

    `errors` are those of its rounds, None where it failed or diverged; `dropped` is the round after
    which it was dropped, and `by` the place of the better configuration, None where it failed.
    """

    place: int
    errors: tuple[float | None, ...]
    dropped: int | None = None
    by: int | None = None

    @property
    def known(self) -> list[float]:
        """The errors other than None."""
        return [error for error in self.errors if error is not None]


class Race(NamedTuple):
    """The state of a race after `n_rounds` complete rounds, of at most `most`."""

    contenders: tuple[Contender, ...]
    n_rounds: int
    most: int

    @property
    def left(self) -> list[Contender]:
        """Those left, lowest mean error first; before the first round, in the order given."""
        left = [one for one in self.contenders if one.dropped is None]
        return sorted(left, key=lambda one: (fmean(one.known) if one.known else 1, one.place))

    @property
    def leader(self) -> Contender | None:
        """The one left with the lowest mean error; None before the first round, or if none is left.

        Incomplete rounds do not count.
        """
        return self.left[0] if self.n_rounds and self.left else None

    @property
    def is_over(self) -> bool:
        """Whether at most one is left, or all rounds are done."""
        return len(self.left) < 2 or self.n_rounds >= self.most  # noqa: PLR2004 - nobody to beat

    def gap(self, one: Contender, other: Contender, n_rounds: int | None = None) -> Gap | None:
        """How much worse `one` is than `other` after so many rounds; None without a pair."""
        both = list(zip(one.errors, other.errors, strict=False))[:n_rounds]
        sound = [(a, b) for a, b in both if a is not None and b is not None]
        if not sound:
            return None
        ours, theirs = zip(*sound, strict=True)
        return gap(ours, theirs, level_of(len(self.contenders)))


def judge(
    n_configurations: int, results: Mapping[tuple[int, int], float | None], most: int
) -> Race:
    """Run a race on these results.

    Args:
        n_configurations: how many began.
        results: the error by (place, round), rounds from 1; None: failed or diverged. A round
            counts once all its results are there.
        most: the maximum number of rounds.
    """
    left, dropped = list(range(n_configurations)), dict[int, tuple[int, int | None]]()
    level, n_rounds = level_of(n_configurations), 0
    while len(left) > 1 and n_rounds < most and all((k, n_rounds + 1) in results for k in left):
        n_rounds += 1
        if n_rounds < FEWEST:
            continue
        errors = {k: [results[k, number] for number in range(1, n_rounds + 1)] for k in left}
        sound = {
            k: [one for one in known if one is not None]
            for k, known in errors.items()
            if None not in known
        }
        dropped |= {k: (n_rounds, None) for k in left if k not in sound}
        for k, own in sound.items():
            better = [
                (fmean(theirs), i)
                for i, theirs in sound.items()
                if i != k and gap(own, theirs, level).is_worse
            ]
            if better:
                dropped[k] = n_rounds, min(better)[1]
        left = [k for k in left if k not in dropped]
    contenders = []
    for k in range(n_configurations):
        last, by = dropped.get(k, (None, None))
        known = tuple(results[k, number] for number in range(1, (last or n_rounds) + 1))
        contenders.append(Contender(k, known, last, by))
    return Race(tuple(contenders), n_rounds, most)


def race_of(settings: StudySettings, trials: Iterable[Trial]) -> Race:
    """The race of a study, from its trials; their ids are (round from 0, 0, place)."""
    ended = [trial for trial in trials if trial.ended is not None]
    results = {(trial.id[2], trial.id[0] + 1): _result(trial) for trial in ended}
    return judge(len(settings.configurations or ()), results, settings.repeats)


def planned(settings: StudySettings, trials: Collection[Trial]) -> list[TrainConfig]:
    """The configurations proposed so far, then those to come if no more are dropped."""
    race, configurations = race_of(settings, trials), settings.configurations or ()
    before = {trial.id for trial in trials}
    found = [trial.configuration for trial in trials]
    if race.is_over:
        return found
    rounds, places = range(race.n_rounds, race.most), sorted(one.place for one in race.left)
    return found + [
        configurations[k] for number in rounds for k in places if (number, 0, k) not in before
    ]


def _result(trial: Trial) -> float | None:
    """Its error; None where it failed or diverged."""
    is_complete = trial.state == "complete" and trial.epochs
    is_sound = is_complete and trial.epochs[-1].valid_loss is not None
    return trial.valid_error if is_sound else None
