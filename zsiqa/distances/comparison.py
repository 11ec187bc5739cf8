"""Several distances of the same features at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from zsiqa.distances.columns import at_once, column_distances, parts
from zsiqa.distances.distribution import ColumnDistance
from zsiqa.types import Features

Distance = Callable[[Features, Features], Tensor]  # (features of reference tiles, of distorted tiles) to (B,)

# Number of elements (of tiles) that are processed at once. On a CPU, a few tensors of this size fit into the
# cache of all cores.
TILES_AT_ONCE = {"cpu": 2**21, "cuda": 2**27}


def compare(distances: Sequence[Distance], ref: Features, dis: Features) -> Tensor:
    """Compute several distances of the same features, (B, len(distances)); each equals a separate call."""
    tiles = max(1, at_once(TILES_AT_ONCE, ref) // sum(stack[0].numel() for stack in ref))
    return torch.cat([
        _compare_some(distances, *(tuple(stack[part] for stack in features) for features in (ref, dis)))
        for part in parts(len(ref[0]), tiles)])


def _compare_some(distances: Sequence[Distance], ref: Features, dis: Features) -> Tensor:
    columns = {number: distance for number, distance in enumerate(distances)
               if isinstance(distance, ColumnDistance) and not distance.half}
    values = {number: distance(ref, dis) for number, distance in enumerate(distances)
              if number not in columns}
    for layout in dict.fromkeys(distance.layout for distance in columns.values()):
        same_layout = {number: distance for number, distance in columns.items() if distance.layout == layout}
        values.update(zip(same_layout, column_distances(list(same_layout.values()), ref, dis), strict=True))
    return torch.stack([values[number] for number in range(len(distances))], dim=1)
