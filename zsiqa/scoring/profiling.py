"""Profile of a run: seconds by step. Never imports torch."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

Measure = Callable[[str], AbstractContextManager[None]]


def unmeasured(_name: str) -> AbstractContextManager[None]:
    """Measure nothing, at no cost."""
    return nullcontext()


class Profile:
    """Sums of seconds by name; a call returns a context that adds to one of them, in any thread.

    Args:
        synchronize: called before each reading of the clock in the thread that made the profile, so that the
            GPU's work is done.
    """

    def __init__(self, synchronize: Callable[[], object] = lambda: None) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._synchronize, self._lock = synchronize, threading.Lock()
        self._thread, self._started = threading.get_ident(), time.perf_counter()

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Add the time that is spent inside to `name`."""
        start = self._now()
        try:
            yield
        finally:
            spent = self._now() - start
            with self._lock:
                self.seconds[name] += spent

    def _now(self) -> float:
        if threading.get_ident() == self._thread:
            self._synchronize()
        return time.perf_counter()

    def report(self, aside: tuple[str, ...] = ()) -> str:
        """Describe seconds and shares, the largest first.

        Args:
            aside: names of work that is done in other threads, in parallel to the rest.
        """
        total = time.perf_counter() - self._started
        most_first = sorted(self.seconds.items(), key=lambda item: -item[1])
        measured = {name: spent for name, spent in most_first if name not in aside}
        measured["everything else"] = total - sum(measured.values())
        lines = [f"{total:.1f} s in all:"]
        lines += [f"  {name:20} {spent:8.2f} s  {spent / total:4.0%}" for name, spent in measured.items()]
        lines += [f"  {name:20} {self.seconds[name]:8.2f} s  in other threads" for name in aside]
        return "\n".join(lines)
