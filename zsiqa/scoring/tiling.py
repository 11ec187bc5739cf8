"""Cut an image into overlapping square tiles: docs/protocol.md section 3.

Source: ZS-IQA `utils.py` (`get_indxs_sliding_window`) at commit 1d8c1ce.
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view


def tile_starts(length: int, *, window: int = 224, stride: int = 200) -> list[int]:
    """List the first pixels of the tiles along one side: every `stride`, and one tile flush with the end.

    Args:
        length: the side in pixels.
        window: the tile's side in pixels.
        stride: step in pixels between tiles.

    Raises:
        ValueError: if the side is shorter than one tile.

    Examples:
        >>> tile_starts(512), tile_starts(384), tile_starts(224)
        ([0, 200, 288], [0, 160], [0])
    """
    if length < window:
        raise ValueError(f"a side of {length} pixels is shorter than the {window}-pixel tile; score whole "
                         f"images (window=null), or at another scale (scale=short_224)")
    return [*range(0, length - window, stride), length - window]


def extract_tiles(image: np.ndarray, *, window: int | None = 224, stride: int = 200) -> np.ndarray:
    """Cut an image into its tiles, row by row.

    Args:
        image: (H, W, 3).
        window: the tile's side in pixels; None for the whole image as the only tile.
        stride: step in pixels between tiles.

    Returns:
        (T, window, window, 3), of the image's dtype; (1, H, W, 3) for the whole image.

    Raises:
        ValueError: if a side is shorter than one tile.

    Examples:
        >>> extract_tiles(np.zeros((384, 512, 3), np.uint8)).shape
        (6, 224, 224, 3)
    """
    if window is None:
        return np.ascontiguousarray(image)[None]
    rows = tile_starts(image.shape[0], window=window, stride=stride)
    columns = tile_starts(image.shape[1], window=window, stride=stride)
    windows = sliding_window_view(image, (window, window), axis=(0, 1))  # H', W', 3, window, window
    tiles = windows[np.ix_(rows, columns)]  # rows, columns, 3, window, window
    return np.ascontiguousarray(tiles.transpose(0, 1, 3, 4, 2)).reshape(-1, window, window, image.shape[2])
