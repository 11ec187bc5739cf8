"""Verdicts on table cells: score files compared with the figures of the paper, by fixed rules for all cells.

- match: the value of the row's own file, rounded as printed, is the printed figure.
- mislabelled: the row's own files disagree in all of its cells, and the files of another metric agree in all
  cells for which it has a file (at least three).
- wrong file: the file with the right name is absent, empty or cut short; a file in the same folder, whose
  name begins with this name, is complete and agrees.
- drift: the row's own file is complete and disagrees, and no rule above explains it.
- partial: the row's own file disagrees, but some pairs have no usable score in it.
- missing: there is no complete file to compare.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from zsiqa.evaluation.measurement import Measurement, Measurer
from zsiqa.releases import MetricFacts
from zsiqa.results.scores import ScoreKey

VERDICTS = ("match", "mislabelled", "wrong file", "drift", "partial", "missing")
PARTIAL = "p"  # mark of a value that uses only some pairs
HALF_A_DIGIT = 0.0005 + 1e-9  # half a unit of the third decimal; 1e-9 for binary rounding at the border
FEWEST_CELLS = 3  # with 45 metrics, another metric agrees with one or two cells of a row by chance


class Column(NamedTuple):
    """A column of a table."""

    dataset: str
    perturbation: str
    statistic: str


@dataclass(frozen=True)
class Cell:
    """A number of a table, and its verdict.

    Attributes:
        value: computed from the scores; NaN if there is none.
        printed: figure of the paper; None for a cell that the paper does not have.
        verdict: one of `VERDICTS`; "" for a value without a printed figure.
        why: reason of the verdict; "" for a match.
        source: file of `value`, relative to the folder of scores.
        n, expected: number of pairs used for `value`, and of pairs of the data set.
        other: for `mislabelled`, the metrics whose files agree.
        facts: about the metric, as this value was made; None without a value.
    """

    column: Column
    value: float
    printed: float | None
    verdict: str
    why: str = ""
    source: str = ""
    n: int = 0
    expected: int = 0
    other: tuple[str, ...] = ()
    facts: MetricFacts | None = None

    @property
    def delta(self) -> float:
        """Value minus printed figure; NaN where either is missing."""
        return math.nan if self.printed is None else self.value - self.printed

    @property
    def mark(self) -> str:
        """`PARTIAL` if the value does not use all pairs of the data set, else ""."""
        return PARTIAL if self.n < self.expected and self.verdict != "missing" else ""


def agrees(value: float, printed: float) -> bool:
    """Return whether a value agrees with a printed figure of three decimals, within half a unit of the last.

    Examples:
        >>> agrees(0.63249, 0.632), agrees(0.6325, 0.632), agrees(0.6326, 0.632)
        (True, True, False)
    """
    return abs(value - printed) <= HALF_A_DIGIT


def judge_row(metric: str, columns: Sequence[Column], printed: Sequence[float | None],
              measurer: Measurer, *, parts: bool = False) -> list[Cell]:
    """Compute and judge the cells of one row.

    Args:
        metric: metric of the row; its files should give the figures.
        columns: columns of the row.
        printed: figures of the paper, None where it has none.
        measurer: of the folder of scores.
        parts: use files that lack rows, too.
    """
    cells = [_own_cell(metric, column, figure, measurer, parts=parts)
             for column, figure in zip(columns, printed, strict=True)]
    comparable = [cell for cell in cells if cell.printed is not None and cell.verdict in ("match", "drift")]
    if len(comparable) < FEWEST_CELLS or any(cell.verdict == "match" for cell in comparable):
        return cells
    agreeing: dict[str, list[Path]] = {}
    for other in sorted({key.metric for key in measurer.folder.files} - {metric}):
        files = _agreeing_files(other, comparable, measurer)
        if len(files) >= FEWEST_CELLS:
            agreeing[other] = files
    if not agreeing:
        return cells
    others = tuple(agreeing)
    listed = " and ".join(f"those of {other} agree in all {len(files)} that they have "
                          f"(such as {files[0].name})" for other, files in agreeing.items())
    why = f"the files of {metric} disagree in all {len(comparable)} cells of this row, {listed}"
    return [replace(cell, verdict="mislabelled", why=why, other=others) if cell in comparable else cell
            for cell in cells]


def _own_cell(metric: str, column: Column, printed: float | None, measurer: Measurer, *,
              parts: bool) -> Cell:
    """Compute a cell from its own file, or from a sibling if that file is absent or incomplete."""
    folder = measurer.folder
    key = ScoreKey(column.dataset, metric, column.perturbation)
    path = folder.files.get(key)
    own = measurer.measure(key, path, [column.statistic]) if path else Measurement(problem="no file")
    if path and (own.whole or (parts and own.rows)):
        cell = _cell(column, printed, path, own, measurer)
        if printed is None:
            return cell
        if agrees(cell.value, printed):
            return replace(cell, verdict="match")
        why = f"{cell.value:.5f} is not {printed:.3f}"
        if own.n < own.expected:
            return replace(cell, verdict="partial",
                           why=f"{why}, of {own.n} of {own.expected} pairs that have a usable score")
        return replace(cell, verdict="drift", why=why)
    state = own.problem or f"{own.rows} of {own.expected} rows"
    for copy in folder.copies(key):
        sibling = measurer.measure(key, copy, [column.statistic])
        cell = _cell(column, printed, copy, sibling, measurer)
        if sibling.whole and (printed is None or agrees(cell.value, printed)):
            why = f"{path.name if path else key}: {state}; taken from {copy.name}, which is whole"
            return replace(cell, verdict="" if printed is None else "wrong file", why=why)
        state += f"; {copy.name}: " + (sibling.problem or ("does not agree" if sibling.whole else
                                                          f"{sibling.rows} of {sibling.expected} rows"))
    return Cell(column, math.nan, printed, "missing", state, _relative(path, measurer) if path else "",
                own.n, own.expected)


def _cell(column: Column, printed: float | None, path: Path, measured: Measurement,
          measurer: Measurer) -> Cell:
    return Cell(column, measured.values.get(column.statistic, math.nan), printed, "", "",
                _relative(path, measurer), measured.n, measured.expected, facts=measured.facts)


def _agreeing_files(metric: str, cells: Sequence[Cell], measurer: Measurer) -> list[Path]:
    """List the complete files of a metric for these cells, one per cell; empty if any of them disagrees."""
    files = []
    for cell in cells:
        key = ScoreKey(cell.column.dataset, metric, cell.column.perturbation)
        path = measurer.folder.files.get(key)
        statistic = cell.column.statistic
        measured = measurer.measure(key, path, [statistic]) if path else Measurement(problem="no file")
        if path is None or not measured.whole:
            continue
        if cell.printed is None or not agrees(measured.values[statistic], cell.printed):
            return []
        files.append(path)
    return files


def _relative(path: Path, measurer: Measurer) -> str:
    return path.relative_to(measurer.folder.root).as_posix()
