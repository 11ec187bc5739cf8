"""Cache of decoded images: each is decoded once although several jobs of the loader need it."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any

LIMIT = 256_000_000  # bytes; the distorted images of one reference take at most 99 MB in KADID-10k
BYTES_PER_PIXEL = 4  # Pillow stores RGB in 32 bits


@dataclass(eq=False)
class _Entry:
    lock: threading.Lock = field(default_factory=threading.Lock)
    image: Any = None


class ImageCache:
    """Cache of decoded images, the latest `limit` bytes of them. Threads may use it at the same time."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit, self._held = limit, 0
        self._entries: OrderedDict[Hashable, _Entry] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable, decode: Callable[[], Any]) -> Any:
        """Return the image of this key; decode it if it is not held.

        Args:
            decode: returns an object with `size`, (W, H).
        """
        with self._lock:
            entry = self._entries.setdefault(key, _Entry())
        with entry.lock:  # another thread that needs this image waits here
            if entry.image is None:
                entry.image = decode()
                self._hold(entry)
            return entry.image

    def _hold(self, entry: _Entry) -> None:
        """Count a new image, and drop the oldest beyond the limit."""
        with self._lock:
            self._held += _size(entry)
            for key, other in list(self._entries.items()):
                if self._held <= self._limit:
                    break
                if other.image is not None:
                    self._held -= _size(other)
                    del self._entries[key]


def _size(entry: _Entry) -> int:
    width, height = entry.image.size
    return int(width * height * BYTES_PER_PIXEL)
