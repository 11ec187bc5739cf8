"""Geometric perturbations of an image pair, as in the paper's released code: docs/protocol.md section 2.

Source: ZS-IQA `utils.py` (`load_img`) at commit 1d8c1ce. All take 8-bit RGB PIL images (W x H) and use
Pillow's own resampling, because the authors' scores depend on its exact bits.

A perturbation has two functions of one image, `reference` and `distorted`. If `reference` returns the same
object that it was given, the reference is unchanged, and the engine encodes it only once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from PIL import Image


@dataclass(frozen=True)
class Original:
    """No perturbation; base class of the others."""

    def reference(self, image: Image.Image) -> Image.Image:
        """Perturb the reference (return the same object if it is unchanged)."""
        return image

    def distorted(self, image: Image.Image) -> Image.Image:
        """Perturb the distorted image; the result has the size of the perturbed reference."""
        return image


@dataclass(frozen=True)
class Translate(Original):
    """Shift the content left by o = ceil(percent/100 * W) pixels, by cropping *both* images.

    The reference keeps columns [0, W - o), the distorted image columns [o, W). With `keep_reference`, as the
    paper says: the reference is unchanged; the distorted image moves right by o, with black columns on its
    left.
    """

    percent: float = 1.0
    keep_reference: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.percent < 100:
            raise ValueError(f"percent must be at least 0 and less than 100, found {self.percent}")

    def _offset(self, image: Image.Image) -> int:
        return math.ceil(self.percent / 100.0 * image.width)

    def reference(self, image: Image.Image) -> Image.Image:
        """Crop the last columns (not with `keep_reference`)."""
        if self.keep_reference:
            return image
        return image.crop((0, 0, image.width - self._offset(image), image.height))

    def distorted(self, image: Image.Image) -> Image.Image:
        """Crop the first columns, or move the image right."""
        offset = self._offset(image)
        if self.keep_reference:  # Pillow fills pixels outside the image with black
            return image.crop((-offset, 0, image.width - offset, image.height))
        return image.crop((offset, 0, image.width, image.height))


@dataclass(frozen=True)
class Dilate(Original):
    """Enlarge the distorted image by about `percent` per side (bilinear), then crop the centre.

    A side s grows by e(s), the smallest even integer >= percent/100 * s. The crop spans [c - ceil(s/2), c +
    ceil(s/2)) with c = (s + e(s)) // 2. So the crop of an odd side is one pixel too large, and a last
    bilinear resize to W x H shrinks it (for even sides, this resize changes nothing).
    """

    percent: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.percent <= 100:
            raise ValueError(f"percent must be at least 0 and at most 100, found {self.percent}")

    def distorted(self, image: Image.Image) -> Image.Image:
        """Enlarge, then crop the centre."""
        enlarged = [side + 2 * math.ceil(self.percent / 100.0 * side / 2.0) for side in image.size]
        box = [(big // 2 - math.ceil(side / 2), big // 2 + math.ceil(side / 2))
               for big, side in zip(enlarged, image.size, strict=True)]
        (left, right), (top, bottom) = box
        grown = image.resize((enlarged[0], enlarged[1]), Image.Resampling.BILINEAR)
        return grown.crop((left, top, right, bottom)).resize(image.size, Image.Resampling.BILINEAR)


@dataclass(frozen=True)
class Rotate(Original):
    """Rotate the distorted image clockwise about its centre: the corners become black, the size is kept.

    Args:
        resample: `nearest` (the official code), `bilinear` or `bicubic`.
    """

    degrees: float = 1.0
    resample: str = "nearest"

    def __post_init__(self) -> None:
        if self.resample not in ("nearest", "bilinear", "bicubic"):
            raise ValueError(f"resample must be nearest, bilinear or bicubic, found {self.resample!r}")
        if not -180 <= self.degrees <= 180:
            raise ValueError(f"degrees must be between -180 and 180, found {self.degrees}")

    def distorted(self, image: Image.Image) -> Image.Image:
        """Rotate clockwise."""
        return image.rotate(-self.degrees, Image.Resampling[self.resample.upper()])
