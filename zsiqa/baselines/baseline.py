"""Baseline interface: `encode` an image, `compare` two encodings."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable
from typing import Any

from torch import Tensor, nn

from zsiqa.types import Features


class Baseline(nn.Module, ABC):
    """A full-reference metric of whole images.

    Call it with references and distorted images, both (B, 3, H, W), RGB in [0, 1]. It returns (B,) scores.
    The engine calls `encode` and `compare` instead, so that each reference is encoded only once.

    Attributes:
        least_side: the smallest height or width of an image that it can score, in pixels.
    """

    least_side: int = 1

    @property
    def encoder(self) -> Hashable:
        """Key that is equal for baselines that encode images in the same way; by default, unique."""
        return id(self)

    def check_size(self, height: int, width: int) -> None:
        """Check the size of an image.

        Raises:
            ValueError: if it is too small; the text follows the baseline's name.
        """
        if min(height, width) < self.least_side:
            raise ValueError(f"needs sides of at least {self.least_side} pixels")

    def encode(self, images: Tensor) -> Features:
        """Encode images (B, 3, H, W) for `compare`; by default, the images themselves."""
        return (images,)

    @abstractmethod
    def compare(self, reference: Features, distorted: Features) -> Tensor:
        """Return (B,) scores from the encodings of references and of distorted images."""

    def forward(self, reference: Tensor, distorted: Tensor) -> Tensor:
        """Return (B,) scores; see the class."""
        return self.compare(self.encode(reference), self.encode(distorted))


class Baselines(nn.ModuleDict):
    """Several baselines as one module for the engine, by name."""

    def forward(self, images: Tensor) -> dict[str, Features]:
        """Encode images (B, 3, H, W) with each baseline: one `Features` per name.

        Baselines with an equal `encoder` share one encoding.
        """
        by_encoder: dict[Hashable, Any] = {baseline.encoder: baseline for baseline in self.values()}
        encoded = {key: baseline.encode(images) for key, baseline in by_encoder.items()}
        return {name: encoded[baseline.encoder] for name, baseline in self.items()}
