"""The figures of a search: the incumbent among all trials, and the search space."""

from __future__ import annotations

import pytest
from made_figures import CAPTION, SPACE, axes_of, falling, search, texts, ticks

from mnist_lab import plots
from mnist_lab.curves import Incumbents, SampledHyperparameter, SearchPoint, Tally


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
            SearchPoint(1, "failed", None, None),
            SearchPoint(2, "diverged", None, None),
            SearchPoint(3, "unfinished", None, None),
        )
        figure = plots.incumbent(Incumbents(points, Tally(0, 1, 1, 1), None, None), CAPTION)
        marks = {line.get_label(): line for line in axes_of(figure)[0].lines}
        assert [list(marks[fate].get_xdata()) for fate in ("failed", "diverged")] == [[1], [2]]
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
        """A logarithmic hyperparameter has a logarithmic axis with plain numbers."""
        axes = axes_of(plots.search_space(SPACE, CAPTION))
        assert [one.get_xscale() for one in axes] == ["log", "log", "linear", "linear"]
        shown = [ticks(one.xaxis) for one in axes[:2]]
        assert shown == [["0.0001", "0.001", "0.01", "0.1"], ["16", "32", "64", "128"]]

    @pytest.mark.parametrize(
        ("scale", "lower", "upper"), [("log", 16, 128), ("linear", 16, 128), ("linear", 0.5, 1.0)]
    )
    def test_level_is_flat(self, scale: str, lower: float, upper: float) -> None:
        """Even draws make an even level that adds up to all draws, for whole numbers too."""
        n = 20_000
        shares = [(row + 0.5) / n for row in range(n)]
        whole = isinstance(lower, int)
        low, high = (lower - 0.5, upper + 0.5) if whole else (lower, upper)
        draws = [
            low * (high / low) ** share if scale == "log" else low + (high - low) * share
            for share in shares
        ]
        one = SampledHyperparameter(
            "batch_size",
            scale,
            lower,
            upper,
            (),
            [round(draw) for draw in draws] if whole else draws,
        )
        (axes,) = axes_of(plots.search_space([one], CAPTION))
        heights = axes.patches[0].get_data().values
        expected = 100 / 3.0 if scale == "log" else 10.0
        assert heights == pytest.approx([expected] * len(heights), rel=0.03)

    def test_probabilities(self) -> None:
        """Choices that are not equally likely have their line where it belongs."""
        one = SPACE[3]._replace(probabilities=(0.25, 0.75))
        (axes,) = axes_of(plots.search_space([one], CAPTION))
        levels = [segment[0][1] for segment in axes.collections[0].get_segments()]
        assert levels == [25.0, 75.0]
