"""A folder of score files: our own store, or the authors' results. Both answer the same questions."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from zsiqa.releases import published
from zsiqa.results.official import OfficialFolder
from zsiqa.results.score_file import COLUMNS, REMEDY, read_sidecar
from zsiqa.results.scores import Pairs, ScoreKey, Scores, read_table
from zsiqa.types import StoreError


class ScoreFolder(Protocol):
    """What tables, audit and statistics ask of a folder.

    Attributes:
        root: the folder.
        files: by what their names say they hold.
        strays: other CSV files.
    """

    root: Path
    files: dict[ScoreKey, Path]
    strays: list[Path]

    def held(self) -> list[ScoreKey]:
        """What there is a file of, or a stray that may hold it."""

    def twins(self, key: ScoreKey) -> list[Path]:
        """Strays that may hold what the file of this key should."""

    def stray_key(self, path: Path) -> ScoreKey:
        """What a stray may hold. Raises StoreError if its name does not tell."""

    def load(self, key: ScoreKey, path: Path) -> Scores:
        """Read a file. Raises StoreError if it is damaged."""


@dataclass
class StoredFolder:
    """Our own store: `<root>/<dataset>/<metric>/<perturbation>.csv`, each with its sidecar (see `zsiqa.results.score_file`)."""

    root: Path
    files: dict[ScoreKey, Path] = field(init=False)
    strays: list[Path] = field(init=False)

    def __post_init__(self) -> None:
        found = sorted(self.root.glob("*/*/*.csv"))
        with_sidecar = [path for path in found if path.with_suffix(".json").is_file()]
        self.files = {ScoreKey(path.parts[-3], path.parts[-2], path.stem): path for path in with_sidecar}
        self.strays = [path for path in found if path not in set(with_sidecar)]

    def held(self) -> list[ScoreKey]:
        """What there is a file of."""
        return list(self.files)

    def twins(self, key: ScoreKey) -> list[Path]:  # noqa: ARG002 - a store has one place for a key
        """None."""
        return []

    def stray_key(self, path: Path) -> ScoreKey:
        """Always raises StoreError."""
        raise StoreError(f"{path} has no {path.stem}.json beside it, so nobody knows how it came about; remove it, or "
                         f"put it back beside its sidecar")

    def load(self, key: ScoreKey, path: Path) -> Scores:
        """Read a finished file.

        Raises:
            StoreError: if it or its sidecar is damaged.
        """
        sidecar = read_sidecar(path.with_suffix(".json"))
        table = read_table(path, COLUMNS)
        if not path.read_bytes().endswith(b"\n"):
            raise StoreError(f"{path} ends in the middle of a line: something cut it off. {REMEDY}")
        try:
            about = sidecar["dataset"]
            pairs, higher_is_better, notes = about["pairs"], about["higher_is_better"], tuple(sidecar["notes"])
            similarity = bool(sidecar.get("score", {}).get("higher_is_better", False))
        except (KeyError, TypeError, AttributeError) as error:
            raise StoreError(f"{path.with_suffix('.json')} does not say what evaluation needs ({error}); remove it and "
                             f"its scores, and score again") from error
        ids, refs, types = (table[name].to_numpy() for name in ("pair_id", "ref", "type"))
        if len(twice := ids[table["pair_id"].duplicated()]):
            raise StoreError(f"{path}: the pair {twice[0]} stands there twice. {REMEDY}")
        labels = table["mos"].to_numpy()
        if not np.isfinite(labels).all():
            raise StoreError(f"{path}: a label is missing; remove the file and score again")
        whole = published().get(key.dataset, {})  # of which a part must not pass for the whole
        return Scores(key, path, Pairs(ids, refs, types, labels, higher_is_better), table["score"].to_numpy(),
                      higher_is_better=similarity, expected=whole.get("pairs", pairs),
                      identity=sidecar["identity"], notes=notes)


def open_folder(root: Path) -> ScoreFolder:
    """Open a folder of scores: the authors' files lie in it directly, ours in folders of folders.

    Raises:
        StoreError: if there is no such folder, or the scores lie elsewhere.
    """
    if not root.is_dir():
        raise StoreError(f"no folder {root}; score something first, or say where the scores are")
    if any(root.glob("*/*/*.csv")):
        return StoredFolder(root)
    if any(root.glob("*.csv")):
        return OfficialFolder(root)
    for below in ("results", "scores"):  # the clone of the official repository; our results_dir
        if any((root / below).glob("*.csv")) or any((root / below).glob("*/*/*.csv")):
            raise StoreError(f"{root} holds no scores itself; did you mean {root / below}?")
    return StoredFolder(root)


def load_whole(folder: ScoreFolder, key: ScoreKey) -> Scores | None:
    """Scores with a row for every pair: of the file that bears the name, or of a twin; None if neither is whole."""
    for path in [*([folder.files[key]] if key in folder.files else []), *folder.twins(key)]:
        try:
            scores = folder.load(key, path)
        except StoreError:
            continue
        if len(scores.values) == scores.expected:
            return scores
    return None
