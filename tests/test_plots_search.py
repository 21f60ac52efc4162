"""The figure of a search: the incumbent among all trials."""

from __future__ import annotations

import pytest
from made_figures import (
    CAPTION,
    axes_of,
    brackets,
    falling,
    hyperband,
    over_epochs,
    search,
    texts,
    ticks,
)
from matplotlib.colors import to_rgb

from mnist_lab import plots
from mnist_lab.analysis.history import Incumbents, SearchPoint
from mnist_lab.analysis.outcomes import Tally


class TestIncumbent:
    """The figure of a search."""

    def test_points(self) -> None:
        """Dots are the trials, the step line is the best so far, the ring is the incumbent."""
        axes = axes_of(plots.incumbent(search(0.5, None, 0.012, 0.1), CAPTION))[0]
        drawn = {line.get_label(): line for line in axes.lines}
        assert list(drawn["trial"].get_xydata().ravel()) == [1, 0.5, 3, 0.012, 4, 0.1]
        assert list(drawn["best so far"].get_xydata().ravel()) == [
            *(1, 0.5),
            *(2, 0.5),
            *(3, 0.012),
            *(4, 0.012),
        ]
        assert drawn["best so far"].get_drawstyle() == "steps-post"
        assert list(drawn["incumbent"].get_xydata().ravel()) == [3, 0.012]
        assert axes.get_yscale() == "log"

    def test_failed_and_diverged(self) -> None:
        """Trials without an error are marks at the top edge, counted below the title."""
        points = (
            SearchPoint(1, 12, "failed", None, None),
            SearchPoint(2, 12, "diverged", None, None),
            SearchPoint(3, 12, "unfinished", None, None),
        )
        numbers = Incumbents("iterations", points, Tally(0, 1, 1, 1), None, None)
        figure = plots.incumbent(numbers, CAPTION)
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
        """Iterations are whole numbers from 1 on, and the incumbent is told in words."""
        figure = plots.incumbent(search(*falling(0.5, 0.0115, n_trials + 1)[1:]), CAPTION)
        found = texts(figure)
        shown = [int(tick) for tick in ticks(axes_of(figure)[0].xaxis)]
        assert shown
        assert 1 <= shown[0] <= shown[-1] <= n_trials
        assert f"iteration {n_trials}: 1.15 %" in found
        assert "learning rate 0.0372, batch size 128, 16 filters of 5×5, 1 epoch" in found

    def test_words_inside(self) -> None:
        """The incumbent's words stay inside the axes and below all dots, wherever it is."""
        for errors in ([0.01, *[0.5] * 40], [*[0.5] * 40, 0.01]):
            figure = plots.incumbent(search(*errors), CAPTION)
            plots.save(figure)
            axes = axes_of(figure)[0]
            box = axes.texts[0].get_window_extent()
            assert axes.bbox.x0 < box.x0 < box.x1 < axes.bbox.x1
            assert axes.bbox.y0 < box.y0 < box.y1 < axes.transData.transform((1, 0.01))[1]

    def test_no_error_at_all(self) -> None:
        """An incumbent without a single error is drawn too."""
        assert "iteration 2: 0.00 %" in texts(plots.incumbent(search(0.5, 0.0), CAPTION))
        assert "iteration 1: 0.00 %" in texts(plots.incumbent(search(0.0), CAPTION))


class TestIncumbentOfBudgets:
    """The figure of a search whose trials have several budgets."""

    def test_budgets(self) -> None:
        """The dots of a budget share a look of their own; x counts the epochs of all trials."""
        axes = axes_of(over_epochs(hyperband(brackets(1))))[0]
        drawn = {line.get_label(): line for line in axes.lines}
        assert list(drawn["2 epochs"].get_xdata()) == [*range(2, 19, 2)]
        assert list(drawn["6 epochs"].get_xdata()) == [22, 26, 30]
        assert list(drawn["18 epochs"].get_xdata()) == [42]
        dots = [drawn[f"{budget} epochs"] for budget in (2, 6, 18)]
        assert len({dot.get_marker() for dot in dots}) == 3
        brightness = [sum(to_rgb(dot.get_color())) for dot in dots]
        assert brightness == sorted(brightness, reverse=True)
        assert list(drawn["incumbent"].get_xdata()) == [42]
        assert list(drawn["best so far"].get_xdata()) == [*range(2, 19, 2), 22, 26, 30, 42]
        assert axes.get_xlabel() == "epochs trained, all trials together"
        low, high = axes.get_xlim()
        assert low < 0
        assert high > 42

    def test_words(self) -> None:
        """The incumbent is told with the epochs spent until it was found, and with its budget."""
        found = texts(over_epochs(hyperband(brackets(1), {(1, 2): "failed"})))
        assert any(text.startswith("after 41 epochs: ") for text in found)
        assert any(text.endswith("18 epochs") and "learning rate" in text for text in found)
        assert any(text.endswith("lowest at the largest; of 9: 1 failed.") for text in found)

    def test_one_epoch(self) -> None:
        """A budget of one epoch is a singular."""
        assert "1 epoch" in texts(over_epochs(hyperband(brackets(1, 1, 3))))

    def test_legend_fits(self) -> None:
        """However many budgets there are, the legend stays on the page and off the other words."""
        outcomes = {(1, 2): "failed", (2, 2): "diverged"}
        for last in (6, 54, 486):
            figure = over_epochs(hyperband(brackets(1, 2, last), outcomes))
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
            figure = over_epochs(trials)
            figure.draw_without_rendering()
            axes = axes_of(figure)[0]
            box = axes.texts[0].get_window_extent()
            assert axes.texts[0].get_text().endswith("weight decay 0.0001234")
            assert axes.bbox.x0 < box.x0 < box.x1 < axes.bbox.x1
            lowest = min(error for error in axes.lines[0].get_ydata())
            assert axes.bbox.y0 < box.y0 < box.y1 < axes.transData.transform((1, lowest))[1]

    def test_nothing_to_draw(self) -> None:
        """Where nothing can be drawn, the figure says why."""
        outcomes = {(trial, 2): "failed" for trial in range(1, 10)}
        failed = hyperband(brackets(1), outcomes, n_endings=9)
        assert "no trial yet" in texts(over_epochs([]))
        assert "no trial is complete" in texts(over_epochs(failed))
