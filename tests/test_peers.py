"""The benchmark against peers: what it measures is so, and its table says what was measured."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

sys.path.append(str(Path(__file__).parents[1] / "benchmarks" / "peers"))

import processes
import summary
from works import WORKS

from mnist_lab.config import TrainConfig

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO

# Holds 300 MiB in a child, while both work for a second or more.
PARENT = """
import subprocess, sys, time
held = b"x" * (100 << 20)
child = 'import time; held = b"x" * (300 << 20)\\nwhile time.process_time() < 2: pass'
with subprocess.Popen([sys.executable, "-c", child]):
    while time.process_time() < 1: pass
"""


@pytest.fixture
def log(tmp_path: Path) -> Iterator[IO[bytes]]:
    """Where the output goes."""
    with (tmp_path / "log").open("w+b") as log:
        yield log


@pytest.mark.proof
@pytest.mark.skipif(sys.platform != "linux", reason="PSS is Linux'")
def test_descendants_count(log: IO[bytes]) -> None:
    """Memory and CPU time are those of the process and of its children, together."""
    cost = processes.run([sys.executable, "-c", PARENT], os.environ, log)
    assert 400 < cost.peak_mib < 500
    assert 3 <= cost.cpu_s < 4
    assert cost.wall_s >= 2


def test_failure_is_no_measurement(log: IO[bytes]) -> None:
    """A process that fails gives no numbers, and what it said is kept."""
    with pytest.raises(subprocess.CalledProcessError):
        processes.run([sys.executable, "-c", "raise SystemExit('no data')"], os.environ, log)
    log.seek(0)
    assert b"no data" in log.read()


def test_operations_of_an_epoch() -> None:
    """Each multiplication of an image goes with an addition; the images need no gradient."""
    first, second = 28 * 28 * 9 * 16, 14 * 14 * 9 * 16 * 16
    dense = 7 * 7 * 16 * 128 + 128 * 10
    trained = 2 * 50_000 * (2 * first + 3 * (second + dense))
    validated = 2 * 10_000 * (first + second + dense)
    assert summary.epoch_gflop(TrainConfig()) == pytest.approx((trained + validated) / 1e9)


def run(peer: str, number: int, wall_s: float, valid_error: float) -> dict[str, Any]:
    """One recorded process of the work `smoke`."""
    answer = {"valid_error": valid_error, "seconds": 9.0, "epoch_s": [2.0]}
    measured = {"wall_s": wall_s, "cpu_s": 10.0, "peak_mib": 1024.0, "seconds": wall_s - 1}
    place = {"run": number, "work": "smoke", "peer": peer, "system": f"Linux {number}"}
    return place | measured | {"configurations": [answer] * 2}


def test_table(tmp_path: Path) -> None:
    """Medians with their range, against the script that people write; shares of the peak."""
    record = {
        "memory": "PSS",
        "machine": {"cores": 2, "processor": "a processor", "memory_gib": 24.0},
        "versions": {"python": "3", "tensorflow": "2", "keras": "3"},
        "requirements": {"hpbandster": ["hpbandster==0.7.4"]},
        "works": {name: listed._asdict() for name, listed in WORKS.items()},
        "peaks": [{"run": 1, "precision": "float32", "alone": 200.0, "all_cores": 100.0}],
        "runs": [
            *(
                run("hpbandster", n, wall_s, 0.03)
                for n, wall_s in ((1, 90.0), (2, 99.0), (3, 80.0))
            ),
            run("ours-float32", 1, 30.0, 0.02),
        ],
    }
    table = summary.write(record, tmp_path)
    assert "a processor, 24.0 GiB; Linux 1, Linux 2, Linux 3. Medians" in table
    assert "| model.fit + HpBandSter | 3 | 90.0 (80.0 to 99.0) | 1.00 | 10 | 1024 |" in table
    assert "| mnist-lab float32 | 1 | 30.0 (30.0 to 30.0) | 3.00 | 10 | 1024 |" in table
    assert "| learning rate 0.1, batch 128, 8 filters 3×3 | 3.00 | 2.00 |" in table
    gflop = summary.epoch_gflop(TrainConfig(num_filters=8))
    share = f"{gflop:.0f} | 2.00 | {gflop / 400:.0%} | {gflop / 200:.0%} |"
    assert f"| batch 128, 8 filters 3×3 | float32 | {share}" in table
    assert (tmp_path / "peers.md").read_text(encoding="utf-8") == table
    assert (tmp_path / "peers.svg").stat().st_size
    assert (tmp_path / "peers.png").read_bytes().startswith(b"\x89PNG")
