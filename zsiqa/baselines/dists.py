"""DISTS (Ding et al., IEEE TPAMI 2022): means and covariances of VGG16's maps.

Source: the package `DISTS_pytorch` 0.1. The weights of the maps' channels are read from it; VGG16 is
torchvision's.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from torchvision.models import vgg16

from zsiqa.backbones.state_dicts import load_strictly, read_state_dict
from zsiqa.backbones.torchvision_backbone import L2Pooling, Stages
from zsiqa.baselines.baseline import Baseline
from zsiqa.baselines.lpips import VGG16_CHANNELS, VGG16_ENDS
from zsiqa.types import Features

POOLS = {4: 64, 9: 128, 16: 256, 23: 512}  # layer: channels
CHANNELS = (3, *VGG16_CHANNELS)  # of the image and the five maps
C1 = C2 = 1e-6


class DISTS(Baseline):
    """1 - weighted mean of the similarities of means (texture) and of covariances (structure), by channel.

    A distance, 0 for equal images. The encoding of an image is the image and five maps of VGG16 with l2
    pooling, (B, C, H', W').

    Args:
        weights: torchvision's state dict of VGG16; None for random weights.
        calibration: file of the package `DISTS_pytorch` with the channels' weights `alpha` and `beta`.

    Raises:
        WeightsError: if a file does not fit.
    """

    alpha: Tensor
    beta: Tensor

    def __init__(self, *, weights: Path | None, calibration: Path) -> None:
        super().__init__()
        for name in ("alpha", "beta"):
            self.register_buffer(name, torch.empty(1, sum(CHANNELS), 1, 1))
        load_strictly(self, read_state_dict(calibration), source=str(calibration))
        layers = vgg16(weights=None).features[:VGG16_ENDS[-1] + 1]
        for number, channels in POOLS.items():
            layers[number] = L2Pooling(channels)
        self.trunk = Stages(layers, VGG16_ENDS, weights=weights, normalize="native")
        self.eval().requires_grad_(False)

    def encode(self, images: Tensor) -> Features:
        """Return images (B, 3, H, W) and their five maps (B, C, H', W')."""
        return tuple(self.trunk.maps(images))

    def compare(self, reference: Features, distorted: Features) -> Tensor:
        """Return (B,) distances."""
        total = self.alpha.sum() + self.beta.sum()
        weights = torch.cat([self.alpha, self.beta]).flatten(1) / total  # 2, channels
        alphas, betas = (torch.split(row, list(CHANNELS)) for row in weights)
        similarity = torch.zeros_like(reference[0][:, 0, 0, 0])
        for x, y, alpha, beta in zip(reference, distorted, alphas, betas, strict=True):
            x_mean, y_mean = x.mean((2, 3)), y.mean((2, 3))  # B, C
            variances = x.var((2, 3), correction=0) + y.var((2, 3), correction=0)
            covariance = (x * y).mean((2, 3)) - x_mean * y_mean
            texture = (2 * x_mean * y_mean + C1) / (x_mean.square() + y_mean.square() + C1)
            structure = (2 * covariance + C2) / (variances + C2)
            similarity = similarity + texture @ alpha + structure @ beta
        return 1 - similarity
