"""Folders of score files: our own store, the authors' results, or those of Liao et al."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from zsiqa.releases import published
from zsiqa.results.liao import LiaoFolder
from zsiqa.results.official import OfficialFolder
from zsiqa.results.pair_list import read_pairs
from zsiqa.results.score_file import ScoreFile, part_files, read_about, without_sidecar
from zsiqa.results.score_folder import ScoreFolder
from zsiqa.results.scores import Pairs, ScoreKey, Scores, split_scale
from zsiqa.results.settings import facts_of_run
from zsiqa.results.table import is_checked, read_finished
from zsiqa.terminal import by_folder, plural
from zsiqa.types import StoreError


@dataclass
class StoredFolder(ScoreFolder):
    """Our own store: `<root>/<dataset>/<metric>/<perturbation>` as .csv with .json, or in parts.

    Parts that no run has joined yet are joined in memory when they are read.
    """

    root: Path
    files: dict[ScoreKey, Path] = field(init=False)
    strays: list[Path] = field(init=False)
    name: str = field(init=False)

    def __post_init__(self) -> None:
        self.name = self.root.absolute().name
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


def open_folder(root: Path) -> ScoreFolder:
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
    """List the scales, other than the native one, at which a folder has scores."""
    return sorted({split_scale(key.metric)[1] for key in folder.files} - {""})
