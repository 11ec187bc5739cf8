"""Gain of two settings of memory on a CPU: `python scripts/benchmark_memory.py [memory | constants]`.

`memory` (default): freed memory is kept (`zsiqa.runs.machine.keep_freed_memory`). `constants`: PyTorch's
constants are mapped before compiled distances run (`zsiqa.distances.compiled`); compiling is not counted.
Encodes and compares random tiles with EfficientNet-Lite0 in child processes that differ in this alone, in
turn, and prints milliseconds a tile (median of the rounds) and their ratio. Quote the ratio: times depend on
the machine.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

BATCH, BATCHES, ROUNDS = 8, 20, 5


def measure(setting: str, on: bool) -> float:
    """Milliseconds a tile for features and all five distances, in this process."""
    import torch

    from zsiqa import distances
    from zsiqa.backbones.timm_backbone import TimmBackbone
    from zsiqa.distances import compiled
    from zsiqa.runs.machine import keep_freed_memory

    compare: Callable[..., torch.Tensor] = distances.compare
    if setting == "constants" or on:
        keep_freed_memory()
    if setting == "constants":
        if not on:
            compiled._map_constants = lambda: None
        compare = compiled.compiled_compare()
    torch.manual_seed(0)
    backbone = TimmBackbone(model_name="tf_efficientnet_lite0", weights=None, layers="blocks.*")
    tiles = torch.rand(BATCH, 3, 224, 224).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        ref = backbone(tiles)["features"]
        every: list[distances.Distance] = [distances.SKLD(), distances.JSD(), distances.WSD(), distances.L2(),
                                           distances.Cosine()]
        for batch in range(BATCHES + 2):
            if batch == 2:  # two to warm up
                start = time.perf_counter()
            dis = backbone(tiles.flip(-1))["features"]
            compare(every, ref, dis)
    return (time.perf_counter() - start) / (BATCH * BATCHES) * 1e3


def main() -> None:
    """Run the children in turn, and print."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("setting", nargs="?", default="memory", choices=["memory", "constants"])
    setting = parser.parse_args().setting
    times: dict[str, list[float]] = {"without": [], "with": []}
    for _ in range(ROUNDS):
        for choice, found in times.items():
            done = subprocess.run([sys.executable, __file__, setting, choice], check=True,
                                  capture_output=True, text=True)
            found.append(float(done.stdout))
    without, with_it = (statistics.median(found) for found in times.values())
    print(f"without {without:.2f} ms a tile, with {with_it:.2f} ms a tile: {without / with_it:.2f} times as "
          f"fast")


if __name__ == "__main__":
    if len(sys.argv) == 3:
        print(measure(sys.argv[1], on=sys.argv[2] == "with"))
    else:
        main()
