"""Conclusions from the records in plain words, each with its numbers and its uncertainty.

Pure functions over records, which claim nothing that the records do not show. A run in which no
trial succeeded has only that finding.
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

__all__ = ["Finding", "findings", "method", "page"]

_ERRORS = (
    "All intervals are 95 % intervals. For one training it is Wilson's, which covers the choice of "
    "images. For three or more it is Student's for their mean, which covers the choice of seeds."
)
_METHODS = {
    "sweep": f"{_ERRORS} The best was chosen for its low mean: where others are as good, its "
    "interval lies slightly too low. Values are compared by Student's paired test over equal "
    "seeds, with fewer than three seeds by an assumed spread. p is how often chance alone makes a "
    "difference this large. Holm's method corrects it for every pair of values, because "
    "the lowest is chosen from all. Overfitting is tested as a trend over the second half of the "
    "epochs, by Kendall's test.",
    "search": f"{_ERRORS} The average error of the best over other seeds is an empirical Bayes "
    "estimate (Efron 2011). A hyperparameter's importance is its share of the variance of the "
    "ranks in a regression with squares, given the others (partial F test, Holm's correction, "
    "interval of the noncentral F distribution). Rules for failed trials are tested against "
    "shuffled outcomes.",
    "race": "Differences are taken on equal seeds, by Student's paired test. Their intervals allow "
    "for every look and every configuration (racing.py, docs/performance/race.md).",
    "test": f"{_ERRORS} A standard deviation has a chi-square interval. Classes are compared by a "
    "chi-square test on the mean counts of the repeats.",
}


def findings(
    settings: StudySettings, trials: Sequence[Trial], n_valid: int, data: DatasetInfo | None = None
) -> list[Finding]:
    """The findings of a study, the most useful first.

    Args:
        settings: of the study.
        trials: all so far; those that wait, run or failed enter no number.
        n_valid: the number of validation images.
        data: names the classes; None: digits.
    """
    if any(trial.test is not None for trial in trials):
        return list(of_test(settings, trials, data))
    if n_valid < 1:
        return list(left_out(trials))
    if settings.configurations:
        return list(of_race(settings, trials, n_valid))
    return list((of_sweep if settings.space is None else of_search)(settings, trials, n_valid))


def method(settings: StudySettings) -> str:
    """How the intervals in the findings of a study were computed."""
    kind = "sweep" if settings.space is None else "search"
    return _METHODS[settings.experiment if settings.experiment in _METHODS else kind]


def page(info: RunInfo, trials: Sequence[Trial]) -> str:
    """The findings of a run as a Markdown page: the answer, the other findings, the methods."""
    settings, data = info.settings, info.data
    found = findings(settings, trials, data.n_valid, data)
    tally = tally_of(trials)
    n_all = counted(n_planned(settings, trials), "trial")
    about = (
        f"{data.n_train:,} training, {data.n_valid:,} validation and {data.n_test:,} test "
        f"images; {tally.complete} of {n_all} complete; seed {settings.seed}."
    )
    if tally.unfinished:
        about += " More trials may change this."
    parts = [f"# Findings: {settings.experiment} on {data.name}"]
    if found:
        answer, *others = found
        parts += [f"**{answer.claim}** {answer.numbers}".rstrip(), about]
        bullets = [f"- **{one.claim}** {one.numbers}".rstrip() for one in others]
        parts += ["\n".join(bullets)] * bool(bullets)
    else:
        parts.append(about)
    parts += [f"Note: {note}." for note in data.notes]
    if found:
        parts += ["## How the intervals were computed", method(settings)]
    return "\n\n".join(parts) + "\n"
