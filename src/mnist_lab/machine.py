"""What this computer offers: cores, memory, GPUs, versions. Nothing here imports TensorFlow."""

from __future__ import annotations

import math
import os
import platform
import re
import resource
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

from mnist_lab import processes
from mnist_lab.errors import LabError, StudyError

# The packages whose version may change a number or a file.
PACKAGES = (
    *("mnist-lab", "tensorflow", "keras", "numpy", "hpbandster", "ConfigSpace", "distributed"),
    "matplotlib",
)
NOT_INSTALLED = "not installed"
LOOPBACK = "127.0.0.1"  # this machine's address for itself: nobody else reaches it there

# What a worker with TensorFlow takes: over 50 trials of the search space it peaked at 1,042 MB.
WORKER_GIB = 1.2
_NO_MEMORY = "MemoryError|Cannot allocate memory|failed to map segment|bad_alloc|ResourceExhausted"
_NO_THREAD = "can't start new thread|Resource temporarily unavailable"
_MEMORY = {"v": resource.RLIMIT_AS, "d": resource.RLIMIT_DATA}
# The addresses that a worker reserves: 2.3 GiB in the base configuration, 3 in the largest; and its
# data, 0.55 GiB for the sample. With less it is killed, raises what says nothing, or hangs.
_NEEDED = {
    "v": (3.0, "reserves up to 3 GiB of addresses"),
    "d": (0.55, "needs 0.55 GiB for its data"),
}
# What is scarce where an error says one of these; the limits that may be why, by option of ulimit.
_SHORTAGES: tuple[tuple[str, str, dict[str, int]], ...] = (
    ("No usable temporary directory|writable cache directory", "no folder for temporary files", {}),
    (_NO_MEMORY, "not enough memory", _MEMORY),
    ("Too many open files", "not enough open files", {"n": resource.RLIMIT_NOFILE}),
    (_NO_THREAD, "not enough processes or threads", _MEMORY | {"u": resource.RLIMIT_NPROC}),
)

_PROCESSORS = Path("/proc/cpuinfo")
_MEMBERSHIP = Path("/proc/self/cgroup")  # the control groups that hold this process
_GROUPS = Path("/sys/fs/cgroup")  # what those allow


def usable_cores() -> tuple[int, ...]:
    """The processors this process may run on, by number."""
    if hasattr(os, "sched_getaffinity"):
        return tuple(sorted(os.sched_getaffinity(0)))
    return tuple(range(os.cpu_count() or 1))


def available_memory_gib() -> float:
    """The memory that the machine and this process's control groups leave, in GiB, at least 0."""
    return min(psutil.virtual_memory().available, _memory_left()) / 2**30


def obstacles(n_workers: int) -> Iterator[StudyError]:
    """The obstacles to so many workers on this machine, if everything is installed."""
    for option, (least_gib, needs) in _NEEDED.items():
        limit_gib = resource.getrlimit(_MEMORY[option])[0] / 2**30  # below 0 without a limit
        if n_workers and 0 <= limit_gib < least_gib:
            problem = f"a worker {needs}, and the limit is {limit_gib:.1f} GiB"
            yield StudyError(problem, next_step=f"raise it: ulimit -{option} unlimited")
    n_allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    # The process that coordinates has 21 at the most, a hundred of strangers, and 6 for a worker.
    n_files = 125 + 6 * n_workers
    if 0 <= n_allowed < n_files:
        problem = f"--workers {n_workers} opens up to {n_files} files at a time, and the limit is"
        yield StudyError(f"{problem} {n_allowed}", next_step=f"raise it: ulimit -n {n_files}")
    try:
        with socket.create_server((LOOPBACK, 0)) as server:
            socket.create_connection(server.getsockname(), timeout=10).close()
    except OSError as problem:
        how = f"over the loopback interface, {LOOPBACK} ({problem.strerror or problem})"
        way = "bring it up (ip link set lo up), or allow this container or sandbox to"
        yield StudyError(f"processes cannot reach each other {how}", next_step=way)


def shortage(problem: BaseException | None) -> LabError | None:
    """The resource that the system refused, if that caused this error; else None."""
    while problem is not None:
        for pattern, what, limits in _SHORTAGES:
            if re.search(pattern, f"{type(problem).__name__}: {problem}"):
                told = []
                for option, limit in limits.items():
                    if (number := resource.getrlimit(limit)[0]) != resource.RLIM_INFINITY:
                        amount = f"{number / 2**30:.2g} GiB" if option in _MEMORY else number
                        told.append(f"{amount} (ulimit -{option})")
                line = str(problem).partition("\n")[0] or type(problem).__name__
                line += f", with a limit of {' and '.join(told)}" * bool(told)
                way = "raise the limit or end other programs; the same command continues"
                if not limits:
                    way = "set TMPDIR to a folder that can be written"
                return LabError(f"{what}: {line}", next_step=way)
        problem = problem.__cause__ or problem.__context__
    return None


def oom_kills() -> int | None:
    """How many processes the kernel killed since boot for lack of memory; None if unknown."""
    told = re.search(r"^oom_kill (\d+)$", _read(Path("/proc/vmstat")), re.MULTILINE)
    return int(told[1]) if told else None


def busy_cores() -> float:
    """How many of the usable cores other processes keep busy now; niced work does not count.

    Takes half a second. The load average would still count the run that ended a minute ago.
    """
    busy_s, own_s, start = _busy_s(), time.process_time(), time.monotonic()
    time.sleep(0.5)
    others_s = _busy_s() - busy_s - (time.process_time() - own_s)
    return max(0.0, others_s / (time.monotonic() - start))


def suggested_workers(n_threads: int = 1) -> tuple[int, str]:
    """How many workers of `n_threads` fit into the free cores and memory, at least 1.

    Takes half a second, to measure the other work.

    Returns:
        The number, and the reason why it is not one per core, empty if it is.
    """
    n_cores, memory_gib = len(usable_cores()), available_memory_gib()
    limit = min(n_cores, _core_quota())  # may be a part of a core, as a container sets it
    n_busy = min(round(busy_cores()), n_cores)  # whole cores: a little noise costs no worker
    # Not limit - busy: a quota is this group's own, and those who are busy have theirs.
    by_cores = max(1, int(min(limit, n_cores - n_busy) / n_threads))
    n_workers = min(by_cores, max(1, int(memory_gib / WORKER_GIB)))
    if n_workers >= n_cores // n_threads:
        return n_workers, ""
    if n_workers < by_cores:
        return n_workers, f"{memory_gib:.1f} GiB of memory is free, a worker takes {WORKER_GIB}"
    if limit < n_cores - n_busy:
        return n_workers, f"this process's group is limited to {limit:.3g} of {n_cores} cores"
    return n_workers, f"other work keeps {n_busy} of {n_cores} cores busy"


def let_others_go_first(pid: int, niceness: int) -> None:
    """Make a process, with a single thread and a session of its own, nicer by 0 to 19.

    If Linux groups the processes of a session (autogroup, usual on desktops), a niceness counts
    only within its group, so the group gets it too: see sched(7).

    Raises:
        psutil.NoSuchProcess: it has ended.
    """
    process = psutil.Process(pid)
    total = min(process.nice() + niceness, 19)
    process.nice(total)
    for _ in range(5):
        try:
            Path(f"/proc/{pid}/autogroup").write_text(str(total))
        except BlockingIOError:
            time.sleep(0.11)
        except OSError:
            return  # it does not group here
        else:
            return


def listed_gpus() -> int:
    """How many GPUs NVIDIA's driver lists; whether TensorFlow can use them is another question."""
    words = ["nvidia-smi", "-L"]  # the driver's own tool, found on the PATH
    try:
        answer = subprocess.check_output(words, stderr=subprocess.DEVNULL, text=True, timeout=20)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return 0
    return len(re.findall(r"^GPU ", answer, re.MULTILINE))


def usable_gpus() -> int:
    """How many GPUs TensorFlow sees, asked in a separate process to keep this one small.

    Takes seconds, unless the driver lists none.
    """
    if listed_gpus() == 0:
        return 0
    question = "import tensorflow as tf; print(len(tf.config.list_physical_devices('GPU')))"
    words, env = processes.python(question), processes.environment()
    answer = subprocess.run(words, capture_output=True, text=True, check=False, env=env)  # noqa: S603
    return int(answer.stdout) if answer.stdout.strip().isdigit() else 0


def processor() -> str:
    """The processor's name, as the system gives it."""
    told = re.search(r"^model name\s*:\s*(.+)", _read(_PROCESSORS), re.MULTILINE)
    return told[1] if told else platform.processor() or platform.machine()


def has_bfloat16() -> bool | None:
    """Whether the processor multiplies bfloat16 in hardware; None if the system does not say."""
    if told := _read(_PROCESSORS):
        return bool(re.search(r"^flags.* (avx512_bf16|amx_bf16)\b", told, re.MULTILINE))
    return None


def is_own_address(host: str) -> bool:
    """Whether `host` is an address or name of this machine."""
    try:
        addresses = {str(entry[4][0]) for entry in socket.getaddrinfo(host, None)}
    except (OSError, UnicodeError):
        return False
    own = {one.address.partition("%")[0] for all_ in psutil.net_if_addrs().values() for one in all_}
    return bool(addresses) and addresses <= own


def address_towards(host: str, port: int) -> str | None:
    """This machine's address as `host` sees it, if there is a route to it; nothing is sent."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind) as probe:
            probe.connect(address)
            own: str = probe.getsockname()[0]
            return own
    except OSError:
        return None


def free_disk_gib(path: Path) -> float:
    """Free disk space at `path`, in GiB."""
    return round(shutil.disk_usage(path).free / 2**30, 1)


def versions() -> dict[str, str]:
    """Package to version, for the record of a run; Python's own included."""
    found = {"python": platform.python_version()} | dict.fromkeys(PACKAGES, NOT_INSTALLED)
    for name in PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def describe() -> dict[str, Any]:
    """The computer, for the record of a run: its name, and :func:`hardware`."""
    return {"host": platform.node()} | hardware()


def hardware() -> dict[str, Any]:
    """The hardware, for a record that others see; sizes in GiB."""
    return {
        "system": f"{platform.system()} {platform.release()}",
        "processor": processor(),
        "cores": len(usable_cores()),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
    }


def _busy_s() -> float:
    """CPU time of the usable cores since boot, without niced work."""
    # Stolen time counts: somebody here wanted the core, though another machine got it.
    kinds = ("user", "system", "irq", "softirq", "steal")
    times, cores = psutil.cpu_times(percpu=True), usable_cores()
    if cores[-1] < len(times):  # else the system lists only this container's cores, renumbered
        times = [times[core] for core in cores]
    return sum(getattr(one, kind, 0.0) for one in times for kind in kinds)


def _core_quota() -> float:
    """The smallest CPU quota of the control groups, in cores; infinite if there is none."""
    names = ("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us")
    found = filter(None, (_two(group, *names) for group in _groups("cpu")))
    return min((quota / period for quota, period in found), default=math.inf)


def _memory_left() -> float:
    """The bytes that the control groups leave, at least 0; infinite if nothing limits them."""
    left = math.inf
    for group in _groups("memory"):
        # Cached files that nobody uses make room; version 1 totals the subgroups under total_.
        stat = dict(re.findall(r"^(\w+) (\d+)$", _read(group / "memory.stat"), re.MULTILINE))
        cached = int(stat.get("total_inactive_file") or stat.get("inactive_file", "0"))
        old = ("memory.limit_in_bytes", "memory.usage_in_bytes")
        if numbers := _two(group, ("memory.max", "memory.current"), old):
            left = min(left, max(0, numbers[0] - numbers[1] + cached))
    return left


def _groups(controller: str) -> Iterator[Path]:
    """The folders of this process's control groups, up to the root; some may be missing.

    A container often sees its own group as the root, while its membership names a path outside.
    """
    for line in _read(_MEMBERSHIP).splitlines():
        _, controllers, name = line.split(":", 2)
        top = _GROUPS / controller if controllers else _GROUPS  # version 2 is one tree for all
        if not controllers or controller in controllers.split(","):
            group = top.joinpath(*(part for part in name.split("/") if part not in {"", ".."}))
            yield from (group, *list(group.parents)[: len(group.parts) - len(top.parts)])


def _two(group: Path, *versions: Sequence[str]) -> list[int]:
    """The two numbers in a group's files of either version; none where one is `max` or -1."""
    for names in versions:
        words = " ".join(_read(group / name) for name in names).split()
        if len(numbers := [int(word) for word in words if word.isdecimal()]) == 2:  # noqa: PLR2004
            return numbers
    return []


def _read(path: Path) -> str:
    """The text of one of the system's own files; empty if there is none."""
    try:
        return path.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return ""
