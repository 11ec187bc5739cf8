"""Time to read and identify a CSV of many pairs: `python scripts/benchmark_pairs.py`.

Writes such a CSV, of images that need not exist, into a temporary folder; prints seconds, those of the
processor (which other work on the machine changes less), and the peak memory of the process with its imports.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path

from omegaconf import OmegaConf

from zsiqa.datasets import pairs
from zsiqa.runs.plan import identify_images
from zsiqa.types import Dataset

DISTORTED = 120  # of each reference, as in TID2013


def write(path: Path, rows: int) -> None:
    """Write `rows` pairs, line by line, so that it takes no memory."""
    with path.open("w", encoding="utf-8") as stream:
        stream.write("ref,dis,mos,type,level\n")
        for row in range(rows):
            ref, place = divmod(row, DISTORTED)
            kind, level = divmod(place, 5)
            stream.write(f"references/i{ref:06}.png,distorted/i{ref:06}_{kind:02}_{level}.png,"
                         f"{row % 9973 / 997:.5f},{kind:02},{level}\n")


def clocks() -> tuple[float, float]:
    """Return the time on the wall and of the processor, in seconds."""
    return time.perf_counter(), time.process_time()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000, help="pairs (%(default)s)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pairs.csv"
        write(path, options.rows)
        start = clocks()
        found = pairs.read(path)
        read = clocks()
        identify_images(OmegaConf.create({"dataset": {"image_identity": "paths"}}),
                        Dataset("pairs", "", found.pairs, higher_is_better=True))
        done = clocks()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # GiB; Linux counts in KiB
    for what, before, after in (("read", start, read), ("identified", read, done)):
        wall, processor = (after[clock] - before[clock] for clock in (0, 1))
        print(f"{len(found.pairs):,} pairs {what} in {wall:.1f} s ({processor:.1f} s of the processor)")
    print(f"peak {peak:.2f} GiB")


if __name__ == "__main__":
    main()
