"""The figures: what they show and say, for whole runs and for poor ones; their files."""

from __future__ import annotations

import inspect
import io
import itertools
import re
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.image import imread

from mnist_lab import curves, plots
from mnist_lab.config import TrainConfig
from mnist_lab.curves import (
    Incumbents,
    LearningCurve,
    LearningCurves,
    SampledHyperparameter,
    SearchPoint,
    Spread,
    SummaryRow,
    Tally,
)
from mnist_lab.records import Epoch, Trial

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from matplotlib.figure import Figure

CAPTION = plots.Caption(
    data_name="MNIST", notice="", n="5 repeats", date="2018-11-20", version="1.2.3"
)
SAMPLE = CAPTION._replace(
    data_name="MNIST sample (5,000 digits)", notice="not the whole of MNIST: 5,000 of its digits"
)
COMPLETE = Tally(complete=1)


def curve(
    value: float,
    errors: Sequence[float],
    *,
    sd: float | None = None,
    budget: int | None = None,
    tally: Tally = COMPLETE,
) -> LearningCurve:
    """A learning curve with these validation errors, training errors half as high again."""
    n = 1 if sd is None else 5
    valid = tuple(Spread(n, error, sd, error, error) for error in errors)
    train = tuple(Spread(n, 1.5 * error, sd, error, error) for error in errors)
    epochs = tuple(range(1, len(errors) + 1))
    return LearningCurve(value, epochs, valid, train, budget or len(errors), tally)


def falling(start: float, end: float, n: int = 12) -> list[float]:
    """Errors of `n` epochs, from `start` to `end`."""
    return [start * (end / start) ** (row / (n - 1)) for row in range(n)]


SWEEP = LearningCurves(
    "learning_rate",
    (
        curve(0.1, falling(0.04, 0.012)),
        curve(0.01, falling(0.13, 0.028)),
        curve(0.001, falling(0.6, 0.08)),
        curve(0.0001, falling(0.66, 0.63)),
    ),
)


def row(size: int, errors: tuple[float, ...], seconds: float | None, tally: Tally) -> SummaryRow:
    """A filter size with these final errors."""
    configuration = TrainConfig(filter_size=size)
    return SummaryRow(size, configuration, tally, errors, curves.spread(errors), seconds)


SIZES = [
    row(1, (0.035, 0.037), 0.9, Tally(complete=2)),
    row(3, (0.012, 0.0122), 2.2, Tally(complete=2)),
    row(5, (0.0119,), 3.9, Tally(complete=1, diverged=1)),
    row(7, (), 6.4, Tally(failed=2)),
]


def search(*errors: float | None) -> Incumbents:
    """A search of these final errors; None failed."""
    trials = [
        Trial(
            trial=number,
            id=(number - 1, 0, 0),
            configuration=TrainConfig(learning_rate=0.0372, filter_size=5, epochs=1),
            seed=0,
            repeat=None,
            state="failed" if error is None else "complete",
            diverged=False,
            reason=None,
            started=None,
            ended=None,
            worker=None,
            epochs=()
            if error is None
            else (
                Epoch(
                    epoch=1,
                    train_loss=0.1,
                    train_error=error,
                    valid_loss=0.1,
                    valid_error=error,
                    duration_s=1.0,
                ),
            ),
            test=None,
        )
        for number, error in enumerate(errors, 1)
    ]
    return curves.incumbents(trials)


MATRIX = tuple(
    tuple(90 if predicted == true else int(predicted == (true + 1) % 10) for predicted in range(10))
    for true in range(10)
)
CONFUSION = curves.Confusion(
    matrix=MATRIX,
    class_errors=(1 / 91,) * 10,
    n_images=910,
    errors=(1 / 91,),
    error=Spread(1, 1 / 91, None, 1 / 91, 1 / 91),
    interval=curves.wilson_interval(10, 910),
)
SPACE = [
    SampledHyperparameter("learning_rate", "log", 1e-4, 1e-1, (), [1e-4, 3e-3, 4e-3, 1e-1] * 9),
    SampledHyperparameter("batch_size", "log", 16, 128, (), list(range(16, 129))),
    SampledHyperparameter("num_filters", "linear", 8, 64, (), list(range(8, 65))),
    SampledHyperparameter("filter_size", "choice", None, None, (3, 5), [3, 5, 5, 5]),
]

FIGURES: dict[str, Callable[[], Figure]] = {
    "learning_curves": lambda: plots.learning_curves(SWEEP, CAPTION),
    "filter_cost": lambda: plots.filter_cost(SIZES, CAPTION),
    "incumbent": lambda: plots.incumbent(search(0.5, None, 0.012, 0.1), CAPTION),
    "confusion": lambda: plots.confusion(CONFUSION, CAPTION),
    "search_space": lambda: plots.search_space(SPACE, CAPTION),
}
# Runs of which nothing is left to draw, and what the figure says instead.
POOR: dict[str, tuple[Callable[[], Figure], str]] = {
    "learning_curves, empty": (
        lambda: plots.learning_curves(LearningCurves("learning_rate", ()), CAPTION),
        "no trial yet",
    ),
    "learning_curves, failed": (
        lambda: plots.learning_curves(
            LearningCurves("learning_rate", (curve(0.1, [], budget=12, tally=Tally(failed=1)),)),
            CAPTION,
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
    "confusion, empty": (
        lambda: plots.confusion(curves.confusion([]), CAPTION),
        "no test result",
    ),
    "search_space, no draws": (
        lambda: plots.search_space([SPACE[0]._replace(draws=[])], CAPTION),
        "no draw",
    ),
}


def texts(figure: Figure) -> list[str]:
    """Every line of text in the figure, as its SVG holds it."""
    root = ET.fromstring(plots.save(figure)["svg"])  # noqa: S314 - our own file
    found = ["".join(node.itertext()) for node in root.iter("{http://www.w3.org/2000/svg}text")]
    assert found, "the SVG keeps its texts as text"
    return found


def axes_of(figure: Figure) -> list[Any]:
    """The figure's axes, without the unions that matplotlib's own types are made of."""
    return [*figure.axes]


def lines_of(figure: Figure, style: str) -> list[Any]:
    """The lines of this style in the figure's first axes that are drawn in data coordinates."""
    axes = axes_of(figure)[0]
    return [
        line
        for line in axes.lines
        if line.get_linestyle() == style and line.get_transform() == axes.transData
    ]


def ticks(axis: Any) -> list[str]:
    """The labels of the ticks that are seen on an axis."""
    low, high = sorted(axis.get_view_interval())
    places = zip(axis.get_ticklocs(), axis.get_ticklabels(), strict=True)
    return [label.get_text() for place, label in places if low <= place <= high]


class TestFiles:
    """The content of the files."""

    @pytest.mark.parametrize("name", FIGURES)
    def test_png_and_svg(self, name: str) -> None:
        """Every figure becomes a PNG of 200 dpi, 8 inches wide, and a well-formed SVG."""
        files = plots.save(FIGURES[name]())
        assert set(files) == {"png", "svg"}
        assert imread(io.BytesIO(files["png"])).shape[1] == 8 * 200
        assert ET.fromstring(files["svg"]).tag.endswith("svg")  # noqa: S314 - our own file

    @pytest.mark.parametrize("name", FIGURES)
    def test_same_bytes(self, name: str) -> None:
        """The same numbers give the same bytes, whatever matplotlib is set to."""
        before = plots.save(FIGURES[name]())
        with mpl.rc_context({"font.size": 20, "svg.fonttype": "path", "lines.linewidth": 9}):
            assert plots.save(FIGURES[name]()) == before

    @pytest.mark.parametrize("name", FIGURES)
    def test_settings_stay(self, name: str) -> None:
        """Drawing leaves matplotlib's own settings as they were."""
        before = dict(mpl.rcParams)
        plots.save(FIGURES[name]())
        assert dict(mpl.rcParams) == before


class TestCaption:
    """Where a figure says that it comes from."""

    @pytest.mark.parametrize("name", FIGURES)
    def test_small_print(self, name: str) -> None:
        """Every figure names its data, how many trials, the date and the version."""
        assert "MNIST · 5 repeats · 2018-11-20 · mnist-lab 1.2.3" in texts(FIGURES[name]())

    def test_left_out(self) -> None:
        """What the caption does not know leaves no gap."""
        caption = plots.Caption("", "", "10,000 draws", "", "")
        assert "10,000 draws" in texts(plots.search_space(SPACE, caption))

    @pytest.mark.parametrize(
        "draw",
        [
            lambda: plots.learning_curves(SWEEP, SAMPLE),
            lambda: plots.filter_cost(SIZES, SAMPLE),
            lambda: plots.incumbent(search(0.5), SAMPLE),
            lambda: plots.confusion(CONFUSION, SAMPLE),
        ],
    )
    def test_notice(self, draw: Callable[[], Figure]) -> None:
        """Data that are not the whole of MNIST are named right below the title."""
        assert f"{SAMPLE.data_name}: {SAMPLE.notice}" in texts(draw())

    def test_notice_names_the_data(self) -> None:
        """A notice that names the data is not preceded by the name again, nor read as a formula."""
        caption = CAPTION._replace(data_name="a$b$.npz", notice="not MNIST: a$b$.npz")
        found = texts(plots.learning_curves(SWEEP, caption))
        assert "not MNIST: a$b$.npz" in found

    def test_long_name(self) -> None:
        """A file's long name is cut in the small print, and wrapped in the notice."""
        name = "x" * 200
        caption = CAPTION._replace(data_name=name, notice=f"not MNIST: {name}")
        found = texts(plots.learning_curves(SWEEP, caption))
        assert any(text.startswith("x" * 70 + "… · 5 repeats") for text in found)
        assert max(map(len, found)) <= 120


@pytest.mark.parametrize("name", POOR)
def test_nothing_to_draw(name: str) -> None:
    """Where nothing can be drawn, the figure says why."""
    draw, said = POOR[name]
    assert said in texts(draw())


class TestLearningCurves:
    """The figure of a sweep."""

    def test_lines(self) -> None:
        """Each value has a solid line of validation errors and a dashed one of training errors."""
        figure = plots.learning_curves(SWEEP, CAPTION)
        solid = [line for line in lines_of(figure, "-") if len(line.get_xdata()) == 12]
        dashed = lines_of(figure, "--")
        assert [line.get_ydata()[-1] for line in solid] == [0.012, 0.028, 0.08, 0.63]
        assert [line.get_color() for line in solid] == [line.get_color() for line in dashed]
        assert len({line.get_color() for line in solid}) == 4

    def test_axes(self) -> None:
        """The error is on a logarithmic scale in plain percent, epochs are whole numbers."""
        figure = plots.learning_curves(SWEEP, CAPTION)
        axes = axes_of(figure)[0]
        assert axes.get_yscale() == "log"
        assert ticks(axes.yaxis) == ["1 %", "2 %", "5 %", "10 %", "20 %", "50 %", "100 %"]
        assert ticks(axes.xaxis) == [str(epoch) for epoch in range(1, 13)]

    def test_words(self) -> None:
        """Title, end labels and the exercise's 90 % accuracy are there to be read."""
        found = texts(plots.learning_curves(SWEEP, CAPTION))
        assert "Validation error by learning rate" in found
        assert {"0.1: 1.20 %", "0.01: 2.80 %", "0.001: 8.00 %", "0.0001: 63.0 %"} < {*found}
        assert "90 % accuracy" in found

    def test_filter_sizes(self) -> None:
        """Filter sizes are written as sides, and the line at 90 % is not theirs."""
        numbers = LearningCurves("filter_size", (curve(3, [0.2, 0.02]), curve(5, [0.2, 0.03])))
        found = texts(plots.learning_curves(numbers, CAPTION))
        assert {"Validation error by filter size", "3×3: 2.00 %", "5×5: 3.00 %"} < {*found}
        assert "90 % accuracy" not in found

    def test_single_value(self) -> None:
        """A single training is not called a comparison."""
        numbers = LearningCurves("learning_rate", SWEEP.curves[:1])
        assert "Validation error, learning rate 0.1" in texts(
            plots.learning_curves(numbers, CAPTION)
        )

    def test_repeats(self) -> None:
        """Repeats have a band around their mean, explained, and the deviation in the label."""
        numbers = LearningCurves("learning_rate", (curve(0.1, [0.04, 0.02], sd=0.001),) * 2)
        figure = plots.learning_curves(numbers, CAPTION)
        assert len(axes_of(figure)[0].collections) == 2
        found = texts(figure)
        assert "0.1: 2.00 ± 0.10 %" in found
        assert any("mean ± standard deviation" in text for text in found)

    def test_remarks(self) -> None:
        """Labels tell what ended early, diverged, failed or still runs."""
        numbers = LearningCurves(
            "learning_rate",
            (
                curve(0.1, [0.04, 0.9], budget=12, tally=Tally(diverged=1)),
                curve(0.01, [0.1, 0.05], sd=0.001, tally=Tally(2, 1, 1, 1)),
                curve(0.001, [], budget=12, tally=Tally(failed=1)),
            ),
        )
        found = texts(plots.learning_curves(numbers, CAPTION))
        assert {"0.1: 90.0 %", "diverged", "ends at epoch 2 of 12"} < {*found}
        assert {"0.001", "failed"} < {*found}
        assert "of 5: 1 diverged, 1 failed, 1 unfinished" in " ".join(found)

    def test_one_epoch(self) -> None:
        """A single epoch is a single tick, with markers that can be seen."""
        numbers = LearningCurves("learning_rate", (curve(0.1, [0.04]), curve(0.01, [0.1])))
        figure = plots.learning_curves(numbers, CAPTION)
        axes = axes_of(figure)[0]
        assert ticks(axes.xaxis) == ["1"]
        assert [line.get_marker() for line in lines_of(figure, "--")] == ["_", "_"]

    def test_not_validated(self) -> None:
        """Where no image validates, the training error is drawn and labelled alone."""
        trained = curve(0.1, [0.04, 0.02])._replace(valid=(None, None))
        numbers = LearningCurves("learning_rate", (trained,))
        assert "0.1" in texts(plots.learning_curves(numbers, CAPTION))

    def test_no_error_at_all(self) -> None:
        """An error of 0, which no logarithmic axis holds, stands at its bottom."""
        numbers = LearningCurves("learning_rate", (curve(0.1, [0.1, 0.0], sd=0.0),))
        assert "0.1: 0.00 ± 0.00 %" in texts(plots.learning_curves(numbers, CAPTION))

    def test_labels_do_not_overlap(self) -> None:
        """Twenty values that end together have twenty labels, one below the other."""
        lines = tuple(curve(n / 100, [0.05, 0.02 + n * 1e-5]) for n in range(1, 21))
        figure = plots.learning_curves(LearningCurves("learning_rate", lines), CAPTION)
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
    placed = plots._spread_out(wanted, sizes)
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


class TestConfusion:
    """The figure of a test."""

    def test_one_repeat(self) -> None:
        """The title gives the error with its interval; counts and class errors are written."""
        found = texts(plots.confusion(CONFUSION, CAPTION))
        assert "Test error 1.10 % (95 % interval: 0.60 % to 2.01 %)" in found
        assert (found.count("90"), found.count("1.10 %")) == (10, 10)
        assert {"true digit", "predicted digit", "error of the true digit"} < {*found}

    def test_repeats(self) -> None:
        """With repeats the title gives the mean and says that counts are sums."""
        numbers = CONFUSION._replace(
            error=Spread(5, 0.0115, 0.0008, 0.011, 0.012), interval=curves.Interval(0.0105, 0.0125)
        )
        found = texts(plots.confusion(numbers, CAPTION))
        title = "Test error 1.15 ± 0.08 % (95 % interval of the mean: 1.05 % to 1.25 %)"
        assert title in found
        assert any("summed over 5 repeats" in text for text in found)

    def test_muted_diagonal(self) -> None:
        """Right answers are grey, so that the mistakes stand out."""
        mesh = axes_of(plots.confusion(CONFUSION, CAPTION))[0].collections[0]
        mesh.update_scalarmappable()
        shades = mesh.get_facecolor().reshape(10, 10, 4)
        assert {tuple(shades[digit, digit]) for digit in range(10)} == {
            mpl.colors.to_rgba("#E8E8E8")
        }
        assert tuple(shades[0, 1]) == mpl.colors.to_rgba("#D55E00")

    def test_perfect(self) -> None:
        """No mistake at all, and a class without images, are drawn too."""
        matrix = tuple(tuple(int(p == t < 9) for p in range(10)) for t in range(10))
        numbers = CONFUSION._replace(matrix=matrix, class_errors=(*[0.0] * 9, None))
        assert "no image" in texts(plots.confusion(numbers, CAPTION))


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


def test_no_pyplot() -> None:
    """The figures never touch pyplot, which would keep them in memory and look for a screen."""
    source = inspect.getsource(plots)
    assert not re.search(r"^\s*(import|from) .*pyplot", source, re.MULTILINE)
