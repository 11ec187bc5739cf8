"""Selection of the pairs of a data set to score in this run.

A selection is a mask over the pairs. It does not make another data set: files, identity and batches stay the
same. A run on a selection is an unfinished run of the whole data set: the other pairs can be scored later,
and no pair is scored twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from omegaconf import DictConfig, OmegaConf

from zsiqa.runs.sharding import shard_of
from zsiqa.terminal import listed
from zsiqa.types import DatasetError, ImagePair, did_you_mean

MOST = 40  # maximum number of names to list in an error


def part_of(cfg: DictConfig) -> dict[str, Any]:
    """Return the keyword arguments of `select` from a configuration. All values can be hashed."""
    parts = {name: cfg.dataset[name] for name in ("types", "references", "limit")}
    return {**{name: tuple(value) if OmegaConf.is_list(value) else value for name, value in parts.items()},
            "shard": (cfg.shard, cfg.num_shards)}


def select(pairs: Sequence[ImagePair], *, types: Iterable[object] | None = None,
           references: Iterable[object] | None = None, limit: int | None = None,
           shard: tuple[int, int] = (0, 1)) -> np.ndarray:
    """Select pairs by distortion type and reference; then the first `limit` of them; then those of a shard.

    Args:
        types: distortion types (`jp2k`, or `8` for `08`) and published groups of them (`Noise`); case is
            ignored.
        references: names of reference images, with or without their suffix; case is ignored.
        limit: at least 1. For `types`, `references` and `limit`, None means all.
        shard: (index, number of shards); a shard may be empty.

    Returns:
        (pairs,) bool.

    Raises:
        DatasetError: if a name is unknown (the message lists the known names), or if no pair is left (before
            the shard is taken).

    Examples:
        >>> from pathlib import Path
        >>> one, two = (ImagePair(n, "r.png", n, 0.0, Path(), Path(), type=n) for n in ("blur", "noise"))
        >>> select([one, two], types=["Blur"])
        array([ True, False])
    """
    selected = np.ones(len(pairs), dtype=bool)
    if types is not None:
        selected &= _match("types", types,
                           [(pair.type, pair.type.lstrip("0") or "0", *pair.subsets) for pair in pairs])
    if references is not None:
        selected &= _match("references", references,
                           [(pair.ref, pair.ref.rpartition(".")[0]) for pair in pairs])
    if limit is not None:
        selected &= np.cumsum(selected) <= limit
    if not selected.any():
        raise DatasetError("dataset.types and dataset.references leave no pair; choose parts that overlap")
    index, num_shards = shard
    selected &= shard_of(pairs, num_shards) == index
    return selected


def _match(setting: str, wanted: Iterable[object], names: Sequence[Sequence[str]]) -> np.ndarray:
    """Return a mask of the pairs that have one of the wanted names.

    Args:
        names: names of each pair; the second is a short form, which errors do not list.
    """
    keys = {str(name).casefold() for name in wanted}
    folded = {name: name.casefold() for name in dict.fromkeys(name for of_pair in names for name in of_pair)}
    if unknown := sorted(keys - set(folded.values())):
        known = sorted({name for of_pair in names for name in (of_pair[0], *of_pair[2:])} - {""})
        raise DatasetError(f"dataset.{setting}: unknown {', '.join(unknown)}{did_you_mean(unknown, known)}; "
                           f"there are {listed(known, MOST) or 'none'}")
    return np.array([any(folded[name] in keys for name in of_pair) for of_pair in names], dtype=bool)
