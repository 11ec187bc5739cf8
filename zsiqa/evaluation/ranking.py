"""Ranking of metrics on every data set and perturbation: coefficients, intervals, ranks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from zsiqa.evaluation.bootstrap import LEVEL, interval_over_references
from zsiqa.evaluation.coefficients import resample
from zsiqa.evaluation.correlation import COEFFICIENTS, correlate_within, mean_of_defined
from zsiqa.evaluation.cost import cost_of
from zsiqa.evaluation.findings import Finding, find_in_labels
from zsiqa.evaluation.half_grid import is_on_half_grid
from zsiqa.evaluation.identical_images import Identical, find_identical
from zsiqa.evaluation.paired_tests import best_group
from zsiqa.evaluation.score_table import ScoreTable, load_table
from zsiqa.results.score_folder import ScoreFolder
from zsiqa.terminal import listed, track
from zsiqa.types import REFERENCES, StoreError, did_you_mean


@dataclass(frozen=True)
class Ranking:
    """Ranking of metrics.

    Attributes:
        rows: one row a (dataset, perturbation, metric), the best first within a data set and perturbation.
            `flags`: tuple of names of what changes how the row's numbers may be read.
        findings: by data set, what the scores say about it.
        notes: what was left out or replaced.
        replicates: of the bootstrap.
    """

    rows: pd.DataFrame
    findings: dict[str, list[Finding]]
    notes: list[str]
    replicates: int


def rank(folder: ScoreFolder, datasets: Sequence[str] | None = None,
         perturbations: Sequence[str] | None = ("original",), metrics: Sequence[str] | None = None,
         replicates: int = 1000, seed: int = 0) -> Ranking:
    """Rank metrics on every data set and perturbation.

    Intervals and tests resample references (`zsiqa.evaluation.bootstrap`). A metric is in the best group if
    it is not significantly worse than the metric with the highest SRCC: Student's t of the difference over
    its bootstrap error, Holm over all pairs of metrics.

    Args:
        folder: folder of scores, or several sources.
        datasets, perturbations: names; None for all that have scores, without those of references alone.
        metrics: names; None for all.
        replicates, seed: of the bootstrap.

    Raises:
        StoreError: if there are no such scores.
    """
    held = [key for key in folder.held()
            if (not key.dataset.endswith(REFERENCES) if datasets is None else key.dataset in datasets)
            and (perturbations is None or key.perturbation in perturbations)
            and (metrics is None or key.metric in metrics)]
    notes: list[str] = []
    frames, findings = [], {}
    tasks = list(dict.fromkeys((key.dataset, key.perturbation) for key in held))
    for dataset, perturbation in track(tasks, total=len(tasks), unit="data sets"):
        wanted = None if metrics is None else [
            key.metric for key in held if (key.dataset, key.perturbation) == (dataset, perturbation)]
        try:
            table = load_table(folder, dataset, perturbation, wanted, notes)
        except StoreError as error:
            notes.append(f"{dataset}/{perturbation}: {error}")
            continue
        same = find_identical(table.quality, table.refs, [name.rpartition(":")[2] for name in table.metrics])
        frames.append(_stand(table, dataset, perturbation, same, replicates, seed))
        if perturbation == "original":
            findings[dataset] = find_in_labels(table, same)
    if not frames:
        raise StoreError("; ".join(notes) or _nothing(folder, datasets, perturbations, metrics))
    return Ranking(pd.concat(frames, ignore_index=True), findings, notes, replicates)


def _nothing(folder: ScoreFolder, *wanted: Sequence[str] | None) -> str:
    there = [sorted({str(key[place]) for key in folder.held()}) for place in (0, 2, 1)]
    if not there[0]:
        return (f"{folder.root} holds no scores; score something first (python run.py), or name other "
                f"sources with --scores")
    texts = [f"{kind} {listed(names, 8)}"
             for kind, names in zip(("data sets", "perturbations", "metrics"), there, strict=True)]
    known = [name for names in there for name in names]
    hint = did_you_mean([name for names in wanted for name in names or () if name not in known], known)
    asked = ", ".join(name for names in wanted for name in names or ())
    return f"no scores of {asked} in {folder.root}{hint}; there are {'; '.join(texts)}"


def _stand(table: ScoreTable, dataset: str, perturbation: str, same: Identical, replicates: int,
           seed: int) -> pd.DataFrame:
    resampled = resample(table, replicates, seed, ["srcc"])
    groups, within = resampled.groups, resampled.within("srcc")
    estimate, drawn = resampled.pooled["srcc"][:, 0], resampled.pooled["srcc"][:, 1:]
    values = correlate_within(table.quality, table.labels, [np.arange(len(table.labels))])
    ranks = stats.rankdata(-np.nan_to_num(drawn, nan=-2.0), axis=0, method="min")  # undefined: last
    best = best_group(estimate, drawn, groups)
    lines = []
    for row, (metric, scores) in enumerate(zip(table.metrics, table.files, strict=True)):
        low, high, _ = interval_over_references(drawn[row], groups)
        rank_low, rank_high = (np.quantile(ranks[row], [(1 - LEVEL) / 2, (1 + LEVEL) / 2], method="nearest")
                               if groups > 1 else (math.nan,) * 2)
        cost = cost_of(metric)
        lines.append({
            "dataset": dataset, "metric": metric, "perturbation": perturbation, "pairs": len(table.labels),
            **{name: values[name][row, 0] for name in COEFFICIENTS}, "srcc_low": low, "srcc_high": high,
            "srcc_per_ref": mean_of_defined(within[row]), "rank": math.nan, "rank_low": rank_low,
            "rank_high": rank_high, "in_best_group": best[row],
            "flags": _flags(table, row, dataset, same), **scores.facts.use, "title": scores.facts.title,
            "source": scores.source, "ms_pair": cost.ms_pair if cost else math.nan})
    frame = pd.DataFrame(lines)
    frame["rank"] = frame["srcc"].rank(ascending=False, method="min")
    return frame.sort_values("srcc", ascending=False, kind="stable")


def _flags(table: ScoreTable, row: int, dataset: str, same: Identical) -> tuple[str, ...]:
    scores = table.files[row]
    known = {"partial": len(table.labels) < scores.expected, "not deterministic": not same.deterministic[row],
             "quantised": is_on_half_grid(scores.values[scores.usable]),
             "trained on this set": dataset in scores.facts.trained_on,
             "unlike its authors": scores.facts.as_authors is False,
             "authors' use unknown": scores.facts.as_authors is None, "unchecked": not scores.checked}
    return tuple(flag for flag, there in known.items() if there)
