"""Shards: the pairs of one large run, divided among N jobs.

A shard consists of consecutive whole blocks, the unit in which the engine forms its batches
(`zsiqa.scoring.loading.plan_blocks`). So no reference is encoded twice, and scores are equal bit for bit with
any number of shards and without shards.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from zsiqa.scoring.loading import plan_blocks
from zsiqa.types import ImagePair


def shard_of(pairs: Sequence[ImagePair], num_shards: int) -> np.ndarray:
    """Return the shard of each pair: contiguous blocks, as equal in number of pairs as whole blocks allow.

    Returns:
        (pairs,) int in [0, num_shards). With more shards than blocks, some have no pair.

    Example:
        >>> from pathlib import Path
        >>> pairs = [ImagePair(f"{r}{n}", r, r, 0.0, Path(r), Path(r)) for n in range(64) for r in "abc"]
        >>> np.bincount(shard_of(pairs, 2)).tolist(), np.bincount(shard_of(pairs, 4), minlength=4).tolist()
        ([64, 128], [64, 0, 64, 64])
    """
    shards = np.empty(len(pairs), dtype=int)
    first = 0
    for block in plan_blocks(pairs):
        indices = [index for group in block for index in group]
        # The shard that contains the middle of the block.
        shards[indices] = (2 * first + len(indices)) * num_shards // (2 * len(pairs))
        first += len(indices)
    return shards
