"""Claims about metrics, judged by rule. docs/claims.md explains the rules and the verdicts.

A claim is a set of comparisons. A comparison is an effect, which the claim says is above 0: mostly the
difference of two metrics' coefficients on one data set and perturbation.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from zsiqa.evaluation.bootstrap import LEVEL, percentile_interval
from zsiqa.evaluation.coefficients import Coefficients, resample
from zsiqa.evaluation.comparisons import Comparison, list_comparisons
from zsiqa.evaluation.paired_tests import holm
from zsiqa.evaluation.score_table import load_table
from zsiqa.releases import metric_facts
from zsiqa.results.score_folder import ScoreFolder
from zsiqa.types import StoreError

UNDECIDABLE = "undecidable"


class Count(NamedTuple):
    """Verdict from comparisons.

    Attributes:
        verdict: `holds` or `contradicted` if all comparisons say so, `mixed` if they differ, `undecidable`
            if at least half of the comparisons have no scores.
        total, supporting: comparisons with scores, and those with an effect above 0.
        significant, against: comparisons with an effect significantly above, and below 0.
    """

    verdict: str
    total: int
    supporting: int
    significant: int
    against: int


@dataclass(frozen=True)
class Verdict:
    """Verdict on a claim.

    Attributes:
        name, text, place: of the claim.
        comparisons: of the claim, with their effects.
        pooled, within: verdicts by coefficients over all pairs, and by coefficients within references.
        other: the verdict with scores of the metrics' own authors; None where there are none.
        causes: known differences between the two.
    """

    name: str
    text: str
    place: str
    comparisons: Sequence[Comparison]
    pooled: Count
    within: Count
    other: Verdict | None = None
    causes: Sequence[str] = ()

    def on(self, dataset: str) -> Count:
        """Verdict on one data set, by coefficients over all pairs."""
        return count([one for one in self.comparisons if one.dataset == dataset])


def claims_on(paper: Mapping[str, Any], datasets: Sequence[str]) -> dict[str, Any]:
    """Adapt the claims of a paper to the data sets with scores.

    A claim is judged on its own data sets among these. Data sets that no claim names belong to all claims.
    """
    own = {name for claim in paper["claims"] for name in claim["datasets"]}
    claims = [{**claim, "datasets": [name for name in datasets
                                     if name in claim["datasets"] or name not in own]}
              for claim in paper["claims"]]
    return {**paper, "claims": [claim for claim in claims if claim["datasets"]]}


def judge(folder: ScoreFolder, paper: Mapping[str, Any], replicates: int = 1000, seed: int = 0,
          known: Mapping[tuple[str, str], Coefficients] | None = None) -> tuple[list[Verdict], list[str]]:
    """Judge all claims of a paper.

    Args:
        folder: folder of scores, or several sources.
        paper: from `zsiqa.evaluation.claim_files.read_claims`.
        replicates, seed: of the bootstrap over references.
        known: coefficients that were already computed with these replicates and seed, by data set and
            perturbation.

    Returns:
        Verdicts in the order of the claims, and notes on scores that were left out or replaced.
    """
    counterparts = paper.get("counterparts", {})
    notes: list[str] = []
    held = {key.metric for key in folder.held()}
    swapped = {metric: other for metric, other in counterparts.items() if other in held}
    specs: list[tuple[Mapping[str, Any], list[Comparison], Mapping[str, str]]] = []
    for claim in paper["claims"]:
        comparisons = list(list_comparisons(claim))
        specs.append((claim, comparisons, {}))
        if any(one.metrics & set(swapped) for one in comparisons):
            specs.append((claim, list(list_comparisons(claim, swapped)), swapped))
    needed = [one for _, comparisons, _ in specs for one in comparisons]
    values = _coefficients(folder, needed, replicates, seed, notes, known or {})
    measured = [_measure(one, values) for one in needed]
    corrected = iter(one._replace(p=float(p), p_within=float(p_within)) for one, p, p_within in zip(
        measured, holm([one.p for one in measured]), holm([one.p_within for one in measured]), strict=True))
    verdicts: list[Verdict] = []
    for claim, comparisons, replaced in specs:
        own = [next(corrected) for _ in comparisons]
        verdict = Verdict(claim["name"], claim["text"], claim["place"], own, count(own),
                          count(own, within=True))
        if not replaced:
            verdicts.append(verdict)
            continue
        causes = {metric_facts(metric).unlike_authors for one in verdicts[-1].comparisons
                  for metric in one.metrics if metric in replaced} - {""}
        verdicts[-1] = replace(verdicts[-1], other=verdict, causes=sorted(causes))
    return verdicts, notes


def count(comparisons: Sequence[Comparison], *, within: bool = False) -> Count:
    """Count comparisons for and against a claim, and conclude.

    Args:
        comparisons: of the claim, after the correction of p-values.
        within: use the effects within references.
    """
    effects = [(one.within, one.p_within) if within else (one.value, one.p) for one in comparisons]
    known = [(value, p) for value, p in effects if math.isfinite(value)]
    supporting = sum(value > 0 for value, _ in known)
    sure = [value > 0 for value, p in known if p < 1 - LEVEL]
    if 2 * len(known) <= len(comparisons):
        verdict = UNDECIDABLE
    else:
        verdict = ("holds" if supporting == len(known) else "contradicted" if not supporting else "mixed")
    return Count(verdict, len(known), supporting, sum(sure), len(sure) - sum(sure))


def _coefficients(folder: ScoreFolder, comparisons: Sequence[Comparison], replicates: int, seed: int,
                  notes: list[str], known: Mapping[tuple[str, str], Coefficients],
                  ) -> dict[tuple[str, str, str], Coefficients]:
    """Compute all coefficients that comparisons need, by data set, perturbation and coefficient."""
    wanted: dict[tuple[str, str], dict[str, set[str]]] = {}  # metrics by coefficient
    for one in comparisons:
        for perturbation in dict.fromkeys(("original", one.perturbation)):
            of_set = wanted.setdefault((one.dataset, perturbation), {})
            of_set.setdefault(one.coefficient, set()).update(one.metrics)
    found: dict[tuple[str, str, str], Coefficients] = {}
    for (dataset, perturbation), asked in wanted.items():
        resampled = known.get((dataset, perturbation))
        if resampled is None:
            try:
                table = load_table(folder, dataset, perturbation, None, notes)
            except StoreError as error:
                notes.append(f"{dataset}/{perturbation}: {error}")
                continue
            metrics = set().union(*asked.values())
            table = table.of([row for row, metric in enumerate(table.metrics) if metric in metrics])
            if not table.metrics:
                continue
            resampled = resample(table, replicates, seed, sorted(asked), what=f"{dataset}/{perturbation}")
        for name, metrics in asked.items():
            found[dataset, perturbation, name] = resampled.of(
                sorted(metrics & set(resampled.table.metrics)))
    return found


def _measure(comparison: Comparison, found: Mapping[tuple[str, str, str], Coefficients]) -> Comparison:
    """Compute the effect of a comparison, with uncorrected p-values."""
    references: set[tuple[str, ...]] = set()

    def look(metric: str, perturbation: str, *, pooled: bool) -> np.ndarray:
        there = found.get((comparison.dataset, perturbation, comparison.coefficient))
        if there is None or metric not in there.table.metrics:
            raise StoreError(f"no scores of {metric} on {comparison.dataset}/{perturbation}")
        references.add(there.table.references)
        if len(references) > 1:  # the draws of different references cannot be subtracted
            raise StoreError(f"perturbations of {comparison.dataset} have scores for different references")
        row = there.table.metrics.index(metric)
        inside = there.within(comparison.coefficient)[row]
        return np.asarray(there.pooled[comparison.coefficient][row] if pooled
                          else np.concatenate([[np.nanmean(inside)], inside]))

    try:
        pooled, within = (comparison.effect(partial(look, pooled=pooled)) for pooled in (True, False))
    except StoreError as error:
        return comparison._replace(missing=str(error))
    groups = len(references.pop())
    low, high, _ = percentile_interval(pooled[1:])
    spread = float(np.nanstd(pooled[1:], ddof=1)) * math.sqrt(groups / max(groups - 1, 1))
    inside = within[1:][np.isfinite(within[1:])]
    if not len(inside):
        inside = np.array([math.nan])
    spread_within = float(inside.std()) / math.sqrt(max(len(inside) - 1, 1))
    return comparison._replace(
        value=float(pooled[0]), low=low, high=high, p=_p_value(pooled[0], spread, groups),
        within=float(inside.mean()), p_within=_p_value(inside.mean(), spread_within, len(inside)))


def _p_value(value: float, error: float, groups: int) -> float:
    """Test an effect by its standard error: Student's t with one degree of freedom less than references."""
    if groups < 2 or math.isnan(error):
        return math.nan
    return float(2 * stats.t.sf(math.fabs(value) / error, groups - 1)) if error > 0 else float(value == 0)
