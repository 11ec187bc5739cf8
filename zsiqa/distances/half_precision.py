"""Distances in half precision, rounded at every step as the authors' code was on a GPU: docs/protocol.md section 8.

They imitate ZS-IQA `distances.py` and `run.py` at commit 1d8c1ce on float16 features (OpenAI's CLIP), as PyTorch 1.10
and 1.11 ran them on CUDA. There, an operation on elements computes in float32 and rounds its result to float16, as
float16 tensors still do; softmax, sums and means accumulate in float32 and round once, which is spelt out here. What
later versions compute in another way (cosine similarity, KL divergence) is written down as the older ones had it.

Letters as in `zsiqa.distances`. Scores are float64, in which the official code adds up layers and averages tiles. They
may be a little below 0, and not finite where a step overflows: so may the official ones. They are made to be compared,
not differentiated.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Features = tuple[Tensor, ...]  # as in zsiqa.distances
Divergence = Callable[[Tensor, Tensor], Tensor]


def l2(ref: Features, dis: Features) -> Tensor:
    """Sum over layers of the mean squared difference, (B,): difference, square and each layer's mean are rounded."""
    return _sum_of_layers([_mean((d.half() - r.half()).square().flatten(2)) for r, d in zip(ref, dis, strict=True)])


def cosine(ref: Features, dis: Features, dims: Sequence[int]) -> Tensor:
    """Sum over layers of the mean over positions of 1 - cosine similarity, (B,).

    The similarity is <r, d> over the root of |r|^2 |d|^2. Where |r| |d| exceeds 16^2, the product passes float16's
    largest value, 65504: the similarity is 0 and the distance 1. In maps, which are those of CLIP RN50, infinities
    count as 0 and NaN (vectors of zeros) not at all; of tokens, NaN is passed on.

    Args:
        dims: along which the vectors of each stack lie.
    """
    return _sum_of_layers([_cosine_of_layers(r.half(), d.half(), dim)
                           for r, d, dim in zip(ref, dis, dims, strict=True)])


def column_distance(columns: Sequence[tuple[Tensor, Tensor]], divergence: Divergence, *, softmax_dim: int,
                    epsilon: float, euclidean_term: bool) -> Tensor:
    """Tile scores (B,) of SKLD or JSD; every step up to log(1 + mean)^0.25 is rounded.

    Args:
        columns: of each stack (distorted, reference), (B, maps, 64, M) each.
        divergence: `symmetric_kl` or `jensen_shannon`.
        softmax_dim: -2, over the samples, or -1, over the columns.
        epsilon: added to the softmax; 1e-10 is 0 in float16.
        euclidean_term: whether a column's value is k + E w(k), or k alone.
    """
    maps = []
    for x, y in ((x.half(), y.half()) for x, y in columns):
        p, q = (values.float().softmax(softmax_dim).half() + epsilon for values in (x, y))
        k = divergence(p, q)
        maps.append(_mean(k + _sum((x - y).square(), -2) * _weight(k) if euclidean_term else k))
    value = _mean(torch.cat(maps, dim=1))  # of a ViT's single map: itself
    return (value + 1).log().float().pow(0.25).half().double()


def symmetric_kl(p: Tensor, q: Tensor) -> Tensor:
    """(KL(p||q) + KL(q||p)) / 2 of each column, (..., 64, M) to (..., M)."""
    return (_kl(p, q.log()) + _kl(q, p.log())) / 2


def jensen_shannon(p: Tensor, q: Tensor) -> Tensor:
    """(KL(p||m) + KL(q||m)) / 2 of each column, with m = (p + q) / 2; the official 1e-17 in log m is 0 in float16."""
    log_m = ((p + q) / 2).log()
    return (_kl(p, log_m) + _kl(q, log_m)) / 2


def _cosine_of_layers(r: Tensor, d: Tensor, dim: int) -> Tensor:
    # The official lower bound of the product, 1e-16, is 0 in float16.
    distances = (1 - _sum(r * d, dim) / (_sum(r * r, dim) * _sum(d * d, dim)).sqrt()).flatten(2)
    if r.ndim == 4:
        return _mean(distances)
    distances = distances.masked_fill(distances.isinf(), 0.0)
    missing = distances.isnan()
    # nanmean was a sum over a count, both in float16.
    return _sum(distances.masked_fill(missing, 0.0), -1) / (~missing).sum(-1).half()


def _sum_of_layers(layers: Sequence[Tensor]) -> Tensor:
    """Sum over the layers (B, L) of all stacks, (B,): exact, since float16 numbers are multiples of 2^-24."""
    return torch.cat(list(layers), dim=1).double().sum(1)


def _kl(p: Tensor, log_q: Tensor) -> Tensor:
    """KL(p||q) of each column from log q: 0 where p is 0, and where the sum is infinite, as q is 0 but p is not."""
    terms = torch.where(p > 0, p * (p.log() - log_q), 0.0)
    sums = _sum(terms, -2)
    return sums.masked_fill(sums == torch.inf, 0.0)


def _weight(k: Tensor) -> Tensor:
    """w(k) = 1 / (sqrt(exp(-1 / (k + 10))) (k + 10)^2)."""
    shifted = k + 10
    return ((-shifted.reciprocal()).exp().sqrt() * shifted.square()).reciprocal()


def _sum(x: Tensor, dim: int) -> Tensor:
    return x.sum(dim, dtype=torch.float32).half()


def _mean(x: Tensor) -> Tensor:
    """Mean over the last axis: the sum in float32 times 1 / n in float32, rounded once."""
    return (x.sum(-1, dtype=torch.float32) * (1 / x.shape[-1])).half()
