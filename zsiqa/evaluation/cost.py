"""Cost of each metric, as `scripts/benchmark_cost.py` measured it: time, memory, parameters, download."""

from __future__ import annotations

import csv
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from zsiqa.releases import variant_of
from zsiqa.results.scores import split_scale

FILE = Path(__file__).with_name("cost.csv")


@dataclass(frozen=True)
class Cost:
    """Cost of one metric.

    Attributes:
        ms_pair: milliseconds of CPU time, on one core, for a pair of 512 x 384 pixels: both images encoded,
            and compared. Reading the files is not included.
        ms_further: the same for a further distorted image of the same reference, which is not encoded again.
        peak_mib: peak resident memory in MiB of a process that scores a pair, with Python and PyTorch. For a
            backbone, of all its distances together.
        parameters: number of the network's parameters that are used; 0 without a network.
        download_mib: size in MiB of the files with weights, whether downloaded or inside a package.
        machine: the machine it was measured on.
    """

    ms_pair: float
    ms_further: float
    peak_mib: int
    parameters: int
    download_mib: float
    machine: str


def cost_of(metric: str) -> Cost | None:
    """Return the cost of a metric, at the scale of the paper; None if it was not measured.

    Args:
        metric: its name, with or without a source (`liao2024:...`) and a scale (`...@short_256`).
    """
    name, scale = split_scale(metric.rpartition(":")[2])
    return None if scale else costs().get(variant_of(name))


@functools.cache
def costs() -> Mapping[str, Cost]:
    """Load the costs (cached), by the name of the metric: `psnr`, `dinov1-features-wsd`.

    Metrics that were not measured, such as those of other models, are missing.
    """
    with FILE.open(newline="", encoding="utf-8") as stream:
        return {row["metric"]: Cost(float(row["ms_pair"]), float(row["ms_further"]), int(row["peak_mib"]),
                                    int(row["parameters"]), float(row["download_mib"]), row["machine"])
                for row in csv.DictReader(stream)}
