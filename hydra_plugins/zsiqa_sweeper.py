"""Hydra's own sweeper, with the jobs that `zsiqa.sweeps` makes. Hydra takes sweepers from the package hydra_plugins."""

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.types import Override


class ZsiqaSweeper(BasicSweeper):
    """Runs the jobs of `+sweep=NAME`, or all combinations; with only_missing=true, those that lack scores."""

    def split_arguments(  # type: ignore[override]  # a static method there
            self, overrides: list[Override], max_batch_size: int | None) -> list[list[list[str]]]:
        """The jobs, in batches that are submitted one after another."""
        from zsiqa.sweeps import expand, unfinished  # Hydra imports this module at every start

        jobs = expand([str(override.input_line) for override in overrides])
        if self.config is not None and self.config.only_missing:
            jobs = unfinished(jobs)
        size = max_batch_size or max(len(jobs), 1)
        return [jobs[first:first + size] for first in range(0, len(jobs), size)]
