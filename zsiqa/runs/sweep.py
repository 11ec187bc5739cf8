"""What `python run.py -m ...` makes of its arguments: one list of settings a job.

`+sweep=NAME` means the jobs that tables need, from their rows: whatever one pass over the images can serve is one job,
so there is one for each backbone on each data set, and one for all baselines on each. Any other argument holds for all
jobs, but for `backbone` and `dataset`, which pick some of them.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import yaml
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import OverrideParseException

from zsiqa import CONFIGS
from zsiqa.config import check_settings, compose, explain
from zsiqa.results.scores import split_metric
from zsiqa.runs.progress import Cell, look
from zsiqa.types import ZsiqaError

OF_BACKBONES = ("distance", "representation")
Job = dict[str, str]  # group or setting, as the command line spells them, and its value


def expand(arguments: Sequence[str]) -> list[list[str]]:
    """The jobs of a sweep, each as its arguments, in order.

    Raises:
        ZsiqaError: if an argument cannot be parsed, or nothing is left of a named sweep.
    """
    try:
        parsed = OverridesParser.create().parse_overrides([one for one in arguments if not one.startswith("hydra")])
    except OverrideParseException as error:
        raise ZsiqaError(explain(error)) from error
    plain = [one for one in parsed if one.key_or_group not in ("sweep", "only_missing")]
    given = [dict(part.split("=", 1) for part in parts) for parts in BasicSweeper.split_arguments(plain, None)[0]]
    names = [str(one.value()) for one in parsed if one.key_or_group == "sweep"]
    if not names:
        return [[f"{key}={value}" for key, value in parts.items()] for parts in given]
    tables = [table for name in names for table in _read("sweep", name)["tables"]]
    if any("baseline" in parts for parts in given):
        raise ZsiqaError("baseline=... does not go with +sweep: backbone=none picks the sweep's jobs with baselines")
    jobs = jobs_of(_read("table", name) for name in tables)
    found = [merged for parts in given for job in jobs if (merged := _merge(job, parts)) is not None]
    if not found:
        there = [", ".join(dict.fromkeys(job[key] for job in jobs)) for key in ("backbone", "dataset")]
        raise ZsiqaError(f"+sweep={','.join(names)} has no such job; it has backbone={there[0]} and dataset={there[1]}")
    return [[f"{key}={value}" for key, value in job.items()] for job in found]


def jobs_of(specs: Iterable[Mapping[str, Any]]) -> list[Job]:
    """The jobs that tables need.

    Args:
        specs: tables as in `configs/table`.
    """
    needed: dict[tuple[str, str], dict[str, dict[str, None]]] = {}
    for spec in specs:
        metrics = [row["metric"] for group in spec["groups"] for row in group["rows"]]
        for dataset in spec["datasets"]:
            for metric in metrics:
                backbone, representation, distance = split_metric(metric)
                if distance:
                    parts = {"backbone": backbone, "representation": representation, "distance": distance}
                else:
                    parts = {"backbone": "none", "baseline": metric}
                job = needed.setdefault((parts.pop("backbone"), dataset), {})
                for key, value in parts.items():
                    job.setdefault(key, {})[value] = None
                job.setdefault("perturbation", {}).update(dict.fromkeys(spec["perturbations"]))
    return [{"backbone": backbone, "dataset": dataset,
             **{key: f"[{','.join(values)}]" for key, values in job.items()}}
            for (backbone, dataset), job in needed.items()]


def cells(arguments: Sequence[str]) -> list[Cell]:
    """The score files that a job is to fill, and how far they are. May raise ZsiqaError."""
    cfg = compose(*arguments)
    check_settings(cfg)
    return look(cfg)


def unfinished(jobs: Iterable[list[str]]) -> list[list[str]]:
    """The jobs that still lack scores; the others are named on the screen."""
    left = []
    for job in jobs:
        if all(cell.done for cell in cells(job)):
            print(f"done already: {' '.join(job)}")
        else:
            left.append(job)
    return left


def _merge(job: Job, given: Mapping[str, str]) -> Job | None:
    """A job of a sweep with the settings of the command line; None if those pick others."""
    if any(job[key] != given.get(key, job[key]) for key in ("backbone", "dataset")):
        return None
    return {**job, **{key: value for key, value in given.items()
                      if key in job or key not in OF_BACKBONES or job["backbone"] != "none"}}


@functools.cache
def _read(group: str, name: str) -> Mapping[str, Any]:
    path = CONFIGS / group / f"{name}.yaml"
    if not path.is_file():
        names = ", ".join(sorted(file.stem for file in path.parent.glob("*.yaml")))
        raise ZsiqaError(f"no {group}/{name} in the configuration; {group} can be: {names}")
    found: Mapping[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return found
