"""What holds for every figure: its files, its caption, its words where nothing can be drawn."""

from __future__ import annotations

import io
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib as mpl
import pytest
from made_figures import (
    CAPTION,
    CONFUSION,
    FIGURES,
    IMAGES,
    SIZES,
    SPACE,
    SWEEP,
    curve,
    ranked,
    search,
    texts,
)
from matplotlib.image import imread

from mnist_lab import plots
from mnist_lab.analysis.confusion import confusion
from mnist_lab.analysis.outcomes import Tally

if TYPE_CHECKING:
    from collections.abc import Callable

    from matplotlib.figure import Figure

SAMPLE = CAPTION._replace(
    data_name="MNIST sample (5,000 digits)", notice="not the whole of MNIST: 5,000 of its digits"
)
# Runs of which nothing is left to draw, and what the figure says instead.
POOR: dict[str, tuple[Callable[[], Figure], str]] = {
    "learning_curves, empty": (
        lambda: plots.learning_curves([], "learning_rate", CAPTION),
        "no trial yet",
    ),
    "learning_curves, failed": (
        lambda: plots.learning_curves(
            [curve(0.1, [], budget=12, tally=Tally(failed=1))], "learning_rate", CAPTION
        ),
        "no trial has finished an epoch",
    ),
    "filter_cost, empty": (lambda: plots.filter_cost([], CAPTION), "no trial yet"),
    "filter_cost, failed": (lambda: plots.filter_cost(SIZES[3:], CAPTION), "no trial is complete"),
    "incumbent, empty": (lambda: plots.incumbent(search(), CAPTION), "no trial yet"),
    "incumbent, failed": (
        lambda: plots.incumbent(search(None, None), CAPTION),
        "no trial is complete",
    ),
    "ranked_curves, empty": (lambda: plots.ranked_curves([], Tally(), CAPTION), "no trial yet"),
    "ranked_curves, failed": (
        lambda: plots.ranked_curves(ranked(1, {1: "failed"}), Tally(failed=1), CAPTION),
        "no trial has finished an epoch",
    ),
    "hyperparameters, empty": (
        lambda: plots.hyperparameters(SPACE, [], Tally(), CAPTION),
        "no trial yet",
    ),
    "parallel_coordinates, empty": (
        lambda: plots.parallel_coordinates(SPACE, [], Tally(), CAPTION),
        "no trial yet",
    ),
    "mistakes, empty": (
        lambda: plots.mistakes([], IMAGES, confusion([]), CAPTION),
        "no test result",
    ),
    "mistakes, none": (
        lambda: plots.mistakes([], IMAGES, CONFUSION, CAPTION),
        "no test digit is misclassified",
    ),
    "confusion, empty": (lambda: plots.confusion(confusion([]), CAPTION), "no test result"),
    "search_space, no draws": (
        lambda: plots.search_space([SPACE[0]._replace(draws=[])], CAPTION),
        "no draw",
    ),
}


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


class TestCaption:
    """Where a figure says that it comes from."""

    def test_left_out(self) -> None:
        """What the caption does not know leaves no gap."""
        caption = plots.Caption("", "", "10,000 draws", "", "")
        assert "10,000 draws" in texts(plots.search_space(SPACE, caption))

    def test_notice(self) -> None:
        """Data that are not the whole of MNIST are named right below the title."""
        for figure in (
            plots.learning_curves(SWEEP, "learning_rate", SAMPLE),
            plots.confusion(CONFUSION, SAMPLE),
        ):
            assert f"{SAMPLE.data_name}: {SAMPLE.notice}" in texts(figure)

    def test_notice_names_the_data(self) -> None:
        """A notice that names the data is not preceded by the name again, nor read as a formula."""
        caption = CAPTION._replace(data_name="a$b$.npz", notice="not MNIST: a$b$.npz")
        found = texts(plots.learning_curves(SWEEP, "learning_rate", caption))
        assert "not MNIST: a$b$.npz" in found

    def test_long_name(self) -> None:
        """A file's long name is cut in the small print, and wrapped in the notice."""
        name = "x" * 200
        caption = CAPTION._replace(data_name=name, notice=f"not MNIST: {name}")
        found = texts(plots.learning_curves(SWEEP, "learning_rate", caption))
        assert any(text.startswith("x" * 70 + "… · 5 repeats") for text in found)
        assert max(map(len, found)) <= 120


def test_nothing_to_draw() -> None:
    """Where nothing can be drawn, the figure says why."""
    for name, (draw, said) in POOR.items():
        assert said in texts(draw()), name


def test_no_pyplot() -> None:
    """The figures never touch pyplot, which would keep them in memory and look for a screen."""
    room = Path(plots.__file__).parent
    source = "\n".join(path.read_text(encoding="utf-8") for path in room.glob("*.py"))
    assert not re.search(r"^\s*(import|from) .*pyplot", source, re.MULTILINE)
