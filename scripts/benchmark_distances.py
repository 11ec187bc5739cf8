"""Cost of all distances, and cost and error of WSD: `python scripts/benchmark_distances.py`.

Prints what the five distances take where each tile has a thread of its own, as without gradients, and where
threads share each operation, as with gradients. If these times differ by less than the rounds do, the cores
share a cache. Then prints the time with WSD as it is, in float64, and in float32 without taking out the
rounding of the normaliser. Then the relative error of each on nearly equal features, beside what one unit in
the last place of the features changes. `ATEN_CPU_CAPABILITY=default` or `avx2` before it restricts the
instruction set. Quote the ratio: times depend on the machine.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence

import torch

from zsiqa import distances
from zsiqa.distances.columns import Columns
from zsiqa.distances.distribution import transport
from zsiqa.runs.machine import keep_freed_memory, pick_device

TILES, LAYERS, TOKENS, WIDTH = 8, 12, 197, 768  # DINOv1
ROUNDS = 6
NOISES = (1e-2, 1e-3, 1e-4, 1e-5)


class Float64WSD(distances.WSD):
    """WSD in float64."""

    dtype = torch.float64

    def divergence(self, columns: Columns) -> torch.Tensor:
        """See `zsiqa.distances.WSD`."""
        p, q = columns.probabilities(self.softmax_over, 0.0, self.dtype)
        return transport((p - q)[..., :-1, :].unbind(-2))


class Float32WSD(Float64WSD):
    """WSD in float32, with the rounding of its normaliser."""

    dtype = torch.float32


VARIANTS = {"as it is": distances.WSD(), "float64": Float64WSD(), "float32, normaliser rounded": Float32WSD()}


def pair(noise: float) -> tuple[distances.Features, distances.Features]:
    """Draw features, and the same with noise."""
    random = torch.Generator().manual_seed(0)
    ref = torch.randn(TILES, LAYERS, TOKENS, WIDTH, generator=random)
    return (ref,), (ref + noise * torch.randn(ref.shape, generator=random),)


def seconds(metrics: Sequence[distances.Distance], ref: distances.Features, dis: distances.Features) -> float:
    """Time of one comparison."""
    start = time.perf_counter()
    distances.compare(metrics, ref, dis)
    return time.perf_counter() - start


def errors(noise: float) -> list[float]:
    """Largest relative error of each variant; last, the change by one unit in the last place of features."""
    ref, dis = pair(noise)
    exact = distances.WSD()
    expected = exact((ref[0].double(),), (dis[0].double(),))
    random = torch.Generator().manual_seed(1)
    direction = torch.where(torch.rand(ref[0].shape, generator=random) < 0.5, torch.inf, -torch.inf)
    moved = exact((torch.nextafter(ref[0], direction).double(),), (dis[0].double(),))
    found = [*(wsd(ref, dis) for wsd in VARIANTS.values()), moved]
    return [float(((values - expected).abs() / expected).max()) for values in found]


def _per_tile(times: Sequence[float]) -> str:
    return (f"{statistics.median(times) / TILES * 1e3:.1f} (from {min(times) / TILES * 1e3:.1f} "
            f"to {max(times) / TILES * 1e3:.1f})")


@torch.no_grad()
def main() -> None:
    """Measure, and print two tables."""
    keep_freed_memory()
    others: list[distances.Distance] = [distances.SKLD(), distances.JSD(), distances.L2(), distances.Cosine()]
    features = pair(NOISES[0])
    for wsd in VARIANTS.values():
        seconds([*others, wsd], *features)  # the first is slower
    alone, shared = [], []
    for _ in range(ROUNDS):
        alone.append(seconds([*others, distances.WSD()], *features))
        with torch.enable_grad():
            shared.append(seconds([*others, distances.WSD()], *features))
    # Alternating, so that other work on the machine meets all; the least of each is what they take alone.
    times = [{name: seconds([*others, wsd], *features) for name, wsd in VARIANTS.items()}
             for _ in range(ROUNDS)]
    print(f"{pick_device('cpu')[1]}; {torch.backends.cpu.get_cpu_capability()}, {torch.get_num_threads()} "
          f"threads; torch {torch.__version__}")
    print(f"five distances, ms a tile: a thread for each tile {_per_tile(alone)}; each operation shared "
          f"{_per_tile(shared)}: {statistics.median(shared) / statistics.median(alone):.2f} times")
    least = {name: min(one[name] for one in times) for name in VARIANTS}
    for name, taken in least.items():
        print(f"WSD {name}: five distances {taken / TILES * 1e3:.1f} ms a tile, "
              f"{taken / least['as it is']:.2f} times the first")
    print(f"noise: relative error of WSD {', '.join(VARIANTS)}; one unit in the last place of features")
    for noise in NOISES:
        print(f"{noise:g}: {', '.join(f'{error:.1e}' for error in errors(noise))}")


if __name__ == "__main__":
    main()
