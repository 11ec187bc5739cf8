"""Precision of the arithmetic."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, TypeVar

import torch

Precision = Literal["fp32", "tf32", "bf16", "fp16", "clip_fp16_official"]
T = TypeVar("T")


@contextmanager
def arithmetic(precision: Precision, device: str) -> Iterator[None]:
    """Compute in this precision and ignore the caller's settings: PyTorch's default allows TF32."""
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision)
    cudnn = torch.backends.cudnn
    deterministic = cudnn.deterministic
    cudnn.deterministic = True  # a resumed run must compute the same scores
    try:
        with float32_products(tf32=precision == "tf32"), torch.autocast(device, dtype=dtype,
                                                                        enabled=dtype is not None):
            yield
    finally:
        cudnn.deterministic = deterministic


@contextmanager
def float32_products(*, tf32: bool) -> Iterator[None]:
    """Allow or forbid TF32 in products and convolutions of float32; forbid bf16 in them.

    PyTorch has two sets of switches for it: an older one, and from 2.9 on `fp32_precision`, also for CPUs. A
    program may have used either, and some of PyTorch's own code stops if they disagree, so both are set.
    """
    matmul: Any = torch.backends.cuda.matmul
    cudnn: Any = torch.backends.cudnn
    mkldnn: Any = torch.backends.mkldnn
    gpu = [matmul, getattr(cudnn, "conv", None), getattr(cudnn, "rnn", None)]
    cpu = [getattr(mkldnn, name, None) for name in ("matmul", "conv", "rnn")]
    new = [(one, one.fp32_precision) for one in gpu + cpu if hasattr(one, "fp32_precision")]
    named = _read(torch.get_float32_matmul_precision)
    convolutions = _read(lambda: cudnn.allow_tf32)
    matmul.allow_tf32 = cudnn.allow_tf32 = tf32
    for one, _ in new:
        one.fp32_precision = "tf32" if tf32 and one in gpu else "ieee"
    try:
        yield
    finally:
        # A switch that could not be read disagreed with the new one.
        if named is None:
            matmul.allow_tf32 = dict(new).get(matmul) != "tf32"
        else:
            torch.set_float32_matmul_precision(named)
        cudnn.allow_tf32 = dict(new).get(cudnn.conv) != "tf32" if convolutions is None else convolutions
        for one, precision in new:
            one.fp32_precision = precision


def _read(switch: Callable[[], T]) -> T | None:
    """Read an older switch; None if PyTorch refuses because it disagrees with the new one."""
    try:
        return switch()
    except RuntimeError:
        return None
