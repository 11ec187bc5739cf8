"""Thumbnails of a page: each encoded once, at most `MOST`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

MOST = 600  # about 5 MB


@dataclass
class Thumbnails:
    """Small images as data URIs, each encoded once.

    Attributes:
        encode: makes a data URI of an image file; "" if it cannot be read.
        uris: data URIs by path.
        left_out: number of requests beyond `MOST`.
    """

    encode: Callable[[Path], str]
    uris: dict[Path, str] = field(default_factory=dict)
    left_out: int = 0

    def make(self, path: Path) -> str:
        """Make the data URI of an image; "" if it cannot be read, or if there are `MOST` already."""
        if path not in self.uris:
            if sum(map(bool, self.uris.values())) >= MOST:
                self.left_out += 1
                return ""
            self.uris[path] = self.encode(path)
        return self.uris[path]
