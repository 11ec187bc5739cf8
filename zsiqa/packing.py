"""Products with frozen weights by oneDNN, each matrix packed once: on x86, faster than what PyTorch does by itself.

PyTorch hands float32 products to MKL, which packs the weights anew every time, and which is at its best on Intel's
processors only. How much it gains: docs/performance.md.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode


class PackedLinears(TorchFunctionMode):
    """Within this context, `linear` of (..., K) with a frozen weight (N, K) is oneDNN's: equal up to rounding.

    Everything else runs as it is: other types, devices and processors, whatever wants a gradient, and the projections
    of `nn.MultiheadAttention`, which PyTorch does not show us. Weights must not change from one use of a
    `PackedLinears` to the next: it keeps its packed copies, which take as much memory again.

    Example:
        >>> layer = nn.Linear(8, 4).requires_grad_(False)
        >>> with PackedLinears():
        ...     layer(torch.ones(3, 8)).shape
        torch.Size([3, 4])
    """

    def __init__(self) -> None:
        super().__init__()
        self._packed: dict[int, tuple[Tensor, Tensor]] = {}  # by id: the weight itself, which keeps its id, and packed

    def __torch_function__(self, func: Callable[..., Any], _types: Sequence[type], args: tuple[Any, ...] = (),
                           kwargs: Mapping[str, Any] | None = None) -> Any:
        if func is nn.functional.linear:
            return self._linear(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))

    def _linear(self, input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:  # noqa: A002 - PyTorch's
        learning = torch.is_grad_enabled() and (input.requires_grad or bias is not None and bias.requires_grad)
        if not (AVAILABLE and isinstance(weight, nn.Parameter) and not weight.requires_grad
                and not learning  # oneDNN's product knows no gradients
                and input.dtype == weight.dtype == torch.float32 and input.device == weight.device == _CPU
                and input.ndim > 1 and input.numel()):
            return nn.functional.linear(input, weight, bias)
        if id(weight) not in self._packed:
            rows = input.numel() // input.shape[-1]  # the layout is for so many; right for any number
            self._packed[id(weight)] = weight, torch.ops.mkldnn._reorder_linear_weight(weight, rows)
        product: Tensor = torch.ops.mkldnn._linear_pointwise(input, self._packed[id(weight)][1], bias, "none", [], "")
        return product


_CPU = torch.device("cpu")
# On x86: with oneDNN, and the operations that PyTorch's compiler uses for the same purpose.
AVAILABLE = (platform.machine() in ("x86_64", "AMD64") and torch.backends.mkldnn.enabled
             and all(hasattr(torch.ops.mkldnn, name) for name in ("_linear_pointwise", "_reorder_linear_weight")))
