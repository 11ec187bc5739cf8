"""Claims about metrics, judged by rule. docs/claims.md explains the rules and the verdicts.

A claim is a set of cells. A cell is an effect, which the claim says is above 0: mostly the difference of two
metrics' coefficients on one data set and perturbation.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from zsiqa.evaluation.bootstrap import LEVEL, percentile_interval
from zsiqa.evaluation.coefficients import Coefficients, resample
from zsiqa.evaluation.contrasts import Effect, contrasts
from zsiqa.evaluation.paired_tests import holm
from zsiqa.evaluation.score_table import load_table
from zsiqa.releases import metric_facts
from zsiqa.results.score_folder import ScoreFolder
from zsiqa.types import StoreError

UNDECIDABLE = "undecidable"


class Cell(NamedTuple):
    """One comparison of a claim.

    Attributes:
        text: the comparison in words.
        dataset, perturbation, coefficient: of the scores.
        metrics: all metrics in it.
        effect: computes the effect, in the same layout as its `Lookup`.
        value, low, high: the effect, with its interval over resampled references; NaN without scores.
        p: p-value of no effect, by Student's t over resampled references, after Holm's correction over all
            cells of all claims.
        within, p_within: mean of the effect within each reference, and its p-value by Student's t over
            references, after the same correction.
        missing: why there is no value.
    """

    text: str
    dataset: str
    perturbation: str
    coefficient: str
    metrics: frozenset[str]
    effect: Effect
    value: float = math.nan
    low: float = math.nan
    high: float = math.nan
    p: float = math.nan
    within: float = math.nan
    p_within: float = math.nan
    missing: str = ""


class Count(NamedTuple):
    """Verdict from cells.

    Attributes:
        verdict: `holds` or `contradicted` if all cells say so, `mixed` if they differ, `undecidable` if at
            least half of the cells have no scores.
        total, supporting: cells with scores, and those with an effect above 0.
        significant, against: cells with an effect significantly above, and below 0.
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
        cells: its comparisons.
        pooled, within: verdicts by coefficients over all pairs, and by coefficients within references.
        other: the verdict with scores of the metrics' own authors; None where there are none.
        causes: known differences between the two.
    """

    name: str
    text: str
    place: str
    cells: Sequence[Cell]
    pooled: Count
    within: Count
    other: Verdict | None = None
    causes: Sequence[str] = ()

    def on(self, dataset: str) -> Count:
        """Verdict on one data set, by coefficients over all pairs."""
        return count([cell for cell in self.cells if cell.dataset == dataset])


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
    specs: list[tuple[Mapping[str, Any], list[Cell], Mapping[str, str]]] = []
    for claim in paper["claims"]:
        cells = list(cells_of(claim))
        specs.append((claim, cells, {}))
        if any(cell.metrics & set(swapped) for cell in cells):
            specs.append((claim, list(cells_of(claim, swapped)), swapped))
    needed = [cell for _, cells, _ in specs for cell in cells]
    values = _coefficients(folder, needed, replicates, seed, notes, known or {})
    measured = [_measure(cell, values) for cell in needed]
    p, p_within = holm([cell.p for cell in measured]), holm([cell.p_within for cell in measured])
    corrected = iter(cell._replace(p=float(one), p_within=float(other))
                     for cell, one, other in zip(measured, p, p_within, strict=True))
    verdicts: list[Verdict] = []
    for claim, cells, replaced in specs:
        own = [next(corrected) for _ in cells]
        verdict = Verdict(claim["name"], claim["text"], claim["place"], own, count(own),
                          count(own, within=True))
        if not replaced:
            verdicts.append(verdict)
            continue
        causes = {metric_facts(metric).unlike_authors for cell in verdicts[-1].cells
                  for metric in cell.metrics if metric in replaced} - {""}
        verdicts[-1] = replace(verdicts[-1], other=verdict, causes=sorted(causes))
    return verdicts, notes


def count(cells: Sequence[Cell], *, within: bool = False) -> Count:
    """Count cells for and against a claim, and conclude.

    Args:
        cells: of the claim, after the correction of p-values.
        within: use the effects within references.
    """
    effects = [(cell.within, cell.p_within) if within else (cell.value, cell.p) for cell in cells]
    known = [(value, p) for value, p in effects if math.isfinite(value)]
    supporting = sum(value > 0 for value, _ in known)
    sure = [value > 0 for value, p in known if p < 1 - LEVEL]
    if 2 * len(known) <= len(cells):
        verdict = UNDECIDABLE
    else:
        verdict = ("holds" if supporting == len(known) else "contradicted" if not supporting else "mixed")
    return Count(verdict, len(known), supporting, sum(sure), len(sure) - sum(sure))


def cells_of(claim: Mapping[str, Any], swapped: Mapping[str, str] | None = None) -> Iterator[Cell]:
    """List the cells of a claim, without values.

    Args:
        claim: as in a file of configs/claims.
        swapped: metrics to replace by others.
    """
    def name(metric: str) -> str:
        return (swapped or {}).get(metric, metric)

    for dataset, perturbation, coefficient in product(
            claim["datasets"], claim.get("perturbations", ["original"]), claim.get("coefficients", ["srcc"])):
        for text, metrics, effect in contrasts(claim, perturbation, name):
            yield Cell(text, dataset, perturbation, coefficient, frozenset(metrics), effect)


def _coefficients(folder: ScoreFolder, cells: Sequence[Cell], replicates: int, seed: int, notes: list[str],
                  known: Mapping[tuple[str, str], Coefficients]) -> dict[tuple[str, str, str], Coefficients]:
    """Compute all coefficients that cells need, by data set, perturbation and coefficient."""
    wanted: dict[tuple[str, str], dict[str, set[str]]] = {}  # metrics by coefficient
    for cell in cells:
        for perturbation in dict.fromkeys(("original", cell.perturbation)):
            of_set = wanted.setdefault((cell.dataset, perturbation), {})
            of_set.setdefault(cell.coefficient, set()).update(cell.metrics)
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


def _measure(cell: Cell, found: Mapping[tuple[str, str, str], Coefficients]) -> Cell:
    """Compute the effect of a cell, with uncorrected p-values."""
    references: set[tuple[str, ...]] = set()

    def look(metric: str, perturbation: str, *, pooled: bool) -> np.ndarray:
        there = found.get((cell.dataset, perturbation, cell.coefficient))
        if there is None or metric not in there.table.metrics:
            raise StoreError(f"no scores of {metric} on {cell.dataset}/{perturbation}")
        references.add(there.table.references)
        if len(references) > 1:  # the draws of different references cannot be subtracted
            raise StoreError(f"perturbations of {cell.dataset} have scores for different references")
        row = there.table.metrics.index(metric)
        inside = there.within(cell.coefficient)[row]
        return np.asarray(there.pooled[cell.coefficient][row] if pooled
                          else np.concatenate([[np.nanmean(inside)], inside]))

    try:
        pooled, within = (cell.effect(partial(look, pooled=pooled)) for pooled in (True, False))
    except StoreError as error:
        return cell._replace(missing=str(error))
    groups = len(references.pop())
    low, high, _ = percentile_interval(pooled[1:])
    spread = float(np.nanstd(pooled[1:], ddof=1)) * math.sqrt(groups / max(groups - 1, 1))
    inside = within[1:][np.isfinite(within[1:])]
    if not len(inside):
        inside = np.array([math.nan])
    return cell._replace(value=float(pooled[0]), low=low, high=high, p=_p_value(pooled[0], spread, groups),
                         within=float(inside.mean()), p_within=_p_value(
                             inside.mean(), float(inside.std()) / math.sqrt(max(len(inside) - 1, 1)),
                             len(inside)))


def _p_value(value: float, error: float, groups: int) -> float:
    """Test an effect by its standard error: Student's t with one degree of freedom less than references."""
    if groups < 2 or math.isnan(error):
        return math.nan
    return float(2 * stats.t.sf(math.fabs(value) / error, groups - 1)) if error > 0 else float(value == 0)
