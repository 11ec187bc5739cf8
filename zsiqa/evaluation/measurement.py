"""Measurement of score files: coefficients, and the number of pairs used."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from zsiqa.evaluation.bootstrap import draw, interval_over_references, replicate
from zsiqa.evaluation.correlation import (
    COEFFICIENTS,
    between_share,
    correlate,
    mean_of_defined,
    per_reference,
)
from zsiqa.evaluation.logistic import fit_logistic
from zsiqa.releases import MetricFacts
from zsiqa.results.files import digest
from zsiqa.results.score_folder import ScoreFolder
from zsiqa.results.scores import ScoreKey
from zsiqa.types import StoreError


@dataclass(frozen=True)
class Measurement:
    """Statistics of one score file.

    Attributes:
        values: by statistic; NaN where undefined.
        n, rows, expected: pairs with a usable score; rows in the file; pairs of the whole data set.
        problem: why the file could not be read; "" if it was read.
        notes: caveats that must be shown with the numbers.
        settings: digest of the settings without the perturbation: equal digests, equal settings.
        amount: digest of the amount of the perturbation.
        facts: about the metric.
    """

    values: Mapping[str, float] = field(default_factory=dict)
    n: int = 0
    rows: int = 0
    expected: int = 0
    problem: str = ""
    notes: tuple[str, ...] = ()
    settings: str = ""
    amount: str = ""
    facts: MetricFacts = MetricFacts()

    @property
    def whole(self) -> bool:
        """Return whether the file has a row for every pair."""
        return not self.problem and self.rows == self.expected


# From quality and labels of the usable pairs, larger = better, and their references.
Family = Callable[[np.ndarray, np.ndarray, np.ndarray], Iterable[float]]


def _pooled(quality: np.ndarray, labels: np.ndarray, _: np.ndarray) -> Iterable[float]:
    return correlate(quality, labels)


def _per_reference(quality: np.ndarray, labels: np.ndarray, refs: np.ndarray) -> Iterable[float]:
    return map(mean_of_defined, per_reference(quality, labels, refs).values())


def _mapped(quality: np.ndarray, labels: np.ndarray, _: np.ndarray) -> Iterable[float]:
    fit = fit_logistic(quality, labels)
    return fit.plcc, fit.rmse


def _between_share(quality: np.ndarray, _: np.ndarray, refs: np.ndarray) -> Iterable[float]:
    yield between_share(quality, np.unique(refs, return_inverse=True)[1])


def _interval(name: str) -> Family:
    def interval(quality: np.ndarray, labels: np.ndarray, refs: np.ndarray) -> Iterable[float]:
        names, groups = np.unique(refs, return_inverse=True)
        replicates = replicate(quality, labels, groups, draw(len(names)), [name])
        return interval_over_references(replicates[name], len(names))[:2]
    return interval


FAMILIES: dict[tuple[str, ...], Family] = {
    COEFFICIENTS: _pooled,
    tuple(f"{name}_per_ref" for name in COEFFICIENTS): _per_reference,
    ("plcc_mapped", "rmse"): _mapped,
    ("between_share",): _between_share,
    **{(f"{name}_low", f"{name}_high"): _interval(name) for name in COEFFICIENTS},
}
STATISTICS = tuple(name for family in FAMILIES for name in family)


class Measurer:
    """Measure the files of a folder, each once.

    Args:
        folder: folder of scores.
    """

    def __init__(self, folder: ScoreFolder) -> None:
        self.folder = folder
        self._measured: dict[tuple[ScoreKey, Path, tuple[str, ...]], Measurement] = {}

    def measure(self, key: ScoreKey, path: Path, statistics: Iterable[str] = COEFFICIENTS) -> Measurement:
        """Measure a file (cached); a file that cannot be read gives a measurement with a `problem`.

        Args:
            key: key of the scores in the file.
            path: path of the file.
            statistics: some of `STATISTICS`.
        """
        families = [family for family in FAMILIES if set(family) & set(statistics)]
        cache_key = key, path, tuple(name for family in families for name in family)
        if cache_key not in self._measured:
            self._measured[cache_key] = _measure(self.folder, key, path, families)
        return self._measured[cache_key]


def _measure(folder: ScoreFolder, key: ScoreKey, path: Path, families: list[tuple[str, ...]]) -> Measurement:
    try:
        scores = folder.load(key, path)
    except StoreError as error:
        return Measurement(problem=str(error))
    if not np.isfinite(scores.pairs.labels).all():
        return Measurement(problem=f"{path}: its images have no labels; add a source that has them with a "
                                   f"second --scores, or a column")
    use = scores.usable
    values = dict.fromkeys(itertools.chain(*families), math.nan)
    if use.any():
        usable = scores.quality[use], scores.oriented_labels[use], scores.pairs.refs[use]
        for family in families:
            values |= zip(family, FAMILIES[family](*usable), strict=True)
    identity = dict(scores.identity)
    amount = digest(identity.pop("perturbation", None))
    rows = len(scores.values) if use.any() else 0  # parts without a score are no file yet
    return Measurement(values, int(use.sum()), rows, scores.expected,
                       notes=scores.notes, settings=digest(identity), amount=amount, facts=scores.facts)
