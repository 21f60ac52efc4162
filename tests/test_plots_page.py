"""What holds for every figure: its files, its caption, its words where nothing can be drawn."""

from __future__ import annotations

import io
import re
import xml.etree.ElementTree as ET
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib as mpl
import pytest
from made_figures import (
    CAPTION,
    CONFUSION,
    FIGURES,
    IMAGES,
    LOST,
    SIZES,
    SPACE,
    SWEEP,
    WRONG,
    assert_nothing_overlaps,
    best_so_far,
    brackets,
    curve,
    hyperband,
    of_ranked,
    promotions,
    ranked,
    search,
    texts,
    words_of,
)
from matplotlib.image import imread

from mnist_lab import plots
from mnist_lab.analysis.confusion import confusion
from mnist_lab.analysis.outcomes import Tally

if TYPE_CHECKING:
    from collections.abc import Iterator

    from matplotlib.figure import Figure

FAILED = {(trial, 2): "failed" for trial in range(1, 10)}
LOST_OF_BRACKETS = {(trial, 2): "failed" for trial in range(1, 60, 11)}
LOST_OF_BRACKETS |= {(trial, 2): "diverged" for trial in range(3, 60, 9)}
LOST_OF_BRACKETS |= {(trial, 18): "diverged" for trial in range(2, 60, 4)}


def poor() -> Iterator[tuple[Figure, str]]:
    """Figures of runs of which nothing is left to draw, and what they say instead."""
    unbegun = curve(0.1, [], budget=12, tally=Tally(failed=1))
    failed = hyperband(brackets(1), FAILED, n_endings=9)
    yield plots.learning_curves([], "learning_rate", CAPTION), "no trial yet"
    unfinished = "no trial has finished an epoch"
    yield plots.learning_curves([unbegun], "learning_rate", CAPTION), unfinished
    yield plots.filter_cost([], CAPTION), "no trial yet"
    yield plots.filter_cost(SIZES[3:], CAPTION), "no trial is complete"
    yield best_so_far([]), "no trial yet"
    yield best_so_far(search(None, None)), "no trial is complete"
    yield best_so_far([], by_epochs=True), "no trial yet"
    yield best_so_far(failed, by_epochs=True), "no trial is complete"
    yield of_ranked("ranked_curves", ranked(1, {1: "failed"})), unfinished
    for name in ("ranked_curves", "hyperparameters", "parallel_coordinates"):
        yield of_ranked(name, []), "no trial yet"
    yield plots.confusion(confusion([]), CAPTION), "no test result"
    yield plots.search_space([SPACE[0]._replace(draws=[])], CAPTION), "no draw"


def crowded() -> Iterator[Figure]:
    """Figures with few and with many words."""
    for n, budgets, lost in product((1, 4, 50), ((1,), (2, 6, 18, 54, 162)), ({}, LOST)):
        yield of_ranked("ranked_curves", ranked(n, lost, budgets))
    for n, budgets, n_panels in product((1, 50), ((1,), (2, 6, 18, 54, 162)), (1, 4, 7)):
        panels = [*SPACE, *SPACE][:n_panels]
        yield of_ranked("hyperparameters", ranked(n, LOST, budgets), *panels)
    for n, n_axes, lost in product((0, 1, 50), (1, 4, 7), ({}, LOST)):
        yield of_ranked("parallel_coordinates", ranked(n, lost), *[*SPACE, *SPACE][:n_axes])
    numbers = CONFUSION._replace(errors=(0.01,) * 12)
    for n in (1, 4, 11, 30, 40):
        wrong = [(one.model_copy(update={"confidence": 1.0}), 12) for one, _ in WRONG[:n]]
        yield plots.mistakes(wrong, IMAGES, numbers, CAPTION)
    for n_panels, n_choices in product((1, 2, 7), (1, 2, 4, 5, 8, 9, 28)):
        choices = tuple(range(29 - n_choices, 29))
        panels = [
            SPACE[3]._replace(name=name, choices=choices, draws=[*choices] * 2, forbids=True)
            for name in ("filter_size", "num_filters")
        ]
        panels += [
            SPACE[row]._replace(draws=SPACE[row].draws[:half], active=0.5, forbids=True)
            for row, half in ((0, 9), (1, 99), (2, 9), (0, 9), (1, 9))
        ]
        figure = plots.search_space(panels[:n_panels], CAPTION)
        figure.draw_without_rendering()
        assert len(words_of(figure)) > 4 * n_panels
        yield figure
    for planned, n_endings in (
        *((brackets(1), 5), (brackets(3), None), (brackets(12), None)),
        *((brackets(2, 3, 12), None), (brackets(4, 6, 6), None), (brackets(8, 1, 27), None)),
        *((brackets(12, 1, 81), 3), (brackets(6, 1, 243), 300)),
    ):
        yield promotions(hyperband(planned, LOST_OF_BRACKETS, n_endings=n_endings), planned)


def test_nothing_overlaps() -> None:
    """All words have a place of their own, inside the figure."""
    for figure in crowded():
        assert_nothing_overlaps(figure)


@pytest.fixture(scope="module")
def drawn() -> dict[str, dict[str, bytes]]:
    """The files of a figure of each kind; matplotlib's settings stay as they were."""
    before = dict(mpl.rcParams)
    files = {name: plots.save(draw()) for name, draw in FIGURES.items()}
    assert dict(mpl.rcParams) == before
    return files


def test_png_and_svg(drawn: dict[str, dict[str, bytes]]) -> None:
    """Every figure becomes a PNG of 200 dpi, 8 inches wide, and an SVG that says its origin."""
    for name, files in drawn.items():
        assert set(files) == {"png", "svg"}, name
        assert imread(io.BytesIO(files["png"])).shape[1] == 8 * 200, name
        root = ET.fromstring(files["svg"])  # noqa: S314 - our own file
        found = ["".join(node.itertext()) for node in root.iter(f"{root.tag[:-3]}text")]
        assert "MNIST · 5 repeats · 2018-11-20 · mnist-lab 1.2.3" in found, name


def test_same_bytes(drawn: dict[str, dict[str, bytes]]) -> None:
    """The same numbers give the same bytes, whatever matplotlib is set to."""
    with mpl.rc_context({"font.size": 20, "svg.fonttype": "path", "lines.linewidth": 9}):
        for name, draw in FIGURES.items():
            assert plots.save(draw()) == drawn[name], name


def test_caption() -> None:
    """Data that are not the whole of MNIST are named below the title, and a long name is cut.

    A notice that names the data is not preceded by the name again, nor read as a formula; what the
    caption does not know leaves no gap.
    """

    def shown(name: str, notice: str) -> list[str]:
        caption = CAPTION._replace(data_name=name, notice=notice)
        return texts(plots.learning_curves(SWEEP, "learning_rate", caption))

    sample, notice = "MNIST sample (5,000 digits)", "not the whole of MNIST"
    assert f"{sample}: {notice}" in shown(sample, notice)
    caption = CAPTION._replace(data_name=sample, notice=notice)
    assert f"{sample}: {notice}" in texts(plots.confusion(CONFUSION, caption))
    assert "not MNIST: a$b$.npz" in shown("a$b$.npz", "not MNIST: a$b$.npz")
    found = shown("x" * 200, f"not MNIST: {'x' * 200}")
    assert any(text.startswith("x" * 70 + "… · 5 repeats") for text in found)
    assert max(map(len, found)) <= 120
    nothing = plots.Caption("", "", "10,000 draws", "", "")
    assert "10,000 draws" in texts(plots.search_space(SPACE, nothing))


def test_nothing_to_draw() -> None:
    """Where nothing can be drawn, the figure says why."""
    for figure, said in poor():
        assert said in texts(figure)


def test_no_pyplot() -> None:
    """The figures never touch pyplot, which would keep them in memory and look for a screen."""
    room = Path(plots.__file__).parent
    source = "\n".join(path.read_text(encoding="utf-8") for path in room.glob("*.py"))
    assert not re.search(r"^\s*(import|from) .*pyplot", source, re.MULTILINE)
