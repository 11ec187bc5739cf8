"""Feature similarity with colour (Zhang et al., IEEE TIP 2011), from the parts of piq.

Source: pyiqa's `fsim`, which the authors ran; it and piq follow the MATLAB original, and give the same numbers. piq's
own `fsim` takes both images at once. Its parts are put together here in the same way, so that a reference's maps, which
are nearly all of the work, are computed once; two of them are private, so the version is pinned.
"""

from __future__ import annotations

import torch
from piq.fsim import _construct_filters, _phase_congruency
from piq.functional import gradient_map, rgb2yiq, scharr_filter, similarity_map
from torch import Tensor
from torch.nn import functional as F

from zsiqa.baselines.baseline import Baseline, Features

T1, T2, T3, T4, CHROMA_POWER = 0.85, 160, 200, 200, 0.03  # of phase congruency, gradient, I and Q: the paper's


class FSIMc(Baseline):
    """(1 - FSIMc) / 2: a distance from 0 to 0.5.

    What is kept of an image, shrunk to about 256 pixels by averaging, are four maps (B, 1, h, w): phase congruency and
    gradient of Y, and I and Q.
    """

    least_side = 2

    def encode(self, images: Tensor) -> Features:
        """Images (B, 3, H, W) to four maps (B, 1, h, w)."""
        shrink = max(1, round(min(images.shape[-2:]) / 256))
        y, i, q = rgb2yiq(F.avg_pool2d(255 * images, shrink)).chunk(3, dim=1)
        scharr = scharr_filter(device=y.device, dtype=y.dtype)
        return (_phase_congruency(y, _construct_filters(y)), gradient_map(y, torch.stack([scharr, scharr.mT])), i, q)

    def compare(self, reference: Features, distorted: Features) -> Tensor:
        """(B,) distances."""
        congruency, gradient, i, q = (similarity_map(x, y, constant) for x, y, constant
                                      in zip(reference, distorted, (T1, T2, T3, T4), strict=True))
        weights = torch.maximum(reference[0], distorted[0])
        similarity: Tensor = weights * congruency * gradient * (i * q).abs() ** CHROMA_POWER
        return (1 - similarity.sum((1, 2, 3)) / weights.sum((1, 2, 3))) / 2
