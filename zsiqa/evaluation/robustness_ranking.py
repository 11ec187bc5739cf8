"""Ranking of metrics by their worst curve: its SRCC at the start and its loss both count."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from zsiqa.evaluation.bootstrap import interval_over_references
from zsiqa.evaluation.level_curves import mean_until
from zsiqa.evaluation.metric_notes import MetricNotes
from zsiqa.evaluation.paired_tests import best_group

PREFERRED = ("px", "pct", "deg")  # if as many metrics have each of two units of a family, the first counts


class CurveMean(NamedTuple):
    """Mean SRCC of a metric over the levels of a curve that people do not see.

    Attributes are those of `Robustness.curves`; beside them:
        levels: (L,) increasing, the first is 0.
        srcc: (L, 1 + B) at each level: the estimate, then the replicates.
        ids: (N,) pair_id of the pairs.
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
    first: float
    last: float
    pairs: int
    expected: int
    references: int
    response_references: int
    response_expected: int
    levels: np.ndarray
    srcc: np.ndarray
    ids: np.ndarray


def rank_by_worst_curve(means: Sequence[CurveMean], notes: MetricNotes) -> pd.DataFrame:
    """Rank the metrics of each data set by the lowest of their curves' means.

    The mean SRCC over unseen levels is SRCC on original images minus the loss. So a metric that is wrong
    everywhere, which has nothing to lose, ranks low.

    All ranked metrics have the same families, and in each the same levels: those that all of them have. A
    family counts if more than half of the metrics have it. If at least half of them have levels up to the
    human threshold, the others are not ranked.

    Args:
        means: of all curves; those without a human threshold do not count.
        notes: get a line for everything that is left out.

    Returns:
        One row for each data set and metric, the best first (`dataset, metric, rank, pairs, expected`):

        - `srcc_original`; `unseen_FAMILY`, the mean of each curve, over levels up to `until_FAMILY`.
        - `worst`, the lowest mean, with `worst_low, worst_high`; `worst_family`, its family; `loss` of this
          curve, with `loss_low, loss_high`.
        - `in_best_group`: True if the metric is not significantly worse than the first (Student's t of the
          difference over its bootstrap error, Holm over all pairs of metrics). False for a single metric.
    """
    frames = []
    for dataset in dict.fromkeys(mean.dataset for mean in means):
        ranked = _rankable(dataset, [mean for mean in means if mean.dataset == dataset], notes)
        shared = _shared_levels(dataset, ranked, notes)
        if ranked and shared:
            frames.append(_rank(dataset, ranked, shared, notes))
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=["dataset", "metric"])


def _rankable(dataset: str, means: Sequence[CurveMean],
              notes: MetricNotes) -> dict[str, dict[str, CurveMean]]:
    """Choose the families that count and the metrics that have them: curves by metric and family."""
    chosen = _choose(means)
    families = list(dict.fromkeys(family for curves in chosen.values() for family in curves))
    if not families:
        notes.add(dataset, "no curve has a human threshold in its unit")
    holders = {family: [metric for metric, curves in chosen.items() if family in curves]
               for family in families}
    counted = [family for family in families if 2 * len(holders[family]) > len(chosen)]
    for family in families:
        if family not in counted:
            notes.add(dataset, f"{family} does not count in the ranking: only {len(holders[family])} of "
                               f"{len(chosen)} metrics have it: {', '.join(holders[family])}")
    ranked = {}
    for metric, curves in chosen.items():
        if lacking := [family for family in counted if family not in curves]:
            notes.add(dataset, f"not ranked: no curve of {', '.join(lacking)}, which most metrics have",
                      metric)
        elif not all(math.isfinite(curves[family].srcc_unseen) for family in counted):
            notes.add(dataset, "not ranked: SRCC is undefined at a level", metric)
        else:
            ranked[metric] = {family: curves[family] for family in counted}
    short = {}
    for family in counted:
        below = {metric: curves[family] for metric, curves in ranked.items()
                 if curves[family].last < curves[family].human}
        if 2 * len(below) <= len(ranked):
            short.update(below)
    for metric, mean in short.items():
        notes.add(dataset, f"not ranked: {mean.family} ends at {mean.last:g} {mean.unit}, below the human "
                           f"threshold of {mean.human:.3g} {mean.unit}, which other metrics reach", metric)
    return {metric: curves for metric, curves in ranked.items() if metric not in short}


def _choose(means: Sequence[CurveMean]) -> dict[str, dict[str, CurveMean]]:
    """Choose one unit with a threshold for each family, the same for all metrics: by metric and family."""
    chosen: dict[str, dict[str, CurveMean]] = {mean.metric: {} for mean in means}
    known = [mean for mean in means if math.isfinite(mean.human)]
    for family in dict.fromkeys(mean.family for mean in known):
        own = [mean for mean in known if mean.family == family]
        counts = [sum(mean.unit == unit for mean in own) for unit in PREFERRED]
        unit = PREFERRED[counts.index(max(counts))]
        for mean in own:
            if mean.unit == unit:
                chosen[mean.metric][family] = mean
    return chosen


def _shared_levels(dataset: str, ranked: Mapping[str, Mapping[str, CurveMean]],
                   notes: MetricNotes) -> dict[str, np.ndarray]:
    """Find the levels that all ranked metrics have, up to the first at or above the threshold, by family."""
    shared = {}
    for family in next(iter(ranked.values()), {}):
        curves = [one[family] for one in ranked.values()]
        human, unit = curves[0].human, curves[0].unit
        common = sorted(set.intersection(*(set(mean.levels.tolist()) for mean in curves)))
        if len(common) < 2:  # level 0 alone
            notes.add(dataset, f"{family} does not count in the ranking: the metrics share no level")
            continue
        kept = _up_to(common, human)
        if left := sorted({level for mean in curves for level in _up_to(mean.levels.tolist(), kept[-1])}
                          - set(kept)):
            texts = ", ".join(f"{level:g}" for level in left)
            notes.add(dataset, f"the ranking leaves out {family} at {texts} {unit}: not all ranked metrics "
                               f"have these levels")
        if kept[-1] < human:
            notes.add(dataset, f"the ranking follows {family} up to {kept[-1]:g} {unit}, below the human "
                               f"threshold of {human:.3g} {unit}: the ranked metrics share no higher level")
        shared[family] = np.array(kept)
    return shared


def _up_to(levels: Sequence[float], end: float) -> list[float]:
    """Keep levels up to the first at or above `end`.

    Examples:
        >>> _up_to([0.0, 1.0, 2.0, 5.0], 1.5), _up_to([0.0, 1.0], 3.0)
        ([0.0, 1.0, 2.0], [0.0, 1.0])
    """
    return list(levels[:int(np.searchsorted(levels, end)) + 1])


def _rank(dataset: str, ranked: Mapping[str, Mapping[str, CurveMean]], shared: Mapping[str, np.ndarray],
          notes: MetricNotes) -> pd.DataFrame:
    lines: list[dict[str, Any]] = []
    worst_replicates = []
    until = {family: min(float(levels[-1]), next(iter(ranked.values()))[family].human)
             for family, levels in shared.items()}
    for metric, curves in ranked.items():
        means = {family: mean_until(levels, curves[family].srcc[np.isin(curves[family].levels, levels)],
                                    until[family]) for family, levels in shared.items()}
        worst = np.min(list(means.values()), axis=0)  # of each replicate
        worst_replicates.append(worst)
        one = curves[next(iter(shared))]
        original = one.srcc[0]
        low, high, _ = interval_over_references(worst[1:], one.references)
        lost_low, lost_high, _ = interval_over_references(original[1:] - worst[1:], one.references)
        lines.append({"dataset": dataset, "metric": metric, "srcc_original": original[0],
                      "worst": worst[0], "worst_low": low, "worst_high": high,
                      "worst_family": min(means, key=lambda family: float(means[family][0])),
                      "loss": original[0] - worst[0], "loss_low": lost_low, "loss_high": lost_high,
                      "pairs": one.pairs, "expected": one.expected,
                      **{f"unseen_{family}": mean[0] for family, mean in means.items()},
                      **{f"until_{family}": end for family, end in until.items()}})
    frame = pd.DataFrame(lines)
    frame["in_best_group"] = _best_group(dataset, [next(iter(curves.values())) for curves in ranked.values()],
                                         np.stack(worst_replicates), notes)
    frame.insert(2, "rank", frame["worst"].rank(ascending=False, method="min"))
    return frame.sort_values("worst", ascending=False, kind="stable")


def _best_group(dataset: str, means: Sequence[CurveMean], worst: np.ndarray,
                notes: MetricNotes) -> list[bool]:
    """Return whether each metric is not significantly worse than the best.

    All False for a single metric, and for metrics on different pairs.
    """
    if len(means) == 1:
        return [False]
    if any(not np.array_equal(np.sort(mean.ids), np.sort(means[0].ids)) for mean in means):
        notes.add(dataset, "the metrics have scores of different pairs, so no best group is marked")
        return [False] * len(means)
    return list(best_group(worst[:, 0], worst[:, 1:], means[0].references))
