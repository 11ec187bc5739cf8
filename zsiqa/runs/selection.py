"""Which pairs of a data set are to be scored now.

A selection is a mask over the pairs. It does not make another data set: files, identity and batches stay the same, and
a run on a part is one that has not come to its end. The rest can follow at any time, and nothing is scored twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from omegaconf import DictConfig, OmegaConf

from zsiqa.runs.sharding import shard_of
from zsiqa.types import DatasetError, ImagePair

MOST = 40  # names to list in an error


def part_of(cfg: DictConfig) -> dict[str, Any]:
    """What a configuration says of the pairs, as `select` takes it. All values can be hashed."""
    parts = {name: cfg.dataset[name] for name in ("types", "references", "limit")}
    return {**{name: tuple(value) if OmegaConf.is_list(value) else value for name, value in parts.items()},
            "shard": (cfg.shard, cfg.num_shards)}


def select(pairs: Sequence[ImagePair], *, types: Iterable[object] | None = None,
           references: Iterable[object] | None = None, limit: int | None = None,
           shard: tuple[int, int] = (0, 1)) -> np.ndarray:
    """The pairs of these distortion types and references; of these, the first `limit`; of these, those of a shard.

    Args:
        types: distortion types (`jp2k`, or `8` for `08`) and published groups of them (`Noise`), in any case.
        references: names of reference images, in any case, with or without their suffix.
        limit: at least 1. None means all, here and above.
        shard: which, of how many; it may have no pair.

    Returns:
        (pairs,) bool.

    Raises:
        DatasetError: if a name is unknown, with those that there are, or if no pair is left.

    Examples:
        >>> from pathlib import Path
        >>> one, two = (ImagePair(n, "r.png", n, 0.0, Path(), Path(), type=n) for n in ("blur", "noise"))
        >>> select([one, two], types=["Blur"])
        array([ True, False])
    """
    selected = np.ones(len(pairs), dtype=bool)
    if types is not None:
        selected &= _named("types", types, [(pair.type, pair.type.lstrip("0") or "0", *pair.subsets) for pair in pairs])
    if references is not None:
        selected &= _named("references", references, [(pair.ref, pair.ref.rpartition(".")[0]) for pair in pairs])
    if limit is not None:
        selected &= np.cumsum(selected) <= limit
    if not selected.any():
        raise DatasetError("dataset.types and dataset.references leave no pair; choose parts that overlap")
    which, number = shard
    selected &= shard_of(pairs, number) == which
    return selected


def _named(setting: str, wanted: Iterable[object], names: Sequence[Sequence[str]]) -> np.ndarray:
    """The pairs that bear one of the wanted names."""
    keys = {str(name).casefold() for name in wanted}
    folded = {name: name.casefold() for name in dict.fromkeys(name for some in names for name in some)}
    if unknown := sorted(keys - set(folded.values())):
        there = sorted({name for some in names for name in (some[0], *some[2:])} - {""})
        more = f" and {len(there) - MOST} more" if len(there) > MOST else ""
        raise DatasetError(f"dataset.{setting}: unknown {', '.join(unknown)}; there are "
                           f"{', '.join(there[:MOST]) or 'none'}{more}")
    return np.array([any(folded[name] in keys for name in some) for some in names], dtype=bool)
