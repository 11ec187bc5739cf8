"""Statistics beside the paper's pooled coefficients, for one data set under one perturbation.

The unit of generalisation is the reference, not the pair: intervals and comparisons resample references. Tests that
take the pairs as independent are offered, too, and say so.
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

from zsiqa.evaluation.bootstrap import (
    Interval,
    bca_interval,
    draw,
    leave_one_out,
    paired_p_value,
    percentile_interval,
    replicate,
)
from zsiqa.evaluation.correlation import COEFFICIENTS, between_share, correlate, per_reference
from zsiqa.evaluation.logistic import fit_logistic
from zsiqa.evaluation.paired_tests import holm, steiger, wilcoxon_over_references, williams, zou_interval
from zsiqa.releases import published
from zsiqa.results.folder import ScoreFolder, load_whole
from zsiqa.results.scores import ScoreKey, Scores
from zsiqa.terminal import track
from zsiqa.types import StoreError

LEVEL = 0.95
SAME_LABEL = 1e-9  # labels were written with all digits; only the last bits may differ
ROUNDING = 1e-12  # of a coefficient; `zsiqa.evaluation.bootstrap`


@dataclass(frozen=True)
class Settings:
    """What to compute.

    Attributes:
        coefficient: of comparisons, types and alarms.
        replicates, seed: of the bootstrap over references.
        interval: how replicates become an interval.
        logistic: parameters of the curve before PLCC and RMSE.
        refit: fit that curve in every replicate, for an interval of its PLCC (slow).
    """

    coefficient: str = "srcc"
    replicates: int = 2000
    seed: int = 0
    interval: Literal["percentile", "bca"] = "percentile"
    logistic: Literal[4, 5] = 4
    refit: bool = False


class Alarm(NamedTuple):
    """Two metrics that change places; `sure` if both orders are significant."""

    text: str
    sure: bool


@dataclass(frozen=True)
class Analysis:
    """What came out.

    Attributes:
        n, expected: pairs that have a usable score by every metric, and of the data set.
        label_share: share of the labels' variance that lies between references.
        methods: a row a metric, the best first: coefficients with intervals, per reference, mapped, variance share.
        types: a row a metric: the coefficient within each distortion type, and within published subsets of types.
        type_names: what each column of `types` is, with its number of pairs.
        within: a row a metric, a column a reference: the coefficient within it; NaN where undefined.
        comparisons: a row a pair of metrics.
        significance: metric by metric: 1 where the row's is better, -1 where it is worse, 0 where undecided (Holm).
        alarms: pairs of metrics that pooled and per-reference coefficients order differently.
        notes: what was left out or failed.
    """

    dataset: str
    perturbation: str
    settings: Settings
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


@dataclass(frozen=True, eq=False)
class Scored:
    """Several metrics on the same pairs, all turned so that higher is better.

    Attributes:
        quality: (M, N).
        opinion: (N,).
        refs, types: (N,).
        groups: (N,) the reference of each pair, as a number.
    """

    metrics: list[str]
    quality: np.ndarray
    opinion: np.ndarray
    refs: np.ndarray
    types: np.ndarray
    groups: np.ndarray


def analyse(folder: ScoreFolder, dataset: str, perturbation: str, metrics: Sequence[str] | None,
            settings: Settings) -> Analysis:
    """Analyse the metrics of a data set.

    Args:
        folder: of scores.
        dataset, perturbation: which scores.
        metrics: which metrics; None for all that have a row for every pair, and scores of half as many as the fullest.
        settings: what to compute.

    Raises:
        StoreError: if there are no such scores, or a wanted metric is not whole.
    """
    if settings.replicates < 1:
        raise StoreError(f"the bootstrap needs at least 1 replicate, found {settings.replicates}")
    notes: list[str] = []
    loaded = _agreeing(_load(folder, dataset, perturbation, metrics, notes), notes, named=metrics is not None)
    scored = _common(loaded if metrics else _fuller(loaded, notes), notes)
    groups = int(scored.groups.max()) + 1
    weights = np.vstack([np.ones((1, groups), dtype=int), leave_one_out(groups),
                         draw(groups, settings.replicates, settings.seed)])
    order = np.argsort([-value for value in _point(scored, settings.coefficient)], kind="stable")
    scored = Scored([scored.metrics[row] for row in order], scored.quality[order], scored.opinion, scored.refs,
                    scored.types, scored.groups)
    within = [per_reference(quality, scored.opinion, scored.refs) for quality in scored.quality]
    replicates = {name: np.empty((len(scored.metrics), len(weights))) for name in COEFFICIENTS}
    for row in track(range(len(scored.metrics)), total=len(scored.metrics), unit="metrics"):
        for name, values in replicate(scored.quality[row], scored.opinion, scored.groups, weights).items():
            replicates[name][row] = values
    methods = _methods(scored, within, replicates, weights, settings, notes)
    comparisons = _comparisons(scored, within, replicates[settings.coefficient], groups, settings)
    significance = _significance(scored.metrics, comparisons)
    methods["not_worse_than_best"] = (significance.iloc[0].to_numpy() < 1) & methods[settings.coefficient].notna()
    by_reference = pd.DataFrame([values[settings.coefficient] for values in within], columns=np.unique(scored.refs),
                                index=pd.Index(scored.metrics, name="metric"))
    return Analysis(dataset, perturbation, settings, len(scored.opinion), loaded[0].expected, groups,
                    between_share(scored.opinion, scored.groups), methods, *_types(scored, dataset, settings),
                    by_reference, comparisons, significance, _alarms(methods, comparisons, settings.coefficient), notes)


def _load(folder: ScoreFolder, dataset: str, perturbation: str, metrics: Sequence[str] | None,
          notes: list[str]) -> list[Scores]:
    there = sorted({key.metric for key in folder.held() if key[::2] == (dataset, perturbation)})
    if not there:
        datasets = sorted({key.dataset for key in folder.files})
        perturbations = sorted({key.perturbation for key in folder.files if key.dataset == dataset})
        raise StoreError(f"no scores of {dataset}/{perturbation} in {folder.root}; it holds "
                         f"{', '.join(perturbations if dataset in datasets else datasets) or 'nothing'}")
    if unknown := sorted(set(metrics or ()) - set(there)):
        raise StoreError(f"no scores of {dataset} by {', '.join(unknown)} under {perturbation}; there are "
                         f"{', '.join(there)}")
    found = []
    for metric in dict.fromkeys(metrics or there):
        key = ScoreKey(dataset, metric, perturbation)
        scores = load_whole(folder, key)
        if scores is None:
            problem = (f"{folder.files.get(key, key)} cannot be read or has not a row for every pair; `zsiqa audit` "
                       f"says more")
            if metrics:
                raise StoreError(problem)
            notes.append(f"left out: {problem}")
            continue
        if scores.path != folder.files.get(key):
            notes.append(f"{metric}: its own file is not there or not whole; taken from {scores.path.name}")
        notes += [note for note in scores.notes if note not in notes]
        found.append(scores)
    if not found:
        raise StoreError(f"no complete scores of {dataset}/{perturbation} in {folder.root}")
    return found


def _agreeing(loaded: Sequence[Scores], notes: list[str], *, named: bool) -> list[Scores]:
    """Those whose pairs have the labels and references that most have; others are an error if they were asked for."""
    kinds = [hash((*scores.pairs.ids, *scores.pairs.refs, scores.opinion.tobytes())) for scores in loaded]
    commonest = loaded[kinds.index(max(kinds, key=kinds.count))]
    usual = {name: (ref, label) for name, ref, label in zip(commonest.pairs.ids, commonest.pairs.refs,
                                                            commonest.opinion, strict=True)}
    kept = []
    for scores in loaded:
        known = [(usual[name], (ref, label)) for name, ref, label in
                 zip(scores.pairs.ids, scores.pairs.refs, scores.opinion, strict=True) if name in usual]
        what = ("references" if any(one[0] != other[0] for one, other in known) else
                "labels" if any(math.fabs(one[1] - other[1]) > SAME_LABEL for one, other in known) else "")
        if not what:
            kept.append(scores)
        elif named:
            raise StoreError(f"{scores.path} has other {what} than {commonest.path}; `zsiqa audit` says more")
        else:
            notes.append(f"left out: {scores.path} has other {what} than most; `zsiqa audit` says more")
    return kept


def _fuller(loaded: Sequence[Scores], notes: list[str]) -> list[Scores]:
    """Those that have scores of half as many pairs as the fullest: a run just begun must not take the rest's pairs."""
    usable = [int(scores.usable.sum()) for scores in loaded]
    notes += [f"few pairs: {scores.key.metric} has scores of {count} of {scores.expected}, and is left out (--metric "
              f"keeps it in)"
              for scores, count in zip(loaded, usable, strict=True) if 2 * count < max(usable)]
    return [scores for scores, count in zip(loaded, usable, strict=True) if 2 * count >= max(usable)]


def _common(loaded: Sequence[Scores], notes: list[str]) -> Scored:
    """All metrics on the pairs that each has a usable score for, in the order of the first."""
    ids = [name for row, name in enumerate(loaded[0].pairs.ids) if loaded[0].usable[row]]
    for scores in loaded[1:]:
        usable = set(scores.pairs.ids[scores.usable])
        ids = [name for name in ids if name in usable]
    for scores in loaded:
        if lacking := scores.expected - int(scores.usable.sum()):
            notes.append(f"{scores.key.metric}: {lacking} of {scores.expected} pairs have no usable score; they are "
                         f"left out for every metric")
    if len(ids) < 3:
        raise StoreError(f"only {len(ids)} pairs have a usable score by every metric")
    rows = []
    for scores in loaded:
        place = {name: row for row, name in enumerate(scores.pairs.ids)}
        rows.append(np.array([place[name] for name in ids]))
    first = loaded[0]
    refs = first.pairs.refs[rows[0]]
    return Scored([scores.key.metric for scores in loaded],
                  np.stack([scores.quality[some] for scores, some in zip(loaded, rows, strict=True)]),
                  first.opinion[rows[0]], refs, first.pairs.types[rows[0]], np.unique(refs, return_inverse=True)[1])


def _point(scored: Scored, coefficient: str) -> list[float]:
    return [_coefficient(quality, scored.opinion, coefficient) for quality in scored.quality]


def _coefficient(quality: np.ndarray, opinion: np.ndarray, name: str) -> float:
    return float(getattr(correlate(quality, opinion, label_higher_is_better=True, score_higher_is_better=True), name))


def _methods(scored: Scored, within: Sequence[dict[str, np.ndarray]], replicates: dict[str, np.ndarray],
             weights: np.ndarray, settings: Settings, notes: list[str]) -> pd.DataFrame:
    groups = weights.shape[1]
    lines = []
    curves: dict[str, list[str]] = {}
    for row, metric in enumerate(scored.metrics):
        line: dict[str, Any] = {"metric": metric}
        for name in COEFFICIENTS:
            low, high, undefined = _interval(replicates[name][row], groups, settings)
            line |= {name: replicates[name][row, 0], f"{name}_low": low, f"{name}_high": high}
            if math.isnan(low):
                notes.append(f"{metric}: {name} has no {settings.interval} interval (references: {groups})")
            elif undefined:
                notes.append(f"{metric}: {name} is undefined in {undefined} replicates, which its interval leaves out")
        for name in COEFFICIENTS:
            values = within[row][name]
            defined = values[np.isfinite(values)]
            line |= {f"{name}_per_ref": defined.mean() if len(defined) else math.nan,
                     f"{name}_per_ref_median": np.median(defined) if len(defined) else math.nan,
                     f"{name}_per_ref_sd": defined.std(ddof=1) if len(defined) > 1 else math.nan}
        line |= _interval_per_reference(within[row][settings.coefficient], weights, settings)
        line["undefined_refs"] = int((~np.isfinite(within[row][settings.coefficient])).sum())
        fit = fit_logistic(scored.quality[row], scored.opinion, settings.logistic)
        line |= {"plcc_mapped": fit.plcc, "rmse": fit.rmse}
        for text in filter(None, (fit.problem, fit.note)):
            curves.setdefault(text, []).append(metric)
        if settings.refit:
            line |= _refitted(scored, row, fit.parameters, weights[1 + groups:], settings, notes)
        line["between_share"] = between_share(scored.quality[row], scored.groups)
        lines.append(line)
    notes += [f"logistic curve of {', '.join(names)}: {text}" for text, names in curves.items()]
    frame = pd.DataFrame(lines).set_index("metric")
    for suffix in ("", "_per_ref"):
        frame[f"rank{suffix or '_pooled'}"] = frame[f"{settings.coefficient}{suffix}"].rank(ascending=False).to_numpy()
    return frame


def _interval(values: np.ndarray, groups: int, settings: Settings) -> Interval:
    """From values for the whole, for each reference left out, and for the replicates."""
    if groups < 2:
        return Interval(math.nan, math.nan, 0)
    estimate, jackknife, drawn = float(values[0]), values[1:1 + groups], values[1 + groups:]
    if settings.interval == "bca":
        return bca_interval(estimate, drawn, jackknife, LEVEL)
    return percentile_interval(drawn, LEVEL)


def _interval_per_reference(values: np.ndarray, weights: np.ndarray, settings: Settings) -> dict[str, float]:
    """Interval of the mean over references, from the same resamples; undefined references are left out."""
    defined = np.isfinite(values)
    with np.errstate(invalid="ignore"):
        means = weights[:, defined] @ values[defined] / weights[:, defined].sum(axis=1)
    interval = _interval(means, weights.shape[1], settings)
    name = f"{settings.coefficient}_per_ref"
    return {f"{name}_low": interval.low, f"{name}_high": interval.high}


def _refitted(scored: Scored, row: int, start: np.ndarray, drawn: np.ndarray, settings: Settings,
              notes: list[str]) -> dict[str, float]:
    """Interval of PLCC after the logistic curve, which is fitted anew to each of the drawn replicates."""
    values = []
    note = "the interval of the refitted logistic PLCC is a percentile interval"
    if settings.interval != "percentile" and note not in notes:
        notes.append(note)
    for counts in drawn:
        fit = fit_logistic(scored.quality[row], scored.opinion, settings.logistic, weights=counts[scored.groups],
                           start=start if settings.logistic == 4 else None)  # with 5, a near optimum may be missed
        values.append(fit.plcc)
    low, high, undefined = percentile_interval(values, LEVEL)
    if undefined:
        notes.append(f"{scored.metrics[row]}: the logistic curve failed in {undefined} replicates, left out")
    return {"plcc_mapped_low": low, "plcc_mapped_high": high}


def _types(scored: Scored, dataset: str, settings: Settings) -> tuple[pd.DataFrame, dict[str, str]]:
    """The coefficient within each distortion type and published subset of types, and what these are."""
    facts = published().get(dataset, {"types": {}, "subsets": {}})
    names = sorted(set(scored.types))
    if names in ([], [""]):
        return pd.DataFrame(index=pd.Index(scored.metrics, name="metric")), {}
    order = [name for name in facts["types"] if name in names]
    order += [name for name in names if name not in order]
    columns = {name: [name] for name in order} | facts["subsets"]
    frame = pd.DataFrame({
        name: [_coefficient(quality[some], scored.opinion[some], settings.coefficient) for quality in scored.quality]
        for name, members in columns.items() for some in [np.isin(scored.types, members)]},
        index=pd.Index(scored.metrics, name="metric"))
    return frame, {name: f"{facts['types'].get(name, '')} ({int(np.isin(scored.types, members).sum())} pairs)".strip()
                   for name, members in columns.items()}


def _comparisons(scored: Scored, within: Sequence[dict[str, np.ndarray]], replicates: np.ndarray, groups: int,
                 settings: Settings) -> pd.DataFrame:
    """Every pair of metrics: the difference with its interval, and tests."""
    name, n = settings.coefficient, len(scored.opinion)
    # The tests for two correlations with a common variable; there is none for Kendall's tau here.
    values = {"plcc": scored.quality, "srcc": stats.rankdata(scored.quality, axis=1)}.get(name)
    with np.errstate(invalid="ignore", divide="ignore"):
        among = np.atleast_2d(np.corrcoef(values)) if values is not None else None
    lines = []
    for a, b in itertools.combinations(range(len(scored.metrics)), 2):
        difference = replicates[a] - replicates[b]
        low, high, _ = _interval(difference, groups, settings)
        signed = wilcoxon_over_references(within[a][name], within[b][name])
        drawn = difference[1 + groups:]
        line = {"a": scored.metrics[a], "b": scored.metrics[b], "difference": difference[0], "low": low, "high": high,
                "p": paired_p_value(drawn) if groups > 1 else math.nan, "p_t": _t_test(difference[0], drawn, groups),
                "p_holm": math.nan, "wins_a": signed.wins,
                "ties": signed.ties, "references": signed.n, "p_wilcoxon": signed.p_value, "p_wilcoxon_holm": math.nan}
        if among is not None:
            r = (replicates[a, 0], replicates[b, 0], float(among[a, b]) if n > 3 else math.nan, max(n, 4))
            line |= dict(zip(("williams_t", "p_williams", "steiger_z", "p_steiger", "zou_low", "zou_high"),
                             (*williams(*r), *steiger(*r), *zou_interval(*r, level=LEVEL)), strict=True))
        lines.append(line)
    frame = pd.DataFrame(lines, columns=list(lines[0]) if lines else ["a", "b", "difference"])
    if lines:
        frame["p_wilcoxon_holm"] = holm(frame["p_wilcoxon"].to_numpy())
        # Not of `p`: counted among B replicates it cannot fall below 2 / (B + 1), which many comparisons need.
        frame["p_holm"] = holm(frame["p_t"].to_numpy())
    return frame


def _t_test(difference: float, replicates: np.ndarray, groups: int) -> float:
    """Two-sided p of a difference over its bootstrap standard error, Student's t with G - 1 degrees of freedom.

    The error is that of the resamples times sqrt(G / (G - 1)): the variance of G drawn references is that of a sample
    divided by G, not by G - 1.
    """
    if groups < 2 or np.isfinite(replicates).sum() < 2:
        return math.nan
    error = float(np.nanstd(replicates, ddof=1)) * math.sqrt(groups / (groups - 1))
    if max(math.fabs(difference), error) < ROUNDING:
        return 1.0
    return float(2 * stats.t.sf(math.fabs(difference) / error, groups - 1)) if error > 0 else 0.0


def _significance(metrics: Sequence[str], comparisons: pd.DataFrame) -> pd.DataFrame:
    matrix = np.zeros((len(metrics), len(metrics)), dtype=int)
    if not comparisons.empty:
        decided = comparisons["p_holm"].to_numpy() < 1 - LEVEL
        above = np.triu_indices(len(metrics), k=1)  # in the order of the comparisons
        matrix[above] = np.where(decided, np.sign(comparisons["difference"].to_numpy()), 0)
    return pd.DataFrame(matrix - matrix.T, index=pd.Index(metrics, name="metric"), columns=list(metrics))


def _alarms(methods: pd.DataFrame, comparisons: pd.DataFrame, coefficient: str) -> list[Alarm]:
    """Pairs of metrics that change places; first those decided both ways, then by how clear both orders are."""
    pooled, within = methods[coefficient], methods[f"{coefficient}_per_ref"]
    found = []
    for line in comparisons.to_dict("records"):
        a, b = line["a"], line["b"]
        gain, loss = pooled[a] - pooled[b], within[a] - within[b]
        if min(math.fabs(gain), math.fabs(loss)) > ROUNDING and gain * loss < 0:
            decided = max(line["p_holm"], line["p_wilcoxon_holm"]) < 1 - LEVEL
            first, second = (a, b) if gain > 0 else (b, a)
            text = (f"{first} is before {second} pooled ({pooled[first]:.3f}, {pooled[second]:.3f}), but after it "
                    f"within references ({within[first]:.3f}, {within[second]:.3f})"
                    + (", both significantly" if decided else ""))
            found.append((decided, min(math.fabs(gain), math.fabs(loss)), text))
    return [Alarm(text, decided) for decided, _, text in sorted(found, reverse=True)]
