"""The figures of every trial of a search: learning curves by rank, error by hyperparameter."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from made_figures import (
    CAPTION,
    LOST,
    SPACE,
    assert_nothing_overlaps,
    axes_of,
    lines_of,
    ranked,
    ranked_tally,
    texts,
    ticks,
)
from matplotlib.colors import to_hex, to_rgb

from mnist_lab import plots

if TYPE_CHECKING:
    from mnist_lab.analysis.history import RankedTrial

RED = "#d55e00"


def curves_of(trials: list[RankedTrial]) -> list[tuple[list[float], str]]:
    """The solid lines of the figure of the learning curves, with their colours."""
    figure = plots.ranked_curves(trials, ranked_tally(trials), CAPTION)
    return [(list(line.get_ydata()), to_hex(line.get_color())) for line in lines_of(figure, "-")]


class TestRankedCurves:
    """The learning curves of all trials."""

    def test_shades(self) -> None:
        """Each trial is a line; the better, the darker, also in grey; the incumbent is red."""
        trials = ranked(9)
        lines = curves_of(trials)
        assert [line for line, _ in reversed(lines)] == [list(one.curve) for one in trials]
        *others, incumbent = lines
        assert incumbent[1] == RED
        brightness = [sum(to_rgb(color)) for _, color in reversed(others)]
        assert brightness == sorted(brightness)
        assert len({*brightness}) == 8

    def test_incumbent_on_top(self) -> None:
        """The incumbent is drawn last, and thicker than the others."""
        trials = ranked(9)
        lines = lines_of(plots.ranked_curves(trials, ranked_tally(trials), CAPTION), "-")
        widths = [line.get_linewidth() for line in lines]
        assert widths[-1] > max(widths[:-1])

    def test_lost(self) -> None:
        """What has no error is dotted, and ends in the mark of its outcome; all are counted."""
        trials = ranked(12, LOST)
        figure = plots.ranked_curves(trials, ranked_tally(trials), CAPTION)
        dotted = lines_of(figure, ":")
        assert [len(line.get_xdata()) for line in dotted] == [2, 2]
        marks = {line.get_marker() for line in lines_of(figure, "None")}
        assert marks == {"^", "o"}
        found = texts(figure)
        assert {"diverged", "unfinished"} < {*found}
        assert "of 12: 1 diverged, 2 failed, 1 unfinished." in " ".join(found)

    def test_words(self) -> None:
        """The incumbent and the last of the ranks are told with their errors."""
        trials = ranked(4)
        found = texts(plots.ranked_curves(trials, ranked_tally(trials), CAPTION))
        best, last = trials[0], trials[3]
        assert f"trial {best.number}, epoch 6" in found
        assert any(text.startswith("incumbent: ") for text in found)
        assert f"trial {last.number}, epoch 6" in found
        assert {"rank 1", "4"} < {*found}

    def test_budgets(self) -> None:
        """Where some were trained for longer, the key says that they rank first."""
        trials = ranked(9, budgets=(2, 6))
        found = texts(plots.ranked_curves(trials, ranked_tally(trials), CAPTION))
        assert "longer trained before shorter" in " ".join(found)
        lengths = [len(line) for line, _ in reversed(curves_of(trials))]
        assert lengths == sorted(lengths, reverse=True)

    def test_one_epoch(self) -> None:
        """A line of one epoch is a dot, and an error of 0 stands at the lower edge."""
        trials = [one._replace(curve=(0.0,), error=0.0) for one in ranked(1)]
        figure = plots.ranked_curves(trials, ranked_tally(trials), CAPTION)
        (line,) = lines_of(figure, "-")
        assert line.get_marker() == "."
        assert list(line.get_ydata()) == [axes_of(figure)[0].get_ylim()[0]]

    @pytest.mark.parametrize("n_trials", [1, 4, 50])
    @pytest.mark.parametrize("budgets", [(1,), (6,), (2, 6, 18, 54, 162)])
    @pytest.mark.parametrize("outcomes", [{}, LOST])
    def test_nothing_overlaps(
        self, n_trials: int, budgets: tuple[int, ...], outcomes: dict[int, str]
    ) -> None:
        """All words have a place of their own, inside the figure."""
        trials = ranked(n_trials, outcomes, budgets)
        assert_nothing_overlaps(plots.ranked_curves(trials, ranked_tally(trials), CAPTION))


class TestHyperparameters:
    """The error against each hyperparameter."""

    def test_dots(self) -> None:
        """A panel has the trials in which its hyperparameter is active, on its own scale."""
        trials = ranked(12)
        figure = plots.hyperparameters(SPACE, trials, ranked_tally(trials), CAPTION)
        panels = axes_of(figure)
        assert [axes.get_xscale() for axes in panels] == ["log", "log", "linear", "linear"]
        for axes, dimension in list(zip(panels, SPACE, strict=True))[:3]:
            dots = next(line for line in axes.lines if line.get_markersize() == 4)
            drawn = {*zip(dots.get_xdata(), dots.get_ydata(), strict=True)}
            name = dimension.name
            assert drawn == {(o.values[name], o.error) for o in trials if name in o.values}
        assert panels[1].get_xlabel() == "batch size (inactive in 2 of 12 trials)"
        assert panels[0].get_xlabel() == "learning rate"

    def test_choices(self) -> None:
        """Trials of a choice stand beside each other, around a line at their median."""
        trials = ranked(12)
        figure = plots.hyperparameters(SPACE, trials, ranked_tally(trials), CAPTION)
        axes = axes_of(figure)[3]
        assert ticks(axes.xaxis) == ["3×3", "5×5"]
        dots = next(line for line in axes.lines if line.get_markersize() == 4)
        places = sorted(dots.get_xdata())
        assert len({*places}) == 12
        assert all(abs(place - round(place)) < 0.3 for place in places)
        errors = sorted(o.error or 0 for o in trials if o.values["filter_size"] == 3)
        levels = [c.get_segments()[0][0][1] for c in axes.collections]
        assert levels[0] == pytest.approx((errors[2] + errors[3]) / 2)

    def test_incumbent(self) -> None:
        """The incumbent has a ring in every panel in which it has a value."""
        trials = ranked(12)
        figure = plots.hyperparameters(SPACE, trials, ranked_tally(trials), CAPTION)
        for axes, dimension in list(zip(axes_of(figure), SPACE, strict=True))[:3]:
            rings = [line for line in axes.lines if line.get_markersize() == 10]
            at = [(*ring.get_xdata(), *ring.get_ydata()) for ring in rings]
            assert at == [(trials[0].values[dimension.name], trials[0].error)]

    def test_lost(self) -> None:
        """What has no error is a mark at the top edge, at its values."""
        trials = ranked(12, LOST)
        figure = plots.hyperparameters(SPACE, trials, ranked_tally(trials), CAPTION)
        axes = axes_of(figure)[2]
        marks = {line.get_marker(): line for line in axes.lines if line.get_markersize() == 5}
        by_number = {one.number: one.values["num_filters"] for one in trials}
        assert {*marks["x"].get_xdata()} == {by_number[2], by_number[12]}
        assert {*marks["^"].get_xdata()} == {by_number[3]}
        assert {"failed", "diverged", "unfinished", "incumbent"} < {*texts(figure)}

    def test_budgets(self) -> None:
        """Each budget has a look of its own, the larger the darker."""
        trials = ranked(12, budgets=(2, 6, 18))
        figure = plots.hyperparameters(SPACE, trials, ranked_tally(trials), CAPTION)
        dots = [line for line in axes_of(figure)[0].lines if line.get_markersize() == 4]
        assert len({line.get_marker() for line in dots}) == 3
        brightness = [sum(to_rgb(line.get_color())) for line in dots]
        assert brightness == sorted(brightness, reverse=True)
        assert {"2 epochs", "6 epochs", "18 epochs"} < {*texts(figure)}

    @pytest.mark.parametrize("n_trials", [1, 4, 50])
    @pytest.mark.parametrize("budgets", [(1,), (2, 6, 18, 54, 162)])
    @pytest.mark.parametrize("n_panels", [1, 4, 7])
    def test_nothing_overlaps(self, n_trials: int, budgets: tuple[int, ...], n_panels: int) -> None:
        """All words have a place of their own, inside the figure."""
        trials = ranked(n_trials, LOST, budgets)
        panels = [*SPACE, *SPACE][:n_panels]
        figure = plots.hyperparameters(panels, trials, ranked_tally(trials), CAPTION)
        assert_nothing_overlaps(figure)
