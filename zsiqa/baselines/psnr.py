"""Peak signal-to-noise ratio of the three channels together, by piq.

Source: pyiqa's `psnr`, which the authors ran.
"""

from __future__ import annotations

from torch import Tensor

from zsiqa.baselines.baseline import Baseline
from zsiqa.types import Features, missing_package

try:
    import piq
except ModuleNotFoundError as error:
    raise missing_package("PSNR", "piq") from error


class PSNR(Baseline):
    """-10 log10(mean squared difference + 1e-8), in dB: higher is better, 80 for equal images."""

    def compare(self, reference: Features, distorted: Features) -> Tensor:
        """Return (B,) dB."""
        decibel: Tensor = piq.psnr(*distorted, *reference, reduction="none")
        return decibel
