"""Distances between the features of two images, tile by tile: docs/protocol.md section 5.

Sources: Ghildyal et al., ICASSP 2025, and its code (ZS-IQA `distances.py`, `run.py` at commit 1d8c1ce);
Liao et al., IEEE TIP 2024, for SKLD, JSD and WSD.

Letters: B tiles, L layers, N tokens, D feature width; C, H, W channels, rows and columns of a CNN's map.

`Features` is a tuple of stacks. A stack holds layers of one shape: (B, L, N, D) for token features and for
embeddings, (B, L, C, H, W) for the maps of a CNN. Every distance takes the features of the reference and of
the distorted tiles (float32, equal shapes) and returns one value >= 0 a tile, (B,), 0 for equal features.
The formulas are written so that nearly equal features lose as few digits as possible; where that differs from the
official arithmetic it is the same quantity, rounded less.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

Features = tuple[Tensor, ...]
Distance = Callable[[Features, Features], Tensor]
SoftmaxOver = Literal["samples", "columns"]
Padding = Literal["nearest", "up"]
Windows = Literal["memory", "spatial"]

COLUMNS_AT_ONCE = 2**16  # whose sorted quantiles are held in memory
SAMPLES = 64  # The protocol's 8 x 8 window: every column of a distribution measure holds 64 values.


def l2(ref: Features, dis: Features) -> Tensor:
    """Sum over layers of the mean squared difference over all elements of a layer. Returns (B,)."""
    layers = [(r - d).square().flatten(2).mean(-1).sum(1) for r, d in zip(ref, dis, strict=True)]
    return torch.stack(layers).sum(0)


def cosine(ref: Features, dis: Features, *, axis: Literal["last", "channel"] = "last", half: bool = False) -> Tensor:
    """Sum over layers of the mean over positions of (1 - cosine similarity). Returns (B,).

    1 - cos is computed as half the squared distance of the unit vectors: equal features give exactly 0.
    Vectors that are all zero in either image have no direction and are left out of the mean: the float32
    counterpart of what the official code does to CLIP RN50 (docs/protocol.md section 5); in the paper's other models
    there are none. A layer without any other vector adds 0.

    Args:
        axis: the vectors that are compared. `last`, the official code: a token's D features, and for the
            maps of a CNN its *rows* (along the image's width). `channel`: for a CNN the C channels at each
            position, as a reader of the paper would expect; tokens as before.
        half: imitate the official scores of OpenAI's CLIP, which an old PyTorch computed in half precision:
            `half_precision_cosine`.
    """
    if axis not in ("last", "channel"):
        raise ValueError(f"axis must be last or channel, found {axis!r}")
    layers = []
    for r, d in zip(ref, dis, strict=True):
        dim = 2 if axis == "channel" and r.ndim == 5 else -1
        if half:
            layers.append(half_precision_cosine(r, d, dim).sum(1))
            continue
        r_norm, d_norm = (torch.linalg.vector_norm(x, dim=dim, keepdim=True) for x in (r, d))
        tiny = 1e-8  # as in torch.nn.functional.cosine_similarity
        halves = (r / r_norm.clamp_min(tiny) - d / d_norm.clamp_min(tiny)).square().sum(dim) / 2
        is_zero = (torch.minimum(r_norm, d_norm) < tiny).squeeze(dim)
        counted = (~is_zero).flatten(2).sum(-1)  # B, L
        layers.append((halves.masked_fill(is_zero, 0.0).flatten(2).sum(-1) / counted.clamp_min(1)).sum(1))
    return torch.stack(layers).sum(0)


def half_precision_cosine(ref: Tensor, dis: Tensor, dim: int) -> Tensor:
    """Mean over positions of 1 - cosine similarity, (B, L), in float16 as PyTorch up to 1.11 computed it.

    It divided <r, d> by the root of |r|^2 |d|^2. Where |r| |d| exceeds 16^2, that product passes float16's largest
    value, 65504; the similarity is then 0 and the distance 1. Sums are taken in float32 and rounded once, as on CUDA.
    NaN (vectors of zeros) is left out of the mean and infinities count as 0: the official rule for RN50. The published
    cosines of clip_vitb32 and clip_rn50 show this overflow (docs/protocol.md section 5).
    """
    r, d = ref.half(), dis.half()

    def dot(x: Tensor, y: Tensor) -> Tensor:
        return (x * y).sum(dim, dtype=torch.float32).half()

    distances = 1 - dot(r, d) / (dot(r, r) * dot(d, d)).sqrt()
    distances = distances.masked_fill(distances.isinf(), 0.0).flatten(2)
    return distances.float().nanmean(-1).half().float()


def skld(ref: Features, dis: Features, *, softmax_over: SoftmaxOver = "samples", epsilon: float = 1e-10,
         padding: Padding = "nearest", windows: Windows = "memory") -> Tensor:
    """Symmetric Kullback-Leibler divergence with a weighted Euclidean term. Returns (B,).

    p = softmax of a column + epsilon, q likewise; k = sum (p - q)(log p - log q) / 2, which is
    (KL(p||q) + KL(q||p)) / 2.

    Args:
        epsilon: 1e-10 in the paper's code; none in Liao et al.'s for VGG19, where a softmax that underflows makes the
            result NaN or infinite, which is passed on.
        padding, windows: of `columns_of_64`.
    """

    def divergence(x: Tensor, y: Tensor) -> Tensor:
        p, q = (softmax(z, softmax_over) + epsilon for z in (x, y))
        return ((p - q) * (p.log() - q.log())).sum(-2) / 2

    return distribution_distance(ref, dis, divergence, euclidean_term=True, padding=padding, windows=windows)


def jsd(ref: Features, dis: Features, *, softmax_over: SoftmaxOver = "samples", epsilon: float = 1e-10,
        euclidean_term: bool = False, padding: Padding = "nearest", windows: Windows = "memory") -> Tensor:
    """Jensen-Shannon divergence. Returns (B,).

    p = softmax of a column + epsilon, q likewise; k = (KL(p||m) + KL(q||m)) / 2 with m = (p + q) / 2. With
    s = p + q and t = (p - q) / s this is sum s (2 t atanh t + log(1 - t^2)) / 4, free of cancellation.
    (The official 1e-17 inside log m is far below the resolution of m >= 1e-10.)

    Args:
        epsilon: as in `skld`.
        euclidean_term: the paper says that there is one; the code that made its tables has one for VGG19 only.
        padding, windows: of `columns_of_64`.
    """

    def divergence(x: Tensor, y: Tensor) -> Tensor:
        p, q = (softmax(z, softmax_over) + epsilon for z in (x, y))
        s = p + q
        # |t| rounds to 1 when one of the two is below half an ulp of the other; the limit is finite.
        t = ((p - q) / s).clamp(-1 + 2**-24, 1 - 2**-24)
        return (s * (2 * t * t.atanh() + (-t.square()).log1p())).sum(-2) / 4

    return distribution_distance(ref, dis, divergence, euclidean_term=euclidean_term, padding=padding, windows=windows)


def wsd(ref: Features, dis: Features, *, softmax_over: SoftmaxOver = "columns", order: Literal[1, 2] = 1,
        weights: Literal["softmax", "energy"] = "softmax", padding: Padding = "nearest",
        windows: Windows = "memory") -> Tensor:
    """Wasserstein distance with a weighted Euclidean term. Returns (B,).

    p = softmax over the *columns*, q likewise (so a column's weights do not sum to 1), on the support
    0..63. On a shared, sorted, unit-spaced support the integral over quantiles is, for order 1, the l1 distance of the
    cumulative weights over all but the last sample, for unequal masses too: no sort.

    Args:
        softmax_over: `columns` as the official code, or `samples`, as for SKLD and JSD.
        order: 1; 2 for VGG19 in Liao et al.'s code: the integral of the squared difference, no root taken.
        weights: `softmax`; `energy` for VGG19 there: the squared features over the sum of all features of the map.
        padding, windows: of `columns_of_64`.

    Raises:
        ValueError: if an option is unknown.
    """
    if order not in (1, 2):
        raise ValueError(f"order must be 1 or 2, found {order!r}")
    if weights not in ("softmax", "energy"):
        raise ValueError(f"weights must be softmax or energy, found {weights!r}")

    def mass(x: Tensor) -> Tensor:
        return softmax(x, softmax_over) if weights == "softmax" else x * (x / (x.sum((-2, -1), keepdim=True) + 1e-6))

    def divergence(x: Tensor, y: Tensor) -> Tensor:
        p, q = mass(x), mass(y)
        if order == 2:
            return squared_transport(p, q)
        return (p - q).cumsum(-2)[..., :-1, :].abs().sum(-2)

    return distribution_distance(ref, dis, divergence, euclidean_term=True, padding=padding, windows=windows)


def distribution_distance(ref: Features, dis: Features, divergence: Callable[[Tensor, Tensor], Tensor], *,
                          euclidean_term: bool, padding: Padding, windows: Windows) -> Tensor:
    """The frame that SKLD, JSD and WSD share. Returns (B,).

    Every map is cut into columns of 64 samples (`columns_of_64`); with k the divergence of a column and E
    the sum of its squared differences, the map's value is the mean over columns of k + E w(k), where
    w(k) = 1 / (sqrt(exp(-1 / (k + 10))) (k + 10)^2), or of k alone. A tile scores
    log(1 + mean over maps)^0.25.

    The token features of a ViT are *one* map with the layers as channels, as in the official code. Features
    of a CNN (L maps a stack) and embeddings are our extension of the recipe: the same for each map, then
    the mean over all maps.
    """
    values = []
    for r, d in zip(ref, dis, strict=True):
        x, y = (columns_of_64(stack, padding, windows) for stack in (d, r))  # B, maps, 64, M
        k = divergence(x, y)  # B, maps, M
        if euclidean_term:
            k = k + (x - y).square().sum(-2) / ((-0.5 / (k + 10)).exp() * (k + 10).square())
        values.append(k.mean(-1))
    return torch.cat(values, dim=1).mean(1).log1p().pow(0.25)


def squared_transport(p: Tensor, q: Tensor) -> Tensor:
    """Integral over quantiles of the squared difference of positions: (..., S, M) weights at 0..S-1 to (..., M).

    As POT's `wasserstein_1d` with p=2 computes it: on the union of both cumulative weights, masses left as they are;
    beyond its own mass a quantile stays at the last sample.
    """
    costs = []
    for first in range(0, p.shape[-1], COLUMNS_AT_ONCE):
        some = slice(first, first + COLUMNS_AT_ONCE)
        ends = [weights[..., some].mT.cumsum(-1).contiguous() for weights in (p, q)]  # ..., M, S
        quantiles = torch.cat(ends, dim=-1).sort(-1).values  # ..., M, 2 S
        at_p, at_q = (torch.searchsorted(end, quantiles, out_int32=True).clamp_max(end.shape[-1] - 1) for end in ends)
        steps = quantiles.diff(dim=-1, prepend=torch.zeros_like(quantiles[..., :1]))
        costs.append((steps * (at_p - at_q).square()).sum(-1))
    return torch.cat(costs, dim=-1)


def columns_of_64(stack: Tensor, padding: Padding = "nearest", windows: Windows = "memory") -> Tensor:
    """View each map of a stack, (..., C, H, W) with its last three axes, as columns of 64 samples: (B, maps, 64, M).

    H and W go to a multiple of 8: zeros are appended below and put in on the left; to go *down*, the last rows and the
    first columns are cropped.

    Args:
        padding: `nearest`, the official code: to the nearest multiple (Python's rounding, half to even). 197 tokens
            become 200, but 50 become 48 and 257 become 256: tokens are lost. A side that would vanish (under 5, where
            the official code would crop everything) is padded to 8 instead. `up`: to the next multiple; nothing is
            lost.
        windows: `memory`, the official code: the map's contiguous memory is cut into 64 equal chunks, of which each
            gives one sample to a column. `spatial`: a column is a window of 8 x 8, as the paper implies.

    Raises:
        ValueError: if an option is unknown.
    """
    if padding not in ("nearest", "up"):
        raise ValueError(f"padding must be nearest or up, found {padding!r}")
    if windows not in ("memory", "spatial"):
        raise ValueError(f"windows must be memory or spatial, found {windows!r}")
    to_whole = math.ceil if padding == "up" else round
    rows, columns = (max(8, to_whole(side / 8) * 8) for side in stack.shape[-2:])
    padded = F.pad(stack, (columns - stack.shape[-1], 0, 0, rows - stack.shape[-2]))
    maps = padded.reshape(stack.shape[0], -1, *padded.shape[-3:])  # B, maps, C, H', W'
    if windows == "spatial":
        tiled = maps.reshape(*maps.shape[:3], rows // 8, 8, columns // 8, 8)
        maps = tiled.permute(0, 1, 4, 6, 2, 3, 5)
    return maps.reshape(*maps.shape[:2], SAMPLES, -1)


def softmax(columns: Tensor, over: SoftmaxOver) -> Tensor:
    """Softmax of (B, maps, 64, M) over the 64 samples of a column, or over the M columns.

    Raises:
        ValueError: if `over` is neither.
    """
    axes = {"samples": -2, "columns": -1}
    if over not in axes:
        raise ValueError(f"softmax_over must be samples or columns, found {over!r}")
    return columns.softmax(axes[over])
