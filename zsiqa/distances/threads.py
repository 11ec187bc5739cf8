"""Parts of a computation side by side, each in one thread."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor


def map_side_by_side(compute: Callable[[slice], Tensor], parts: Sequence[slice]) -> list[Tensor]:
    """Compute each part; if gradients are off, as many at once as PyTorch has threads.

    A part that one thread computes stays in the cache of one core. Where threads share each operation, a core
    often reads what another one has just written; this is slow if their caches are separate.
    """
    if len(parts) == 1 or torch.is_grad_enabled() or (threads := torch.get_num_threads()) == 1:
        return [compute(part) for part in parts]
    inference = torch.is_inference_mode_enabled()

    def compute_alone(part: slice) -> Tensor:
        with torch.inference_mode(inference), torch.no_grad():  # a new thread has neither
            return compute(part)

    try:
        with ThreadPoolExecutor(min(threads, len(parts)), initializer=torch.set_num_threads,
                                initargs=(1,)) as pool:
            return list(pool.map(compute_alone, parts))
    finally:
        torch.set_num_threads(threads)  # threads that start later take over the number that was set last
