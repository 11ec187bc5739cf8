"""Distances that compare features position by position: l2 and cosine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from zsiqa.distances import half_precision
from zsiqa.types import Features, check_choice


@dataclass(frozen=True)
class L2:
    """Sum over layers of the mean squared difference over all elements of a layer.

    Args:
        half: imitate the authors' half precision.
    """

    half: bool = False

    def __call__(self, ref: Features, dis: Features) -> Tensor:
        """Compute the distance of each tile, (B,)."""
        if self.half:
            return half_precision.l2(ref, dis)
        layers = [(r - d).square_().flatten(2).mean(-1).sum(1) for r, d in zip(ref, dis, strict=True)]
        return torch.stack(layers).sum(0)

    def at_positions(self, ref: Tensor, dis: Tensor) -> Tensor | None:
        """Compute the distance at each position of a stack, (B, L, N) or (B, L, H, W); None with `half`.

        Its mean over positions is the layer's distance.
        """
        return None if self.half else (ref - dis).square().mean(2 if ref.ndim == 5 else -1)


@dataclass(frozen=True)
class Cosine:
    """Sum over layers of the mean over positions of (1 - cosine similarity).

    1 - cos is computed as half the squared distance of the unit vectors, so equal features give exactly 0. A
    vector that is all zero in either image has no direction, and is left out of the mean. This is the float32
    counterpart of the official code's rule for CLIP RN50 (docs/protocol.md section 5). The paper's other
    models have no such vectors. A layer that has only such vectors adds 0.

    Args:
        axis: the vectors that are compared. `last` (the official code): a token's D features; in the maps of
            a CNN, the *rows* (along the image's width). `channel`: in the maps of a CNN, the C channels at
            each position, as a reader of the paper would expect; for tokens the same as `last`.
        half: imitate the authors' half precision, in which long vectors overflow.

    Raises:
        ValueError: if `axis` is unknown.
    """

    axis: Literal["last", "channel"] = "last"
    half: bool = False

    def __post_init__(self) -> None:
        check_choice("axis", self.axis, ("last", "channel"))

    def __call__(self, ref: Features, dis: Features) -> Tensor:
        """Compute the distance of each tile, (B,)."""
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
        """Compute the distance at each position as `L2.at_positions` does; 0 for vectors of zeros.

        None with `half`, and if the compared vectors do not belong to positions (rows of a map).
        """
        if self.half or (ref.ndim == 5 and self.axis == "last"):
            return None
        return self._halves(ref, dis, 2 if ref.ndim == 5 else -1)[0]

    @staticmethod
    def _halves(r: Tensor, d: Tensor, dim: int) -> tuple[Tensor, Tensor]:
        """Return 1 - cosine of each pair of vectors (0 if one is all zero), and the mask of these pairs."""
        r_norm, d_norm = (torch.linalg.vector_norm(x, dim=dim, keepdim=True) for x in (r, d))
        tiny = 1e-8  # as in torch.nn.functional.cosine_similarity
        halves = (r / r_norm.clamp_min(tiny)).sub_(d / d_norm.clamp_min(tiny)).square_().sum(dim) / 2
        is_zero = (torch.minimum(r_norm, d_norm) < tiny).squeeze(dim)
        return halves.masked_fill(is_zero, 0.0), is_zero
