"""Findings about a data set from scores alone: images that no metric tells apart, and their labels."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from zsiqa.evaluation.identical_images import FEWEST_METRICS, Identical, name_pattern
from zsiqa.evaluation.score_table import ScoreTable


class Finding(NamedTuple):
    """Images of a data set that look the same to metrics.

    Attributes:
        kind: `as reference`: a distance of exactly 0 under most metrics; `equal images`: equal scores of
            images with different names.
        images, references: number of these images, and of their references.
        patterns: the names, with "*" for the reference, the most frequent first.
        label_sd: standard deviation of their labels around the mean of the images that are equal.
        set_sd: standard deviation of all labels of the data set.
        highest_plcc: largest PLCC of scores that are equal for these images.
    """

    kind: str
    images: int
    references: int
    patterns: tuple[str, ...]
    label_sd: float
    set_sd: float
    highest_plcc: float


def find_in_labels(table: ScoreTable, same: Identical) -> list[Finding]:
    """Find images that no metric can tell apart.

    Args:
        table: scores on undistorted geometry.
        same: identical images in it.
    """
    found = []
    zero = np.zeros(len(table.labels), dtype=bool)
    distances = np.array([not scores.higher_is_better for scores in table.files])
    if distances.sum() >= FEWEST_METRICS:
        zero = (table.quality[distances] == 0).mean(axis=0) > 0.5
        if zero.any():
            found.append(_describe("as reference", table, [np.flatnonzero(zero)]))
    groups = [np.array(group) for group in same.groups if not zero[group].all()]
    if groups:
        found.append(_describe("equal images", table, groups))
    return found


def _describe(kind: str, table: ScoreTable, groups: list[np.ndarray]) -> Finding:
    rows, labels = np.concatenate(groups), table.labels
    within = sum(float(((labels[group] - labels[group].mean()) ** 2).sum()) for group in groups)
    total = float(((labels - labels.mean()) ** 2).sum())
    names = [name for group in groups
             for name in name_pattern(table.ids[group].tolist(), table.refs[group].tolist())]
    patterns = sorted(set(names), key=lambda name: (-names.count(name), name))
    freedom = max(1, len(rows) - len(groups))
    return Finding(kind, len(rows), len(set(table.refs[rows])), tuple(patterns),
                   math.sqrt(within / freedom), float(labels.std()), math.sqrt(1 - within / total))
