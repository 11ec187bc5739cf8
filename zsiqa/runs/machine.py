"""Facts about the machine and the code of a run: device, memory, versions, commit."""

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
    """Pick the device.

    Returns:
        "cpu" or "cuda", and a description of the device.

    Raises:
        ZsiqaError: if CUDA is requested but not available.
    """
    import torch

    if asked == "cuda" and not torch.cuda.is_available():
        raise ZsiqaError("device=cuda, but this PyTorch sees no CUDA GPU; use device=cpu or device=auto")
    if asked != "cpu" and torch.cuda.is_available():
        return "cuda", torch.cuda.get_device_name()
    return "cpu", f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads"


def keep_freed_memory() -> None:
    """Let glibc reuse the memory of freed tensors instead of returning it to the system each time.

    This saves page faults: the default backbone with all distances is 2.0 times as fast on two CPU cores
    (`python scripts/benchmark_memory.py`, glibc 2.36). Does nothing on systems without glibc.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt is not None:
        m_trim_threshold, m_mmap_threshold = -1, -3  # malloc.h
        if not mallopt(m_mmap_threshold, 2**30):
            mallopt(m_mmap_threshold, 2**25)  # the maximum of an older glibc
        mallopt(m_trim_threshold, 2**31 - 1)


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that affect scores."""
    return {"python": platform.python_version(), "zsiqa": zsiqa.__version__,  # also where it is not installed
            **{name: metadata.version(name) for name in ("torch", "timm", "pillow", "numpy")}}


def git_commit() -> str | None:
    """Return the git commit of the source tree.

    Returns:
        The commit, with `+changes` if there are uncommitted changes; None outside of a git checkout.
    """
    root = Path(zsiqa.__file__).parent.parent
    if not (root / ".git").exists():  # an installed copy may be inside another project's checkout
        return None
    command = ["git", "-C", str(root), "describe", "--always", "--abbrev=40", "--exclude=*",
               "--dirty=+changes"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def code_digest() -> str:
    """Return a digest of the source and the configurations: twelve hexadecimal digits."""
    sha = hashlib.sha256()
    for root, kind in ((Path(zsiqa.__file__).parent, "*.py"), (CONFIGS, "*.yaml")):
        for path in sorted(root.rglob(kind)):
            sha.update(f"{path.relative_to(root)}\0".encode() + path.read_bytes())
    return sha.hexdigest()[:12]


def check_code() -> None:
    """Check that the code is the same as when the job was submitted.

    A job in a queue reads the source when it starts, which may be days later.

    Raises:
        ZsiqaError: if the source or the configurations have changed since.
    """
    submitted = os.environ.get(SUBMITTED_CODE)
    if submitted and submitted != (now := code_digest()):
        raise ZsiqaError(f"the code has changed since this job was submitted (then {submitted}, now {now}), "
                         "and a sweep must not mix two versions; submit it again with only_missing=true, or "
                         "restore the old code")
