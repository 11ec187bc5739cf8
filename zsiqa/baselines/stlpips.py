"""Shift-tolerant LPIPS (Ghildyal and Liu, ECCV 2022): LPIPS on networks with blurs in place of strides.

Source: the package `stlpips-pytorch` 0.0.2. Only its weights are read: its import needs packages that it does
not declare, and parts of its code are not free.
"""

from __future__ import annotations

import re
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import alexnet, vgg16

from zsiqa.backbones.state_dicts import load_strictly, read_state_dict
from zsiqa.backbones.torchvision_backbone import Stages
from zsiqa.baselines.lpips import (
    ALEXNET_CHANNELS,
    ALEXNET_ENDS,
    LPIPS,
    VGG16_CHANNELS,
    VGG16_ENDS,
    rename_heads,
)


class BlurPool(nn.Module):
    """3 x 3 binomial blur with stride 2 and reflection at the borders: (B, C, H, W), H and W about halved."""

    filter: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        side = torch.tensor([1.0, 2.0, 1.0]) / 4
        self.register_buffer("filter", torch.outer(side, side).expand(channels, 1, 3, 3).clone())

    def forward(self, x: Tensor) -> Tensor:
        """Blur a batch of maps; H and W must be at least 3."""
        return F.conv2d(F.pad(x, (2, 2, 2, 2), mode="reflect"), self.filter, stride=2, groups=x.shape[1])


def shift_tolerant(layers: nn.Sequential) -> nn.Sequential:
    """Replace every stride (2 or 4) by stride 1 and a blur of stride 2 after the layer."""
    changed: list[nn.Module] = []
    channels = 0
    for layer in layers:
        changed.append(layer)
        if isinstance(layer, nn.Conv2d):
            channels = layer.out_channels
        if isinstance(layer, nn.Conv2d | nn.MaxPool2d) and layer.stride not in (1, (1, 1)):
            layer.stride = (1, 1)
            changed.append(BlurPool(channels))
    return nn.Sequential(*changed)


def stlpips_alex(*, weights: Path | None, normalize: bool = True) -> LPIPS:
    """Build ST-LPIPS on AlexNet.

    Args:
        weights: file of the package `stlpips-pytorch` for network and heads; None for random weights.
        normalize: if True, scale [0, 1] to [-1, 1], as pyiqa does, which the authors used.

    Raises:
        WeightsError: if the file does not fit.
    """
    layers = shift_tolerant(alexnet(weights=None).features[:ALEXNET_ENDS[-1] + 1])
    trunk = Stages(layers, (2, 6, 10, 12, 14), weights=None)
    return _loaded(LPIPS(trunk, ALEXNET_CHANNELS, normalize=normalize, least_side=21), weights)


def stlpips_vgg(*, weights: Path | None, normalize: bool = True) -> LPIPS:
    """Build ST-LPIPS on VGG16; see `stlpips_alex`."""
    layers = shift_tolerant(vgg16(weights=None).features[:VGG16_ENDS[-1] + 1])
    trunk = Stages(layers, (3, 9, 17, 25, 33), weights=None)
    return _loaded(LPIPS(trunk, VGG16_CHANNELS, normalize=normalize, least_side=18), weights)


def _loaded(model: LPIPS, weights: Path | None) -> LPIPS:
    if weights is not None:
        renamed = {re.sub(r"net\.slice\d\.", "trunk.features.", name).replace(".filt", ".filter")
                   .removeprefix("scaling_layer."): tensor
                   for name, tensor in rename_heads(read_state_dict(weights)).items()}
        load_strictly(model, renamed, source=str(weights))
    return model
