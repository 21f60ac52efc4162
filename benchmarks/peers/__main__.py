"""mnist-lab against other ways to train the same configurations: time and memory; Linux only.

    python benchmarks/peers mnist.npz                      # everything: hours, on a quiet machine
    python benchmarks/peers mnist.npz --work lr-sweep --peer joblib --runs 1      # a piece of it
    python benchmarks/peers mnist.npz --work smoke --out DIR                      # does it work?

Makes an environment for each peer (8 GB in all, once), then times whole processes, from the command
to its end, in turn (A B C, C B A, ...) so that a machine whose speed drifts is fair to all. Each
process is recorded when it ends, and the same command goes on after the last one. A whole random
search takes the script hours: search-1, search-6, ... search-46 are its parts. Writes peers.json,
and from it peers.md, peers.png and peers.svg.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import environments
import processes
import summary
from works import DEFAULT, WORKS

from mnist_lab import machine
from mnist_lab.records import now

HERE = Path(__file__).parent


class Peer(NamedTuple):
    """A script with its requirements, or ours, which runs in this environment."""

    script: str
    requirements: str | None
    words: tuple[str, ...] = ()


PEERS = {
    "hpbandster": Peer("hpbandster_fit.py", "hpbandster.txt"),
    "kerastuner": Peer("kerastuner_search.py", "kerastuner.txt"),
    "optuna": Peer("optuna_torch.py", "optuna.txt"),
    "joblib": Peer("joblib_fit.py", "joblib.txt"),
    "ours-float32": Peer("ours.py", None, ("float32",)),
    "ours-bfloat16": Peer("ours.py", None, ("bfloat16",)),
}


def measure(peer: Peer, python: str, data: str, work: str, number: int) -> dict[str, Any]:
    """Run the peer once: its costs, and what it answers.

    Raises:
        CalledProcessError: it failed; what it printed stands on standard error.
    """
    listed = WORKS[work]
    with tempfile.TemporaryDirectory() as folder:
        asked, answer = Path(folder) / "work.json", Path(folder) / "out.json"
        configurations = {"epochs": listed.epochs, "configurations": listed.configurations}
        asked.write_text(json.dumps({"name": work, "seed": number} | configurations))
        command = [python, str(HERE / peer.script), data, str(asked), str(answer), *peer.words]
        with (Path(folder) / "log").open("w+b") as log:
            try:
                cost = processes.run(command, environments.variables(), log)
            except subprocess.CalledProcessError:
                log.seek(0)
                sys.stderr.write(log.read().decode(errors="replace"))
                raise
        answers: dict[str, Any] = json.loads(answer.read_text(encoding="utf-8"))
        return cost._asdict() | answers


def measure_peak(precision: str) -> dict[str, float]:
    """GFLOP/s of one thread's matrix product: alone, and with one on every core."""
    command = [sys.executable, str(HERE / "peak.py"), precision]

    def fastest(n_processes: int) -> float:
        started = [
            subprocess.Popen(command, env=environments.variables(), stdout=subprocess.PIPE)  # noqa: S603
            for _ in range(n_processes)
        ]
        outputs = [one.communicate()[0] for one in started]
        return sum(map(float, outputs)) / n_processes

    return {"alone": fastest(1), "all_cores": fastest(len(machine.usable_cores()))}


class Record:
    """peers.json: written after each measurement, read again to go on."""

    def __init__(self, path: Path) -> None:
        self._path = path
        requirements = {
            name: environments.read_requirements(peer.requirements).split()
            for name, peer in PEERS.items()
            if peer.requirements
        }
        # A machine may get another kernel between two rounds, which each measurement names.
        hardware = machine.hardware()
        self._system = hardware.pop("system")
        hardware["bfloat16"] = machine.has_bfloat16()  # tells processors of one name apart
        self._works = {name: listed._asdict() for name, listed in WORKS.items()}
        self.content: dict[str, Any] = {
            "format_version": 2,
            "memory": f"largest sum of PSS over all processes, every {processes.INTERVAL_S} s",
            "machine": hardware,
            "versions": machine.versions(),
            "requirements": requirements,
            "works": {},
            "peaks": [],
            "runs": [],
        }
        if not path.exists():
            return
        found = json.loads(path.read_text(encoding="utf-8"))
        works = {work: self._works.get(work) for work in found["works"]}
        expected = self.content | {"works": works}
        for key in set(expected) - {"peaks", "runs"}:
            if found.get(key) != expected[key]:
                sys.exit(f"{path} has other {key}: give another --out, or remove it")
        self.content = found

    def has(self, kind: str, **wanted: Any) -> bool:
        """Whether such a measurement is there."""
        return any(wanted.items() <= one.items() for one in self.content[kind])

    def add(self, kind: str, measured: dict[str, Any]) -> None:
        """Add it, and write the file."""
        if kind == "runs":
            self.content["works"][measured["work"]] = self._works[measured["work"]]
        self.content[kind].append(measured | {"system": self._system, "date": now()[:10]})
        new = self._path.with_suffix(".new")
        new.write_text(json.dumps(self.content, indent=1) + "\n", encoding="utf-8")
        new.replace(self._path)


def main() -> int:
    """Measure what is missing, then write the table and the figure; 1 if a peer failed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", help="MNIST as .npz")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--work", nargs="+", choices=WORKS, default=DEFAULT)
    parser.add_argument("--peer", nargs="+", choices=PEERS, default=list(PEERS))
    parser.add_argument("--out", type=Path, default=Path("docs/performance"))
    parser.add_argument("--environments", type=Path, default=HERE / ".venv")
    arguments = parser.parse_args()
    data = str(Path(arguments.data).resolve())
    wanted = {name: PEERS[name].requirements for name in arguments.peer}
    pythons = {
        name: environments.python_with(own, arguments.environments) if own else sys.executable
        for name, own in wanted.items()
    }
    arguments.out.mkdir(parents=True, exist_ok=True)
    record = Record(arguments.out / "peers.json")
    n_failed = 0
    for number in range(1, arguments.runs + 1):
        for precision in [peer.words[0] for name, peer in PEERS.items() if peer.words]:
            if not record.has("peaks", run=number, precision=precision):
                peak = measure_peak(precision)
                record.add("peaks", {"run": number, "precision": precision} | peak)
        names = [name for name in PEERS if name in arguments.peer][:: 1 if number % 2 else -1]
        for work, name in [(work, name) for work in arguments.work for name in names]:
            place = {"run": number, "work": work, "peer": name}
            if record.has("runs", **place):
                continue
            try:
                measured = measure(PEERS[name], pythons[name], data, work, number)
            except subprocess.CalledProcessError as problem:
                n_failed += 1
                print(f"run {number}: {work}: {name}: failed: {problem}", flush=True)
                continue
            record.add("runs", place | measured)
            print(f"run {number}: {work}: {name}: {measured['wall_s']:.1f} s", flush=True)
    if record.content["runs"]:
        print(summary.write(record.content, arguments.out))
    return min(n_failed, 1)


if __name__ == "__main__":
    sys.exit(main())
