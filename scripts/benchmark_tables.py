"""How long the paper's tables take, from a folder of score files.

    python scripts/benchmark_tables.py --scores /path/to/ZS-IQA/results

Each run is a process of its own, its start included. Cells are counted, so that a fast run over nothing
shows.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scores", type=Path, required=True, help="folder of score files")
    parser.add_argument("--repeats", type=int, default=3, help="runs, the fastest counts (%(default)s)")
    options = parser.parse_args()
    taken: list[float] = []
    for _ in range(options.repeats):
        start = time.perf_counter()
        done = subprocess.run([sys.executable, "-m", "zsiqa", "tables", "--scores", str(options.scores)],
                              capture_output=True, text=True, check=True)
        taken.append(time.perf_counter() - start)
    print(next(line for line in done.stdout.splitlines() if "printed cells:" in line))
    print(f"{min(taken):.2f} s")


if __name__ == "__main__":
    main()
