"""Something small that is done again and again while the main thread works."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def repeating(seconds: float, action: Callable[[], None]) -> Iterator[Callable[[], None]]:
    """Call `action` every so many seconds, in a thread of its own, for as long as the context lasts.

    Yields:
        A function that raises in the main thread what `action` raised; from then on it is not called any more.
    """
    over = threading.Event()
    raised: list[BaseException] = []

    def work() -> None:
        while not over.wait(seconds):
            try:
                action()
            except Exception as error:  # noqa: BLE001 - goes to the main thread as it is
                raised.append(error)
                return

    def check() -> None:
        if raised:
            raise raised[0]

    thread = threading.Thread(target=work, daemon=True, name="zsiqa-background")
    thread.start()
    try:
        yield check
    finally:
        over.set()
        thread.join()
