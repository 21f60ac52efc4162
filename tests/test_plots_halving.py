"""The figures of Hyperband and BOHB: the promotions in each bracket, and the epochs spent."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Any

import pytest
from made_events import run_info, study_settings, write_events
from made_figures import (
    CAPTION,
    axes_of,
    brackets,
    halving,
    hyperband,
    lines_of,
    promotions,
    texts,
    ticks,
)

from mnist_lab import plots, space
from mnist_lab.analysis.history import SearchPoint, spending
from mnist_lab.config import TrainConfig
from mnist_lab.rundir import RunDir
from mnist_lab.study import load_run

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.figure import Figure


LOST = {(trial, 2): "failed" for trial in range(1, 60, 11)}
LOST |= {(trial, 2): "diverged" for trial in range(3, 60, 9)}
LOST |= {(trial, 18): "diverged" for trial in range(2, 60, 4)}


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


def paths(axes: Any) -> list[Any]:
    """The lines that lead a trial from rung to rung."""
    return [line for line in axes.lines if line.get_linestyle() == "-"]


class TestBrackets:
    """The figure of the brackets."""

    def test_panels(self) -> None:
        """A panel for each kind of bracket: its numbers, all budgets, the same scale of errors."""
        planned = brackets(12)
        panels = axes_of(promotions(hyperband(planned), planned))
        assert [plain(axes.get_title("left")) for axes in panels] == [
            "9 → 3 → 1 configurations\n(4 brackets)",
            "3 → 1 configurations\n(4 brackets)",
            "3 configurations (4 brackets)",
        ]
        assert [ticks(axes.xaxis) for axes in panels] == [["2", "6", "18"]] * 3
        assert len({axes.get_ylim() for axes in panels}) == 1
        assert {axes.get_yscale() for axes in panels} == {"log"}
        assert [axes.get_ylabel() for axes in panels] == ["validation error", "", ""]

    def test_promotions(self) -> None:
        """Nine dots, three lines on, one line further, one ring at the end of it."""
        (axes,) = axes_of(promotions(hyperband(brackets(1)), brackets(1)))
        assert sorted(x for x, _ in dots(axes, "promoted")) == pytest.approx([0, 0, 0, 1])
        assert sorted(x for x, _ in dots(axes, "beaten")) == pytest.approx([0] * 6 + [1] * 2)
        (winner,) = dots(axes, "winner")
        assert winner[0] == pytest.approx(2)
        assert sorted(len(line.get_xdata()) for line in paths(axes)) == [2, 2, 3]
        ring = [line for line in axes.lines if line.get_fillstyle() == "none"]
        assert [tuple(line.get_xydata()[0]) for line in ring] == [winner]
        colors = {
            line.get_label(): line.get_color() for line in axes.lines if line.get_marker() == "o"
        }
        assert colors["promoted"] != colors["beaten"]

    def test_errors(self) -> None:
        """A line goes through the errors that the trial had at its rungs."""
        trials = hyperband(brackets(1))
        (axes,) = axes_of(promotions(trials, brackets(1)))
        expected = [[rung.valid_error for rung in one.rungs] for one in trials if one.rungs[1:]]
        assert [list(line.get_ydata()) for line in paths(axes)] == expected

    def test_side_by_side(self) -> None:
        """Equal brackets stand side by side, nearer to their own budget than to another."""
        planned = brackets(12)
        first = axes_of(promotions(hyperband(planned), planned))[0]
        winners = [x for x, _ in dots(first, "winner")]
        assert len(set(winners)) == 4
        assert {round(x) for x in winners} == {2}
        assert sum(winners) / 4 == pytest.approx(2)

    def test_interrupted(self) -> None:
        """What is not decided is hollow; the panels of brackets to come say that they are empty."""
        figure = promotions(hyperband(brackets(12), n_endings=7), brackets(12))
        first, second, third = axes_of(figure)
        assert len(dots(first, "undecided")) == 7
        assert not dots(first, "beaten")
        assert plain(first.get_title("left")).endswith("\n(0 of 4 brackets ended)")
        assert [axes.texts[0].get_text() for axes in (second, third)] == [
            "no training has ended"
        ] * 2
        assert ticks(third.xaxis) == ["2", "6", "18"]
        assert "winner" not in texts(figure)

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
        """A search in which everything failed has its marks, and no ring."""
        outcomes = {(trial, budget): "failed" for trial in range(1, 14) for budget in (2, 6, 18)}
        figure = promotions(hyperband(brackets(1), outcomes), brackets(1))
        assert len(dots(axes_of(figure)[0], "failed")) == 13
        assert "9 → 3 → 1 configurations (1 bracket)" in map(plain, texts(figure))
        assert "winner" not in texts(figure)

    def test_no_error_at_all(self) -> None:
        """An error of 0 stands at the bottom."""
        (axes,) = axes_of(promotions(hyperband(brackets(1), scale=0.0), brackets(1)))
        assert {y for _, y in dots(axes, "beaten")} == {axes.get_ylim()[0]}

    @pytest.mark.parametrize(
        ("n_brackets", "first", "last", "n_endings"),
        [
            (1, 2, 18, 5),
            (3, 2, 18, None),
            (12, 2, 18, None),
            (2, 3, 12, None),
            (4, 6, 6, None),
            (8, 1, 27, None),
            (12, 1, 81, 3),
            (6, 1, 243, 300),
        ],
    )
    def test_nothing_overlaps(
        self, n_brackets: int, first: int, last: int, n_endings: int | None
    ) -> None:
        """All words have a place of their own, inside the figure, however many panels there are."""
        planned = brackets(n_brackets, first, last)
        figure = promotions(hyperband(planned, LOST, n_endings=n_endings), planned)
        _check_words(figure)


def _check_words(figure: Figure) -> None:
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in figure.texts if text.get_text()]
    boxes += [legend.get_window_extent() for legend in figure.legends]
    for axes in axes_of(figure):
        words = [axes._left_title, axes.xaxis.label, axes.yaxis.label]
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            # Panels beside another have no labels on their y axis.
            places = zip(axis.get_ticklocs(), axis.get_ticklabels(), strict=False)
            words += [label for place, label in places if low <= place <= high]
        shown = [word for word in words if word.get_text() and word.get_visible()]
        boxes += [word.get_window_extent() for word in shown]
    for box in boxes:
        assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1
        assert figure.bbox.y0 <= box.y0 < box.y1 <= figure.bbox.y1
    for one, other in combinations(boxes, 2):
        assert not one.overlaps(other)


def found(*steps: tuple[int, float | None]) -> list[SearchPoint]:
    """A search that had this best error after so many epochs."""
    return [SearchPoint(at, 1, "complete", best, best) for at, best in steps]


class TestSpending:
    """The figure that compares ways to search."""

    def test_lines(self) -> None:
        """The line is the median of the seeds, the band reaches from the best to the worst."""
        runs = {"bohb": [found((2, start), (4, start / 4)) for start in (0.25, 0.5, 0.125)]}
        figure = plots.spending(runs, CAPTION)
        (line,) = lines_of(figure, "-")
        assert line.get_xydata().tolist() == [[2, 0.25], [4, 0.0625]]
        assert line.get_drawstyle() == "steps-post"
        (band,) = axes_of(figure)[0].collections
        heights = {float(y) for _, y in band.get_paths()[0].vertices}
        assert heights == {0.5, 0.125, 0.03125}
        assert {"bohb (n = 3)", "6.25 %", "3.12 % to 12.5 %"} <= {*texts(figure)}

    def test_one_seed(self) -> None:
        """A single seed has no extremes."""
        shown = texts(plots.spending({"bohb": [found((2, 0.25))]}, CAPTION))
        assert "bohb (n = 1)" in shown
        assert not any(" to " in text for text in shown if "band" not in text)

    def test_methods(self) -> None:
        """Each way to search has a colour of its own; one without a result is named too."""
        runs: dict[str, list[Sequence[SearchPoint]]] = {
            "random search": [spending(hyperband(brackets(20, 18, 18)))],
            "hyperband": [spending(hyperband(brackets(7)))] * 2,
            "bohb": [found((2, None))],
        }
        figure = plots.spending(runs, CAPTION)
        assert len({line.get_color() for line in lines_of(figure, "-")}) == 2
        assert {"random search (n = 1)", "hyperband (n = 2)", "no result"} < {*texts(figure)}
        low, high = axes_of(figure)[0].get_xlim()
        assert (low, high) == (0, 20 * 18)

    def test_no_result_in_one(self) -> None:
        """A seed without a result reaches the top edge, and does not set the scale."""
        figure = plots.spending({"bohb": [found((2, 0.02)), found((2, 0.03)), []]}, CAPTION)
        assert axes_of(figure)[0].get_ylim()[1] < 0.1
        assert "2.00 % to 100.0 %" in texts(figure)

    @pytest.mark.parametrize(
        ("runs", "said"),
        [({}, "no search yet"), ({"bohb": [found((2, None))]}, "no trial is complete")],
    )
    def test_nothing_to_draw(self, runs: dict[str, list[list[SearchPoint]]], said: str) -> None:
        """Where nothing can be drawn, the figure says why."""
        assert said in texts(plots.spending(runs, CAPTION))


@pytest.mark.parametrize("experiment", ["hyperband", "bohb"])
def test_drawn(tmp_path: Path, experiment: str) -> None:
    """A run of Hyperband or BOHB has its promotions among the figures, and epochs in the other."""
    run_dir = RunDir(tmp_path / "run")
    run_dir.create()
    settings = study_settings(
        experiment=experiment,
        base=TrainConfig(epochs=18),
        values=None,
        iters=3,
        min_epochs=2,
        space=space.to_dict(space.default_space()),
    )
    run_dir.write_info(run_info(settings=settings))
    write_events(run_dir, *halving(brackets(3), n_endings=15))
    drawn = {path.name: path for path in load_run(run_dir.path).draw()}
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
    assert (titles.count("(1 bracket)"), titles.count("(0 of 1 bracket ended)")) == (1, 2)
