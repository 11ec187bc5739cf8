"""Several distances at once, compiled by PyTorch."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from zsiqa.distances.comparison import Distance, compare
from zsiqa.types import Features

MADV_POPULATE_READ = 22  # of Linux's mman.h


def compiled_compare() -> Callable[[Sequence[Distance], Features, Features], Tensor]:
    """Compile `compare` once for any number of tiles (PyTorch compiles it again for a single tile)."""
    _map_constants()
    compiled = torch.compile(compare)

    def with_dynamic_batch(features: Features) -> Features:
        # The compiler would also specialise the graph on a storage offset; a copy has none.
        stacks = tuple(stack.clone() if stack.storage_offset() else stack for stack in features)
        for stack in stacks:
            torch._dynamo.maybe_mark_dynamic(stack, 0)
        return stacks

    def compare_dynamic_batch(distances: Sequence[Distance], ref: Features, dis: Features) -> Tensor:
        return compiled(distances, with_dynamic_batch(ref), with_dynamic_batch(dis))
    return compare_dynamic_batch


def _map_constants() -> None:
    """Map the pages of PyTorch's constants into this process; does nothing on a system other than Linux.

    With AVX-512, `log1p` reads the constant for the argument -0 by a masked load. Without such an argument,
    the mask is empty: then the load does not bring in its page if that is absent, and takes hundreds of
    cycles, each time. So compiled distances took 2.5 times as long, until something else read that page.
    """
    maps = Path("/proc/self/maps")
    for line in maps.read_text().splitlines() if maps.exists() else ():
        addresses, access, *_, name = line.split()
        if access == "r--p" and name.endswith("libtorch_cpu.so"):
            start, stop = (int(address, 16) for address in addresses.split("-"))
            # Linux before 5.14 does not know this advice; it returns an error, and nothing changes.
            ctypes.CDLL(None).madvise(ctypes.c_void_p(start), ctypes.c_size_t(stop - start),
                                      MADV_POPULATE_READ)
