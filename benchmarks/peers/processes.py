"""What a whole process and all its descendants cost: seconds and memory."""

from __future__ import annotations

import resource
import subprocess
import time
from typing import TYPE_CHECKING, NamedTuple

import psutil

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import IO

# How often to look: Linux walks a process' pages to tell its PSS, 15 ms for a GB (measured).
INTERVAL_S = 1.0


class Cost(NamedTuple):
    """Seconds of the clock and of all cores, and the largest sum of memory seen at one time.

    Memory is PSS, in which a page that several processes share counts once.
    """

    wall_s: float
    cpu_s: float
    peak_mib: float


def run(command: Sequence[str], environment: Mapping[str, str], log: IO[bytes]) -> Cost:
    """Run it to its end.

    Args:
        command: the program and its words.
        environment: of the process.
        log: an open file that its output goes to.

    Raises:
        CalledProcessError: it failed.
    """
    before_s, start = _children_s(), time.perf_counter()
    cpu_s: dict[psutil.Process, float] = {}
    peak = 0
    with subprocess.Popen(  # noqa: S603 - a script of ours
        command, env=environment, stdout=log, stderr=subprocess.STDOUT
    ) as process:
        root = psutil.Process(process.pid)
        while True:
            try:
                process.wait(INTERVAL_S)
                break
            except subprocess.TimeoutExpired:
                peak = max(peak, _look(root, cpu_s))
    wall_s = time.perf_counter() - start
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    # The system counts what was waited for, to the end; we saw the others, but not their last
    # moments.
    total_s = max(_children_s() - before_s, sum(cpu_s.values()))
    return Cost(wall_s, total_s, peak / 2**20)


def _look(root: psutil.Process, cpu_s: dict[psutil.Process, float]) -> int:
    """Note the CPU time of each living process of the tree; their memory together, in bytes."""
    memory = 0
    try:
        cpu_s.update(dict.fromkeys(root.children(recursive=True), 0.0) | {root: 0.0} | cpu_s)
    except psutil.NoSuchProcess:
        return 0
    for one in cpu_s:
        try:
            times = one.cpu_times()
            memory += one.memory_full_info().pss
        except psutil.Error:
            continue  # it ended; what it had used is noted
        cpu_s[one] = times.user + times.system
    return memory


def _children_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
