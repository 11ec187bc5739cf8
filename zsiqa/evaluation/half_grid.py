"""Detection of scores on a half-precision grid, and the effect of their ties on the rank correlations.

A float16 number has 11 significant bits, a float32 number 24. A score is a mean over tiles, often of sums
over layers. Multiplied by the number of tiles, it is a sum of such numbers, which has a few bits more. So
half precision can be seen in the scores themselves, without the name of the metric: docs/audit.md.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from zsiqa.evaluation.correlation import correlate
from zsiqa.results.scores import Scores

# A score is coarse if it has at most 24 - 3 significant bits, and is a multiple of 2^-24 times 2^3 (2^-24 is
# the finest step of 1 - x in float32). By chance, one in 8 float32 scores is coarse, so more than half cannot
# be chance.
MOST_BITS, FINEST_STEP = 21, 2.0**-21
SHARE = 0.5
FEWEST = 30  # different scores; more than half of 30 in float32 are coarse by chance once in a million files
MOST_TILES = 63
LOOKED_AT = 2000  # different scores of a set that are checked, evenly spaced: enough for any share
DIGITS = 40  # significant bits that survive the division by the number of tiles and the multiplication here


@dataclass(frozen=True)
class HalfGrid:
    """A set of scores on a half-precision grid.

    Attributes:
        scores, distinct: number of scores, and of different scores.
        tied: number of scores that are equal to the score of another image.
        values: for srcc and krcc: (as it is, lowest, highest). Lowest and highest are over all ways to break
            the ties; the order of pairs with different scores stays.
    """

    dataset: str
    metric: str
    perturbation: str
    scores: int
    distinct: int
    tied: int
    values: dict[str, tuple[float, float, float]]


def find_half_grid(scores: Scores) -> HalfGrid | None:
    """Measure a set of scores if it lies on a half-precision grid; else None."""
    values, labels = scores.values[scores.usable], scores.oriented_labels[scores.usable]
    if not is_on_half_grid(values):
        return None
    _, counts = np.unique(values, return_counts=True)
    return HalfGrid(*scores.key, len(values), len(counts), int(counts[counts > 1].sum()),
                    tie_range(values, labels if scores.higher_is_better else -labels))


def is_on_half_grid(scores: np.ndarray) -> bool:
    """Return whether more than half of the different scores are coarser than float32 numbers.

    Args:
        scores: (N,) finite. Scores with at most three decimals are ignored: they were rounded in another way.
    """
    different = np.unique(scores)
    different = different[np.round(different, 3) != different]
    different = different[::max(1, len(different) // LOOKED_AT)]
    return len(different) >= FEWEST and bool(is_coarse(different).mean() > SHARE)


def is_coarse(scores: np.ndarray) -> np.ndarray:
    """Return for each score whether it is coarse when multiplied by some number of tiles, up to `MOST_TILES`.

    Coarse: at most `MOST_BITS` significant bits, and a multiple of `FINEST_STEP`.
    """
    coarse = np.zeros(len(scores), dtype=bool)
    for tiles in range(1, MOST_TILES + 1, 2):  # a factor of 2 moves no bits
        rest = np.flatnonzero(~coarse)
        fraction, exponent = np.frexp(np.abs(scores[rest]) * tiles)  # 0.5 <= fraction < 1
        whole = np.rint(fraction * 2.0**MOST_BITS)
        exact = np.abs(fraction * 2.0**MOST_BITS - whole) <= 2.0**(MOST_BITS - DIGITS)
        bits = whole.astype(np.int64)
        lowest = (bits & -bits) * 2.0**(exponent - MOST_BITS)  # value of the last bit
        coarse[rest] = exact & (lowest >= FINEST_STEP)
    return coarse


def tie_range(scores: np.ndarray, labels: np.ndarray) -> dict[str, tuple[float, float, float]]:
    """Compute SRCC and KRCC as they are, and the lowest and highest for any order of ties: see `HalfGrid`.

    Scores and labels have one direction. Ties broken in the order of the labels give the highest values, ties
    broken against it the lowest.

    Examples:
        >>> ranges = tie_range(np.array([0.0, 0, 1]), np.arange(3.0))
        >>> [round(value, 3) for value in ranges["krcc"]]
        [0.816, 0.333, 1.0]
    """
    as_is, low, high = (correlate(values, labels) for values in (
        scores, _without_ties(scores, -labels), _without_ties(scores, labels)))
    return {name: (getattr(as_is, name), getattr(low, name), getattr(high, name))
            for name in ("srcc", "krcc")}


def _without_ties(scores: np.ndarray, within: np.ndarray) -> np.ndarray:
    """Rank the scores; `within` gives the order of equal scores."""
    ranks = np.empty(len(scores))
    ranks[np.lexsort((within, scores))] = np.arange(len(scores))
    return ranks
