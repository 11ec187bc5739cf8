"""Speed of `zsiqa.evaluation.bootstrap`: `python scripts/benchmark_bootstrap.py [--csv FILE]`.

Times preparation and replicates together, best of three, on random data of PIPAL's shape or on a file with
columns ref, mos and pred (a distance), and compares with writing the drawn pairs out and calling scipy, timed
on a few replicates. Quote the ratio: times depend on the machine.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from zsiqa.evaluation.bootstrap import Floats, Integers, draw, replicate
from zsiqa.evaluation.correlation import COEFFICIENTS, correlate

REFERENCES, PAIRS_EACH, NAIVE = 200, 116, 5


def read_pairs(path: Path | None) -> tuple[Floats, Floats, Integers]:
    """Scores and labels, higher is better for both, and the reference of each pair."""
    if path is None:
        random = np.random.default_rng(0)
        groups = np.repeat(np.arange(REFERENCES), PAIRS_EACH)
        labels = random.normal(size=len(groups)) + random.normal(size=REFERENCES)[groups]
        return labels + random.normal(size=len(groups)), labels, groups
    frame = pd.read_csv(path)
    groups = np.unique(frame["ref"].to_numpy(), return_inverse=True)[1]
    return -frame["pred"].to_numpy(np.float64), frame["mos"].to_numpy(np.float64), groups


def seconds(work: Callable[[], object], repeats: int = 3) -> float:
    """Return the least wall time of `repeats` calls."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def naive(scores: Floats, labels: Floats, groups: Integers, weights: Integers) -> Floats:
    """Compute the same numbers from the resampled pairs written out: (3, B)."""
    members = [np.flatnonzero(groups == group) for group in range(weights.shape[1])]
    rows = []
    for row in weights:
        index = np.concatenate([members[group] for group in np.repeat(np.arange(len(row)), row)])
        rows.append(correlate(scores[index].tolist(), labels[index].tolist()))
    return np.array(rows).T


def main() -> None:
    """Time, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--csv", type=Path, help="columns ref, mos, pred; default: random data")
    parser.add_argument("--replicates", type=int, default=2000)
    arguments = parser.parse_args()
    pairs = read_pairs(arguments.csv)
    groups = int(pairs[2].max()) + 1
    weights = draw(groups, arguments.replicates)
    print(f"{len(pairs[1])} pairs, {groups} references, {len(weights)} replicates; preparation is included")
    together = seconds(partial(replicate, *pairs, weights))
    for name in COEFFICIENTS:
        alone = seconds(partial(replicate, *pairs, weights, [name]))
        print(f"{name} alone      {alone:8.3f} s")
    print(f"all together    {together:8.3f} s")
    few = weights[:NAIVE]
    written_out = seconds(partial(naive, *pairs, few), 1) / len(few) * len(weights)
    print(f"written out     {written_out:8.1f} s, extrapolated from {len(few)} replicates: "
          f"{written_out / together:.0f} times as long")
    found = np.stack([*replicate(*pairs, few).values()])
    print(f"largest difference in those {len(few)}: {np.max(np.abs(found - naive(*pairs, few))):.1e}")


if __name__ == "__main__":
    main()
