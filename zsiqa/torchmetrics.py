"""The metric for torchmetrics: the mean over all pairs and processes. Needs `zsiqa[torchmetrics]`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from zsiqa.scoring.metric import Metric
from zsiqa.types import missing_package

try:
    import torchmetrics
except ModuleNotFoundError as error:
    raise missing_package("zsiqa.torchmetrics", "torchmetrics") from error


class ZeroShotIQA(torchmetrics.Metric):
    """Mean distance of images from their references: 0 for equal ones, lower is better.

    With `baseline`, the mean score of that metric, in its own direction.

    Args:
        backbone, distance, representation, baseline, scale, pretrained, checkpoint, overrides: as for
            `zsiqa.Metric`, whose rules for images apply, too.
        **kwargs: passed on to `torchmetrics.Metric`.

    Examples:
        >>> metric = ZeroShotIQA("efficientnet_lite0", "l2")
        >>> images = torch.rand(2, 3, 224, 224)
        >>> metric.update(preds=images, target=images)
        >>> metric.compute()
        tensor(0.)
    """

    is_differentiable: bool = True
    full_state_update: bool = False
    plot_lower_bound: float = 0.0
    total: Tensor
    count: Tensor

    def __init__(self, backbone: str = "efficientnet_lite0", distance: str = "cosine",
                 representation: str = "features", *, baseline: str | None = None, scale: str = "native",
                 pretrained: bool = True, checkpoint: Path | str | None = None, overrides: Sequence[str] = (),
                 **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.metric = Metric(backbone, distance, representation, baseline=baseline, scale=scale,
                             pretrained=pretrained, checkpoint=checkpoint, overrides=overrides)
        self.add_state("total", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.long), dist_reduce_fx="sum")

    @property
    def higher_is_better(self) -> bool:  # type: ignore[override]  # torchmetrics: one value for a class
        """False, except for some baselines."""
        return self.metric.higher_is_better

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Add pairs: distorted images and references, (B, 3, H, W) each, RGB in [0, 1]."""
        scores = self.metric(target, preds)
        self.total = self.total + scores.double().sum()
        self.count = self.count + len(scores)

    def compute(self) -> Tensor:
        """Return the mean, a float32 scalar; NaN without pairs."""
        return (self.total / self.count).float()
