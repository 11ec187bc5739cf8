"""Maps of the differences between two images according to a metric: its distances at each pixel."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from zsiqa.distances import L2, Cosine
from zsiqa.scoring.metric import Metric
from zsiqa.types import Features


@torch.no_grad()
def difference_map(metric: Metric, ref: Tensor, dis: Tensor) -> Tensor:
    """Compute the distance at each pixel of one pair of images.

    l2 and cosine are means over positions, so each token of a ViT (without prefix tokens) and each position
    of a CNN's maps has its own distance; layers are summed, as in the score. The other distances mix
    positions, as do embeddings of one vector and cosine along the rows of a CNN's maps: there, a tile has one
    value, its score. Where tiles overlap, their values are averaged, with weights that fall towards the
    tiles' edges, so that no seam is visible.

    Args:
        metric: see `Metric`; where a tile has one value, a smaller stride than the protocol's shows more.
        ref, dis: (1, 3, H, W) each, as for the metric.

    Returns:
        (H, W), not negative, of the metric's type, on its device; at a scale, resized to the images' size.

    Raises:
        ZsiqaError: as the metric does.
    """
    scores: Tensor = metric(ref, dis)  # also checks the images
    size = ref.shape[-2:]
    ref, dis = metric.scale(ref), metric.scale(dis)
    height, width = ref.shape[-2:]
    side = (metric.window, metric.window) if metric.window else (height, width)
    weights = _pyramid(*side).to(scores)
    total, weight = scores.new_zeros(height, width), scores.new_zeros(height, width)
    for y, x in metric.tile_corners(height, width):
        r, d = (metric.encode(metric.cut(images.to(scores.dtype), [(0, y, x)])) for images in (ref, dis))
        values = _of_positions(metric, r, d, side)
        if values is None:
            values = metric.distance(r, d)
        place = slice(y, y + side[0]), slice(x, x + side[1])
        total[place] += weights * values
        weight[place] += weights
    values = (total / weight)[None, None]
    return F.interpolate(values, size, mode="bilinear")[0, 0] if values.shape[2:] != size else values[0, 0]


@torch.no_grad()
def tells_positions(metric: Metric, ref: Tensor, dis: Tensor) -> bool:
    """Return whether the metric has a distance at each position of a tile, and not only one for the tile.

    Args:
        metric: see `Metric`.
        ref, dis: (1, 3, H, W) each, as for the metric.
    """
    ref, dis = metric.scale(ref), metric.scale(dis)
    y, x = metric.tile_corners(*ref.shape[-2:])[0]
    r, d = (metric.encode(metric.cut(images, [(0, y, x)])) for images in (ref, dis))
    side = (metric.window, metric.window) if metric.window else (ref.shape[-2], ref.shape[-1])
    return _of_positions(metric, r, d, side) is not None


def _of_positions(metric: Metric, ref: Features, dis: Features, side: tuple[int, int]) -> Tensor | None:
    """Distances at the pixels of one tile, (H, W); None if the distance is not a mean over positions."""
    distance = metric.distance
    if not isinstance(distance, L2 | Cosine):
        return None
    patch = getattr(metric.backbone, "patch", (1, 1))
    seen = [length - length % step for length, step in zip(side, patch, strict=True)]
    total = ref[0].new_zeros(seen)
    for r, d in zip(ref, dis, strict=True):
        values = distance.at_positions(r, d)
        if values is None or values.shape[2:].numel() < 4:
            return None
        values = values.sum(1)  # over layers: (1, N) or (1, H, W)
        # a tile is square; surplus tokens are class and register tokens, which come first
        if values.ndim == 2:
            rows, columns = ([length // step for length, step in zip(side, patch, strict=True)]
                             if patch != (1, 1) else [math.isqrt(values.shape[1])] * 2)
            values = values[:, values.shape[1] - rows * columns:].view(1, rows, columns)
        total += F.interpolate(values[None], seen, mode="bilinear", align_corners=False)[0, 0]
    # what does not fill a patch is not seen: it gets its neighbours' values
    return F.pad(total[None], (0, side[1] - seen[1], 0, side[0] - seen[0]), mode="replicate")[0]


def _pyramid(height: int, width: int) -> Tensor:
    """Weights (H, W) that fall linearly from the middle to the edges, where they are small but not 0."""
    rows, columns = (torch.minimum(torch.arange(1, side + 1), torch.arange(side, 0, -1))
                     for side in (height, width))
    return torch.outer(rows, columns)


def draw(values: Tensor, ref: Tensor, dis: Tensor, title: str, path: Path) -> None:
    """Draw the reference, the distorted image and the map over it, in the format of the suffix.

    Args:
        values: (H, W) map, from `difference_map`; distances at each pixel.
        ref, dis: (1, 3, H, W), RGB from 0 to 1.
        title: of the figure, such as the metric with its score.
        path: of the file.

    Raises:
        OSError: if the file cannot be written.
        ValueError: if matplotlib does not know the format.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # optional: a map needs no picture
    from matplotlib.figure import Figure

    height, width = values.shape
    figure = Figure(figsize=(12, 0.75 + 3.7 * height / width), layout="constrained")
    FigureCanvasAgg(figure)
    reference, distorted, over = figure.subplots(1, 3)
    for axes, image, name in ((reference, ref, "reference"), (distorted, dis, "distorted")):
        axes.imshow(np.asarray(image[0].permute(1, 2, 0).float().cpu().clamp(0, 1)))
        axes.set_title(name, fontsize=10)
    shown = np.asarray(values.float().cpu())
    most = max(float(shown.max()), 1e-12)
    grey = np.asarray(dis[0].mean(0).float().cpu())
    over.imshow(0.6 + 0.4 * grey, cmap="gray", vmin=0, vmax=1)  # pale, so that the colours stay bright
    # Equal places stay clear; the colour covers the image where the difference is large.
    layer = over.imshow(shown, cmap="YlOrRd", vmin=0, vmax=most, alpha=0.15 + 0.75 * shown / most)
    over.set_title("distance at each pixel", fontsize=10)
    for axes in (reference, distorted, over):
        axes.set_axis_off()
    figure.colorbar(layer, ax=over, shrink=0.8)
    figure.suptitle(title, fontsize=11)
    figure.savefig(path, dpi=100)
