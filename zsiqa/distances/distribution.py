"""Distances of distributions: SKLD, JSD and WSD, each one formula over columns of 64 samples.

Source: Liao et al., IEEE TIP 2024, as ZS-IQA `distances.py` has it. `zsiqa.distances.columns` cuts features into
columns, and computes once what several of these distances need.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from zsiqa.distances import half_precision
from zsiqa.distances.columns import SAMPLES, Columns, SoftmaxOver, column_distances, columns_of_64
from zsiqa.distances.features import Features, check_option


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
        check_option("padding", self.padding, ("nearest", "up"))
        check_option("windows", self.windows, ("memory", "spatial"))

    @property
    def layout(self) -> tuple[str, str]:
        """What decides the columns."""
        return self.padding, self.windows

    @abstractmethod
    def divergence(self, columns: Columns) -> Tensor:
        """The divergence k of each column, (n, c)."""

    def __call__(self, ref: Features, dis: Features) -> Tensor:
        """Returns (B,)."""
        return self._in_half(ref, dis) if self.half else column_distances([self], ref, dis)[0]

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
        check_option("softmax_over", self.softmax_over, ("samples", "columns"))

    def divergence(self, columns: Columns) -> Tensor:
        """See the class."""
        p, q = columns.probabilities(self.softmax_over, self.epsilon)
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
        check_option("softmax_over", self.softmax_over, ("samples", "columns"))

    def divergence(self, columns: Columns) -> Tensor:
        """See the class."""
        p, q = columns.probabilities(self.softmax_over, self.epsilon)
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
        check_option("softmax_over", self.softmax_over, ("samples", "columns"))
        check_option("order", self.order, (1, 2))
        check_option("weights", self.weights, ("softmax", "energy"))

    def divergence(self, columns: Columns) -> Tensor:
        """See the class."""
        p, q = (columns.energies if self.weights == "energy" else
                columns.probabilities(self.softmax_over, 0.0, torch.float64))
        if self.order == 2:
            return squared_transport(p, q)
        # A product with a triangle of ones is a cumulative sum, and much faster over an axis that is not the last.
        all_but_the_last = torch.ones(SAMPLES - 1, SAMPLES, dtype=p.dtype, device=p.device).tril_()
        return (all_but_the_last @ (p - q)).abs_().sum(-2)


def _columns_of(distance: ColumnDistance, ref: Features, dis: Features) -> list[tuple[Tensor, Tensor]]:
    """(distorted, reference) columns (B, maps, 64, M) of each stack."""
    return [(columns_of_64(d, *distance.layout), columns_of_64(r, *distance.layout))
            for r, d in zip(ref, dis, strict=True)]


def _atanh(x: Tensor) -> Tensor:
    """The inverse hyperbolic tangent. What the compiler makes of `atanh` on a CPU loses the digits of small values."""
    if not torch.compiler.is_compiling():
        return x.atanh()
    size = x.abs()  # near -1, the argument of log1p would be rounded too coarsely
    return torch.copysign((2 * size / (1 - size)).log1p() / 2, x)


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
