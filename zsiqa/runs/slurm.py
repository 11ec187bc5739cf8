"""SLURM jobs, which Hydra's launcher submits through submitit: name, limits, end."""

from __future__ import annotations

import atexit
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

# submitit counts a signal in the last ten minutes, or after 80 % of the time limit, as a timeout.
LEAST_MINUTES = 20
LEAST_TIMEOUTS = 3


def job_id() -> str:
    """Return the id of this job: `12_3` in a job array, `12` in a single job; "" outside of SLURM."""
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    return f"{array}_{task}" if array and task else os.environ.get("SLURM_JOB_ID", "")


def job_name() -> str:
    """Return the name of this job, such as `SLURM job 12_3`; "" outside of SLURM."""
    return f"SLURM job {job_id()}" if job_id() else ""


def limit_warnings(launcher: Mapping[str, Any]) -> list[str]:
    """Return warnings about the limits of a SLURM launcher; none for other launchers."""
    if "max_num_timeout" not in launcher:
        return []
    minutes, timeouts = launcher["timeout_min"], launcher["max_num_timeout"]
    return [
        *([f"hydra.launcher.timeout_min={minutes}: in such a short job, submitit counts a preemption as a "
           f"timeout, and gives up after max_num_timeout={timeouts} of them; give at least {LEAST_MINUTES}"]
          if minutes < LEAST_MINUTES else []),
        *([f"hydra.launcher.max_num_timeout={timeouts}: a job that times out is queued again at most this "
           f"many times; give at least {LEAST_TIMEOUTS}"] if timeouts < LEAST_TIMEOUTS else [])]


def fail_at_exit() -> None:
    """Let the process of a submitit job end with status 1. Does nothing in other processes.

    Without it, submitit and SLURM would report a failed Hydra job as successful. The process must not exit
    here but end by itself later, so that submitit can pass the error to the process that waits for it.
    """
    if "SUBMITIT_EXECUTOR" in os.environ:
        atexit.register(_exit_with_failure)


def requeue_when_preempted() -> None:
    """Let SIGTERM, which submitit ignores, end a submitit job and queue it again.

    Does nothing in other processes. A preemption without a warning signal begins with SIGTERM. scancel also
    sends SIGTERM, but then SLURM no longer lists the job as running, and the job must not be queued again.
    """
    if "SUBMITIT_EXECUTOR" in os.environ:
        signal.signal(signal.SIGTERM, _terminated)


def _terminated(*_: object) -> None:
    state = _state()
    if state == "RUNNING":
        signal.raise_signal(signal.Signals[f"SIG{os.environ.get('SUBMITIT_PREEMPT_SIGNAL', 'USR2')}"])
    elif state:
        sys.exit(143)
    # Otherwise SLURM does not answer, and would not queue the job again: the job works until SIGKILL.


def _state() -> str:
    """Return the state of this job in SLURM; "" if SLURM does not answer; RUNNING outside of SLURM."""
    if not job_id():
        return "RUNNING"
    try:
        return subprocess.run(["squeue", "--noheader", "--format=%T", "--jobs", job_id()],
                              capture_output=True, text=True, check=True, timeout=20).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def _exit_with_failure() -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)
