"""A run, and several compared, as plain values for a template."""

from __future__ import annotations

from statistics import fmean
from typing import TYPE_CHECKING, Any, NamedTuple

from mnist_lab.analysis.comparing import differences
from mnist_lab.analysis.history import rank
from mnist_lab.analysis.outcomes import best_row, n_epochs_done, n_planned, summary, tally_of
from mnist_lab.catalogue import EXPERIMENTS
from mnist_lab.config import OPTIONAL, VARIED, describe_brackets
from mnist_lab.errors import printable
from mnist_lab.findings import findings, method
from mnist_lab.pages import mistakes
from mnist_lab.views import (
    Cell,
    Table,
    best,
    differing,
    error_cell,
    interval_cell,
    number_cell,
    summary_table,
    trial_table,
)
from mnist_lab.words import (
    capital,
    command,
    counted,
    describe,
    duration,
    epochs_text,
    in_words,
    listed,
    percent,
    value_text,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from mnist_lab.analysis.history import RankedTrial
    from mnist_lab.records import Trial
    from mnist_lab.rundir import RunInfo


class Shown(NamedTuple):
    """A run to show.

    `label` tells it from the others on the page. `images` are the misclassified test images, shape
    `(28, 28)`, 0 to 255, by their place among all, as far as they are at hand; `files` are links
    to the run's files, by name.
    """

    label: str
    info: RunInfo
    trials: Sequence[Trial]
    images: Mapping[int, NDArray[np.uint8]]
    files: Mapping[str, str]

    @property
    def is_test(self) -> bool:
        """Whether it scores the test images."""
        return self.info.settings.experiment == "test"

    @property
    def varied(self) -> list[str]:
        """The hyperparameters in which its trials differ, in the order of the configuration."""
        return differing([trial.configuration for trial in self.trials])

    @staticmethod
    def value(trial: Trial, name: str) -> float:
        """The value of a hyperparameter."""
        value: float = getattr(trial.configuration, name)
        return value

    @property
    def shared(self) -> dict[str, float]:
        """The hyperparameters in which no trial differs; the optional ones only if not 0."""
        if not self.trials:
            return {}
        varied = (*self.varied, "epochs")
        return {
            name: value
            for name, value in self.trials[0].configuration
            if name not in varied and (value or name not in OPTIONAL)
        }

    @property
    def training_s(self) -> float:
        """The seconds of all epochs, one after another."""
        return sum(epoch.duration_s for trial in self.trials for epoch in trial.epochs)

    @property
    def spent_s(self) -> float | None:
        """The seconds of all sessions; None while one goes on, or did not live to write them."""
        return None if self.info.state in {"running", "interrupted"} else self.info.spent_s


def run(one: Shown, key: str) -> dict[str, Any]:
    """What `run.html` shows of a run; `key` is the section's id, and what its links begin with."""
    info, settings = one.info, one.info.settings
    found = findings(settings, list(one.trials), info.data.n_valid, info.data)
    out = f"results/{one.label.replace('/', '-')}"
    same = "this command gives the same curves, however many workers there are"
    if settings.experiment == "bohb":
        same = (
            "a configuration has the same curve again; which ones BOHB proposes depends on the "
            "results that it knows by then, and so on how many workers there are and how fast"
        )
    label = "" if one.label == settings.experiment else f"{one.label}: "
    return {
        "key": key,
        "title": f"{label}{settings.experiment} on {info.data.name}",
        "question": EXPERIMENTS[settings.experiment].question,
        "asked": capital(_asked(one)),
        "state": info.state,
        "standing": _standing(one),
        "notes": info.data.notes,
        "verdict": found[0] if found else None,
        "findings": found[1:],
        "method": method(settings) if found else "",
        "tables": list(_tables(one)),
        "trials": _trials(one),
        "confusion": mistakes.matrix(one.trials, info.data),
        "mistakes": mistakes.gallery(one.trials, info.data, one.images),
        "same": same,
        "command": command(settings, out, data=None if info.data.is_mnist else info.data.source),
        "details": {
            "Data set": {
                "name": info.data.name,
                "source": printable(info.data.source),
                "images": f"{info.data.n_train:,} training, {info.data.n_valid:,} validation, "
                f"{info.data.n_test:,} test",
                "digests (MD5)": info.data.digests,
            },
            "Versions": info.versions,
            "Machine": info.machine,
        },
        "files": one.files,
    }


def comparison(runs: Sequence[Shown], links: Sequence[str]) -> dict[str, Any]:
    """What `comparison.html` shows of several runs; `links` lead to each of them."""
    return {
        "warnings": list(_warnings(runs)),
        "verdicts": list(_verdicts(runs)),
        "tables": [_side_by_side(runs), *_sweeps(runs)],
        "links": {one.label: link for one, link in zip(runs, links, strict=True)},
    }


def _standing(one: Shown) -> str:
    """How far the run is and what it took."""
    tally = tally_of(one.trials)
    outcomes = ", ".join(tally.but_complete())
    planned = counted(n_planned(one.info.settings, one.trials), "trial")
    parts = [f"{tally.complete} of {planned} complete" + f" ({outcomes})" * bool(outcomes)]
    parts.append(epochs_text(n_epochs_done(one.trials)))
    if one.spent_s is not None:
        parts.append(f"{duration(one.spent_s)} (wall clock)")
    if one.training_s:
        parts.append(f"{duration(one.training_s)} of training, all trials together")
    parts.append(f"started {one.info.started[:16].replace('T', ' ')} UTC")
    return " · ".join(parts)


def _asked(one: Shown) -> str:
    """What was asked for, in one sentence."""
    settings = one.info.settings
    each = f"{epochs_text(settings.base.epochs)} each"
    repeats = f", {settings.repeats} repeats" if settings.repeats > 1 else ""
    varied = VARIED.get(settings.experiment)
    if varied is not None:
        values = ", ".join(value_text(varied, value) for value in settings.values or ())
        return f"{in_words(varied)} {values}{repeats}, {each}; seed {settings.seed}."
    if settings.configurations:
        n = len(settings.configurations)
        return f"{n} configurations, up to {settings.repeats} repeats; seed {settings.seed}."
    if settings.brackets:
        return f"{describe_brackets(settings.brackets)}; seed {settings.seed}."
    if settings.iters is not None:
        drawn = counted(settings.iters, "configuration")
        return f"{drawn} drawn at random, {each}; seed {settings.seed}."
    trained = f", trained on {settings.fit_on}" if one.is_test else ""
    return f"{describe(settings.base)}{trained}{repeats}; seed {settings.seed}."


def _tables(one: Shown) -> Iterator[Table]:
    """The values of a sweep or the configurations of a race; a search has its trials alone."""
    if one.trials and one.info.settings.space is None and not one.is_test:
        yield summary_table(one.info, one.trials)._replace(title="Results")


def _trials(one: Shown) -> Table | None:
    """Every trial, the best first; of a test in the order of the repeats."""
    if not one.trials:
        return None
    heads = ["trial", *["repeat"] * (one.info.settings.repeats > 1)]
    heads += ["test error", "95 % interval"] if one.is_test else ["validation error"]
    heads += map(in_words, one.varied)
    heads += ["epochs", "training error", "s/epoch", "seconds", "seed", "outcome"]
    trials = list(one.trials)
    if not one.is_test:
        order = {each.number: place for place, each in enumerate(ranked(one))}
        trials.sort(key=lambda trial: order[trial.trial])
    shown = trial_table(one.info, trials, heads)
    if one.is_test or one.info.settings.values:  # what is best there is no single trial
        shown = shown._replace(best=())
    shared = ", ".join(f"{in_words(n)} {value_text(n, v)}" for n, v in one.shared.items())
    for number, row in zip(shown.trials, shown.rows, strict=True):
        if number in shown.best:
            row[-1] = Cell(f"best, {row[-1].text}")
    return shown._replace(
        heads=[*heads[:-1], "state"],
        caption=f"All with {shared}." if shared else "",
        title="Trials",
    )


def ranked(one: Shown) -> list[RankedTrial]:
    """The trials by rank, then those without an error."""
    return rank(one.trials, [{}] * len(one.trials))


def _warnings(runs: Sequence[Shown]) -> Iterator[str]:
    """Why the errors of these runs cannot be compared as they stand."""
    if len({tuple(sorted(run.info.data.digests.items())) for run in runs}) > 1:
        yield "These runs are of different data sets: their errors cannot be compared."
    if len({run.is_test for run in runs}) > 1:
        yield (
            "The error of a test is of the test images, after all decisions; those of the other "
            "runs are of the validation images, and the lowest of many is a lucky one."
        )
    found = [(run.label, it) for run in runs if (it := best(run.info, run.trials))]
    if len({it.configuration.epochs for _, it in found}) > 1:
        each = [f"{label} {epochs_text(it.configuration.epochs)}" for label, it in found]
        yield f"The best were not trained equally long: {listed(each)}."


def _verdicts(runs: Sequence[Shown]) -> Iterator[str]:
    """Which run has the lowest error, and from which it is not told apart; of tests by themselves.

    Errors on different images are not compared.
    """
    if len({tuple(sorted(run.info.data.digests.items())) for run in runs}) > 1:
        return
    for is_test in (False, True):
        own = [run for run in runs if run.is_test == is_test]
        found = [
            (fmean(errors.values()), run.label, errors) for run in own if (errors := _errors(run))
        ]
        if len(found) < 2:  # noqa: PLR2004 - nothing to compare
            continue
        means, labels, groups = zip(*sorted(found, key=lambda one: one[:2]), strict=True)
        data = own[0].info.data
        more = differences(groups, data.n_test if is_test else data.n_valid)
        near = [labels[k] for k in range(1, len(labels)) if not more[0, k].is_shown]
        shows = "The others are worse, beyond chance."
        if near:
            shows = f"Too close to call: {listed(near)} may be as good."
        kind = "test" if is_test else "validation"
        yield f"{labels[0]} has the lowest {kind} error, {percent(means[0])}. {shows}"


def _errors(run: Shown) -> dict[int, float]:
    """The errors of a run's best configuration, or of a test, by seed; may be empty."""
    if run.is_test:
        return {one.seed: one.test.test_error for one in run.trials if one.test}
    row = best_row(run.info.settings, run.trials)
    return {one.seed: e for one, e in zip(row.completed, row.errors, strict=True)} if row else {}


def _side_by_side(runs: Sequence[Shown]) -> Table:
    heads = ["run", "best error", "95 % interval", "n", "epochs of the best", "epochs in all"]
    heads += ["training", "wall clock", "experiment", "state", "trials", "configuration"]
    rows = []
    for run in runs:
        n_complete, found = tally_of(run.trials).complete, best(run.info, run.trials)
        planned = n_planned(run.info.settings, run.trials)
        row = [
            Cell(run.label),
            error_cell(found.error if found else None),
            interval_cell(found.interval() if found else None),
            number_cell(found.error.n if found else None),
            number_cell(found.configuration.epochs if found else None, "{:g}"),
            number_cell(n_epochs_done(run.trials), "{:,}"),
            Cell(duration(run.training_s), run.training_s),
            Cell() if run.spent_s is None else Cell(duration(run.spent_s), run.spent_s),
            Cell(run.info.settings.experiment),
            Cell(run.info.state),
            Cell(f"{n_complete} of {planned}", n_complete),
            Cell(describe(found.configuration)) if found else Cell(),
        ]
        rows.append(row)
    caption = "The interval is Wilson's for n = 1, for the images; else Student's, for the seeds."
    return Table(heads, rows, caption, title="Runs")


def _sweeps(runs: Sequence[Shown]) -> Iterator[Table]:
    """For each hyperparameter that several sweeps vary, a line for each value, a column a run."""
    for experiment, varied in VARIED.items():
        sweeps = [run for run in runs if run.info.settings.experiment == experiment]
        if len(sweeps) < 2:  # noqa: PLR2004 - nothing to compare
            continue
        found = [{row.value: row.error for row in summary(run.trials, varied)} for run in sweeps]
        lines = []
        for value in sorted({value for errors in found for value in errors if value is not None}):
            means = [(errors.get(value), error_cell(errors.get(value))) for errors in found]
            cells = [
                mean._replace(text=f"{mean.text} (n = {error.n})") if error else mean
                for error, mean in means
            ]
            lines.append([Cell(value_text(varied, value), value), *cells])
        heads = [in_words(varied), *(run.label for run in sweeps)]
        caption = "Validation error after the last epoch: mean ± standard deviation."
        yield Table(heads, lines, caption, title=capital(f"sweeps by {in_words(varied)}"))
