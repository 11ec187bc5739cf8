"""Ranking of metrics by their worst curve: level and loss stand together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from zsiqa.evaluation import bootstrap
from zsiqa.evaluation.paired_tests import bootstrap_t_tests, holm_of_pairs

LEVEL = 0.95
UNITS = ("px", "pct", "deg")  # of two curves of a family, that of more metrics counts, then the first here


class CurveMean(NamedTuple):
    """Mean SRCC of a metric over the levels of a curve that people do not see.

    Attributes are those of `Robustness.curves`; beside them:
        references: number of references.
        ids: (N,) pair_id of the pairs.
        replicates, original_replicates: (1 + B,) the mean, and SRCC on original images: the estimate, then
            the replicates.
    """

    dataset: str
    metric: str
    family: str
    unit: str
    human: float
    mean_until: float
    srcc_original: float
    srcc_unseen: float
    srcc_unseen_low: float
    srcc_unseen_high: float
    loss: float
    loss_low: float
    loss_high: float
    mildest_at: float
    last: float
    pairs: int
    expected: int
    references: int
    ids: np.ndarray
    replicates: np.ndarray
    original_replicates: np.ndarray


def rank_by_worst_curve(means: Sequence[CurveMean], notes: list[str]) -> pd.DataFrame:
    """Rank the metrics of each data set by the lowest of their curves' means.

    The mean SRCC over unseen levels is SRCC on original images minus the loss. So a metric that is wrong
    everywhere, which has nothing to lose, ranks low. Only metrics with a mean of the same curves are ranked.

    Args:
        means: of all curves; those without a human threshold do not count.
        notes: list that gets a line for everything that is left out.

    Returns:
        One row a data set and metric, the best first: `dataset, metric, rank, srcc_original`, `worst` (the
        lowest mean) with `worst_low, worst_high`, `worst_family`, `loss` (of the worst curve) with
        `loss_low, loss_high`, `in_best_group` (not significantly worse than the first: Student's t of the
        difference over its bootstrap error, Holm over all pairs of metrics), `pairs, expected`, and
        `unseen_FAMILY`, the mean of each curve.
    """
    frames = []
    for dataset in dict.fromkeys(mean.dataset for mean in means):
        chosen = _choose([mean for mean in means if mean.dataset == dataset and math.isfinite(mean.human)])
        wanted = {family for curves in chosen.values() for family in curves}
        ranked = {}
        for metric, curves in chosen.items():
            if lacking := sorted(wanted - set(curves)):
                notes.append(f"{dataset}/{metric}: not ranked: no curve of {', '.join(lacking)}, which other "
                             f"metrics have")
            elif not all(math.isfinite(mean.srcc_unseen) for mean in curves.values()):
                notes.append(f"{dataset}/{metric}: not ranked: SRCC is undefined at a level")
            else:
                ranked[metric] = curves
        if ranked:
            frames.append(_rank(dataset, ranked, notes))
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


def _choose(means: Sequence[CurveMean]) -> dict[str, dict[str, CurveMean]]:
    """Choose one unit for each family, the same for all metrics: by metric and family."""
    chosen: dict[str, dict[str, CurveMean]] = {mean.metric: {} for mean in means}
    for family in dict.fromkeys(mean.family for mean in means):
        own = [mean for mean in means if mean.family == family]
        counts = [sum(mean.unit == unit for mean in own) for unit in UNITS]
        unit = UNITS[counts.index(max(counts))]
        for mean in own:
            if mean.unit == unit:
                chosen[mean.metric][family] = mean
    return chosen


def _rank(dataset: str, ranked: dict[str, dict[str, CurveMean]], notes: list[str]) -> pd.DataFrame:
    lines: list[dict[str, Any]] = []
    worst_replicates = []
    for metric, curves in ranked.items():
        values = np.stack([mean.replicates for mean in curves.values()])
        worst = values.min(axis=0)  # of each replicate
        worst_replicates.append(worst)
        family, mean = min(curves.items(), key=lambda item: item[1].srcc_unseen)
        several = mean.references > 1
        low, high = _interval(worst[1:]) if several else (math.nan, math.nan)
        lost_low, lost_high = (_interval(mean.original_replicates[1:] - worst[1:]) if several
                               else (math.nan, math.nan))
        lines.append({"dataset": dataset, "metric": metric, "srcc_original": mean.srcc_original,
                      "worst": worst[0], "worst_low": low, "worst_high": high, "worst_family": family,
                      "loss": mean.srcc_original - worst[0], "loss_low": lost_low, "loss_high": lost_high,
                      "pairs": mean.pairs, "expected": mean.expected,
                      **{f"unseen_{name}": one.srcc_unseen for name, one in curves.items()}})
    frame = pd.DataFrame(lines)
    frame["in_best_group"] = _best_group(dataset, [next(iter(curves.values())) for curves in ranked.values()],
                                         np.stack(worst_replicates), notes)
    frame.insert(2, "rank", frame["worst"].rank(ascending=False, method="min"))
    return frame.sort_values("worst", ascending=False, kind="stable")


def _best_group(dataset: str, means: Sequence[CurveMean], worst: np.ndarray, notes: list[str]) -> list[bool]:
    """Return whether each metric is not significantly worse than the best; all False on different pairs."""
    if any(not np.array_equal(np.sort(mean.ids), np.sort(means[0].ids)) for mean in means):
        notes.append(f"{dataset}: the metrics have scores of different pairs, so no best group is marked")
        return [False] * len(means)
    p = holm_of_pairs(bootstrap_t_tests(worst[:, 0], worst[:, 1:], means[0].references))
    best = int(np.argmax(worst[:, 0]))
    return [place == best or not p[best, place] < 1 - LEVEL for place in range(len(means))]


def _interval(replicates: np.ndarray) -> tuple[float, float]:
    low, high, _ = bootstrap.percentile_interval(replicates, LEVEL)
    return low, high
