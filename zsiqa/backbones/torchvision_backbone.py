"""CNNs of torchvision as Liao et al. (IEEE TIP 2024) use them, on whole images.

See docs/protocol.md section 6 for VGG19 and EfficientNet-B7, docs/baselines.md for the others.

Source: the code of their repository
(Deep-network-based-distribution-measures-for-full-reference-image-quality-assessment) at commit b2c8993; the
networks are torchvision's.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import efficientnet_b7, mobilenet_v3_small, squeezenet1_0, squeezenet1_1, vgg

from zsiqa.backbones.frozen import at_least_float32
from zsiqa.backbones.state_dicts import StateDict, load_strictly, read_state_dict
from zsiqa.types import Features, check_choice

VGG19_ENDS = (3, 8, 17, 26, 35)  # relu1_2, relu2_2, relu3_4, relu4_4, relu5_4
VGG19_POOLS = {4: 64, 9: 128, 18: 256, 27: 512}  # layer: channels
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
EFFICIENTNET_B7_ENDS = (1, 2, 3, 4, 5, 6, 7)
MOBILENET_V3_SMALL_ENDS = (3, 6, 8, 11, 12)
SQUEEZENET1_0_ENDS = (1, 5, 10, 12)
SQUEEZENET1_1_ENDS = (1, 4, 7, 12)


class Stages(nn.Module):
    """A frozen sequence of layers; the features are the image itself and the outputs of some layers.

    Call it with images (B, 3, H, W), RGB in [0, 1]. It returns `features`: one stack (B, 1, C, H', W') per
    map, contiguous, float32 (float64 from a float64 model). There is no embedding.

    Args:
        layers: torchvision's `features`, up to the last layer that is needed.
        ends: indices of the layers whose outputs are features.
        weights: torchvision's state dict; entries of later layers are ignored. None for random weights.
        normalize: `none` (the official code), or `native`: ImageNet's mean and standard deviation. It applies
            to the input of the layers, not to the image as the first map.
        train_mode: keep the model in training mode (statistics of the batch, stochastic depth), as the
            authors ran EfficientNet-B7. Otherwise it is in evaluation mode.

    Raises:
        ValueError: if an option is unknown.
        WeightsError: if the weights do not fit.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, layers: nn.Sequential, ends: Sequence[int], *, weights: Path | None,
                 normalize: Literal["none", "native"] = "none", train_mode: bool = False) -> None:
        super().__init__()
        check_choice("normalize", normalize, ("none", "native"))
        self.features = layers
        self.ends = frozenset(ends)
        self._train_mode = train_mode
        if weights is not None:
            load_strictly(self, _first_layers(read_state_dict(weights), len(layers)), source=str(weights))
        native = normalize == "native"
        for name, value, nothing in (("mean", IMAGENET_MEAN, 0.0), ("std", IMAGENET_STD, 1.0)):
            used = torch.tensor(value if native else (nothing,) * 3)
            self.register_buffer(name, used.view(3, 1, 1), persistent=False)
        self.to(memory_format=torch.channels_last).train(train_mode).requires_grad_(False)

    def forward(self, images: Tensor) -> dict[str, Features]:
        """Return the `features` of images (B, 3, H, W), RGB in [0, 1]; see the class.

        Raises:
            RuntimeError: if the mode (training or evaluation) was changed after construction.
        """
        maps = self.maps(images)
        return {"features": tuple(at_least_float32(x.unsqueeze(1)).contiguous() for x in maps)}

    def maps(self, images: Tensor) -> list[Tensor]:
        """Return images (B, 3, H, W) and the outputs (B, C, H', W') of the stages, in any memory layout.

        Raises:
            RuntimeError: if the mode (training or evaluation) was changed after construction.
        """
        if any(module.training for module in self.modules()) != self._train_mode:
            raise RuntimeError(f"someone changed the backbone's mode; call .train({self._train_mode})")
        maps = [images]
        x = (images - self.mean) / self.std
        for number, layer in enumerate(self.features):
            x = layer(x)
            if number in self.ends:
                maps.append(x)
        return maps


def vgg19(*, weights: Path | None, normalize: Literal["none", "native"] = "none") -> Stages:
    """VGG19 with l2 pooling: the image and five maps of 64 to 512 channels. See `Stages`."""
    layers = vgg.make_layers(vgg.cfgs["E"])[:VGG19_ENDS[-1] + 1]
    for number, channels in VGG19_POOLS.items():
        layers[number] = L2Pooling(channels)
    for layer in layers:
        if isinstance(layer, nn.ReLU):
            layer.inplace = False  # in place, it would change a map that is already kept
    return Stages(layers, VGG19_ENDS, weights=weights, normalize=normalize)


def efficientnet_b7_stages(*, weights: Path | None, normalize: Literal["none", "native"] = "none",
                           train_mode: bool = False) -> Stages:
    """EfficientNet-B7: the image and seven maps of 32 to 640 channels. See `Stages`."""
    layers = efficientnet_b7(weights=None).features[:EFFICIENTNET_B7_ENDS[-1] + 1]
    return Stages(layers, EFFICIENTNET_B7_ENDS, weights=weights, normalize=normalize, train_mode=train_mode)


def mobilenet_v3_small_stages(*, weights: Path | None) -> Stages:
    """MobileNetV3-small: the image and five maps of 24 to 576 channels. See `Stages`."""
    return Stages(mobilenet_v3_small(weights=None).features, MOBILENET_V3_SMALL_ENDS, weights=weights)


def squeezenet1_0_stages(*, weights: Path | None) -> Stages:
    """SqueezeNet 1.0: the image and four maps of 96, 256, 512 and 512 channels. See `Stages`."""
    return Stages(squeezenet1_0(weights=None).features, SQUEEZENET1_0_ENDS, weights=weights)


def squeezenet1_1_stages(*, weights: Path | None) -> Stages:
    """SqueezeNet 1.1: the image and four maps of 64, 128, 256 and 512 channels. See `Stages`."""
    return Stages(squeezenet1_1(weights=None).features, SQUEEZENET1_1_ENDS, weights=weights)


class L2Pooling(nn.Module):
    """Root of the locally weighted mean of squares: (B, C, H, W) to (B, C, ceil(H / 2), ceil(W / 2))."""

    filter: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        side = torch.tensor([1.0, 2.0, 1.0]) / 4
        self.register_buffer("filter", torch.outer(side, side).expand(channels, 1, 3, 3).clone(),
                             persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Pool a batch of maps; see the class."""
        return (F.conv2d(x.square(), self.filter, stride=2, padding=1, groups=x.shape[1]) + 1e-12).sqrt()


def _first_layers(state: StateDict, count: int) -> StateDict:
    """Return the entries of the first `count` layers, without those of later layers and of the classifier."""
    def is_later(name: str) -> bool:
        part, _, rest = name.partition(".")
        number = rest.partition(".")[0]
        return part == "classifier" or (part == "features" and number.isdigit() and int(number) >= count)

    return {name: tensor for name, tensor in state.items() if not is_later(name)}
