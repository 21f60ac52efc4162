"""Every file of a run: the names, atomic writes, the append-only journal, the lock.

No other room composes a file name of a run; `files` states the promises for each.
"""

from mnist_lab.rundir.directory import RESULTS, RunDir, runs_below
from mnist_lab.rundir.documents import (
    Identity,
    RunInfo,
    RunState,
    TestRepeat,
    TestResult,
    check_agreement,
    differences,
)
from mnist_lab.rundir.files import write_below, write_bytes, write_json
from mnist_lab.rundir.journal import Follower, Journal
from mnist_lab.rundir.lock import Busy

__all__ = [
    "RESULTS",
    "Busy",
    "Follower",
    "Identity",
    "Journal",
    "RunDir",
    "RunInfo",
    "RunState",
    "TestRepeat",
]
__all__ += ["TestResult", "check_agreement", "differences", "runs_below", "write_below"]
__all__ += ["write_bytes", "write_json"]
