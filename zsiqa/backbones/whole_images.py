"""Whole images of any size for ViTs of timm: `window=null`. See docs/scale.md."""

from __future__ import annotations

from typing import Any

from timm.layers.format import Format
from timm.models.vision_transformer import VisionTransformer


def allow_any_size(model: Any) -> tuple[int, int]:
    """Let a model of timm take images of any size, as timm's option `dynamic_img_size` does.

    A ViT then resamples its position embedding to the image's grid of patches (bicubic, with antialiasing).
    For the size that it was built with, nothing changes.

    Returns:
        Height and width of a patch; an image's sides must be multiples of them. (1, 1) for other models.
    """
    if isinstance(model, VisionTransformer) and not model.dynamic_img_size:
        model.dynamic_img_size = True  # type: ignore[misc]  # final for TorchScript only
        embed = model.patch_embed
        embed.strict_img_size, embed.flatten, embed.output_fmt = False, False, Format.NHWC
    if not getattr(model, "dynamic_img_size", False):
        return 1, 1
    height, width = model.patch_embed.patch_size
    return height, width
