"""LPIPS (Zhang et al., CVPR 2018): weighted differences of unit-length features of an ImageNet network.

Source: the package `lpips` 0.1.4. The weights of the heads are read from it; the trunks are torchvision's.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision.models import alexnet, vgg16

from zsiqa.backbones.state_dicts import StateDict, load_strictly, read_state_dict
from zsiqa.backbones.torchvision_backbone import Stages
from zsiqa.baselines.baseline import Baseline
from zsiqa.types import Features

ALEXNET_ENDS, ALEXNET_CHANNELS = (1, 4, 7, 9, 11), (64, 192, 384, 256, 256)  # the five ReLUs
VGG16_ENDS, VGG16_CHANNELS = (3, 8, 15, 22, 29), (64, 128, 256, 512, 512)  # relu1_2, 2_2, 3_3, 4_3, 5_3


class LPIPS(Baseline):
    """Sum over maps of the mean over positions of the weighted squared difference of unit-length features.

    A distance, 0 for equal images. The encoding of an image is its maps (B, C, H', W'), scaled to length 1 at
    each position.

    Args:
        trunk: the network; it returns the image itself, then the maps.
        channels: number of channels of each map.
        normalize: if True, scale [0, 1] to [-1, 1], for which LPIPS was trained.
        least_side: see `Baseline`.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, trunk: Stages, channels: Sequence[int], *, normalize: bool, least_side: int) -> None:
        super().__init__()
        self.trunk, self.normalize, self.least_side = trunk, normalize, least_side
        self.heads = nn.ModuleList(nn.Conv2d(count, 1, kernel_size=1, bias=False) for count in channels)
        self.register_buffer("shift", torch.tensor([-0.030, -0.088, -0.188]).view(1, 3, 1, 1))
        self.register_buffer("scale", torch.tensor([0.458, 0.448, 0.450]).view(1, 3, 1, 1))
        self.eval().requires_grad_(False)

    def encode(self, images: Tensor) -> Features:
        """Encode images (B, 3, H, W) as maps (B, C, H', W')."""
        pixels = 2 * images - 1 if self.normalize else images
        _, *maps = self.trunk.maps((pixels - self.shift) / self.scale)
        return tuple(x / (torch.linalg.vector_norm(x, dim=1, keepdim=True) + 1e-10) for x in maps)

    def compare(self, reference: Features, distorted: Features) -> Tensor:
        """Return (B,) distances."""
        return torch.stack([head((x - y).square_()).mean((1, 2, 3)) for head, x, y
                            in zip(self.heads, reference, distorted, strict=True)]).sum(0)


def lpips_alex(*, weights: Path | None, calibration: Path, normalize: bool = False) -> LPIPS:
    """Build LPIPS on AlexNet.

    Args:
        weights: torchvision's state dict of the network; None for random weights.
        calibration: file of the package `lpips` with the heads' weights.
        normalize: see `LPIPS`; the official code passes [0, 1] unchanged.

    Raises:
        WeightsError: if a file does not fit.
    """
    layers = alexnet(weights=None).features[:ALEXNET_ENDS[-1] + 1]
    trunk = Stages(layers, ALEXNET_ENDS, weights=weights)
    return _with_heads(LPIPS(trunk, ALEXNET_CHANNELS, normalize=normalize, least_side=31), calibration)


def lpips_vgg(*, weights: Path | None, calibration: Path, normalize: bool = False) -> LPIPS:
    """Build LPIPS on VGG16; see `lpips_alex`."""
    layers = vgg16(weights=None).features[:VGG16_ENDS[-1] + 1]
    trunk = Stages(layers, VGG16_ENDS, weights=weights)
    return _with_heads(LPIPS(trunk, VGG16_CHANNELS, normalize=normalize, least_side=16), calibration)


def rename_heads(state: StateDict) -> StateDict:
    """Rename the package's heads, e.g. `lin0.model.1.weight`, as in `LPIPS`, e.g. `heads.0.weight`."""
    return {re.sub(r"lin(\d)\.model\.1\.", r"heads.\1.", name): tensor for name, tensor in state.items()}


def _with_heads(model: LPIPS, calibration: Path) -> LPIPS:
    renamed = rename_heads(read_state_dict(calibration))
    state = {name.removeprefix("heads."): tensor for name, tensor in renamed.items()}
    load_strictly(model.heads, state, source=str(calibration))
    return model
