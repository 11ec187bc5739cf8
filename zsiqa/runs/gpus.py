"""GPUs of one workstation: each job gets one, and no two jobs share one at the same time."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO, Any

VISIBLE = "CUDA_VISIBLE_DEVICES"
_held: list[IO[str]] = []  # locks of this process, released when it ends


def list_gpus() -> list[str]:
    """List the GPUs that CUDA may use: those of CUDA_VISIBLE_DEVICES, else all GPUs. Needs no torch."""
    if VISIBLE in os.environ:
        return [name for name in os.environ[VISIBLE].split(",") if name]
    if shutil.which("nvidia-smi") is None:
        return []
    query = subprocess.run(["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"],
                           capture_output=True, text=True, check=False)
    return query.stdout.split() if query.returncode == 0 else []


def take_gpu(gpus: list[str], folder: Path) -> str:
    """Wait until one of the GPUs is free, and hold it until this process ends (also if it is killed).

    Args:
        folder: for the lock files; must be on a disk of this machine.
    """
    import fcntl

    announced = False
    while True:
        for gpu in gpus:
            lock = (folder / f"zsiqa-gpu-{os.getuid()}-{gpu}.lock").open("a")
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.close()
                continue
            _held.append(lock)
            return gpu
        if not announced:
            print(f"waiting for one of the GPUs {', '.join(gpus)}", file=sys.stderr, flush=True)
            announced = True
        time.sleep(1)


class OneGpuEach:
    """Hydra callback: each worker takes one GPU before its first job, and sees only that one.

    On a machine without GPUs, it does nothing.
    """

    def on_job_start(self, **_: Any) -> None:
        """Take a GPU. Hydra calls this in the worker, before torch is imported."""
        if not _held and (gpus := list_gpus()):
            os.environ[VISIBLE] = take_gpu(gpus, Path(tempfile.gettempdir()))

    def __getattr__(self, event: str) -> Any:
        """Ignore all other events of Hydra."""
        if not event.startswith("on_"):
            raise AttributeError(event)
        return lambda **_: None
