"""Audit of a folder of scores: which cells agree with the paper, why others do not, and faulty score files.

`zsiqa.evaluation.verdicts` judges the cells. All other findings come from the scores alone: damaged or odd
files, identical images in a data set, non-deterministic metrics, scores on a half-precision grid,
correlations of the wrong sign.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from scipy.stats import rankdata

from zsiqa.evaluation.correlation import COEFFICIENTS, correlate
from zsiqa.evaluation.file_checks import FileFinding, check_files, describe_agreement
from zsiqa.evaluation.half_grid import HalfGrid, find_half_grid
from zsiqa.evaluation.identical_images import find_identical, name_pattern, noise_share
from zsiqa.evaluation.measurement import Measurer
from zsiqa.evaluation.table_specs import PAPER, read_specs
from zsiqa.evaluation.tables import Table, build_table, count_verdicts
from zsiqa.evaluation.verdicts import Cell
from zsiqa.results.scores import Pairs, ScoreKey, Scores, align


@dataclass(frozen=True)
class OddRow:
    """Cells of a table row with the same verdict (mislabelled, wrong file or drift) and reason."""

    table: str
    group: str
    name: str
    metric: str
    verdict: str
    why: str
    cells: int
    largest_delta: float
    sources: tuple[str, ...]
    other: tuple[str, ...]


@dataclass(frozen=True)
class Duplicates:
    """Identical images of a data set.

    Attributes:
        images, pairs, references: number of these images, of pairs of identical images, of their references.
        patterns: name patterns of the groups and how often each occurs, the most frequent first.
        groups: ids of the identical images, group by group.
        label_difference: mean, median and largest label difference over all pairs of identical images.
        label_sd: standard deviation of all labels of the data set, for comparison.
        without: by metric, perturbation and coefficient: (with all images, without the identical ones).
    """

    dataset: str
    images: int
    pairs: int
    references: int
    patterns: tuple[tuple[tuple[str, ...], int], ...]
    groups: tuple[tuple[str, ...], ...]
    label_difference: tuple[float, float, float]
    label_sd: float
    without: dict[str, dict[str, dict[str, tuple[float, float]]]]


@dataclass(frozen=True)
class NonDeterministic:
    """A metric that gave different scores to identical images.

    Attributes:
        equal_share: share of the pairs of identical images that got equal scores.
        noise_share, rank_noise_share: share of the variance of its scores, and of their ranks, that comes
            from its own randomness; estimated from these pairs.
        printed_in: rows of the paper that use its scores, on any data set.
    """

    dataset: str
    metric: str
    perturbations: tuple[str, ...]
    equal_share: float
    noise_share: float
    rank_noise_share: float
    printed_in: tuple[str, ...]


@dataclass(frozen=True)
class WrongSign:
    """A set of scores with a negative correlation with the labels."""

    dataset: str
    metric: str
    perturbation: str
    values: dict[str, float]
    printed: dict[str, float]


@dataclass
class Audit:
    """All findings of an audit.

    Attributes:
        counts: number of printed cells, by verdict.
        contradictions: quantities that the paper prints with different figures.
        files: number of files in the folder.
        complete: number of complete sets of scores, by data set.
        agreement: by data set, a sentence about the pairs and labels of its files.
        file_findings: problems of files.
        unchecked: number of files without a checksum.
        compared: number of metrics that were searched for identical images, by data set.
    """

    root: Path
    tables: list[Table]
    counts: dict[str, int]
    odd_rows: list[OddRow]
    contradictions: list[str]
    files: int
    complete: dict[str, int]
    agreement: dict[str, str]
    file_findings: list[FileFinding]
    unchecked: int = 0
    compared: dict[str, int] = field(default_factory=dict)
    duplicates: list[Duplicates] = field(default_factory=list)
    non_deterministic: list[NonDeterministic] = field(default_factory=list)
    half_precision: list[HalfGrid] = field(default_factory=list)
    wrong_sign: list[WrongSign] = field(default_factory=list)


def audit(measurer: Measurer) -> Audit:
    """Audit a folder of scores.

    Args:
        measurer: of the folder to audit.
    """
    folder = measurer.folder
    tables = [build_table(spec, measurer) for name in PAPER for spec in read_specs(name)]
    checked = check_files(folder)
    usual, whole = checked.usual, checked.whole
    findings = Audit(folder.root, tables, count_verdicts(tables), _odd_rows(tables), _contradictions(tables),
                     len(folder.files) + len(folder.strays), dict(Counter(key.dataset for key in whole)),
                     describe_agreement(usual, whole), checked.findings, checked.unchecked)
    for dataset, pairs in usual.items():
        of_dataset = {key: scores for key, scores in whole.items() if key.dataset == dataset}
        _add_identical_images(dataset, pairs, of_dataset, findings)
    findings.half_precision = [grid for scores in whole.values()
                               if (grid := find_half_grid(scores)) is not None]
    for key, path in folder.files.items():
        measured = measurer.measure(key, path)
        if measured.whole and any(value < 0 for value in measured.values.values()):
            findings.wrong_sign.append(WrongSign(*key, dict(measured.values), _printed(tables, key)))
    return findings


def _odd_rows(tables: Sequence[Table]) -> list[OddRow]:
    rows = []
    for table in tables:
        for group in table.groups:
            for row in group.rows:
                by_reason: dict[tuple[str, str], list[Cell]] = defaultdict(list)
                for cell in row.cells:
                    if cell.verdict in ("mislabelled", "wrong file", "drift"):
                        by_reason[cell.verdict, "" if cell.verdict == "drift" else cell.why].append(cell)
                for (verdict, why), cells in by_reason.items():
                    reason = why or "; ".join(f"{'/'.join(cell.column)} {cell.why}" for cell in cells)
                    largest = max((cell.delta for cell in cells), key=abs)
                    sources = tuple(dict.fromkeys(cell.source for cell in cells))
                    rows.append(OddRow(table.name, group.name, row.name, row.metric, verdict, reason,
                                       len(cells), largest, sources, cells[0].other))
    return rows


def _contradictions(tables: Sequence[Table]) -> list[str]:
    """Describe quantities that are printed more than once, with different figures."""
    printed: dict[tuple[str, ...], dict[float, list[str]]] = defaultdict(lambda: defaultdict(list))
    for table in tables:
        for row in table.rows:
            for cell in row.cells:
                if cell.printed is not None:
                    printed[row.metric, *cell.column][cell.printed].append(table.name)
    return [f"{metric}, {'/'.join(column)}: " + ", ".join(f"{figure:.3f} in {' and '.join(names)}"
                                                          for figure, names in figures.items())
            for (metric, *column), figures in printed.items() if len(figures) > 1]


def _add_identical_images(dataset: str, pairs: Pairs, whole: dict[ScoreKey, Scores], findings: Audit) -> None:
    """Add the identical images of a data set, and its non-deterministic metrics, to the findings."""
    alignments = {key: align(scores, pairs) for key, scores in whole.items()}
    aligned = {key: alignment.values for key, alignment in alignments.items()
               if not len(alignment.foreign) and np.isfinite(alignment.values).all()}
    if not aligned:
        return
    findings.compared[dataset] = len({key.metric for key in aligned})
    keys = list(aligned)
    values = np.stack([aligned[key] for key in keys])
    same = find_identical(values, pairs.refs, [key.metric for key in keys])
    if not len(same.pairs):
        return
    rows = np.unique(same.pairs)
    others = np.setdiff1d(np.arange(len(pairs.labels)), rows)
    difference = np.abs(pairs.labels[same.pairs[:, 0]] - pairs.labels[same.pairs[:, 1]])
    patterns = Counter(name_pattern(pairs.ids[group].tolist(), pairs.refs[group].tolist())
                       for group in same.groups)
    without: dict[str, dict[str, dict[str, tuple[float, float]]]] = defaultdict(dict)
    for key, scores in whole.items():
        if key in aligned:
            quality = aligned[key] if scores.higher_is_better else -aligned[key]
            before, after = (correlate(quality[subset], pairs.oriented_labels[subset])
                             for subset in (slice(None), others))
            without[key.metric][key.perturbation] = {name: (getattr(before, name), getattr(after, name))
                                                     for name in COEFFICIENTS}
    findings.duplicates.append(Duplicates(
        dataset, len(rows), len(same.pairs), len(set(pairs.refs[rows])), tuple(patterns.most_common()),
        tuple(tuple(pairs.ids[group]) for group in same.groups),
        (float(difference.mean()), float(np.median(difference)), float(difference.max())),
        float(pairs.labels.std()), dict(without)))
    non_deterministic: dict[str, list[int]] = defaultdict(list)
    for index in np.flatnonzero(~same.deterministic):
        non_deterministic[keys[index].metric].append(int(index))
    for metric, indices in non_deterministic.items():
        printed = [f"{table.name}: {group.name}, {row.name}"
                   for table in findings.tables for group in table.groups for row in group.rows
                   if metric in next((cell.other for cell in row.cells if cell.other), (row.metric,))]
        findings.non_deterministic.append(NonDeterministic(
            dataset, metric, tuple(keys[index].perturbation for index in indices),
            float(same.equal_share[indices].mean()),
            float(np.mean([noise_share(values[index], same.pairs) for index in indices])),
            float(np.mean([noise_share(rankdata(values[index]), same.pairs) for index in indices])),
            tuple(printed)))


def _printed(tables: Sequence[Table], key: ScoreKey) -> dict[str, float]:
    return {cell.column.statistic: cell.printed
            for table in tables for row in table.rows if row.metric == key.metric for cell in row.cells
            if cell.column[:2] == (key.dataset, key.perturbation) and cell.printed is not None}
