"""Our own scores in a table beside published per-image scores of the same metrics."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from zsiqa.evaluation.measurement import Measurer
from zsiqa.evaluation.verdicts import Cell, Column, judge_row
from zsiqa.results.score_folder import ScoreFolder
from zsiqa.results.scores import ScoreKey, Scores, align
from zsiqa.types import StoreError


class Side(ScoreFolder):
    """One side of a table, ours or published, restricted to the pairs that both have.

    Metrics have their names without source. The labels are our own on both sides: data sets were published
    with other labels, too.

    Args:
        folder: folder with the scores of both sides.
        keys, others: of this side and of the other one: keys in `folder`, by keys without source.
        own: whether this is our own side.
    """

    def __init__(self, folder: ScoreFolder, keys: Mapping[ScoreKey, ScoreKey],
                 others: Mapping[ScoreKey, ScoreKey], *, own: bool) -> None:
        self.folder, self.keys, self.others, self.own = folder, keys, others, own
        self.root, self.name, self.strays = folder.root, "", []
        self.files = {key: folder.files[there] for key, there in keys.items()}

    def load(self, key: ScoreKey, path: Path) -> Scores:
        """Load a score file; see the class."""
        scores = self.folder.load(self.keys[key], path)
        if key not in self.others:
            return scores
        try:
            other = self.folder.load(self.others[key], self.folder.files[self.others[key]])
        except StoreError:
            return scores
        ours, theirs = (scores, other) if self.own else (other, scores)
        aligned = align(theirs, ours.pairs)
        both = ours.usable & np.isfinite(aligned.values)
        if not both.any():
            return scores
        notes = scores.notes
        if len(aligned.other_labels) and not self.own:
            notes += (f"{key.dataset}: the labels of {theirs.source} are not those of {ours.source}, which "
                      f"are used for both",)
        return replace(scores, pairs=ours.pairs, notes=notes,
                       values=np.where(both, ours.values if self.own else aligned.values, np.nan))


def keys_of(spec: Mapping[str, Any]) -> set[ScoreKey]:
    """Return the keys of the cells of a table, from its specification."""
    return {ScoreKey(dataset, row["metric"], perturbation) for dataset in spec["datasets"]
            for group in spec["groups"] for row in group["rows"] for perturbation in spec["perturbations"]}


def held_of(spec: Mapping[str, Any], held: Iterable[ScoreKey]) -> set[ScoreKey]:
    """Return the held keys that a table shows.

    In a table with published scores, these are keys of all sources.
    """
    wanted = keys_of(spec)
    return {key for key in held if (without_source(key) if "published" in spec else key) in wanted}


def sides(folder: ScoreFolder, source: str, spec: Mapping[str, Any]) -> tuple[Measurer, Measurer]:
    """Divide the scores of a folder into those of a source and our own, which are all others.

    Args:
        folder: folder of scores, or several sources.
        source: name of the source with the published scores.
        spec: of the table, whose metrics are named without source.
    """
    wanted = keys_of(spec)
    own: dict[ScoreKey, ScoreKey] = {}
    published: dict[ScoreKey, ScoreKey] = {}
    for key in folder.files:
        plain = without_source(key)
        if plain in wanted:
            (published if folder.source_of(key) == source else own).setdefault(plain, key)
    return Measurer(Side(folder, own, published, own=True)), Measurer(Side(folder, published, own, own=False))


def without_source(key: ScoreKey) -> ScoreKey:
    """Return a key with the metric's name without source.

    Examples:
        >>> without_source(ScoreKey("live", "liao2024:deepwsd_vgg19", "original")).metric
        'deepwsd_vgg19'
    """
    return key._replace(metric=key.metric.rpartition(":")[2])


def judge_beside(metric: str, columns: Sequence[Column], own: Measurer,
                 published: Measurer) -> tuple[list[Cell], list[Cell]]:
    """Compute the cells of our own scores and of published ones, and judge ours by the published values.

    Args:
        metric: of the row.
        columns: columns of the row.
        own, published: of `sides`.

    Returns:
        Our cells, with the published value to three decimals in the place of a printed figure, and the
        published cells, which have no figure.
    """
    theirs = judge_row(metric, columns, [None] * len(columns), published, parts=True)
    figures = [None if math.isnan(cell.value) or not _has(own, metric, cell.column) else round(cell.value, 3)
               for cell in theirs]
    return judge_row(metric, columns, figures, own, parts=True), theirs


def _has(side: Measurer, metric: str, column: Column) -> bool:
    return ScoreKey(column.dataset, metric, column.perturbation) in side.folder.files
