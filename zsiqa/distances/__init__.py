"""Distances between the features of two images, tile by tile: docs/protocol.md section 5.

Every distance takes the features of the reference tiles and of the distorted tiles (float32 or float64, equal
shapes). It returns one value >= 0 per tile, (B,): 0 for equal features. All are differentiable, with gradient
0 for equal features; in-place operations are applied only to tensors that autograd does not need. The
formulas are written so that nearly equal features lose as few digits as possible; where they differ from the
official arithmetic, they compute the same quantity with less rounding. With `half`, l2, cosine, SKLD and JSD
imitate the authors' half precision instead.

Letters in shapes: B tiles, L layers, N tokens, D feature width; C, H, W channels, rows and columns of a CNN's
map; M columns of 64 samples; n maps and c columns of one part.

Sources: Ghildyal et al., ICASSP 2025, and its code (ZS-IQA `distances.py`, `run.py` at commit 1d8c1ce);
Liao et al., IEEE TIP 2024, for SKLD, JSD and WSD.
"""

from zsiqa.distances.comparison import Distance, compare
from zsiqa.distances.compiled import compiled_compare
from zsiqa.distances.distribution import JSD, SKLD, WSD, ColumnDistance
from zsiqa.distances.pointwise import L2, Cosine
from zsiqa.types import Features

__all__ = ["JSD", "L2", "SKLD", "WSD", "ColumnDistance", "Cosine", "Distance", "Features", "compare",
           "compiled_compare"]
