"""A part of a score folder."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from zsiqa.results.folder import ScoreFolder
from zsiqa.results.scores import ScoreKey, Scores


@dataclass
class FilteredFolder:
    """Score folder that shows a part of another one: the keys that `keeps` accepts, here all.

    Attributes:
        inner: the whole folder.
    """

    inner: ScoreFolder
    root: Path = field(init=False)
    files: dict[ScoreKey, Path] = field(init=False)
    strays: list[Path] = field(init=False)

    def __post_init__(self) -> None:
        self.root, self.strays = self.inner.root, self.inner.strays
        self.files = {key: path for key, path in self.inner.files.items() if self.keeps(key)}

    def keeps(self, key: ScoreKey) -> bool:  # noqa: ARG002 (subclasses use it)
        """Return whether the folder shows the scores of this key."""
        return True

    def held(self) -> list[ScoreKey]:
        """Return the keys with a score file or a misnamed copy."""
        return [key for key in self.inner.held() if self.keeps(key)]

    def twins(self, key: ScoreKey) -> list[Path]:
        """Return misnamed copies of the file of this key."""
        return self.inner.twins(key)

    def source_of(self, key: ScoreKey) -> str:
        """Return the name of the source of the scores of this key."""
        return self.inner.source_of(key)

    def stray_key(self, path: Path) -> ScoreKey:
        """Return the key that a stray may hold, by its name.

        Raises:
            StoreError: if the name gives no key.
        """
        return self.inner.stray_key(path)

    def load(self, key: ScoreKey, path: Path) -> Scores:
        """Load a score file.

        Raises:
            StoreError: if it is damaged.
        """
        return self.inner.load(key, path)
