"""What the test images say: the error, its spread over seeds, where it goes wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnist_lab.analysis.confusion import confusion
from mnist_lab.analysis.intervals import (
    binomial_sd,
    deviation_interval,
    error_interval,
    interval_kind,
)
from mnist_lab.findings.common import Finding, left_out
from mnist_lab.records import DIGITS
from mnist_lab.words import between, capital, counted, describe, percent, points

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mnist_lab.analysis.confusion import Confusion
    from mnist_lab.config import StudySettings
    from mnist_lab.records import DatasetInfo, Trial


def of_test(
    settings: StudySettings, trials: Sequence[Trial], data: DatasetInfo | None
) -> Iterator[Finding]:
    """The findings of a test; there must be a score, and without `data` its classes are digits."""
    result = confusion([trial.test for trial in trials if trial.test is not None])
    if result.error is not None and result.interval is not None and result.n_images:
        n, mean, sd = result.error
        kind, of = interval_kind(n), "the images" if n == 1 else "the mean over seeds"
        text = (
            f"{capital(describe(settings.base))}, trained on {settings.fit_on}: test error "
            f"{percent(mean, sd)} (95 % {kind} interval for {of} {between(result.interval)}, "
            f"{result.n_images:,} images, n = {n})."
        )
        if n > 1:
            text += (
                " For the choice of images the 95 % Wilson interval of one network with that error "
                f"is {between(error_interval([mean], result.n_images))}."
            )
        yield Finding("test error", text)
        if sd:
            yield _seeds(n, mean, sd, result.n_images)
        noun, names = (data.noun, data.class_names) if data else ("digit", DIGITS)
        yield from _classes(result, noun, names)
    yield from left_out(trials)


def _seeds(n: int, mean: float, sd: float, n_images: int) -> Finding:
    """The spread over seeds, beside the sampling error of the images."""
    interval, sampling = deviation_interval(sd, n), binomial_sd(mean, n_images)
    low, high = map(points, interval)
    verdict = "cannot be told from"
    if interval.low > sampling:
        verdict = "is larger than"
    elif interval.high < sampling:
        verdict = "is smaller than"
    text = (
        f"From seed to seed the test error varies by {points(sd)} points (standard deviation, 95 % "
        f"chi-square interval {low} to {high}, n = {n}), which {verdict} the sampling error of "
        f"{n_images:,} images, {points(sampling)} points."
    )
    return Finding("seeds", text)


def _classes(result: Confusion, noun: str, names: Sequence[str]) -> Iterator[Finding]:
    """The classes with the lowest and the highest error, and the most frequent confusion."""
    known = [(error, at) for at, error in enumerate(result.class_errors) if error is not None]
    if len(known) < 2 or min(known)[0] == max(known)[0]:  # noqa: PLR2004 - nothing to compare
        return
    n, ends = len(result.errors), []
    for error, at in (min(known), max(known)):
        n_images = round(sum(result.matrix[at]) / n)
        interval = error_interval([error], n_images)
        ends.append(f"{percent(error)} for {names[at]} ({between(interval)}, {n_images:,} images)")
    times, true, predicted = max(
        (count, -row, -column)
        for row, counts in enumerate(result.matrix)
        for column, count in enumerate(counts)
        if row != column
    )
    text = (
        f"By {noun} the test error goes from {ends[0]} to {ends[1]}, 95 % Wilson intervals; most "
        f"often {names[-true]} is taken for {names[-predicted]}, {counted(times, 'time')} in {n} "
        f"repeat{'s' * (n > 1)}."
    )
    yield Finding("digits" if noun == "digit" else "classes", text)
