"""Build the backbone of a configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from zsiqa.backbones.frozen import FrozenBackbone
from zsiqa.config import instantiate


def build_model(cfg: DictConfig, weights: Path | None) -> Any:
    """Build the backbone of a configuration; with window=null, it takes images of any size if it can.

    Args:
        weights: file of the backbone; None for random weights.
    """
    backbone = instantiate(cfg.backbone.model, weights=weights)
    if cfg.window is None and isinstance(backbone, FrozenBackbone):
        backbone.allow_any_size()
    return backbone


def least_side(cfg: DictConfig, backbone: Any) -> tuple[int, str]:
    """Return the shortest side of an image that a backbone can encode, in pixels, and the reason."""
    patch = max(getattr(backbone, "patch", (1, 1)))
    return patch, f"{cfg.backbone.name} needs sides of at least {patch} pixels, a patch"
