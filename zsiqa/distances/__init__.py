"""Distances between the features of two images, tile by tile: docs/protocol.md section 5.

Every distance takes the features of the reference and of the distorted tiles (float32 or float64, equal shapes) and
returns one value >= 0 a tile, (B,), 0 for equal features. All are differentiable, with gradient 0 for equal features;
operations in place are only applied to tensors that autograd does not need. The formulas are written so that nearly
equal features lose as few digits as possible; where that differs from the official arithmetic it is the same quantity,
rounded less. With `half`, l2, cosine, SKLD and JSD imitate the authors' half precision instead.

Sources: Ghildyal et al., ICASSP 2025, and its code (ZS-IQA `distances.py`, `run.py` at commit 1d8c1ce);
Liao et al., IEEE TIP 2024, for SKLD, JSD and WSD.
"""

from zsiqa.distances.comparison import compare, compiled_compare
from zsiqa.distances.distribution import JSD, SKLD, WSD, ColumnDistance
from zsiqa.distances.features import Distance, Features
from zsiqa.distances.pointwise import L2, Cosine

__all__ = ["JSD", "L2", "SKLD", "WSD", "ColumnDistance", "Cosine", "Distance", "Features", "compare",
           "compiled_compare"]
