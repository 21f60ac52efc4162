"""Conclusions from the records, in plain words: each with its numbers and its uncertainty.

Pure functions over records. What the records do not tell is not said: of a run without a sound
trial there are no findings but that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnist_lab.analysis.outcomes import n_planned, tally_of
from mnist_lab.findings.common import Finding, left_out
from mnist_lab.findings.of_races import of_race
from mnist_lab.findings.of_searches import of_search
from mnist_lab.findings.of_sweeps import of_sweep
from mnist_lab.findings.of_tests import of_test
from mnist_lab.words import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnist_lab.config import StudySettings
    from mnist_lab.records import DatasetInfo, Trial
    from mnist_lab.rundir import RunInfo

__all__ = ["Finding", "findings", "page"]


def findings(
    settings: StudySettings, trials: Sequence[Trial], n_valid: int, data: DatasetInfo | None = None
) -> list[Finding]:
    """What a study shows, the most useful first.

    Args:
        settings: of the study.
        trials: as far as they are; those that wait, run or failed count nowhere.
        n_valid: how many images validate.
        data: what its classes are called; None: digits.
    """
    if any(trial.test is not None for trial in trials):
        return list(of_test(settings, trials, data))
    if n_valid < 1:
        return list(left_out(trials))
    if settings.configurations:
        return list(of_race(settings, trials, n_valid))
    so_far = " so far" * bool(tally_of(trials).unfinished)
    found = (of_sweep if settings.space is None else of_search)(settings, trials, n_valid)
    return [one._replace(topic=one.topic + so_far) for one in found]


def page(info: RunInfo, trials: Sequence[Trial]) -> str:
    """The findings of a run as a page of Markdown: what was run on which data, then a list."""
    settings, data = info.settings, info.data
    found = findings(settings, trials, data.n_valid, data)
    items = [("note", note) for note in data.notes] + [(one.topic, one.text) for one in found]
    about = (
        f"# Findings: {settings.experiment} on {data.name}\n\n"
        f"{data.n_train:,} training, {data.n_valid:,} validation and {data.n_test:,} test "
        f"images; {tally_of(trials).complete} of {counted(n_planned(settings, trials), 'trial')} "
        f"complete, with seed {settings.seed}. Computed from the records; n counts trainings.\n\n"
    )
    return about + "".join(f"- **{topic}**: {text}\n" for topic, text in items)
