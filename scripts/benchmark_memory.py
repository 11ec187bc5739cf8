"""Gain of `zsiqa.runs.machine.keep_freed_memory` on a CPU: `python scripts/benchmark_memory.py`.

Encodes and compares random tiles with EfficientNet-Lite0 in child processes that differ in this alone, in
turn, and prints milliseconds a tile (median of the rounds) and their ratio. Quote the ratio: times depend on
the machine.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

BATCH, BATCHES, ROUNDS = 8, 20, 5


def measure(keep: bool) -> float:
    """Milliseconds a tile for features and all five distances, in this process."""
    import torch

    from zsiqa import distances
    from zsiqa.backbones.timm_backbone import TimmBackbone
    from zsiqa.runs.machine import keep_freed_memory

    if keep:
        keep_freed_memory()
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
            distances.compare(every, ref, dis)
    return (time.perf_counter() - start) / (BATCH * BATCHES) * 1e3


def main() -> None:
    """Run the children in turn, and print."""
    times: dict[str, list[float]] = {"without": [], "with": []}
    for _ in range(ROUNDS):
        for choice, found in times.items():
            done = subprocess.run([sys.executable, __file__, choice], check=True, capture_output=True,
                                  text=True)
            found.append(float(done.stdout))
    without, with_it = (statistics.median(found) for found in times.values())
    print(f"without {without:.2f} ms a tile, with {with_it:.2f} ms a tile: {without / with_it:.2f} times as "
          f"fast")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(measure(keep=sys.argv[1] == "with"))
    else:
        main()
