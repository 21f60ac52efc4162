"""The figure of a search space: the draws against what is expected of them."""

from __future__ import annotations

import re

import pytest
from made_figures import CAPTION, SPACE, axes_of, of_ranked, ranked, texts, ticks

from mnist_lab import plots
from mnist_lab.config import Hyperparameter


def evenly(scale: str, lower: float, upper: float, n_draws: int = 20_000) -> Hyperparameter:
    """A range with draws as even on their scale as can be."""
    whole = isinstance(lower, int)
    low, high = (lower - 0.5, upper + 0.5) if whole else (lower, upper)
    log = scale == "log"

    def at(share: float) -> float:
        return low * (high / low) ** share if log else low + (high - low) * share

    draws = [at((row + 0.5) / n_draws) for row in range(n_draws)]
    drawn = [round(draw) for draw in draws] if whole else draws
    return Hyperparameter("batch_size", scale, lower, upper, (), drawn, whole=whole)


class TestSearchSpace:
    """The figure of a search space."""

    def test_words(self) -> None:
        """Each panel names its hyperparameter, its bounds, its scale and its median."""
        found = texts(plots.search_space(SPACE, CAPTION))
        assert "learning rate: 0.0001 to 0.1, logarithmic" in found
        assert "number of filters: 8 to 64, linear" in found
        assert {"median 0.0035", "median 72", "filter size: 2 choices; line: expected"} < {*found}
        assert {"25.0 %", "75.0 %", "3×3", "5×5"} < {*found}
        assert any("does not mean powers of two" in text for text in found)

    def test_scales(self) -> None:
        """A range stands on a linear axis and, beside it, on a logarithmic one of plain numbers."""
        axes = axes_of(plots.search_space(SPACE, CAPTION))
        scales = [one.get_xscale() for one in axes]
        assert scales == ["linear", "log", "linear", "log", "linear", "log", "linear"]
        shown = [ticks(axes[index].xaxis) for index in (1, 3)]
        assert shown == [["0.0001", "0.001", "0.01", "0.1"], ["16", "32", "64", "128"]]

    @pytest.mark.parametrize(("lower", "upper"), [(30, 32), (2, 3), (1, 8), (4, 5)])
    def test_ticks_of_whole_numbers(self, lower: int, upper: int) -> None:
        """Between few whole numbers stand no halves, on either axis, here and among the trials."""
        few = evenly("linear", lower, upper)
        trials = [one._replace(values={few.name: lower}) for one in ranked(1)]
        panels = of_ranked("hyperparameters", trials, few)
        drawn = [*axes_of(plots.search_space([few], CAPTION)), *axes_of(panels)]
        shown = {text for axes in drawn for text in ticks(axes.xaxis)}
        lines = texts(of_ranked("parallel_coordinates", trials, few))
        shown |= {text for text in lines if re.fullmatch(r"[\d.]+", text)}
        assert shown <= {str(one) for one in range(lower, upper + 1)}
        assert str(lower) in shown

    def test_from_zero(self) -> None:
        """What begins at 0 has no logarithmic axis."""
        (axes,) = axes_of(plots.search_space([SPACE[2]._replace(lower=0)], CAPTION))
        assert axes.get_xscale() == "linear"

    @pytest.mark.parametrize("lower", [16, 16.5])
    @pytest.mark.parametrize("scale", ["log", "linear"])
    def test_draws_and_density(self, scale: str, lower: float) -> None:
        """Draws as expected follow the density, which is flat on their own scale."""
        one = evenly(scale, lower, 128)
        linear, log = axes_of(plots.search_space([one], CAPTION))
        flat, other = (log, linear) if scale == "log" else (linear, log)
        for axes in (flat, other):
            drawn, expected = (patch.get_data().values for patch in axes.patches)
            assert list(drawn) == pytest.approx(list(expected), rel=0.12)
        values = flat.patches[1].get_data().values
        assert max(values) == pytest.approx(min(values))
        values = other.patches[1].get_data().values
        assert max(values) > 4 * min(values)

    def test_example(self) -> None:
        """A value to look at is marked on both axes, with how often it was drawn."""
        figure = plots.search_space([SPACE[1]], CAPTION, {"batch_size": 95})
        assert "on a logarithmic axis; ▲ 95: 1 of 113 draws" in texts(figure)
        for axes in axes_of(figure):
            marks = [line for line in axes.lines if line.get_marker() == "^"]
            assert [list(mark.get_xdata()) for mark in marks] == [[95]]

    @pytest.mark.parametrize("median", [16, 44, 128])
    def test_median(self, median: int) -> None:
        """The median's words stay inside the axes, wherever it is."""
        figure = plots.search_space([SPACE[1]._replace(draws=[median] * 9)], CAPTION)
        figure.draw_without_rendering()
        for axes in axes_of(figure):
            (words,) = axes.texts
            assert words.get_text() == f"median {median}"
            box = words.get_window_extent()
            assert axes.bbox.x0 <= box.x0 < box.x1 <= axes.bbox.x1

    def test_probabilities(self) -> None:
        """Choices that are not equally likely have their line where it belongs."""
        one = SPACE[3]._replace(probabilities=(0.25, 0.75))
        (axes,) = axes_of(plots.search_space([one], CAPTION))
        levels = [segment[0][1] for segment in axes.collections[0].get_segments()]
        assert levels == [25.0, 75.0]

    def test_conditional(self) -> None:
        """What is not always active says so, and its shares are of the draws in which it is."""
        always = SPACE[3]._replace(draws=[3, 5] * 50, forbids=True)
        rarely = always._replace(name="momentum", choices=(0.5, 0.9), draws=[0.5] * 25, active=0.25)
        never = SPACE[0]._replace(name="dropout", draws=[], active=0.0)
        figure = plots.search_space([always, rarely, never], CAPTION)
        assert [axes.get_xlabel() for axes in axes_of(figure)] == [
            "active in 0 % of draws",
            "",
            "some combinations forbidden",
            "active in 25 % of draws; some combinations forbidden",
        ]
        assert {"100.0 %", "0.0 %", "no draw"} < {*texts(figure)}

    @pytest.mark.parametrize("distribution", ["uniform", "normal", "beta"])
    def test_distribution(self, distribution: str) -> None:
        """Only what is uniform is said to be flat; the others are named."""
        found = texts(plots.search_space([SPACE[0]._replace(distribution=distribution)], CAPTION))
        flat = distribution == "uniform"
        assert any("equally likely" in text for text in found) == flat
        suffix = "" if flat else f", {distribution}"
        assert f"learning rate: 0.0001 to 0.1, logarithmic{suffix}" in found
