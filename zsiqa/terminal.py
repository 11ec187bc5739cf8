"""Terminal output: plurals, progress, a broken pipe."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")
SECONDS_BETWEEN_LINES = 10.0


def plural(number: int, what: str = "image") -> str:
    """Format a count with its noun, in the plural if it is not 1.

    Examples:
        >>> plural(1), plural(2000, "job")
        ('1 image', '2,000 jobs')
    """
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def track(items: Iterable[T], *, total: int, unit: str) -> Iterator[T]:
    """Yield `items`, and show progress on stderr: the count of `total`, the rate and the time left."""
    if sys.stderr.isatty():
        yield from tqdm(items, total=total, unit=f" {unit}", smoothing=0.05, dynamic_ncols=True)
        return
    start = last = time.monotonic()
    for count, item in enumerate(items, start=1):
        yield item
        now = time.monotonic()
        if now - last >= SECONDS_BETWEEN_LINES or count == total:
            last, rate = now, count / max(now - start, 1e-9)
            left = (total - count) / rate
            print(f"{count}/{total} {unit} ({count / total:.0%}), {rate:.1f}/s, {left:.0f} s left",
                  file=sys.stderr, flush=True)


@contextmanager
def exit_on_broken_pipe() -> Iterator[None]:
    """Exit quietly, with status 1, on a broken pipe, as in `| head`."""
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except BrokenPipeError:  # Python must not try again at exit to write the rest of the buffer
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
