"""Several distances of the same features at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from zsiqa.distances.columns import at_once, column_distances, parts
from zsiqa.distances.distribution import ColumnDistance
from zsiqa.distances.threads import map_side_by_side
from zsiqa.types import Features

Distance = Callable[[Features, Features], Tensor]  # (features of reference tiles, of distorted tiles) to (B,)
Layout = tuple[str, str]

# Number of elements (of tiles) that are processed at once. On a CPU, a few tensors of this size fit into the
# cache of all cores.
TILES_AT_ONCE = {"cpu": 2**21, "cuda": 2**27}


def compare(distances: Sequence[Distance], ref: Features, dis: Features) -> Tensor:
    """Compute several distances of the same features, (B, len(distances)); each equals a separate call."""
    groups: dict[Layout | None, list[int]] = {}  # places of the distances, by layout of columns
    for number, distance in enumerate(distances):
        layout = distance.layout if isinstance(distance, ColumnDistance) and not distance.half else None
        groups.setdefault(layout, []).append(number)
    tiles_at_once = max(1, at_once(TILES_AT_ONCE, ref) // sum(stack[0].numel() for stack in ref))
    some_tiles = parts(len(ref[0]), tiles_at_once)
    # Not for small tiles: their operations are so short that threads would wait for Python's lock.
    side_by_side = ref[0].device.type == "cpu" and tiles_at_once == 1
    values: dict[int, Tensor] = {}
    for layout, numbers in groups.items():
        of_tiles = partial(_compare_tiles, [distances[number] for number in numbers], layout, ref, dis)
        found = (map_side_by_side(of_tiles, some_tiles) if layout and side_by_side else
                 [of_tiles(tiles) for tiles in some_tiles])
        values.update(zip(numbers, torch.cat(found, dim=1), strict=True))
    return torch.stack([values[number] for number in range(len(distances))], dim=1)


def _compare_tiles(distances: Sequence[Any], layout: Layout | None, ref: Features, dis: Features,
                   tiles: slice) -> Tensor:
    """Compute distances that share a layout of columns, or that have none, of some tiles: (distances, b)."""
    features = [tuple(stack[tiles] for stack in stacks) for stacks in (ref, dis)]
    return torch.stack(column_distances(distances, *features) if layout else
                       [distance(*features) for distance in distances])
