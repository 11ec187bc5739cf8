"""Tiles a second of two checkouts, EfficientNet-Lite0: `python scripts/benchmark_lite0.py OTHER [--quick]`.

OTHER is the folder of another checkout, for instance of `git worktree add --detach ../old 6f6c153`. Scores
features and embedding by all five distances, on made-up images of 512 x 384, decoding included. This checkout
does so also with `compile=distances` and `compile=true`; compiling is not counted. All take turns, each time
in a process of its own; the median of the rounds is printed. Quote the ratio: times depend on the machine.
"""

from __future__ import annotations

import argparse
import importlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
TARGET = 1.5


def measure(folder: Path, distorted: int, compiled: str) -> float:
    """Tiles a second of the checkout that PYTHONPATH names; its modules have moved since 6f6c153."""
    import numpy as np
    import torch
    from PIL import Image

    from zsiqa import distances
    from zsiqa.backbones.timm_backbone import TimmBackbone
    from zsiqa.perturbations import Original
    from zsiqa.types import ImagePair

    where = Path(importlib.import_module("zsiqa").__file__ or "").parent
    new = (where / "scoring").is_dir()
    engine = importlib.import_module("zsiqa.scoring.engine" if new else "zsiqa.scoring")
    importlib.import_module("zsiqa.runs.machine" if new else "zsiqa.machine").keep_freed_memory()
    random = np.random.default_rng(0)
    folder.mkdir()
    coarse = Image.fromarray(random.integers(0, 256, (8, 8, 3), dtype=np.uint8))
    pixels = np.asarray(coarse.resize((512, 384), Image.Resampling.BICUBIC)).astype(np.float32)
    pairs = []
    for number in range(distorted + 1):
        noisy = pixels + random.normal(0, 1 + number % 24, pixels.shape) * (number > 0)
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(folder / f"{number}.bmp")
        pairs.append(ImagePair(f"{number}", "0.bmp", f"{number}.bmp", 0.0, folder / "0.bmp",
                               folder / f"{number}.bmp"))
    torch.manual_seed(0)
    backbone = TimmBackbone(model_name="tf_efficientnet_lite0", weights=None, layers="blocks.*")
    five = {"l2": distances.L2(), "cosine": distances.Cosine(), "skld": distances.SKLD(),
            "jsd": distances.JSD(), "wsd": distances.WSD()}
    scorer = engine.Scorer(
        backbone, distances={(part, name): one for part in ("features", "embedding")
                             for name, one in five.items()},
        perturbations={"original": Original()}, device="cpu", batch_tiles=8, workers=2,
        compile={"false": False, "true": True}.get(compiled, compiled))
    for _ in range(2):  # warm; the last batch is a shorter one, which is compiled apart
        list(scorer.score(pairs[1:10]))
    start = time.perf_counter()
    done = list(scorer.score(pairs[1:]))
    seconds = time.perf_counter() - start
    if len(done) != distorted or any(isinstance(one, engine.Failed) for one in done):
        sys.exit("some pairs have no score")
    return 6 * (distorted + 1) / seconds


def main() -> None:
    """Measure in turn, and print."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("other", type=Path)
    parser.add_argument("--quick", action="store_true", help="a few pairs: does it run?")
    options = parser.parse_args()
    rounds, distorted = (1, 2) if options.quick else (3, 120)
    switches = ["false"] if options.quick else ["false", "distances", "true"]
    runs = [(options.other.resolve(), "false"), *((ROOT, compiled) for compiled in switches)]
    rates: list[list[float]] = [[] for _ in runs]
    with tempfile.TemporaryDirectory() as folder:
        for number in range(rounds):
            for (checkout, compiled), found in zip(runs, rates, strict=True):
                images = Path(folder) / f"{checkout == ROOT}-{compiled}-{number}"
                done = subprocess.run([sys.executable, __file__, "measure", str(images), str(distorted),
                                       compiled],
                                      env={**os.environ, "PYTHONPATH": str(checkout)}, check=True,
                                      capture_output=True, text=True)
                found.append(float(done.stdout))
    theirs, *ours = map(statistics.median, rates)
    print(f"| EfficientNet-Lite0, five distances, features and embedding | tiles a second | times "
          f"{options.other.name} | target |\n|---|---|---|---|")
    print(f"| {options.other.name} | {theirs:.1f} | 1 | |")
    for compiled, rate in zip(switches, ours, strict=True):
        print(f"| this, `compile={compiled}` | {rate:.1f} | {rate / theirs:.2f} | at least {TARGET} times "
              f"({'met' if rate >= TARGET * theirs else 'missed'}) |")


if __name__ == "__main__":
    if sys.argv[1:2] == ["measure"]:
        print(measure(Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4]))
    else:
        main()
