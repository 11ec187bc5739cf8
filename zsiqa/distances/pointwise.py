"""Distances position by position: l2 and cosine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from zsiqa.distances import half_precision
from zsiqa.distances.features import Features, check_option


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
        check_option("axis", self.axis, ("last", "channel"))

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
