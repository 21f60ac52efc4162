"""Numbers made for the tests of figures, a figure of each kind, and what is read in a figure."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from collections import defaultdict
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
from made_events import TIME, an_epoch, failed, finished, made_trial, promoted, proposed, started

from mnist_lab import plots
from mnist_lab.analysis.confusion import confusion
from mnist_lab.analysis.history import RankedTrial, bracket_panels, progress
from mnist_lab.analysis.outcomes import SummaryRow, Tally, best_trial, summary, tally_of
from mnist_lab.config import Hyperparameter, bracket, next_stop
from mnist_lab.records import EpochDone, Mistake, TestScore, fold

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from matplotlib.figure import Figure

    from mnist_lab.config import Bracket
    from mnist_lab.records import Event, Trial

CAPTION = plots.Caption(
    data_name="MNIST", notice="", n="5 repeats", date="2018-11-20", version="1.2.3", n_valid=10_000
)


def curve(
    value: float,
    errors: Sequence[float],
    *,
    sd: float | None = None,
    budget: int | None = None,
    tally: Tally | None = None,
    varied: str = "learning_rate",
) -> SummaryRow:
    """A value with these validation errors, training errors half as high again.

    With `sd` there are two repeats; those of `tally` that are not complete have no epochs, unless
    there is no other.
    """
    config: dict[str, Any] = {varied: value, "epochs": budget or len(errors)}
    around = [0.0] if sd is None else [-sd / math.sqrt(2), sd / math.sqrt(2)]
    outcomes = (tally or Tally(complete=len(around)))._asdict()
    trials: list[Trial] = []
    for outcome, n in outcomes.items():
        state: Any = {"diverged": "complete", "unfinished": "waiting"}.get(outcome, outcome)
        for shift in (around * n)[:n]:
            own = [error + shift for error in errors if outcome == "complete" or len(around) == 1]
            trials.append(
                made_trial(
                    len(trials),
                    own,
                    train=[min(1.0, 1.5 * error) for error in own],
                    state=state,
                    diverged=outcome == "diverged",
                    **config,
                )
            )
    (found,) = summary(trials, varied)
    return found


def falling(start: float, end: float, n: int = 12) -> list[float]:
    """Errors of `n` epochs, from `start` to `end`."""
    return [start * (end / start) ** (row / (n - 1)) for row in range(n)]


SWEEP = [
    curve(0.1, falling(0.04, 0.012)),
    curve(0.01, falling(0.13, 0.028)),
    curve(0.001, falling(0.6, 0.08)),
    curve(0.0001, falling(0.66, 0.63)),
]


def row(size: int, errors: tuple[float, ...], seconds: float, tally: Tally) -> SummaryRow:
    """A filter size with these final errors; the others of `tally` have an epoch."""
    config: dict[str, Any] = {"filter_size": size, "epochs": 1}
    trials = [made_trial(n, [error], seconds=seconds, **config) for n, error in enumerate(errors)]
    trials += [made_trial(8, [0.9], seconds=seconds, diverged=True, **config)] * tally.diverged
    trials += [made_trial(9, [0.9], seconds=seconds, state="failed", **config)] * tally.failed
    (found,) = summary(trials, "filter_size")
    return found


SIZES = [
    row(1, (0.035, 0.037), 0.9, Tally(complete=2)),
    row(3, (0.012, 0.0122), 2.2, Tally(complete=2)),
    row(5, (0.0119,), 3.9, Tally(complete=1, diverged=1)),
    row(7, (), 6.4, Tally(failed=2)),
]


def search(*errors: float | None) -> list[Trial]:
    """A search of these final errors; None failed."""
    config: dict[str, Any] = {"learning_rate": 0.0372, "filter_size": 5, "epochs": 1}
    return [
        made_trial(number, [], state="failed", **config)
        if error is None
        else made_trial(number, [error], **config)
        for number, error in enumerate(errors, 1)
    ]


def best_so_far(trials: Sequence[Trial], *, by_epochs: bool = False) -> Figure:
    """The figure of the incumbent of these trials."""
    points, best = progress(trials, by_epochs=by_epochs), best_trial(trials)
    return plots.incumbent(points, best, tally_of(trials), CAPTION, by_epochs=by_epochs)


def hyperband(planned: Sequence[Bracket], *how: Any, **more: Any) -> list[Trial]:
    """The trials of a search by successive halving; see :func:`halving`."""
    return fold(halving(planned, *how, **more))


def halving(
    planned: Sequence[Bracket],
    outcomes: Mapping[Any, str] | None = None,
    *,
    n_endings: int | None = None,
    scale: float = 1.0,
) -> list[Event]:
    """What the journal of such a search tells, with one worker: a training after the other.

    Args:
        planned: its brackets.
        outcomes: `failed` or `diverged`, by trial and budget, for those that do not go well.
        n_endings: it is interrupted after so many trainings; a half-trained one stays behind.
        scale: of all errors.
    """
    made: list[Event] = []
    left = math.inf if n_endings is None else n_endings
    for event in _halving(planned, outcomes or {}, scale):
        # Every event has a time of its own, a second after the one before.
        time = f"2026-01-02T{len(made) // 3600:02}:{len(made) // 60 % 60:02}:{len(made) % 60:02}Z"
        ends = event.event in {"finished", "failed"}
        if ends and left == 0:
            break
        made.append(event.model_copy(update={"time": time}))
        left -= ends
    return made


def _halving(
    planned: Sequence[Bracket], outcomes: Mapping[Any, str], scale: float
) -> Iterator[Event]:
    n_trials = 0
    for number, one in enumerate(planned):
        going: list[int] = []
        trained: defaultdict[int, float] = defaultdict(int)
        for rung, (n_configs, budget) in enumerate(zip(*one, strict=True)):
            goes_on = going[:n_configs]
            losses = {}
            for place in range(n_configs):
                if place < len(goes_on):
                    trial = goes_on[place]
                    yield promoted(trial, budget)
                else:
                    trial = n_trials = n_trials + 1
                    id_ = (number, rung, place)
                    configuration = {"learning_rate": 0.0372, "epochs": budget}
                    yield proposed(trial, **configuration).model_copy(update={"id": id_})
                yield started(trial, from_epoch=trained[trial])
                outcome = outcomes.get((trial, budget), "complete")
                while trained[trial] < budget:
                    epoch = trained[trial] = next_stop(trained[trial], one.epochs)
                    done = an_epoch(epoch, scale * error_of(trial, epoch))
                    if outcome == "diverged":
                        done = done.model_copy(update={"valid_error": 0.9, "valid_loss": None})
                    yield EpochDone(time=TIME, trial=trial, epoch=done)
                    if outcome != "complete":  # what does not go well stops after a step
                        break
                if outcome == "failed":
                    yield failed(trial).model_copy(update={"budget": budget})
                else:
                    yield finished(trial, budget=budget, diverged=outcome == "diverged")
                    losses[trial] = (
                        0.9 if outcome == "diverged" else error_of(trial, trained[trial])
                    )
            going = sorted(losses, key=lambda trial: losses[trial])


def error_of(trial: int, n_epochs: float) -> float:
    """The validation error of trial `trial` of :func:`hyperband` after so many epochs."""
    golden = 0.6180339887498949  # its multiples spread evenly over the unit interval
    floor = 0.009 * 30 ** (trial * golden % 1)
    return float(min(0.9, floor * (1 + 2 * (trial * golden * 7 % 1) / n_epochs)))


def brackets(n: int, first: float = 2, last: float = 18, eta: int = 3) -> list[Bracket]:
    """The first `n` brackets of a search with budgets from `first` to `last` epochs."""
    return [bracket(number, first, last, eta) for number in range(n)]


def promotions(trials: list[Trial], planned: Sequence[Bracket]) -> Figure:
    """The figure of the brackets of these trials."""
    return plots.brackets(bracket_panels(trials, planned), tally_of(trials), CAPTION)


MATRIX = tuple(
    tuple(90 if predicted == true else int(predicted == (true + 1) % 10) for predicted in range(10))
    for true in range(10)
)
CONFUSION = confusion([TestScore(test_error=1 / 91, test_loss=None, confusion=MATRIX)])
SPACE = [
    Hyperparameter("learning_rate", "log", 1e-4, 1e-1, (), [1e-4, 3e-3, 4e-3, 1e-1] * 9),
    Hyperparameter("batch_size", "log", 16, 128, (), list(range(16, 129)), whole=True),
    Hyperparameter("num_filters", "linear", 8, 64, (), list(range(8, 65)), whole=True),
    Hyperparameter("filter_size", "choice", None, None, (3, 5), [3, 5, 5, 5]),
]

IMAGES = np.tile(np.arange(28, dtype=np.uint8) * 9, (60, 28, 1))
# Images of which each is wrong in several repeats, the worst first.
WRONG = [
    (
        Mistake(
            image=image, true=image % 10, predicted=(image + 1) % 10, confidence=1 - image / 50
        ),
        1 + (image < 20),
    )
    for image in range(40)
]


def ranked(
    n_trials: int, outcomes: Mapping[int, str] | None = None, budgets: Sequence[int] = (6,)
) -> list[RankedTrial]:
    """The trials of a search of :data:`SPACE` by rank; of every fifth the batch size is inactive.

    Args:
        n_trials: how many.
        outcomes: `failed` before its first epoch, `diverged` or `unfinished` after two, by number.
        budgets: of the first trial, the second, and so on, over and over.
    """
    made = []
    for number in range(1, n_trials + 1):
        budget = budgets[(number - 1) % len(budgets)]
        outcome: Any = (outcomes or {}).get(number, "complete")
        place = number * 0.6180339887498949 % 1
        values = {
            "learning_rate": 1e-4 * 1000**place,
            "batch_size": 16 + number * 37 % 113,
            "num_filters": 8 + number * 11 % 57,
            "filter_size": 3 + 2 * (number % 2),
        }
        if number % 5 == 0:
            del values["batch_size"]
        n_epochs = {"complete": budget, "failed": 0}.get(outcome, 2)
        curve = tuple((e, (0.01 + 0.4 * (1 - place)) * (1 + 1 / e)) for e in range(1, n_epochs + 1))
        error = curve[-1][1] if outcome == "complete" else None
        made.append(RankedTrial(number, outcome, budget, error, None, values, curve))
    made.sort(key=lambda one: (one.error is None, -one.budget, one.error or 0.0))
    return [
        one if one.error is None else one._replace(rank=rank) for rank, one in enumerate(made, 1)
    ]


def of_ranked(name: str, trials: Sequence[RankedTrial], *space: Hyperparameter) -> Figure:
    """The figure of this name of these trials, of :data:`SPACE` if it is of a space."""
    outcomes = [one.outcome for one in trials]
    tally = Tally(*(outcomes.count(name) for name in Tally._fields))  # type: ignore[arg-type]
    first = () if name == "ranked_curves" else (space or SPACE,)
    figure: Figure = getattr(plots, name)(*first, trials, tally, CAPTION)
    return figure


LOST = {2: "failed", 3: "diverged", 9: "unfinished", 12: "failed", 20: "diverged"}

FIGURES: dict[str, Callable[[], Figure]] = {
    "learning_curves": lambda: plots.learning_curves(SWEEP, "learning_rate", CAPTION),
    "filter_cost": lambda: plots.filter_cost(SIZES, CAPTION),
    "incumbent": lambda: best_so_far(search(0.5, None, 0.012, 0.1)),
    "confusion": lambda: plots.confusion(CONFUSION, CAPTION),
    "ranked_curves": lambda: of_ranked("ranked_curves", ranked(12, LOST)),
    "hyperparameters": lambda: of_ranked("hyperparameters", ranked(12, LOST)),
    "parallel_coordinates": lambda: of_ranked("parallel_coordinates", ranked(12, LOST)),
    "mistakes": lambda: plots.mistakes(WRONG, IMAGES, CONFUSION, CAPTION),
    "search_space": lambda: plots.search_space(SPACE, CAPTION),
    "incumbent of budgets": lambda: best_so_far(hyperband(brackets(1)), by_epochs=True),
    "brackets": lambda: promotions(hyperband(brackets(3)), brackets(3)),
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


def words_of(figure: Figure) -> list[Any]:
    """Every text that is seen in a figure which has been drawn."""
    words = list(figure.texts)
    for axes in axes_of(figure):
        words += [axes.title, axes._left_title, axes.xaxis.label, axes.yaxis.label, *axes.texts]
        for axis in (axes.xaxis, axes.yaxis):
            # matplotlib keeps labels for ticks that are out of view.
            low, high = sorted(axis.get_view_interval())
            inside = [tick for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
            words += [tick.label1 for tick in inside if tick.label1.get_visible()]
    legends = [*figure.legends, *(axes.get_legend() for axes in axes_of(figure))]
    words += [text for legend in legends if legend for text in legend.get_texts()]
    return [word for word in words if word.get_text()]


def assert_nothing_overlaps(figure: Figure) -> None:
    """All words have a place of their own, inside the figure."""
    figure.draw_without_rendering()
    boxes = [(word.get_text(), word.get_window_extent()) for word in words_of(figure)]
    for (text, box), (other_text, other) in combinations(boxes, 2):
        assert not box.overlaps(other), (text, other_text)
    for text, box in boxes:
        assert 0 <= box.x0 < box.x1 <= figure.bbox.width, text
        assert 0 <= box.y0 < box.y1 <= figure.bbox.height, text
