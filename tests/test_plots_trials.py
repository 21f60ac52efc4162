"""The figures of every trial of a search: by rank, by hyperparameter, in parallel coordinates."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
from made_figures import LOST, SPACE, axes_of, lines_of, of_ranked, ranked, texts, ticks
from matplotlib.colors import to_hex, to_rgb

if TYPE_CHECKING:
    from mnist_lab.analysis.history import RankedTrial

ORANGE = "#d55e00"
COUNTS = "of 12: 1 diverged, 2 failed, 1 unfinished."


class TestRankedCurves:
    """The learning curves of all trials."""

    def test_shades(self) -> None:
        """Each trial is a line; the better, the darker, also in grey; the best is orange."""
        trials = ranked(9)
        lines = lines_of(of_ranked("ranked_curves", trials), "-")
        curves = [[*line.get_ydata()] for line in reversed(lines)]
        assert curves == [[error for _, error in one.curve] for one in trials]
        *others, incumbent = lines
        assert to_hex(incumbent.get_color()) == ORANGE
        assert incumbent.get_linewidth() > max(line.get_linewidth() for line in others)
        brightness = [sum(to_rgb(line.get_color())) for line in reversed(others)]
        assert brightness == sorted(brightness)
        assert len({*brightness}) == 8

    def test_lost(self) -> None:
        """What has no error is dotted, and ends in the mark of its outcome; all are counted."""
        figure = of_ranked("ranked_curves", ranked(12, LOST))
        assert [len(line.get_xdata()) for line in lines_of(figure, ":")] == [2, 2]
        assert {line.get_marker() for line in lines_of(figure, "None")} == {"^", "o"}
        found = texts(figure)
        assert {"diverged", "unfinished"} < {*found}
        assert COUNTS in " ".join(found)

    def test_words(self) -> None:
        """The best and the worst are told with their errors; the title has the median, too."""
        trials = ranked(4)
        found = texts(of_ranked("ranked_curves", trials))
        best, last = (f"trial {one.number}, epoch 6" for one in (trials[0], trials[3]))
        assert {best, last, "rank 1", "4"} < {*found}
        assert any(text.startswith("best: ") for text in found)
        assert any(text.startswith("Best of 4 trials: ") and "median" in text for text in found)

    def test_budgets(self) -> None:
        """Where some were trained for longer, the key says that they rank first."""
        figure = of_ranked("ranked_curves", ranked(9, budgets=(2, 6)))
        assert "longer trained before shorter" in " ".join(texts(figure))
        lengths = [len(line.get_xdata()) for line in reversed(lines_of(figure, "-"))]
        assert lengths == sorted(lengths, reverse=True)

    def test_one_epoch(self) -> None:
        """A line of one epoch is a dash, and an error of 0 stands at the lower edge."""
        trials = [one._replace(curve=((1, 0.0),), error=0.0) for one in ranked(1)]
        figure = of_ranked("ranked_curves", trials)
        (line,) = lines_of(figure, "-")
        assert line.get_marker() == "_"
        assert list(line.get_ydata()) == [axes_of(figure)[0].get_ylim()[0]]


class TestHyperparameters:
    """The error against each hyperparameter."""

    def test_panels(self) -> None:
        """A panel has the trials in which its hyperparameter is active, on its own scale.

        The best has a ring in every one in which it has a value.
        """
        trials = ranked(12)
        panels = axes_of(of_ranked("hyperparameters", trials))
        assert [axes.get_xscale() for axes in panels] == ["log", "log", "linear", "linear"]
        for axes, (name, *_) in list(zip(panels, SPACE, strict=True))[:3]:
            dots = next(line for line in axes.lines if line.get_markersize() == 4)
            drawn = {*zip(dots.get_xdata(), dots.get_ydata(), strict=True)}
            assert drawn == {(o.values[name], o.error) for o in trials if name in o.values}
            rings = [line for line in axes.lines if line.get_markersize() == 10]
            at = [(*ring.get_xdata(), *ring.get_ydata()) for ring in rings]
            assert at == [(trials[0].values[name], trials[0].error)]
        assert panels[1].get_xlabel() == "batch size (inactive in 2 of 12 trials)"
        assert panels[0].get_xlabel() == "learning rate"

    def test_choices(self) -> None:
        """Trials of a choice stand beside each other, around a line at their median."""
        trials = ranked(12)
        axes = axes_of(of_ranked("hyperparameters", trials))[3]
        assert ticks(axes.xaxis) == ["3×3", "5×5"]
        dots = next(line for line in axes.lines if line.get_markersize() == 4)
        places = sorted(dots.get_xdata())
        assert len({*places}) == 12
        assert all(abs(place - round(place)) < 0.3 for place in places)
        errors = sorted(o.error or 0 for o in trials if o.values["filter_size"] == 3)
        levels = [c.get_segments()[0][0][1] for c in axes.collections]
        assert levels[0] == pytest.approx((errors[2] + errors[3]) / 2)

    def test_lost(self) -> None:
        """What has no error is a mark at the top edge, at its values."""
        trials = ranked(12, LOST)
        figure = of_ranked("hyperparameters", trials)
        lines = axes_of(figure)[2].lines
        marks = {line.get_marker(): line for line in lines if line.get_markersize() == 5}
        by_number = {one.number: one.values["num_filters"] for one in trials}
        assert {*marks["x"].get_xdata()} == {by_number[2], by_number[12]}
        assert {*marks["^"].get_xdata()} == {by_number[3]}
        assert {"failed", "diverged", "unfinished", "best"} < {*texts(figure)}

    def test_budgets(self) -> None:
        """Each budget has a look of its own, the larger the darker."""
        figure = of_ranked("hyperparameters", ranked(12, budgets=(2, 6, 18)))
        dots = [line for line in axes_of(figure)[0].lines if line.get_markersize() == 4]
        assert len({line.get_marker() for line in dots}) == 3
        brightness = [sum(to_rgb(line.get_color())) for line in dots]
        assert brightness == sorted(brightness, reverse=True)
        assert {"2 epochs", "6 epochs", "18 epochs"} < {*texts(figure)}


def heights(trials: list[RankedTrial], style: str = "-") -> list[list[float]]:
    """Where each trial's line crosses the axes, the best last."""
    lines = lines_of(of_ranked("parallel_coordinates", trials), style)
    return [[*line.get_ydata()] for line in lines if len(line.get_xdata()) > 2]


class TestParallelCoordinates:
    """A line for each trial, from axis to axis."""

    def test_scales(self) -> None:
        """A line crosses each axis at its value, on the hyperparameter's own scale.

        The lines through a choice stand beside each other, nearer to it than to the next one.
        """
        trials = [one for one in ranked(20) if "batch_size" in one.values]
        crossings = heights(trials)[::-1]
        for one, (rate, batch, filters, size, _) in zip(trials, crossings, strict=True):
            assert rate == pytest.approx(math.log10(one.values["learning_rate"] / 1e-4) / 3)
            assert batch == pytest.approx(math.log(one.values["batch_size"] / 16) / math.log(8))
            assert filters == pytest.approx((one.values["num_filters"] - 8) / 56)
            assert (size > 0.5) == (one.values["filter_size"] == 5)
        assert len({line[3] for line in crossings}) == len(trials) == 16

    def test_errors(self) -> None:
        """The lower the error, the lower the last crossing; all are between 0 and 1.

        An error of 0 has no logarithm, and stands at the lower end.
        """
        last = [line[-1] for line in reversed(heights(ranked(12)))]
        assert last == sorted(last)
        assert 0 < last[0] < last[-1] < 1
        trials = [one._replace(error=0.0) if one.rank == 1 else one for one in ranked(4)]
        assert heights(trials)[-1][-1] == 0.0

    def test_inactive(self) -> None:
        """Where a hyperparameter is inactive the line runs below its axis, where it says so."""
        trials = ranked(5)
        below = [line[1] < 0 for line in heights(trials)[::-1]]
        assert [one.number for one, its in zip(trials, below, strict=True) if its] == [5]
        axes = axes_of(of_ranked("parallel_coordinates", trials))[0]
        assert [word.xy[0] for word in axes.texts if word.get_text() == "inactive"] == [1]
        assert "inactive" not in texts(of_ranked("parallel_coordinates", ranked(4)))

    def test_best(self) -> None:
        """The best is orange, thicker, and on top of the others; the title says what it is."""
        lines = lines_of(of_ranked("parallel_coordinates", ranked(12)), "-")
        *others, best = [line for line in lines if len(line.get_xdata()) == len(SPACE) + 1]
        assert to_hex(best.get_color()) == ORANGE
        assert best.get_linewidth() > max(line.get_linewidth() for line in others)
        assert best.get_zorder() > max(line.get_zorder() for line in others)
        found = " ".join(texts(of_ranked("parallel_coordinates", ranked(12))))
        assert "Best of 12 trials: 3.77 % with learning rate 0.068, batch size 86," in found
        assert "number of filters 39, filter size 3×3" in found

    def test_lost(self) -> None:
        """What has no error is dotted and ends above the last axis, at the mark of its outcome."""
        ends = [line[-1] for line in heights(ranked(12, LOST), ":")]
        assert (len(ends), len({*ends})) == (4, 3)
        assert min(ends) > 1
        figure = of_ranked("parallel_coordinates", ranked(12, LOST))
        found = texts(figure)
        assert {"failed", "diverged", "unfinished"} < {*found}
        assert COUNTS in " ".join(found)
        assert {"x", "^", "o"} < {line.get_marker() for line in axes_of(figure)[0].lines}
