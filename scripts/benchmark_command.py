"""Time and memory of a command: `python scripts/benchmark_command.py tables --scores ZS-IQA/results`.

Each run is a process of its own, its start included; the fastest counts. The last line that the command
prints is shown, so that a fast run over nothing is noticed. Quote ratios: times depend on the machine.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3, help="runs (%(default)s)")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="command of zsiqa, with its options")
    options = parser.parse_args()
    taken = []
    for _ in range(options.repeats):
        with tempfile.TemporaryFile("w+") as output:
            start = time.perf_counter()
            process = subprocess.Popen([sys.executable, "-m", "zsiqa", *options.command], stdout=output)
            _, status, used = os.wait4(process.pid, 0)
            taken.append((time.perf_counter() - start, used.ru_utime + used.ru_stime, used.ru_maxrss / 2**20))
            output.seek(0)
            lines = output.read().splitlines()
        if status:
            sys.exit(f"the command failed (status {os.waitstatus_to_exitcode(status)})")
    wall, processor, peak = min(taken)
    print(*lines[-1:], f"{wall:.2f} s ({processor:.2f} s of the processor), peak {peak:.2f} GiB", sep="\n")


if __name__ == "__main__":
    main()
