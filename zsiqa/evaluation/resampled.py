"""Correlations of resampled references, computed from weights without sorting or comparing scores again.

Letters: B replicates, G references, M methods, N pairs; w the weights of a replicate, n the number of its
pairs. With s(a, b) = sign(a - b) and sums over the pairs of a reference:

- PLCC: moments within references, computed once, and the references' means around the mean of the replicate.
- SRCC: twice the mid-rank of pair i, less its mean n, is sum_h w_h A[i, h] with A[i, h] = sum over j in h of
  s(x_i, x_j). A replicate is a column of a matrix product. All are integers: exact in float32 up to n = 2^24.
- KRCC: with C[g, h] = sum over i in g, j in h of s(x_i, x_j) s(m_i, m_j), m the labels, w'Cw / 2 is the
  number of concordant minus discordant pairs. With T[g, h] = number of these (i, j) that are tied in x,
  (n^2 - w'Tw) / 2 pairs are not tied. A pair and its own copy are a tie in both x and m.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

_ROWS = 32  # Rows compared at once: sums of 32 signs fit int8, and the blocks stay in the cache.
_BLOCK = 2**22  # Number of elements of the largest temporary array of ranks.


def _sizes(starts: Integers, total: int) -> Integers:
    """Count the pairs of each reference: (G,)."""
    return np.diff(starts, append=total)


def _dense(values: Floats) -> tuple[NDArray[Any], int]:
    """Return ranks without gaps, 0..V-1 for V distinct values, in a small type for fast comparison, and V."""
    distinct, ranks = np.unique(values, return_inverse=True)
    return ranks.astype(np.int16 if len(distinct) <= 2**15 else np.int32), len(distinct)


def pearson(scores: Floats, labels: Floats, starts: Integers, weights: Integers) -> Floats:
    """Compute PLCC, (M, B), from sums of squares within and between references: avoids cancellation."""
    sizes = _sizes(starts, len(labels))
    group = np.repeat(np.arange(len(starts)), sizes)
    pairs = (weights * sizes).astype(np.float64)  # B, G
    total = pairs.sum(1)

    def split(values: Floats) -> tuple[Floats, Floats]:
        """Return deviations from reference means, (N,), and of these from the replicate's mean, (B, G)."""
        spread = np.ptp(values)
        values = (values - values.mean()) / (spread if spread > 0 else 1.0)
        means = np.add.reduceat(values, starts) / sizes
        return values - means[group], means - (pairs @ means / total)[:, None]

    def moment(a: tuple[Floats, Floats], b: tuple[Floats, Floats]) -> Floats:
        within, between = np.add.reduceat(a[0] * b[0], starts), (pairs * a[1] * b[1]).sum(1)
        return np.asarray(weights @ within + between)

    y = split(labels)
    yy = moment(y, y)
    result = []
    for row in scores:
        x = split(row)
        result.append(moment(x, y) / np.sqrt(moment(x, x) * yy))
    return np.stack(result)


def spearman(scores: Floats, labels: Floats, starts: Integers, weights: Integers) -> Floats:
    """Compute SRCC, (M, B): Pearson's coefficient of the centred, doubled mid-ranks."""
    sizes = _sizes(starts, len(labels))
    kind = np.float32 if (weights @ sizes).max() < 2**24 else np.float64
    columns = weights.T.astype(kind)  # G, B
    signs = [_sign_sums(row, sizes) for row in (labels, *scores)]
    sums = np.zeros((2, len(scores), len(weights)))  # of products with the labels' ranks, of squares
    squares = np.zeros(len(weights))
    step = max(1, min(len(weights), _BLOCK // int(sizes.max())))
    ends = np.append(starts, len(labels))
    for first in range(0, len(weights), step):
        block = slice(first, first + step)
        drawn = np.ascontiguousarray(columns[:, block])
        for groups in _blocks(sizes, _BLOCK // step):  # few large products are faster than many small ones
            rows = slice(ends[groups[0]], ends[groups[-1] + 1])
            y = _ranks(signs[0], rows, drawn)
            for group in groups:
                own = slice(ends[group] - rows.start, ends[group + 1] - rows.start)
                squares[block] += weights[block, group] * _column_products(y[own], y[own])
            for method, sign in enumerate(signs[1:]):
                x = _ranks(sign, rows, drawn)
                for group in groups:
                    own = slice(ends[group] - rows.start, ends[group + 1] - rows.start)
                    weight = weights[block, group]
                    sums[0, method, block] += weight * _column_products(x[own], y[own])
                    sums[1, method, block] += weight * _column_products(x[own], x[own])
    return np.asarray(sums[0] / np.sqrt(sums[1] * squares))


def _blocks(sizes: Integers, most: int) -> list[range]:
    """Split the references into runs with at most `most` pairs, or one reference."""
    blocks, first, total = [], 0, 0
    for group, size in enumerate(sizes):
        if total + size > most and group > first:
            blocks.append(range(first, group))
            first, total = group, 0
        total += int(size)
    return [*blocks, range(first, len(sizes))]


def _ranks(signs: tuple[NDArray[Any], NDArray[Any]], rows: slice, drawn: NDArray[Any]) -> NDArray[Any]:
    """Compute the centred, doubled mid-ranks of pairs in each replicate, from `_sign_sums`."""
    ranks, table = signs
    return np.asarray(table[ranks[rows]].astype(drawn.dtype) @ drawn)


def _column_products(a: NDArray[Any], b: NDArray[Any]) -> Floats:
    """Sum a * b over the rows, in float64: exact for float32 whole numbers below 2^24."""
    return np.asarray(np.einsum("ib,ib->b", a, b, dtype=np.float64))


def _sign_sums(values: Floats, sizes: Integers) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return dense ranks (N,) and, by distinct value, the sums of signs against each reference, (V, G)."""
    ranks, distinct = _dense(values)
    counts = np.zeros((distinct + 1, len(sizes)), dtype=np.int32)
    np.add.at(counts, (ranks.astype(np.int64) + 1, np.repeat(np.arange(len(sizes)), sizes)), 1)
    up_to = np.cumsum(counts, axis=0, dtype=np.int32)
    # Number of values below minus number of values above.
    return ranks, (up_to[:-1] + up_to[1:] - up_to[-1]).astype(np.min_scalar_type(-int(sizes.max()) - 1))


def kendall(scores: Floats, labels: Floats, starts: Integers, weights: Integers) -> Floats:
    """Compute KRCC (tau-b), (M, B)."""
    sizes = _sizes(starts, len(labels))
    w = weights.astype(np.float64)
    pairs = (w @ sizes) ** 2

    def untied(values: Floats) -> Floats:
        """Compute twice the number of pairs whose values differ: (B,)."""
        ranks, distinct = _dense(values)
        group = np.repeat(np.arange(len(starts)), sizes)
        counts = sparse.csr_array((np.ones(len(values)), (group, ranks)), shape=(len(starts), distinct))
        return pairs - _quadratic(w, (counts @ counts.T).toarray())

    y = untied(labels)
    concordance = _concordance([_dense(row)[0] for row in scores], _dense(labels)[0], starts)
    return np.stack([_quadratic(w, c) / np.sqrt(untied(row) * y)
                     for row, c in zip(scores, concordance, strict=True)])


def _quadratic(weights: Floats, matrix: Floats) -> Floats:
    """Compute the quadratic form w'Mw of every row w of the weights: (B,)."""
    return np.asarray((weights @ matrix * weights).sum(1))


def _concordance(scores: Sequence[NDArray[Any]], labels: NDArray[Any], starts: Integers) -> Floats:
    """Compute the matrix C of the module docstring for each method: (M, G, G)."""
    total = len(labels)
    result = np.zeros((len(scores), len(starts), len(starts)))
    for group, (start, end) in enumerate(zip(starts, [*starts[1:], total], strict=True)):
        sums = np.zeros((len(scores), total - start), dtype=np.int64)  # over the rows of the group
        for row in range(start, end, _ROWS):
            rows = slice(row, min(row + _ROWS, end))
            label_signs = _signs(labels, rows, start)
            for method, ranks in enumerate(scores):
                sums[method] += np.add.reduce(_signs(ranks, rows, start) * label_signs, axis=0, dtype=np.int8)
        result[:, group, group:] = np.add.reduceat(sums, starts[group:] - start, axis=1)
        result[:, group:, group] = result[:, group, group:]
    return result


def _signs(ranks: NDArray[Any], rows: slice, start: int) -> NDArray[np.int8]:
    """Compute the signs of ranks[i] - ranks[j], for i in `rows` and all j from `start`."""
    left, right = ranks[rows, None], ranks[start:]
    return (left > right).view(np.int8) - (left < right).view(np.int8)
