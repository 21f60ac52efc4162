"""Slurm and SSH as the tests have them are real: jobs and sessions start, and are ended."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from clusters import Slurm, Sshd

pytestmark = pytest.mark.proof


def test_slurm(slurm: Slurm) -> None:
    """A job runs, is seen, and has some seconds for its last words when it is cancelled."""
    script = Path("job.sh")
    script.write_text("#!/bin/sh\ntrap 'echo bye; exit' TERM\necho hello\nsleep 60 & wait\n")
    job = slurm.submit(script, "--job-name=sleeper", "--output=words", "--mem=100M")
    assert slurm.wait(job, "RUNNING") == "RUNNING"
    assert [(each.id, each.name) for each in slurm.jobs()] == [(job, "sleeper")]
    slurm.cancel(job)
    assert slurm.wait(job) == "CANCELLED"
    assert slurm.jobs() == []


def test_sshd(sshd: Sshd) -> None:
    """Each host lets this test's home in unasked; what runs there is found and killed."""
    for host in sshd.hosts:
        command = ["ssh", "-F", "home/.ssh/config", host, "echo $SSH_CONNECTION"]
        seen = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20)
        assert seen.stdout.split()[2] == host
    Path("words").touch()
    command[-1] = f"timeout 20 tail -f {Path('words').resolve()}"
    with subprocess.Popen(command) as session:
        while session.poll() is None:
            for process in sshd.processes():
                process.kill()
    assert session.returncode not in {0, 124}
