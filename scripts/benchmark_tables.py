"""How long the paper's tables take, from a folder of score files, measured afresh and remembered.

    python scripts/benchmark_tables.py --scores /path/to/ZS-IQA/results

Each run is a process of its own, its start included. Cells are counted, so that a fast run over nothing shows.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scores", type=Path, required=True, help="folder of score files")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each kind, the fastest counts (%(default)s)")
    options = parser.parse_args()
    fresh: list[float] = []
    remembered: list[float] = []
    verdicts = ""
    for _ in range(options.repeats):
        with tempfile.TemporaryDirectory() as cache:
            for seconds in (fresh, remembered):
                start = time.perf_counter()
                done = subprocess.run([sys.executable, "-m", "zsiqa.cli.main", "tables", "--scores", str(options.scores)],
                                      capture_output=True, text=True, check=True,
                                      env={**os.environ, "XDG_CACHE_HOME": cache})
                seconds.append(time.perf_counter() - start)
                verdicts = next(line for line in done.stdout.splitlines() if "printed cells:" in line)
    print(verdicts)
    print(f"measured afresh {min(fresh):5.2f} s")
    print(f"remembered      {min(remembered):5.2f} s, {min(fresh) / min(remembered):.1f} times as fast")


if __name__ == "__main__":
    main()
