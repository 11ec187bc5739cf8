"""Score files of Liao et al. (IEEE TIP 2024): one folder per data set, one text file per metric.

A file has one score per line. Source: folder `results/Quality assessment` of their repository at commit
b2c8993; `configs/liao2024.yaml` has the names and facts.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from zsiqa import CONFIGS
from zsiqa.releases import metric_facts, published
from zsiqa.results.image_names import convert_labels, identify
from zsiqa.results.score_folder import ScoreFolder
from zsiqa.results.scores import Pairs, ScoreKey, Scores
from zsiqa.results.table import is_utf16, read_text
from zsiqa.terminal import plural
from zsiqa.types import StoreError


@functools.cache
def conventions() -> Mapping[str, Any]:
    """Load `configs/liao2024.yaml` (cached)."""
    read: dict[str, Any] = yaml.safe_load((CONFIGS / "liao2024.yaml").read_text(encoding="utf-8"))
    return read


@dataclass
class LiaoFolder(ScoreFolder):
    """The folder `results/Quality assessment` of Liao et al.

    Attributes:
        root: the folder.
        name: of the source, where scores of several sources are shown together.
        files: paths of the score files, by key.
        strays: files of scores that have no usable list of names.
    """

    root: Path
    name: str = field(init=False, default="liao2024")
    files: dict[ScoreKey, Path] = field(init=False)
    strays: list[Path] = field(init=False)
    _names: dict[str, tuple[list[str], np.ndarray]] = field(init=False, default_factory=dict, repr=False)
    _listed: dict[tuple[str, tuple[str, ...]], tuple[Pairs, np.ndarray, tuple[str, ...]]] = field(
        init=False, default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        known = conventions()
        self.files = {ScoreKey(dataset, metric, "original"): path
                      for folder, dataset in known["datasets"].items()
                      for metric, names in known["metrics"].items()
                      for path in (self.root / folder / name for name in names) if path.is_file()}
        used = {*self.files.values(), *(self.root / folder / known["names"] for folder in known["datasets"])}
        self.strays = [path for path in sorted(self.root.glob("*/*.txt")) if path not in used]

    def load(self, key: ScoreKey, path: Path) -> Scores:
        """Load the scores of a metric.

        Raises:
            StoreError: if a file cannot be read, or has another number of lines than the list of names.
        """
        known = conventions()
        lines = [line.split() for line in read_text(path).splitlines() if line.strip()]
        if wrong := next((number for number, fields in enumerate(lines, 1) if not _is_number(fields[:1])), 0):
            raise StoreError(f"{path} line {wrong}: expected a number, found {' '.join(lines[wrong - 1])}")
        own = tuple(fields[1] for fields in lines if len(fields) == 2)
        if len(own) not in (0, len(lines)) or any(len(fields) > 2 for fields in lines):
            raise StoreError(f"{path}: expected a number a line, or a number and a name in all lines")
        if key.dataset not in self._names:
            self._names[key.dataset] = _read_names(path.with_name(known["names"]))
        listed, labels = self._names[key.dataset]
        if len(lines) != len(listed):
            raise StoreError(f"{path}: {len(lines)} scores, but {plural(len(listed), 'name')} in "
                             f"{known['names']}")
        if (key.dataset, own) not in self._listed:
            self._listed[key.dataset, own] = _identify(listed, labels, own, key.dataset, path)
        pairs, rows, notes = self._listed[key.dataset, own]
        values = np.array([fields[0] for fields in lines], dtype=float)[rows]
        return Scores(key, path, pairs, values, higher_is_better=False,
                      expected=_facts(key.dataset)["pairs"], identity={}, notes=notes, source=self.name,
                      facts=metric_facts(key.metric))


def _facts(dataset: str) -> Mapping[str, Any]:
    facts: Mapping[str, Any] = published().get(dataset) or conventions()[dataset]
    return facts


def _read_names(path: Path) -> tuple[list[str], np.ndarray]:
    """Read the list of names and labels.

    Raises:
        StoreError: if a line is not a name and a label, in the same order as in the first line.
    """
    text = read_text(path, "utf-16" if is_utf16(path) else "utf-8-sig")
    lines = [line.split() for line in text.splitlines() if line.strip()]
    first = next((place for place in (0, 1) if lines and _is_number(lines[0][place:place + 1])), None)
    wrong = next((number for number, fields in enumerate(lines, 1)
                  if first is None or len(fields) != 2 or not _is_number(fields[first:first + 1])
                  or _is_number(fields[1 - first:2 - first])), None)
    if first is None or wrong:
        raise StoreError(f"{path} line {wrong or 1}: expected a name and a label, in the same order in all "
                         f"lines")
    return [fields[1 - first] for fields in lines], np.array([fields[first] for fields in lines], dtype=float)


def _identify(listed: list[str], labels: np.ndarray, own: tuple[str, ...], dataset: str,
              path: Path) -> tuple[Pairs, np.ndarray, tuple[str, ...]]:
    """Identify the pairs. Return them in the order of their lines, the line numbers from 0, and notes.

    Args:
        listed, labels: of the list of names.
        own: names in the file of scores; () if it has none.
        dataset: of the images.
        path: of the file of scores.

    Raises:
        StoreError: if a name is unknown or listed twice.
    """
    facts, notes = _facts(dataset), []
    names = list(own or listed)
    if is_utf16(path.with_name(conventions()["names"])):
        notes.append(f"{dataset} of Liao et al.: {conventions()['names']} is read as UTF-16")
    if own and list(own) != listed:
        notes.append(f"{dataset} of Liao et al.: the files of scores and {conventions()['names']} name other "
                     f"images in the same line; the files of scores are followed (configs/liao2024.yaml)")
    use = np.arange(len(names))
    if dataset in conventions()["copies"]:
        copies = labels == conventions()["copies"][dataset]
        use = use[~copies]
        notes.append(f"{dataset} of Liao et al.: {int(copies.sum())} undistorted copies of references "
                     f"are left out")
    named = identify([names[row] for row in use], dataset, facts)
    if named.unknown:
        raise StoreError(f"{path}: {named.unknown[0]!r} is no image of {facts['label']}")
    ids, counts = np.unique(named.ids, return_counts=True)
    if (counts > 1).any():
        raise StoreError(f"{path}: {ids[counts > 1][0]} is listed twice")
    if lacking := sorted(set(facts["types"]) - set(named.types)):
        notes.append(f"{dataset} of Liao et al. lacks the type {', '.join(lacking)}: {len(use)} of "
                     f"{facts['pairs']} pairs")
    pairs = Pairs(named.ids, named.refs, named.types, convert_labels(labels[use], facts),
                  facts["higher_is_better"])
    return pairs, use, tuple(notes)


def _is_number(fields: list[str]) -> bool:
    try:
        return bool(fields) and np.isfinite(float(fields[0]))
    except ValueError:
        return False
