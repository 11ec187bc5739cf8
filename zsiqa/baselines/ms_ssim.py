"""Multi-scale structural similarity (Wang et al., Asilomar 2003) of luma; it gives the numbers of pyiqa.

We implement it here because the licence of pyiqa, whose `ms_ssim` the authors ran, is not free. Libraries
with a free licence give other numbers: piq and pytorch-msssim use the three channels, without rounding.
Constants and weights are those of the MS-SSIM paper.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from zsiqa.baselines.baseline import Baseline
from zsiqa.types import Features

SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # finest to coarsest
WINDOW, SIGMA = 11, 1.5  # of the Gaussian, in pixels
C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


class MSSSIM(Baseline):
    """(1 - MS-SSIM) / 2: a distance from 0 to 0.5, in float64.

    The encoding of an image is its luma at five scales, with the local means and mean squares of each scale.
    """

    least_side = (WINDOW - 1) * 2 ** (len(SCALE_WEIGHTS) - 1) + 1  # halves are rounded up, so 161 becomes 11

    def encode(self, images: Tensor) -> Features:
        """Encode images (B, 3, H, W) as five scales (B, 1, h, w), then five (B, 2, h - 10, w - 10)."""
        scales = [luma(images)]
        for _ in SCALE_WEIGHTS[1:]:
            scales.append(halve(scales[-1]))
        return (*scales, *(torch.cat([blur(scale), blur(scale.square())], dim=1) for scale in scales))

    def compare(self, reference: Features, distorted: Features) -> Tensor:
        """Return (B,) distances."""
        count = len(SCALE_WEIGHTS)
        similarity = torch.ones_like(reference[0][:, 0, 0, 0])
        for number, weight in enumerate(SCALE_WEIGHTS):
            (x_mean, x_square), (y_mean, y_square) = (scales[count + number].chunk(2, dim=1)
                                                      for scales in (reference, distorted))
            covariance = blur(reference[number] * distorted[number]) - x_mean * y_mean
            variances = (x_square - x_mean.square()) + (y_square - y_mean.square())
            value = ((2 * covariance + C2) / (variances + C2)).relu()  # contrast and structure
            if number == count - 1:
                # luminance
                value = value * (2 * x_mean * y_mean + C1) / (x_mean.square() + y_mean.square() + C1)
            similarity = similarity * value.mean((1, 2, 3)) ** weight
        return (1 - similarity) / 2


def luma(images: Tensor) -> Tensor:
    """Convert RGB in [0, 1], (B, 3, H, W), to whole grey levels 0..255, (B, 1, H, W) float64."""
    red, green, blue = images.double().chunk(3, dim=1)
    return (255 * (0.299 * red + 0.587 * green + 0.114 * blue)).round()


def halve(x: Tensor) -> Tensor:
    """Average 2 x 2 pixels: (B, 1, H, W) to (B, 1, ceil(H / 2), ceil(W / 2)).

    If a side is odd, a row or column of zeros is put before the image, as in pyiqa.
    """
    return F.avg_pool2d(x, 2, padding=(x.shape[2] % 2, x.shape[3] % 2))


def blur(x: Tensor) -> Tensor:
    """Compute Gaussian means where the window lies inside: (B, 1, H, W) to (B, 1, H - 10, W - 10)."""
    offsets = torch.arange(WINDOW, dtype=x.dtype, device=x.device) - WINDOW // 2
    window = torch.softmax(-offsets.square() / (2 * SIGMA**2), dim=0)
    return F.conv2d(F.conv2d(x, window.view(1, 1, 1, -1)), window.view(1, 1, -1, 1))
