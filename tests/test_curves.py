"""The numbers behind the figures: spreads, incumbents, costs, intervals; failures are counted."""

from __future__ import annotations

import math
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnist_lab import curves
from mnist_lab.config import TrainConfig
from mnist_lab.curves import Interval, LearningCurve, SearchPoint, Spread, SummaryRow, Tally
from mnist_lab.records import Epoch, State, TestScore, Trial

if TYPE_CHECKING:
    from collections.abc import Sequence


def make_trial(
    number: int,
    errors: Sequence[float | None],
    *,
    state: State = "complete",
    diverged: bool = False,
    seconds: Sequence[float] = (),
    **configuration: Any,
) -> Trial:
    """A trial with these validation errors, training errors twice as high; budget as they are."""
    durations = [*seconds, *[1.0] * (len(errors) - len(seconds))]
    epochs = tuple(
        Epoch(
            epoch=row + 1,
            train_loss=0.1,
            train_error=min(1.0, 2 * (error or 0.25)),
            valid_loss=0.1,
            valid_error=error,
            duration_s=durations[row],
        )
        for row, error in enumerate(errors)
    )
    return Trial(
        trial=number,
        id=(0, 0, number),
        configuration=TrainConfig(**{"epochs": max(1, len(errors)), **configuration}),
        seed=number,
        repeat=None,
        state=state,
        diverged=diverged,
        reason=None,
        started=None,
        ended=None,
        worker=None,
        epochs=epochs,
        test=None,
    )


def one(value: float) -> Spread:
    """The spread of a single value."""
    return Spread(1, value, None, value, value)


# A trial of each kind, and the error of it that counts.
FATES: dict[str, tuple[Trial, float | None]] = {
    "complete": (make_trial(1, [0.5, 0.25]), 0.25),
    "diverged": (make_trial(2, [0.5, 0.9], diverged=True, epochs=2), None),
    "failed": (make_trial(3, [0.5], state="failed", epochs=2), None),
    "failed at once": (make_trial(4, [], state="failed"), None),
    "running": (make_trial(5, [0.5], state="running", epochs=2), None),
    "running, all epochs done": (make_trial(6, [0.5, 0.25], state="running"), None),
    "waiting": (make_trial(7, [], state="waiting"), None),
    "complete, short of its budget": (make_trial(8, [0.5], epochs=2), None),
    "complete, not validated": (make_trial(9, [None, None]), None),
}


class TestOneTrial:
    """What is read off a single trial."""

    @pytest.mark.parametrize("name", FATES)
    def test_final_error(self, name: str) -> None:
        """Only a trial that completed its budget without diverging has an error that counts."""
        trial, expected = FATES[name]
        assert curves.final_error(trial) == expected

    def test_tally(self) -> None:
        """Each trial is counted once, by its fate."""
        counted = curves.tally(trial for trial, _ in FATES.values())
        assert counted == Tally(complete=3, diverged=1, failed=2, unfinished=3)
        assert counted.total == len(FATES)

    @pytest.mark.parametrize(
        ("seconds", "expected"),
        [((), None), ((9.0,), 9.0), ((9.0, 1.0), 1.0), ((9.0, 1.0, 4.0, 2.0), 2.0)],
    )
    def test_seconds_per_epoch(self, seconds: tuple[float, ...], expected: float | None) -> None:
        """The median leaves the first epoch out, which compiles, unless it is the only one."""
        trial = make_trial(1, [0.5] * len(seconds), seconds=seconds)
        assert curves.seconds_per_epoch(trial) == expected

    def test_seconds_per_epoch_of_several(self) -> None:
        """The first epoch of each trial is left out, not only that of the first trial."""
        trials = [make_trial(n, [0.5] * 3, seconds=(9.0, 1.0, 2.0)) for n in (1, 2)]
        assert curves.seconds_per_epoch(*trials, make_trial(3, [0.5], seconds=[9.0])) == 1.5

    def test_best_trial(self) -> None:
        """The incumbent has the lowest error that counts; of equals, the earlier one wins."""
        trials = [make_trial(n, [error]) for n, error in ((3, 0.1), (2, 0.1), (1, 0.2))]
        assert curves.best_trial([*trials, FATES["diverged"][0]]) == trials[1]

    @pytest.mark.parametrize("trials", [[], [FATES["failed"][0], FATES["waiting"][0]]])
    def test_no_best_trial(self, trials: list[Trial]) -> None:
        """Without a complete trial there is no incumbent."""
        assert curves.best_trial(trials) is None


class TestLearningCurves:
    """A sweep's curves."""

    def test_empty(self) -> None:
        """No trial, no curve."""
        assert curves.learning_curves([], "learning_rate").curves == ()

    def test_one_repeat(self) -> None:
        """Without repeats there is a mean and no deviation, and proposal decides the order."""
        trials = [
            make_trial(1, [0.5, 0.25], learning_rate=0.1),
            make_trial(2, [0.75, 0.5], learning_rate=0.5),
        ]
        found = curves.learning_curves(trials, "learning_rate")
        assert found.varied == "learning_rate"
        assert [curve.value for curve in found.curves] == [0.1, 0.5]
        assert found.curves[0] == LearningCurve(
            value=0.1,
            epochs=(1, 2),
            valid=(one(0.5), one(0.25)),
            train=(one(1.0), one(0.5)),
            budget=2,
            tally=Tally(complete=1),
        )

    def test_repeats(self) -> None:
        """Repeats give the sample standard deviation and the extremes of each epoch."""
        trials = [make_trial(n, [error], filter_size=5) for n, error in enumerate((0.25, 0.5), 1)]
        (curve,) = curves.learning_curves(trials, "filter_size").curves
        assert curve.value == 5
        assert curve.valid == (Spread(2, 0.375, math.sqrt(2) / 8, 0.25, 0.5),)
        assert curve.tally == Tally(complete=2)

    def test_ragged(self) -> None:
        """An epoch's mean is over the trials that reached it, however the others ended."""
        trials = [
            make_trial(1, [0.5, 0.5, 0.25]),
            make_trial(2, [0.25, 0.5], state="failed", epochs=3),
            make_trial(3, [0.75], state="running", epochs=3),
            make_trial(4, [], state="waiting", epochs=3),
        ]
        (curve,) = curves.learning_curves(trials, "learning_rate").curves
        assert [spread and (spread.n, spread.mean) for spread in curve.valid] == [
            (3, 0.5),
            (2, 0.5),
            (1, 0.25),
        ]
        assert curve.tally == Tally(complete=1, failed=1, unfinished=2)

    def test_diverged_among_sound_ones(self) -> None:
        """The epoch in which a repeat diverged does not enter the mean of the sound ones."""
        trials = [
            make_trial(1, [0.5, 0.25, 0.25]),
            make_trial(2, [0.25, 0.9], diverged=True, epochs=3),
        ]
        (curve,) = curves.learning_curves(trials, "learning_rate").curves
        assert [spread and (spread.n, spread.mean) for spread in curve.valid] == [
            (2, 0.375),
            (1, 0.25),
            (1, 0.25),
        ]
        assert curve.tally == Tally(complete=1, diverged=1)

    def test_diverged_alone(self) -> None:
        """A curve of nothing but a diverged trial ends with the epoch in which it diverged."""
        trials = [make_trial(1, [0.25, 0.9], diverged=True, epochs=12)]
        (curve,) = curves.learning_curves(trials, "learning_rate").curves
        assert curve.valid == (one(0.25), one(0.9))
        assert curve.budget == 12

    def test_all_failed(self) -> None:
        """A value whose trials all failed at once stays, with an empty curve."""
        trials = [make_trial(n, [], state="failed", epochs=12) for n in (1, 2)]
        (curve,) = curves.learning_curves(trials, "learning_rate").curves
        assert curve == LearningCurve(0.1, (), (), (), 12, Tally(failed=2))

    def test_not_validated(self) -> None:
        """Where no image validates, the training error is still there."""
        (curve,) = curves.learning_curves([make_trial(1, [None])], "learning_rate").curves
        assert (curve.valid, curve.train) == ((None,), (one(0.5),))


class TestSummary:
    """The rows of the final table."""

    def test_by_value(self) -> None:
        """A row for each value tells its errors, its time and what became of its trials."""
        trials = [
            make_trial(1, [0.5, 0.25], filter_size=3, seconds=(9.0, 1.0)),
            make_trial(2, [0.5, 0.5], filter_size=3, seconds=(9.0, 2.0)),
            make_trial(3, [0.5], filter_size=3, state="failed", epochs=2),
            make_trial(4, [], filter_size=5, state="waiting", epochs=2),
        ]
        rows = curves.filter_costs(trials)
        assert rows == [
            SummaryRow(
                value=3,
                configuration=trials[0].configuration,
                tally=Tally(complete=2, failed=1),
                errors=(0.25, 0.5),
                error=Spread(2, 0.375, math.sqrt(2) / 8, 0.25, 0.5),
                seconds_per_epoch=1.5,
            ),
            SummaryRow(5, trials[3].configuration, Tally(unfinished=1), (), None, None),
        ]
        assert rows == curves.summary(trials, "filter_size")

    def test_by_configuration(self) -> None:
        """Where nothing in particular varies, each configuration is a row."""
        trials = [make_trial(n, [0.25], batch_size=size) for n, size in ((1, 16), (2, 95), (3, 16))]
        rows = curves.summary(trials)
        assert [(row.configuration.batch_size, row.tally) for row in rows] == [
            (16, Tally(complete=2)),
            (95, Tally(complete=1)),
        ]
        assert {row.value for row in rows} == {None}

    def test_empty(self) -> None:
        """No trial, no row."""
        assert curves.summary([]) == []


class TestIncumbents:
    """The best so far, iteration by iteration."""

    def test_empty(self) -> None:
        """No trial, no point and no incumbent."""
        assert curves.incumbents([]) == curves.Incumbents((), Tally(), None, None)

    def test_all_failed(self) -> None:
        """Failed trials are points without an error, and make no incumbent."""
        found = curves.incumbents([make_trial(n, [], state="failed") for n in (1, 2)])
        assert found.points == (
            SearchPoint(1, "failed", None, None),
            SearchPoint(2, "failed", None, None),
        )
        assert (found.iteration, found.incumbent) == (None, None)

    def test_every_fate(self) -> None:
        """Trials count in the order of their numbers, and only complete ones move the best."""
        trials = [
            make_trial(7, [0.125], state="running", epochs=2),
            make_trial(6, [0.25]),
            make_trial(5, [0.5]),
            make_trial(4, [0.25]),
            make_trial(3, [0.01], diverged=True),
            make_trial(2, [0.5]),
            make_trial(1, [], state="failed"),
        ]
        found = curves.incumbents(trials)
        assert found.points == (
            SearchPoint(1, "failed", None, None),
            SearchPoint(2, "complete", 0.5, 0.5),
            SearchPoint(3, "diverged", None, 0.5),
            SearchPoint(4, "complete", 0.25, 0.25),
            SearchPoint(5, "complete", 0.5, 0.25),
            SearchPoint(6, "complete", 0.25, 0.25),
            SearchPoint(7, "unfinished", None, 0.25),
        )
        assert found.tally == Tally(4, 1, 1, 1)
        assert (found.iteration, found.incumbent) == (4, trials[3])

    @given(st.lists(st.one_of(st.none(), st.floats(0, 1)), max_size=30))
    def test_law(self, errors: list[float | None]) -> None:
        """The best so far never rises, and is the least error of all iterations up to it."""
        trials = [
            make_trial(n, [], state="failed") if error is None else make_trial(n, [error])
            for n, error in enumerate(errors, 1)
        ]
        found = curves.incumbents(trials)
        for row, point in enumerate(found.points, 1):
            known = [error for error in errors[:row] if error is not None]
            assert point.best_so_far == min(known, default=None)
        best = [point.best_so_far for point in found.points if point.best_so_far is not None]
        assert best == sorted(best, reverse=True)
        if found.incumbent is not None:
            assert found.incumbent.valid_error == best[-1]
            assert found.incumbent.trial == found.iteration


class TestWilson:
    """The interval of one measured error."""

    def test_known_value(self) -> None:
        """96 wrong of 10,000 is 0.79 % to 1.17 %, as published tables have it."""
        low, high = curves.wilson_interval(96, 10_000)
        assert (round(low, 4), round(high, 4)) == (0.0079, 0.0117)

    def test_no_error_at_all(self) -> None:
        """Nothing wrong gives an interval from exactly 0 that is not empty: z²/(n + z²)."""
        low, high = curves.wilson_interval(0, 100)
        assert low == 0
        assert high == pytest.approx(3.8414588 / 103.8414588)

    @given(st.integers(1, 10**6).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
    def test_law(self, counts: tuple[int, int]) -> None:
        """The interval contains the estimate and lies in [0, 1], and mirrors right for wrong."""
        n_wrong, n_images = counts
        low, high = curves.wilson_interval(n_wrong, n_images)
        assert 0 <= low <= n_wrong / n_images <= high <= 1
        mirrored = curves.wilson_interval(n_images - n_wrong, n_images)
        assert mirrored == pytest.approx((1 - high, 1 - low), abs=1e-9)

    @pytest.mark.parametrize(("n_wrong", "n_images"), [(0, 0), (-1, 10), (11, 10)])
    def test_impossible_counts(self, n_wrong: int, n_images: int) -> None:
        """Counts that no test can give are refused, and named."""
        with pytest.raises(ValueError, match=f"got {n_wrong} of {n_images}"):
            curves.wilson_interval(n_wrong, n_images)


def make_score(*rows: tuple[int, ...]) -> TestScore:
    """A test score with this confusion matrix."""
    n_images = sum(map(sum, rows))
    n_right = sum(row[digit] for digit, row in enumerate(rows))
    return TestScore(test_error=(n_images - n_right) / n_images, test_loss=0.1, confusion=rows)


class TestConfusion:
    """What the test experiment found."""

    def test_empty(self) -> None:
        """Without a score there are no errors and no interval."""
        assert curves.confusion([]) == curves.Confusion((), (), 0, (), None, None)

    def test_one_repeat(self) -> None:
        """One repeat has Wilson's interval; a class without images has no error."""
        found = curves.confusion([make_score((6, 2, 0), (1, 7, 0), (0, 0, 0))])
        assert found == curves.Confusion(
            matrix=((6, 2, 0), (1, 7, 0), (0, 0, 0)),
            class_errors=(0.25, 0.125, None),
            n_images=16,
            errors=(0.1875,),
            error=one(0.1875),
            interval=curves.wilson_interval(3, 16),
        )

    def test_repeats(self) -> None:
        """Repeats add their counts up; Student's interval of the mean is t(0.975, 1) = 12.706."""
        found = curves.confusion([make_score((50, 0), (1, 49)), make_score((49, 1), (2, 48))])
        assert found.matrix == ((99, 1), (3, 97))
        assert found.class_errors == (0.01, 0.03)
        assert (found.n_images, found.errors) == (100, (0.01, 0.03))
        assert found.error is not None
        assert found.error.sd == pytest.approx(math.sqrt(2) / 100)
        assert found.interval == pytest.approx((0.0, 0.02 + 12.7062 * 0.01))

    def test_equal_repeats(self) -> None:
        """Repeats that agree have an interval of no width."""
        found = curves.confusion([make_score((3, 1), (0, 4))] * 3)
        assert found.interval == Interval(0.125, 0.125)


@pytest.mark.parametrize(
    ("error", "sd", "expected"),
    [
        (0.012345, None, "1.23 %"),
        (0.012345, 0.0008, "1.23 ± 0.08 %"),
        (0.123, None, "12.3 %"),
        (0.7, 0.02, "70.0 ± 2.0 %"),
        (0.0, None, "0.00 %"),
    ],
)
def test_percent(error: float, sd: float | None, expected: str) -> None:
    """An error has two decimals below 10 % and one above, its deviation as many."""
    assert curves.percent(error, sd) == expected


def test_describe() -> None:
    """A configuration in words names every hyperparameter, the student's best one among them."""
    best = TrainConfig(learning_rate=0.0372, batch_size=95, num_filters=22, filter_size=5, epochs=6)
    assert curves.describe(best) == (
        "learning rate 0.0372, batch size 95, 22 filters of 5×5, 6 epochs"
    )
    single = TrainConfig(num_filters=1, epochs=1)
    assert curves.describe(single).endswith("1 filter of 3×3, 1 epoch")


def test_import_is_light() -> None:
    """The numbers come without numpy, scipy and matplotlib, so that `status` stays quick."""
    code = "import sys, mnist_lab.curves; print({'numpy', 'scipy', 'matplotlib'} & {*sys.modules})"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"
