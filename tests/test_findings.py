"""Each finding is right on records that are made so, and absent on those that do not show it."""

from __future__ import annotations

import json
import math
import re
from itertools import combinations
from pathlib import Path
from statistics import fmean, median
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_events import configs, epochs, made_trial, run_info, study_settings
from made_figures import brackets, hyperband
from scipy import stats  # type: ignore[import-untyped]

from mnist_lab.analysis import intervals
from mnist_lab.analysis.intervals import Interval
from mnist_lab.analysis.outcomes import best_trial, endings, final_error
from mnist_lab.config import VARIED, StudySettings
from mnist_lab.findings import findings, page
from mnist_lab.records import Rung, TestScore, Trial
from mnist_lab.words import between, epochs_text, listed, percent, points, signed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mnist_lab.findings import Finding

N_VALID = 10_000
SPACE = json.loads((Path(__file__).parents[1] / "configs/space.json").read_text(encoding="utf-8"))
LR_SWEEP = study_settings()
FILTER_SWEEP = study_settings(experiment="filter-sweep", values=(1, 3))
TRAIN = study_settings(experiment="train", values=None)
TEST = study_settings(experiment="test", values=None, fit_on="train+valid")
SEARCH = study_settings(experiment="random-search", values=None, iters=50, space=SPACE)
HYPERBAND = study_settings(experiment="hyperband", values=None, iters=3, min_epochs=1, space=SPACE)


def sweep(values: Mapping[float, Sequence[Sequence[float]]], **more: Any) -> list[Trial]:
    """A learning-rate sweep: for each value the errors of its repeats; repeat r has seed r."""
    return [
        made_trial(100 * place + seed, errors, seed=seed, learning_rate=value, **more)
        for place, (value, repeats) in enumerate(values.items())
        for seed, errors in enumerate(repeats)
    ]


def told(found: Sequence[Finding], topic: str) -> str:
    """The text of this topic; empty if there is none."""
    return " ".join(one.text for one in found if one.topic == topic)


def of_sweep(values: Mapping[float, Sequence[Sequence[float]]], topic: str, **more: Any) -> str:
    """What a learning-rate sweep's findings tell of a topic."""
    return told(findings(LR_SWEEP, sweep(values, **more), N_VALID), topic)


def test_sweep_of_another_hyperparameter(monkeypatch: pytest.MonkeyPatch) -> None:
    """A new sweep needs only its name: its findings name what it varies."""
    monkeypatch.setitem(VARIED, "lr-sweep", "batch_size")
    losses = [(0.1, 0.1), (0.05, 0.1), (0.2, 0.01), (0.3, 0.01)]
    trials = [
        made_trial(1, [0.02] * 4, batch_size=32, losses=losses),
        made_trial(2, [0.03] * 4, batch_size=64),
    ]
    words = " ".join(one.text for one in findings(LR_SWEEP, trials, N_VALID))
    assert "batch size 32" in words
    assert "2.00 % (1.74 to 2.29 %) with 32 and" in words
    assert "learning rate 32" not in words.lower()


class TestBest:
    """Which value is the best, and how sure that is."""

    def test_one_repeat(self) -> None:
        """The error has Wilson's interval, as computed by scipy."""
        text = of_sweep({0.1: [[0.0127]], 0.01: [[0.0309]]}, "best")
        low, high = stats.binomtest(127, N_VALID).proportion_ci(method="wilson")
        assert text.startswith("Learning rate 0.1, batch size 128")
        assert f"error 1.27 % (95 % Wilson interval {100 * low:.2f} to {100 * high:.2f} %" in text
        assert text.endswith("10,000 validation images, n = 1).")

    def test_repeats(self) -> None:
        """The mean over seeds has Student's interval, as computed by scipy."""
        errors = [0.010, 0.012, 0.015]
        text = of_sweep({0.1: [[error] for error in errors], 0.01: [[0.5]] * 3}, "best")
        low, high = stats.t.interval(0.95, 2, np.mean(errors), stats.sem(errors))
        assert "validation error 1.23 ± 0.25 %" in text
        assert f"95 % Student interval {100 * low:.2f} to {100 * high:.2f} %" in text
        assert text.endswith("n = 3).")

    @pytest.mark.parametrize("second", [0.0309, 0.0140, 0.0127])
    def test_one_repeat_cannot_tell(self, second: float) -> None:
        """Of one repeat only the intervals are told, never that a value is distinguishable."""
        text = of_sweep({0.1: [[0.0127]], 0.01: [[second]]}, "best against second")
        assert ("the intervals overlap" in text) == (second < 0.03)
        assert ("the intervals do not overlap" in text) == (second > 0.03)
        assert "cannot be told" in text
        assert "distinguishable" not in text

    @pytest.mark.parametrize("second", [[0.013, 0.014, 0.0155], [0.011, 0.019, 0.0125]])
    def test_paired(self, second: list[float]) -> None:
        """Seeds are shared, so differences are taken seed by seed, as in scipy's paired test.

        In the first case the seeds spread more than the values differ: unpaired, nothing is seen.
        """
        first = [0.010, 0.0115, 0.0125]
        values = {0.1: [[error] for error in first], 0.01: [[error] for error in second]}
        text = of_sweep(values, "best against second")
        expected = stats.ttest_rel(second, first)
        low, high = expected.confidence_interval()
        assert f"interval {signed(low)} to {signed(high)}, n = 3 pairs" in text
        assert (expected.pvalue >= 0.05) == ("not distinguishable" in text) == (max(second) > 0.016)
        assert "distinguishable" in text

    def test_few_pairs(self) -> None:
        """Repeats are paired by their seed: with one pair, or equal ones, there is no interval.

        That of two is wide, and the text says so. Means over other seeds can disagree with the
        pairs, which is then said.
        """
        for first, second, said in (
            ((0.010, 0.011), (0.02, 0.022), "n = 2 pairs"),
            ((0.010, 0.011), (0.02, 0.022), "wide: ± 12.7 standard errors"),
            ((0.01, 0.012), (0.02,), "1 pair of equal seeds: too little"),
            ((0.01,) * 2, (0.02,) * 2, "2 pairs of equal seeds, each +1.00 points apart: too litt"),
            ((0.020, 0.0201, 0.001), (0.016, 0.0162), "in these pairs it is the other way round"),
        ):
            values = {0.1: [[error] for error in first], 0.01: [[error] for error in second]}
            assert said in of_sweep(values, "best against second")

    def test_single_value(self) -> None:
        """One value is compared with nothing."""
        assert of_sweep({0.1: [[0.01]]}, "best against second") == ""
        alone = findings(TRAIN, [made_trial(1, [0.3, 0.2, 0.1, 0.05])], N_VALID)
        assert next(one.topic for one in alone) == "best"
        assert told(alone, "90 % accuracy") == ""


class TestLearning:
    """Who passes 90 %, still falls, barely learns, diverges."""

    def test_passing(self) -> None:
        """An epoch is named only if the mean over repeats is below 10 % then; else nobody is."""
        text = of_sweep(
            {0.1: [[0.08, 0.02], [0.15, 0.02]], 0.01: [[0.2, 0.099]] * 2, 1e-3: [[0.3, 0.1]] * 2},
            "90 % accuracy",
        )
        assert "0.1 after epoch 2 (2.00 %) and 0.01 after epoch 2 (9.90 %)" in text
        assert "not within 2 epochs: 0.001 (10.0 %)" in text
        none = of_sweep({0.1: [[0.8]], 0.01: [[0.9]]}, "90 % accuracy")
        assert ": none; not within 1 epoch: 0.1 (80.0 %" in none

    @pytest.mark.parametrize(
        ("errors", "falls"),
        [
            ([0.5, 0.4, 0.3, 0.2, 0.15, 0.12, 0.1, 0.08], True),
            ([0.5, 0.4, 0.3, 0.2, 0.1, 0.08, 0.06, 0.061], False),  # it rose at last
            ([0.06, 0.05, 0.04, 0.03, 0.02, 0.0201, 0.02, 0.0199], False),  # within the noise
            ([0.03, 0.03, 0.02, 0.02, 0.02, 0.2, 0.0191, 0.019], False),  # only a bad epoch before
            ([0.9, 0.86, 0.82, 0.78, 0.74, 0.70, 0.66, 0.62], False),  # barely learns
            ([0.3, 0.2], True),
            ([0.3], False),
        ],
    )
    def test_falling(self, errors: list[float], *, falls: bool) -> None:
        """Only a fall beyond the noise that goes on to the last epoch counts."""
        text = of_sweep({0.1: [errors]}, "still falling")
        assert bool(text) == falls

    def test_amount_of_the_fall(self) -> None:
        """The numbers are those of the rule, computed by hand; what is unfinished has no end."""
        errors = [0.5, 0.4, 0.3, 0.2, 0.15, 0.12, 0.1, 0.08]
        noise = 2 * math.sqrt((0.03**2 / 2 + 0.02**2 / 2) / 2)
        expected = f"by 4.50 ± {100 * noise:.2f} points (mean of the last 2 of 8 epochs"
        assert expected in of_sweep({0.1: [errors]}, "still falling")
        assert of_sweep({0.1: [[0.3, 0.2, 0.1]]}, "still falling", epochs=4) == ""

    def test_barely(self) -> None:
        """The advice is what the sweep itself shows: here a larger rate, there a smaller one."""
        larger = of_sweep({0.1: [[0.01]], 1e-3: [[0.3]], 1e-4: [[0.785]]}, "barely learns")
        assert larger.startswith(
            "Learning rate 0.0001 barely learns: 78.5 % (77.7 to 79.3 %) after 1 epoch"
        )
        assert larger.endswith("Try a larger learning rate: 0.001 reaches 30.0 %.")
        smaller = of_sweep({1.0: [[0.9]], 0.1: [[0.01]], 0.01: [[0.03]]}, "barely learns")
        assert smaller.endswith("Try a smaller learning rate: 0.1 reaches 1.00 %.")
        assert "Try" not in of_sweep({1.0: [[0.9]], 0.1: [[0.8]]}, "barely learns")
        assert of_sweep({0.1: [[0.5]]}, "barely learns") == ""
        falling = of_sweep({1e-4: [[0.9, 0.88]]}, "barely learns")
        assert falling.endswith(
            "It still falls, by 2.00 ± 0.85 points over the last 1 epoch against the 1 before."
        )

    def test_diverging(self) -> None:
        """How many, when, and which smaller rate did not; else a tenth of it."""
        bad = [
            made_trial(1, [0.5, 0.9], diverged=True, learning_rate=2.0, epochs=5),
            made_trial(2, [0.5, 0.4, 0.9], diverged=True, learning_rate=2.0, epochs=5),
            made_trial(3, [0.5] * 5, learning_rate=2.0),
        ]
        alone = told(findings(LR_SWEEP, bad, N_VALID), "diverges")
        assert alone.startswith("Learning rate 2 diverged in 2 of 3 trainings, first in epoch 2.")
        assert alone.endswith("Try a learning rate ten times smaller: 0.2.")
        beside = [*bad, made_trial(4, [0.02] * 5, learning_rate=0.5)]
        text = told(findings(LR_SWEEP, beside, N_VALID), "diverges")
        assert text.endswith("0.5 did not, and reaches 2.00 %.")
        sizes = told(findings(FILTER_SWEEP, [bad[0]], N_VALID), "diverges")
        assert sizes.endswith("Try a learning rate below 2.")
        assert of_sweep({0.1: [[0.5]]}, "diverges") == ""


class TestFitting:
    """Training against validation."""

    def test_gap(self) -> None:
        """A gap within the interval of the validation error is not called one."""
        trials = [
            made_trial(1, [0.0127], train=0.007, learning_rate=0.1),
            made_trial(2, [0.0309], train=0.0292, learning_rate=0.01),
            made_trial(3, [0.102], train=0.117, learning_rate=0.001),
        ]
        text = told(findings(LR_SWEEP, trials, N_VALID), "training and validation")
        above, below, within = text.split(". ")
        assert above.endswith("interval: 0.1 by 0.57 points (1.27 % against 0.70 %)")
        assert "training error: 0.001 by 1.50 points (10.2 % against 11.7 %)" in below
        assert within.endswith("of the validation error: 0.01 (3.09 % against 2.92 %).")

    def test_overfitting(self) -> None:
        """It takes a validation loss that rises clearly and a training loss that falls."""
        short, falls = [0.5, 0.3, 0.2, 0.21, 0.22, 0.23], [0.5, 0.4, 0.3, 0.2, 0.1, 0.05]
        long, slowly = [0.5, 0.2, 0.1, 0.1], [0.5, 0.3, 0.2, 0.15, 0.1, 0.1, 0.05, 0.04]
        for valid, train, overfits in (
            (short, falls, True),
            (short, [*falls[:5], 0.12], False),
            ([*short[:4], 0.20, 0.23], falls, False),
            ([*long, 0.10, 0.11, 0.30, 0.29], slowly, True),
            ([*long, 0.10, 0.20, 0.12, 0.21], slowly, False),
        ):
            trial = made_trial(1, [0.1] * len(valid), losses=list(zip(valid, train, strict=True)))
            text = told(findings(TRAIN, [trial], N_VALID), "overfitting")
            assert ("overfitting" in text) == overfits
            assert f"lowest after epoch 3 of {len(valid)}" in text
            assert f"{valid[-1]:.3g} at the end; the training loss went from {train[2]:.3g}" in text


class TestCosts:
    """What each filter size costs and gains."""

    def trials(self, *, third: float = 0.0110) -> list[Trial]:
        """Three sizes: the second is clearly better than the first, the third costs twice that."""
        rows = [(1, 0.0677, 1.0), (3, 0.0127, 2.0), (5, third, 4.0)]
        return [
            made_trial(size, [error] * 4, seconds=seconds, filter_size=size)
            for size, error, seconds in rows
        ]

    def test_cost(self) -> None:
        """Times are multiples of the smallest size's, gains are differences of the errors."""
        text = told(findings(FILTER_SWEEP, self.trials(), N_VALID), "cost")
        assert "1×1 (1 s per epoch, the median of 3; 6.77 %)" in text
        assert "3×3 takes 2 times as long for 5.50 points less error" in text
        assert "5×5 takes 4 times as long for 5.67 points less error" in text

    def test_worth(self) -> None:
        """A gain that the intervals do not show is not called one."""
        for third, shown, words in (
            (0.0110, False, "5×5 over 3×3 (2 times the time, 0.17 points less error)"),
            (0.0142, False, "5×5 over 3×3 (2 times the time, 0.15 points more error)"),
            (0.0050, True, "5×5 over 3×3 (2 times the time, 0.77 points less error)"),
        ):
            trials = self.trials(third=third)
            text = told(findings(FILTER_SWEEP, trials, N_VALID), "worth its time")
            gain, _, none = text.partition("No gain beyond")
            assert "3×3 over 1×1" in gain
            assert (words in gain, words in none) == (shown, not shown)


def search_trials(errors: Sequence[float], **lists: Sequence[Any]) -> list[Trial]:
    """A random search with these errors and hyperparameters, else those of the space's middle."""
    middle = {"learning_rate": 0.003, "batch_size": 45, "num_filters": 22, "filter_size": 3}
    return [
        made_trial(n + 1, [error], **middle | {name: values[n] for name, values in lists.items()})
        for n, error in enumerate(errors)
    ]


def of_search(topic: str, errors: Sequence[float], **lists: Sequence[Any]) -> str:
    """What a random search's findings tell of a topic."""
    return told(findings(SEARCH, search_trials(errors, **lists), N_VALID), topic)


class TestSearch:
    """What a search shows."""

    def test_in_common(self) -> None:
        """What decides the error is named with its interval; what does not is not."""
        random = np.random.default_rng(1)
        rates = 10 ** random.uniform(-4, -1, 40)
        sizes = random.integers(16, 129, 40).tolist()
        errors = 0.001 / rates**0.5
        lists = {"learning_rate": rates.tolist(), "batch_size": sizes}
        text = of_search("in common", errors.tolist(), **lists)
        assert "a higher learning rate (rank correlation -1.00, -1.00 to -1.00)" in text
        assert "batch" not in text
        assert "n = 40 after 1 epoch" in text
        assert "1 of 2 hyperparameters" in text
        good = sorted(rates)[-5:]
        assert f"best 5 have learning rates of {good[0]:.3g} to {good[-1]:.3g}" in text

    def test_nothing_in_common(self) -> None:
        """Noise is not called a tendency, and of a handful of trials none could be told."""
        random = np.random.default_rng(2)
        errors, sizes = random.uniform(0.01, 0.02, 40), random.integers(16, 129, 40)
        lists = {"batch_size": sizes.tolist(), "filter_size": [3, 5] * 20}
        text = of_search("in common", errors.tolist(), **lists)
        assert text.startswith("None of 2 hyperparameters is seen to matter")
        few = of_search("in common", [0.01, 0.02, 0.03], learning_rate=[0.1, 0.01, 0.001])
        assert few == ""

    def test_choices(self) -> None:
        """Of two choices the difference of the medians is told."""
        errors = [0.02 + n / 10_000 for n in range(10)] + [0.01 + n / 10_000 for n in range(10)]
        text = of_search("in common", errors, filter_size=[3] * 10 + [5] * 10)
        assert "filter size 5 rather than 3 (median of 5 less that of 3 -1.00 points, " in text
        text = of_search("in common", errors, filter_size=[5] * 10 + [3] * 10)
        assert "filter size 3 rather than 5 (median of 5 less that of 3 +1.00 points, " in text

    def test_conditional_hyperparameters_are_left_out(self) -> None:
        """Where a condition leaves one out, its value was not drawn: it correlates with nothing."""
        space = SPACE | {"conditions": [{"type": "AND", "parts": [{"child": "batch_size"}]}]}
        settings = SEARCH.model_copy(update={"space": space})
        errors = [0.01 + n / 1000 for n in range(20)]
        trials = search_trials(errors, batch_size=list(range(16, 36)))
        assert "batch size" in told(findings(SEARCH, trials, N_VALID), "in common")
        assert told(findings(settings, trials, N_VALID), "in common") == ""

    def test_equal_budgets_only(self) -> None:
        """With Hyperband the budget that most trainings have is asked, and named."""
        trials = []
        for trial in hyperband(brackets(6)):
            size = {"batch_size": 16 + trial.trial}
            drawn = trial.configuration.model_copy(update=size)
            trials.append(trial.model_copy(update={"configuration": drawn}))
        ended = [t for t in endings(trials) if final_error(t) is not None]
        budgets = [t.configuration.epochs for t in ended]
        most = max(set(budgets), key=lambda one: (budgets.count(one), one))
        found = findings(HYPERBAND, trials, N_VALID)
        assert f"n = {budgets.count(most)} after {epochs_text(most)}" in told(found, "in common")
        assert told(found, "more iterations") == ""
        winner = best_trial(trials)
        assert winner is not None
        n_last = budgets.count(winner.configuration.epochs)
        assert f"lowest of {n_last} errors" in told(found, "optimism")

    @pytest.mark.parametrize(
        ("values", "near"),
        [
            ({"batch_size": 16}, ["batch size 16 (16 to 128)"]),
            ({"learning_rate": 0.08}, ["learning rate 0.08 (0.0001 to 0.1)"]),
            # 0.0695 of 0.1 is near on a linear scale, and 5.3 % of the range away on this one.
            ({"learning_rate": 0.0695}, []),
            ({"num_filters": 60, "batch_size": 17}, ["filters 60 (8 to 64)", "batch size 17"]),
        ],
    )
    def test_edge(self, values: dict[str, Any], near: list[str]) -> None:
        """The edge is where a twentieth of the range is left on its own scale."""
        text = of_search("edge", [0.01], **{name: [value] for name, value in values.items()})
        assert text.startswith("The best is at the edge" if near else "The best lies inside")
        for words in near:
            assert words in text
        assert ("27 % of random configurations" in text) == bool(near)
        if not near:
            assert "learning rate 0.0695, 5 % of its range away" in text

    def test_order_of_endings(self) -> None:
        """Which training ended first, which depends on the workers, changes no number."""
        trials = search_trials(
            [0.01 + n * 7 % 20 / 2000 for n in range(20)],
            batch_size=[16 + n * 11 % 90 for n in range(20)],
            filter_size=[3, 5] * 10,
        )
        backwards = []
        for trial in trials:
            ended = {"ended": f"{50 - trial.trial}"}
            rungs = (trial.rungs[0].model_copy(update=ended),)
            backwards.append(trial.model_copy(update=ended | {"rungs": rungs}))
        assert findings(SEARCH, backwards, N_VALID) == findings(SEARCH, trials, N_VALID)

    def test_others(self) -> None:
        """Those whose interval overlaps the best's are counted."""
        text = of_search("best against others", [0.0096, 0.0105, 0.012, 0.05])
        assert text.startswith("The second best has 1.05 % (0.87 to 1.27 %); 2 of the 3 others")
        assert "none of the 1 others" in of_search("best against others", [0.0096, 0.05])
        assert of_search("best against others", [0.0096]) == ""

    def test_more_iterations(self) -> None:
        """1/(n + 1), n more for an even chance, and what a random half would have found."""
        errors = [0.010, 0.012, 0.020, 0.030]
        trials = [*search_trials(errors), made_trial(9, [0.9], diverged=True, epochs=2)]
        trials[4] = trials[4].model_copy(update={"epochs": trials[4].epochs})
        text = told(findings(SEARCH, trials, N_VALID), "more iterations")
        half = fmean(min(pair) for pair in combinations(errors, 2))
        assert (
            "the best of 5 with probability 1/6 = 16.7 %, and an even chance takes 5 more" in text
        )
        assert f"reached {percent(half)} on average" in text
        assert f"gained {points(half - 0.010)} points" in text

    def test_all_diverged(self) -> None:
        """Without an incumbent there are only the counts."""
        trials = [
            made_trial(1, [0.9], diverged=True, learning_rate=0.1, epochs=2),
            made_trial(2, [], state="failed"),
        ]
        assert [one.topic for one in findings(SEARCH, trials, N_VALID)] == ["diverged", "failed"]


class TestEstimates:
    """The statistics, against scipy or by counting."""

    def test_rank_correlation(self) -> None:
        """The value is scipy's, equal values included; equal records have equal intervals."""
        random = np.random.default_rng(3)
        x = random.integers(0, 12, 30).astype(float)
        y = np.round(x + random.normal(0, 6, 30))
        found = intervals.rank_correlation(x.tolist(), y.tolist())
        assert found is not None
        assert found.value == pytest.approx(stats.spearmanr(x, y).statistic)
        # Of bivariate normal values, Fisher's interval is close.
        half = 1.96 / math.sqrt(30 - 3)
        expected = [math.tanh(math.atanh(found.value) + side * half) for side in (-1, 1)]
        assert found.interval == pytest.approx(expected, abs=0.08)
        assert intervals.rank_correlation(x.tolist(), y.tolist()) == found

    def test_no_rank_correlation(self) -> None:
        """Equal values have none, and of a few pairs none is told."""
        assert intervals.rank_correlation([1.0] * 20, range(20)) is None
        assert intervals.rank_correlation(range(9), range(9)) is None

    def test_median_difference(self) -> None:
        """The interval of the difference agrees with scipy's bootstrap."""
        random = np.random.default_rng(5)
        one, other = random.normal(1, 1, 25).tolist(), random.normal(0, 2, 15).tolist()
        found = intervals.median_difference(one, other)
        assert found is not None
        assert found.value == pytest.approx(median(one) - median(other))
        assert found.interval.low < found.value < found.interval.high
        assert intervals.median_difference(one, other[:4]) is None

    def test_optimism(self) -> None:
        """Of equal errors the minimum of normal noise is low by what order statistics say."""
        n, error = 20, 0.02
        found = intervals.optimism([error] * n, N_VALID)
        expected = 1.867475 * math.sqrt(error * (1 - error) / N_VALID)  # of 20 normal values
        assert found.value == pytest.approx(expected, rel=0.02)
        assert found.excludes_zero

    def test_no_optimism(self) -> None:
        """One that is far ahead was not chosen by chance, and a perfect one has no noise."""
        ahead = intervals.optimism([0.02, 0.5, 0.6], N_VALID)
        assert abs(ahead.value) < 0.0001
        assert not ahead.excludes_zero
        assert intervals.optimism([0.0, 0.5], N_VALID).value == 0

    @given(st.lists(st.floats(0, 1), min_size=2, max_size=7), st.data())
    def test_best_of(self, errors: list[float], data: st.DataObject) -> None:
        """The expected minimum is the mean over all ways to draw."""
        n_drawn = data.draw(st.integers(1, len(errors)))
        expected = fmean(min(drawn) for drawn in combinations(errors, n_drawn))
        assert intervals.best_of(errors, n_drawn) == pytest.approx(expected)

    def test_deviation_interval(self) -> None:
        """The bounds of a standard deviation are chi-square quantiles."""
        low, high = intervals.deviation_interval(0.06, 4)
        assert low == pytest.approx(0.06 * math.sqrt(3 / stats.chi2.ppf(0.975, 3)))
        assert high == pytest.approx(0.06 * math.sqrt(3 / stats.chi2.ppf(0.025, 3)))


def score(*wrong: int) -> TestScore:
    """A test on 1,000 images, 100 of each digit; so many of each are taken for the next digit."""
    rows = tuple(
        tuple(
            100 - wrong[true] if predicted == true else wrong[true] * (predicted == (true + 1) % 10)
            for predicted in range(10)
        )
        for true in range(10)
    )
    return TestScore(test_error=sum(wrong) / 1000, test_loss=0.1, confusion=rows)


GOOD = score(1, 0, 1, 1, 1, 1, 1, 1, 2, 1)


class TestTested:
    """What the test images say."""

    def test_one_repeat(self) -> None:
        """One score has Wilson's interval, and no spread."""
        found = findings(TEST, [made_trial(1, [], test=GOOD)], N_VALID)
        low, high = stats.binomtest(10, 1000).proportion_ci(method="wilson")
        text = told(found, "test error")
        assert "trained on train+valid: test error 1.00 %" in text
        assert f"for the images {100 * low:.2f} to {100 * high:.2f} %, 1,000 images, n = 1" in text
        assert told(found, "seeds") == ""
        digits = told(found, "digits")
        assert "from 0.00 % for 1 (0.00 to 3.70 %, 100 images) to 2.00 % for 8" in digits
        assert "8 is taken for 9, 2 times in 1 repeat." in digits

    def test_seeds(self) -> None:
        """The spread over seeds is compared with the images' only as far as it is known."""
        for others, verdict in (
            ([score(*[1] * 10), score(*[2] * 10)], "cannot be told from"),
            ([score(*[n] * 10) for n in (0, 4, 8, 12)], "is larger than"),
            ([score(*[2] * 9, n) for n in (2, 3, 2, 3, 2, 3, 2, 3)], "is smaller than"),
        ):
            trials = [made_trial(n, [], test=one) for n, one in enumerate(others)]
            text = told(findings(TEST, trials, N_VALID), "seeds")
            assert f"which {verdict} the sampling error" in text

    def test_equal_scores(self) -> None:
        """Repeats that all score the same, or nothing wrong, raise nothing."""
        perfect = score(*[0] * 10)
        found = findings(TEST, [made_trial(n, [], test=perfect) for n in (1, 2)], N_VALID)
        assert [one.topic for one in found] == ["test error"]


class TestLittle:
    """Nothing silly where there is little or nothing."""

    @pytest.mark.parametrize("settings", [LR_SWEEP, FILTER_SWEEP, TRAIN, TEST, SEARCH, HYPERBAND])
    def test_nothing(self, settings: StudySettings) -> None:
        """No trial, no finding; failed ones are counted and no more; nor what only waits."""
        assert findings(settings, [], N_VALID) == []
        failed = [made_trial(n, [], state="failed") for n in (1, 2)]
        (only,) = findings(settings, failed, N_VALID)
        assert only.text == "2 of 2 trials failed, and no finding counts them."
        assert findings(settings, [made_trial(1, [], state="waiting")], N_VALID) == []
        assert findings(settings, [made_trial(1, [0.1])], 0) == []

    def test_so_far(self) -> None:
        """While trials wait, every topic says that it is not the end."""
        trials = [made_trial(1, [0.01]), made_trial(2, [], state="waiting")]
        topics = [one.topic for one in findings(LR_SWEEP, trials, N_VALID)]
        assert topics[0] == "best so far"
        assert all(topic.endswith(" so far") for topic in topics)

    def test_page(self) -> None:
        """The page has a heading that tells data and n, then the notice, then the findings."""
        data = run_info().data.model_copy(update={"notice": "only 5,000 digits"})
        info = run_info(data=data)
        lines = page(info, sweep({0.1: [[0.01]], 0.01: [[0.02]]})).splitlines()
        assert lines[0] == "# Findings: lr-sweep on MNIST"
        assert "10,000 validation" in lines[2]
        assert "2 of 2 trials complete" in lines[2]
        assert lines[4] == "- **note**: only 5,000 digits"
        assert lines[5].startswith("- **best**: Learning rate 0.1")
        assert page(info, []).endswith("- **note**: only 5,000 digits\n")


def test_words() -> None:
    """Three significant digits, a sign only where there is something to sign; lists end."""
    assert [points(0.0035), points(-0.124)] == ["0.35", "12.4"]
    assert [signed(0.0035), signed(-0.124), signed(-1e-9)] == ["+0.35", "-12.4", "0.00"]
    assert between(Interval(0.0107, 0.151)) == "1.07 to 15.1 %"
    assert [listed([]), listed(["a"]), listed(["a", "b"])] == ["", "a", "a and b"]
    assert listed(list("abcdef")) == "a, b, c, d, e and f"
    assert listed(list("abcdefgh")) == "a, b, c, d, e and 3 more"


anything = st.builds(
    Trial,
    id=st.tuples(*[st.integers(0, 9)] * 3),
    configuration=configs,
    seed=st.integers(0, 2),
    diverged=st.booleans(),
    epochs=st.lists(epochs, max_size=9).map(tuple),
    rungs=st.lists(
        st.builds(
            Rung, valid_error=st.none() | st.floats(0, 1), valid_loss=st.none() | st.floats(0, 9)
        ),
        max_size=2,
    ).map(tuple),
    test=st.none() | st.just(GOOD),
)
few_values = st.sampled_from([1, 4, 8]).flatmap(
    lambda n: st.builds(
        made_trial,
        st.integers(1, 99),
        st.lists(
            st.sampled_from([0.0, 0.0101, 0.0123, 0.05, 0.5, 0.9, 1.0]), min_size=n, max_size=n
        ),
        seed=st.integers(0, 2),
        losses=st.lists(st.tuples(*[st.floats(-3.4e38, 3.4e38)] * 2), min_size=n, max_size=n),
        seconds=st.floats(0, 1e9),
        diverged=st.booleans(),
        state=st.sampled_from(["complete", "failed", "running"]),
        learning_rate=st.sampled_from([5e-324, 0.01, 0.1, 1e300]),
        filter_size=st.sampled_from([1, 3, 28]),
    )
)


@given(
    settings=st.sampled_from([LR_SWEEP, FILTER_SWEEP, TRAIN, TEST, SEARCH, HYPERBAND]),
    trials=st.lists(anything, max_size=4) | st.lists(few_values, max_size=14),
    n_valid=st.integers(0, 3) | st.integers(0, 60_000),
)
@pytest.mark.proof
def test_law(settings: StudySettings, trials: list[Trial], n_valid: int) -> None:
    """Whatever the records: every text holds a number, and none that is not one."""
    for one in findings(settings, trials, n_valid):
        assert re.search(r"\d", one.text)
        assert not re.search(r"\b(nan|inf|none of 0)\b|None\b(?! of)|n = 0|—", one.text)
        assert one.text.endswith(".")
        assert "  " not in one.text
        assert one.topic
