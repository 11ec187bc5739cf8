"""SSIM, GMSD, VSI and others, each by the function of the library piq: docs/baselines.md."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from zsiqa.baselines.baseline import Baseline
from zsiqa.types import Features, ZsiqaError, missing_package

try:
    import piq
except ModuleNotFoundError as error:
    raise missing_package("this baseline", "piq") from error


class PiqFunction(Baseline):
    """A function of piq, called with distorted images and references; its score is returned unchanged.

    These functions take both images at once, so the encoding of an image is the image itself.

    Args:
        function: its name in piq, e.g. `ssim`.
        least_side: see `Baseline`. Below it, piq refuses an image or has no value for it.
        alone: call the function for each pair alone, where it mixes the pairs of a batch.
        options: further arguments of the function.

    Raises:
        ZsiqaError: if piq has no such function.
    """

    def __init__(self, function: str, *, least_side: int = 1, alone: bool = False, **options: Any) -> None:
        super().__init__()
        if not callable(getattr(piq, function, None)):
            raise ZsiqaError(f"piq {piq.__version__} has no function {function}; give one of its "
                             f"full-reference metrics, such as ssim")
        self.function, self.options = getattr(piq, function), options
        self.least_side, self.alone = least_side, alone

    def compare(self, reference: Features, distorted: Features) -> Tensor:
        """Return (B,) scores; NaN where the function would need the inverse of a singular matrix."""
        (references,), (images,) = reference, distorted
        size = 1 if self.alone else max(1, len(images))
        return torch.cat([self._scores(*pairs) for pairs
                          in zip(torch.split(images, size), torch.split(references, size), strict=True)])

    def _scores(self, distorted: Tensor, reference: Tensor) -> Tensor:
        try:
            scores: Tensor = self.function(distorted, reference, reduction="none", **self.options)
        except torch.linalg.LinAlgError:  # type: ignore[attr-defined] # IW-SSIM: too regular a reference
            return torch.full_like(distorted[:, 0, 0, 0], torch.nan)
        return scores
