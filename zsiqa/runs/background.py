"""Repeated actions in a background thread, while the main thread works."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def repeating(seconds: float, action: Callable[[], None]) -> Iterator[Callable[[], None]]:
    """Call `action` every `seconds` seconds in a separate thread, until the context ends.

    Yields:
        A function for the main thread: it raises the error of `action`, if there was one. After an error,
        `action` is not called again.
    """
    stop = threading.Event()
    raised: list[BaseException] = []

    def work() -> None:
        while not stop.wait(seconds):
            try:
                action()
            except Exception as error:  # noqa: BLE001 - raised again in the main thread
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
        stop.set()
        thread.join()
