"""The results of a study: figures, findings, the best configuration, the test result."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from mnist_lab import __version__, findings
from mnist_lab import data as datasets
from mnist_lab.analysis.confusion import confusion, wrong_images
from mnist_lab.analysis.history import bracket_panels, progress, rank
from mnist_lab.analysis.importance import dimensions_of, importance, in_common
from mnist_lab.analysis.outcomes import best_row, best_trial, endings, summary, tally_of
from mnist_lab.config import VARIED
from mnist_lab.errors import DataError, RunDirError
from mnist_lab.racing import race_of
from mnist_lab.records import now
from mnist_lab.rundir import RunDir, RunInfo, TestRepeat, TestResult
from mnist_lab.words import counted, describe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    import numpy as np
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from mnist_lab.config import Hyperparameter, StudySettings
    from mnist_lab.plots import Caption
    from mnist_lab.records import DatasetInfo, Mistake, Trial

# The figure that shows test images, which no record holds.
MISTAKES = "mistakes"


def write_records(run_dir: RunDir, settings: StudySettings, trials: list[Trial]) -> list[Path]:
    """Write the records for other programs from the journal's trials; return the files."""
    run_dir.write_curves(trials)
    if settings.space is None:
        return [run_dir.curves]
    run_dir.write_hpbandster(settings.space, proposed_values(settings.space, trials), trials)
    return [run_dir.curves, run_dir.hpbandster]


def write_results(
    run_dir: RunDir, info: RunInfo, trials: list[Trial], note: Callable[[str], None]
) -> list[Path]:
    """Write the findings and figures; return the files. `note` is told what is missing."""
    if all(trial.ended is None for trial in trials):
        return []
    run_dir.write_findings(findings.page(info, trials))
    written = [run_dir.findings]
    searched = info.settings.space is not None or info.settings.configurations
    if searched and (row := best_row(info.settings, trials)) is not None:
        run_dir.write_best(row.configuration)
        written.append(run_dir.best)
    if info.settings.experiment == "test":
        run_dir.write_test(test_result(trials))
        written.append(run_dir.test)
    return written + draw(run_dir, info, trials, note)


def draw(
    run_dir: RunDir, info: RunInfo, trials: list[Trial], note: Callable[[str], None] | None = None
) -> list[Path]:
    """Write the :func:`figures`, each as a PNG and an SVG; return the files."""
    from mnist_lab import plots  # matplotlib, only to draw

    return [
        run_dir.write_figure(name, suffix, content)
        for name, figure in figures(run_dir, info, trials, note).items()
        for suffix, content in plots.save(figure).items()
    ]


def draw_space(
    hyperparameters: Sequence[Hyperparameter], name: str, out: Path, examples: Mapping[str, int]
) -> list[Path]:
    """Draw a search space into the folder `out`; `name` is its name.

    `examples` are values to mark in it, by hyperparameter.
    """
    from mnist_lab import plots  # matplotlib, only to draw

    run_dir = RunDir(out)
    run_dir.create()
    drawn = f"{max(len(one.draws) for one in hyperparameters):,} draws"
    caption = plots.Caption(name, "", drawn, now()[:10], __version__)
    content = plots.save(plots.search_space(hyperparameters, caption, examples))
    return [
        run_dir.write_figure("search_space", suffix, image) for suffix, image in content.items()
    ]


def test_result(trials: list[Trial]) -> TestResult:
    """The content of `test.json` for these trials, at least one, all of one configuration."""
    scored = [(trial, trial.test) for trial in trials if trial.test is not None]
    together = confusion([score for _, score in scored])
    return TestResult(
        configuration=trials[0].configuration,
        n_images=together.n_images,
        test_error=together.error.mean if together.error else None,
        test_error_sd=together.error.sd if together.error else None,
        interval_95=together.interval,
        repeats=tuple(
            TestRepeat(
                trial=trial.trial,
                seed=trial.seed,
                test_error=score.test_error,
                interval_95=confusion([score]).interval,
                test_loss=score.test_loss,
                mistakes=score.mistakes,
            )
            for trial, score in scored
        ),
        class_errors=together.class_errors,
        confusion=together.matrix,
    )


def proposed_values(space: dict[str, Any], trials: Iterable[Trial]) -> list[dict[str, Any]]:
    """Each trial's active hyperparameters in the search space, given as its JSON.

    Raises:
        RunDirError: a trial is not from this space.
    """
    from mnist_lab import space as spaces  # ConfigSpace takes a second to import

    chosen = spaces.from_dict(space)
    try:
        return [spaces.active(chosen, dict(trial.configuration)) for trial in trials]
    except ValueError as problem:
        raise RunDirError(
            f"a trial is not from the search space in run.json: {problem}",
            next_step="restore the files, or train anew with --fresh, which sets the run aside",
        ) from None


def figures(
    run_dir: RunDir, info: RunInfo, trials: list[Trial], note: Callable[[str], None] | None = None
) -> dict[str, Figure]:
    """The figures of a run by name, drawn from its records; `note` is told which are missing.

    The misclassified images come from the run's data set, if it is on this machine.
    """
    from mnist_lab import plots  # matplotlib, only to draw

    settings, caption = info.settings, _caption(info, trials)
    drawn: dict[str, Figure] = {}
    if settings.space is not None:
        from mnist_lab import space as spaces  # ConfigSpace takes a second to import

        tally, by_epochs = tally_of(trials), bool(settings.brackets)
        points, best = progress(trials, by_epochs=by_epochs), best_trial(trials)
        drawn["incumbent"] = plots.incumbent(points, best, tally, caption, by_epochs=by_epochs)
        if settings.brackets:
            panels = bracket_panels(trials, settings.brackets)
            drawn["brackets"] = plots.brackets(panels, tally, caption)
        # A run directory may come from a stranger.
        space = spaces.explaining.sampled(spaces.check_space(settings.space, run_dir.run))
        ranking = rank(trials, proposed_values(settings.space, trials))
        drawn["learning_curves"] = plots.ranked_curves(ranking, tally, caption)
        dimensions = list(dimensions_of(settings.space))
        shared = in_common(dimensions, importance(dimensions, trials), trials)
        drawn["hyperparameters"] = plots.hyperparameters(space, ranking, tally, caption, shared)
        drawn["parallel_coordinates"] = plots.parallel_coordinates(space, ranking, tally, caption)
        drawn["search_space"] = plots.search_space(
            space, caption._replace(n=f"{spaces.explaining.N_DRAWS:,} draws")
        )
    elif settings.configurations:
        drawn["race"] = plots.race(race_of(settings, trials), settings.configurations, caption)
    elif settings.experiment == "test":
        scores = [trial.test for trial in trials if trial.test is not None]
        numbers, wrong = confusion(scores), wrong_images(scores)
        drawn["confusion"] = plots.confusion(numbers, caption)
        images = _test_images(run_dir, info.data, wrong, note)
        if images is not None:
            drawn[MISTAKES] = plots.mistakes(wrong, images, numbers, caption)
    else:
        varied = VARIED.get(settings.experiment, "learning_rate")
        drawn["learning_curves"] = plots.learning_curves(summary(trials, varied), varied, caption)
    if settings.experiment == "filter-sweep":
        drawn["filter_cost"] = plots.filter_cost(summary(trials, "filter_size"), caption)
    return drawn


def images_of_mistakes(
    run_dir: RunDir, info: RunInfo, trials: list[Trial], note: Callable[[str], None] | None = None
) -> dict[int, NDArray[np.uint8]]:
    """The test images that a test's records call misclassified, `(28, 28)` each, by their place.

    They are looked up in the run's data set: none where it is not on this machine, which `note` is
    told.
    """
    wrong = wrong_images([trial.test for trial in trials if trial.test is not None])
    images = _test_images(run_dir, info.data, wrong, note)
    return {} if images is None else {one.image: images[one.image] for one, _ in wrong}


def _test_images(
    run_dir: RunDir,
    data: DatasetInfo,
    wrong: Sequence[tuple[Mistake, int]],
    note: Callable[[str], None] | None,
) -> NDArray[np.uint8] | None:
    """The test images of the run's data set, if one is wrong; None if the data set is not here."""
    if not wrong:
        return None
    places = [data.source, datasets.locate()]
    why = f"the run's data set is no longer at {places[0]}"
    for place in dict.fromkeys(place for place in places if place is not None):
        with suppress(DataError):
            images = datasets.load(place, expect=data.digests).test.images
            if all(one.image < len(images) for one, _ in wrong):
                return images
            why = f"the records name images beyond the {len(images):,} of {place}"
    if note is not None:
        has_it = run_dir.read_figure(MISTAKES, "svg") is not None
        what = "digits" if data.noun == "digit" else "images"
        note(
            f"{'the' if has_it else 'no'} figure of the misclassified {what}"
            f"{' stays as it is' * has_it}: {why}; set {datasets.DATA_VARIABLE} to where it is now"
        )
    return None


def _caption(info: RunInfo, trials: list[Trial]) -> Caption:
    from mnist_lab import plots  # matplotlib, only to draw

    settings = info.settings
    is_one = settings.space is None and settings.configurations is None
    n = f"n = {settings.repeats}" if is_one else counted(len(endings(trials)), "training")
    return plots.Caption(
        data_name=info.data.name,
        notice=info.data.notice,
        n=n,
        date=info.started[:10],
        version=__version__,
        noun=info.data.noun,
        classes=info.data.class_names,
        n_valid=info.data.n_valid,
        common=""
        if not is_one
        else describe(settings.base, without=VARIED.get(settings.experiment)),
    )
