"""Progress of long work: a bar on a terminal, now and then a plain line anywhere else."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")
SECONDS_BETWEEN_LINES = 10.0


def track(items: Iterable[T], *, total: int, unit: str) -> Iterator[T]:
    """Pass `items` on, and show on stderr how many of `total` came by, at which rate, and what is left."""
    if sys.stderr.isatty():
        yield from tqdm(items, total=total, unit=f" {unit}", smoothing=0.05, dynamic_ncols=True)
        return
    start = last = time.monotonic()
    for count, item in enumerate(items, start=1):
        yield item
        now = time.monotonic()
        if now - last >= SECONDS_BETWEEN_LINES or count == total:
            last, rate = now, count / max(now - start, 1e-9)
            print(f"{count}/{total} {unit} ({count / total:.0%}), {rate:.1f}/s, {(total - count) / rate:.0f} s left",
                  file=sys.stderr, flush=True)
