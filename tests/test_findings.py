"""Each finding is right on records that are made so, and absent on those that do not show it."""

from __future__ import annotations

import json
import math
import re
from itertools import combinations
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_events import any_trials, made_trial, run_info, study_settings
from made_figures import CAPTION, brackets, hyperband, texts
from made_figures import SPACE as DIMENSIONS
from scipy import stats  # type: ignore[import-untyped]

from mnist_lab import plots
from mnist_lab.analysis import intervals
from mnist_lab.analysis.importance import dimensions_of, importance, in_common, standings
from mnist_lab.analysis.intervals import Interval, holm
from mnist_lab.analysis.outcomes import Tally, best_trial, endings, final_error
from mnist_lab.config import VARIED, Hyperparameter, StudySettings
from mnist_lab.findings import findings, page
from mnist_lab.records import TestScore, Trial
from mnist_lab.words import between, listed, percent, points, signed

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
    assert "The best batch size is 32, with a validation error of 2.00 %." in words
    assert "learning rate 32" not in words.lower()


class TestBest:
    """Which value is the best, and how sure that is."""

    def test_best(self) -> None:
        """One error has Wilson's interval, the mean of three Student's, as computed by scipy."""
        text = of_sweep({0.1: [[0.0127]], 0.01: [[0.0309]]}, "best")
        low, high = stats.binomtest(127, N_VALID).proportion_ci(method="wilson")
        assert text.startswith("The best learning rate is 0.1, with a validation error of 1.27 %.")
        assert f"One training, 95 % interval {100 * low:.2f} to {100 * high:.2f} %." in text
        assert "Batch size 128, 16 filters of 3×3, 1 epoch." in text
        errors = [0.010, 0.012, 0.015]
        text = of_sweep({0.1: [[error] for error in errors], 0.01: [[0.5]] * 3}, "best")
        low, high = stats.t.interval(0.95, 2, np.mean(errors), stats.sem(errors))
        assert f"3 trainings from different seeds, 95 % interval {100 * low:.2f} to" in text
        assert f"to {100 * high:.2f} %; standard deviation 0.25 points." in text
        # Student's interval of two would reach from 0 to beyond 2 %.
        assert "Two trainings: 1.00 and 1.20 %." in of_sweep({0.1: [[0.01], [0.012]]}, "best")

    def test_one_repeat(self) -> None:
        """Without repeats a difference counts that another seed hardly makes; that is assumed."""
        for second, expected in (
            (0.0309, "0.1 is better than 0.01."),
            (0.0140, "0.1 has the lowest error, but 0.01 is not shown to be worse."),
        ):
            text = of_sweep({0.1: [[0.0127]], 0.01: [[second]]}, "best against others")
            assert text.startswith(expected)
            noise = 1.96 * 1.12 * math.sqrt(2 * 0.0127 * 0.9873 / N_VALID)
            assert f"by up to {points(noise)} points (assumed: 1.12 times the sampling" in text
        # What has learned less varies far more from seed to seed.
        for factor, errors in (("3.2", (0.1, 0.11)), ("12", (0.75, 0.78))):
            text = of_sweep({1e-4: [errors[:1]], 1e-3: [errors[1:]]}, "best against others")
            assert "0.001 is not shown to be worse" in text
            assert f"(assumed: {factor} times the sampling error, the most that" in text

    @pytest.mark.parametrize("second", [[0.013, 0.014, 0.0155], [0.011, 0.019, 0.0125]])
    def test_paired(self, second: list[float]) -> None:
        """Seeds are shared, so differences are taken seed by seed, as in scipy's paired test.

        In the first case the seeds spread more than the values differ: unpaired, nothing is seen.
        """
        first = [0.010, 0.0115, 0.0125]
        values = {0.1: [[error] for error in first], 0.01: [[error] for error in second]}
        text = of_sweep(values, "best against others")
        expected = stats.ttest_rel(second, first)
        assert f"p = {expected.pvalue:.2g}. Differences are taken seed by seed, n = 3" in text
        assert (expected.pvalue >= 0.05) == ("not shown" in text) == (max(second) > 0.016)

    def test_several(self) -> None:
        """Of several comparisons p is corrected, as by hand; who is not worse is named."""
        first, close, far = [0.010, 0.011, 0.0125], [0.0112, 0.0123, 0.0131], [0.02, 0.022, 0.021]
        values = {
            rate: [[error] for error in errors]
            for rate, errors in ((0.1, first), (0.2, close), (0.01, far))
        }
        text = of_sweep(values, "best against others")
        pairs = ((first, close), (first, far), (close, far))
        near, *others = holm([stats.ttest_rel(*pair).pvalue for pair in pairs])
        assert stats.ttest_rel(first, close).pvalue < 0.05
        assert f"0.2 has 0.10 points more (0.01 to 0.20), p = {near:.2g}; 0.01 has" in text
        assert f"p = {others[0]:.2g}. Differences" in text
        assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
        values[0.2] = [[error] for error in (0.0095, 0.012, 0.0130)]
        text = of_sweep(values, "best against others")
        assert text.startswith("0.2 may be as good as 0.1; the others are worse.")

    def test_single_value(self) -> None:
        """One value is compared with nothing."""
        assert of_sweep({0.1: [[0.01]]}, "best against others") == ""
        alone = findings(TRAIN, [made_trial(1, [0.3, 0.2, 0.1, 0.05])], N_VALID)
        assert alone[0].claim == "The validation error is 5.00 %."
        assert told(alone, "90 % accuracy") == ""


class TestLearning:
    """Who passes 90 %, still falls, barely learns, diverges."""

    def test_passing(self) -> None:
        """An epoch is named only if the mean over repeats is below 10 % then; else nobody is."""
        text = of_sweep(
            {0.1: [[0.08, 0.02], [0.15, 0.02]], 0.01: [[0.2, 0.099]] * 2, 1e-3: [[0.3, 0.1]] * 2},
            "90 % accuracy",
        )
        assert text.startswith("2 of 3 learning rates reach 90 % accuracy.")
        assert "0.1 after epoch 2 (2.00 % error); 0.01 after epoch 2 (9.90 % error)" in text
        assert "0.001 ends with 10.0 %" in text
        none = of_sweep({0.1: [[0.8]], 0.01: [[0.9]]}, "90 % accuracy")
        assert none.startswith("No learning rate reaches 90 % accuracy within 1 epoch.")
        short = sweep({0.1: [[0.8]]}, at=(0.5,))
        words = " ".join(one.text for one in findings(LR_SWEEP, short, N_VALID))
        assert "No learning rate reaches 90 % accuracy within 1/2 epoch." in words
        assert "Learning rate 0.1 has hardly begun to learn after 1/2 epoch." in words
        part = of_sweep({0.1: [[0.8, 0.09]]}, "90 % accuracy", at=(1, 1.5))
        assert part == "It reaches 90 % accuracy. 0.1 after epoch 1.5 (9.00 % error)."
        assert "0.1 ends with 80.0 % (79.2 to 80.8 %)" in none

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
        text = of_sweep({0.1: [errors]}, "still falling")
        assert text.startswith("More epochs may help 0.1: its error was still falling.")
        assert f"by 4.50 points with 0.1 (± {100 * noise:.2f})" in text
        assert "From the 2 epochs before to the last 2 of 8" in text
        assert of_sweep({0.1: [[0.3, 0.2, 0.1]]}, "still falling", epochs=4) == ""

    def test_fall_of_seeds(self) -> None:
        """With seeds, their own falls say how sure it is, though the last epoch is not lowest."""
        falls = [0.0010, 0.0012, 0.0016, 0.0009]
        curves = [[0.02, 0.02, 0.02, 0.02 - fall] for fall in falls]
        text = of_sweep({0.1: curves}, "still falling")
        low, high = stats.t.interval(0.95, 3, np.mean(falls), stats.sem(falls))
        assert f"fell by 0.12 points with 0.1 ({points(low)} to {points(high)}, 4 seeds)" in text
        assert of_sweep({0.1: [*curves[:2], [0.02] * 4, [0.019] * 4]}, "still falling") == ""

    def test_barely(self) -> None:
        """The advice is what the sweep itself shows: here a larger rate, there a smaller one."""
        larger = of_sweep({0.1: [[0.01]], 1e-3: [[0.3]], 1e-4: [[0.785]]}, "barely learns")
        assert larger.startswith("Learning rate 0.0001 has hardly begun to learn after 1 epoch.")
        assert "78.5 % error (77.7 to 79.3 %) after 1 epoch" in larger
        assert larger.endswith("Try a larger one: 0.001 reaches 30.0 %.")
        smaller = of_sweep({1.0: [[0.9]], 0.1: [[0.01]], 0.01: [[0.03]]}, "barely learns")
        assert smaller.startswith("Learning rate 1 is too high: the network does not learn.")
        assert smaller.endswith("0.1 reaches 1.00 %.")
        assert "Try" not in of_sweep({1.0: [[0.9]], 0.1: [[0.8]]}, "barely learns")
        assert of_sweep({0.1: [[0.5]]}, "barely learns") == ""
        falling = of_sweep({1e-4: [[0.9, 0.89, 0.88]]}, "barely learns")
        assert falling.startswith("Learning rate 0.0001 barely learns within 3 epochs.")
        assert falling.endswith("It was still falling at the end: by 1.00 points (± 0.88).")

    def test_edge(self) -> None:
        """The best has nothing beyond it, not even what failed there."""
        found = of_sweep({0.1: [[0.01]], 0.01: [[0.3]]}, "edge")
        assert found.startswith("0.1 is the largest value tried: a larger one may be better.")
        assert "smallest" in of_sweep({0.1: [[0.3]], 0.01: [[0.01]]}, "edge")
        assert of_sweep({1.0: [[0.9]], 0.1: [[0.01]], 0.01: [[0.3]]}, "edge") == ""
        assert of_sweep({0.1: [[0.01]]}, "edge") == ""

    def test_seeds_that_end_far_apart(self) -> None:
        """They are named, and are no agreement of training and validation."""
        far = {0.3: [[0.04], [0.102], [0.314]], 0.1: [[0.05], [0.051], [0.052]]}
        text = of_sweep(far, "unsteady")
        assert text.startswith("Learning rate 0.3 depends on the seed: errors end between 4.00 % a")
        assert "The 3 trainings end with 4.00 %, 10.2 % and 31.4 %." in text
        assert "0.3" not in of_sweep(far, "agreement", train=0.06)
        assert of_sweep({0.1: [[0.04], [0.06]], 1e-4: [[0.7], [0.9]]}, "unsteady") == ""

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
        found = findings(LR_SWEEP, trials, N_VALID)
        above, below, within = (
            told(found, topic) for topic in ("training and validation", "lag", "agreement")
        )
        assert "by 0.57 points with 0.1 (1.27 % against 0.70 %)." in above
        assert "by 1.50 points with 0.001 (10.2 % against 11.7 %)." in below
        assert within.startswith("Training and validation error agree for 0.01.")
        assert "3.09 % against 2.92 %" in within

    def test_overfitting(self) -> None:
        """It takes a validation loss that rises clearly and a training loss that falls."""
        short, falls = [0.5, 0.3, 0.2, 0.21, 0.22, 0.23], [0.5, 0.4, 0.3, 0.2, 0.1, 0.05]
        long, slowly = [0.5, 0.2, 0.1, 0.1], [0.5, 0.3, 0.2, 0.15, 0.12, 0.1, 0.05, 0.04]
        for valid, train, overfits in (
            (short, falls, True),
            (short, [*falls[:5], 0.12], False),
            ([*short[:4], 0.20, 0.23], falls, False),
            ([*long, 0.10, 0.11, 0.29, 0.30], slowly, True),
            ([*long, 0.10, 0.20, 0.12, 0.21], slowly, False),
        ):
            trial = made_trial(1, [0.1] * len(valid), losses=list(zip(valid, train, strict=True)))
            text = told(findings(TRAIN, [trial], N_VALID), "overfitting")
            assert text.startswith("The network overfits" if overfits else "There is no sign")
            assert f"lowest after epoch 3 of {len(valid)}" in text
            assert f"ended at {valid[-1]:.3g}; the training loss went from {train[2]:.3g}" in text


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
        assert text.startswith("An epoch with 5×5 takes 4 times as long as with 1×1.")
        assert "1×1 (1 s, the median of 3 epochs): 3×3 2 times and 5×5 4 times as long." in text

    def test_worth(self) -> None:
        """A gain that the intervals do not show is not called one."""
        for third, shown, words in (
            (0.0110, False, "2 times the time, 0.17 points less error"),
            (0.0142, False, "2 times the time, 0.15 points more error"),
            (0.0050, True, "2 times the time, 0.77 points less error"),
        ):
            trials = self.trials(third=third)
            text = told(findings(FILTER_SWEEP, trials, N_VALID), "worth its time")
            claim = "A lower error is shown for 3×3 over 1×1"
            claim += " and 5×5 over 3×3." if shown else ", not for 5×5 over 3×3."
            assert text.startswith(claim)
            assert f"5×5 over 3×3: {words}, p " in text


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

    def test_what_matters(self) -> None:
        """What decides the error hides no smaller effect; noise is not called one."""
        random = np.random.default_rng(1)
        rates, sizes = 10 ** random.uniform(-4, -1, 40), random.integers(16, 129, 40)
        lists = {"learning_rate": rates.tolist(), "batch_size": sizes.tolist()}
        lists["num_filters"] = random.integers(8, 65, 40).tolist()
        errors = 0.001 / rates**0.5 * (1 + sizes / 128)
        text = of_search("what matters", errors.tolist(), **lists)
        assert text.startswith("Learning rate matters most, then batch size. Low errors come with ")
        assert "a higher learning rate (" in text
        assert "and a lower batch size (" in text
        assert "n = 40" in text
        assert "Not shown to matter: number of filters." in text
        good = sorted(zip(errors, rates, strict=True))[:5]
        low, high = min(rate for _, rate in good), max(rate for _, rate in good)
        common = f"The best 5 of the 40 trained for 1 epoch have a learning rate of {low:.3g} to"
        assert of_search("in common", errors.tolist(), **lists).startswith(f"{common} {high:.3g}.")
        few = of_search("what matters", [0.01, 0.02, 0.03], learning_rate=[0.1, 0.01, 0.001])
        assert few == ""

    def test_nothing_matters(self) -> None:
        """Noise is not called a tendency, and one hyperparameter alone is named."""
        random = np.random.default_rng(2)
        errors, sizes = random.uniform(0.01, 0.02, 40).tolist(), random.integers(16, 129, 40)
        lists = {"batch_size": sizes.tolist(), "filter_size": [3, 5] * 20}
        text = of_search("what matters", errors, **lists)
        assert text.startswith("No hyperparameter is shown to matter.")
        alone = of_search("what matters", errors, batch_size=lists["batch_size"])
        assert alone.startswith("Batch size is not shown to matter.")

    def test_middle(self) -> None:
        """A U is seen, where a rank correlation sees nothing; of choices the better is told."""
        random = np.random.default_rng(3)
        rates = 10 ** random.uniform(-4, -1, 40)
        errors = 0.01 + 0.05 * (np.log10(rates) + 2.5) ** 2 + random.normal(0, 0.002, 40)
        lists = {"learning_rate": rates.tolist(), "filter_size": [3, 5] * 20}
        text = of_search("what matters", errors.tolist(), **lists)
        assert text.startswith("Learning rate matters; no other is shown to.")
        assert "a medium learning rate" in text
        for worse, better in ((3, 5), (5, 3)):
            errors = np.where(np.array(lists["filter_size"]) == worse, 0.02, 0.01)
            noisy = (errors + random.normal(0, 0.002, 40)).tolist()
            assert f"filter size {better} (" in of_search("what matters", noisy, **lists)

    def test_conditional_hyperparameters_are_left_out(self) -> None:
        """Where a condition leaves one out, its value was not drawn: it explains nothing."""
        space = SPACE | {"conditions": [{"type": "AND", "parts": [{"child": "batch_size"}]}]}
        settings = SEARCH.model_copy(update={"space": space})
        errors = [0.01 + n / 1000 for n in range(20)]
        trials = search_trials(errors, batch_size=list(range(16, 36)))
        assert "Batch size" in told(findings(SEARCH, trials, N_VALID), "what matters")
        assert told(findings(settings, trials, N_VALID), "what matters") == ""

    def test_standings(self) -> None:
        """With Hyperband each trial counts once, among those that began with as many epochs."""
        trials = hyperband(brackets(6))
        standing = standings(trials)
        assert len({trial.trial for trial, _ in standing}) == len(standing)
        for one, place in standing:
            for other, lower in standing:
                if one.rungs[0].budget == other.rungs[0].budget and place < lower:
                    keys = [(-t.configuration.epochs, t.valid_error or 0) for t in (one, other)]
                    assert keys[0] < keys[1]
        found = findings(HYPERBAND, trials, N_VALID)
        assert told(found, "more iterations") == ""
        winner = best_trial(trials)
        assert winner is not None
        ended = [t for t in endings(trials) if final_error(t) is not None]
        n_last = sum(t.configuration.epochs == winner.configuration.epochs for t in ended)
        assert f"he {n_last - 1} others trained for" in told(found, "best against others")

    @pytest.mark.parametrize(
        ("fails", "said", "advice"),
        [
            ("rate > 0.02", "learning rate above 0.02", "an upper bound of 0.02 for the lear"),
            ("not 3e-4 < rate < 0.03", "below 0.0003 or above 0.03", "a lower bound of 0.0003"),
            ("rate > 0.004 and size >= 60", "and a learning rate above 0.004", "bound of 0.004"),
            ("False", "", ""),
        ],
    )
    def test_what_failed(self, fails: str, said: str, advice: str) -> None:
        """The simplest rule is told, and not where outcomes are as if shuffled."""
        random = np.random.default_rng(5)
        rates, sizes = 10 ** random.uniform(-4, -1, 50), random.integers(16, 129, 50).tolist()
        lists = {"learning_rate": rates.tolist(), "batch_size": sizes}
        drawn = zip(rates, sizes, strict=True)
        failed = [eval(fails, {"rate": rate, "size": size}) for rate, size in drawn]  # noqa: S307
        errors = [0.9 if one else 0.02 for one in failed]
        text = of_search("learned nothing", errors, **lists)
        assert text.startswith(
            f"{sum(failed)} of 50 trials learned next to nothing in 1 epoch: " if said else ""
        )
        assert said in text
        assert advice in text
        assert ("The rule misses none and wrongly includes none" in text) == bool(said)
        shuffled = random.permutation([0.9] * 10 + [0.02] * 40).tolist()
        assert "no simple rule separates" in of_search("learned nothing", shuffled, **lists)

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
        assert text.startswith("The best lies near the edge" if near else "")
        for words in near:
            assert words in text
        assert ("27 % of random configurations" in text) == bool(near)

    def test_beyond_the_edge(self) -> None:
        """To widen a range is the advice where the others, too, are better there."""
        errors = [0.01 + n / 1000 for n in range(20)]
        text = of_search("edge", errors, batch_size=list(range(16, 36)))
        assert "Other trials are also better with a lower batch size: widen" in text

    def test_in_common(self) -> None:
        """What the good ones have in common is the title of the figure, too."""
        lists = {"batch_size": list(range(16, 36))}
        errors = [0.01 + n / 1000 for n in range(20)]
        assert "have a batch size of 16 to 20. None of" in of_search("in common", errors, **lists)
        dimensions, trials = list(dimensions_of(SPACE)), search_trials(errors, **lists)
        shared = in_common(dimensions, importance(dimensions, trials), trials)
        drawn = plots.hyperparameters(DIMENSIONS, [], Tally(), CAPTION, shared)
        assert "The best 5 of 20 after 1 epoch: batch size 16 to 20" in texts(drawn)
        assert in_common(dimensions, [], trials) is None

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
        """As good may be whose error another seed could have given: within 1.96 deviations."""
        text = of_search("best against others", [0.0096, 0.0105, 0.012, 0.05])
        assert text.startswith("2 of the 3 others may be as good as the best.")
        sd = 1.12 * math.sqrt((0.0096 * 0.9904 + 0.0105 * 0.9895) / N_VALID)
        assert f"up to {points(1.96 * sd)} points" in text
        lucky = of_search("best against others", [0.0096, *[0.0125] * 20, 0.0131])
        assert lucky.startswith("20 of the 21 others may be as good as the best, 21 if its seed")
        for second, words in ((0.05, "The best is better than the other one"), (0.0105, "The oth")):
            assert of_search("best against others", [0.0096, second]).startswith(words)
        assert of_search("best against others", [0.0096]) == ""

    def test_more_iterations(self) -> None:
        """1/(n + 1), n more for an even chance, and what a random half would have found."""
        errors = [0.010, 0.012, 0.020, 0.030]
        trials = [*search_trials(errors), made_trial(9, [0.9], diverged=True, epochs=2)]
        trials[4] = trials[4].model_copy(update={"epochs": trials[4].epochs})
        text = told(findings(SEARCH, trials, N_VALID), "more iterations")
        half = fmean(min(pair) for pair in combinations(errors, 2))
        assert text.startswith("Another 5 configurations have an even chance of beating this best.")
        assert "beats the best with a probability of 16.7 %" in text
        assert f"a random half has {percent(half)} on average" in text
        assert f"gained {points(half - 0.010)} points" in text

    def test_all_diverged(self) -> None:
        """Without an incumbent there are only the counts."""
        trials = [
            made_trial(1, [0.9], diverged=True, learning_rate=0.1, epochs=2),
            made_trial(2, [], state="failed"),
        ]
        topics = [one.topic for one in findings(SEARCH, trials, N_VALID)]
        assert topics == ["learned nothing", "failed"]


class TestEstimates:
    """The statistics, against scipy or by counting."""

    def test_expected_of_lowest(self) -> None:
        """The lowest of equal ones is expected near their mean; who is far ahead, where it is."""
        noise = intervals.SeedNoise(1.0)
        equal = 0.02 + np.random.default_rng(0).normal(0, noise.sd(0.02, N_VALID), 50)
        found = intervals.expected_of_lowest(equal.tolist(), N_VALID, noise)
        assert min(equal) < 0.0175
        assert found.interval.low < 0.02 < found.interval.high
        assert abs(found.value - 0.02) < 0.001
        ahead = intervals.expected_of_lowest([0.02, 0.5, 0.6], N_VALID, noise)
        assert ahead.value == pytest.approx(0.02, abs=0.0001)
        assert intervals.expected_of_lowest([0.0, 0.5], N_VALID, noise).value < 0.0003

    def test_importance(self) -> None:
        """Of one number the F test is that of a regression with a square, as by NumPy's polyfit."""
        random = np.random.default_rng(4)
        sizes, errors = random.permutation(range(16, 56)), random.uniform(0.01, 0.02, 40)
        errors -= sizes * 1e-4
        trials = search_trials(errors.tolist(), batch_size=sizes.tolist())
        batch = Hyperparameter("batch_size", "linear", 16, 128, ())
        (found,) = importance([batch], trials)
        ranks = stats.rankdata(errors) / 40
        _, (left, *_), *_ = np.polyfit(sizes, ranks, 2, full=True)
        f = (np.var(ranks) * 40 - left) / 2 / (left / 37)
        assert found.p == pytest.approx(stats.f.sf(f, 2, 37))
        assert (found.interval.low > 0) == (found.p < 0.025)
        assert found.interval.low <= found.share <= found.interval.high
        assert found.better == "higher"

    @given(st.lists(st.floats(0, 1), min_size=2, max_size=7), st.data())
    def test_best_of(self, errors: list[float], data: st.DataObject) -> None:
        """The expected minimum is the mean over all ways to draw."""
        n_drawn = data.draw(st.integers(1, len(errors)))
        expected = fmean(min(drawn) for drawn in combinations(errors, n_drawn))
        assert intervals.best_of(errors, n_drawn) == pytest.approx(expected)


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
        assert text.startswith("The test error is 1.00 %. One training, 95 % interval ")
        assert f"{100 * low:.2f} to {100 * high:.2f} % for the 1,000 test images" in text
        assert "trained on train+valid." in text
        assert told(found, "seeds") == ""
        digits = told(found, "digits")
        assert digits.startswith("No digit is shown to be harder than the others.")
        assert "from 0.00 % for 1 (0.00 to 3.70 %, 100 images) to 2.00 % for 8" in digits
        assert "8 is most often taken for 9: 2 times." in digits

    def test_seeds(self) -> None:
        """The seeds' spread is beside what other images would change, not compared with it."""
        scores = [score(*[n] * 10) for n in (0, 4, 8, 12)]
        trials = [made_trial(n, [], test=one) for n, one in enumerate(scores)]
        text = told(findings(TEST, trials, N_VALID), "seeds")
        assert text.startswith("Another seed changes the test error by about 5.16 points.")
        # The bounds of a standard deviation are chi-square quantiles.
        sd = float(np.std([0, 0.04, 0.08, 0.12], ddof=1))
        low, high = (points(sd * math.sqrt(3 / stats.chi2.ppf(q, 3))) for q in (0.975, 0.025))
        assert f"over 4 seeds (95 % interval {low} to {high})" in text
        assert f"together, by about {points(intervals.binomial_sd(0.06, 1000))} points" in text

    def test_hardest_class(self) -> None:
        """A class is harder if scipy's test says so; repeats on these images add no certainty."""
        hard = score(*[1] * 9, 12)
        for n in (1, 10):
            trials = [made_trial(number, [], test=hard) for number in range(n)]
            text = told(findings(TEST, trials, N_VALID), "digits")
            assert text.startswith("9 is the hardest digit, 0 the easiest.")
            p = stats.chi2_contingency([[1, 99]] * 9 + [[12, 88]]).pvalue
            assert f"p = {p:.2g} if no digit is harder" in text

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
        assert only.text == "2 of 2 trials failed; the findings ignore them."
        assert findings(settings, [made_trial(1, [], state="waiting")], N_VALID) == []
        assert findings(settings, [made_trial(1, [0.1])], 0) == []

    def test_page(self) -> None:
        """The page has a heading that tells data and n, then the notice, then the findings."""
        data = run_info().data.model_copy(update={"notice": "only 5,000 digits"})
        info = run_info(data=data)
        text = page(info, sweep({0.1: [[0.01]], 0.01: [[0.02]]}))
        lines = text.splitlines()
        assert lines[0] == "# Findings: lr-sweep on MNIST"
        assert lines[2].startswith("**The best learning rate is 0.1, with a validation error of")
        assert "10,000 validation" in lines[4]
        assert "2 of 2 trials complete" in lines[4]
        assert lines[6].startswith("- **0.1 is better than 0.01.** 0.01 has 1.00 points more, p <")
        assert "\n\nNote: only 5,000 digits.\n\n## How the intervals were computed\n\n" in text
        assert page(info, []).endswith("Note: only 5,000 digits.\n")
        waiting = [made_trial(1, [0.01]), made_trial(2, [], state="waiting")]
        assert "More trials may change this." in page(info, waiting)


def test_words() -> None:
    """Three significant digits, a sign only where there is something to sign; lists end."""
    assert [points(0.0035), points(-0.124)] == ["0.35", "12.4"]
    assert [signed(0.0035), signed(-0.124), signed(-1e-9)] == ["+0.35", "-12.4", "0.00"]
    assert between(Interval(0.0107, 0.151)) == "1.07 to 15.1 %"
    assert [listed([]), listed(["a"]), listed(["a", "b"])] == ["", "a", "a and b"]
    assert listed(list("abcdef")) == "a, b, c, d, e and f"
    assert listed(list("abcdefgh")) == "a, b, c, d, e and 3 more"


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
    trials=st.lists(any_trials(st.just(GOOD)), max_size=4) | st.lists(few_values, max_size=14),
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
