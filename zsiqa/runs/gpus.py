"""The GPUs of one workstation, one for each job at a time."""

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
_held: list[IO[str]] = []  # locks of this process, let go when it ends


def list_gpus() -> list[str]:
    """What CUDA may see: the parts of CUDA_VISIBLE_DEVICES, or all that the driver names. Without torch."""
    if VISIBLE in os.environ:
        return [name for name in os.environ[VISIBLE].split(",") if name]
    if shutil.which("nvidia-smi") is None:
        return []
    found = subprocess.run(["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"], capture_output=True, text=True,
                           check=False)
    return found.stdout.split() if found.returncode == 0 else []


def take_gpu(gpus: list[str], folder: Path) -> str:
    """Wait until one of the GPUs is free, and hold it until this process ends, however it ends.

    Args:
        folder: on a disk of this machine, for the locks.
    """
    import fcntl

    said = False
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
        if not said:
            print(f"waiting for one of the GPUs {', '.join(gpus)}", file=sys.stderr, flush=True)
            said = True
        time.sleep(1)


class OneGpuEach:
    """Hydra's callback: a worker takes a GPU before its first job, and sees no other. Without GPUs, nothing happens."""

    def on_job_start(self, **_: Any) -> None:
        """Called in the worker, before torch is imported."""
        if not _held and (gpus := list_gpus()):
            os.environ[VISIBLE] = take_gpu(gpus, Path(tempfile.gettempdir()))

    def __getattr__(self, event: str) -> Any:
        """Whatever else Hydra tells: nothing to do."""
        if not event.startswith("on_"):
            raise AttributeError(event)
        return lambda **_: None
