"""The numbers behind the figures: spreads, incumbents, costs, intervals; failures are counted."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_events import (
    epoch_done,
    failed,
    finished,
    made_trial,
    promoted,
    proposed,
    started,
    study_settings,
)
from made_figures import brackets, error_of, hyperband

from mnist_lab.analysis.confusion import Confusion, confusion, wrong_images
from mnist_lab.analysis.history import (
    bracket_panels,
    progress,
    rank,
)
from mnist_lab.analysis.intervals import error_interval
from mnist_lab.analysis.outcomes import (
    Spread,
    Tally,
    best_row,
    best_trial,
    endings,
    final_error,
    largest_completed,
    outcome_of,
    seconds_per_epoch,
    summary,
    tally_of,
)
from mnist_lab.config import TrainConfig
from mnist_lab.records import Mistake, TestScore, Trial, fold
from mnist_lab.words import describe, percent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnist_lab.analysis.history import Point
    from mnist_lab.records import Event


# A trial of each kind, its outcome, and the error of it that counts.
FATES: list[tuple[Trial, str, float | None]] = [
    (made_trial(1, [0.5, 0.25]), "complete", 0.25),
    (made_trial(2, [0.5, 0.9], diverged=True, epochs=2), "diverged", None),
    (made_trial(3, [0.5], state="failed", epochs=2), "failed", None),
    (made_trial(4, [], state="failed"), "failed", None),
    (made_trial(5, [0.5], state="running", epochs=2), "unfinished", None),
    (made_trial(6, [0.5, 0.25], state="running"), "unfinished", None),
    (made_trial(7, [], state="waiting"), "unfinished", None),
    # Short of its budget, and not validated.
    (made_trial(8, [0.5], epochs=2), "complete", None),
    (made_trial(9, [None, None]), "complete", None),
]
ALL = [trial for trial, *_ in FATES]


class TestOneTrial:
    """What is read off a single trial."""

    def test_fates(self) -> None:
        """Only a trial that completed its budget without diverging has an error that counts.

        Each is counted once, by its outcome.
        """
        for trial, outcome, error in FATES:
            assert (outcome_of(trial), final_error(trial)) == (outcome, error), trial.trial
        assert tally_of(ALL) == Tally(complete=3, diverged=1, failed=2, unfinished=3)
        assert tally_of(ALL).total == len(ALL)

    def test_seconds_per_epoch(self) -> None:
        """The median leaves out each trial's first epoch, which compiles, if there are others."""
        for seconds, expected in (
            *(((), None), ((9.0,), 9.0), ((9.0, 1.0), 1.0), ((9.0, 1.0, 4.0, 2.0), 2.0)),
        ):
            trial = made_trial(1, [0.5] * len(seconds), seconds=seconds)
            assert seconds_per_epoch(trial) == expected
        trials = [made_trial(n, [0.5] * 3, seconds=(9.0, 1.0, 2.0)) for n in (1, 2)]
        assert seconds_per_epoch(*trials, made_trial(3, [0.5], seconds=[9.0])) == 1.5

    def test_best_trial(self) -> None:
        """The incumbent has the lowest error that counts; of equals, the earlier one wins."""
        trials = [made_trial(n, [error]) for n, error in ((3, 0.1), (2, 0.1), (1, 0.2))]
        assert best_trial([*trials, ALL[1]]) == trials[1]
        assert best_trial([]) is best_trial([ALL[2], ALL[6]]) is None


class TestCurves:
    """The learning curves of a sweep's values."""

    def test_repeats(self) -> None:
        """Repeats give the sample standard deviation and the extremes of each epoch."""
        trials = [made_trial(n, [error], filter_size=5) for n, error in enumerate((0.25, 0.5), 1)]
        (row,) = summary(trials, "filter_size")
        assert row.curve("valid_error") == [Spread(2, 0.375, math.sqrt(2) / 8)]

    @pytest.mark.parametrize(
        ("trials", "expected"),
        [
            # An epoch's mean is over the trials that reached it, however the others ended.
            (
                [
                    made_trial(1, [0.5, 0.5, 0.25]),
                    made_trial(2, [0.25, 0.5], state="failed", epochs=3),
                    made_trial(3, [0.75], state="running", epochs=3),
                    made_trial(4, [], state="waiting", epochs=3),
                ],
                [(3, 0.5), (2, 0.5), (1, 0.25)],
            ),
            # The epoch in which a repeat diverged does not enter the mean of the sound ones.
            (
                [
                    made_trial(1, [0.5, 0.25, 0.25]),
                    made_trial(2, [0.25, 0.9], diverged=True, epochs=3),
                ],
                [(2, 0.375), (1, 0.25), (1, 0.25)],
            ),
            # Of nothing but a diverged trial it ends with the epoch in which it diverged.
            ([made_trial(1, [0.25, 0.9], diverged=True, epochs=3)], [(1, 0.25), (1, 0.9)]),
            ([made_trial(n, [], state="failed", epochs=3) for n in (1, 2)], []),
        ],
    )
    def test_ends(self, trials: list[Trial], expected: list[tuple[int, float]]) -> None:
        """Whatever became of the trials, each is counted in as far as it goes."""
        (row,) = summary(trials, "learning_rate")
        assert [point and (point.n, point.mean) for point in row.curve("valid_error")] == expected
        assert row.budget == 3

    def test_not_validated(self) -> None:
        """Where no image validates, the training error is still there."""
        (row,) = summary([made_trial(1, [None], train=0.5)], "learning_rate")
        assert (row.curve("valid_error"), row.curve("train_error")) == (
            [None],
            [Spread(1, 0.5, None)],
        )


class TestSummary:
    """The rows of the final table."""

    def test_by_value(self) -> None:
        """A row for each value tells its errors, its time and what became of its trials."""
        trials = [
            made_trial(1, [0.5, 0.25], filter_size=3, seconds=(9.0, 1.0)),
            made_trial(2, [0.5, 0.5], filter_size=3, seconds=(9.0, 2.0)),
            made_trial(3, [0.5], filter_size=3, state="failed", epochs=2),
            made_trial(4, [], filter_size=5, state="waiting", epochs=2),
        ]
        first, second = summary(trials, "filter_size")
        assert (first.value, first.name, first.title) == (3, "3×3", "filter size 3×3")
        assert (first.configuration, first.errors) == (trials[0].configuration, [0.25, 0.5])
        assert first.tally == Tally(complete=2, failed=1)
        assert first.error == Spread(2, 0.375, math.sqrt(2) / 8)
        assert (first.mean, first.train_error, first.seconds_per_epoch) == (0.375, 0.375, 1.5)
        assert second.configuration == trials[3].configuration
        assert (second.errors, second.error, second.seconds_per_epoch) == ([], None, None)
        assert (second.tally, second.interval(100)) == (Tally(unfinished=1), None)

    def test_by_configuration(self) -> None:
        """Where nothing in particular varies, each configuration is a row."""
        trials = [made_trial(n, [0.25], batch_size=size) for n, size in ((1, 16), (2, 95), (3, 16))]
        rows = summary(trials)
        assert [(row.configuration.batch_size, row.tally) for row in rows] == [
            (16, Tally(complete=2)),
            (95, Tally(complete=1)),
        ]
        assert {row.value for row in rows} == {None}

    def test_best(self) -> None:
        """Of a sweep the lowest mean is the best; of a search the incumbent, trained longest."""
        lucky = [made_trial(n, [error], filter_size=3) for n, error in ((1, 0.01), (2, 0.5))]
        sweep = [*lucky, made_trial(3, [0.1], filter_size=5), made_trial(4, [], state="waiting")]
        best = best_row(study_settings(experiment="filter-sweep", values=(3, 5)), sweep)
        assert (best and best.value, best and best.mean) == (5, 0.1)
        search = study_settings(experiment="random-search", values=None, iters=2, space={})
        best = best_row(search, [made_trial(1, [0.1]), made_trial(2, [0.3, 0.2])])
        assert (best and best.trials[0].trial, best and best.errors) == (2, [0.2])
        assert best_row(search, []) is best_row(study_settings(), []) is None


def told(points: Sequence[Point]) -> list[tuple[Any, ...]]:
    """Place, budget, outcome, error and the best so far of each point."""
    return [
        (at, one.configuration.epochs, outcome_of(one), final_error(one), best)
        for at, one, best in points
    ]


class TestProgress:
    """The best so far, by iterations and by the epochs that were spent."""

    def test_every_fate(self) -> None:
        """Trials count in the order of their numbers, and only complete ones move the best."""
        trials = [
            made_trial(7, [0.125], state="running", epochs=2),
            made_trial(6, [0.25]),
            made_trial(5, [0.5]),
            made_trial(4, [0.25]),
            made_trial(3, [0.01], diverged=True),
            made_trial(2, [0.5]),
            made_trial(1, [], state="failed"),
        ]
        assert told(progress(trials, by_epochs=False)) == [
            (1, 1, "failed", None, None),
            (2, 1, "complete", 0.5, 0.5),
            (3, 1, "diverged", None, 0.5),
            (4, 1, "complete", 0.25, 0.25),
            (5, 1, "complete", 0.5, 0.25),
            (6, 1, "complete", 0.25, 0.25),
            (7, 2, "unfinished", None, 0.25),
        ]
        assert best_trial(trials) == trials[3]
        assert progress([]) == progress([], by_epochs=False) == []

    @given(st.lists(st.one_of(st.none(), st.floats(0, 1)), max_size=30))
    def test_law(self, errors: list[float | None]) -> None:
        """The best so far never rises, and is the least error of all iterations up to it."""
        trials = [
            made_trial(n, [], state="failed") if error is None else made_trial(n, [error])
            for n, error in enumerate(errors, 1)
        ]
        points = progress(trials, by_epochs=False)
        for row, point in enumerate(points, 1):
            known = [error for error in errors[:row] if error is not None]
            assert point.best_so_far == min(known, default=None)
        best = [point.best_so_far for point in points if point.best_so_far is not None]
        assert best == sorted(best, reverse=True)
        incumbent = best_trial(trials)
        assert (incumbent.valid_error if incumbent else None) == min(best, default=None)

    @pytest.mark.parametrize("n_brackets", [1, 2, 3, 7])
    def test_whole_search(self, n_brackets: int) -> None:
        """All of a search's epochs are counted once, and each training that ended is a point.

        Counted in iterations, a trial is one point whatever its budgets.
        """
        planned = brackets(n_brackets)
        trials = hyperband(planned)
        points = progress(trials)
        assert len(points) == sum(sum(one.n_configs) for one in planned)
        assert points[-1].at == sum(one.n_epochs for one in planned)
        assert [point.at for point in points] == sorted({point.at for point in points})
        steps = [point.at for point in progress(trials, by_epochs=False)]
        assert steps == [*range(1, len(trials) + 1)]

    def test_what_went_wrong(self) -> None:
        """A training that failed or diverged has spent what it did, and found nothing."""
        outcomes = {(1, 2): "failed", (2, 2): "diverged"}
        goes_on = next(t.trial for t in hyperband(brackets(1), outcomes) if len(t.rungs) > 1)
        points = told(progress(hyperband(brackets(1), outcomes | {(goes_on, 6): "failed"})))
        assert points[:2] == [(1, 2, "failed", None, None), (2, 2, "diverged", None, None)]
        place = [row for row, point in enumerate(points) if point[2] == "failed"][1]
        at, *_, best = points[place - 1]
        assert points[place] == (at + 1, 6, "failed", None, best)


def climbing(*ends: Event, n_epochs: int = 2) -> Trial:
    """A trial that finished its first budget, of two epochs, was promoted to six, and went so."""
    first = [epoch_done(1, number, 0.25) for number in (1, 2)]
    more = [epoch_done(1, number, 0.125) for number in range(3, n_epochs + 1)]
    life: list[Event] = [proposed(1, epochs=2), started(), *first, finished(budget=2)]
    (trial,) = fold([*life, promoted(1, 6), started(from_epoch=2), *more, *ends])
    return trial


FAILED_AT_6 = failed().model_copy(update={"budget": 6})


class TestBudgets:
    """A trial with several budgets, and what is compared."""

    def test_endings(self) -> None:
        """A trial is told as it was after each of its trainings, the last one as it is."""
        trial = climbing(finished(budget=6), n_epochs=6)
        first, last = endings([trial])
        assert last == trial
        assert (first.state, first.configuration.epochs, len(first.epochs)) == ("complete", 2, 2)
        assert [final_error(one) for one in (first, last)] == [0.25, 0.125]
        assert [len(one.rungs) for one in (first, last)] == [1, 2]

    @pytest.mark.parametrize("ends", [(), (FAILED_AT_6,)])
    def test_promoted(self, ends: tuple[Event, ...]) -> None:
        """A promoted trial that has not finished, or failed, counts as it was when promoted."""
        trial = climbing(*ends, n_epochs=3)
        best = best_trial([trial])
        assert best is not None
        assert (best.valid_error, best.configuration.epochs, best.reason) == (0.25, 2, None)
        assert final_error(trial) is None
        assert len(endings([trial])) == 1 + len(ends)
        assert largest_completed(trial) == best
        (row,) = summary([trial])
        assert (row.errors, row.configuration.epochs) == ([0.25], 2)

    def test_diverged(self) -> None:
        """A trial that diverged after its promotion had an error before; one promoted so had not.

        What diverged is promoted where the others of its rung failed.
        """
        later = climbing(finished(budget=6, diverged=True), n_epochs=3)
        assert [outcome_of(one) for one in endings([later])] == ["complete", "diverged"]
        first = later.rungs[0].model_copy(update={"diverged": True})
        before = later.model_copy(update={"rungs": (first, *later.rungs[1:])})
        assert [outcome_of(one) for one in endings([before])] == ["diverged", "diverged"]
        assert best_trial([before]) is None

    def test_training_error_only(self) -> None:
        """Where no image validates, no error is no divergence."""
        made = [epoch_done(1, number, None) for number in (1, 2)]
        life: list[Event] = [proposed(1, epochs=2), started(), *made, finished(budget=2)]
        (one,) = endings(fold([*life, promoted(1, 6)]))
        assert outcome_of(one) == "complete"

    def test_largest_budget(self) -> None:
        """Only the largest budget that any trial completed is compared."""
        trials = [made_trial(1, [0.1] * 2), made_trial(2, [0.3] * 6), made_trial(3, [0.2] * 6)]
        assert best_trial(trials) == trials[2]
        lost = made_trial(4, [0.1] * 9, diverged=True, epochs=18)
        assert best_trial([*trials, lost]) == trials[2]

    @given(st.integers(0, 20))
    def test_law(self, n_endings: int) -> None:
        """Whenever a search is interrupted, the incumbent is the best at its largest budget."""
        ended = endings(hyperband(brackets(3), n_endings=n_endings))
        assert len(ended) == min(n_endings, 20)
        best = best_trial(ended)
        largest = max((one.configuration.epochs for one in ended), default=None)
        rivals = [one.trial for one in ended if one.configuration.epochs == largest]
        assert (best.configuration.epochs if best else None) == largest
        assert (best.valid_error if best else None) == min(
            (error_of(trial, largest) for trial in rivals if largest), default=None
        )


def looks(trials: list[Trial], n_brackets: int = 1) -> list[list[str]]:
    """How each trial's steps look, in the first panel."""
    panel, *_ = bracket_panels(trials, brackets(n_brackets))
    return [[step.look for step in steps] for _, steps in panel.climbs]


class TestBracketPanels:
    """Who was promoted in the brackets of Hyperband."""

    @pytest.mark.parametrize("n_brackets", [1, 3, 12])
    def test_whole_search(self, n_brackets: int) -> None:
        """As many are promoted as planned, every bracket has one winner, the search one best."""
        planned = brackets(n_brackets)
        panels = bracket_panels(hyperband(planned), planned)
        assert [panel.bracket for panel in panels] == planned[:3]
        assert sum(panel.n_planned for panel in panels) == n_brackets
        for bracket, n_planned, n_over, climbs in panels:
            assert n_over == n_planned
            for budget, n_promoted in zip(bracket.epochs, bracket.n_configs[1:], strict=False):
                seen = [s.look for _, steps in climbs for s in steps if s.budget == budget]
                assert seen.count("promoted") == n_promoted * n_planned
                assert set(seen) == {"promoted", "beaten"}
            winners = [place for place, steps in climbs if steps[-1].look in {"winner", "best"}]
            assert sorted(winners) == [*range(n_planned)]
            assert len(climbs) == bracket.n_configs[0] * n_planned
        ends = [steps[-1] for panel in panels for _, steps in panel.climbs]
        (best,) = [one.error for one in ends if one.look == "best"]
        assert best == min(one.error or 1.0 for one in ends if one.look in {"winner", "best"})

    @given(st.integers(0, 20))
    def test_interrupted(self, n_endings: int) -> None:
        """Nobody is called beaten, or the winner, before the whole rung has ended."""
        planned = brackets(3)
        whole = bracket_panels(hyperband(planned), planned)
        n_steps = 0
        for panel, final in zip(
            bracket_panels(hyperband(planned, n_endings=n_endings), planned), whole, strict=True
        ):
            for (_, steps), (_, known) in zip(panel.climbs, final.climbs, strict=False):
                for step, last in zip(steps, known, strict=False):
                    assert step.look in {last.look, "undecided", "best"}
                    assert step.error == last.error
                n_steps += len(steps)
        assert n_steps == min(n_endings, 20)

    def test_rung(self) -> None:
        """A rung is undecided until those above it are trained or wait for it."""
        first = looks(hyperband(brackets(1), n_endings=8))
        assert sorted(steps[0] for steps in first if steps) == ["best"] + ["undecided"] * 7
        trials = hyperband(brackets(1), n_endings=12)
        seen = [look for steps in looks(trials) for look in steps]
        counts = [seen.count(look) for look in ("promoted", "best", "beaten")]
        assert counts == [3, 1, 8]
        assert bracket_panels(trials, brackets(1))[0].n_over == 0

    def test_what_went_wrong(self) -> None:
        """Failed and diverged trials look so; who was best before the last rung has not won.

        A bracket in which nothing went well is over, and has no winner.
        """
        outcomes = {(trial, 2): "failed" for trial in range(1, 8)}
        outcomes |= {(8, budget): "diverged" for budget in (2, 6, 18)}
        trials = hyperband(brackets(1), outcomes)
        first = [steps[0] for steps in looks(trials)]
        assert first[:9] == ["failed"] * 7 + ["diverged", "promoted"]
        # HpBandSter fills a rung with new configurations where too few are left.
        (panel,) = bracket_panels(trials, brackets(1))
        assert (panel.climbs[9][1][0].budget, panel.n_over) == (6, 1)
        whole = hyperband(brackets(1))
        (last,) = [trial.trial for trial in whole if len(trial.rungs) == 3]
        every = {(trial, budget): "failed" for trial in range(1, 14) for budget in (2, 6, 18)}
        for lost in ({(last, 18): "failed"}, every):
            trials = hyperband(brackets(1), lost)
            assert "winner" not in {look for steps in looks(trials) for look in steps}
            assert bracket_panels(trials, brackets(1))[0].n_over == 1

    def test_nothing(self) -> None:
        """Before the first trial, the panels are there, and empty."""
        panels = bracket_panels([], brackets(4))
        assert [(panel.n_planned, panel.n_over) for panel in panels] == [(2, 0), (1, 0), (1, 0)]


class TestIntervals:
    """The interval of an error; the formulas are scipy's."""

    def test_wilson(self) -> None:
        """96 wrong of 10,000 is 0.79 % to 1.17 %, as published tables have it."""
        assert error_interval([0.0096], 10_000) == pytest.approx((0.0079, 0.0117), abs=5e-5)
        assert error_interval([0.0], 100) == pytest.approx((0, 3.8414588 / 103.8414588))

    def test_student(self) -> None:
        """Of three repeats it is the mean's, within 0 and 1; two, and equal ones, have none."""
        half = 4.30265 * 0.02 / math.sqrt(3)
        assert error_interval([0.01, 0.03, 0.05], 100) == pytest.approx((0.0, 0.03 + half))
        assert error_interval([0.01, 0.03], 100) is error_interval([], 100) is None
        (equal,) = summary([made_trial(n, [0.25]) for n in (1, 2, 3)])
        assert equal.interval(100) is None


def make_score(*rows: tuple[int, ...]) -> TestScore:
    """A test score with this confusion matrix."""
    n_images = sum(map(sum, rows))
    n_right = sum(row[digit] for digit, row in enumerate(rows))
    return TestScore(test_error=(n_images - n_right) / n_images, test_loss=0.1, confusion=rows)


class TestConfusion:
    """What the test experiment found."""

    def test_one_repeat(self) -> None:
        """One repeat has Wilson's interval; a class without images has no error."""
        assert confusion([]) == Confusion((), (), 0, (), None, None)
        matrix = ((6, 2, 0), (1, 7, 0), (0, 0, 0))
        interval, spread = error_interval([0.1875], 16), Spread(1, 0.1875, None)
        found = Confusion(matrix, (0.25, 0.125, None), 16, (0.1875,), spread, interval)
        assert confusion([make_score(*matrix)]) == found

    def test_repeats(self) -> None:
        """Repeats add their counts up."""
        found = confusion([make_score((50, 0), (1, 49)), make_score((49, 1), (2, 48))])
        assert found[:4] == (((99, 1), (3, 97)), (0.01, 0.03), 100, (0.01, 0.03))
        assert found.error is not None
        assert found.error.sd == pytest.approx(math.sqrt(2) / 100)
        assert found.interval is None

    def test_wrong_images(self) -> None:
        """What most repeats get wrong comes first, as the most confident of them did."""

        def score(*mistakes: tuple[int, int, float]) -> TestScore:
            made = tuple(
                Mistake(image=image, true=4, predicted=predicted, confidence=confidence)
                for image, predicted, confidence in mistakes
            )
            return TestScore(test_error=0.5, test_loss=None, confusion=(), mistakes=made)

        scores = [score((7, 9, 0.5), (1, 6, 0.99)), score((7, 1, 0.75)), score((2, 9, 0.995))]
        found = [(*one.model_dump().values(), n) for one, n in wrong_images(scores)]
        assert found == [(7, 4, 1, 0.75, 2), (2, 4, 9, 0.995, 1), (1, 4, 6, 0.99, 1)]
        assert wrong_images([score()]) == []


def test_percent() -> None:
    """An error has two decimals below 10 % and one above, its deviation as many."""
    assert [percent(error) for error in (0.012345, 0.123, 0.0)] == ["1.23 %", "12.3 %", "0.00 %"]
    assert [percent(0.012345, 0.0008), percent(0.7, 0.02)] == ["1.23 ± 0.08 %", "70.0 ± 2.0 %"]


def test_describe() -> None:
    """A configuration in words names every hyperparameter, the student's best one among them."""
    best = TrainConfig(learning_rate=0.0372, batch_size=95, num_filters=22, filter_size=5, epochs=6)
    assert describe(best) == ("learning rate 0.0372, batch size 95, 22 filters of 5×5, 6 epochs")
    single = TrainConfig(num_filters=1, epochs=1)
    assert describe(single).endswith("1 filter of 3×3, 1 epoch")
    beyond = TrainConfig(momentum=0.9, dropout=0.25, weight_decay=1e-4)
    assert describe(beyond).endswith("12 epochs, momentum 0.9, dropout 0.25, weight decay 0.0001")
    assert describe(TrainConfig(dropout=0.5)).endswith("12 epochs, dropout 0.5")


class TestRanking:
    """The trials of a search by rank."""

    def test_fates(self) -> None:
        """Those with an error come first; the others have no rank, and no outcome but these."""
        found = rank(ALL, [{}] * len(ALL))
        assert [(one.number, one.rank, one.error) for one in found if one.rank] == [(1, 1, 0.25)]
        outcomes = {one.number: one.outcome for one in found}
        assert [outcomes[number] for number in range(1, 8)] == [fate for _, fate, _ in FATES[:7]]
        assert {outcomes[8], outcomes[9]} == {"unfinished"}
        assert found[0].curve == ((1, 0.5), (2, 0.25))

    def test_order(self) -> None:
        """The longer trained first, then the lower error, then the earlier proposal."""
        trials = [
            made_trial(1, [0.2]),
            made_trial(2, [0.3, 0.25]),
            made_trial(3, [0.1]),
            made_trial(4, [0.3, 0.25]),
        ]
        values = [{"num_filters": number} for number in range(4)]
        found = rank(trials, values)
        assert [one.number for one in found] == [2, 4, 3, 1]
        assert [one.rank for one in found] == [1, 2, 3, 4]
        assert [one.values["num_filters"] for one in found] == [1, 3, 2, 0]

    @pytest.mark.parametrize("outcomes", [{}, {(1, 18): "failed", (2, 6): "diverged"}])
    def test_budgets(self, outcomes: dict[tuple[int, float], str]) -> None:
        """A trial stands at the largest budget that it completed; the first is the incumbent."""
        trials = hyperband(brackets(3), outcomes)
        found = rank(trials, [{}] * len(trials))
        best = best_trial(trials)
        assert best is not None
        first = (found[0].number, found[0].budget, found[0].error)
        assert first == (best.trial, best.configuration.epochs, best.valid_error)
        for one in found:
            if one.error is not None:
                assert one.error == dict(one.curve)[one.budget]
