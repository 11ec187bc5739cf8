"""What a run needs to know of the machine that it is on."""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path

import zsiqa
from zsiqa import CONFIGS
from zsiqa.types import ZsiqaError

SUBMITTED_CODE = "ZSIQA_SUBMITTED_CODE"  # set by configs/hydra/launcher/slurm.yaml


def pick_device(asked: str) -> tuple[str, str]:
    """("cpu" or "cuda", its name in words).

    Raises:
        ZsiqaError: if CUDA is asked for and not there.
    """
    import torch

    if asked == "cuda" and not torch.cuda.is_available():
        raise ZsiqaError("device=cuda, but this PyTorch sees no CUDA GPU; use device=cpu or device=auto")
    if asked != "cpu" and torch.cuda.is_available():
        return "cuda", torch.cuda.get_device_name()
    return "cpu", f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads"


def keep_freed_memory() -> None:
    """Let glibc reuse the memory of freed tensors instead of returning it to the system after every operation.

    Without the page faults of getting it back, the default backbone with all distances is 2.0 times as fast on two
    CPU cores (`python scripts/benchmark_memory.py`, glibc 2.36). Nothing happens where there is no glibc.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt is not None:
        m_trim_threshold, m_mmap_threshold = -1, -3  # malloc.h
        if not mallopt(m_mmap_threshold, 2**30):
            mallopt(m_mmap_threshold, 2**25)  # all that an older glibc takes
        mallopt(m_trim_threshold, 2**31 - 1)


def versions() -> dict[str, str]:
    """Versions of what the scores depend on."""
    return {"python": platform.python_version(),
            **{name: metadata.version(name) for name in ("zsiqa", "torch", "timm", "pillow", "numpy")}}


def git_commit() -> str | None:
    """Commit of the source tree, with `+changes` if it has any; None if zsiqa does not run from a git checkout."""
    root = Path(zsiqa.__file__).parent.parent
    if not (root / ".git").exists():  # an installed copy may lie inside somebody else's checkout
        return None
    command = ["git", "-C", str(root), "describe", "--always", "--abbrev=40", "--exclude=*",
               "--dirty=+changes"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def code_digest() -> str:
    """What the source and the configurations are, in twelve letters."""
    found = hashlib.sha256()
    for root, kind in ((Path(zsiqa.__file__).parent, "*.py"), (CONFIGS, "*.yaml")):
        for path in sorted(root.rglob(kind)):
            found.update(f"{path.relative_to(root)}\0".encode() + path.read_bytes())
    return found.hexdigest()[:12]


def check_code() -> None:
    """Refuse to score with other code than that from which the job was submitted.

    A job in a queue reads the source when it starts, which may be days after.

    Raises:
        ZsiqaError: if the source or the configurations have changed meanwhile.
    """
    submitted = os.environ.get(SUBMITTED_CODE)
    if submitted and submitted != (now := code_digest()):
        raise ZsiqaError(f"the code has changed since this job was submitted (then {submitted}, now {now}), and one "
                         f"sweep must not mix two; submit again, with only_missing=true, or put the old code back")
