"""Distances of distributions: SKLD, JSD and WSD, each one formula over columns of 64 samples.

Source: Liao et al., IEEE TIP 2024, as implemented in ZS-IQA `distances.py`. `zsiqa.distances.columns` cuts
features into columns, and computes shared quantities once.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import reduce
from itertools import accumulate
from typing import ClassVar, Literal

import torch
from torch import Tensor

from zsiqa.distances import half_precision
from zsiqa.distances.columns import (
    ELEMENTS_AT_ONCE,
    SAMPLES,
    Columns,
    SoftmaxOver,
    at_once,
    column_distances,
    columns_of_64,
    parts,
)
from zsiqa.types import Features, check_choice


@dataclass(frozen=True)
class ColumnDistance(ABC):
    """Base class of SKLD, JSD and WSD.

    Every map is cut into columns of 64 samples (`columns_of_64`). k is the divergence of a column, E the sum
    of its squared differences. The value of a column is k + E w(k), or k alone, with

        w(k) = 1 / (sqrt(exp(-1 / (k + c))) (k + c)^2).

    The value of a map is the mean over its columns. The score of a tile is log(1 + mean over maps)^0.25.

    The token features of a ViT are *one* map with the layers as channels, as in the official code. For the
    features of a CNN (L maps a stack) and for embeddings we extend this: the same for each map, then the mean
    over all maps.

    Args:
        padding, windows: see `columns_of_64`.
        constant: c of w(k).

    Raises:
        ValueError: if an option is unknown.
    """

    padding: Literal["nearest", "up"] = "nearest"
    windows: Literal["memory", "spatial"] = "memory"
    constant: float = 10.0
    euclidean_term: ClassVar[bool] = True
    half: ClassVar[bool] = False  # only distances of probabilities can imitate half precision

    def __post_init__(self) -> None:
        check_choice("padding", self.padding, ("nearest", "up"))
        check_choice("windows", self.windows, ("memory", "spatial"))

    @property
    def layout(self) -> tuple[str, str]:
        """The options that determine the columns: (padding, windows)."""
        return self.padding, self.windows

    @abstractmethod
    def divergence(self, columns: Columns) -> Tensor:
        """Compute the divergence k of each column, (n, c)."""

    def __call__(self, ref: Features, dis: Features) -> Tensor:
        """Compute the distance of each tile, (B,)."""
        return column_distances([self], ref, dis)[0]


@dataclass(frozen=True)
class ProbabilityDistance(ColumnDistance):
    """Base class of SKLD and JSD, which compare probabilities: a softmax plus epsilon.

    Args:
        softmax_over: the 64 `samples` of a column (the official code), or the `columns`.
        epsilon: 1e-10 in the paper's code. Liao et al.'s code for VGG19 has none: a softmax that underflows
            makes the result NaN or infinite, and this result is returned.
        half: imitate the authors' half precision; the constant must be 10.
        padding, windows, constant: see `ColumnDistance`.
    """

    softmax_over: SoftmaxOver = "samples"
    epsilon: float = 1e-10
    half: bool = False  # type: ignore[misc] # a class variable of the base class, an option here

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("softmax_over", self.softmax_over, ("samples", "columns"))
        if self.half:
            check_choice("constant", self.constant, (10,))

    def __call__(self, ref: Features, dis: Features) -> Tensor:
        """Compute the distance of each tile, (B,)."""
        if not self.half:
            return super().__call__(ref, dis)
        columns = [(columns_of_64(d, *self.layout), columns_of_64(r, *self.layout))
                   for r, d in zip(ref, dis, strict=True)]
        return half_precision.column_distance(
            columns, self.half_divergence, epsilon=self.epsilon,
            softmax_dim=-2 if self.softmax_over == "samples" else -1, euclidean_term=self.euclidean_term)

    @staticmethod
    @abstractmethod
    def half_divergence(p: Tensor, q: Tensor) -> Tensor:
        """Compute the divergence of each column in half precision, (..., 64, M) to (..., M)."""


@dataclass(frozen=True)
class SKLD(ProbabilityDistance):
    """Symmetric Kullback-Leibler divergence with a weighted Euclidean term.

    p = softmax of a column + epsilon, q likewise; k = sum (p - q) log(p / q) / 2, which is
    (KL(p||q) + KL(q||p)) / 2.

    Args:
        softmax_over, epsilon, half, padding, windows, constant: see `ProbabilityDistance`.
    """

    half_divergence = staticmethod(half_precision.symmetric_kl)

    def divergence(self, columns: Columns) -> Tensor:
        """Compute k of each column, (n, c); see the class."""
        p, q = columns.probabilities(self.softmax_over, self.epsilon)
        return (p / q).log_().mul_(columns.difference(self.softmax_over, self.epsilon)).sum(-2) / 2


@dataclass(frozen=True)
class JSD(ProbabilityDistance):
    """Jensen-Shannon divergence.

    p = softmax of a column + epsilon, q likewise; k = (KL(p||m) + KL(q||m)) / 2 with m = (p + q) / 2. With s
    = p + q and t = (p - q) / s this equals sum s (2 t atanh t + log(1 - t^2)) / 4, which has no cancellation.
    (The official 1e-17 inside log m is left out: it is far below the resolution of m >= 1e-10.)

    Args:
        euclidean_term: add E w(k). The paper says so; the code that computed its tables does so for VGG19
            only.
        softmax_over, epsilon, half, padding, windows, constant: see `ProbabilityDistance`.
    """

    euclidean_term: bool = False  # type: ignore[misc] # a class variable of the base class, an option here
    half_divergence = staticmethod(half_precision.jensen_shannon)

    def divergence(self, columns: Columns) -> Tensor:
        """Compute k of each column, (n, c); see the class."""
        p, q = columns.probabilities(self.softmax_over, self.epsilon)
        s = p + q
        # |t| rounds to 1 where p or q is below half an ulp of the other; the limit of the formula is finite.
        t = (columns.difference(self.softmax_over, self.epsilon) / s).clamp_(-1 + 2**-24, 1 - 2**-24)
        # log(1 - u) = -2 atanh(u / (2 - u)): with AVX-512, PyTorch's log1p can be slow, its atanh is not
        # (docs/performance.md).
        u = t.square()
        return _atanh(t).mul_(t).sub_(_atanh(u.div_(2 - u))).mul_(s).sum(-2) / 2


@dataclass(frozen=True)
class WSD(ColumnDistance):
    """Wasserstein distance with a weighted Euclidean term.

    p = softmax over the *columns*, q likewise (so the weights of a column do not sum to 1), on the support
    0..63. For order 1, the integral over quantiles on a shared, sorted, unit-spaced support equals the l1
    distance of the cumulative weights, without the last sample. This also holds if the weights of p and q
    have different sums, and needs no sorting.

    Between nearly equal images, the rounding of a float32 normaliser would be most of the difference of p and
    q. It is taken out; the error that is left is about what rounding the features causes
    (docs/performance.md). For few columns, and with another `softmax_over`, `order` or `weights` than the
    official code's, everything is float64.

    Args:
        softmax_over: `columns` (the official code), or `samples`, as for SKLD and JSD.
        order: 1; or 2, as in Liao et al.'s code for VGG19: the integral of the squared difference, without a
            root.
        weights: `softmax`; or `energy`, as in their code for VGG19: the squared features over the sum of all
            features of the map; or `features`, as in their code for MobileNetV3, for order 2: the features
            themselves. Where these are negative, k is no distance and can be negative: see
            `squared_transport`.
        padding, windows, constant: see `ColumnDistance`.
    """

    softmax_over: SoftmaxOver = "columns"
    order: Literal[1, 2] = 1
    weights: Literal["softmax", "energy", "features"] = "softmax"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("softmax_over", self.softmax_over, ("samples", "columns"))
        check_choice("order", self.order, (1, 2))
        check_choice("weights", self.weights, ("softmax", "energy", "features"))
        if self.weights == "features":  # the closed form of order 1 needs weights >= 0
            check_choice("order", self.order, (2,))

    def divergence(self, columns: Columns) -> Tensor:
        """Compute k of each column, (n, c); see the class."""
        if (self.order, self.weights, self.softmax_over) == (1, "softmax", "columns"):
            return columns.of_maps(_softmax_transport)
        p, q = (columns.energies if self.weights == "energy" else
                (columns.x.double(), columns.y.double()) if self.weights == "features" else
                columns.probabilities(self.softmax_over, 0.0, torch.float64))
        return squared_transport(p, q) if self.order == 2 else transport((p - q)[..., :-1, :].unbind(-2))


def _atanh(x: Tensor) -> Tensor:
    """Inverse hyperbolic tangent; on a CPU, the compiled `atanh` loses the digits of small values."""
    if not torch.compiler.is_compiling():
        return x.atanh()
    size = x.abs()  # for x near -1, the argument of log1p would be rounded too coarsely
    return x.sign() * (2 * size / (1 - size)).log1p() / 2


def transport(differences: Iterable[Tensor]) -> Tensor:
    """Sum of the absolute differences of the cumulative weights of each column, (n, c).

    Args:
        differences: p - q of consecutive samples, (n, c) each, without the last sample.
    """
    # On a CPU, this is faster than `cumsum` over an axis that is not the last.
    return reduce(torch.add, (cumulative.abs() for cumulative in accumulate(differences)))


def _softmax_transport(x: Tensor, y: Tensor) -> Tensor:
    """Compute `transport` of all columns, (n, M), of the softmax over columns of maps x and y, (n, 64, M)."""
    return transport(_softmax_differences(x, y))


def _softmax_differences(x: Tensor, y: Tensor) -> Iterator[Tensor]:
    """Yield p - q of all samples but the last, (n, M) each, of maps x and y, (n, 64, M)."""
    samples_at_once = max(1, at_once(ELEMENTS_AT_ONCE, (x,)) // x.shape[-1])
    for samples in parts(SAMPLES - 1, samples_at_once):
        p, q = (columns[:, :-1][:, samples].softmax(-1) for columns in (x, y))
        difference = p - q
        # Each row should sum to 1. In float32, it is about 1e-7 off, by one factor for all columns; between
        # nearly equal images, this would be most of the difference. So q is scaled to the sum of p.
        excess = difference.sum(-1, keepdim=True)
        yield from torch.addcmul(difference, q, excess, value=-1).unbind(1)


def squared_transport(p: Tensor, q: Tensor) -> Tensor:
    """Integral over quantiles of the squared difference of positions, (..., S, M) to (..., M).

    p and q are weights at the positions 0..S-1. The same computation as POT's `wasserstein_1d` with p=2: on
    the union of both cumulative weights, which are not normalised; a quantile beyond the total mass is at the
    last sample. Negative weights make a cumulative sum that is not sorted: a quantile is then where bisection
    ends in it, as in POT on PyTorch.
    """
    ends = [weights.mT.cumsum(-1).contiguous() for weights in (p, q)]  # ..., M, S
    quantiles = torch.cat(ends, dim=-1).sort(-1).values  # ..., M, 2 S
    at_p, at_q = (torch.searchsorted(end, quantiles, out_int32=True).clamp_max(end.shape[-1] - 1)
                  for end in ends)
    steps = quantiles.diff(dim=-1, prepend=torch.zeros_like(quantiles[..., :1]))
    return (steps * (at_p - at_q).square()).sum(-1)
