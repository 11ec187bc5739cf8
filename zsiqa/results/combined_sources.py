"""Several sources of scores, read as one folder."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from zsiqa.results.described_csv import DescribedFile, parse_source
from zsiqa.results.folder import open_folder
from zsiqa.results.score_folder import ScoreFolder
from zsiqa.results.scores import Pairs, ScoreKey, Scores
from zsiqa.types import StoreError


@dataclass
class Sources(ScoreFolder):
    """Several folders and files of scores, as one folder.

    Where two sources hold the same scores by name, those of the first keep the name, and others are called
    `source:metric`.

    Args:
        members: at least one source.

    Attributes:
        root: the deepest folder that holds all sources.
        name: "".
        files: paths of the score files, by key.
        strays: files that are not used.
    """

    members: Sequence[ScoreFolder]
    root: Path = field(init=False)
    name: str = field(init=False, default="")
    files: dict[ScoreKey, Path] = field(init=False, default_factory=dict)
    strays: list[Path] = field(init=False, default_factory=list)
    _donors: dict[str, Pairs | None] = field(init=False, default_factory=dict, repr=False)
    _origin: dict[ScoreKey, tuple[ScoreFolder, ScoreKey, str]] = field(init=False, default_factory=dict,
                                                                  repr=False)

    def __post_init__(self) -> None:
        self.root = Path(os.path.commonpath([member.root.absolute() for member in self.members]))
        for number, member in enumerate(self.members):
            earlier = [other.name for other in self.members[:number]]
            name = member.name + f"-{earlier.count(member.name) + 1}" * (member.name in earlier)
            self.strays += [path.absolute() for path in member.strays]
            for key in member.held():
                outer = key._replace(metric=f"{name}:{key.metric}") if key in self._origin else key
                self._origin[outer] = member, key, name
                if key in member.files:
                    self.files[outer] = member.files[key].absolute()

    def held(self) -> list[ScoreKey]:
        """Return the keys of all sources."""
        return list(self._origin)

    def source_of(self, key: ScoreKey) -> str:
        """Return the name of the source; see `ScoreFolder`."""
        return self._origin[key][2]

    def copies(self, key: ScoreKey) -> list[Path]:
        """Return misnamed copies; see `ScoreFolder`."""
        if key not in self._origin:
            return []
        member, inner, _ = self._origin[key]
        return [path.absolute() for path in member.copies(inner)]

    def stray_key(self, path: Path) -> ScoreKey:
        """Return the key that a stray may hold; see `ScoreFolder`."""
        return self._owner(path).stray_key(path)

    def load(self, key: ScoreKey, path: Path) -> Scores:
        """Load a score file; see `ScoreFolder`."""
        if key not in self._origin:  # a stray
            return self._owner(path).load(key, path)
        member, inner, name = self._origin[key]
        return replace(self._with_labels(member.load(inner, path), member), key=key, source=name)

    def _with_labels(self, scores: Scores, member: ScoreFolder) -> Scores:
        """Take labels and references of a file without labels from another source that has all its pairs."""
        own = scores.pairs
        if np.isfinite(own.labels).all():
            return scores
        if scores.key.dataset not in self._donors:
            self._donors[scores.key.dataset] = self._find_donor(scores.key.dataset, member)
        donor = self._donors[scores.key.dataset]
        rows = donor.index.get_indexer(own.index) if donor else np.array([-1])
        if donor is None or (rows < 0).any():
            return scores
        return replace(scores, pairs=Pairs(own.ids, donor.refs[rows], donor.types[rows], donor.labels[rows],
                                           donor.higher_is_better))

    def _find_donor(self, dataset: str, member: ScoreFolder) -> Pairs | None:
        for other, key, _ in self._origin.values():
            if other is not member and key.dataset == dataset and key in other.files:
                try:
                    pairs = other.load(key, other.files[key]).pairs
                except StoreError:
                    continue
                if len(pairs.ids) and pairs.refs.all() and np.isfinite(pairs.labels).all():
                    return pairs
        return None

    def _owner(self, path: Path) -> ScoreFolder:
        return next(member for member in self.members if path in [one.absolute() for one in member.strays])


def open_sources(texts: Sequence[str]) -> ScoreFolder:
    """Open sources of scores: folders, and CSV files with a description.

    Args:
        texts: of the option --scores, at least one: a folder of zsiqa, of the paper's authors or of Liao et
            al., or `FILE.csv`, with `,key=value` for what no YAML file beside it says.

    Raises:
        StoreError: if there is no such file or folder, or a description is wrong.
    """
    members = [_open(text) for text in texts]
    return members[0] if len(members) == 1 else Sources(members)


def _open(text: str) -> ScoreFolder:
    path, description = parse_source(text)
    if path.is_file():
        return DescribedFile(path, description)
    if description:
        raise StoreError(f"no file {path}; a description belongs to a CSV file")
    return open_folder(path)
