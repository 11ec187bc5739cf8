"""Specifications of tables: of `configs/table/*.yaml`, or of all other stored scores."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import yaml

from zsiqa import CONFIGS
from zsiqa.evaluation.correlation import COEFFICIENTS
from zsiqa.evaluation.side_by_side import held_of
from zsiqa.perturbations import PAPER as PERTURBATIONS
from zsiqa.results.scores import ORIGINAL, ScoreKey, split_metric, split_scale
from zsiqa.types import StoreError, did_you_mean

PAPER = ("table1", "table2", "table3")
BESIDE = ("liao2024",)  # tables of our own scores beside published ones
STORED = "stored_"  # prefix of the names of tables that no configuration file declares


def table_names() -> list[str]:
    """List the names of the tables in `configs/table`."""
    return sorted(file.stem for file in (CONFIGS / "table").glob("*.yaml"))


def read_specs(name: str) -> list[dict[str, Any]]:
    """Read the specification of a table from `configs/table`.

    Returns:
        One specification; with `one_per_dataset`, one for each of its data sets.

    Raises:
        StoreError: if there is no such table.
    """
    if name not in table_names():
        raise StoreError(f"no table {name} in {CONFIGS / 'table'}{did_you_mean(name, table_names())}; "
                         f"there are {', '.join(table_names())}")
    spec = yaml.safe_load((CONFIGS / "table" / f"{name}.yaml").read_text(encoding="utf-8"))
    spec["name"] = name
    if not spec.pop("one_per_dataset", False):
        return [spec]
    return [{**spec, "name": f"{name}_{dataset}", "datasets": [dataset],
             "title": f"{spec['title']}: {spec['labels'][dataset]}"} for dataset in spec["datasets"]]


def choose_specs(held: Iterable[ScoreKey],
                 labels: Mapping[str, str] | None = None) -> tuple[list[dict[str, Any]], list[str]]:
    """Choose the tables to show: the paper's that have scores, then one a data set for its other scores.

    Args:
        held: keys of the scores.
        labels: names of data sets in headings; by default, those of their scores.

    Returns:
        Specifications as of `read_specs`, and the names of the paper's tables without scores.
    """
    held = list(held)
    specs = {name: read_specs(name)[0] for name in (*PAPER, *BESIDE)}
    covered = {name: held_of(spec, held) for name, spec in specs.items()}
    shown = [name for name in specs if covered[name]]
    rest = [key for key in held if not any(key in covered[name] for name in shown)]
    others = []
    for dataset in sorted({key.dataset for key in rest}):
        label = (labels or {}).get(dataset, dataset)
        title = f"Stored scores{' that are not in these tables' if shown else ''}: {label}"
        others.append(_stored(dataset, label, title, [key for key in rest if key.dataset == dataset]))
    return [*(specs[name] for name in shown), *others], [name for name in PAPER if name not in shown]


def _stored(dataset: str, label: str, title: str, keys: Iterable[ScoreKey]) -> dict[str, Any]:
    """Specify a table of stored scores: one row per metric, grouped by distance, baselines first."""
    groups: dict[str, list[Any]] = {"Baselines": []}
    for metric in sorted({key.metric for key in keys}):
        name = "{2} of {1}".format(*split_metric(metric)) if split_metric(metric)[2] else "Baselines"
        groups.setdefault(name, []).append({"name": metric, "metric": metric})
    return {"name": f"{STORED}{dataset}", "title": title, "stub": ["Kind", "Metric"],
            "datasets": [dataset], "labels": {dataset: label},
            "perturbations": in_order(key.perturbation for key in keys), "coefficients": list(COEFFICIENTS),
            "groups": [{"name": name, "rows": rows} for name, rows in groups.items() if rows]}


def in_order(perturbations: Iterable[str]) -> list[str]:
    """Sort perturbations in the order of the paper; others follow."""
    known = [ORIGINAL, *PERTURBATIONS]
    return sorted(set(perturbations),
                  key=lambda name: (known.index(name) if name in known else len(known), name))


def at_scale(spec: Mapping[str, Any], scale: str) -> dict[str, Any]:
    """Make the specification of a table at another scale: without printed figures and rows of other scales.

    Args:
        spec: from `read_specs`.
        scale: as in names of metrics, `average_256`.
    """
    groups = [{**group, "rows": [{"name": row["name"], "metric": f"{row['metric']}@{scale}"}
                                 for row in group["rows"] if not split_scale(row["metric"])[1]]}
              for group in spec["groups"]]
    return {**spec, "name": f"{spec['name']}_{scale}", "title": f"{spec['title']}, at {scale}",
            "groups": groups}
