"""Correlations of resampled references, computed from weights without sorting or comparing scores again.

Letters: B replicates, G references, M methods, N pairs; w the weights of a replicate, n the number of its
pairs. With s(a, b) = sign(a - b) and sums over the pairs of a reference:

- PLCC: moments within references, computed once, and the references' means around the mean of the replicate.
- SRCC: a pair's doubled, centred mid-rank is the weight of the pairs below it minus that of the pairs above.
  Both come from the running sum of the weights in the order of the scores. The order is the same in every
  replicate: no replicate sorts. The squares of these ranks, times the weights, add up to
  (n^3 - sum of t^3) / 3, t the weight of each distinct score. All numbers are whole, so this is exact.
- KRCC: with T[g, h] = number of the (i, j), i in g, j in h, that are tied in x, (n^2 - w'Tw) / 2 pairs are
  not tied. A pair and its own copy are a tie in both x and the labels m. With Q[g, h] = number of the (i, j)
  with x_i > x_j and m_i > m_j, w'Qw pairs are concordant; the rest that are not tied are discordant. Q is
  counted on sets with one bit a pair.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

_BLOCK = 2**25  # elements of the largest temporary array
_RUN = 256  # pairs whose running sums are held at once: they stay in the cache


def _sizes(starts: Integers, total: int) -> Integers:
    """Count the pairs of each reference: (G,)."""
    return np.diff(starts, append=total)


def _dense(values: Floats) -> tuple[Integers, int]:
    """Return ranks without gaps, 0..V-1 for V distinct values, and V."""
    distinct, ranks = np.unique(values, return_inverse=True)
    return ranks, len(distinct)


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
    group = np.repeat(np.arange(len(starts)), sizes)
    total = weights @ sizes
    # Products of a weight and a rank are exact in float32 up to 2^24.
    kind = np.float32 if total.max() * max(weights.max(), 1) < 2**24 else np.float64
    by_label, *by_score = (_Order(row, group) for row in (labels, *scores))
    squares = np.stack([one.squares(weights, total) for one in (by_label, *by_score)])
    products = np.zeros((len(scores), len(weights)))
    blocks = np.array_split(weights, -(-weights.shape[0] * len(labels) // _BLOCK))
    room = np.empty(len(labels) * len(blocks[0]), kind)  # once: fresh memory costs more than the sums
    place = np.argsort(by_label.pairs)
    last = 0
    for some in blocks:
        drawn = np.ascontiguousarray(some.T.astype(kind))  # G, B
        first, last = last, last + len(some)
        # The labels' ranks, times weights; in the order of the labels.
        weighted, done = room[:len(labels) * len(some)].reshape(len(labels), -1), 0
        for pairs, ranks in by_label.ranks(drawn):
            part = weighted[done:(done := done + len(pairs))]
            np.subtract(ranks, total[first:last].astype(kind), out=part)
            np.multiply(part, drawn.take(group[pairs], axis=0), out=part)
        for method, order in enumerate(by_score):
            for pairs, ranks in order.ranks(drawn):  # not centred: the weighted ranks of the labels are
                products[method, first:last] += _column_products(ranks, weighted.take(place[pairs], axis=0))
    return np.asarray(products / np.sqrt(squares[1:] * squares[0]))


def _column_products(a: NDArray[Any], b: NDArray[Any]) -> Floats:
    """Sum a * b over the rows, in float64: exact for float32 whole numbers below 2^24."""
    return np.asarray(np.einsum("ib,ib->b", a, b, dtype=np.float64))


class _Order:
    """Order of the N pairs by a value, with the tied ones.

    Attributes:
        pairs: (N,) the pairs by ascending value.
        group: (N,) the reference of each of `pairs`.
        low, high: (N,) where the run of equal values around each place begins and ends.
    """

    def __init__(self, values: Floats, group: Integers) -> None:
        self.pairs = np.argsort(values)  # of equal values, any order gives the same sums
        self.group = group[self.pairs]
        ascending = values[self.pairs]
        starts = np.flatnonzero(np.r_[True, ascending[1:] != ascending[:-1]])
        lengths = np.diff(starts, append=len(values))
        self.low, self.high = np.repeat(starts, lengths), np.repeat(starts + lengths, lengths)

    def squares(self, weights: Integers, total: Integers) -> Floats:
        """Sum the squares of the doubled, centred ranks in each replicate: (B,)."""
        tied = np.flatnonzero(self.high - self.low > 1)
        alone = np.bincount(np.delete(self.group, tied), minlength=weights.shape[1])
        w = weights.astype(np.float64)
        cubes = w * w * w @ alone  # 10 x faster than `**3`
        value = np.unique(self.low[tied], return_inverse=True)[1]
        counts = sparse.csr_array((np.ones(len(tied)), (value, self.group[tied])),
                                  shape=(int(value.max(initial=-1)) + 1, weights.shape[1]))
        step = max(1, _BLOCK // max(counts.shape[0], 1))
        for first in range(0, len(w) if len(tied) else 0, step):
            tied_weights = np.asarray(counts @ w[first:first + step].T)
            cubes[first:first + step] += (tied_weights * tied_weights * tied_weights).sum(0)
        return np.asarray((total.astype(np.float64) ** 3 - cubes) / 3)

    def ranks(self, drawn: NDArray[Any]) -> Iterator[tuple[Integers, NDArray[Any]]]:
        """Yield some pairs at a time, (P,), with their doubled, centred mid-ranks plus n, (P, B).

        Args:
            drawn: (G, B) weights.
        """
        first, room = 0, np.zeros((_RUN + int((self.high - self.low).max()), drawn.shape[1]), drawn.dtype)
        rows = list(room)
        while first < len(self.pairs):
            last = int(self.high[min(first + _RUN, len(self.pairs)) - 1])
            sums = room[:last - first + 1]
            np.take(drawn, self.group[first:last], axis=0, out=sums[1:], mode="clip")  # "raise" copies
            for before, here in itertools.pairwise(rows[:len(sums)]):
                np.add(here, before, out=here)  # `cumsum` down the columns is ten times slower
            low, high = self.low[first:last] - first, self.high[first:last] - first
            if high[-1] - low[0] == np.sum(high - low == 1):
                yield self.pairs[first:last], sums[:-1] + sums[1:]
            else:
                yield self.pairs[first:last], sums[low] + sums[high]
            first, room[0] = last, sums[-1]


def kendall(scores: Floats, labels: Floats, starts: Integers, weights: Integers) -> Floats:
    """Compute KRCC (tau-b), (M, B)."""
    sizes = _sizes(starts, len(labels))
    w = weights.astype(np.float64)
    pairs = (w @ sizes) ** 2
    group = np.repeat(np.arange(len(starts)), sizes)

    def ties(ranks: Integers, distinct: int) -> Floats:
        """Compute the matrix T of the module docstring: (G, G)."""
        counts = sparse.csr_array((np.ones(len(ranks)), (group, ranks)), shape=(len(starts), distinct))
        return np.asarray((counts @ counts.T).toarray())

    y, *x = (_dense(values) for values in (labels, *scores))
    y_tied = _quadratic(w, ties(*y))
    result = []
    for one, concordant in zip(x, _concordant(x, y, starts), strict=True):
        x_tied = _quadratic(w, ties(*one))
        in_both = ties(*_dense((one[0] * y[1] + y[0]).astype(np.float64)))
        net = _quadratic(w, 4 * concordant - in_both) - pairs + x_tied + y_tied  # whole numbers
        result.append(net / np.sqrt((pairs - x_tied) * (pairs - y_tied)))
    return np.stack(result)


def _quadratic(weights: Floats, matrix: Floats) -> Floats:
    """Compute the quadratic form w'Mw of every row w of the weights: (B,)."""
    return np.asarray((weights @ matrix * weights).sum(1))


def _concordant(scores: Sequence[tuple[Integers, int]], labels: tuple[Integers, int],
                starts: Integers) -> Floats:
    """Compute the matrix Q of the module docstring for each method: (M, G, G).

    Args:
        scores, labels: dense ranks (N,), and the number of different ones.
        starts: (G,) first pair of each reference.
    """
    total, sizes = len(labels[0]), _sizes(starts, len(labels[0]))
    group = np.repeat(np.arange(len(starts)), sizes)
    places = np.arange(total) - np.repeat(starts, sizes)
    bits = np.uint64(1) << (places % 64).astype(np.uint64)
    firsts = np.flatnonzero(places % 64 == 0)
    result = np.zeros((len(scores), len(starts), len(starts)))
    for first, last in zip(firsts, np.append(firsts[1:], total), strict=True):  # up to 64 j of a reference
        some = slice(first, last)
        labels_below = _below(*labels, some, bits)
        for method, one in enumerate(scores):
            both = np.bitwise_count(_below(*one, some, bits) & labels_below)
            result[method, :, group[first]] += np.add.reduceat(both, starts, dtype=np.uint32)
    return result


def _below(ranks: Integers, distinct: int, some: slice, bits: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return for each pair which of `some` 64 pairs have a lower rank: (N,), one bit each."""
    sets = np.zeros(distinct + 1, np.uint64)
    np.bitwise_or.at(sets, ranks[some] + 1, bits[some])
    return np.asarray(np.bitwise_or.accumulate(sets, out=sets).take(ranks))
