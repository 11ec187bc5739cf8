"""Does a score file give the figure that the paper prints? If not: why. Decided by rules, the same for every cell.

- match: the value of the row's own file, rounded as printed, is the printed figure.
- mislabelled: the row's own files disagree in all of its cells, and the files of another metric agree in all of them
  (in all that it has a file for, at least three).
- wrong file: the file that bears the name is not there, empty or cut short; another one beside it, whose name goes on
  where that name ends, is whole and agrees.
- drift: the row's own file is whole and disagrees, and nothing above explains it.
- partial: it disagrees, but pairs have no usable score in it.
- missing: there is no whole file to compare.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from zsiqa.evaluation.measurement import Measurement, Measurer
from zsiqa.results.scores import ScoreKey

VERDICTS = ("match", "mislabelled", "wrong file", "drift", "partial", "missing")
PARTIAL = "*"  # stands at a value of some pairs only
HALF_A_DIGIT = 0.0005 + 1e-9  # of three printed decimals; 1e-9 for the binary fractions of a value on the border
FEWEST_CELLS = 3  # with 45 metrics, some other one agrees with one or two cells of a row by chance


class Column(NamedTuple):
    """A column of a table."""

    dataset: str
    perturbation: str
    statistic: str


@dataclass(frozen=True)
class Cell:
    """A number of a table, and what became of it.

    Attributes:
        value: from the scores; NaN where there is none.
        printed: in the paper; None for a cell that the paper does not have.
        verdict: one of `VERDICTS`; "" where nothing is printed and a value is there.
        why: in words, "" for a match.
        source: the file that gave `value`, relative to the folder of scores.
        n, expected: pairs that gave `value`, and pairs of the data set.
        other: for `mislabelled`, the metrics whose files agree.
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

    @property
    def delta(self) -> float:
        """Value minus printed figure; NaN where either is missing."""
        return math.nan if self.printed is None else self.value - self.printed

    @property
    def mark(self) -> str:
        """`PARTIAL` where pairs of the data set have no part in the value."""
        return PARTIAL if self.n < self.expected and self.verdict != "missing" else ""


def agrees(value: float, printed: float) -> bool:
    """Whether a value rounds to the printed figure of three decimals; half a unit of the last one is allowed.

    Examples:
        >>> agrees(0.63249, 0.632), agrees(0.6325, 0.632), agrees(0.6326, 0.632)
        (True, True, False)
    """
    return abs(value - printed) <= HALF_A_DIGIT


def judge_row(metric: str, columns: Sequence[Column], printed: Sequence[float | None],
              measurer: Measurer) -> list[Cell]:
    """The cells of one row.

    Args:
        metric: whose files should hold the row.
        columns: of the row.
        printed: the paper's figures, None where it has none.
        measurer: of the folder of scores.
    """
    cells = [_own_cell(metric, column, figure, measurer) for column, figure in zip(columns, printed, strict=True)]
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
    listed = " and ".join(f"those of {other} agree in all {len(files)} that they have (such as {files[0].name})"
                          for other, files in agreeing.items())
    why = f"the files of {metric} disagree in all {len(comparable)} cells of this row, {listed}"
    return [replace(cell, verdict="mislabelled", why=why, other=others) if cell in comparable else cell
            for cell in cells]


def _own_cell(metric: str, column: Column, printed: float | None, measurer: Measurer) -> Cell:
    """A cell from the file that bears its name, or from a sibling if that file is of no use."""
    folder = measurer.folder
    key = ScoreKey(column.dataset, metric, column.perturbation)
    path = folder.files.get(key)
    found = measurer.measure(key, path, [column.statistic]) if path else Measurement(problem="no file")
    if path and found.whole:
        cell = _cell(column, printed, path, found, measurer)
        if printed is None:
            return cell
        if agrees(cell.value, printed):
            return replace(cell, verdict="match")
        why = f"{cell.value:.5f} is not {printed:.3f}"
        if found.n < found.expected:
            return replace(cell, verdict="partial",
                           why=f"{why}, of {found.n} of {found.expected} pairs that have a usable score")
        return replace(cell, verdict="drift", why=why)
    state = found.problem or f"{found.rows} of {found.expected} rows"
    for twin in folder.twins(key):
        sibling = measurer.measure(key, twin, [column.statistic])
        cell = _cell(column, printed, twin, sibling, measurer)
        if sibling.whole and (printed is None or agrees(cell.value, printed)):
            why = f"{path.name if path else key}: {state}; taken from {twin.name}, which is whole"
            return replace(cell, verdict="" if printed is None else "wrong file", why=why)
        state += f"; {twin.name}: " + (sibling.problem or ("does not agree" if sibling.whole else
                                                          f"{sibling.rows} of {sibling.expected} rows"))
    return Cell(column, math.nan, printed, "missing", state, _relative(path, measurer) if path else "", found.n,
                found.expected)


def _cell(column: Column, printed: float | None, path: Path, found: Measurement, measurer: Measurer) -> Cell:
    return Cell(column, found.values.get(column.statistic, math.nan), printed, "", "", _relative(path, measurer),
                found.n, found.expected)


def _agreeing_files(metric: str, cells: Sequence[Cell], measurer: Measurer) -> list[Path]:
    """A metric's whole files for these cells, one a cell; none if any of them disagrees."""
    files = []
    for cell in cells:
        key = ScoreKey(cell.column.dataset, metric, cell.column.perturbation)
        path = measurer.folder.files.get(key)
        found = measurer.measure(key, path, [cell.column.statistic]) if path else Measurement(problem="no file")
        if path is None or not found.whole:
            continue
        if cell.printed is None or not agrees(found.values[cell.column.statistic], cell.printed):
            return []
        files.append(path)
    return files


def _relative(path: Path, measurer: Measurer) -> str:
    return path.relative_to(measurer.folder.root).as_posix()
