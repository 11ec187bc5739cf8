"""Feature similarity with colour (Zhang et al., IEEE TIP 2011), from functions of piq.

Source: pyiqa's `fsim`, which the authors ran. It and piq follow the MATLAB original, and give the same
numbers. piq's own `fsim` takes both images at once. Here, its functions are combined in the same way, but a
reference's maps, which take most of the time, are computed only once. Two of these functions are private, so
the version of piq is pinned.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from zsiqa.baselines.baseline import Baseline
from zsiqa.types import Features, missing_package

try:
    from piq.fsim import _construct_filters, _phase_congruency
    from piq.functional import gradient_map, rgb2yiq, scharr_filter, similarity_map
except ModuleNotFoundError as error:
    raise missing_package("FSIMc", "piq") from error

# Constants of the FSIM paper, for phase congruency, gradient, I and Q.
T1, T2, T3, T4, CHROMA_POWER = 0.85, 160, 200, 200, 0.03


class FSIMc(Baseline):
    """(1 - FSIMc) / 2: a distance from 0 to 0.5.

    The image is first shrunk by averaging until its shorter side is about 256 pixels. Its encoding is four
    maps (B, 1, h, w): phase congruency and gradient of Y, and I and Q.
    """

    least_side = 2

    def encode(self, images: Tensor) -> Features:
        """Encode images (B, 3, H, W) as four maps (B, 1, h, w)."""
        shrink = max(1, round(min(images.shape[-2:]) / 256))
        y, i, q = rgb2yiq(F.avg_pool2d(255 * images, shrink)).chunk(3, dim=1)
        scharr = scharr_filter(device=y.device, dtype=y.dtype)
        return (_phase_congruency(y, _construct_filters(y)),
                gradient_map(y, torch.stack([scharr, scharr.mT])), i, q)

    def compare(self, reference: Features, distorted: Features) -> Tensor:
        """Return (B,) distances."""
        congruency, gradient, i, q = (similarity_map(x, y, constant) for x, y, constant
                                      in zip(reference, distorted, (T1, T2, T3, T4), strict=True))
        weights = torch.maximum(reference[0], distorted[0])
        similarity: Tensor = weights * congruency * gradient * (i * q).abs() ** CHROMA_POWER
        return (1 - similarity.sum((1, 2, 3)) / weights.sum((1, 2, 3))) / 2
