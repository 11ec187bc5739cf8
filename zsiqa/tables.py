"""Tables from the store: rows and columns as `configs/table/*.yaml` declares them. Never imports torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from zsiqa.correlation import Correlation, correlate
from zsiqa.store import read_rows, read_sidecar


@dataclass(frozen=True)
class Cell:
    """What one score file says.

    Attributes:
        correlation: over the pairs that have a score.
        n_pairs: of the whole data set.
        sidecar: see `zsiqa.store`.
    """

    correlation: Correlation
    n_pairs: int
    sidecar: Mapping[str, Any]


@dataclass(frozen=True)
class Table:
    """A filled-in table.

    Attributes:
        frame: rows (distance, method, representation), columns (perturbation, coefficient); NaN where missing.
        missing: `metric/perturbation` of every cell without a finished score file.
        notes: caveats that must stand with the numbers.
    """

    title: str
    frame: pd.DataFrame
    missing: list[str]
    notes: list[str]

    def to_text(self) -> str:
        """The table for a terminal, with its title, notes and missing cells."""
        lines = [self.title, "", self.frame.to_string(float_format="{:.3f}".format, na_rep="-"), "", *self.notes]
        if self.missing:
            lines.append(f"missing: {len(self.missing)} score files, e.g. {', '.join(self.missing[:4])}")
        return "\n".join(lines)


def read_cell(path: Path) -> Cell | None:
    """Correlate one score file, `<...>/<perturbation>.csv`; None if it is not there or not finished.

    Raises:
        StoreError: if the file or its sidecar is damaged.
    """
    if not path.is_file() or not path.with_suffix(".json").is_file():
        return None
    sidecar = read_sidecar(path.with_suffix(".json"))
    rows = read_rows(path)
    scored = [(score, mos) for _, mos, score in rows if not math.isnan(score)]
    scores, labels = zip(*scored, strict=True) if scored else ((), ())
    return Cell(correlate(scores, labels, label_higher_is_better=sidecar["dataset"]["higher_is_better"]),
                len(rows), sidecar)


def build_table(spec: Mapping[str, Any], scores_dir: Path) -> Table:
    """Fill in a table from score files.

    Args:
        spec: a file of `configs/table`, read: title, dataset, perturbations, coefficients and rows of metrics.
        scores_dir: `<results_dir>/scores`.
    """
    rows: dict[tuple[str, ...], dict[tuple[str, str], float]] = {}
    missing: list[str] = []
    notes: dict[str, None] = {}
    for row in spec["rows"]:
        folder = scores_dir / spec["dataset"] / row["metric"]
        cells = {name: read_cell(folder / f"{name}.csv") for name in spec["perturbations"]}
        missing += [f"{row['metric']}/{name}" for name, cell in cells.items() if cell is None]
        labels = ("", row["metric"], "")
        values = {}
        for name, cell in cells.items():
            for coefficient in spec["coefficients"]:
                values[name, coefficient.upper()] = getattr(cell.correlation, coefficient) if cell else math.nan
            if cell:
                labels = tuple(cell.sidecar["labels"][part] for part in ("distance", "backbone", "representation"))
                notes.update(dict.fromkeys(cell.sidecar["notes"]))
                if cell.correlation.n < cell.n_pairs:
                    used = f"only {cell.correlation.n} of {cell.n_pairs} pairs have a score"
                    notes[f"{row['metric']}/{name}: {used}"] = None
        rows[labels] = values
    columns = [(name, coefficient.upper()) for name in spec["perturbations"] for coefficient in spec["coefficients"]]
    frame = pd.DataFrame([[values[column] for column in columns] for values in rows.values()],
                         index=pd.MultiIndex.from_tuples(rows, names=["distance", "method", "representation"]),
                         columns=pd.MultiIndex.from_tuples(columns))
    return Table(spec["title"], frame, missing, list(notes))
