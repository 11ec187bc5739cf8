"""Folders of score files: our own store, or the authors' results."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd

from zsiqa.releases import published
from zsiqa.results.liao import LiaoFolder
from zsiqa.results.official import OfficialFolder
from zsiqa.results.pair_list import read_pairs
from zsiqa.results.plain_folder import PlainFolder
from zsiqa.results.score_file import ScoreFile, part_files, read_about, without_sidecar
from zsiqa.results.scores import Pairs, ScoreKey, Scores, split_scale
from zsiqa.results.settings import facts_of_run
from zsiqa.results.table import is_checked, read_finished
from zsiqa.terminal import by_folder, plural
from zsiqa.types import StoreError


class ScoreFolder(Protocol):
    """Folder of score files, as evaluation reads it.

    Attributes:
        root: the folder.
        files: paths of the score files, by the key in their names.
        strays: files that are not used.
    """

    root: Path
    files: dict[ScoreKey, Path]
    strays: list[Path]

    def held(self) -> list[ScoreKey]:
        """Return the keys with a score file or a misnamed copy."""

    def twins(self, key: ScoreKey) -> list[Path]:
        """Return misnamed copies of the file of this key."""

    def stray_key(self, path: Path) -> ScoreKey:
        """Return the key that a stray may hold, by its name.

        Raises:
            StoreError: if the name gives no key.
        """

    def source_of(self, key: ScoreKey) -> str:
        """Return the name of the source of the scores of a key."""

    def load(self, key: ScoreKey, path: Path) -> Scores:
        """Load a score file.

        Raises:
            StoreError: if it is damaged.
        """


class Source(ScoreFolder, Protocol):
    """Folder of score files with a name, which tells its scores from those of other sources."""

    @property
    def name(self) -> str:
        """Name of the source."""


@dataclass
class StoredFolder(PlainFolder):
    """Our own store: `<root>/<dataset>/<metric>/<perturbation>` as .csv with .json, or in parts.

    Parts that no run has joined yet are joined in memory when they are read.
    """

    root: Path
    files: dict[ScoreKey, Path] = field(init=False)
    strays: list[Path] = field(init=False)

    @property
    def name(self) -> str:
        """Name of the folder."""
        return self.root.absolute().name

    def __post_init__(self) -> None:
        names = {path.with_suffix(".csv") for path in self.root.glob("*/*/*.json")}
        names |= {path.with_name(f"{path.stem.rpartition('.')[0]}.csv")
                  for path in self.root.glob("*/*/*.part")}
        self.files = {ScoreKey(path.parts[-3], path.parts[-2], path.stem): path for path in sorted(names)
                      if path.with_suffix(".json").exists() or part_files(path)}
        found = (path for names in ("*.csv", "*/*.csv", "*/*/*.csv") for path in self.root.glob(names))
        self.strays = [path for path in sorted(found)
                       if path not in self.files.values() and not path.name.endswith(".partial.csv")]

    def stray_key(self, path: Path) -> ScoreKey:
        """Refuse: a stray of a store has no sidecar, which would say how its scores were made.

        Raises:
            StoreError: always.
        """
        raise without_sidecar(path)

    def load(self, key: ScoreKey, path: Path) -> Scores:
        """Load a score file, finished or in parts.

        Raises:
            StoreError: if it, its sidecar or a part is damaged, or parts disagree.
        """
        about = read_about(path)
        if path.with_suffix(".json").exists():
            table, checked = read_finished(path, about), is_checked(about)
            columns, values = _columns(table), table["score"].to_numpy()
        else:  # the parts, each line with a checksum, are joined in memory
            checked = True
            listed = read_pairs(path.parent.parent / about["pairs_file"])
            known = ScoreFile(path, about["identity"]).read()
            columns = _columns(pd.DataFrame({name: [getattr(pair, name) for pair in listed]
                                             for name in ("pair_id", "ref", "type", "mos")}))
            values = np.array([known.get(pair.pair_id, np.nan) for pair in listed])
        facts = published().get(key.dataset, {})  # a subset of a published data set is not complete
        pairs = Pairs(*columns, higher_is_better=about["dataset"]["higher_is_better"])
        return Scores(key, path, pairs, values,
                      higher_is_better=about.get("score", {}).get("higher_is_better", False),
                      expected=facts.get("pairs", about["dataset"]["pairs"]),
                      identity=about["identity"], notes=tuple(about["notes"]), checked=checked,
                      source=self.name, facts=facts_of_run(key.metric, about))


def _columns(table: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    ids, refs, types, labels = (table[name].to_numpy() for name in ("pair_id", "ref", "type", "mos"))
    return ids, refs, types, labels


def open_folder(root: Path) -> Source:
    """Open a folder of score files, by its content: ours, the authors', or that of Liao et al.

    Raises:
        StoreError: if there is no such folder, or the scores are in its subfolder `results` or `scores`.
    """
    if not root.is_dir():
        raise StoreError(f"no folder {root.absolute()}; score something first, for instance `zsiqa run "
                         f"dataset=demo dataset.limit=30`, or name their folder with --scores DIR")
    if any(any(root.glob(f"*/*/*.{suffix}")) for suffix in ("json", "csv", "part")):
        return StoredFolder(root)
    if any(root.glob("*.csv")):
        return OfficialFolder(root)
    if any(root.glob("*/ref_name.txt")):
        return LiaoFolder(root)
    for below in ("results", "scores", "results/Quality assessment"):  # clones; our results_dir
        if any(any((root / below).glob(names))
               for names in ("*.csv", "*/*/*.csv", "*/*/*.part", "*/ref_name.txt")):
            raise StoreError(f"{root} holds no scores itself; did you mean {root / below}?")
    return StoredFolder(root)


def name_ignored(folder: ScoreFolder) -> str:
    """Name the files that are not used; "" if there are none."""
    names = [(path.relative_to(folder.root) if path.is_relative_to(folder.root) else path).as_posix()
             for path in folder.strays]
    return (f"{plural(len(names), 'file')} ignored, of unknown metric or images (`zsiqa audit` says why): "
            f"{by_folder(names)}") if names else ""


def stored_scales(folder: ScoreFolder) -> list[str]:
    """List the scales other than the native one of which a folder has scores."""
    return sorted({split_scale(key.metric)[1] for key in folder.files} - {""})


def load_whole(folder: ScoreFolder, key: ScoreKey) -> Scores | None:
    """Load the file of a key, or a copy, that has a row for every pair; None if there is none."""
    for path in [*([folder.files[key]] if key in folder.files else []), *folder.twins(key)]:
        try:
            scores = folder.load(key, path)
        except StoreError:
            continue
        if len(scores.values) == scores.expected:
            return scores
    return None


def load_fullest(folder: ScoreFolder, key: ScoreKey) -> Scores:
    """Load the scores of a key: a file or copy with a row for every pair, else the file under its name.

    Raises:
        StoreError: if there is none, or it is damaged.
    """
    scores = load_whole(folder, key)
    if scores is not None:
        return scores
    try:
        return folder.load(key, folder.files[key])
    except (StoreError, KeyError) as error:
        raise StoreError(f"{folder.files.get(key, key)} cannot be read; `zsiqa audit` says more") from error
