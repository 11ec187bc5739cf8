"""Robustness of metrics, and a check of the paper's message by the numbers of one data set.

A metric is robust if it still agrees with people when an image is moved, enlarged or turned a little. So
metrics are ordered by their lowest coefficient over all kinds of images, their worst case. The loss alone
says little: a metric that is wrong everywhere has nothing to lose.
"""

from __future__ import annotations

import statistics
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import pandas as pd

from zsiqa.results.scores import split_metric

ORIGINAL = "original"


class Robustness(NamedTuple):
    """Coefficients of a metric on original images and in its worst case, `under` a perturbation or none."""

    metric: str
    original: float
    worst: float
    under: str

    @property
    def loss(self) -> float:
        """Coefficient on original images minus that of the worst case, >= 0."""
        return self.original - self.worst


class Statement(NamedTuple):
    """A statement of the paper, whether the numbers agree with it, and the numbers."""

    statement: str
    holds: bool
    why: str


def rank_robustness(values: pd.DataFrame) -> list[Robustness]:
    """Order metrics by their worst case, the most robust first.

    Args:
        values: coefficients, metrics by kinds of images; a metric without a value on original images or on
            any others is left out.

    Examples:
        >>> values = pd.DataFrame({"original": [0.9, 0.2], "rotate": [0.7, 0.2]}, index=["good", "bad"])
        >>> [(one.metric, round(one.loss, 3)) for one in rank_robustness(values)]
        [('good', 0.2), ('bad', 0.0)]
    """
    found = []
    for metric, row in values.iterrows():
        known = row.dropna()
        if ORIGINAL in known and len(known) > 1:
            found.append(Robustness(str(metric), float(known[ORIGINAL]), float(known.min()),
                                    str(known.idxmin())))
    return sorted(found, key=lambda one: (-one.worst, one.metric))


def check_message(values: pd.DataFrame, traditional: Collection[str],
                  significance: pd.DataFrame | None = None) -> list[Statement]:
    """Compare the statements of the paper with the coefficients on one data set.

    A statement that lacks metrics to compare is left out. A distance is a metric of a backbone without
    training (`dinov1-features-cosine`); the other metrics are baselines.

    Args:
        values: coefficients, metrics by kinds of images.
        traditional: names of baselines that are not learned.
        significance: metrics by metrics on original images: 1 if the row's is better by more than chance.
    """
    still = ({str(name): float(value) for name, value in values[ORIGINAL].dropna().items()}
             if ORIGINAL in values else {})
    ranked = rank_robustness(values)
    found = [_best(still, significance), _features(still), _most_robust(ranked),
             _traditional(ranked, traditional)]
    return [one for one in found if one is not None]


def _is_distance(metric: str) -> bool:
    return bool(split_metric(metric)[2])


def _best(still: Mapping[str, float], significance: pd.DataFrame | None) -> Statement | None:
    ours, theirs = ([name for name in still if _is_distance(name) is kind] for kind in (True, False))
    if not ours or not theirs:
        return None
    distance, baseline = (max(names, key=lambda name: still[name]) for names in (ours, theirs))
    holds = still[distance] >= still[baseline]
    decided = ""
    if significance is not None and {distance, baseline} <= set(significance.index):
        decided = ("; more than chance" if significance.loc[distance, baseline] else "; within chance")
    return Statement("without training, the best distance is at least as good as the best baseline", holds,
                   f"{distance} {still[distance]:.3f}, {baseline} {still[baseline]:.3f}{decided}")


def _features(still: Mapping[str, float]) -> Statement | None:
    differences = {}
    for name in still:
        backbone, representation, distance = split_metric(name)
        embedding = f"{backbone}-embedding-{distance}"
        if representation == "features" and embedding in still:
            differences[f"{backbone} {distance}"] = still[name] - still[embedding]
    if not differences:
        return None
    less = [f"{name} ({value:+.3f})" for name, value in differences.items() if value <= 0]
    better = len(differences) - len(less)
    return Statement("intermediate features are better than the embedding of the same backbone",
                   better > len(less), f"for {better} of {len(differences)} backbones"
                   + (f"; not for {', '.join(less)}" if less else ""))


def _most_robust(ranked: Sequence[Robustness]) -> Statement | None:
    best = [next((one for one in ranked if _is_distance(one.metric) is kind), None) for kind in (True, False)]
    distance, baseline = best
    if distance is None or baseline is None:
        return None
    return Statement("in the worst case, the best distance is at least as good as the best baseline",
                   distance.worst >= baseline.worst,
                   f"{distance.metric} {distance.worst:.3f} ({distance.under}), "
                   f"{baseline.metric} {baseline.worst:.3f} ({baseline.under})")


def _traditional(ranked: Sequence[Robustness], traditional: Collection[str]) -> Statement | None:
    worst = [one.worst for one in ranked if _is_distance(one.metric)]
    old = [one for one in ranked if one.metric in traditional]
    if not worst or not old:
        return None
    middle = statistics.median(worst)
    return Statement("traditional metrics lose their agreement on moved images, distances keep it",
                   all(one.worst < middle for one in old),
                   f"in the worst case, the median distance has {middle:.3f}, "
                   + ", ".join(f"{one.metric} {one.worst:.3f}" for one in old))
