"""Cost of scales and of whole images: `python scripts/benchmark_scale.py [--pairs 4] [--backbone dinov1]`.

Scores made-up images of 512 x 384 pixels by the cosine distance of a backbone with random weights (which are
as fast as the real ones), at each scale, in tiles and whole. Prints milliseconds per pair, and those of
scaling in the loading threads; each row is the fastest of three. On a CPU, they are of processor time, which
other work on the machine disturbs least. Quote ratios: times depend on the machine.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from benchmark import make_pairs

from zsiqa.config import check_settings, compose
from zsiqa.runs.build import build_backbone
from zsiqa.runs.conditions import build_conditions, conditions
from zsiqa.runs.machine import keep_freed_memory, pick_device
from zsiqa.scoring.engine import Failed
from zsiqa.scoring.profiling import Profile
from zsiqa.types import ImagePair, ZsiqaError

SCALES = ("native", "average_256", "short_256", "short_224")


def measure(backbone: str, scale: str, window: str, pairs: list[ImagePair], device: str) -> str:
    """Return the cells of a row, or why there are none."""
    cfg = compose(f"backbone={backbone}", "backbone.pretrained=false", "distance=cosine", f"scale={scale}",
                  f"window={window}")
    check_settings(cfg)
    scorer = build_backbone(cfg, None, [("features", "cosine")], device=device, workers=2,
                            **build_conditions(cfg, conditions(cfg)))
    clock = time.process_time if device == "cpu" else time.perf_counter
    fastest, scaling = float("inf"), 0.0
    for _ in range(3):
        scorer.measure = profile = Profile()
        start = clock()
        for outcome in scorer.score(pairs):
            if isinstance(outcome, Failed):
                raise outcome.error
        seconds = clock() - start
        if seconds < fastest:
            fastest, scaling = seconds, profile.seconds["scale"]
    return f"{1000 * fastest / len(pairs):.0f} | {1000 * scaling / len(pairs):.1f}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--pairs", type=int, default=4, help="distorted images (%(default)s)")
    parser.add_argument("--backbone", default="dinov1", help="a name of configs/backbone (%(default)s)")
    parser.add_argument("--device", default="auto", help="cpu, cuda or auto (%(default)s)")
    options = parser.parse_args()
    device, described = pick_device(options.device)
    if device == "cpu":
        keep_freed_memory()
    print(f"{options.backbone}, {described}, one reference with {options.pairs} distorted images\n\n"
          "| scale | tiles | ms a pair | of it scaling, in other threads |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        pairs = make_pairs(Path(folder) / "images", 1, options.pairs, (512, 384))
        measure(options.backbone, "native", "224", pairs[:1], device)  # warm up
        for scale in SCALES:
            for window in ("224", "null"):
                try:
                    row = measure(options.backbone, scale, window, pairs, device)
                except ZsiqaError as error:
                    row = f"{'none: a side is under the tile' if 'shorter than' in str(error) else error} | "
                print(f"| {scale} | {'whole' if window == 'null' else window} | {row} |", flush=True)


if __name__ == "__main__":
    main()
