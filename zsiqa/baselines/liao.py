"""DeepWSD, DeepJSD and DeepKLD (Liao et al., IEEE TIP 2024) as their authors run them.

Source: the twelve files `Deep{WSD,JSD,KLD}_{VGG,Efficient,MobileNet,Squeeze}.py` of their repository
(Deep-network-based-distribution-measures-for-full-reference-image-quality-assessment) at commit b2c8993.
Each is a variant of its own: configs/baseline has their options, docs/baselines.md compares them.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Protocol

from torch import Tensor

from zsiqa.backbones.torchvision_backbone import Stages
from zsiqa.baselines.baseline import Baseline
from zsiqa.distances import ColumnDistance
from zsiqa.types import Features


class Scale(Protocol):
    """Scale interface: resize images; see `zsiqa.scoring.scaling`."""

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Return height and width after scaling."""

    def __call__(self, images: Tensor) -> Tensor:
        """Scale images (B, C, H, W)."""


class DeepDistribution(Baseline):
    """Distance of distributions between the maps of a CNN, on whole images that are first pooled.

    A distance, 0 for equal images: log(1 + mean over maps)^0.25. It is not finite where the formula has no
    value, such as a softmax that underflows without an epsilon.

    Args:
        network: builds the network from a file of weights: a function of
            `zsiqa.backbones.torchvision_backbone`.
        distance: SKLD, JSD or WSD, with the options of the variant.
        scale: of the metric itself, before the network; a run's `scale` comes before it.
        least_side: smallest side of an image after scaling, in pixels. From smaller ones the network makes a
            map with a side of at most 4 pixels, which rounds to 0 windows of 8.
        weights: torchvision's state dict; None for random weights.

    Raises:
        WeightsError: if the file does not fit.
    """

    def __init__(self, *, network: Callable[..., Stages], distance: ColumnDistance, scale: Scale,
                 least_side: int, weights: Path | None) -> None:
        super().__init__()
        self.trunk = network(weights=weights)
        self.distance, self.scale, self.least_side = distance, scale, least_side
        self._encoder = (getattr(network, "func", network), scale, weights or id(self))
        self.requires_grad_(False)

    @property
    def encoder(self) -> Hashable:
        """Network, scale and file of weights; unique with random weights. See `Baseline`."""
        return self._encoder

    def check_size(self, height: int, width: int) -> None:
        """Check the size of an image once scaled; see `Baseline`."""
        size = self.scale.size(height, width)
        if min(size) < self.least_side:
            scaled = "" if size == (height, width) else f", and pools this image to {size[1]} x {size[0]}"
            raise ValueError(f"needs sides of at least {self.least_side} pixels{scaled}")

    def encode(self, images: Tensor) -> Features:
        """Return the image and the network's maps, (B, 1, C, H', W') each."""
        features: Features = self.trunk(self.scale(images))["features"]
        return features

    def compare(self, reference: Features, distorted: Features) -> Tensor:
        """Return (B,) distances."""
        return self.distance(reference, distorted)
