"""What a test shows: the error, its spread over seeds, the mistakes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnist_lab.analysis.confusion import confusion
from mnist_lab.analysis.intervals import (
    ALPHA,
    FEWEST,
    binomial_sd,
    deviation_interval,
    wilson_interval,
)
from mnist_lab.findings.common import Finding, left_out, trainings
from mnist_lab.records import DIGITS
from mnist_lab.words import between, capital, describe, percent, points

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mnist_lab.analysis.confusion import Confusion
    from mnist_lab.config import StudySettings
    from mnist_lab.records import DatasetInfo, Trial


def of_test(
    settings: StudySettings, trials: Sequence[Trial], data: DatasetInfo | None
) -> Iterator[Finding]:
    """The findings of a test with at least one score; without `data` the classes are digits."""
    result = confusion([trial.test for trial in trials if trial.test is not None])
    if result.error is not None and result.n_images:
        n, mean, sd = result.error
        how = trainings(result.errors, result.n_images) + (" for the" if n == 1 else ", on")
        how += f" {result.n_images:,} test images."
        described = f"{capital(describe(settings.base))}, trained on {settings.fit_on}."
        yield Finding("test error", f"The test error is {percent(mean)}.", f"{how} {described}")
        if sd and n >= FEWEST:
            yield _seeds(n, mean, sd, result.n_images)
        noun, names = (data.noun, data.class_names) if data else ("digit", DIGITS)
        yield from _classes(result, noun, names)
    yield from left_out(trials)


def _seeds(n: int, mean: float, sd: float, n_images: int) -> Finding:
    """How much another seed changes the error, and how much other images would.

    The two differ: all trainings are scored on the same images, which are easy or hard for all of
    them alike.
    """
    low, high = map(points, deviation_interval(sd, n))
    return Finding(
        "seeds",
        f"Another seed changes the test error by about {points(sd)} points.",
        f"That is the standard deviation over {n} seeds (95 % interval {low} to {high}). Another "
        f"{n_images:,} images would change all these errors together, by about "
        f"{points(binomial_sd(mean, n_images))} points.",
    )


def _classes(result: Confusion, noun: str, names: Sequence[str]) -> Iterator[Finding]:
    """Whether some classes are harder, which are the extremes, and what is confused most.

    A chi-square test over all classes, on the mean counts of the repeats: they share their
    images, so ten repeats do not count as ten times the images.
    """
    from scipy.stats import chi2_contingency  # type: ignore[import-untyped]

    known = [(error, at) for at, error in enumerate(result.class_errors) if error is not None]
    if len(known) < 2 or min(known)[0] == max(known)[0]:  # noqa: PLR2004 - nothing to compare
        return
    n, ends = len(result.errors), []
    sizes = {at: sum(result.matrix[at]) / n for _, at in known}
    counts = [[error * sizes[at], (1 - error) * sizes[at]] for error, at in known]
    p = float(chi2_contingency(counts).pvalue)
    for error, at in (min(known), max(known)):
        interval = wilson_interval(error, round(sizes[at]))
        ends.append(
            f"{percent(error)} for {names[at]} ({between(interval)}, {round(sizes[at]):,} images)"
        )
    often = ""
    if result.most_often is not None:
        where = "" if n == 1 else f" in {n} networks"
        times, true, predicted = result.most_often
        often = (
            f" {capital(names[true])} is most often taken for {names[predicted]}: "
            f"{times:,} times{where}."
        )
    (_, easiest), (_, hardest) = min(known), max(known)
    claim = f"{capital(names[hardest])} is the hardest {noun}, {names[easiest]} the easiest."
    if p >= ALPHA:
        claim = f"No {noun} is shown to be harder than the others."
    yield Finding(
        "digits" if noun == "digit" else "classes",
        claim,
        f"The test error ranges from {ends[0]} to {ends[1]}; p = {p:.2g} if no {noun} is harder."
        f"{often}",
    )
