"""Folders of score files: our own store, or the authors' results."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from zsiqa.releases import published
from zsiqa.results.official import OfficialFolder
from zsiqa.results.pair_list import read_pairs
from zsiqa.results.score_file import COLUMNS, REMEDY, ScoreFile, read_sidecar
from zsiqa.results.scores import Pairs, ScoreKey, Scores, read_table
from zsiqa.types import StoreError


class ScoreFolder(Protocol):
    """Folder of score files, as evaluation reads it.

    Attributes:
        root: the folder.
        files: paths of the score files, by the key in their names.
        strays: all other CSV files.
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

    def load(self, key: ScoreKey, path: Path) -> Scores:
        """Load a score file.

        Raises:
            StoreError: if it is damaged.
        """


@dataclass
class StoredFolder:
    """Our own store: `<root>/<dataset>/<metric>/<perturbation>.json` with its CSV file or parts.

    Parts that no run has joined yet are joined in memory when they are read.
    """

    root: Path
    files: dict[ScoreKey, Path] = field(init=False)
    strays: list[Path] = field(init=False)

    def __post_init__(self) -> None:
        begun = [path.with_suffix(".csv") for path in sorted(self.root.glob("*/*/*.json"))]
        self.files = {ScoreKey(path.parts[-3], path.parts[-2], path.stem): path for path in begun
                      if path.is_file() or any(path.parent.glob(f"{path.stem}.*.part"))}
        known = set(self.files.values())
        self.strays = [path for path in sorted(self.root.glob("*/*/*.csv")) if path not in known]

    def held(self) -> list[ScoreKey]:
        """Return the keys with a score file."""
        return list(self.files)

    def twins(self, key: ScoreKey) -> list[Path]:  # noqa: ARG002 - a store has one place for a key
        """Return an empty list: a store has no copies."""
        return []

    def stray_key(self, path: Path) -> ScoreKey:
        """Refuse: a stray of a store has no sidecar, which would say how its scores were made.

        Raises:
            StoreError: always.
        """
        raise StoreError(f"{path} has no {path.stem}.json beside it, which says how its scores were made; "
                         f"remove it, or put the .json back")

    def load(self, key: ScoreKey, path: Path) -> Scores:
        """Load a score file, finished or in parts.

        Raises:
            StoreError: if it, its sidecar or a part is damaged, or parts disagree.
        """
        sidecar = read_sidecar(path.with_suffix(".json"))
        try:
            about = sidecar["dataset"]
            count, higher_is_better = about["pairs"], about["higher_is_better"]
            notes = tuple(sidecar["notes"])
            similarity = bool(sidecar.get("score", {}).get("higher_is_better", False))
        except (KeyError, TypeError, AttributeError) as error:
            raise StoreError(f"{path.with_suffix('.json')} lacks what evaluation needs ({error}); remove it "
                             f"and its scores, and score again") from error
        parts = ScoreFile(path, sidecar["identity"]).parts()
        pairs, values = _join_parts(path, sidecar) if parts else _read_finished(path)
        facts = published().get(key.dataset, {})  # a subset of a published data set is not complete
        return Scores(key, path, replace(pairs, higher_is_better=higher_is_better), values,
                      higher_is_better=similarity, expected=facts.get("pairs", count),
                      identity=sidecar["identity"], notes=notes)


def _read_finished(path: Path) -> tuple[Pairs, np.ndarray]:
    """Read a CSV file with a row for every pair."""
    table = read_table(path, COLUMNS)
    if not path.read_bytes().endswith(b"\n"):
        raise StoreError(f"{path} ends in the middle of a line: something cut it off. {REMEDY}")
    ids, refs, types = (table[name].to_numpy() for name in ("pair_id", "ref", "type"))
    if len(twice := ids[table["pair_id"].duplicated()]):
        raise StoreError(f"{path}: the pair {twice[0]} is listed twice. {REMEDY}")
    labels = table["mos"].to_numpy()
    if not np.isfinite(labels).all():
        raise StoreError(f"{path}: a label is missing; remove the file and score again")
    return Pairs(ids, refs, types, labels, higher_is_better=True), table["score"].to_numpy()


def _join_parts(path: Path, sidecar: Mapping[str, Any]) -> tuple[Pairs, np.ndarray]:
    """Join the parts of a score file, and its CSV file if it exists; NaN for pairs without a score."""
    if "pairs_file" not in sidecar:
        raise StoreError(f"{path.with_suffix('.json')} does not name the list of pairs that its parts belong "
                         f"to; run the same command again")
    listed = read_pairs(path.parent.parent / sidecar["pairs_file"])
    known = ScoreFile(path, sidecar["identity"]).read()
    ids, refs, types = (np.array([getattr(pair, name) for pair in listed], dtype=object)
                        for name in ("pair_id", "ref", "type"))
    return (Pairs(ids, refs, types, np.array([pair.mos for pair in listed]), higher_is_better=True),
            np.array([known.get(pair.pair_id, np.nan) for pair in listed]))


def open_folder(root: Path) -> ScoreFolder:
    """Open a folder of score files: the authors' lie directly in it, ours in `<dataset>/<metric>/`.

    Raises:
        StoreError: if there is no such folder, or the scores are in its subfolder `results` or `scores`.
    """
    if not root.is_dir():
        raise StoreError(f"no folder {root}; score something first, or say where the scores are")
    if any(root.glob("*/*/*.json")) or any(root.glob("*/*/*.csv")):
        return StoredFolder(root)
    if any(root.glob("*.csv")):
        return OfficialFolder(root)
    for below in ("results", "scores"):  # the clone of the official repository; our results_dir
        if any(any((root / below).glob(names)) for names in ("*.csv", "*/*/*.csv", "*/*/*.json")):
            raise StoreError(f"{root} holds no scores itself; did you mean {root / below}?")
    return StoredFolder(root)


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
