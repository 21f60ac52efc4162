"""The findings of sweeps and tests as instruments: what benchmarks/false_alarms.py measures."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))

import false_alarms

N_RUNS = 60


@pytest.mark.parametrize("one", false_alarms.INSTRUMENTS, ids=lambda one: one.name)
def test_instrument(one: false_alarms.Instrument) -> None:
    """Where nothing is there it speaks up no more often than it claims; else mostly."""
    bound = one.most + 3 * math.sqrt(one.most * (1 - one.most) / N_RUNS)
    assert false_alarms.rate(one, 0.0, N_RUNS) <= bound
    assert false_alarms.rate(one, one.effect, 20) >= 0.4


def test_coverage() -> None:
    """The intervals hold the truth as often as they say, but for the lowest of several."""
    shares = list(false_alarms.coverage(400).values())
    assert all(abs(share - 0.95) < 3 * math.sqrt(0.95 * 0.05 / 400) for share in shares[:3])
    assert shares[3] < shares[1]
