"""The benchmark of how cost grows: the stages of a sweep are found in the run's own records."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))

import growth


@pytest.mark.proof
@pytest.mark.skipif(sys.platform != "linux", reason="PSS is Linux'")
def test_stages_make_the_whole(tmp_path: Path) -> None:
    """From the command to its end, one after the other."""
    sweep = growth.Sweep(trials=2, epochs=1, workers=1)
    measured = growth.measure(sweep, Path("sample"), tmp_path / "run")
    assert tuple(measured["stages_s"]) == growth.STAGES
    assert all(spent > 0 for spent in measured["stages_s"].values())
    assert sum(measured["stages_s"].values()) == pytest.approx(measured["seconds"])
    assert 0 < measured["first_line_s"] < measured["seconds"]
    assert measured["peak_mb"]["worker own"] > 100


def test_other_record(tmp_path: Path) -> None:
    """A record of another machine or version is not continued."""
    path = tmp_path / "growth.json"
    assert growth.read(path) == {}
    growth.write(path, {growth.Sweep(): [{"seconds": 1.0}]})
    assert growth.read(path) == {growth.Sweep(): [{"seconds": 1.0}]}
    path.write_text(path.read_text(encoding="utf-8").replace('"processor": "', '"processor": "no '))
    with pytest.raises(SystemExit, match="another machine"):
        growth.read(path)
