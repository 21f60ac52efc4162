"""The figures of searches: the incumbent, the promotions in each bracket, ways to search."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any

import pytest
from made_events import made_trial, study_settings
from made_figures import (
    axes_of,
    best_so_far,
    brackets,
    falling,
    halving,
    hyperband,
    promotions,
    search,
    texts,
    ticks,
)
from made_runs import make_run
from matplotlib.colors import to_hex, to_rgb

from mnist_lab import plots, space
from mnist_lab.config import TrainConfig
from mnist_lab.study import load_run

if TYPE_CHECKING:
    from pathlib import Path


class TestIncumbent:
    """The figure of a search."""

    def test_points(self) -> None:
        """Dots are the trials, the step line is the best so far, the ring is the best."""
        axes = axes_of(best_so_far(search(0.5, None, 0.012, 0.1)))[0]
        drawn = {line.get_label(): line for line in axes.lines}
        assert list(drawn["trial"].get_xydata().ravel()) == [1, 0.5, 3, 0.012, 4, 0.1]
        assert list(drawn["best so far"].get_xydata().ravel()) == [
            *(1, 0.5),
            *(2, 0.5),
            *(3, 0.012),
            *(4, 0.012),
        ]
        assert drawn["best so far"].get_drawstyle() == "steps-post"
        assert list(drawn["best"].get_xydata().ravel()) == [3, 0.012]
        assert axes.get_yscale() == "log"

    def test_failed_and_diverged(self) -> None:
        """Trials without an error are marks at the top edge, counted below the title."""
        config: dict[str, Any] = {"epochs": 12}
        figure = best_so_far(
            [
                made_trial(1, [], state="failed", **config),
                made_trial(2, [0.9], diverged=True, **config),
                made_trial(3, [], state="waiting", **config),
            ]
        )
        marks = {line.get_label(): line for line in axes_of(figure)[0].lines}
        assert [list(marks[outcome].get_xdata()) for outcome in ("failed", "diverged")] == [
            [1],
            [2],
        ]
        assert marks["failed"].get_marker() == "x"
        said = "Error after the last epoch; of 3: 1 diverged, 1 failed, 1 unfinished."
        assert {said, "failed", "diverged"} < {*texts(figure)}

    @pytest.mark.parametrize("n_trials", [1, 4, 50])
    def test_iterations(self, n_trials: int) -> None:
        """Iterations are whole numbers from 1 on, and the best is told in words."""
        figure = best_so_far(search(*falling(0.5, 0.0115, n_trials + 1)[1:]))
        found = texts(figure)
        shown = [int(tick) for tick in ticks(axes_of(figure)[0].xaxis)]
        assert shown
        assert 1 <= shown[0] <= shown[-1] <= n_trials
        assert f"iteration {n_trials}: 1.15 %" in found
        assert f"Best trial: 1.15 %, found in iteration {n_trials} of {n_trials}" in found
        assert "learning rate 0.0372, batch size 128, 16 filters of 5×5, 1 epoch" in found

    def test_words_inside(self) -> None:
        """The words of the best stay inside the axes and below all dots, wherever it is."""
        for errors in ([0.01, *[0.5] * 40], [*[0.5] * 40, 0.01]):
            figure = best_so_far(search(*errors))
            plots.save(figure)
            axes = axes_of(figure)[0]
            box = axes.texts[0].get_window_extent()
            assert axes.bbox.x0 < box.x0 < box.x1 < axes.bbox.x1
            assert axes.bbox.y0 < box.y0 < box.y1 < axes.transData.transform((1, 0.01))[1]

    def test_no_error_at_all(self) -> None:
        """A best trial without a single error is drawn too."""
        assert "iteration 2: 0.00 %" in texts(best_so_far(search(0.5, 0.0)))
        assert "iteration 1: 0.00 %" in texts(best_so_far(search(0.0)))


class TestIncumbentOfBudgets:
    """The figure of a search whose trials have several budgets."""

    def test_budgets(self) -> None:
        """The dots of a budget share a look of their own; x counts the epochs of all trials."""
        axes = axes_of(best_so_far(hyperband(brackets(1)), by_epochs=True))[0]
        drawn = {line.get_label(): line for line in axes.lines}
        assert list(drawn["2 epochs"].get_xdata()) == [*range(2, 19, 2)]
        assert list(drawn["6 epochs"].get_xdata()) == [22, 26, 30]
        assert list(drawn["18 epochs"].get_xdata()) == [42]
        dots = [drawn[f"{budget} epochs"] for budget in (2, 6, 18)]
        assert len({dot.get_marker() for dot in dots}) == 3
        brightness = [sum(to_rgb(dot.get_color())) for dot in dots]
        assert brightness == sorted(brightness, reverse=True)
        assert list(drawn["best"].get_xdata()) == [42]
        assert list(drawn["best so far"].get_xdata()) == [*range(2, 19, 2), 22, 26, 30, 42]
        assert axes.get_xlabel() == "epochs trained, all trials together"
        low, high = axes.get_xlim()
        assert low < 0
        assert high > 42

    def test_words(self) -> None:
        """The best is told with the epochs spent until it was found, and with its budget."""
        found = texts(best_so_far(hyperband(brackets(1), {(1, 2): "failed"}), by_epochs=True))
        assert any(text.startswith("after 41 epochs: ") for text in found)
        assert any(text.endswith("18 epochs") and "learning rate" in text for text in found)
        assert any(text.endswith("at the largest budget; of 9: 1 failed.") for text in found)

    def test_legend_fits(self) -> None:
        """However many budgets there are, the legend stays on the page and off the other words."""
        outcomes = {(1, 2): "failed", (2, 2): "diverged"}
        for last in (6, 54, 486):
            figure = best_so_far(hyperband(brackets(1, 2, last), outcomes), by_epochs=True)
            figure.draw_without_rendering()
            axes = axes_of(figure)[0]
            legend = axes.get_legend().get_window_extent()
            assert figure.bbox.x0 <= legend.x0 < legend.x1 <= figure.bbox.x1
            assert axes.bbox.y1 <= legend.y0
            assert legend.y1 <= min(text.get_window_extent().y0 for text in figure.texts[:2])

    def test_long_configuration(self) -> None:
        """A configuration with every hyperparameter is wrapped, inside the axes."""
        beyond = {"momentum": 0.9012, "dropout": 0.2512, "weight_decay": 1.234e-4}
        for n_endings in (1, 13):
            trials = [
                trial.model_copy(
                    update={"configuration": trial.configuration.model_copy(update=beyond)}
                )
                for trial in hyperband(brackets(1), n_endings=n_endings)
            ]
            figure = best_so_far(trials, by_epochs=True)
            figure.draw_without_rendering()
            axes = axes_of(figure)[0]
            box = axes.texts[0].get_window_extent()
            assert axes.texts[0].get_text().endswith("weight decay 0.0001234")
            assert axes.bbox.x0 < box.x0 < box.x1 < axes.bbox.x1
            lowest = min(error for error in axes.lines[0].get_ydata())
            assert axes.bbox.y0 < box.y0 < box.y1 < axes.transData.transform((1, lowest))[1]


def dots(axes: Any, look: str) -> list[tuple[float, float]]:
    """Where the marks of this look stand."""
    return [
        (float(x), float(y))
        for line in axes.lines
        if line.get_label() == look
        for x, y in line.get_xydata()
    ]


def plain(text: str) -> str:
    """The text with its words parted by plain spaces."""
    return text.replace("\N{NO-BREAK SPACE}", " ")


class TestBrackets:
    """The figure of the brackets."""

    def test_panels(self) -> None:
        """A panel for each kind of bracket: its numbers, its budgets, the same scale of errors.

        Equal brackets stand side by side, nearer to their own budget than to another.
        """
        planned = brackets(12)
        panels = axes_of(promotions(hyperband(planned), planned))
        assert [plain(axes.get_title("left")) for axes in panels] == [
            "4 brackets of 9 → 3 → 1",
            "4 brackets of 3 → 1",
            "4 brackets of 3",
        ]
        assert [ticks(axes.xaxis) for axes in panels] == [["2", "6", "18"], ["6", "18"], ["18"]]
        assert len({axes.get_ylim() for axes in panels}) == 1
        assert {axes.get_yscale() for axes in panels} == {"log"}
        assert [axes.get_ylabel() for axes in panels] == ["validation error", "", ""]
        winners = [x for look in ("winner", "best") for x, _ in dots(panels[0], look)]
        assert len(set(winners)) == 4
        assert {round(x) for x in winners} == {2}
        assert sum(winners) / 4 == pytest.approx(2)

    def test_promotions(self) -> None:
        """Nine dots, three lines on, one line further, a star at the end of it.

        A line goes through the errors that the trial had at its rungs. The better, the darker,
        also in grey; the best has a colour of its own.
        """
        trials = hyperband(brackets(1))
        (axes,) = axes_of(promotions(trials, brackets(1)))
        promoted, beaten = (dots(axes, look) for look in ("promoted", "beaten"))
        assert sorted(round(x) for x, _ in promoted) == [0, 0, 0, 1]
        assert sorted(round(x) for x, _ in beaten) == [0] * 6 + [1] * 2
        ((place, _),) = dots(axes, "best")
        assert place == pytest.approx(2)
        lines = [line for line in axes.lines if line.get_linestyle() == "-"]
        assert sorted(len(line.get_xdata()) for line in lines) == [2, 2, 3]
        expected = [[rung.valid_error for rung in one.rungs] for one in trials if one.rungs[1:]]
        assert [list(line.get_ydata()) for line in lines] == expected

    def test_looks(self) -> None:
        """The better, the darker, in grey, too; the best of all is a star in a colour of its own.

        The title says how many got how far, and what came of it.
        """
        figure = promotions(hyperband(brackets(3)), brackets(3))
        colors = {
            line.get_label(): to_rgb(line.get_color())
            for axes in axes_of(figure)
            for line in axes.lines
        }
        grey = [sum(colors[look]) for look in ("beaten", "promoted", "winner")]
        assert grey == sorted(grey, reverse=True)
        assert to_hex(colors["best"]) == "#d55e00"
        lines = [line for axes in axes_of(figure) for line in axes.lines]
        assert len([line for line in lines if line.get_marker() == "*"]) == 1
        found = texts(figure)
        assert "5 of 15 configurations reached 18 epochs; the best has 1.04 % error" in found
        assert {"promoted", "best of its bracket", "best of all"} < {*found}

    def test_hundreds(self) -> None:
        """Dots of about one error stand beside each other, nearer to their budget than to another.

        Budgets below an epoch are promoted by loss, which the figure says.
        """
        planned = brackets(1, 3 / 32, 6, 8)
        figure = promotions(hyperband(planned), planned)
        (axes,) = axes_of(figure)
        assert ticks(axes.xaxis) == ["3/32", "3/4", "6"]
        first = [one for look in ("beaten", "promoted") for one in dots(axes, look) if one[0] < 0.5]
        assert len(first) == 64
        inches = axes.transData.transform(first) / figure.dpi
        apart = [math.dist(a, b) for a, b in itertools.combinations(inches, 2)]
        assert min(apart) > 3.6 / 72
        assert any("by loss below one epoch" in text for text in texts(figure))

    def test_interrupted(self) -> None:
        """What is not decided is hollow; the panels of brackets to come say that they are empty."""
        figure = promotions(hyperband(brackets(12), n_endings=7), brackets(12))
        first, second, third = axes_of(figure)
        assert (len(dots(first, "undecided")), len(dots(first, "best"))) == (6, 1)
        assert not dots(first, "beaten")
        assert plain(first.get_title("left")).endswith("(0 ended)")
        assert [axes.texts[0].get_text() for axes in (second, third)] == [
            "no training\nhas ended"
        ] * 2
        assert ticks(third.xaxis) == ["18"]
        assert "best of its bracket" not in texts(figure)

    def test_what_went_wrong(self) -> None:
        """Failed and diverged trials stand at the top edge above the budget that they had."""
        outcomes = {(1, 2): "failed", (2, 2): "diverged", (5, 2): "failed"}
        figure = promotions(hyperband(brackets(1), outcomes), brackets(1))
        (axes,) = axes_of(figure)
        failed, diverged = dots(axes, "failed"), dots(axes, "diverged")
        assert len({x for x, _ in failed}) == 2
        assert {round(x) for x, _ in (*failed, *diverged)} == {0}
        assert len(diverged) == 1
        assert all(0.9 < y < 1 for _, y in (*failed, *diverged))
        assert any("; of 9: 1 diverged, 2 failed." in text for text in texts(figure))

    def test_too_many_went_wrong(self) -> None:
        """Where their marks would hide each other, there is one with their number."""
        planned = brackets(5, 1, 81)
        outcomes = {(trial, 1): "failed" for trial in range(1, 30)}
        axes = axes_of(promotions(hyperband(planned, outcomes), planned))[0]
        assert len(dots(axes, "failed")) == 1
        assert [text.get_text() for text in axes.texts] == ["29"]

    def test_all_failed(self) -> None:
        """A search in which everything failed has its marks, and no best."""
        outcomes = {(trial, budget): "failed" for trial in range(1, 14) for budget in (2, 6, 18)}
        figure = promotions(hyperband(brackets(1), outcomes), brackets(1))
        assert len(dots(axes_of(figure)[0], "failed")) == 13
        assert "9 → 3 → 1 configurations" in map(plain, texts(figure))
        assert "best of all" not in texts(figure)

    def test_no_error_at_all(self) -> None:
        """An error of 0 stands at the bottom."""
        (axes,) = axes_of(promotions(hyperband(brackets(1), scale=0.0), brackets(1)))
        assert {y for _, y in dots(axes, "beaten")} == {axes.get_ylim()[0]}


@pytest.mark.parametrize("experiment", ["hyperband", "bohb"])
def test_drawn(tmp_path: Path, experiment: str) -> None:
    """A run of Hyperband or BOHB has its promotions among the figures, and epochs in the other."""
    settings = study_settings(
        experiment=experiment,
        base=TrainConfig(epochs=18),
        values=None,
        iters=3,
        min_epochs=2,
        space=space.to_dict(space.default_space()),
    )
    run = make_run(tmp_path / "run", settings, *halving(brackets(3), n_endings=15), state="running")
    drawn = {path.name: path for path in load_run(run).draw()}
    assert {path.stem for path in drawn.values()} == {
        "incumbent",
        "brackets",
        "learning_curves",
        "hyperparameters",
        "parallel_coordinates",
        "search_space",
    }
    shown = drawn["incumbent.svg"].read_text(encoding="utf-8")
    assert "epochs trained, all trials together" in shown
    titles = plain(drawn["brackets.svg"].read_text(encoding="utf-8"))
    assert titles.count("(not ended)") == 2
