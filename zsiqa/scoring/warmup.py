"""How many tiles a forward pass are fastest on this machine, found by trying a few sizes. Never imports torch."""

from __future__ import annotations

from collections.abc import Callable

LEAST, MOST = 4, 512
GAIN = 1.05  # what a batch of twice the size must gain to be worth its memory: more than repeated timings differ


def fastest_batch(seconds: Callable[[int], float]) -> int:
    """Double the batch from `LEAST` for as long as each tile takes clearly less time, up to `MOST`.

    Args:
        seconds: that a batch of so many tiles takes; infinite if it does not fit into memory.

    Returns:
        The number of tiles.

    Example:
        >>> fastest_batch(lambda tiles: max(tiles, 64))  # a device that is full at 64
        64
        >>> fastest_batch(lambda tiles: 1 + tiles if tiles <= 16 else float("inf"))
        16
    """
    size, taken = LEAST, seconds(LEAST)
    while size < MOST:
        twice = seconds(2 * size)
        if taken * 2 < GAIN * twice:
            break
        size, taken = 2 * size, twice
    return size
