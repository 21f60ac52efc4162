"""Runs as pages: what is said of them, their figures as data, that nothing in a text is HTML."""

from __future__ import annotations

import json
import re
from hashlib import sha256
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lab import REFERENCE
from made_events import made_trial, run_info, study_settings
from made_figures import brackets, hyperband
from made_runs import EVIL, final_test, search, sweep

from mnist_lab import pages, plots, space, study
from mnist_lab.analysis.importance import dimensions_of, importance
from mnist_lab.analysis.outcomes import best_trial, completed_error, endings
from mnist_lab.config import TrainConfig
from mnist_lab.pages import figures, sections
from mnist_lab.pages.figures.parallel import _Axis, _placed
from mnist_lab.pages.figures.searches import _front
from mnist_lab.words import in_words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from mnist_lab.records import Trial

SPACE = space.to_dict(space.default_space())
SEARCH: dict[str, Any] = {"experiment": "random-search", "values": None, "space": SPACE}


def shown(path: Path, label: str = "") -> pages.Shown:
    """The run in a folder, as pages show it."""
    return study.load_run(path).shown(label or path.name, ".")


def of_trials(trials: Sequence[Trial], label: str = "s", **settings: Any) -> pages.Shown:
    """A study of these trials, as pages show it."""
    info = run_info(settings=study_settings(**settings), state="complete")
    return pages.Shown(label, info, list(trials), {}, {})


def halving(n: int, **more: Any) -> pages.Shown:
    """So many brackets of Hyperband."""
    values = {"iters": n, "min_epochs": 2, "base": TrainConfig(epochs=18)}
    trials = hyperband(brackets(n), **more)
    return of_trials(trials, **SEARCH | values | {"experiment": "hyperband"})


def a_race() -> pages.Shown:
    """Two configurations from six seeds; the first is better beyond doubt."""
    sizes = (16, 32)
    configurations = tuple(TrainConfig(batch_size=size, epochs=1) for size in sizes)
    trials = [
        made_trial(
            2 * round_ + place + 1,
            [0.01 + 0.1 * place + round_ * (place + 1) % 5 / 1000],
            batch_size=sizes[place],
            epochs=1,
        ).model_copy(update={"id": (round_, 0, place), "repeat": round_ + 1})
        for round_ in range(6)
        for place in range(2)
    ]
    values: dict[str, Any] = {"experiment": "race", "values": None, "repeats": 20}
    return of_trials(trials, configurations=configurations, **values)


def figures_of(one: pages.Shown) -> dict[str, Any]:
    """The figures of a run as the browser reads them."""
    made: dict[str, Any] = json.loads(json.dumps(figures.of_run(one), allow_nan=False))["figures"]
    return made


def traces_of(figure: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Each trace of a figure, whatever is chosen."""
    for choice in figure["choices"].values():
        yield from choice["traces"]


# --- figures


def test_each_kind_of_run_has_its_figures(tmp_path: Path) -> None:
    """None of them is empty; what there are no numbers for is not there."""
    of_search = ["incumbent", "curves", "parallel", "influence", "hyperparameters", "pair", "cost"]
    expected = {
        "lr-sweep": ["curves", "parallel", "cost"],
        "random-search": of_search,
        "hyperband": [*of_search[:2], "brackets", *of_search[2:]],
        "test-random-search-6": ["curves"],
    }
    for name, names in expected.items():
        found = figures_of(shown(REFERENCE / name))
        assert list(found) == names
        for figure in found.values():
            assert figure["title"]
            assert figure["about"].endswith(".")
            for trace in traces_of(figure):
                assert any(value is not None for value in trace["y"])
    assert list(figures_of(a_race())) == ["race", "curves", "parallel", "cost"]
    assert figures_of(of_trials([])) == {}
    assert list(figures_of(shown(search(tmp_path / "one", 1)))) == ["incumbent", "curves"]


@pytest.mark.parametrize(
    "make", [sweep, search, final_test, lambda _: None], ids=["sweep", "search", "test", "none"]
)
def test_the_columns_of_a_trace_fit(make: Callable[[Path], Path | None], tmp_path: Path) -> None:
    """Each point has its place and its trial, and each trial its words."""
    path = make(tmp_path / "run")
    one = shown(path) if path else halving(3, outcomes={(3, 2): "failed"}, n_endings=19)
    numbers = {trial.trial for trial in one.trials}
    for figure in figures_of(one).values():
        for trace in traces_of(figure):
            n = len(trace["x"])
            assert len(trace["y"]) == n
            assert len(trace.get("customdata", trace["x"])) == n
            assert set(trace.get("customdata", ())) <= numbers
            assert ("%{text}" in trace.get("hovertemplate", "")) == (
                "customdata" in trace and trace.get("hoverinfo") != "skip"
            )
    assert figures.of_run(one)["labels"].keys() == numbers


def test_colours_are_those_of_the_other_figures() -> None:
    """The same thing has the same colour here and in `plots`, and in the dark a brighter one.

    Each that a figure names is in the style, for light and for dark.
    """
    light, dark = (
        dict(re.findall(r"(--[\w-]+): ([^;]+);", block))
        for block in pages.asset("page.css").split("@media screen", 1)
    )
    assert [light[f"--series-{n}"].upper() for n in range(7)] == list(plots.page.COLORS)
    for name, color in (
        ("best", plots.page.ORANGE),
        ("winner", plots.page.NAVY),
        ("shade-0", plots.page.NAVY),
        ("lost", plots.page.GREY),
    ):
        assert light[f"--{name}"].upper() == color.upper()
    named = {
        color
        for one in (halving(3), a_race(), shown(REFERENCE / "hyperband-whole"))
        for color in re.findall(r'"(--[\w-]+)"', json.dumps(figures_of(one)))
    }
    assert "--shade-7" in named
    assert named <= light.keys()
    assert named <= dark.keys()


def test_the_lowest_so_far() -> None:
    """Over epochs and over time it falls to the best, at the end of the run; a dot a training."""
    one = halving(3)
    figure = figures_of(one)["incumbent"]
    lowest = min(error for trial in endings(one.trials) if (error := completed_error(trial)))
    for choice in figure["choices"].values():
        dots, line = choice["traces"]
        assert len(dots["x"]) == len(endings(one.trials))
        assert line["y"] == sorted(line["y"], reverse=True)
        assert line["y"][-1] == pytest.approx(100 * lowest, abs=1e-3)
        assert line["x"] == sorted(line["x"])
    assert figure["choices"]["epochs"]["traces"][1]["x"][-1] == sum(
        trial.n_epochs for trial in one.trials
    )


@pytest.mark.parametrize("n", [1, 30])
def test_hundreds_of_trials_in_brackets(n: int) -> None:
    """Each training has a place of its own in its rung, lower errors to the left.

    Lines join a trial's rungs; the best of all is one star.
    """
    one = halving(n)
    (choice,) = figures_of(one)["brackets"]["choices"].values()
    lines, *dots = choice["traces"]
    placed = [pair for trace in dots for pair in zip(trace["x"], trace["y"], strict=True)]
    assert len(placed) == len(endings(one.trials))
    assert len({x for x, _ in placed}) == len(placed)
    for rung in range(round(max(x for x, _ in placed)) + 1):
        column = sorted(pair for pair in placed if round(pair[0]) == rung)
        assert column
        assert [y for _, y in column] == sorted(y for _, y in column)
    joined = [x for x in lines["x"] if x is not None]
    assert sorted(joined) == sorted(x for x, _ in placed)
    (star,) = [trace for trace in dots if trace["name"] == "best of all"]
    best = best_trial(one.trials)
    assert best is not None
    assert star["customdata"] == [best.trial]


def test_the_shades_are_ranks(tmp_path: Path) -> None:
    """The best alone is orange and on top, each trial is in one group, the failed are dotted."""
    one = shown(search(tmp_path / "s", 50))
    (choice,) = figures_of(one)["curves"]["choices"].values()
    groups = [set(trace["customdata"]) for trace in choice["traces"]]
    assert sum(map(len, groups)) == len(set.union(*groups)) == 50
    best = best_trial(one.trials)
    assert best is not None
    assert choice["traces"][-1]["line"]["color"] == "--best"
    assert groups[-1] == {best.trial}
    assert groups[0] == {48, 49, 50}
    assert choice["traces"][0]["line"]["dash"] == "dot"
    shades = [trace["line"]["color"] for trace in choice["traces"][1:-1]]
    assert shades == [f"--shade-{n}" for n in range(7, -1, -1)]


def test_a_trial_of_one_point_is_seen() -> None:
    """A line of one point would not be: it has a dot, and the others have none."""
    trials = [made_trial(1, [0.1], epochs=1), made_trial(2, [0.3, 0.2], epochs=2)]
    (choice,) = figures_of(of_trials(trials, **SEARCH | {"iters": 2}))["curves"]["choices"].values()
    sizes = {
        number: size
        for trace in choice["traces"]
        for number, size in zip(
            trace["customdata"], trace.get("marker", {}).get("size", [0] * 9), strict=False
        )
    }
    assert sizes == {1: 5, 2: 0}


def test_importance_is_that_of_the_findings() -> None:
    """Shares and intervals are those of the analysis, which is asked once, and not done anew."""
    one = shown(REFERENCE / "hyperband-whole")
    rows = importance(list(dimensions_of(one.info.settings.space or {})), one.trials)
    (choice,) = figures_of(one)["influence"]["choices"].values()
    bars = {
        name: (x, x - below, x + above)
        for trace in choice["traces"]
        for name, x, below, above in zip(
            trace["y"],
            trace["x"],
            trace["error_x"]["arrayminus"],
            trace["error_x"]["array"],
            strict=True,
        )
    }
    assert bars.keys() == {in_words(row.name) for row in rows}
    for row in rows:
        expected = (100 * row.share, 100 * row.interval.low, 100 * row.interval.high)
        assert bars[in_words(row.name)] == pytest.approx(expected, abs=0.2)


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(0, 9)), min_size=1, max_size=12))
def test_nothing_beats_the_front(points: list[tuple[int, int]]) -> None:
    """Each point is as slow and as bad as one of the front; of those none beats another."""
    front = _front(points)
    assert set(front) <= set(points)
    for seconds, error in points:
        assert any(s <= seconds and e <= error for s, e in front)
    assert all(a[0] < b[0] and a[1] > b[1] for a, b in pairwise(front))


def test_a_race_shows_who_is_dropped() -> None:
    """The leader is the zero line; who is dropped is grey, with its interval above zero."""
    (choice,) = figures_of(a_race())["race"]["choices"].values()
    leader, other = choice["traces"]
    assert "(leads)" in leader["name"]
    assert set(leader["y"]) == {0}
    assert "dropped after repeat 5" in other["name"]
    assert other["line"]["color"] == "--quiet"
    assert other["y"][-1] - other["error_y"]["arrayminus"][-1] > 0


def test_parts_of_an_epoch() -> None:
    """Budgets below an epoch are ticks of a logarithmic axis, written as people do."""
    trial = made_trial(1, [0.1, 0.05], epochs=1)
    first, last = trial.epochs
    parts = (first.model_copy(update={"epoch": 0.125}), last.model_copy(update={"epoch": 1}))
    trials = [trial.model_copy(update={"epochs": parts})]
    (choice,) = figures_of(of_trials(trials, **SEARCH | {"iters": 1}))["curves"]["choices"].values()
    axis = choice["layout"]["xaxis"]
    assert axis["type"] == "log"
    assert axis["ticktext"] == ["1/8", "1"]


def test_places_on_an_axis() -> None:
    """From the lowest to the highest; logarithmic if wide; what has no number stands above.

    Many values have a few ticks, in order, inside the axis.
    """
    for values, places, ticks in (
        ([1.0, 10.0, 100.0], [0, 0.5, 1], ["1", "10", "100"]),
        ([3.0, 5.0, None], [0, 1, 1.12], ["3", "5", "none"]),
        ([2.0, 2.0], [0.5, 0.5], ["2"]),
        ([0.0, 0.5, 1.0], [0, 0.5, 1], ["0", "0.5", "1"]),
        ([None, None], [1.12, 1.12], ["none"]),
    ):
        found, marks = _placed(_Axis("", values, "{:g}".format))
        assert (found, [text for _, text in marks]) == (places, ticks)
    for many in ([20 + i * 1.7 for i in range(50)], [0.0001 * 1.15**i for i in range(50)]):
        _, marks = _placed(_Axis("", many, "{:g}".format))
        heights = [place for place, _ in marks]
        assert 2 <= len(marks) <= 6
        assert heights == sorted(heights)
        assert 0 <= heights[0] < heights[-1] <= 1
        assert all(len(text) < 8 for _, text in marks)


# --- what is said


def test_the_best_comes_first(tmp_path: Path) -> None:
    """The table of trials begins with the best, and ends with those without an error."""
    one = shown(search(tmp_path / "s", 30))
    table = sections.run(one, "run-1")["trials"]
    errors = {trial.trial: completed_error(trial) for trial in one.trials}
    order = [errors[number] for number in table.trials]
    known = [error for error in order if error is not None]
    assert order == sorted(known) + [None] * 3
    assert table.trials[0] in table.best


def test_the_answer_comes_first() -> None:
    """Of the findings the first is the verdict; durations are of the clock, or say they are not."""
    found = sections.run(shown(REFERENCE / "hyperband-whole"), "run-1")
    assert found["verdict"].claim == "The best configuration has a validation error of 0.79 %."
    assert found["verdict"] not in found["findings"]
    assert "24 min 25 s (wall clock)" in found["standing"]
    assert "all trials together" in found["standing"]
    assert found["method"].startswith("All intervals are 95 % intervals.")
    assert sections.run(of_trials([]), "run-1")["verdict"] is None


def test_mistakes_are_pictures() -> None:
    """Every cell that holds mistakes leads to their images, and the counts are all of them."""
    run = study.load_run(REFERENCE / "test-random-search-6")
    found = sections.run(run.shown("t", "."), "run-1")
    cells = [one for row in found["confusion"]["rows"] for one in row["cells"]]
    assert sum(one["count"] for one in cells) == 10 * 10_000
    wrong = {one["pair"] for one in cells if one["count"] and one["look"] != "right"}
    pairs = {one["pair"] for one in found["mistakes"]["images"]}
    assert pairs <= wrong
    assert max(one["share"] for one in cells if one["look"] != "right") == 1
    numbers = [one["image"] for one in found["mistakes"]["images"]]
    assert len(set(numbers)) == len(numbers)


@pytest.mark.parametrize(
    ("other_error", "other_epochs", "said"),
    [
        (0.011, 3, "Too close to call: b may be as good"),
        (0.05, 3, "The others are worse, beyond chance"),
        (0.05, 6, "The others are worse, beyond chance"),
    ],
)
def test_whether_a_difference_is_real(other_error: float, other_epochs: int, said: str) -> None:
    """The comparison says which run is lowest, whether that shows, and who was trained longer."""
    runs = [
        of_trials(
            [made_trial(1, [error] * epochs, epochs=epochs)],
            label=label,
            experiment="train",
            values=None,
            base=TrainConfig(epochs=epochs),
        )
        for error, epochs, label in ((0.01, 3, "a"), (other_error, other_epochs, "b"))
    ]
    found = sections.comparison(runs, ["run-1", "run-2"])
    (verdict,) = found["verdicts"]
    assert verdict.startswith("a has the lowest validation error, 1.00 %.")
    assert said in verdict
    warning = "The best were not trained equally long: a 3 epochs and b 6 epochs."
    assert (warning in found["warnings"]) == (other_epochs == 6)


# --- nothing in a text is HTML


def test_json_ends_no_script() -> None:
    """Whatever a text holds, no parser of HTML sees an end or a beginning in it."""
    text = pages.json_text({EVIL: [EVIL]})
    assert not set(text) & set("<>&\u2028")
    assert json.loads(text) == {EVIL: [EVIL]}


def test_templates_escape_and_miss_nothing() -> None:
    """Every text is escaped, in every template; a value that is not there is an error."""
    made = pages.environment("mnist_lab.report")
    assert made.from_string("{{ text }}").render(text="<b>") == "&lt;b&gt;"
    shown = made.from_string("{{ text|code }}").render(text="`<b>` & `a b`")
    assert shown == "<code>&lt;b&gt;</code> &amp; <code>a b</code>"
    with pytest.raises(jinja2.UndefinedError):
        made.from_string("{{ missing }}").render()
    for name in made.list_templates(extensions=["html"]):
        source = (made.loader.get_source(made, name)[0]) if made.loader else ""
        assert "|safe" not in source.replace(" ", "")
        assert "autoescape" not in source


def test_the_library_is_what_it_says() -> None:
    """Plotly's script is the file that its licence tells the digest of; nobody has changed it."""
    folder = files("mnist_lab.pages") / "assets"
    digest = sha256((folder / "plotly-basic.min.js").read_bytes()).hexdigest()
    assert digest in (folder / "plotly-basic.LICENSE.txt").read_text(encoding="utf-8")
