"""Findings as instruments: a smaller one of what benchmarks/false_alarms.py measures."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))

import false_alarms

from mnist_lab.analysis.intervals import USUAL

# Of searches, which take longer: those that fewest made records can show.
SEARCHES = ("a hyperparameter matters", "a rule for 10", "the best is better, of 2", "the winner")


@pytest.mark.parametrize(
    "one",
    [*false_alarms.SWEEPS_AND_TESTS, *false_alarms.SEARCHES],
    ids=lambda one: one.name,
)
def test_instrument(one: false_alarms.Instrument) -> None:
    """Where nothing is there it speaks up no more often than it claims; else mostly."""
    n_runs, n_found = (30, 4) if one in false_alarms.SEARCHES else (60, 20)
    if n_runs > 30 or one.name.startswith(SEARCHES):
        bound = false_alarms.MOST + 3 * math.sqrt(0.05 * 0.95 / n_runs)
        assert false_alarms.rate(one, 0.0, n_runs) <= bound
    assert false_alarms.rate(one, one.effect, n_found) >= 0.4


def test_coverage() -> None:
    """The intervals hold the truth as often as they say, but for the lowest of several."""
    lowest = false_alarms.LOWEST
    shares = false_alarms.coverage(400)
    least = 0.95 - 3 * math.sqrt(0.95 * 0.05 / 400)
    assert all(share > least for name, share in shares.items() if name != lowest)
    assert shares[lowest] < shares["mean of 5 (Student)"] < 0.95 + 0.03


def test_assumed_seeds() -> None:
    """What is assumed of the seeds' noise is what the reference runs have."""
    factor, _, trainings, groups = false_alarms.seeds()
    assert (round(factor, 2), trainings, groups) == (USUAL.factor, 40, 6)
