"""What agrees with the paper, what does not, and why; and what is wrong with the score files themselves.

Cells are judged by `zsiqa.evaluation.verdicts`. Everything else follows from the scores alone: damaged or odd files, images of a
data set that are the same, metrics that were not deterministic, scores on a half-precision grid, correlations
of the wrong sign.
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
from zsiqa.evaluation.tables import PAPER, Table, build_table, count_verdicts, read_specs
from zsiqa.evaluation.verdicts import Cell
from zsiqa.results.scores import Pairs, ScoreKey, Scores, align


@dataclass(frozen=True)
class OddRow:
    """A row of a table with cells that are neither matching nor missing."""

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
    """Images of a data set that are the same.

    Attributes:
        patterns: how often which names go together, the commonest first.
        groups: ids of the images that are the same.
        label_difference: mean, median and largest, over all pairs of equal images.
        label_sd: of all labels of the data set, to compare with.
        without: by metric, perturbation and coefficient: (with all images, without these).
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
    """A metric that gave different scores to equal images.

    Attributes:
        equal_share: of the pairs of equal images that it scored equally.
        noise_share, rank_noise_share: of the variance of its scores, and of their ranks, that is its own randomness,
            estimated from these pairs.
        printed_in: rows of the paper that rest on it, on any data set.
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
    """A set of scores that goes against the labels."""

    dataset: str
    metric: str
    perturbation: str
    values: dict[str, float]
    printed: dict[str, float]


@dataclass
class Audit:
    """All findings.

    Attributes:
        compared: by data set, how many metrics were looked at for images that are the same.
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
    compared: dict[str, int] = field(default_factory=dict)
    duplicates: list[Duplicates] = field(default_factory=list)
    non_deterministic: list[NonDeterministic] = field(default_factory=list)
    half_precision: list[HalfGrid] = field(default_factory=list)
    wrong_sign: list[WrongSign] = field(default_factory=list)


def audit(measurer: Measurer) -> Audit:
    """Audit a folder of scores.

    Args:
        measurer: of the folder.
    """
    folder = measurer.folder
    tables = [build_table(spec, measurer) for name in PAPER for spec in read_specs(name)]
    file_findings, usual, whole = check_files(folder)
    found = Audit(folder.root, tables, count_verdicts(tables), _odd_rows(tables), _contradictions(tables),
                  len(folder.files) + len(folder.strays),
                  dict(Counter(key.dataset for key in whole)), describe_agreement(usual, whole), file_findings)
    for dataset, pairs in usual.items():
        _look_into(dataset, pairs, {key: scores for key, scores in whole.items() if key.dataset == dataset}, found)
    found.half_precision = [grid for scores in whole.values() if (grid := find_half_grid(scores)) is not None]
    for key, path in folder.files.items():
        one = measurer.measure(key, path)
        if one.whole and any(value < 0 for value in one.values.values()):
            found.wrong_sign.append(WrongSign(*key, dict(one.values), _printed(tables, key)))
    return found


def _odd_rows(tables: Sequence[Table]) -> list[OddRow]:
    rows = []
    for table in tables:
        for group in table.groups:
            for row in group.rows:
                cells: dict[tuple[str, str], list[Cell]] = defaultdict(list)
                for cell in row.cells:
                    if cell.verdict in ("mislabelled", "wrong file", "drift"):
                        cells[cell.verdict, "" if cell.verdict == "drift" else cell.why].append(cell)
                for (verdict, why), some in cells.items():
                    reason = why or "; ".join(f"{'/'.join(cell.column)} {cell.why}" for cell in some)
                    largest = max((cell.delta for cell in some), key=abs)
                    rows.append(OddRow(table.name, group.name, row.name, row.metric, verdict, reason, len(some),
                                       largest, tuple(dict.fromkeys(cell.source for cell in some)), some[0].other))
    return rows


def _contradictions(tables: Sequence[Table]) -> list[str]:
    """One quantity, printed twice with different figures."""
    printed: dict[tuple[str, ...], dict[float, list[str]]] = defaultdict(lambda: defaultdict(list))
    for table in tables:
        for row in table.rows:
            for cell in row.cells:
                if cell.printed is not None:
                    printed[row.metric, *cell.column][cell.printed].append(table.name)
    return [f"{metric}, {'/'.join(column)}: " + ", ".join(f"{figure:.3f} in {' and '.join(where)}"
                                                          for figure, where in figures.items())
            for (metric, *column), figures in printed.items() if len(figures) > 1]


def _look_into(dataset: str, pairs: Pairs, whole: dict[ScoreKey, Scores], found: Audit) -> None:
    """Find images that are the same, and metrics that were not deterministic; add them to the findings."""
    alignments = {key: align(scores, pairs) for key, scores in whole.items()}
    aligned = {key: one.values for key, one in alignments.items()
               if not len(one.foreign) and np.isfinite(one.values).all()}
    if not aligned:
        return
    found.compared[dataset] = len({key.metric for key in aligned})
    keys = list(aligned)
    values = np.stack([aligned[key] for key in keys])
    same = find_identical(values, pairs.refs, [key.metric for key in keys])
    if not len(same.pairs):
        return
    rows = np.unique(same.pairs)
    rest = np.setdiff1d(np.arange(len(pairs.labels)), rows)
    difference = np.abs(pairs.labels[same.pairs[:, 0]] - pairs.labels[same.pairs[:, 1]])
    patterns = Counter(name_pattern(pairs.ids[group].tolist(), pairs.refs[group].tolist()) for group in same.groups)
    without: dict[str, dict[str, dict[str, tuple[float, float]]]] = defaultdict(dict)
    for key, scores in whole.items():
        if key in aligned:
            before, after = (correlate(aligned[key][some], pairs.labels[some],
                                       label_higher_is_better=pairs.higher_is_better,
                                       score_higher_is_better=scores.higher_is_better)
                             for some in (slice(None), rest))
            without[key.metric][key.perturbation] = {name: (getattr(before, name), getattr(after, name))
                                                     for name in COEFFICIENTS}
    found.duplicates.append(Duplicates(
        dataset, len(rows), len(same.pairs), len(set(pairs.refs[rows])), tuple(patterns.most_common()),
        tuple(tuple(pairs.ids[group]) for group in same.groups),
        (float(difference.mean()), float(np.median(difference)), float(difference.max())), float(pairs.labels.std()),
        dict(without)))
    non_deterministic: dict[str, list[int]] = defaultdict(list)
    for place in np.flatnonzero(~same.deterministic):
        non_deterministic[keys[place].metric].append(int(place))
    for metric, places in non_deterministic.items():
        printed = [f"{table.name}: {group.name}, {row.name}" for table in found.tables for group in table.groups
                   for row in group.rows
                   if metric in next((cell.other for cell in row.cells if cell.other), (row.metric,))]
        found.non_deterministic.append(NonDeterministic(
            dataset, metric, tuple(keys[place].perturbation for place in places),
            float(same.equal_share[places].mean()),
            float(np.mean([noise_share(values[place], same.pairs) for place in places])),
            float(np.mean([noise_share(rankdata(values[place]), same.pairs) for place in places])), tuple(printed)))


def _printed(tables: Sequence[Table], key: ScoreKey) -> dict[str, float]:
    return {cell.column.statistic: cell.printed for table in tables for row in table.rows if row.metric == key.metric
            for cell in row.cells if cell.column[:2] == (key.dataset, key.perturbation) and cell.printed is not None}
