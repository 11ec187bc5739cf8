"""Geometric perturbations of an image pair, as in the paper's released code: docs/protocol.md section 2.

Source: ZS-IQA `utils.py` (`load_img`) at commit 1d8c1ce. All take 8-bit RGB PIL images (W x H) and use
Pillow's own resampling, because the authors' scores depend on its exact bits.

A perturbation has two functions of one image, `reference` and `distorted`. If `reference` returns the same
object that it was given, the reference is unchanged, and the engine encodes it only once.

The strength of a perturbation is its *level*, and names of score files say it: `rotate_0.25deg`. The paper's
three points have short names: `translate` (1 % of the width), `dilate` (1 %), `rotate` (1 degree).
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from typing import NamedTuple

from PIL import Image

# Units of a level, by the option that sets it.
UNITS = {"pixels": "px", "percent": "pct", "degrees": "deg"}


class Level(NamedTuple):
    """Strength of a perturbation.

    Attributes:
        family: `translate_x` (horizontal), `translate_y` (vertical), `dilate` or `rotate`.
        value: in the unit; 0 leaves the image as it is.
        unit: `px`; `pct`, percent of the side (translation: of the width or the height); or `deg`.
    """

    family: str
    value: float
    unit: str


PAPER = {"translate": Level("translate_x", 1.0, "pct"), "dilate": Level("dilate", 1.0, "pct"),
         "rotate": Level("rotate", 1.0, "deg")}
FAMILIES = {"translate_x": ("px", "pct"), "translate_y": ("px", "pct"), "dilate": ("pct",),
            "rotate": ("deg",)}
_NAME = re.compile(r"(translate_x|translate_y|dilate|rotate)_(-?[0-9][0-9.e+-]*)(px|pct|deg)")


def name_of(level: Level) -> str:
    """Name a perturbation at a level, as its score file is named.

    Raises:
        ValueError: if the family or its unit is unknown, or the value has more than six digits.

    Examples:
        >>> name_of(Level("rotate", 0.25, "deg")), name_of(Level("rotate", 1, "deg"))
        ('rotate_0.25deg', 'rotate')
        >>> name_of(Level("translate_y", 0, "px"))
        'original'
    """
    family, value, unit = level
    if unit not in FAMILIES.get(family, ()):
        raise ValueError(f"expected one of {FAMILIES}, found {family!r} in {unit!r}")
    number = f"{value:g}"
    if float(number) != value:
        raise ValueError(f"a level has at most six digits, found {value!r}")
    if value == 0:
        return "original"
    return next((name for name, known in PAPER.items() if known == level), f"{family}_{number}{unit}")


def level_of(name: str) -> Level | None:
    """Read the level from the name of a perturbation: the inverse of `name_of`.

    Returns:
        None for `original`, which is level 0 of every family and unit, and for any name that `name_of` does
        not give.

    Examples:
        >>> level_of("translate_x_3px"), level_of("dilate")
        (Level(family='translate_x', value=3.0, unit='px'), Level(family='dilate', value=1.0, unit='pct'))
        >>> level_of("original"), level_of("shear")
        (None, None)
    """
    if name in PAPER:
        return PAPER[name]
    match = _NAME.fullmatch(name)
    try:
        level = Level(match[1], float(match[2]), match[3]) if match else None
        return level if level and name_of(level) == name else None
    except ValueError:
        return None


@dataclass(frozen=True)
class Original:
    """No perturbation; base class of the others."""

    def at_size(self, size: tuple[int, int]) -> Original:  # noqa: ARG002 - of the interface
        """Return what it does to images of one size (W, H): perturbations that do the same become equal.

        The engine encodes equal ones once. Any perturbation may return itself.
        """
        return self

    def reference(self, image: Image.Image) -> Image.Image:
        """Perturb the reference (return the same object if it is unchanged)."""
        return image

    def distorted(self, image: Image.Image) -> Image.Image:
        """Perturb the distorted image; the result has the size of the perturbed reference."""
        return image


@dataclass(frozen=True)
class Translate(Original):
    """Shift the content left (axis `x`) or up (`y`) by o pixels, by cropping *both* images.

    Of the side s (the width or the height), the reference keeps pixels [0, s - o), the distorted image pixels
    [o, s). With `keep_reference`, as the paper says: the reference is unchanged; the distorted image moves
    right or down by o, with black pixels where it came from.

    Args:
        percent: o = ceil(percent/100 * s); 1 if neither `percent` nor `pixels` is given.
        pixels: o itself, a whole number.
    """

    percent: float | None = None
    keep_reference: bool = False
    pixels: int | None = None
    axis: str = "x"

    def __post_init__(self) -> None:
        if self.axis not in ("x", "y"):
            raise ValueError(f"axis must be x or y, found {self.axis!r}")
        if self.percent is not None and self.pixels is not None:
            raise ValueError(f"give percent or pixels, not both; found {self.percent} and {self.pixels}")
        if self.percent is not None and not 0 <= self.percent < 100:
            raise ValueError(f"percent must be at least 0 and less than 100, found {self.percent}")
        if self.pixels is not None and (self.pixels < 0 or self.pixels != int(self.pixels)):
            raise ValueError(f"pixels must be a whole number of at least 0, found {self.pixels}")

    @property
    def level(self) -> Level:
        """The strength."""
        family = f"translate_{self.axis}"
        if self.pixels is not None:
            return Level(family, float(self.pixels), "px")
        return Level(family, 1.0 if self.percent is None else float(self.percent), "pct")

    def _offset(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return the shift along the width and along the height, at most the whole side."""
        _, value, unit = self.level
        side = size[0] if self.axis == "x" else size[1]
        offset = min(side, int(value) if unit == "px" else math.ceil(value / 100.0 * side))
        return (offset, 0) if self.axis == "x" else (0, offset)

    def at_size(self, size: tuple[int, int]) -> Translate:
        """Return the translation by the same number of pixels."""
        return replace(self, percent=None, pixels=max(self._offset(size)))

    def reference(self, image: Image.Image) -> Image.Image:
        """Crop the last columns or rows (not with `keep_reference`)."""
        right, down = self._offset(image.size)
        if self.keep_reference or not (right or down):
            return image
        return image.crop((0, 0, image.width - right, image.height - down))

    def distorted(self, image: Image.Image) -> Image.Image:
        """Crop the first columns or rows, or move the image right or down."""
        right, down = self._offset(image.size)
        if self.keep_reference:  # Pillow fills pixels outside the image with black
            return image.crop((-right, -down, image.width - right, image.height - down))
        return image.crop((right, down, image.width, image.height))


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

    @property
    def level(self) -> Level:
        """The strength."""
        return Level("dilate", float(self.percent), "pct")

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

    @property
    def level(self) -> Level:
        """The strength."""
        return Level("rotate", float(self.degrees), "deg")

    def distorted(self, image: Image.Image) -> Image.Image:
        """Rotate clockwise."""
        return image.rotate(-self.degrees, Image.Resampling[self.resample.upper()])
