"""Jobs under SLURM, to which Hydra's launcher brings them through submitit: their name, their limits, how they end."""

from __future__ import annotations

import atexit
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

LEAST_MINUTES = 20  # submitit counts a signal as a timeout from ten minutes before the limit on, or 80 % of it
LEAST_TIMEOUTS = 3


def job_id() -> str:
    """`12_3` in a job array, `12` in a job; "" outside of SLURM."""
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    return f"{array}_{task}" if array and task else os.environ.get("SLURM_JOB_ID", "")


def job_name() -> str:
    """`SLURM job 12_3`; "" outside of SLURM."""
    return f"SLURM job {job_id()}" if job_id() else ""


def limit_warnings(launcher: Mapping[str, Any]) -> list[str]:
    """What is unwise in the limits of a launcher for SLURM; nothing of others."""
    if "max_num_timeout" not in launcher:
        return []
    minutes, timeouts = launcher["timeout_min"], launcher["max_num_timeout"]
    return [
        *([f"hydra.launcher.timeout_min={minutes}: in so short a job submitit takes a preemption for the end of its "
           f"time, and gives up after max_num_timeout={timeouts} of them; give at least {LEAST_MINUTES}"]
          if minutes < LEAST_MINUTES else []),
        *([f"hydra.launcher.max_num_timeout={timeouts}: a job that runs out of time is queued again so often only; "
           f"give at least {LEAST_TIMEOUTS}"] if timeouts < LEAST_TIMEOUTS else [])]


def fail_at_exit() -> None:
    """Let the process of a job under submitit end with status 1. Nothing happens elsewhere.

    submitit takes a job of Hydra's that failed for one that went well, and so would SLURM. Its process must end by
    itself, later, so that submitit can hand the error back to whoever waits for it.
    """
    if "SUBMITIT_EXECUTOR" in os.environ:
        atexit.register(_exit_with_failure)


def requeue_when_preempted() -> None:
    """Let SIGTERM, which submitit ignores, end a job under submitit, and queue it again. Nothing happens elsewhere.

    A preemption without a warning of its own begins with SIGTERM. So does scancel, but SLURM has such a job no longer
    for running, and it must not come back.
    """
    if "SUBMITIT_EXECUTOR" in os.environ:
        signal.signal(signal.SIGTERM, _terminated)


def _terminated(*_: object) -> None:
    state = _state()
    if state == "RUNNING":
        signal.raise_signal(signal.Signals[f"SIG{os.environ.get('SUBMITIT_PREEMPT_SIGNAL', 'USR2')}"])
    elif state:
        sys.exit(143)
    # SLURM does not answer, and would not queue the job again; until SIGKILL, it works on


def _state() -> str:
    """What SLURM says of this job; "" if it says nothing. Without SLURM, it is running."""
    if not job_id():
        return "RUNNING"
    try:
        return subprocess.run(["squeue", "--noheader", "--format=%T", "--jobs", job_id()], capture_output=True,
                              text=True, check=True, timeout=20).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def _exit_with_failure() -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)
