"""The figure of a search in parallel coordinates."""

from __future__ import annotations

import math
from itertools import product
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
)
from matplotlib.colors import to_hex

from mnist_lab import plots

if TYPE_CHECKING:
    from mnist_lab.analysis.history import RankedTrial

N = len(SPACE)


def heights(trials: list[RankedTrial], style: str = "-") -> list[list[float]]:
    """Where each trial's line crosses the axes, the best last."""
    figure = plots.parallel_coordinates(SPACE, trials, ranked_tally(trials), CAPTION)
    return [[*line.get_ydata()] for line in lines_of(figure, style) if len(line.get_xdata()) > 2]


def test_scales() -> None:
    """A line crosses each axis at its value, on the hyperparameter's own scale."""
    trials = ranked(4)
    found = dict(zip([one.number for one in reversed(trials)], heights(trials), strict=True))
    for one in trials:
        rate, batch, filters, _, _ = found[one.number]
        assert rate == pytest.approx(math.log10(one.values["learning_rate"] / 1e-4) / 3)
        assert batch == pytest.approx(math.log(one.values["batch_size"] / 16) / math.log(8))
        assert filters == pytest.approx((one.values["num_filters"] - 8) / 56)


def test_choices() -> None:
    """The lines through a choice stand beside each other, nearer to it than to the next one."""
    trials = ranked(20)
    found = dict(zip([one.number for one in reversed(trials)], heights(trials), strict=True))
    crossings = {one.number: found[one.number][3] for one in trials}
    assert len({*crossings.values()}) == 20
    for one in trials:
        assert (crossings[one.number] > 0.5) == (one.values["filter_size"] == 5)


def test_errors() -> None:
    """The lower the error, the lower the last crossing; all are between 0 and 1."""
    trials = ranked(12)
    last = [line[-1] for line in reversed(heights(trials))]
    assert last == sorted(last)
    assert 0 < last[0] < last[-1] < 1


def test_no_error_at_all() -> None:
    """An error of 0 has no logarithm, and stands at the lower end."""
    trials = [one._replace(error=0.0) if one.rank == 1 else one for one in ranked(4)]
    assert heights(trials)[-1][-1] == 0.0


def test_inactive() -> None:
    """Where a hyperparameter is inactive the line runs below its axis, and the figure says so."""
    trials = ranked(5)
    found = dict(zip([one.number for one in reversed(trials)], heights(trials), strict=True))
    assert [number for number, line in found.items() if line[1] < 0] == [5]
    figure = plots.parallel_coordinates(SPACE, trials, ranked_tally(trials), CAPTION)
    assert "inactive" in texts(figure)
    always = plots.parallel_coordinates(SPACE, ranked(4), ranked_tally(ranked(4)), CAPTION)
    assert "inactive" not in texts(always)


def test_incumbent() -> None:
    """The incumbent is red, thicker, and on top of the others."""
    trials = ranked(12)
    figure = plots.parallel_coordinates(SPACE, trials, ranked_tally(trials), CAPTION)
    *others, best = [line for line in lines_of(figure, "-") if len(line.get_xdata()) == N + 1]
    assert to_hex(best.get_color()) == "#d55e00"
    assert best.get_linewidth() > max(line.get_linewidth() for line in others)
    assert best.get_zorder() > max(line.get_zorder() for line in others)


def test_lost() -> None:
    """What has no error is dotted and ends above the last axis, at the mark of its outcome."""
    trials = ranked(12, LOST)
    ends = [line[-1] for line in heights(trials, ":")]
    assert len(ends) == 4
    assert len({*ends}) == 3
    assert min(ends) > 1
    figure = plots.parallel_coordinates(SPACE, trials, ranked_tally(trials), CAPTION)
    found = texts(figure)
    assert {"failed", "diverged", "unfinished"} < {*found}
    assert "of 12: 1 diverged, 2 failed, 1 unfinished." in " ".join(found)
    marks = {line.get_marker() for line in axes_of(figure)[0].lines}
    assert {"x", "^", "o"} < marks


def test_nothing_overlaps() -> None:
    """All words have a place of their own, inside the figure."""
    for n_trials, n_axes, outcomes in product((0, 1, 50), (1, 4, 7), ({}, LOST)):
        trials, space = ranked(n_trials, outcomes), [*SPACE, *SPACE][:n_axes]
        figure = plots.parallel_coordinates(space, trials, ranked_tally(trials), CAPTION)
        assert_nothing_overlaps(figure)
