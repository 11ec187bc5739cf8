"""Points of scatter plots: scores and labels, the logistic curve, and the largest residuals."""

from __future__ import annotations

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
        worst: rows of the pairs with the largest residuals, the largest first: label minus fitted label
            or, if the fit failed, the difference of ranks.
        shown: True if the page shows the points; False beyond `report.data.MOST_POINTS`.
    """

    metric: str
    perturbation: str
    scores: np.ndarray
    higher_is_better: bool
    fit: LogisticFit
    worst: np.ndarray
    shown: bool = True


def points_of(scores: Scores, values: np.ndarray, pairs: Pairs) -> Points:
    """Make the points of a score file; `values` are its scores in the order of the data set's pairs."""
    quality = values if scores.higher_is_better else -values
    labels = pairs.oriented_labels
    use = np.isfinite(quality)
    fit = fit_logistic(quality[use], labels[use])
    residuals = np.full(len(quality), -1.0)
    residuals[use] = np.abs(stats.rankdata(labels[use]) - stats.rankdata(quality[use]) if fit.problem
                            else labels[use] - logistic(quality[use], fit.parameters))
    worst = np.argsort(-residuals, kind="stable")[:min(WORST, int(use.sum()))]
    return Points(scores.key.metric, scores.key.perturbation, values, scores.higher_is_better, fit, worst)
