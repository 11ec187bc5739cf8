"""Cost and gain of how WSD is computed: `python scripts/benchmark_distances.py`.

Prints what the five distances take with WSD as it is, with its softmax for whole maps at once, and with WSD
in float32, and the relative error of each on nearly equal features. `ATEN_CPU_CAPABILITY=default` or `avx2`
before it restricts the instruction set. Quote the ratio: times depend on the machine.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch

from zsiqa import distances
from zsiqa.distances.columns import Columns
from zsiqa.distances.distribution import transport
from zsiqa.runs.machine import keep_freed_memory, pick_device

TILES, LAYERS, TOKENS, WIDTH = 8, 12, 197, 768  # DINOv1
ROUNDS = 6
NOISE = 1e-3


class Float32WSD(distances.WSD):
    """WSD with the softmax and the cumulative sums in float32."""

    def divergence(self, columns: Columns) -> torch.Tensor:
        """See `zsiqa.distances.WSD`."""
        p, q = columns.probabilities(self.softmax_over, 0.0)
        return transport([(p - q)[..., :-1, :]])


class WholeMapWSD(distances.WSD):
    """WSD whose softmax is computed for all samples of a map at once."""

    def divergence(self, columns: Columns) -> torch.Tensor:
        """See `zsiqa.distances.WSD`."""
        p, q = columns.probabilities(self.softmax_over, 0.0, torch.float64)
        return transport([(p - q)[..., :-1, :]])


def seconds(metrics: Sequence[distances.Distance], ref: distances.Features, dis: distances.Features) -> float:
    """Time of one comparison."""
    start = time.perf_counter()
    distances.compare(metrics, ref, dis)
    return time.perf_counter() - start


def main() -> None:
    """Measure, and print a table."""
    keep_freed_memory()
    random = torch.Generator().manual_seed(0)
    ref = (torch.randn(TILES, LAYERS, TOKENS, WIDTH, generator=random),)
    dis = (ref[0] + NOISE * torch.randn(ref[0].shape, generator=random),)
    others: list[distances.Distance] = [distances.SKLD(), distances.JSD(), distances.L2(), distances.Cosine()]
    variants = {"float64, some samples at a time": distances.WSD(), "float64, whole maps": WholeMapWSD(),
                "float32": Float32WSD()}
    with torch.inference_mode():
        for wsd in variants.values():
            seconds([*others, wsd], ref, dis)  # the first is slower
        # Alternating, so that other work on the machine meets both; the least of each is what they take
        # alone.
        times = [{name: seconds([*others, wsd], ref, dis) for name, wsd in variants.items()}
                 for _ in range(ROUNDS)]
        least = {name: min(one[name] for one in times) for name in variants}
        expected = distances.WSD()(*((stacks[0].double(),) for stacks in (ref, dis)))
        errors = {name: float(((wsd(ref, dis) - expected).abs() / expected).max()) for name,
                  wsd in variants.items()}
    print(f"{pick_device('cpu')[1]}; {torch.backends.cpu.get_cpu_capability()}, {torch.get_num_threads()} "
          f"threads; torch {torch.__version__}")
    first = next(iter(least.values()))
    for name, taken in least.items():
        print(f"WSD in {name}: five distances {taken / TILES * 1e3:.1f} ms a tile, {taken / first:.2f} times "
              f"the first; largest relative error of WSD {errors[name]:.1e}")


if __name__ == "__main__":
    main()
