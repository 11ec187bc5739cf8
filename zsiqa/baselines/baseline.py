"""What a baseline is: images to what is kept of them, and the comparison of two images by what is kept."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

Features = tuple[Tensor, ...]  # as in zsiqa.distances; the batch is the first axis of each


class Baseline(nn.Module, ABC):
    """A full-reference metric of whole images.

    Calling it with references and distorted images, both (B, 3, H, W), RGB in [0, 1], returns (B,) scores. The engine
    calls its two halves instead, so that whatever concerns one image alone is computed once for each reference.

    Attributes:
        least_side: the shortest side in pixels that it can score.
    """

    least_side: int = 1

    def encode(self, images: Tensor) -> Features:
        """What `compare` needs of the images (B, 3, H, W): by default, the images."""
        return (images,)

    @abstractmethod
    def compare(self, reference: Features, distorted: Features) -> Tensor:
        """(B,) scores from what `encode` made of references and of distorted images."""

    def forward(self, reference: Tensor, distorted: Tensor) -> Tensor:
        """(B,) scores; see the class."""
        return self.compare(self.encode(reference), self.encode(distorted))


class Baselines(nn.ModuleDict):
    """Several baselines, as the engine takes them: images (B, 3, H, W) to one `Features` a baseline, by name."""

    def forward(self, images: Tensor) -> dict[str, Features]:
        """See the class."""
        return {name: baseline.encode(images) for name, baseline in self.items()}  # type: ignore[operator]
