"""Jobs of `python run.py -m ...`: its arguments, expanded to one list of settings for each job.

`+sweep=NAME` stands for the jobs that tables need, from their rows. All metrics that can share one pass over
the images form one job. On each data set, each backbone has a job, and all baselines together have one, at
each scale that the rows' metrics name. Any other argument applies to all jobs, except `backbone` and
`dataset`, which pick some of them.
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
from zsiqa.config.hints import unknown_name
from zsiqa.results.scores import split_metric, split_scale
from zsiqa.runs.progress import FileProgress, read_progress
from zsiqa.types import ZsiqaError

OF_BACKBONES = ("distance", "representation")
Job = dict[str, str]  # values by group or setting, spelled as on the command line


def expand(arguments: Sequence[str]) -> list[list[str]]:
    """Expand the arguments of a sweep into its jobs.

    Returns:
        The arguments of each job, in order.

    Raises:
        ZsiqaError: if an argument cannot be parsed or combined with +sweep, or no job of the sweep is left.
    """
    try:
        parsed = OverridesParser.create().parse_overrides(
            [argument for argument in arguments if not argument.startswith("hydra")])
    except OverrideParseException as error:
        raise ZsiqaError(explain(error)) from error
    plain = [override for override in parsed if override.key_or_group not in ("sweep", "only_missing")]
    given = [dict(part.split("=", 1) for part in parts)
             for parts in BasicSweeper.split_arguments(plain, None)[0]]
    names = [str(override.value()) for override in parsed if override.key_or_group == "sweep"]
    if not names:
        return [[f"{key}={value}" for key, value in parts.items()] for parts in given]
    tables = [table for name in names for table in _read("sweep", name)["tables"]]
    if any("baseline" in parts for parts in given):
        raise ZsiqaError("baseline=... cannot be combined with +sweep: "
                         "backbone=none picks the sweep's jobs with baselines")
    jobs = jobs_of(_read("table", name) for name in tables)
    picked = [merged for parts in given for job in jobs if (merged := _merge(job, parts)) is not None]
    if not picked:
        backbones, datasets = (", ".join(dict.fromkeys(job[key] for job in jobs))
                               for key in ("backbone", "dataset"))
        raise ZsiqaError(f"+sweep={','.join(names)} has no such job; "
                         f"it has backbone={backbones} and dataset={datasets}")
    return [[f"{key}={value}" for key, value in job.items()] for job in picked]


def jobs_of(specs: Iterable[Mapping[str, Any]]) -> list[Job]:
    """Return the jobs that tables need.

    Args:
        specs: tables as in `configs/table`.
    """
    needed: dict[tuple[str, str, str], dict[str, dict[str, None]]] = {}
    for spec in specs:
        metrics = [row["metric"] for group in spec["groups"] for row in group["rows"]]
        for dataset in spec["datasets"]:
            for metric in metrics:
                backbone, representation, distance = split_metric(metric)
                scale = split_scale(metric)[1]
                if distance:
                    parts = {"backbone": backbone, "representation": representation, "distance": distance}
                else:
                    parts = {"backbone": "none", "baseline": backbone}
                job = needed.setdefault((parts.pop("backbone"), dataset, scale), {})
                for key, value in parts.items():
                    job.setdefault(key, {})[value] = None
                job.setdefault("perturbation", {}).update(dict.fromkeys(spec["perturbations"]))
    return [{"backbone": backbone, "dataset": dataset, **({"scale": scale} if scale else {}),
             **{key: f"[{','.join(values)}]" for key, values in job.items()}}
            for (backbone, dataset, scale), job in needed.items()]


def progress_of(arguments: Sequence[str]) -> list[FileProgress]:
    """Return the progress of the score files that a job fills.

    Raises:
        ZsiqaError: if the settings of the job are not valid.
    """
    cfg = compose(*arguments)
    check_settings(cfg)
    return read_progress(cfg)


def unfinished(jobs: Iterable[list[str]]) -> list[list[str]]:
    """Return the jobs that still lack scores; print the others."""
    left = []
    for job in jobs:
        if all(file.done for file in progress_of(job)):
            print(f"done already: {' '.join(job)}")
        else:
            left.append(job)
    return left


def _merge(job: Job, given: Mapping[str, str]) -> Job | None:
    """Return a job of a sweep with the settings of the command line; None if they pick other jobs."""
    if any(job[key] != given.get(key, job[key]) for key in ("backbone", "dataset")):
        return None
    return {**job, **{key: value for key, value in given.items()
                      if key in job or key not in OF_BACKBONES or job["backbone"] != "none"}}


@functools.cache
def _read(group: str, name: str) -> Mapping[str, Any]:
    path = CONFIGS / group / f"{name}.yaml"
    if not path.is_file():
        raise ZsiqaError(unknown_name(f"{group}/{name}"))
    settings: Mapping[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return settings
