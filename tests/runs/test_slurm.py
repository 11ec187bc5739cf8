"""How a job under SLURM ends. `squeue` is a stand-in here; scripts/slurm_smoke.sh has the real one."""

import os
import subprocess
import sys

import pytest

from zsiqa.runs.slurm import job_id, limit_warnings

JOB = """
import os, signal, sys, time
from zsiqa.runs.slurm import requeue_when_preempted
signal.signal(signal.SIGUSR2, lambda *_: sys.exit(7))  # where submitit queues the job again, and ends it
requeue_when_preempted()
os.kill(os.getpid(), signal.SIGTERM)
sys.exit(0)  # it works on
"""
ENDED, REQUEUED, WORKS_ON, KILLED = 143, 7, 0, -15


@pytest.mark.parametrize(("environment", "squeue", "status"), [
    ({"SLURM_JOB_ID": "12"}, "echo RUNNING", REQUEUED),
    ({"SLURM_JOB_ID": "12"}, "echo COMPLETING", ENDED),  # after scancel
    ({"SLURM_JOB_ID": "12"}, "echo no controller >&2; exit 1", WORKS_ON),
    ({"SLURM_JOB_ID": "13", "SLURM_ARRAY_JOB_ID": "12", "SLURM_ARRAY_TASK_ID": "3"},
     '[ "$3" = --jobs ] && [ "$4" = 12_3 ] && echo RUNNING', REQUEUED),
    ({}, "exit 1", REQUEUED),  # submitit's executor for one machine
])
def test_sigterm_ends_a_job_and_queues_it_again_unless_it_was_cancelled(
        tmp_path, environment, squeue, status):
    script = tmp_path / "squeue"
    script.write_text(f"#!/bin/sh\n{squeue}\n")
    script.chmod(0o755)
    done = subprocess.run([sys.executable, "-c", JOB], check=False, env={
        **os.environ, **environment, "SUBMITIT_EXECUTOR": "slurm",
        "PATH": f"{tmp_path}:{os.environ['PATH']}"})
    assert done.returncode == status


def test_elsewhere_sigterm_is_as_it_was():
    assert subprocess.run([sys.executable, "-c", JOB], check=False).returncode == KILLED


def test_the_name_of_a_job(monkeypatch):
    for name in ("SLURM_JOB_ID", "SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID"):
        monkeypatch.delenv(name, raising=False)
    assert job_id() == ""
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    assert job_id() == "12"


@pytest.mark.parametrize(("minutes", "timeouts", "warned"), [
    (240, 20, []), (20, 3, []), (19, 3, ["timeout_min=19"]), (5, 0, ["timeout_min=5", "max_num_timeout=0"])])
def test_limits_that_make_a_job_give_up_early_are_warned_of(minutes, timeouts, warned):
    """Trap: with short limits every preemption counts as a timeout, and by default none is granted."""
    found = limit_warnings({"timeout_min": minutes, "max_num_timeout": timeouts})
    assert [text.split(":")[0].removeprefix("hydra.launcher.") for text in found] == warned
    assert limit_warnings({"timeout_min": minutes}) == [], "a launcher that queues nothing again"
