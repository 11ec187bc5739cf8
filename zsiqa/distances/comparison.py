"""Several distances of the same features at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from zsiqa.distances.columns import at_once, column_distances, parts
from zsiqa.distances.distribution import ColumnDistance
from zsiqa.distances.features import Distance, Features

# Elements of the tiles that are worked on at once. On a CPU, some tensors of it fit into the cache of all cores.
TILES_AT_ONCE = {"cpu": 2**21, "cuda": 2**27}


def compare(distances: Sequence[Distance], ref: Features, dis: Features) -> Tensor:
    """Several distances of the same features, (B, len(distances)); each as if it had been called alone."""
    tiles = max(1, at_once(TILES_AT_ONCE, ref) // sum(stack[0].numel() for stack in ref))
    cuts = parts(len(ref[0]), tiles)
    return torch.cat([_compare_some(distances, *(tuple(stack[part] for stack in features) for features in (ref, dis)))
                      for part in cuts])


def _compare_some(distances: Sequence[Distance], ref: Features, dis: Features) -> Tensor:
    columns = {number: one for number, one in enumerate(distances) if isinstance(one, ColumnDistance) and not one.half}
    found = {number: one(ref, dis) for number, one in enumerate(distances) if number not in columns}
    for layout in dict.fromkeys(one.layout for one in columns.values()):
        alike = {number: one for number, one in columns.items() if one.layout == layout}
        found.update(zip(alike, column_distances(list(alike.values()), ref, dis), strict=True))
    return torch.stack([found[number] for number in range(len(distances))], dim=1)


def compiled_compare() -> Callable[[Sequence[Distance], Features, Features], torch.Tensor]:
    """`compare`, compiled once for any number of tiles (and once more for a single one, as PyTorch has it)."""
    compiled = torch.compile(compare)

    def any_number(features: Features) -> Features:
        # Whether a tensor starts where its memory does would be part of the graph, too.
        stacks = tuple(stack.clone() if stack.storage_offset() else stack for stack in features)
        for stack in stacks:
            torch._dynamo.maybe_mark_dynamic(stack, 0)
        return stacks

    def compare_any_number(distances: Sequence[Distance], ref: Features, dis: Features) -> torch.Tensor:
        return compiled(distances, any_number(ref), any_number(dis))
    return compare_any_number
