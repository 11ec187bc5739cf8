"""Score folders: scores of many data sets, metrics and perturbations, as evaluation reads them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path

from zsiqa.results.scores import ScoreKey, Scores
from zsiqa.types import StoreError


class ScoreFolder(ABC):
    """Base class of score folders. By default, a folder has at most one file for each key.

    Attributes:
        root: the folder.
        name: of the source, where scores of several sources are shown together.
        files: paths of the score files, by key.
        strays: files that are not used.
    """

    root: Path
    name: str
    files: dict[ScoreKey, Path]
    strays: list[Path]

    def held(self) -> list[ScoreKey]:
        """Return the keys with a score file or a misnamed copy."""
        return list(self.files)

    def copies(self, key: ScoreKey) -> list[Path]:  # noqa: ARG002 - none for any key
        """Return misnamed copies of the file of this key."""
        return []

    def source_of(self, key: ScoreKey) -> str:  # noqa: ARG002 - the same for every key
        """Return the name of the source of the scores of a key."""
        return self.name

    def stray_key(self, path: Path) -> ScoreKey:
        """Return the key that a stray may hold, by its name.

        Raises:
            StoreError: if the name gives no key.
        """
        raise StoreError(f"{path}: nothing says which images its scores belong to")

    @abstractmethod
    def load(self, key: ScoreKey, path: Path) -> Scores:
        """Load a score file.

        Raises:
            StoreError: if it is damaged.
        """

    def load_whole(self, key: ScoreKey) -> Scores | None:
        """Load the file of a key, or a copy, that has a row for every pair; None if there is none."""
        for path in [*([self.files[key]] if key in self.files else []), *self.copies(key)]:
            try:
                scores = self.load(key, path)
            except StoreError:
                continue
            if len(scores.values) == scores.expected:
                return scores
        return None

    def load_fullest(self, key: ScoreKey) -> Scores:
        """Load the scores of a key: a file or copy with a row for every pair, else the file under its name.

        Raises:
            StoreError: if there is none, or it is damaged.
        """
        scores = self.load_whole(key)
        if scores is not None:
            return scores
        try:
            return self.load(key, self.files[key])
        except (StoreError, KeyError) as error:
            raise StoreError(f"{self.files.get(key, key)} cannot be read; `zsiqa audit` says more") from error


class FilteredFolder(ScoreFolder):
    """Score folder that shows a part of another one: the keys that `keeps` accepts, by default all.

    Args:
        inner: the whole folder.
    """

    def __init__(self, inner: ScoreFolder) -> None:
        self.inner = inner
        self.root, self.name, self.strays = inner.root, inner.name, inner.strays
        self.files = {key: path for key, path in inner.files.items() if self.keeps(key)}

    def keeps(self, key: ScoreKey) -> bool:  # noqa: ARG002 - subclasses use it
        """Return whether the folder shows the scores of this key."""
        return True

    def held(self) -> list[ScoreKey]:
        """Return the keys of the part."""
        return [key for key in self.inner.held() if self.keeps(key)]

    def copies(self, key: ScoreKey) -> list[Path]:
        """Return misnamed copies; see `ScoreFolder`."""
        return self.inner.copies(key)

    def source_of(self, key: ScoreKey) -> str:
        """Return the name of the source; see `ScoreFolder`."""
        return self.inner.source_of(key)

    def stray_key(self, path: Path) -> ScoreKey:
        """Return the key that a stray may hold; see `ScoreFolder`."""
        return self.inner.stray_key(path)

    def load(self, key: ScoreKey, path: Path) -> Scores:
        """Load a score file; see `ScoreFolder`."""
        return self.inner.load(key, path)
