"""The references of a data set as a data set of their own: each is paired with itself, without a label."""

from __future__ import annotations

import math
from collections.abc import Iterable

from zsiqa.types import ImagePair


def pair_references(pairs: Iterable[ImagePair]) -> tuple[ImagePair, ...]:
    """Pair each distinct reference with itself, in the order of first appearance.

    A perturbation then changes a flawless image, and a score measures the response to geometry alone.

    Returns:
        Pairs with the reference's name as `pair_id`, and NaN for the label.
    """
    first: dict[str, ImagePair] = {}
    for pair in pairs:
        first.setdefault(pair.ref, pair)
    return tuple(ImagePair(name, name, name, math.nan, pair.ref_path, pair.ref_path)
                 for name, pair in first.items())
