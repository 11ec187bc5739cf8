"""Columns of 64 samples, and the quantities that several distances of distributions share, computed once.

Columns are processed in parts that fit into a processor's cache: if every operation reads all columns from
memory again, it takes several times as long. For `torch.compile`, the whole computation is one graph, without
parts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from zsiqa.types import Features

if TYPE_CHECKING:
    from zsiqa.distances.distribution import ColumnDistance

SoftmaxOver = Literal["samples", "columns"]

SAMPLES = 64  # the protocol's 8 x 8 window: every column holds 64 values
# Up to this number of columns, everything is float64, which costs little. Embeddings, which may be nearly
# equal, have few columns.
FEW_COLUMNS = 256
# Number of elements (of columns) that are processed at once. On a CPU, a few tensors of this size fit into
# the cache of one core; a GPU needs more to be busy.
ELEMENTS_AT_ONCE = {"cpu": 2**18, "cuda": 2**25}


def column_distances(distances: Sequence[ColumnDistance], ref: Features, dis: Features) -> list[Tensor]:
    """Compute the values (B,) of each of these distances, which share one layout."""
    max_columns = at_once(ELEMENTS_AT_ONCE, ref) // SAMPLES
    values = []  # for every stack, (distances, B, maps)
    for stacks in zip(dis, ref, strict=True):
        x, y = (columns_of_64(stack, *distances[0].layout) for stack in stacks)
        num_maps, num_columns = x.shape[0] * x.shape[1], x.shape[-1]
        if num_columns <= FEW_COLUMNS:
            x, y = x.double(), y.double()
        columns_at_once, maps_at_once = min(max_columns, num_columns), max(1, max_columns // num_columns)
        sums = x.new_zeros(len(distances), num_maps)
        for maps in parts(num_maps, maps_at_once):
            whole = x.flatten(0, 1)[maps], y.flatten(0, 1)[maps]
            shared: dict[Any, Any] = {}
            for part in parts(num_columns, columns_at_once):
                columns = Columns(whole, part, shared)
                for number, distance in enumerate(distances):
                    k = distance.divergence(columns)
                    if distance.euclidean_term:
                        shifted = k + distance.constant
                        k = k + columns.euclid / ((-0.5 / shifted).exp() * shifted.square())
                    sums[number, maps] += k.sum(-1)
        values.append((sums / num_columns).to(stacks[0].dtype).view(len(distances), *x.shape[:2]))
    return list(_fourth_root(torch.cat(values, dim=-1).mean(-1).log1p()))


class Columns:
    """Some columns of some maps, and the quantities that several divergences need, computed once.

    Args:
        whole: (x, y), all columns of these maps, (n, 64, M): of the distorted and of the reference image.
        part: the slice of these columns, c in number.
        shared: cache of quantities of the whole maps, for all their parts.
    """

    def __init__(self, whole: tuple[Tensor, Tensor], part: slice, shared: dict[Any, Any]) -> None:
        self._whole, self._part, self._shared = whole, part, shared
        self.x, self.y = (columns[..., part] for columns in whole)
        self._probabilities: dict[tuple[str, float, torch.dtype], tuple[Tensor, Tensor]] = {}
        self._differences: dict[tuple[str, float], Tensor] = {}
        self._euclid: Tensor | None = None

    @property
    def euclid(self) -> Tensor:
        """Sum E of the squared differences of each column, (n, c)."""
        if self._euclid is None:
            self._euclid = (self.x - self.y).square_().sum(-2)
        return self._euclid

    def probabilities(self, over: SoftmaxOver, epsilon: float,
                      dtype: torch.dtype | None = None) -> tuple[Tensor, Tensor]:
        """Return (p, q): softmax over samples or over columns, plus epsilon; (n, 64, c) each. Read-only."""
        dtype = dtype or self.x.dtype
        key = over, epsilon, dtype
        if key not in self._probabilities:
            if over == "columns":
                if dtype not in self._shared:
                    x, y = self._whole
                    self._shared[dtype] = x.softmax(-1, dtype=dtype), y.softmax(-1, dtype=dtype)
                p, q = (softmax[..., self._part] for softmax in self._shared[dtype])
            else:
                p, q = (columns.softmax(-2, dtype=dtype) for columns in (self.x, self.y))
            self._probabilities[key] = (p + epsilon, q + epsilon) if epsilon else (p, q)
        return self._probabilities[key]

    def difference(self, over: SoftmaxOver, epsilon: float) -> Tensor:
        """Return the difference p - q of `probabilities`, (n, 64, c). Read-only."""
        key = over, epsilon
        if key not in self._differences:
            p, q = self.probabilities(over, epsilon)
            self._differences[key] = p - q
        return self._differences[key]

    def of_maps(self, quantity: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        """Return the values of these columns, (n, c), of a quantity that needs whole maps.

        Args:
            quantity: computes all columns' values, (n, M), from the maps x and y, (n, 64, M).
        """
        if quantity not in self._shared:
            self._shared[quantity] = quantity(*self._whole)
        result: Tensor = self._shared[quantity][..., self._part]
        return result

    @property
    def energies(self) -> tuple[Tensor, Tensor]:
        """(p, q): squared features over the sum of all features of the map, (n, 64, c) each, in float64."""
        p, q = (columns[..., self._part].double().square()
                / (columns.sum((-2, -1), keepdim=True, dtype=torch.float64) + 1e-6)
                for columns in self._whole)
        return p, q


def columns_of_64(stack: Tensor, padding: str = "nearest", windows: str = "memory") -> Tensor:
    """Rearrange each map of a stack into columns of 64 samples: (B, maps, 64, M).

    A map is the last three axes (C, H, W) of the stack (B, ..., C, H, W). H and W are changed to a multiple
    of 8: to enlarge, zeros are added below and on the left; to shrink, the last rows and the first columns
    are cropped.

    Args:
        padding: `nearest` (the official code): to the nearest multiple (Python's rounding, half to even). 197
            tokens become 200, but 50 become 48 and 257 become 256: tokens are lost. A side below 5 is padded
            to 8 instead (the official code would crop all of it). `up`: to the next multiple; nothing is
            lost.
        windows: `memory` (the official code): the map's contiguous memory is cut into 64 equal chunks; each
            chunk gives one sample to each column. `spatial`: a column is a window of 8 x 8, as the paper
            implies.
    """
    to_whole = math.ceil if padding == "up" else round
    rows, columns = (max(8, to_whole(side / 8) * 8) for side in stack.shape[-2:])
    if (rows, columns) != stack.shape[-2:]:  # padding by 0 would copy
        pad = _pad_unfused if torch.compiler.is_compiling() else _pad
        stack = pad(stack, columns - stack.shape[-1], rows - stack.shape[-2])
    maps = stack.reshape(stack.shape[0], -1, *stack.shape[-3:])  # B, maps, C, H', W'
    if windows == "spatial":
        maps = maps.reshape(*maps.shape[:3], rows // 8, 8, columns // 8, 8)
        maps = maps.movedim((4, 6), (2, 3))  # B, maps, 8, 8, C, H' / 8, W' / 8
    return maps.reshape(*maps.shape[:2], SAMPLES, -1)


def _pad(maps: Tensor, left: int, below: int) -> Tensor:
    """Add columns of zeros on the left, and rows of zeros below; crop where a number is negative."""
    return F.pad(maps, (left, 0, 0, below))


def _keep_sides(ctx: Any, inputs: tuple[Tensor, int, int], output: Tensor) -> None:  # noqa: ARG001
    _, ctx.left, ctx.below = inputs


# For the compiler, padding is one operation with a result in memory. Otherwise it is computed again for every
# element that a later step reads, and its divisions of addresses keep a processor from vectorising that step.
_pad_unfused = torch.library.custom_op("zsiqa::pad", _pad, mutates_args=())
_pad_unfused.register_fake(_pad)
_pad_unfused.register_autograd(
    lambda ctx, grad: (_pad_unfused(grad, -ctx.left, -ctx.below), None, None),
    setup_context=_keep_sides)


def at_once(limits: dict[str, int], features: Features) -> int:
    """Return the limit for the features' device."""
    return limits["cpu" if features[0].device.type == "cpu" else "cuda"]


def parts(length: int, at_once: int) -> list[slice]:
    """Cut 0..length into slices of `at_once`.

    For the compiler, return a single slice: fused operations need no parts, and the graph then fits any
    length.
    """
    if torch.compiler.is_compiling():
        return [slice(None)]
    return [slice(start, start + at_once) for start in range(0, length, at_once)]


def _fourth_root(x: Tensor) -> Tensor:
    """Fourth root. At 0, the derivative (infinite in theory) is 0."""
    is_zero = x == 0
    return x.masked_fill(is_zero, 1.0).pow(0.25).masked_fill(is_zero, 0.0)
