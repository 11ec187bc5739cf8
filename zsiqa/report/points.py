"""Points of scatter plots: scores and labels, the logistic curve, and the largest residuals."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats

from zsiqa.evaluation.logistic import LogisticFit, fit_logistic, logistic
from zsiqa.results.scores import Pairs, Scores

WORST = 10


@dataclass(frozen=True, eq=False)
class Points:
    """Scores of a metric under a perturbation on the pairs of its data set.

    Attributes:
        scores: (N,) in the order of the data set's pairs; NaN where a pair has no usable score.
        fit: logistic fit of the labels to the scores, both turned so that higher is better.
        by_rank: True if the residuals are differences of ranks, divided by the number of pairs, because the
            fit failed.
        worst: rows of the pairs with the largest residuals, the largest first.
        shown: True if the page shows the points; False beyond `report.data.MOST_POINTS`.
    """

    metric: str
    perturbation: str
    scores: np.ndarray
    higher_is_better: bool
    fit: LogisticFit
    by_rank: bool
    worst: np.ndarray
    shown: bool = True


def points_of(scores: Scores, values: np.ndarray, pairs: Pairs) -> Points:
    """Make the points of a score file; `values` are its scores in the order of the data set's pairs."""
    quality = values if scores.higher_is_better else -values
    labels = pairs.oriented_labels
    use = np.isfinite(quality)
    fit = fit_logistic(quality[use], labels[use])
    difference, by_rank = residuals(quality, labels, fit)
    size = np.where(np.isfinite(difference), np.abs(difference), -1.0)
    worst = np.argsort(-size, kind="stable")[:min(WORST, int(use.sum()))]
    return Points(scores.key.metric, scores.key.perturbation, values, scores.higher_is_better, fit, by_rank,
                  worst)


def residuals(quality: np.ndarray, labels: np.ndarray, fit: LogisticFit) -> tuple[np.ndarray, bool]:
    """Compute label minus fitted label of each pair.

    A positive residual means that people rate the image better than the metric does.

    Args:
        quality: (N,) scores, larger = better; NaN where a pair has none.
        labels: (N,) larger = better.
        fit: logistic fit of the labels to the scores.

    Returns:
        (N,) residuals, NaN where there is no score; True if they are differences of ranks instead, divided by
        the number of pairs, because the fit failed.
    """
    use = np.isfinite(quality)
    difference = np.full(len(quality), math.nan)
    if not fit.problem:
        difference[use] = labels[use] - logistic(quality[use], fit.parameters)
        return difference, False
    difference[use] = (stats.rankdata(labels[use]) - stats.rankdata(quality[use])) / max(use.sum(), 1)
    return difference, True
