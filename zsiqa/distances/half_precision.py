"""Distances in half precision, rounded at every step as in the authors' code on a GPU.

See docs/protocol.md section 8.

They imitate ZS-IQA `distances.py` and `run.py` at commit 1d8c1ce on float16 features (OpenAI's CLIP), as
PyTorch 1.10 and 1.11 ran them on CUDA. There, an element-wise operation computes in float32 and rounds its
result to float16, as float16 tensors still do. Softmax, sums and means accumulate in float32 and round once;
the code below does this explicitly. Later versions compute cosine similarity and KL divergence in another
way; here they follow the older versions.

Letters in shapes: see `zsiqa.distances`. Scores are float64, because the official code adds layers
and averages tiles in float64. Like the official scores, they can be slightly below 0, and are not finite
where a step overflows. They are for comparison, not for gradients.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from zsiqa.types import Features

Divergence = Callable[[Tensor, Tensor], Tensor]


def l2(ref: Features, dis: Features) -> Tensor:
    """Sum over layers of the mean squared difference, (B,).

    Differences, squares and the mean of each layer are rounded.
    """
    return _sum_of_layers([_mean((d.half() - r.half()).square().flatten(2))
                           for r, d in zip(ref, dis, strict=True)])


def cosine(ref: Features, dis: Features, dims: Sequence[int]) -> Tensor:
    """Sum over layers of the mean over positions of 1 - cosine similarity, (B,).

    The similarity is <r, d> over the root of |r|^2 |d|^2. Where |r| |d| exceeds 16^2, the product |r|^2 |d|^2
    is above 65504, float16's largest value: the similarity is 0 and the distance 1. In maps (CLIP RN50),
    infinite distances count as 0, and NaN (vectors of zeros) is left out of the mean; for tokens, the result
    is NaN.

    Args:
        dims: the axis of each stack along which its vectors lie.
    """
    return _sum_of_layers([_cosine_of_layers(r.half(), d.half(), dim)
                           for r, d, dim in zip(ref, dis, dims, strict=True)])


def column_distance(columns: Sequence[tuple[Tensor, Tensor]], divergence: Divergence, *, softmax_dim: int,
                    epsilon: float, euclidean_term: bool) -> Tensor:
    """Compute the tile scores (B,) of SKLD or JSD; every step up to log(1 + mean)^0.25 is rounded.

    Args:
        columns: (distorted, reference) for each stack, (B, maps, 64, M) each.
        divergence: `symmetric_kl` or `jensen_shannon`.
        softmax_dim: -2 for a softmax over the samples, -1 over the columns.
        epsilon: added to the softmax; 1e-10 is 0 in float16.
        euclidean_term: the value of a column is k + E w(k) if True, k if False.
    """
    maps = []
    for x, y in ((x.half(), y.half()) for x, y in columns):
        p, q = (values.float().softmax(softmax_dim).half() + epsilon for values in (x, y))
        k = divergence(p, q)
        maps.append(_mean(k + _sum((x - y).square(), -2) * _weight(k) if euclidean_term else k))
    value = _mean(torch.cat(maps, dim=1))  # a ViT has a single map, which this leaves as it is
    return (value + 1).log().float().pow(0.25).half().double()


def symmetric_kl(p: Tensor, q: Tensor) -> Tensor:
    """Compute (KL(p||q) + KL(q||p)) / 2 of each column, (..., 64, M) to (..., M)."""
    return (_kl(p, q.log()) + _kl(q, p.log())) / 2


def jensen_shannon(p: Tensor, q: Tensor) -> Tensor:
    """Compute (KL(p||m) + KL(q||m)) / 2 of each column, with m = (p + q) / 2: (..., 64, M) to (..., M).

    The official 1e-17 inside log m is 0 in float16.
    """
    log_m = ((p + q) / 2).log()
    return (_kl(p, log_m) + _kl(q, log_m)) / 2


def _cosine_of_layers(r: Tensor, d: Tensor, dim: int) -> Tensor:
    # The official lower bound of the product, 1e-16, is 0 in float16.
    distances = (1 - _sum(r * d, dim) / (_sum(r * r, dim) * _sum(d * d, dim)).sqrt()).flatten(2)
    if r.ndim == 4:
        return _mean(distances)
    distances = distances.masked_fill(distances.isinf(), 0.0)
    missing = distances.isnan()
    # In those versions, nanmean is a sum divided by a count, both in float16.
    return _sum(distances.masked_fill(missing, 0.0), -1) / (~missing).sum(-1).half()


def _sum_of_layers(layers: Sequence[Tensor]) -> Tensor:
    """Sum over the layers (B, L) of all stacks, (B,). It is exact: float16 numbers are multiples of 2^-24."""
    return torch.cat(list(layers), dim=1).double().sum(1)


def _kl(p: Tensor, log_q: Tensor) -> Tensor:
    """Compute KL(p||q) of each column from log q: 0 where it is infinite (q is 0 but p is not).

    Terms with p = 0 count as 0.
    """
    terms = torch.where(p > 0, p * (p.log() - log_q), 0.0)
    sums = _sum(terms, -2)
    return sums.masked_fill(sums == torch.inf, 0.0)


def _weight(k: Tensor) -> Tensor:
    """Compute w(k) = 1 / (sqrt(exp(-1 / (k + 10))) (k + 10)^2)."""
    shifted = k + 10
    return ((-shifted.reciprocal()).exp().sqrt() * shifted.square()).reciprocal()


def _sum(x: Tensor, dim: int) -> Tensor:
    return x.sum(dim, dtype=torch.float32).half()


def _mean(x: Tensor) -> Tensor:
    """Mean over the last axis: the float32 sum times 1 / n in float32, rounded once."""
    return (x.sum(-1, dtype=torch.float32) * (1 / x.shape[-1])).half()
