"""Conclusions from the records, in plain words: each with its numbers and its uncertainty.

Pure functions over records. What the records do not tell is not said: of a run without a sound
trial there are no findings but that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnist_lab.analysis.trials import n_planned, tally_of
from mnist_lab.findings import groups, searches, sweeps, tested
from mnist_lab.findings.finding import Finding
from mnist_lab.words import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnist_lab.config import StudySettings
    from mnist_lab.records import DatasetInfo, Trial
    from mnist_lab.rundir import RunInfo

__all__ = ["Finding", "findings", "page"]


def findings(
    settings: StudySettings,
    trials: Sequence[Trial],
    n_valid: int,
    data: DatasetInfo | None = None,
) -> list[Finding]:
    """What a study shows, the most useful first.

    Args:
        settings: of the study.
        trials: as far as they are; those that wait, run or failed count nowhere.
        n_valid: how many images validate.
        data: what its classes are called; None: digits.
    """
    if any(trial.test is not None for trial in trials):
        return tested.test(settings, trials, data)
    if n_valid < 1:
        return groups.left_out(trials)
    study = sweeps.sweep if settings.space is None else searches.search
    found = study(settings, trials, n_valid)
    if tally_of(trials).unfinished:
        found = [one._replace(topic=f"{one.topic} so far") for one in found]
    return found


def page(info: RunInfo, trials: Sequence[Trial]) -> str:
    """The findings of a run as a page of Markdown: what was run on which data, then a list."""
    settings, data = info.settings, info.data
    tally = tally_of(trials)
    about = (
        f"{data.n_train:,} training, {data.n_valid:,} validation and {data.n_test:,} test "
        f"images; {tally.complete} of {counted(n_planned(settings, trials), 'trial')} "
        f"complete, with seed {settings.seed}. Computed from the records; n counts trainings."
    )
    lines = [
        f"# Findings: {settings.experiment} on {data.name}",
        "",
        about,
        "",
        *(f"- **note**: {note}" for note in data.notes),
        *(
            f"- **{one.topic}**: {one.text}"
            for one in findings(settings, trials, data.n_valid, data)
        ),
    ]
    return "\n".join(lines) + "\n"
