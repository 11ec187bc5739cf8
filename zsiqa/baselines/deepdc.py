"""DeepDC (Zhu et al., IEEE TIP 2025): distance correlation of the channels of VGG19's maps.

Source: the package `DeepDC_PyTorch` 0.2. It cannot read a local file of weights, and needs a Python below
3.12, so we implement it here. It asks for the outputs of five convolutions, but the ReLU after each works in
place: four of the five maps are outputs of the ReLU. The last one has no ReLU after it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch
from torch import Tensor
from torchvision.models import vgg

from zsiqa.backbones.torchvision_backbone import Stages
from zsiqa.baselines.baseline import Baseline
from zsiqa.types import Features

ENDS = (3, 8, 17, 26, 34)  # relu1_2, relu2_2, relu3_4, relu4_4, conv5_4
DISTANCE_FLOOR, CONSTANT = 1e-5, 1e-6


class DeepDC(Baseline):
    """1 - mean over five maps of the distance correlation, whose samples are the channels.

    A distance, 0 for equal images. The encoding of an image is a matrix (B, C, C) for each map.

    Args:
        weights: torchvision's state dict of VGG19; None for random weights.
        normalize: `none` (the package), or `native`: ImageNet's mean and standard deviation, as in pyiqa.

    Raises:
        ValueError: if `normalize` is unknown.
        WeightsError: if the file does not fit.
    """

    least_side = 16

    def __init__(self, *, weights: Path | None, normalize: Literal["none", "native"] = "none") -> None:
        super().__init__()
        layers = vgg.make_layers(vgg.cfgs["E"])[:ENDS[-1] + 1]
        self.trunk = Stages(layers, ENDS, weights=weights, normalize=normalize)
        self.eval().requires_grad_(False)

    def encode(self, images: Tensor) -> Features:
        """Encode images (B, 3, H, W) as five matrices (B, C, C)."""
        _, *maps = self.trunk.maps(images)
        return tuple(centred_distances(x.flatten(2)) for x in maps)

    def compare(self, reference: Features, distorted: Features) -> Tensor:
        """Return (B,) distances."""
        correlations = []
        for x, y in zip(reference, distorted, strict=True):
            xy, xx, yy = ((one * other).sum((1, 2)) for one, other in ((x, y), (x, x), (y, y)))
            correlations.append((xy + CONSTANT) / ((xx * yy).sqrt() + CONSTANT))
        return 1 - torch.stack(correlations).mean(0)


def centred_distances(samples: Tensor) -> Tensor:
    """Compute distances of all samples (B, C, M) to each other, / C, without the means of rows and columns.

    Returns:
        (B, C, C).
    """
    products = samples @ samples.mT
    squares = products.diagonal(dim1=1, dim2=2)
    squared = (squares[:, :, None] + squares[:, None] - 2 * products).clamp(min=0) / samples.shape[1]**2
    distances = (squared + DISTANCE_FLOOR).sqrt()
    rows = distances.mean(2, keepdim=True)
    return distances - rows - rows.mT + rows.mean(1, keepdim=True)  # symmetric: means of columns = of rows
