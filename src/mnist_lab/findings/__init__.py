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

__all__ = ["Finding", "findings", "method", "page"]

_ERRORS = (
    "All intervals hold 95 %. Of one training it is Wilson's, for the images that happened to be "
    "drawn; of three or more it is Student's for their mean, for the seeds that happened to be."
)
_METHODS = {
    "sweep": f"{_ERRORS} The best is chosen for its low mean: where others are as good, its "
    "interval lies a little too low. Values are compared by Student's paired test over equal "
    "seeds. p says how often chance alone makes a difference as large; it is corrected by Holm's "
    "method for every pair of values, as the lowest is chosen from all. Overfitting is a trend by "
    "Kendall's test over the second half of the epochs.",
    "search": f"{_ERRORS} What the best is expected to have on average over seeds is an empirical "
    "Bayes estimate (Efron 2011). How much a hyperparameter matters is its share of the variance "
    "of the ranks in a regression with squares, given the others (partial F test, Holm's "
    "correction, interval of the noncentral F distribution). A rule for what failed is tested "
    "against shuffled outcomes.",
    "race": "Differences are taken on equal seeds, by Student's paired test. Their intervals are "
    "wide enough for every look and every configuration (racing.py, docs/performance/race.md).",
    "test": f"{_ERRORS} The interval of a standard deviation is the chi-square one. Classes are "
    "compared by a chi-square test with the mean counts of the repeats.",
}

_ASSUMED = (
    " With fewer than three seeds their noise is assumed, as in the reference runs: 1.12 times the "
    "sampling error of the images up to an error of 3 %, 3.2 times up to 30 %, 12 times above."
)


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
    return list((of_sweep if settings.space is None else of_search)(settings, trials, n_valid))


def method(settings: StudySettings, found: Sequence[Finding]) -> str:
    """How the intervals in these findings of a study were computed."""
    kind = "sweep" if settings.space is None else "search"
    kind = settings.experiment if settings.experiment in _METHODS else kind
    return _METHODS[kind] + _ASSUMED * any("(assumed: see below)" in one.numbers for one in found)


def page(info: RunInfo, trials: Sequence[Trial]) -> str:
    """The findings of a run as a page of Markdown: the answer, what else there is to know, how."""
    settings, data = info.settings, info.data
    found = findings(settings, trials, data.n_valid, data)
    tally = tally_of(trials)
    n_all = counted(n_planned(settings, trials), "trial")
    about = (
        f"{data.n_train:,} training, {data.n_valid:,} validation and {data.n_test:,} test "
        f"images; {tally.complete} of {n_all} complete; seed {settings.seed}."
    )
    if tally.unfinished:
        about += " More trials may change all of this."
    parts = [f"# Findings: {settings.experiment} on {data.name}"]
    if found:
        answer, *others = found
        parts += [f"**{answer.claim}** {answer.numbers}".rstrip(), about]
        parts += [f"- **{one.claim}** {one.numbers}".rstrip() for one in others]
    else:
        parts.append(about)
    parts += [f"Note: {note}." for note in data.notes]
    if found:
        parts += ["## How the intervals were computed", method(settings, found)]
    return "\n\n".join(parts).replace("\n\n- ", "\n- ").replace("\n- ", "\n\n- ", 1) + "\n"
