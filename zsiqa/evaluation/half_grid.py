"""Scores that lie on a half-precision grid, found from the numbers alone, and what their ties can have cost.

A float16 number has 11 significant bits, a float32 number 24. A score is a mean over tiles, often of sums over layers:
times the number of tiles it is a sum of such numbers, which has a few bits more. So half precision shows in any score,
whatever the metric is called: docs/audit.md.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from zsiqa.evaluation.correlation import correlate
from zsiqa.results.scores import Scores

# A score is coarse if it has at most 24 - 3 significant bits, and is a multiple of 2^-24 times 2^3, the finest step of
# 1 - x in float32. Of float32 scores, one in 8 is coarse by chance; if more than half are, it is no chance.
MOST_BITS, FINEST_STEP = 21, 2.0**-21
SHARE = 0.5
FEWEST = 30  # different scores; by chance, more than half of 30 in float32 are coarse once in a million files
MOST_TILES = 63
LOOKED_AT = 2000  # different scores of a set, evenly spread: enough for any share
DIGITS = 40  # significant bits that survive the division by the number of tiles, and the multiplication here


@dataclass(frozen=True)
class HalfGrid:
    """A set of scores on a half-precision grid.

    Attributes:
        scores, distinct: how many scores there are, and how many different ones.
        tied: scores that another image has, too.
        values: by coefficient, srcc and krcc: (as it is, lowest, highest). The last two are those of metrics without
            ties that order all pairs as these scores do, as far as these order them.
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
    values, labels = scores.values[scores.usable], scores.pairs.labels[scores.usable]
    if not is_on_half_grid(values):
        return None
    _, counts = np.unique(values, return_counts=True)
    return HalfGrid(*scores.key, len(values), len(counts), int(counts[counts > 1].sum()), tie_range(
        values, labels, label_higher_is_better=scores.pairs.higher_is_better,
        score_higher_is_better=scores.higher_is_better))


def is_on_half_grid(scores: np.ndarray) -> bool:
    """Whether most of the different scores are coarser than float32 numbers are.

    Args:
        scores: (N,) finite. Those of three decimals say nothing: they were rounded in another way.
    """
    different = np.unique(scores)
    different = different[np.round(different, 3) != different]
    different = different[::max(1, len(different) // LOOKED_AT)]
    return len(different) >= FEWEST and bool(is_coarse(different).mean() > SHARE)


def is_coarse(scores: np.ndarray) -> np.ndarray:
    """Whether each score, times some number of tiles, has few significant bits and is a multiple of a coarse step."""
    found = np.zeros(len(scores), dtype=bool)
    for tiles in range(1, MOST_TILES + 1, 2):  # a factor of 2 moves no bits
        rest = np.flatnonzero(~found)
        fraction, exponent = np.frexp(np.abs(scores[rest]) * tiles)  # 0.5 <= fraction < 1
        whole = np.rint(fraction * 2.0**MOST_BITS)
        exact = np.abs(fraction * 2.0**MOST_BITS - whole) <= 2.0**(MOST_BITS - DIGITS)
        lowest = (whole.astype(np.int64) & -whole.astype(np.int64)) * 2.0**(exponent - MOST_BITS)  # its last bit
        found[rest] = exact & (lowest >= FINEST_STEP)
    return found


def tie_range(scores: np.ndarray, labels: np.ndarray, *, label_higher_is_better: bool,
              score_higher_is_better: bool) -> dict[str, tuple[float, float, float]]:
    """SRCC and KRCC as they are, and the lowest and highest of any order without ties: see `HalfGrid`.

    Breaking each tie in the order of the labels makes both as high as possible, and against it as low.

    Examples:
        >>> found = tie_range(np.array([0.0, 0, 1]), np.arange(3.0), label_higher_is_better=False,
        ...                   score_higher_is_better=False)
        >>> [round(value, 3) for value in found["krcc"]]
        [0.816, 0.333, 1.0]
    """
    directions = {"label_higher_is_better": label_higher_is_better, "score_higher_is_better": score_higher_is_better}
    sign = 1 if score_higher_is_better == label_higher_is_better else -1
    as_is, low, high = (correlate(values, labels, **directions) for values in (
        scores, _without_ties(scores, -sign * labels), _without_ties(scores, sign * labels)))
    return {name: (getattr(as_is, name), getattr(low, name), getattr(high, name)) for name in ("srcc", "krcc")}


def _without_ties(scores: np.ndarray, within: np.ndarray) -> np.ndarray:
    """Ranks of the scores, and of equal ones by another order."""
    ranks = np.empty(len(scores))
    ranks[np.lexsort((within, scores))] = np.arange(len(scores))
    return ranks
