"""Effect of precision and compilation on scores: `python scripts/benchmark_precision.py [setting=value ...]`.

Scores the demo, or what the settings of run.py say, at every precision that the device has, and compares with
fp32 on the same device: for every metric the largest difference of a score, relative to the fp32 score, and
the change of SRCC; seconds of the whole run, start included.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr

from zsiqa.results.folder import StoredFolder
from zsiqa.results.scores import ScoreKey, Scores
from zsiqa.runs.machine import pick_device

RUN = [sys.executable, str(Path(__file__).parent.parent / "run.py"), "distance=all", "representation=all"]


def score(settings: list[str], results: Path) -> tuple[dict[ScoreKey, Scores], float]:
    """All scores of a run, and its seconds."""
    start = time.perf_counter()
    subprocess.run([*RUN, *settings, f"results_dir={results}"], check=True, stdout=subprocess.DEVNULL)
    seconds = time.perf_counter() - start
    folder = StoredFolder(results / "scores")
    return {key: folder.load(key, path) for key, path in folder.files.items()}, seconds


def srcc(scores: Scores) -> float:
    """Spearman's coefficient with the labels, its sign kept."""
    return float(spearmanr(scores.quality[scores.usable], scores.oriented_labels[scores.usable]).statistic)


def main() -> None:
    """Measure, and print a table."""
    settings = sys.argv[1:]
    device, described = pick_device("auto")
    print(f"{described}; {' '.join(settings) or 'the demo'}\n")
    print("| metric | setting | largest relative difference | change of SRCC |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        exact, seconds = score(settings, Path(folder) / "fp32")
        times = [f"fp32 {seconds:.0f} s"]
        others = ["precision=bf16", "precision=fp16", "compile=true"]
        for number, setting in enumerate(["precision=tf32", *others] if device == "cuda" else others):
            found, seconds = score([*settings, setting], Path(folder) / str(number))
            times.append(f"{setting} {seconds:.0f} s")
            for key, scores in found.items():
                difference = np.nanmax(np.abs(scores.values / exact[key].values - 1))
                change = srcc(scores) - srcc(exact[key])
                print(f"| {key.metric} {key.perturbation} | {setting} | {difference:.1e} | {change:+.4f} |",
                      flush=True)
    print("\n" + ", ".join(times))


if __name__ == "__main__":
    main()
