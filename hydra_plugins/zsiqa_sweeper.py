"""Sweeper for the jobs of `zsiqa.runs.sweep`. Hydra loads sweepers only from the package hydra_plugins."""

import sys
from typing import cast

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig


class ZsiqaSweeper(BasicSweeper):
    """Run the jobs of `+sweep=NAME`, or all combinations; with only_missing=true, those without scores."""

    def split_arguments(  # type: ignore[override]  # a static method in Hydra
            self, overrides: list[Override], max_batch_size: int | None) -> list[list[list[str]]]:
        """Split the jobs into batches that are submitted one after another."""
        from zsiqa.config import check_boolean  # here: Hydra imports this module at every start
        from zsiqa.runs.slurm import limit_warnings
        from zsiqa.runs.sweep import expand, unfinished

        cfg = cast(DictConfig, self.config)
        check_boolean(cfg, "only_missing")
        for warning in limit_warnings(cfg.hydra.launcher):
            print(f"warning: {warning}", file=sys.stderr)
        jobs = expand([str(override.input_line) for override in overrides])
        if cfg.only_missing:
            jobs = unfinished(jobs)
        size = max_batch_size or max(len(jobs), 1)
        return [jobs[first:first + size] for first in range(0, len(jobs), size)]
