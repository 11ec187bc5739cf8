"""Tables from score files: of `configs/table/*.yaml`, or of all that is stored. Never imports torch."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from zsiqa.evaluation.measurement import Measurement, Measurer
from zsiqa.evaluation.side_by_side import judge_beside, sides
from zsiqa.evaluation.verdicts import VERDICTS, Cell, Column, judge_row
from zsiqa.releases import MetricFacts, joint_use
from zsiqa.results.scores import ScoreKey, split_metric, split_scale


@dataclass(frozen=True)
class Row:
    """A row of a table."""

    name: str
    metric: str
    cells: tuple[Cell, ...]

    @property
    def use(self) -> dict[str, str]:
        """Columns `as_authors` and `unlike_authors` of the row: see `joint_use`."""
        return joint_use(cell.facts.use for cell in self.cells if cell.facts)


@dataclass(frozen=True)
class Group:
    """Rows that are compared with each other."""

    name: str
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Table:
    """A filled table.

    Attributes:
        name: name of its file in `configs/table`.
        stub: headings of the columns with the names of groups and rows.
        labels: names of data sets in headings.
        notes: caveats that must be shown with the numbers.
        problems: score files that could not be read, and why.
        figures: start of the legend's sentence on figures beside values: "the paper prints" this instead.
    """

    name: str
    title: str
    stub: tuple[str, str]
    columns: tuple[Column, ...]
    groups: tuple[Group, ...]
    labels: Mapping[str, str]
    notes: tuple[str, ...]
    problems: tuple[str, ...]
    figures: str = "the paper prints"

    @property
    def rows(self) -> list[Row]:
        """All rows."""
        return [row for group in self.groups for row in group.rows]

    @property
    def cells(self) -> list[Cell]:
        """All cells."""
        return [cell for row in self.rows for cell in row.cells]

    def pairs_used(self) -> str:
        """Describe how many pairs of each data set the values use."""
        parts = []
        for dataset in dict.fromkeys(column.dataset for column in self.columns):
            used = {(cell.n, cell.expected) for cell in self.cells
                    if cell.column.dataset == dataset and not math.isnan(cell.value)}
            if used:
                fewest, expected = min(used)
                parts.append(f"{self.labels[dataset]} {fewest} of {expected}"
                             + (" at least" if len(used) > 1 else ""))
        return f"pairs used: {', '.join(parts)}" if parts else ""

    def differences(self) -> list[str]:
        """Explain why cells differ from the printed figures or come from another file.

        Returns:
            One line per row for `mislabelled`, per cell for `drift`, else per row, data set and perturbation.
        """
        lines: dict[str, None] = {}
        for row in self.rows:
            for cell in row.cells:
                if cell.why and cell.verdict not in ("partial", "missing"):
                    places = {"mislabelled": (), "drift": cell.column}.get(cell.verdict, cell.column[:2])
                    lines[f"{cell.verdict or 'note'}: {'/'.join((row.metric, *places))}: {cell.why}"] = None
        return list(lines)

    @property
    def all_partial(self) -> bool:
        """Return whether all values, of several rows, lack pairs, in each data set equally many."""
        valued = [cell for cell in self.cells if cell.verdict != "missing"]
        counts = {(cell.column.dataset, cell.n) for cell in valued}
        return (len(self.rows) > 1 and bool(valued) and all(cell.mark for cell in valued)
                and len(counts) == len({dataset for dataset, _ in counts}))

    def partial(self) -> list[str]:
        """List cells that use only some pairs, and files that lack rows; equal remarks share a line.

        With `all_partial`, `pairs_used` states the number of pairs once for all cells.
        """
        stated_once = self.all_partial

        def remark(cell: Cell) -> str:
            if cell.mark and not stated_once:
                return f"{cell.mark}: scores of {cell.n} of {cell.expected} pairs"
            return f"the file has {cell.why}" if cell.verdict == "missing" and cell.expected else ""

        return self._grouped(remark)

    def missing(self) -> list[str]:
        """List missing cells; metrics that lack the same cells share a line."""
        return self._grouped(lambda cell: "missing" if cell.verdict == "missing" else "")

    def _grouped(self, remark: Callable[[Cell], str]) -> list[str]:
        """Make one line for all metrics with the same remark, data set and perturbations; "" is no remark."""
        lines: dict[tuple[str, str, tuple[str, ...]], list[str]] = {}
        for row in self.rows:
            remarks: dict[tuple[str, str], dict[str, None]] = {}
            for cell in row.cells:
                if text := remark(cell):
                    remarks.setdefault((text, cell.column.dataset), {})[cell.column.perturbation] = None
            for (text, dataset), names in remarks.items():
                lines.setdefault((text, dataset, tuple(names)), []).append(row.metric)
        return [f"{text}: {dataset} ({', '.join(names)}): {', '.join(metrics)}"
                for (text, dataset, names), metrics in lines.items()]


def build_table(spec: Mapping[str, Any], measurer: Measurer, also: Sequence[str] = ()) -> Table:
    """Fill a table from score files.

    Args:
        spec: from `read_specs`: title, stub, data sets with their labels, perturbations, coefficients and
            groups of rows, with the figures of the paper where it has some.
        measurer: of the folder of scores.
        also: additional statistics, one column each for every data set and perturbation.
    """
    also = [name for name in dict.fromkeys(also) if name not in spec["coefficients"]]
    columns = [Column(dataset, perturbation, statistic) for dataset in spec["datasets"]
               for perturbation in spec["perturbations"] for statistic in [*spec["coefficients"], *also]]
    published: dict[str, Any] = spec.get("published", {})
    own, theirs = sides(measurer.folder, published["source"], spec) if published else (measurer, None)
    groups = []
    for group in spec["groups"]:
        rows = []
        for row in group["rows"]:
            if theirs:
                cells, other = judge_beside(row["metric"], columns, own, theirs)
                if own.folder.files or not theirs.folder.files:
                    rows.append(Row(row["name"], row["metric"], tuple(cells)))
                if theirs.folder.files:
                    rows.append(Row(f"{row['name']}, {published['name']}",
                                    f"{published['source']}:{row['metric']}", tuple(other)))
                continue
            figures = iter(row.get("printed", ()))
            printed = [None if column.statistic in also else next(figures, None) for column in columns]
            rows.append(Row(row["name"], row["metric"],
                            tuple(judge_row(row["metric"], columns, printed, measurer))))
        groups.append(Group(group["name"], tuple(rows)))
    metrics = [row["metric"] for group in spec["groups"] for row in group["rows"]]
    notes, problems = (tuple(dict.fromkeys(itertools.chain(*lists))) for lists in zip(
        *(_remarks(spec, metrics, side) for side in (own, theirs) if side), strict=True))
    return Table(spec["name"], spec["title"], tuple(spec["stub"]), tuple(columns), tuple(groups),
                 spec["labels"], (*published.get("notes", ()), *notes), problems,
                 published.get("figures", Table.figures))


def count_verdicts(tables: Sequence[Table]) -> dict[str, int]:
    """Count the printed cells of each verdict in `VERDICTS`."""
    counts = Counter(cell.verdict for table in tables for cell in table.cells if cell.printed is not None)
    return {verdict: counts[verdict] for verdict in VERDICTS}


def to_frame(tables: Sequence[Table]) -> pd.DataFrame:
    """Build a frame with a line per cell; `metric` is the coefficient, `method` the backbone or baseline."""
    lines = []
    for table in tables:
        for row in table.rows:
            method, representation, distance = split_metric(row.metric)
            for cell in row.cells:
                lines.append({
                    "table": table.name, "method": method, "representation": representation,
                    "distance": distance,
                    "dataset": cell.column.dataset, "perturbation": cell.column.perturbation,
                    "metric": cell.column.statistic,
                    "paper": math.nan if cell.printed is None else cell.printed,
                    "value": cell.value, "delta": cell.delta, "verdict": cell.verdict, "n": cell.n,
                    "source file": cell.source, "n expected": cell.expected, "why": cell.why,
                    "scale": split_scale(row.metric)[1] or "native",
                    **(cell.facts.use if cell.facts else dict.fromkeys(MetricFacts().use, ""))})
    return pd.DataFrame(lines)


def _remarks(spec: Mapping[str, Any], metrics: Sequence[str],
             measurer: Measurer) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Collect the notes of files, notes about cells of different settings, and unreadable files."""
    notes: dict[str, None] = {}
    problems: list[str] = []
    amounts: dict[str, set[str]] = {name: set() for name in spec["perturbations"]}
    for dataset in spec["datasets"]:
        for metric in metrics:
            measurements: dict[str, Measurement] = {}
            for name in spec["perturbations"]:
                key = ScoreKey(dataset, metric, name)
                if path := measurer.folder.files.get(key):
                    measurements[name] = measurer.measure(key, path, spec["coefficients"])
            for name, measured in measurements.items():
                notes.update(dict.fromkeys(measured.notes))
                if measured.problem:
                    problems.append(measured.problem)
                else:
                    amounts[name].add(measured.amount)
            if len({measured.settings for measured in measurements.values() if not measured.problem}) > 1:
                notes[f"{dataset}/{metric}: cells of different settings; "
                      "see `identity` in the sidecars"] = None
    notes.update({f"{name}: cells of different amounts; see `identity` in the sidecars": None
                  for name, different in amounts.items() if len(different) > 1})
    return tuple(notes), tuple(problems)
