"""Time and memory of `zsiqa rank` on all data sets and perturbations of given sources.

Run: `python scripts/benchmark_rank.py --scores ZS-IQA/results "liao/results/Quality assessment"`.
"""

from __future__ import annotations

import argparse
import resource
import time

from zsiqa.evaluation.standings import rank
from zsiqa.results.sources import open_sources


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scores", nargs="+", required=True, metavar="SOURCE", help="as of zsiqa rank")
    parser.add_argument("--replicates", type=int, default=1000, help="of the bootstrap (%(default)s)")
    options = parser.parse_args()
    start = time.perf_counter(), time.process_time()
    sources = open_sources(options.scores)
    found = rank(sources, perturbations=None, replicates=options.replicates)
    wall, processor = time.perf_counter() - start[0], time.process_time() - start[1]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # GiB; Linux counts in KiB
    print(f"{len(sources.files)} files, {len(found.rows)} rows: {wall:.1f} s ({processor:.1f} s of the "
          f"processor), peak {peak:.2f} GiB")


if __name__ == "__main__":
    main()
