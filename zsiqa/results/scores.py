"""Scores and labels of pairs, from our files or the authors', and their alignment. Never imports torch."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from zsiqa.releases import MetricFacts

ORIGINAL = "original"  # the perturbation of images that are not moved
SAME_LABEL = 1e-6  # files have six decimals or more of a label, and labels of a data set differ by more


class ScoreKey(NamedTuple):
    """Name of one set of scores."""

    dataset: str
    metric: str
    perturbation: str

    def __str__(self) -> str:
        return "/".join(self)


@dataclass(frozen=True, eq=False)
class Pairs:
    """The labelled pairs of a score file, in its order.

    Attributes:
        ids: (N,) str, unique; files of different origin have the same id for the same pair.
        refs: (N,) str, the same for pairs with the same reference.
        types: (N,) str, the distortion type; "" if unknown.
        labels: (N,) float64.
        higher_is_better: the labels' direction: True for MOS, False for DMOS.
    """

    ids: np.ndarray
    refs: np.ndarray
    types: np.ndarray
    labels: np.ndarray
    higher_is_better: bool

    @property
    def oriented_labels(self) -> np.ndarray:
        """(N,) labels, negated where a larger one means a worse image."""
        return self.labels if self.higher_is_better else -self.labels

    @functools.cached_property
    def index(self) -> pd.Index[Any]:
        """The ids, for lookups."""
        index: pd.Index[Any] = pd.Index(self.ids)
        return index


@dataclass(frozen=True, eq=False)
class Scores:
    """One score file.

    Attributes:
        values: (N,) float64; not finite where a pair has no usable score.
        higher_is_better: the scores' direction: False for a distance.
        expected: pairs of the whole data set.
        identity: the settings that decide the scores, if the file has them (see `zsiqa.results.score_file`).
        notes: caveats that must be shown with the numbers.
        checked: the file has checksums, and matches them.
        source: name of the source: a folder of scores, or a paper's published scores.
        facts: about the metric.
    """

    key: ScoreKey
    path: Path
    pairs: Pairs
    values: np.ndarray
    higher_is_better: bool
    expected: int
    identity: Mapping[str, Any]
    notes: tuple[str, ...] = ()
    checked: bool = False
    source: str = ""
    facts: MetricFacts = MetricFacts()

    @property
    def usable(self) -> np.ndarray:
        """(N,) bool, True for pairs with a finite score."""
        finite: np.ndarray = np.isfinite(self.values)
        return finite

    @property
    def quality(self) -> np.ndarray:
        """(N,) scores, negated where a larger one means a worse image."""
        return self.values if self.higher_is_better else -self.values

    @property
    def oriented_labels(self) -> np.ndarray:
        """(N,) labels, negated where a larger one means a worse image."""
        return self.pairs.oriented_labels


@dataclass(frozen=True, eq=False)
class Alignment:
    """Scores of a file in the order of given pairs.

    Attributes:
        values: (N,) float64 in that order; NaN where the file has no usable score.
        foreign: ids of the file's pairs that are not among the given pairs.
        other_labels, other_refs: ids of pairs that have another label or reference in the file.
    """

    values: np.ndarray
    foreign: np.ndarray
    other_labels: np.ndarray
    other_refs: np.ndarray


def align(scores: Scores, pairs: Pairs) -> Alignment:
    """Bring scores into the order of `pairs`, by id."""
    own = scores.pairs
    rows = np.arange(len(pairs.ids)) if own is pairs else pairs.index.get_indexer(own.index)
    known = rows >= 0
    values = np.full(len(pairs.ids), np.nan)
    values[rows[known]] = np.where(scores.usable, scores.values, np.nan)[known]
    labels = np.abs(own.oriented_labels[known] - pairs.oriented_labels[rows[known]]) > SAME_LABEL
    refs = own.refs[known] != pairs.refs[rows[known]]
    return Alignment(values, own.ids[~known], own.ids[known][labels], own.ids[known][refs])


def split_metric(metric: str) -> tuple[str, str, str]:
    """Split a metric into backbone, representation and distance; the last two are "" for a baseline (`psnr`).

    Only the name of the backbone may contain hyphens. A scale in the name (`psnr@short_256`) is left out.

    Examples:
        >>> split_metric("ViT-B-16-SigLIP-features-l2"), split_metric("psnr")
        (('ViT-B-16-SigLIP', 'features', 'l2'), ('psnr', '', ''))
    """
    name, _ = split_scale(metric)
    backbone, representation, distance = name.rsplit("-", 2) if name.count("-") > 1 else (name, "", "")
    return backbone, representation, distance


def split_scale(metric: str) -> tuple[str, str]:
    """Split a metric into its name and its scale, which is "" for the native one.

    Examples:
        >>> split_scale("dinov1-features-wsd@average_256"), split_scale("psnr")
        (('dinov1-features-wsd', 'average_256'), ('psnr', ''))
    """
    name, _, scale = metric.partition("@")
    return name, scale
