"""The findings of searches as instruments: what benchmarks/false_alarms_searches.py measures."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))

import false_alarms_searches as searches

from mnist_lab.analysis import intervals

ALARMS = ("a hyperparameter matters", "a rule for 10 that fail", "the best is better, of 2 equal")


@pytest.mark.parametrize(
    "kind",
    [one for one in searches.ALARMS if one.name.startswith(ALARMS)],
    ids=lambda kind: kind.name,
)
def test_false_alarms(kind: searches.Kind) -> None:
    """Where nothing is there a finding does not appear more often than it claims."""
    assert kind.most is not None
    runs = 30
    bound = kind.most + 3 * math.sqrt(kind.most * (1 - kind.most) / runs)
    assert searches.rate(kind, runs) <= bound


@pytest.mark.parametrize("kind", searches.SIGHTS, ids=lambda kind: kind.name)
def test_sights(kind: searches.Kind) -> None:
    """What is there is found, mostly."""
    assert searches.rate(kind, 4) >= 0.5


def test_assumed_seeds() -> None:
    """What is assumed of the seeds' noise is what the reference runs have."""
    factor, _, trainings, groups = searches.seeds()
    assert (round(factor, 2), trainings, groups) == (intervals.ASSUMED_SEEDS.factor, 40, 6)
