"""Analysis of metrics on one data set under one perturbation, with intervals and tests of the differences.

The unit of generalisation is the reference, not the pair: intervals and comparisons resample references.
Tests that assume independent pairs are also computed; their documentation states this assumption.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from zsiqa.evaluation import bootstrap, paired_tests
from zsiqa.evaluation.bootstrap import LEVEL
from zsiqa.evaluation.coefficients import Coefficients, resample
from zsiqa.evaluation.correlation import COEFFICIENTS, between_share, correlate_within, mean_of_defined
from zsiqa.evaluation.logistic import fit_logistic
from zsiqa.evaluation.score_table import ScoreTable, load_table
from zsiqa.releases import published
from zsiqa.results.score_folder import ScoreFolder
from zsiqa.types import StoreError


@dataclass(frozen=True)
class AnalysisSettings:
    """Settings of an analysis.

    Attributes:
        coefficient: coefficient of comparisons, types and alarms.
        replicates, seed: of the bootstrap over references.
        interval: method that computes an interval from replicates.
        logistic: number of parameters of the curve fitted before PLCC and RMSE.
        details: True computes everything. False computes only what a report shows: no logistic curve, one
            coefficient per reference, and of the tests only Student's with Holm's correction.
    """

    coefficient: str = "srcc"
    replicates: int = 2000
    seed: int = 0
    interval: Literal["percentile", "bca"] = "percentile"
    logistic: Literal[4, 5] = 4
    details: bool = True


class Alarm(NamedTuple):
    """Two metrics with opposite orders, pooled and within references; `sure` if both are significant."""

    text: str
    sure: bool


@dataclass(frozen=True)
class Analysis:
    """Results of an analysis.

    Attributes:
        n, expected: number of pairs with a usable score by every metric, and of pairs of the data set.
        label_share: share of the labels' variance that lies between references.
        methods: one row per metric, the best first: coefficients with intervals, per reference, mapped,
            variance share.
        types: one row per metric: the coefficient within each distortion type and published subset of types.
        type_names: description of each column of `types`, with its number of pairs.
        within: one row per metric, one column per reference: the coefficient within it; NaN where undefined.
        comparisons: one row per pair of metrics.
        significance: metrics by metrics: 1 if the row's metric is better, -1 if worse, 0 if undecided (Holm).
        alarms: pairs of metrics that pooled and per-reference coefficients order differently.
        notes: notes about everything that was left out or failed.
        coefficients: from which all of this is computed.
    """

    dataset: str
    perturbation: str
    settings: AnalysisSettings
    n: int
    expected: int
    references: int
    label_share: float
    methods: pd.DataFrame
    types: pd.DataFrame
    type_names: dict[str, str]
    within: pd.DataFrame
    comparisons: pd.DataFrame
    significance: pd.DataFrame
    alarms: list[Alarm]
    notes: list[str]
    coefficients: Coefficients


def analyse(folder: ScoreFolder, dataset: str, perturbation: str, metrics: Sequence[str] | None,
            settings: AnalysisSettings) -> Analysis:
    """Analyse the metrics of a data set.

    Args:
        folder: folder of scores.
        dataset, perturbation: of the scores.
        metrics: as in `load_table`.
        settings: settings of the analysis.

    Raises:
        StoreError: as in `load_table`, or if `settings` ask for no replicate.
    """
    if settings.replicates < 1:
        raise StoreError(f"the bootstrap needs at least 1 replicate, found {settings.replicates}")
    notes: list[str] = []
    scored = load_table(folder, dataset, perturbation, metrics, notes)
    coefficient = settings.coefficient
    everywhere = correlate_within(scored.quality, scored.labels, [np.arange(len(scored.labels))],
                                  (coefficient,))[coefficient][:, 0]
    scored = scored.of(np.argsort(-everywhere, kind="stable").tolist())
    resampled = resample(scored, settings.replicates, settings.seed, jackknife=settings.interval == "bca",
                         what=f"{dataset}/{perturbation}: {settings.replicates} resamples")
    methods = _methods(resampled, settings, notes)
    comparisons = _comparisons(resampled, settings)
    significance = _significance(scored.metrics, comparisons)
    methods["not_worse_than_best"] = (significance.iloc[0].to_numpy() < 1) & methods[coefficient].notna()
    by_reference = pd.DataFrame(resampled.within(coefficient), columns=list(scored.references),
                                index=pd.Index(scored.metrics, name="metric"))
    return Analysis(dataset, perturbation, settings, len(scored.labels), scored.expected, resampled.groups,
                    between_share(scored.labels, scored.groups), methods, *_types(scored, dataset, settings),
                    by_reference, comparisons, significance,
                    _alarms(methods, comparisons, coefficient) if settings.details else [], notes, resampled)


def _methods(resampled: Coefficients, settings: AnalysisSettings, notes: list[str]) -> pd.DataFrame:
    scored, weights, groups = resampled.table, resampled.weights, resampled.groups
    within = {name: resampled.within(name)
              for name in (COEFFICIENTS if settings.details else (settings.coefficient,))}
    lines = []
    curves: dict[str, list[str]] = {}
    for row, metric in enumerate(scored.metrics):
        line: dict[str, Any] = {"metric": metric, **scored.files[row].facts.use}
        for name in COEFFICIENTS:
            low, high, undefined = _interval(resampled.pooled[name][row], groups, settings)
            line |= {name: resampled.pooled[name][row, 0], f"{name}_low": low, f"{name}_high": high}
            if math.isnan(low):
                notes.append(f"{metric}: {name} has no {settings.interval} interval (references: {groups})")
            elif undefined:
                notes.append(f"{metric}: {name} is undefined in {undefined} replicates, "
                             "which its interval leaves out")
        for name, values in within.items():
            defined = values[row][np.isfinite(values[row])]
            line |= {f"{name}_per_ref": mean_of_defined(values[row]),
                     f"{name}_per_ref_median": np.median(defined) if len(defined) else math.nan,
                     f"{name}_per_ref_sd": defined.std(ddof=1) if len(defined) > 1 else math.nan}
        low, high, _ = _mean_interval(within[settings.coefficient][row], weights, settings)
        line |= {f"{settings.coefficient}_per_ref_low": low, f"{settings.coefficient}_per_ref_high": high}
        line["undefined_refs"] = int((~np.isfinite(within[settings.coefficient][row])).sum())
        if settings.details:
            fit = fit_logistic(scored.quality[row], scored.labels, settings.logistic)
            line |= {"plcc_mapped": fit.plcc, "rmse": fit.rmse}
            for text in filter(None, (fit.problem, fit.note)):
                curves.setdefault(text, []).append(metric)
        line["between_share"] = between_share(scored.quality[row], scored.groups)
        lines.append(line)
    notes += [f"logistic curve of {', '.join(names)}: {text}" for text, names in curves.items()]
    frame = pd.DataFrame(lines).set_index("metric")
    for suffix in ("", "_per_ref"):
        frame[f"rank{suffix or '_pooled'}"] = frame[f"{settings.coefficient}{suffix}"].rank(ascending=False)
    return frame


def _interval(values: np.ndarray, groups: int, settings: AnalysisSettings) -> bootstrap.Interval:
    """Compute an interval from the estimate, the G jackknife values (BCa only) and the replicates."""
    if settings.interval == "bca" and groups > 1:
        return bootstrap.bca_interval(float(values[0]), values[1 + groups:], values[1:1 + groups])
    return bootstrap.interval_over_references(values[1:], groups)


def _mean_interval(values: np.ndarray, weights: np.ndarray, settings: AnalysisSettings) -> bootstrap.Interval:
    """Compute the interval of the mean over references, from the same resamples; leave out undefined ones."""
    defined = np.isfinite(values)
    with np.errstate(invalid="ignore"):
        means = weights[:, defined] @ values[defined] / weights[:, defined].sum(axis=1)
    return _interval(means, weights.shape[1], settings)


def _types(scored: ScoreTable, dataset: str,
           settings: AnalysisSettings) -> tuple[pd.DataFrame, dict[str, str]]:
    """Compute the coefficient within each distortion type and published subset of types; describe these."""
    facts = published().get(dataset, {"types": {}, "subsets": {}})
    names = sorted(set(scored.types))
    if names in ([], [""]):
        return pd.DataFrame(index=pd.Index(scored.metrics, name="metric")), {}
    members = {name: [name] for name in [*facts["types"], *names] if name in names} | facts["subsets"]
    columns = {name: np.isin(scored.types, types) for name, types in members.items()}
    values = correlate_within(scored.quality, scored.labels, list(columns.values()), (settings.coefficient,))
    frame = pd.DataFrame(values[settings.coefficient], columns=list(columns),
                         index=pd.Index(scored.metrics, name="metric"))
    return frame, {name: f"{facts['types'].get(name, '')} ({int(pairs.sum())} pairs)".strip()
                   for name, pairs in columns.items()}


def _comparisons(resampled: Coefficients, settings: AnalysisSettings) -> pd.DataFrame:
    """Compare every pair of metrics: the difference with its interval, and tests."""
    scored, groups, name, n = (resampled.table, resampled.groups, settings.coefficient,
                               len(resampled.table.labels))
    replicates, within = resampled.pooled[name], resampled.within(name)
    # For the tests of two correlations with a common variable; there is no such test for Kendall's tau here.
    values = {"plcc": scored.quality, "srcc": stats.rankdata(scored.quality, axis=1)}.get(name)
    with np.errstate(invalid="ignore", divide="ignore"):
        among = np.atleast_2d(np.corrcoef(values)) if values is not None else None
    p_t = paired_tests.bootstrap_t_tests(replicates[:, 0], replicates[:, -settings.replicates:], groups)
    lines = []
    for a, b in itertools.combinations(range(len(scored.metrics)), 2):
        difference = replicates[a] - replicates[b]
        drawn = difference[-settings.replicates:]
        lines.append(line := {"a": scored.metrics[a], "b": scored.metrics[b], "difference": difference[0]})
        if settings.details:
            low, high, _ = _interval(difference, groups, settings)
            line |= {"low": low, "high": high,
                     "p": bootstrap.paired_p_value(drawn) if groups > 1 else math.nan}
        line |= {"p_t": p_t[a, b], "p_holm": math.nan}
        if not settings.details:
            continue
        signed = paired_tests.wilcoxon_over_references(within[a], within[b])
        line |= {"wins_a": signed.wins, "ties": signed.ties, "references": signed.n,
                 "p_wilcoxon": signed.p_value, "p_wilcoxon_holm": math.nan}
        if among is not None:
            r = (replicates[a, 0], replicates[b, 0], float(among[a, b]) if n > 3 else math.nan, max(n, 4))
            line |= dict(zip(("williams_t", "p_williams", "steiger_z", "p_steiger", "zou_low", "zou_high"),
                             (*paired_tests.williams(*r), *paired_tests.steiger(*r),
                              *paired_tests.zou_interval(*r)), strict=True))
    frame = pd.DataFrame(lines, columns=list(lines[0]) if lines else ["a", "b", "difference"])
    if lines and settings.details:
        frame["p_wilcoxon_holm"] = paired_tests.holm(frame["p_wilcoxon"].to_numpy())
    if lines:
        # Not from `p`: it is at least 2 / (B + 1), too large for the correction of many comparisons.
        frame["p_holm"] = paired_tests.holm(frame["p_t"].to_numpy())
    return frame


def _significance(metrics: Sequence[str], comparisons: pd.DataFrame) -> pd.DataFrame:
    matrix = np.zeros((len(metrics), len(metrics)), dtype=int)
    if not comparisons.empty:
        decided = comparisons["p_holm"].to_numpy() < 1 - LEVEL
        above = np.triu_indices(len(metrics), k=1)  # in the order of the comparisons
        matrix[above] = np.where(decided, np.sign(comparisons["difference"].to_numpy()), 0)
    return pd.DataFrame(matrix - matrix.T, index=pd.Index(metrics, name="metric"), columns=list(metrics))


def _alarms(methods: pd.DataFrame, comparisons: pd.DataFrame, coefficient: str) -> list[Alarm]:
    """Find pairs of metrics with opposite orders, pooled and within references.

    Pairs with both orders significant come first; then by the smaller of the two differences, descending.
    """
    pooled, within = methods[coefficient], methods[f"{coefficient}_per_ref"]
    found = []
    for line in comparisons.to_dict("records"):
        a, b = line["a"], line["b"]
        gain, loss = pooled[a] - pooled[b], within[a] - within[b]
        if min(math.fabs(gain), math.fabs(loss)) > paired_tests.ROUNDING and gain * loss < 0:
            decided = max(line["p_holm"], line["p_wilcoxon_holm"]) < 1 - LEVEL
            first, second = (a, b) if gain > 0 else (b, a)
            text = (f"{first} is before {second} pooled ({pooled[first]:.3f}, {pooled[second]:.3f}), "
                    f"but after it within references ({within[first]:.3f}, {within[second]:.3f})"
                    + (", both significantly" if decided else ""))
            found.append((decided, min(math.fabs(gain), math.fabs(loss)), text))
    return [Alarm(text, decided) for decided, _, text in sorted(found, reverse=True)]
