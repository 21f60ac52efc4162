"""The figures of a sweep: learning curves with their labels, and error against time."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_events import made_trial
from made_figures import CAPTION, SIZES, SWEEP, axes_of, curve, lines_of, texts, ticks

from mnist_lab import plots
from mnist_lab.analysis.outcomes import Tally, summary
from mnist_lab.plots import labels

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from mnist_lab.analysis.outcomes import SummaryRow

SIZE = "filter_size"


def curves_of(rows: list[SummaryRow], varied: str = "learning_rate") -> Figure:
    """The figure of these values."""
    return plots.learning_curves(rows, varied, CAPTION)


class TestLearningCurves:
    """The figure of a sweep."""

    def test_lines(self) -> None:
        """Each value has a solid line of validation errors and a dashed one of training errors.

        The error is on a logarithmic scale in plain percent, epochs are whole numbers; title, end
        labels and the exercise's 90 % accuracy are there to be read.
        """
        figure = curves_of(SWEEP)
        solid = [line for line in lines_of(figure, "-") if len(line.get_xdata()) == 12]
        dashed = lines_of(figure, "--")
        assert [line.get_ydata()[-1] for line in solid] == [0.012, 0.028, 0.08, 0.63]
        assert [line.get_color() for line in solid] == [line.get_color() for line in dashed]
        assert len({line.get_color() for line in solid}) == 4
        axes = axes_of(figure)[0]
        assert axes.get_yscale() == "log"
        assert ticks(axes.yaxis) == ["1 %", "3 %", "10 %", "30 %", "100 %"]
        assert ticks(axes.xaxis) == [str(epoch) for epoch in range(1, 13)]
        found = {*texts(figure)}
        assert {"0.1: 1.20 %", "0.01: 2.80 %", "0.001: 8.00 %", "0.0001: 63.0 %"} < found
        assert {"Learning rate 0.1 learns fastest: 1.20 % after 12 epochs", "90 % accuracy"} < found

    def test_words(self) -> None:
        """Filter sizes are sides, without a line at 90 %; a single value is no comparison.

        Where no image validates, the training error is labelled alone; an error of 0, which no
        logarithmic axis holds, stands at its bottom.
        """
        rows = [curve(3, [0.2, 0.02], varied=SIZE), curve(5, [0.2, 0.03], varied=SIZE)]
        found = texts(curves_of(rows, SIZE))
        assert {"3×3: 2.00 %", "5×5: 3.00 %"} < {*found}
        assert "90 % accuracy" not in found
        assert "Learning rate 0.1: 1.20 % after 12 epochs" in texts(curves_of(SWEEP[:1]))
        blind = summary([made_trial(1, [None, None])], "learning_rate")
        assert "0.1" in texts(curves_of(blind))
        assert "0.1: 0.00 ± 0.00 %" in texts(curves_of([curve(0.1, [0.1, 0.0], sd=0.0)]))

    def test_title(self) -> None:
        """The title says the finding, as far as the records show it.

        That one learns fastest is said only if it was ahead after every epoch.
        """
        close = [curve(0.1, [0.04, 0.012]), curve(0.01, [0.05, 0.0122])]
        assert "Learning rates 0.1 and 0.01: lowest errors, too close to call" in texts(
            curves_of(close)
        )
        crossing = [curve(0.1, [0.3, 0.012]), curve(0.01, [0.2, 0.05])]
        assert "Learning rate 0.1 has the lowest error: 1.20 % after 2 epochs" in texts(
            curves_of(crossing)
        )
        assert "3×3 may be as good as 5×5, and takes 56 % of its time" in texts(
            plots.filter_cost(SIZES, CAPTION)
        )
        clear = plots.filter_cost([SIZES[0], SIZES[2]], CAPTION)
        assert "5×5 has the lowest error and takes 4.3 times as long as 1×1" in texts(clear)

    def test_repeats(self) -> None:
        """Repeats have a band around their mean, explained, and the deviation in the label."""
        figure = curves_of([curve(0.1, [0.04, 0.02], sd=0.001)] * 2)
        assert len(axes_of(figure)[0].collections) == 2
        found = texts(figure)
        assert "0.1: 2.00 ± 0.10 %" in found
        assert any("mean ± standard deviation" in text for text in found)

    def test_remarks(self) -> None:
        """Labels tell what ended early, diverged, failed or still runs."""
        numbers = [
            curve(0.1, [0.04, 0.9], budget=12, tally=Tally(diverged=1)),
            curve(0.01, [0.1, 0.05], sd=0.001, tally=Tally(2, 1, 1, 1)),
            curve(0.001, [], budget=12, tally=Tally(failed=1)),
        ]
        found = texts(curves_of(numbers))
        assert {"0.1: 90.0 %", "diverged", "ends at epoch 2 of 12", "0.001", "failed"} < {*found}
        assert "of 5: 1 diverged, 1 failed, 1 unfinished" in " ".join(found)

    def test_one_epoch(self) -> None:
        """A single epoch is a single tick, with markers that can be seen."""
        figure = curves_of([curve(0.1, [0.04]), curve(0.01, [0.1])])
        assert ticks(axes_of(figure)[0].xaxis) == ["1"]
        assert [line.get_marker() for line in lines_of(figure, "--")] == ["_", "_"]

    def test_labels_do_not_overlap(self) -> None:
        """Twenty values that end together have twenty labels, one below the other."""
        lines = [curve(n / 100, [0.05, 0.02 + n * 1e-5]) for n in range(1, 21)]
        figure = curves_of(lines)
        plots.save(figure)
        boxes = [text.get_window_extent() for text in axes_of(figure)[0].texts]
        ordered = sorted(boxes, key=lambda box: box.y0)
        assert len(ordered) == 20
        assert all(a.y1 <= b.y0 for a, b in itertools.pairwise(ordered))
        assert max(box.x1 for box in boxes) < figure.bbox.x1


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0.001, 1)), max_size=12))
def test_spread_out(spans: list[tuple[float, float]]) -> None:
    """Spans that fit between 0 and 1 lie there, without overlap, in the order wanted."""
    wanted = [middle for middle, _ in spans]
    scale = max(1.0, sum(size for _, size in spans))
    sizes = [size / scale for _, size in spans]
    placed = labels._spread_out(wanted, sizes)
    ordered = sorted(zip(placed, sizes, wanted, strict=True))
    edge = -1e-9
    for middle, size, _ in ordered:
        assert middle - size / 2 >= edge - 1e-9
        edge = middle + size / 2
    assert edge <= 1 + 1e-9
    assert [want for *_, want in ordered] == sorted(wanted)


class TestFilterCost:
    """Error against time."""

    def test_words(self) -> None:
        """Each size has its error and its time beside its marker, or what became of it."""
        found = texts(plots.filter_cost(SIZES, CAPTION))
        assert {"1×1: 3.60 ± 0.14 %", "0.9 s per epoch", "5×5: 1.19 %", "7×7"} < {*found}
        assert {"of 2: 1 diverged", "of 2: 2 failed"} < {*found}
        assert {"seconds per epoch (median)", "validation error after the last epoch"} < {*found}

    def test_markers(self) -> None:
        """A size's mean stands over its seconds, with a bar only if there are repeats."""
        axes = axes_of(plots.filter_cost(SIZES, CAPTION))[0]
        bars = axes.containers
        means = [(bar[0].get_xdata()[0], bar[0].get_ydata()[0]) for bar in bars]
        assert means == [pytest.approx(at) for at in ((0.9, 0.036), (2.2, 0.0121), (3.9, 0.0119))]
        assert [bar.has_yerr for bar in bars] == [True, True, False]
        assert axes.get_xlim()[0] == 0
