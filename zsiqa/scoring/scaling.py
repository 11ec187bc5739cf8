"""Scales: the sizes at which images are scored. See docs/scale.md.

A scale is applied to both images of a pair, after the perturbation and before tiling. Resampled values are
not rounded to 8 bits, so a scale is differentiable, and the same for files and for tensors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class Native:
    """The images' own size; base class of the other scales."""

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Return height and width after scaling.

        Raises:
            ValueError: if nothing would be left of a side.
        """
        return height, width

    def __call__(self, images: Tensor) -> Tensor:
        """Scale images.

        Args:
            images: (B, C, H, W), of any type and range.

        Returns:
            (B, C, H', W') in the same range, float32 or the images' own type if that is float64; the same
            object if the size does not change.

        Raises:
            ValueError: if nothing would be left of a side.
        """
        size = self.size(images.shape[-2], images.shape[-1])
        if size == tuple(images.shape[-2:]):
            return images
        images = images.to(torch.promote_types(images.dtype, torch.float32))
        scaled = self.resample(images, size)
        # Means of pixels lie within the image's range, except for rounding: white would become 1.0000001.
        clamped = scaled.clamp(images.amin((1, 2, 3), keepdim=True), images.amax((1, 2, 3), keepdim=True))
        return scaled + (clamped - scaled).detach()  # exactly `clamped`, with the gradient of `scaled`

    def pixels(self, image: Image.Image) -> np.ndarray:
        """Scale a PIL image.

        Returns:
            (H', W', 3): float32 in [0, 255], or the image's own uint8 if the size does not change.

        Raises:
            ValueError: if nothing would be left of a side.
        """
        if self.size(image.height, image.width) == (image.height, image.width):
            return np.asarray(image)
        pixels = torch.from_numpy(np.array(image))  # a copy: PIL's own memory is read-only
        scaled: np.ndarray = self(pixels.permute(2, 0, 1)[None])[0].permute(1, 2, 0).numpy()
        return scaled

    def resample(self, images: Tensor, size: tuple[int, int]) -> Tensor:  # noqa: ARG002 - nothing to do
        """Resample floating images (B, C, H, W) to another size; called only if it differs."""
        return images


@dataclass(frozen=True)
class AveragePooling(Native):
    """Average pooling by f x f pixels, f = max(1, round(max(H, W) / side)).

    Halves are rounded to even. The last rows and columns that do not fill a square of f x f are cut.

    Source: `downsample` in `utils.py` of Liao et al. (IEEE TIP 2024) at commit b2c8993, side 256.
    """

    side: int

    def __post_init__(self) -> None:
        check_side(self.side)

    def factor(self, height: int, width: int) -> int:
        """Return f."""
        return max(1, round(max(height, width) / self.side))

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Return height and width after scaling; see `Native`."""
        factor = self.factor(height, width)
        if min(height, width) < factor:
            raise ValueError(f"pooling by {factor} x {factor} leaves nothing of a side of "
                             f"{min(height, width)} pixels; choose another scale")
        return height // factor, width // factor

    def resample(self, images: Tensor, size: tuple[int, int]) -> Tensor:  # noqa: ARG002 - follows from f
        """Average squares of f x f; see `Native`."""
        return F.avg_pool2d(images, self.factor(images.shape[-2], images.shape[-1]))


@dataclass(frozen=True)
class ShortSide(Native):
    """Bilinear resize with antialiasing, to a short side of `side` pixels; the aspect ratio is kept.

    The long side is rounded down. Without `enlarge`, images with a smaller short side keep their size.

    Source: `prepare_image` in `DISTS_pt.py` of DISTS (Ding et al., IEEE TPAMI 2022) at commit 1267d8c, side
    256. It calls torchvision on a PIL image, which uses this filter and rounds its result to 8 bits.
    """

    side: int
    enlarge: bool = False

    def __post_init__(self) -> None:
        check_side(self.side)

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Return height and width after scaling; see `Native`."""
        short = min(height, width)
        if short == self.side or (short < self.side and not self.enlarge):
            return height, width
        return self.side * height // short, self.side * width // short

    def resample(self, images: Tensor, size: tuple[int, int]) -> Tensor:
        """Resize; see `Native`."""
        return F.interpolate(images, size, mode="bilinear", antialias=True)


@dataclass(frozen=True)
class ReflectPad(Native):
    """Another scale, and then sides of at least `least` pixels, padded on the right and below by reflection.

    An image with a side of one pixel is padded by repetition.
    """

    scale: Native
    least: int

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Return height and width after scaling and padding; see `Native`."""
        scaled = self.scale.size(height, width)
        return max(scaled[0], self.least), max(scaled[1], self.least)

    def __call__(self, images: Tensor) -> Tensor:
        """Scale and pad images; see `Native`."""
        images = self.scale(images)
        sides = images.shape[-2:]
        mode: Literal["reflect", "edge"] = "reflect" if min(sides) > 1 else "edge"
        rows, columns = (torch.from_numpy(np.pad(np.arange(side), (0, max(0, self.least - side)), mode))
                         for side in sides)
        return images[..., rows[:, None], columns] if max(self.least - min(sides), 0) else images


def check_side(side: object) -> None:
    """Check a scale's number of pixels.

    Raises:
        ValueError: if it is not a whole number of at least 1.
    """
    if not isinstance(side, int) or isinstance(side, bool) or side < 1:
        raise ValueError(f"side must be a whole number of at least 1, found {side!r}")
