"""Robustness of metrics to geometric changes, as curves against the level of the change.

Two experiments. In one, distorted images are perturbed, and SRCC with the labels is computed at each level.
In the other, undistorted references are perturbed and compared with themselves, and this response is compared
with the response to real distortions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import pandas as pd

from zsiqa.evaluation import bootstrap
from zsiqa.evaluation.bootstrap import interval_over_references
from zsiqa.evaluation.correlation import mean_of_defined, per_reference
from zsiqa.evaluation.human_curves import DATASET, People, compare_with_people
from zsiqa.evaluation.human_thresholds import HumanThreshold, threshold_of
from zsiqa.evaluation.level_curves import first_reaching, in_units_of, mean_until, yardsticks
from zsiqa.evaluation.metric_notes import MetricNotes
from zsiqa.evaluation.robustness_ranking import CurveMean, rank_by_worst_curve
from zsiqa.evaluation.stored_levels import (
    check_names,
    curves_of,
    find_levels,
    load_levels,
    no_curve,
)
from zsiqa.perturbations import level_of
from zsiqa.results.score_folder import ScoreFolder
from zsiqa.results.scores import ORIGINAL
from zsiqa.terminal import track
from zsiqa.types import REFERENCES, StoreError

KEY = ("dataset", "metric", "family", "unit")
RESPONSE = ("response", "in_mildest", "in_mildest_low", "in_mildest_high", "in_median")


@dataclass(frozen=True)
class RobustnessSettings:
    """Settings of an analysis.

    Attributes:
        thresholds: human detection thresholds.
        pixels_per_degree: of visual angle, to convert thresholds.
        replicates, seed: of the bootstrap over references.
    """

    thresholds: Sequence[HumanThreshold]
    pixels_per_degree: float
    replicates: int = 1000
    seed: int = 0


@dataclass(frozen=True)
class Robustness:
    """Curves of metrics.

    Attributes:
        points: one row for each point of a curve (`dataset, metric, family, unit, level, perturbation`):

            - `pairs, references`: numbers of those that are used.
            - `srcc, srcc_low, srcc_high`, and `srcc_per_ref`, the mean within references.
            - `response` of undistorted references, in units of the metric: the median over
              `response_references`.
            - `in_mildest`, `in_mildest_low`, `in_mildest_high`: the response in units of the mildest real
              distortion. `in_median`: in units of the median one.
        curves: one row for each curve:

            - `human`: the threshold in the curve's unit.
            - `srcc_original`; `srcc_unseen`, the mean SRCC over levels from 0 to the threshold, or to
              `mean_until`, with `srcc_unseen_low` and `_high`; and `loss`, their difference, with `loss_low`
              and `loss_high`.
            - `mildest_at`: the level at which a perturbed reference scores worse than the mildest real
              distortion. Infinity: no level does. NaN: not known.
            - `first`, the lowest level above 0, and `last`, the highest.
            - `pairs`, of the `expected` ones, and `references`.
            - `response_references`, those behind the response, of the `response_expected` ones of the data
              set.
        ranking: one row a data set and metric, the best first: `rank_by_worst_curve`.
        people: metrics beside people's response curves; None without scores of RAID.
        settings: of the analysis.
        notes: what was left out.
    """

    points: pd.DataFrame
    curves: pd.DataFrame
    ranking: pd.DataFrame
    people: People | None
    settings: RobustnessSettings
    notes: list[str] = field(default_factory=list)

    @property
    def datasets(self) -> list[str]:
        """Names of the data sets with curves."""
        return list(dict.fromkeys(self.curves["dataset"]))

    def ranked(self, dataset: str) -> pd.DataFrame:
        """Return the ranking of a data set; without rows if there is none."""
        return self.ranking[self.ranking["dataset"] == dataset]


class _Response(NamedTuple):
    """Response of undistorted references.

    Attributes:
        points: one row a level, with the columns `RESPONSE`; the index is the level.
        references, expected: number of references that are used, and of all of the data set.
    """

    points: pd.DataFrame
    references: int
    expected: int


NO_RESPONSE = _Response(pd.DataFrame(index=pd.Index([], dtype=float), columns=RESPONSE, dtype=float), 0, 0)


def measure_robustness(folder: ScoreFolder, settings: RobustnessSettings,
                       datasets: Sequence[str] | None = None,
                       metrics: Sequence[str] | None = None) -> Robustness:
    """Measure the curves of all metrics with scores at levels.

    Args:
        folder: folder of scores, or several sources.
        settings: of the analysis.
        datasets, metrics: names; None for all.

    Raises:
        StoreError: if there are no scores at levels.
    """
    check_names(folder, datasets, metrics)
    there = [key for key in folder.held() if key.dataset == DATASET and key.perturbation == ORIGINAL
             and (metrics is None or key.metric in metrics)]
    with_people = there if datasets is None or DATASET in datasets else []
    stored = find_levels(folder, datasets, metrics)
    if not stored and not with_people:
        raise no_curve(folder, datasets)
    notes = MetricNotes()
    for name in dict.fromkeys(datasets or ()):
        if name not in {dataset for dataset, _ in stored} and not (name == DATASET and with_people):
            notes.add(name, "left out: no curve; `zsiqa run ... perturbation=curves` makes scores at levels")
    for name in dict.fromkeys(metrics or ()):
        if name not in {metric for _, metric in [*stored, *(key[:2] for key in with_people)]}:
            notes.add(name, "left out: this metric has no curve")
    for key in folder.held():
        if (key.dataset, key.metric) in stored and (level := level_of(key.perturbation)) and level.value < 0:
            notes.add(key.dataset, f"{key.perturbation} is left out: a curve goes from level 0 upward",
                      key.metric)
    points: list[pd.DataFrame] = []
    means: list[CurveMean] = []
    for (dataset, metric), names in track(list(stored.items()), total=len(stored), unit="metrics"):
        try:
            measured = _measure(folder, dataset, metric, names, settings, notes)
        except StoreError as error:
            notes.add(dataset, f"left out: {error}", metric)
            continue
        for frame, mean in measured:
            points.append(frame)
            means.append(mean)
    if not points and not with_people:
        raise StoreError("; ".join(notes.lines()))
    curves = pd.DataFrame(means, columns=CurveMean._fields).drop(columns=["levels", "srcc", "ids"])
    ranking = rank_by_worst_curve(means, notes)
    of_people: list[str] = []
    people = (compare_with_people(folder, [key.metric for key in with_people] if metrics else None,
                                  settings.replicates, settings.seed, of_people)
              if with_people else None)
    rows = pd.concat(points, ignore_index=True) if points else pd.DataFrame(columns=[*KEY, "level"])
    return Robustness(rows, curves, ranking, people, settings, [*notes.lines(), *of_people])


def _measure(folder: ScoreFolder, dataset: str, metric: str, names: Sequence[str],
             settings: RobustnessSettings, notes: MetricNotes) -> list[tuple[pd.DataFrame, CurveMean]]:
    """Measure all curves of a metric on a data set: the points and the means of each."""
    scored = load_levels(folder, dataset, metric, [ORIGINAL, *names], notes)
    refs, groups = np.unique(scored.refs, return_inverse=True)
    drawn = bootstrap.draw(len(refs), settings.replicates, settings.seed)
    weights = np.vstack([np.ones((1, len(refs)), dtype=int), drawn])
    srcc = bootstrap.replicate(scored.quality, scored.labels, groups, weights, ["srcc"])["srcc"]
    intervals = np.array([interval_over_references(values[1:], len(refs)) for values in srcc])
    within = per_reference(scored.quality, scored.labels, groups, ("srcc",))["srcc"]
    row = {name: place for place, name in enumerate(scored.names)}
    responses = _responses(folder, dataset, metric, scored.quality[0], scored.refs, settings, notes)
    measured = []
    for (family, unit), levels in curves_of(scored.names).items():
        places, rows = list(levels), [row[name] for name in levels.values()]
        human = threshold_of(settings.thresholds, family, unit, settings.pixels_per_degree, dataset)
        response = responses.get((family, unit), NO_RESPONSE)
        key = dict(zip(KEY, (dataset, metric, family, unit), strict=True))
        points = pd.DataFrame({
            **key, "level": places, "perturbation": list(levels.values()), "pairs": len(scored.labels),
            "references": len(refs), "srcc": srcc[rows, 0], "srcc_low": intervals[rows, 0],
            "srcc_high": intervals[rows, 1], "srcc_per_ref": [mean_of_defined(within[one]) for one in rows],
            "response_references": response.references}).join(response.points, on="level")
        resampled = (np.full(srcc.shape[1], math.nan) if math.isnan(human)
                     else mean_until(places, srcc[rows], human))
        unseen, lost = (interval_over_references(values, len(refs))
                        for values in (resampled[1:], srcc[0, 1:] - resampled[1:]))
        measured.append((points, CurveMean(
            **key, human=human, mean_until=min(human, places[-1]), srcc_original=float(srcc[0, 0]),
            srcc_unseen=float(resampled[0]), srcc_unseen_low=unseen.low, srcc_unseen_high=unseen.high,
            loss=float(srcc[0, 0] - resampled[0]), loss_low=lost.low, loss_high=lost.high,
            mildest_at=first_reaching(places, points["in_mildest"], 1.0), first=places[1], last=places[-1],
            pairs=len(scored.labels), expected=scored.expected, references=len(refs),
            response_references=response.references, response_expected=response.expected,
            levels=np.array(places), srcc=srcc[rows], ids=scored.ids)))
    return measured


def _responses(folder: ScoreFolder, dataset: str, metric: str, quality: np.ndarray, refs: np.ndarray,
               settings: RobustnessSettings, notes: MetricNotes) -> Mapping[tuple[str, str], _Response]:
    """Measure the response to pure geometry, by family and unit; empty without such scores.

    Args:
        quality: (N,) of the distorted images, not perturbed.
        refs: (N,) names of their references.
    """
    where = f"{dataset}{REFERENCES}"
    names = find_levels(folder, [where], [metric]).get((where, metric))
    if not names:
        notes.add(dataset, f"no response to pure geometry without scores of {where}; the same command with "
                           f"dataset.pairs=references makes them", metric)
        return {}
    try:
        moved = load_levels(folder, where, metric, [ORIGINAL, *names], notes)
    except StoreError as error:
        notes.add(dataset, f"no response to pure geometry: {error}", metric)
        return {}
    place = {name: row for row, name in enumerate(moved.refs)}
    known = sorted({str(name) for name in refs} & set(place))
    if not known:
        notes.add(dataset, f"no response to pure geometry: {where} has other references, such as "
                           f"{moved.refs[0]} and {refs[0]}", metric)
        return {}
    if len(known) < moved.expected:
        notes.add(dataset, f"the response to pure geometry is that of {len(known)} of {moved.expected} "
                           f"references: the others, or their distorted images, lack scores", metric)
    rows = [place[name] for name in known]
    same = moved.quality[0, rows]  # quality of identical images
    use = np.isin(refs, known)
    groups = np.unique(refs[use], return_inverse=True)[1]
    real = yardsticks(same[groups] - quality[use], groups, len(known))
    once = np.ones((1, len(known)), dtype=int)
    weights = np.vstack([once, bootstrap.draw(len(known), settings.replicates, settings.seed)])
    found = {}
    for curve, levels in curves_of(moved.names).items():
        places = [moved.names.index(name) for name in levels.values()]
        distances = same - moved.quality[np.ix_(places, rows)]
        mildest = in_units_of(distances, real.mildest, weights)
        median = in_units_of(distances, real.median, once)
        low, high, _ = np.array([interval_over_references(one[1:], len(known)) for one in mildest]).T
        values = np.median(distances, axis=1), mildest[:, 0], low, high, median[:, 0]
        found[curve] = _Response(pd.DataFrame(dict(zip(RESPONSE, values, strict=True)), index=list(levels)),
                                 len(known), moved.expected)
    return found
