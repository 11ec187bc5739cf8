"""DMM (Chen et al., IEEE TMM 2025): singular values and bases of patches of VGG16's maps.

Source: the package `DMM_PyTorch` 0.1. It cannot read a local file of weights, so we implement it here. A
reference's decompositions, which take most of the time, are computed only once.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from torchvision.models import vgg16

from zsiqa.backbones.torchvision_backbone import L2Pooling, Stages
from zsiqa.baselines.baseline import Baseline
from zsiqa.types import Features

ENDS, POOLS = (15, 22), {4: 64, 9: 128, 16: 256}  # relu3_3, relu4_3; layer: channels
PATCH, STEP = 16, 4  # pixels of a map
CONSTANT = 1e-6


class DMM(Baseline):
    """Sum over two maps of the distance of singular values, weighted by how unequally the bases agree.

    A distance, 0 for equal images. Each channel of a map is cut into P patches of 16 x 16. The encoding of an
    image is, for each map, the channels' means (B, C), the patches' singular values (B, C, P, 16) and the
    magnitudes of their left singular vectors (B, C, P, 16, 16): 235 MB for 512 x 384 pixels.

    Singular vectors of a patch whose rank is below 16, as is common after a ReLU, are not unique. So scores
    depend on the library that computes them, by up to 2 % in our tests.

    Args:
        weights: torchvision's state dict of VGG16; None for random weights.

    Raises:
        WeightsError: if the file does not fit.
    """

    least_side = 121  # then relu4_3 has 16 x 16

    def __init__(self, *, weights: Path | None) -> None:
        super().__init__()
        layers = vgg16(weights=None).features[:ENDS[-1] + 1]
        for number, channels in POOLS.items():
            layers[number] = L2Pooling(channels)
        self.trunk = Stages(layers, ENDS, weights=weights)
        self.eval().requires_grad_(False)

    def encode(self, images: Tensor) -> Features:
        """Encode images (B, 3, H, W) as means, singular values and bases of two maps."""
        _, *maps = self.trunk.maps(images)
        return tuple(part for x in maps for part in (x.mean((2, 3)), *decompose(x)))

    def compare(self, reference: Features, distorted: Features) -> Tensor:
        """Return (B,) distances."""
        total = torch.zeros_like(reference[0][:, 0])
        for first in range(0, len(reference), 3):
            (x_mean, x_values, x_bases), (y_mean, y_values, y_bases) = (
                parts[first:first + 3] for parts in (reference, distorted))
            agreement = (x_bases * y_bases).sum(-1)  # B, C, P, 16
            weight = agreement.std(-1) / (agreement.mean(-1) + 1e-9)
            local = ((x_values - y_values).square().sum(-1) * weight).mean((1, 2))
            similarity = (2 * x_mean * y_mean + CONSTANT) / (x_mean.square() + y_mean.square() + CONSTANT)
            total = total + local * (-2 * similarity.mean(1)).exp()
        return total


def decompose(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Compute singular values and magnitudes of left singular vectors of all (transposed) patches of maps.

    Args:
        maps: (B, C, H, W).

    Returns:
        (B, C, P, 16), largest first, and (B, C, P, 16, 16).
    """
    values, bases = [], []
    for one in maps:  # patches overlap, and need 16 times the memory of the maps
        patches = one.unfold(1, PATCH, STEP).unfold(2, PATCH, STEP).flatten(1, 2)  # C, P, rows, columns
        left, singular, _ = torch.linalg.svd(patches.mT.contiguous())
        values.append(singular)
        bases.append(left.abs_())
    return torch.stack(values), torch.stack(bases)
