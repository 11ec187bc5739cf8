"""Feature similarity with colour (Zhang et al., IEEE TIP 2011), by piq.

Source: pyiqa's `fsim`, which the authors ran; both are the MATLAB original, and give the same numbers.
"""

from __future__ import annotations

import piq
from torch import Tensor

from zsiqa.baselines.baseline import Baseline, Features


class FSIMc(Baseline):
    """(1 - FSIMc) / 2: a distance from 0 to 0.5. The library computes both images at once, so nothing is reused."""

    least_side = 2

    def compare(self, reference: Features, distorted: Features) -> Tensor:
        """(B,) distances."""
        similarity: Tensor = piq.fsim(*distorted, *reference, chromatic=True, reduction="none")
        return (1 - similarity) / 2
