"""Tables from the store: rows and columns as `configs/table/*.yaml` declares them. Never imports torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from zsiqa.correlation import Correlation, correlate
from zsiqa.store import digest, read_rows, read_sidecar
from zsiqa.types import StoreError


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
        missing: by metric, the perturbations without a score file.
        notes: caveats that must stand with the numbers.
    """

    title: str
    frame: pd.DataFrame
    missing: dict[str, list[str]]
    notes: list[str]

    def to_text(self) -> str:
        """The table for a terminal, with its title, notes and missing cells."""
        lines = [self.title, "", self.frame.to_string(float_format="{:.3f}".format, na_rep="-"), "", *self.notes]
        for metric, names in self.missing.items():
            lines.append(f"missing: {metric}: {', '.join(names)}")
        return "\n".join(lines)


def read_cell(path: Path) -> Cell | None:
    """Correlate one score file, `<...>/<perturbation>.csv`; None if it is not there (a run in the making has none).

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
    """Fill in a table from score files; cells that do not belong together are noted.

    Args:
        spec: a file of `configs/table`, read: title, dataset, perturbations, coefficients and rows of metrics.
        scores_dir: `<results_dir>/scores`.

    Raises:
        StoreError: if there is no such folder, or a score file is damaged.
    """
    if not scores_dir.is_dir():
        raise StoreError(f"no folder {scores_dir}; score something first, or say where the scores are")
    rows: dict[tuple[str, ...], dict[tuple[str, str], float]] = {}
    missing: dict[str, list[str]] = {}
    notes: dict[str, None] = {}
    kinds: dict[str, set[str]] = {name: set() for name in spec["perturbations"]}
    for row in spec["rows"]:
        folder = scores_dir / spec["dataset"] / row["metric"]
        cells = {name: read_cell(folder / f"{name}.csv") for name in spec["perturbations"]}
        if absent := [name for name, cell in cells.items() if cell is None]:
            missing[row["metric"]] = absent
        if len({digest({**cell.sidecar["identity"], "perturbation": None}) for cell in cells.values() if cell}) > 1:
            notes[f"{row['metric']}: cells of different settings; see `identity` in the sidecars"] = None
        labels = ("", row["metric"], "")
        values = {}
        for name, cell in cells.items():
            for coefficient in spec["coefficients"]:
                values[name, coefficient.upper()] = getattr(cell.correlation, coefficient) if cell else math.nan
            if cell:
                kinds[name].add(digest(cell.sidecar["identity"]["perturbation"]))
                labels = tuple(cell.sidecar["labels"][part] for part in ("distance", "backbone", "representation"))
                notes.update(dict.fromkeys(cell.sidecar["notes"]))
                if cell.correlation.n < cell.n_pairs:
                    used = f"only {cell.correlation.n} of {cell.n_pairs} pairs have a score"
                    notes[f"{row['metric']}/{name}: {used}"] = None
        rows[labels] = values
    notes.update({f"{name}: cells of different amounts; see `identity` in the sidecars": None
                  for name, found in kinds.items() if len(found) > 1})
    columns = [(name, coefficient.upper()) for name in spec["perturbations"] for coefficient in spec["coefficients"]]
    frame = pd.DataFrame([[values[column] for column in columns] for values in rows.values()],
                         index=pd.MultiIndex.from_tuples(rows, names=["distance", "method", "representation"]),
                         columns=pd.MultiIndex.from_tuples(columns))
    return Table(spec["title"], frame, missing, list(notes))
