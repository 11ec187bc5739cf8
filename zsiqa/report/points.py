"""Points of scatter plots: scores beside labels, the logistic curve, and where the two disagree most."""

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
    """A metric on the pairs of its data set.

    Attributes:
        scores: (N,) in the order of the data set's pairs; NaN where a pair has no usable score.
        fit: of the labels on the scores, both turned so that higher is better.
        by_rank: whether the residuals are of ranks, in shares of the pairs, because there is no curve.
        worst: the pairs with the largest residuals, the largest first.
        shown: whether the page has the points; beyond a bound it has not.
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
    """The points of a file whose scores are `values` in the order of the data set's pairs."""
    quality = values if scores.higher_is_better else -values
    opinion = pairs.oriented_labels
    use = np.isfinite(quality)
    fit = fit_logistic(quality[use], opinion[use])
    found, by_rank = residuals(quality, opinion, fit)
    size = np.where(np.isfinite(found), np.abs(found), -1.0)
    worst = np.argsort(-size, kind="stable")[:min(WORST, int(use.sum()))]
    return Points(scores.key.metric, scores.key.perturbation, values, scores.higher_is_better, fit, by_rank, worst)


def residuals(quality: np.ndarray, opinion: np.ndarray, fit: LogisticFit) -> tuple[np.ndarray, bool]:
    """How far people are from the metric, pair by pair; positive where they like an image better than it says.

    Args:
        quality: (N,) scores, larger = better; NaN where a pair has none.
        opinion: (N,) labels, larger = better.
        fit: of the second on the first.

    Returns:
        (N,) labels less the fitted curve, NaN where there is no score; whether it is ranks instead, in shares of the
        pairs, because there is no curve.
    """
    use = np.isfinite(quality)
    found = np.full(len(quality), math.nan)
    if not fit.problem:
        found[use] = opinion[use] - logistic(quality[use], fit.parameters)
        return found, False
    found[use] = (stats.rankdata(opinion[use]) - stats.rankdata(quality[use])) / max(use.sum(), 1)
    return found, True
