"""Sources of scores without misnamed copies: what most of them share."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from zsiqa.results.scores import ScoreKey
from zsiqa.types import StoreError


class Named(Protocol):
    """Source with a name."""

    @property
    def name(self) -> str:
        """Name of the source."""


class PlainFolder:
    """Base class of sources that have one file, at most, for each key.

    Attributes:
        files: paths of the score files, by key.
    """

    files: dict[ScoreKey, Path]

    def source_of(self: Named, key: ScoreKey) -> str:  # noqa: ARG002 - the same for every key
        """Return the name of the source of the scores of a key."""
        return self.name

    def held(self) -> list[ScoreKey]:
        """Return the keys with a score file."""
        return list(self.files)

    def twins(self, key: ScoreKey) -> list[Path]:  # noqa: ARG002 - the same for every key
        """Return misnamed copies of the file of this key: none."""
        return []

    def stray_key(self, path: Path) -> ScoreKey:
        """Refuse a file that is not used.

        Raises:
            StoreError: always.
        """
        raise StoreError(f"{path}: nothing says which images its scores belong to")
