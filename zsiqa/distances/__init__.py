"""Distances between the features of two images, tile by tile: docs/protocol.md section 5.

Sources: Ghildyal et al., ICASSP 2025, and its code (ZS-IQA `distances.py`, `run.py` at commit 1d8c1ce);
Liao et al., IEEE TIP 2024, for SKLD, JSD and WSD.

Letters: B tiles, L layers, N tokens, D feature width; C, H, W channels, rows and columns of a CNN's map; M columns of
64 samples, n of some maps, c of some columns.

`Features` is a tuple of stacks. A stack holds layers of one shape: (B, L, N, D) for token features and for
embeddings, (B, L, C, H, W) for the maps of a CNN. Every distance takes the features of the reference and of
the distorted tiles (float32 or float64, equal shapes) and returns one value >= 0 a tile, (B,), 0 for equal features.
With `half`, l2, cosine, SKLD and JSD imitate the authors' half precision instead: `zsiqa.distances.half_precision`.
All are differentiable, with gradient 0 for equal features (docs/protocol.md section 5); operations in place are only
applied to tensors that autograd does not need.
The formulas are written so that nearly equal features lose as few digits as possible; where that differs from the
official arithmetic it is the same quantity, rounded less.

`compare` takes several distances at once, and does once what SKLD, JSD and WSD share. These go through their columns in
parts that fit into a processor's cache: going through memory anew for every operation takes several times as long.
`torch.compile(compare)` is one graph, without parts.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from zsiqa.distances import half_precision

Features = tuple[Tensor, ...]
Distance = Callable[[Features, Features], Tensor]
SoftmaxOver = Literal["samples", "columns"]

SAMPLES = 64  # The protocol's 8 x 8 window: every column of a distribution measure holds 64 values.
FEW_COLUMNS = 256  # as of embeddings, which may be nearly equal: all in float64, which costs little there
# Elements of the tiles, and of the part of their columns, that are worked on at once. On a CPU, some tensors of the one
# fit into the cache of all cores, of the other into that of each; a GPU is to be filled.
TILES_AT_ONCE = {"cpu": 2**21, "cuda": 2**27}
ELEMENTS_AT_ONCE = {"cpu": 2**18, "cuda": 2**25}


def compare(distances: Sequence[Distance], ref: Features, dis: Features) -> Tensor:
    """Several distances of the same features, (B, len(distances)); each as if it had been called alone."""
    tiles = max(1, _at_once(TILES_AT_ONCE, ref) // sum(stack[0].numel() for stack in ref))
    parts = _parts(len(ref[0]), tiles)
    return torch.cat([_compare_some(distances, *(tuple(stack[part] for stack in features) for features in (ref, dis)))
                      for part in parts])


def _compare_some(distances: Sequence[Distance], ref: Features, dis: Features) -> Tensor:
    columns = {number: one for number, one in enumerate(distances) if isinstance(one, ColumnDistance) and not one.half}
    found = {number: one(ref, dis) for number, one in enumerate(distances) if number not in columns}
    for layout in dict.fromkeys(one.layout for one in columns.values()):
        alike = {number: one for number, one in columns.items() if one.layout == layout}
        found.update(zip(alike, _column_distances(list(alike.values()), ref, dis), strict=True))
    return torch.stack([found[number] for number in range(len(distances))], dim=1)


@dataclass(frozen=True)
class L2:
    """Sum over layers of the mean squared difference over all elements of a layer.

    Args:
        half: imitate the authors' half precision.
    """

    half: bool = False

    def __call__(self, ref: Features, dis: Features) -> Tensor:
        """Returns (B,)."""
        if self.half:
            return half_precision.l2(ref, dis)
        layers = [(r - d).square().flatten(2).mean(-1).sum(1) for r, d in zip(ref, dis, strict=True)]
        return torch.stack(layers).sum(0)

    def at_positions(self, ref: Tensor, dis: Tensor) -> Tensor | None:
        """The distances of a stack whose mean over positions is the layer's: (B, L, N) or (B, L, H, W)."""
        return None if self.half else (ref - dis).square().mean(2 if ref.ndim == 5 else -1)


@dataclass(frozen=True)
class Cosine:
    """Sum over layers of the mean over positions of (1 - cosine similarity).

    1 - cos is computed as half the squared distance of the unit vectors: equal features give exactly 0.
    Vectors that are all zero in either image have no direction and are left out of the mean: the float32
    counterpart of what the official code does to CLIP RN50 (docs/protocol.md section 5); in the paper's other models
    there are none. A layer without any other vector adds 0.

    Args:
        axis: the vectors that are compared. `last`, the official code: a token's D features, and for the
            maps of a CNN its *rows* (along the image's width). `channel`: for a CNN the C channels at each
            position, as a reader of the paper would expect; tokens as before.
        half: imitate the authors' half precision, in which long vectors overflow.

    Raises:
        ValueError: if `axis` is neither.
    """

    axis: Literal["last", "channel"] = "last"
    half: bool = False

    def __post_init__(self) -> None:
        _check("axis", self.axis, ("last", "channel"))

    def __call__(self, ref: Features, dis: Features) -> Tensor:
        """Returns (B,)."""
        dims = [2 if self.axis == "channel" and r.ndim == 5 else -1 for r in ref]
        if self.half:
            return half_precision.cosine(ref, dis, dims)
        layers = []
        for r, d, dim in zip(ref, dis, dims, strict=True):
            halves, is_zero = self._halves(r, d, dim)
            counted = (~is_zero).flatten(2).sum(-1)  # B, L
            layers.append((halves.flatten(2).sum(-1) / counted.clamp_min(1)).sum(1))
        return torch.stack(layers).sum(0)

    def at_positions(self, ref: Tensor, dis: Tensor) -> Tensor | None:
        """As of `L2`; 0 for vectors of zeros. None if the vectors that are compared do not belong to positions."""
        if self.half or (ref.ndim == 5 and self.axis == "last"):
            return None
        return self._halves(ref, dis, 2 if ref.ndim == 5 else -1)[0]

    @staticmethod
    def _halves(r: Tensor, d: Tensor, dim: int) -> tuple[Tensor, Tensor]:
        """1 - cosine of each vector, 0 where one is all zero, and where that is."""
        r_norm, d_norm = (torch.linalg.vector_norm(x, dim=dim, keepdim=True) for x in (r, d))
        tiny = 1e-8  # as in torch.nn.functional.cosine_similarity
        halves = (r / r_norm.clamp_min(tiny) - d / d_norm.clamp_min(tiny)).square().sum(dim) / 2
        is_zero = (torch.minimum(r_norm, d_norm) < tiny).squeeze(dim)
        return halves.masked_fill(is_zero, 0.0), is_zero


@dataclass(frozen=True)
class ColumnDistance(ABC):
    """The frame that SKLD, JSD and WSD share.

    Every map is cut into columns of 64 samples (`columns_of_64`); with k the divergence of a column and E
    the sum of its squared differences, the map's value is the mean over columns of k + E w(k), where
    w(k) = 1 / (sqrt(exp(-1 / (k + 10))) (k + 10)^2), or of k alone. A tile scores
    log(1 + mean over maps)^0.25.

    The token features of a ViT are *one* map with the layers as channels, as in the official code. Features
    of a CNN (L maps a stack) and embeddings are our extension of the recipe: the same for each map, then
    the mean over all maps.

    Args:
        padding, windows: of `columns_of_64`.

    Raises:
        ValueError: if an option is unknown.
    """

    padding: Literal["nearest", "up"] = "nearest"
    windows: Literal["memory", "spatial"] = "memory"
    euclidean_term: ClassVar[bool] = True
    half: ClassVar[bool] = False

    def __post_init__(self) -> None:
        _check("padding", self.padding, ("nearest", "up"))
        _check("windows", self.windows, ("memory", "spatial"))

    @property
    def layout(self) -> tuple[str, str]:
        """What decides the columns."""
        return self.padding, self.windows

    @abstractmethod
    def divergence(self, columns: Columns) -> Tensor:
        """The divergence k of each column, (n, c)."""

    def __call__(self, ref: Features, dis: Features) -> Tensor:
        """Returns (B,)."""
        return self._in_half(ref, dis) if self.half else compare([self], ref, dis)[:, 0]

    def _in_half(self, ref: Features, dis: Features) -> Tensor:
        raise NotImplementedError(f"{type(self).__name__} has no half precision")


@dataclass(frozen=True)
class SKLD(ColumnDistance):
    """Symmetric Kullback-Leibler divergence with a weighted Euclidean term.

    p = softmax of a column + epsilon, q likewise; k = sum (p - q) log(p / q) / 2, which is
    (KL(p||q) + KL(q||p)) / 2.

    Args:
        softmax_over: the 64 `samples` of a column, as the official code, or `columns`.
        epsilon: 1e-10 in the paper's code; none in Liao et al.'s for VGG19, where a softmax that underflows makes the
            result NaN or infinite, which is passed on.
        half: imitate the authors' half precision.
        padding, windows: of `columns_of_64`.
    """

    softmax_over: SoftmaxOver = "samples"
    epsilon: float = 1e-10
    half: bool = False  # type: ignore[misc] # here, it is an option

    def __post_init__(self) -> None:
        super().__post_init__()
        _check("softmax_over", self.softmax_over, ("samples", "columns"))

    def divergence(self, columns: Columns) -> Tensor:
        """See the class."""
        p, q = columns.masses(self.softmax_over, self.epsilon)
        return (p / q).log_().mul_(columns.difference(self.softmax_over, self.epsilon)).sum(-2) / 2

    def _in_half(self, ref: Features, dis: Features) -> Tensor:
        return half_precision.column_distance(
            _columns_of(self, ref, dis), half_precision.symmetric_kl, epsilon=self.epsilon,
            softmax_dim=-2 if self.softmax_over == "samples" else -1, euclidean_term=self.euclidean_term)


@dataclass(frozen=True)
class JSD(ColumnDistance):
    """Jensen-Shannon divergence.

    p = softmax of a column + epsilon, q likewise; k = (KL(p||m) + KL(q||m)) / 2 with m = (p + q) / 2. With
    s = p + q and t = (p - q) / s this is sum s (2 t atanh t + log(1 - t^2)) / 4, free of cancellation.
    (The official 1e-17 inside log m is far below the resolution of m >= 1e-10.)

    Args:
        softmax_over, epsilon: as in `SKLD`.
        euclidean_term: the paper says that there is one; the code that made its tables has one for VGG19 only.
        half: imitate the authors' half precision.
        padding, windows: of `columns_of_64`.
    """

    softmax_over: SoftmaxOver = "samples"
    epsilon: float = 1e-10
    euclidean_term: bool = False  # type: ignore[misc] # here, it is an option
    half: bool = False  # type: ignore[misc] # likewise

    def __post_init__(self) -> None:
        super().__post_init__()
        _check("softmax_over", self.softmax_over, ("samples", "columns"))

    def divergence(self, columns: Columns) -> Tensor:
        """See the class."""
        p, q = columns.masses(self.softmax_over, self.epsilon)
        s = p + q
        # |t| rounds to 1 when one of the two is below half an ulp of the other; the limit is finite.
        t = (columns.difference(self.softmax_over, self.epsilon) / s).clamp_(-1 + 2**-24, 1 - 2**-24)
        # log(1 - u) = -2 atanh(u / (2 - u)): PyTorch's atanh is vectorised on a CPU, its log1p is not.
        u = t.square()
        return (_atanh(t).mul_(t) - _atanh(u.div_(2 - u))).mul_(s).sum(-2) / 2

    def _in_half(self, ref: Features, dis: Features) -> Tensor:
        return half_precision.column_distance(
            _columns_of(self, ref, dis), half_precision.jensen_shannon, epsilon=self.epsilon,
            softmax_dim=-2 if self.softmax_over == "samples" else -1, euclidean_term=self.euclidean_term)


@dataclass(frozen=True)
class WSD(ColumnDistance):
    """Wasserstein distance with a weighted Euclidean term.

    p = softmax over the *columns*, q likewise (so a column's weights do not sum to 1), on the support
    0..63. On a shared, sorted, unit-spaced support the integral over quantiles is, for order 1, the l1 distance of the
    cumulative weights over all but the last sample, for unequal masses too: no sort.

    p and q are float64: between nearly equal images, a float32 normaliser moved scores by up to 5e-4, and
    by another amount on each instruction set (docs/performance.md says what float64 costs).

    Args:
        softmax_over: `columns` as the official code, or `samples`, as for SKLD and JSD.
        order: 1; 2 for VGG19 in Liao et al.'s code: the integral of the squared difference, no root taken.
        weights: `softmax`; `energy` for VGG19 there: the squared features over the sum of all features of the map.
        padding, windows: of `columns_of_64`.
    """

    softmax_over: SoftmaxOver = "columns"
    order: Literal[1, 2] = 1
    weights: Literal["softmax", "energy"] = "softmax"

    def __post_init__(self) -> None:
        super().__post_init__()
        _check("softmax_over", self.softmax_over, ("samples", "columns"))
        _check("order", self.order, (1, 2))
        _check("weights", self.weights, ("softmax", "energy"))

    def divergence(self, columns: Columns) -> Tensor:
        """See the class."""
        p, q = (columns.energies if self.weights == "energy" else
                columns.masses(self.softmax_over, 0.0, torch.float64))
        if self.order == 2:
            return squared_transport(p, q)
        # A product with a triangle of ones is a cumulative sum, and much faster over an axis that is not the last.
        all_but_the_last = torch.ones(SAMPLES - 1, SAMPLES, dtype=p.dtype, device=p.device).tril_()
        return (all_but_the_last @ (p - q)).abs_().sum(-2)


class Columns:
    """Some columns of some maps, and what several divergences need of them, computed once.

    Args:
        whole: (x, y), all columns of these maps, (n, 64, M): of the distorted and of the reference image.
        part: which columns; c in number.
        over_columns: the softmax of `whole` over all columns, by dtype, once it is asked for; shared by the parts.
    """

    def __init__(self, whole: tuple[Tensor, Tensor], part: slice,
                 over_columns: dict[torch.dtype, tuple[Tensor, Tensor]]) -> None:
        self._whole, self._part, self._over_columns = whole, part, over_columns
        self.x, self.y = (each[..., part] for each in whole)
        self._masses: dict[tuple[str, float, torch.dtype], tuple[Tensor, Tensor]] = {}
        self._differences: dict[tuple[str, float], Tensor] = {}
        self._euclid: Tensor | None = None

    @property
    def euclid(self) -> Tensor:
        """E of each column, (n, c)."""
        if self._euclid is None:
            self._euclid = (self.x - self.y).square_().sum(-2)
        return self._euclid

    def masses(self, over: SoftmaxOver, epsilon: float, dtype: torch.dtype | None = None) -> tuple[Tensor, Tensor]:
        """(p, q): softmax over samples or over columns, plus epsilon; (n, 64, c) each. Not to be changed."""
        dtype = dtype or self.x.dtype
        key = over, epsilon, dtype
        if key not in self._masses:
            if over == "columns":
                if dtype not in self._over_columns:
                    x, y = self._whole
                    self._over_columns[dtype] = x.softmax(-1, dtype=dtype), y.softmax(-1, dtype=dtype)
                p, q = (each[..., self._part] for each in self._over_columns[dtype])
            else:
                p, q = (each.softmax(-2, dtype=dtype) for each in (self.x, self.y))
            self._masses[key] = (p + epsilon, q + epsilon) if epsilon else (p, q)
        return self._masses[key]

    def difference(self, over: SoftmaxOver, epsilon: float) -> Tensor:
        """The difference p - q of `masses`. Not to be changed."""
        key = over, epsilon
        if key not in self._differences:
            p, q = self.masses(over, epsilon)
            self._differences[key] = p - q
        return self._differences[key]

    @property
    def energies(self) -> tuple[Tensor, Tensor]:
        """The squared features over the sum of all features of the map, (n, 64, c) each, in float64."""
        p, q = (each[..., self._part].double().square() / (each.sum((-2, -1), keepdim=True, dtype=torch.float64) + 1e-6)
                for each in self._whole)
        return p, q


def _column_distances(distances: Sequence[ColumnDistance], ref: Features, dis: Features) -> list[Tensor]:
    """The values (B,) of distances of one layout."""
    most = _at_once(ELEMENTS_AT_ONCE, ref) // SAMPLES
    values = []  # of every stack, (distances, B, maps)
    for stacks in zip(dis, ref, strict=True):
        x, y = (columns_of_64(stack, *distances[0].layout) for stack in stacks)
        num_maps, num_columns = x.shape[0] * x.shape[1], x.shape[-1]
        if num_columns <= FEW_COLUMNS:
            x, y = x.double(), y.double()
        columns_at_once, maps_at_once = min(most, num_columns), max(1, most // num_columns)
        sums = x.new_zeros(len(distances), num_maps)
        for maps in _parts(num_maps, maps_at_once):
            whole = x.flatten(0, 1)[maps], y.flatten(0, 1)[maps]
            over_columns: dict[torch.dtype, tuple[Tensor, Tensor]] = {}
            for part in _parts(num_columns, columns_at_once):
                columns = Columns(whole, part, over_columns)
                for number, distance in enumerate(distances):
                    k = distance.divergence(columns)
                    if distance.euclidean_term:
                        k = k + columns.euclid / ((-0.5 / (k + 10)).exp() * (k + 10).square())
                    sums[number, maps] += k.sum(-1)
        values.append((sums / num_columns).to(stacks[0].dtype).view(len(distances), *x.shape[:2]))
    return list(_fourth_root(torch.cat(values, dim=-1).mean(-1).log1p()))


def _columns_of(distance: ColumnDistance, ref: Features, dis: Features) -> list[tuple[Tensor, Tensor]]:
    """(distorted, reference) columns (B, maps, 64, M) of each stack."""
    return [(columns_of_64(d, *distance.layout), columns_of_64(r, *distance.layout))
            for r, d in zip(ref, dis, strict=True)]


def _fourth_root(x: Tensor) -> Tensor:
    """The fourth root; where it is 0, its derivative, which is infinite there, counts as 0."""
    is_zero = x == 0
    return x.masked_fill(is_zero, 1.0).pow(0.25).masked_fill(is_zero, 0.0)


def _atanh(x: Tensor) -> Tensor:
    """The inverse hyperbolic tangent. What the compiler makes of `atanh` on a CPU loses the digits of small values."""
    if not torch.compiler.is_compiling():
        return x.atanh()
    size = x.abs()  # near -1, the argument of log1p would be rounded too coarsely
    return torch.copysign((2 * size / (1 - size)).log1p() / 2, x)


def _at_once(limits: dict[str, int], features: Features) -> int:
    return limits["cpu" if features[0].device.type == "cpu" else "cuda"]


def _parts(length: int, at_once: int) -> list[slice]:
    """Cut 0..length into slices of `at_once`.

    For the compiler, it is a single one: operations that are fused need no parts, and the graph suits any length.
    """
    if torch.compiler.is_compiling():
        return [slice(None)]
    return [slice(start, start + at_once) for start in range(0, length, at_once)]


def squared_transport(p: Tensor, q: Tensor) -> Tensor:
    """Integral over quantiles of the squared difference of positions: (..., S, M) weights at 0..S-1 to (..., M).

    As POT's `wasserstein_1d` with p=2 computes it: on the union of both cumulative weights, masses left as they are;
    beyond its own mass a quantile stays at the last sample.
    """
    ends = [weights.mT.cumsum(-1).contiguous() for weights in (p, q)]  # ..., M, S
    quantiles = torch.cat(ends, dim=-1).sort(-1).values  # ..., M, 2 S
    at_p, at_q = (torch.searchsorted(end, quantiles, out_int32=True).clamp_max(end.shape[-1] - 1) for end in ends)
    steps = quantiles.diff(dim=-1, prepend=torch.zeros_like(quantiles[..., :1]))
    return (steps * (at_p - at_q).square()).sum(-1)


def columns_of_64(stack: Tensor, padding: str = "nearest", windows: str = "memory") -> Tensor:
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
    """
    to_whole = math.ceil if padding == "up" else round
    rows, columns = (max(8, to_whole(side / 8) * 8) for side in stack.shape[-2:])
    padded = F.pad(stack, (columns - stack.shape[-1], 0, 0, rows - stack.shape[-2]))
    maps = padded.reshape(stack.shape[0], -1, *padded.shape[-3:])  # B, maps, C, H', W'
    if windows == "spatial":
        maps = maps.reshape(*maps.shape[:3], rows // 8, 8, columns // 8, 8).movedim((4, 6), (2, 3))  # ..., 8, 8, C, ...
    return maps.reshape(*maps.shape[:2], SAMPLES, -1)


def _check(option: str, value: object, choices: tuple[object, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{option} must be {' or '.join(map(str, choices))}, found {value!r}")
