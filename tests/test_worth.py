"""The benchmark of the searches: what it reads from their records, and what its tables say."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_figures import CAPTION, lines_of, texts

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))

import worth

from mnist_lab import plots


def noted(time: float, epochs: int, error: float) -> dict[str, Any]:
    """A line of a peer."""
    return {"time": time, "epochs": epochs, "error": error, "configuration": {"batch_size": 16}}


def search(method: str, seed: int, *improvements: worth.Improvement) -> dict[str, Any]:
    """A recorded search of 100 seconds and 300 epochs."""
    head = {"method": method, "seed": seed, "date": "2026-01-02T03:04:05.678Z", "winner": {}}
    return head | {"seconds": 100.0, "epochs": 300, "improvements": list(improvements)}


def test_peer(tmp_path: Path) -> None:
    """A peer's trainings count in the order of their ends; the winner had the most epochs."""
    lines = [noted(107, 2, 0.01), noted(103, 6, 0.03), noted(109, 6, 0.02)]
    path = tmp_path / "trainings.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in lines) + '{"time": 11')
    summary = worth.peer_summary(worth.read_lines(path), start=100, seconds=10)
    assert summary["improvements"] == [(3, 6, 0.03), (7, 8, 0.01)]
    assert summary["epochs"] == 14
    assert summary["winner"] == {"batch_size": 16, "epochs": 6}


def test_peer_without_result(tmp_path: Path) -> None:
    """A peer that was ended before its first training has found nothing."""
    summary = worth.peer_summary(worth.read_lines(tmp_path / "none"), start=100, seconds=10)
    assert summary == {"seconds": 10, "epochs": 0, "improvements": [], "winner": None}
    assert worth.reached(summary, 0.5) == (math.inf, math.inf)


def test_order() -> None:
    """Random search, whose time the others get, comes first; then another method for each seed."""
    turns = [worth.in_turn(seed) for seed in range(len(worth.METHODS) - 1)]
    assert {turn[0] for turn in turns} == {worth.REFERENCE}
    assert all(sorted(turn) == sorted(worth.METHODS) for turn in turns)
    assert len({turn[1] for turn in turns}) == len(turns)


def test_table_and_figure(tmp_path: Path) -> None:
    """The error to reach is random search's of the same seed; what was not reached is said."""
    searches = [
        search("random search", 0, (20, 6, 0.02), (80, 240, 0.01)),
        search("random search", 1, (20, 6, 0.02), (60, 180, 0.012)),
        search("Hyperband", 0, (5, 3, 0.02), (10, 30, 0.01)),
        search("Hyperband", 1, (5, 3, 0.011)),
        search("Hyperband", 2, (5, 3, 0.013)),  # interrupted between the two
        search("SMAC3", 0, (50, 10, 0.03)),
    ]
    searches[2]["test"] = [0.008, 0.01]
    record = {"data": "mnist.npz", "versions": {"mnist-lab": "1"}, "searches": searches}
    worth.write(record, tmp_path / "worth.json")
    table = (tmp_path / "worth.md").read_text(encoding="utf-8")
    assert "| Hyperband | 3 | 1.10 % (1.00 % to 1.30 %) | 0.90 % | 100 | 300 |" in table
    assert "| Hyperband | 3 | 8 (5 to 10) | 16 (3 to 30) | 0.075 (0.050 to 0.100) |" in table
    assert "| SMAC3 | 1 | never | never | never | never |" in table
    assert json.loads((tmp_path / "worth.json").read_text(encoding="utf-8"))["searches"]
    assert (tmp_path / "worth.png").read_bytes().startswith(b"\x89PNG")


class TestMedianProgress:
    """Several searches of one kind as one."""

    def test_medians(self) -> None:
        """Each holds its best until it has a better one; the shortest ends them all.

        A single search is its own median, from its first result on.
        """
        alone = worth.median_progress([[(2, None), (4, 0.5), (6, 0.25)]])
        assert alone == [(4, 0.5, 0.5, 0.5), (6, 0.25, 0.25, 0.25)]
        searches = [
            [(2, 0.5), (9, 0.25)],
            [(3, 0.125), (9, 0.125)],
            [(1, 0.75), (8, 0.25)],
        ]
        rows = [(2, 0.75, 0.5, 1.0), (3, 0.5, 0.125, 0.75), (8, 0.25, 0.125, 0.5)]
        assert worth.median_progress(searches) == rows

    @pytest.mark.parametrize("searches", [[], [[]], [[], [(2, 0.5)]], [[(2, None)]]])
    def test_no_median(self, searches: list[list[tuple[int, float | None]]]) -> None:
        """Where no more than half of the searches have a result, there is no median."""
        assert worth.median_progress(searches) == []

    @given(
        st.lists(
            st.lists(st.tuples(st.integers(1, 9), st.floats(0, 1)), min_size=1, max_size=9),
            min_size=1,
            max_size=5,
        )
    )
    def test_law(self, steps: list[list[tuple[int, float]]]) -> None:
        """The median lies between the extremes, and none of the three ever rises."""
        searches: list[list[tuple[int, float | None]]] = []
        for one in steps:
            bests = [min(error for _, error in one[: row + 1]) for row in range(len(one))]
            places = [sum(more for more, _ in one[: row + 1]) for row in range(len(one))]
            searches.append([*zip(places, bests, strict=True)])
        rows = worth.median_progress(searches)
        assert all(low <= middle <= high for _, middle, low, high in rows)
        epochs, *lines = zip(*rows, strict=True) if rows else ((),)
        assert list(epochs) == sorted(set(epochs))
        for line in lines:
            assert list(line) == sorted(line, reverse=True)
        if rows:
            assert epochs[-1] == min(points[-1][0] for points in searches)


def test_ways_to_search() -> None:
    """The line is the median of the seeds, the band reaches from the best to the worst.

    Each way has a colour of its own; one without a result is named too.
    """
    seeds = [[(2, start), (4, start / 4)] for start in (0.25, 0.5, 0.125)]
    figure = plots.page.new_page("", "", CAPTION, height=4.6)
    axes: Any = plots.page.add_axes(figure, 1, 1, 4, 3)
    ways: list[Any] = [("bohb", 3, worth.median_progress(seeds)), ("random search", 1, [])]
    worth.draw_medians(axes, ways)
    (line,) = lines_of(figure, "-")
    assert line.get_xydata().tolist() == [[2, 0.25], [4, 0.0625]]
    assert line.get_drawstyle() == "steps-post"
    (band,) = axes.collections
    assert {float(y) for _, y in band.get_paths()[0].vertices} == {0.5, 0.125, 0.03125}
    named = {"bohb (n = 3)", "6.25 %", "3.12 % to 12.5 %", "random search (n = 1)", "no result"}
    assert named <= {text.replace("\N{NO-BREAK SPACE}", " ") for text in texts(figure)}


def test_other_record(tmp_path: Path) -> None:
    """A record of another machine, version or method is not continued; its winners are tested."""
    path, data = tmp_path / "worth.json", tmp_path / "mnist.npz"
    made = worth.open_record(path, data, None)
    path.write_text(json.dumps(made | {"machine": {"processor": "another"}}))
    with pytest.raises(SystemExit, match="has another machine"):
        worth.open_record(path, data, None)
    assert worth.open_record(path, data, None, elsewhere=True)["machine"]["processor"] == "another"
    path.write_text(json.dumps(made | {"methods": {}}))
    with pytest.raises(SystemExit, match="has another methods"):
        worth.open_record(path, data, None, elsewhere=True)
    path.write_text(json.dumps(made | {"methods": made["methods"] | {"BOHB": ["bohb", "--eta"]}}))
    with pytest.raises(SystemExit, match="has another methods"):
        worth.open_record(path, data, None)


@pytest.mark.parametrize("new", ["BOHB", "Optuna"])
def test_new_method(tmp_path: Path, new: str) -> None:
    """A record without a method that is there now, ours or a peer, is continued, with it."""
    path, data = tmp_path / "worth.json", tmp_path / "mnist.npz"
    made = worth.open_record(path, data, None)
    older = {
        key: {name: content for name, content in made[key].items() if name != new}
        for key in ("methods", "requirements")
    }
    path.write_text(json.dumps(made | older))
    assert worth.open_record(path, data, None) == made
    path.write_text(json.dumps(made | {"requirements": made["requirements"] | {"SMAC3": []}}))
    with pytest.raises(SystemExit, match="has another requirements"):
        worth.open_record(path, data, None)
