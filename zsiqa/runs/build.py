"""Construction of the engine of each pass from a configuration. Imports torch with the first engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from zsiqa.config import instantiate
from zsiqa.types import MetricKey

if TYPE_CHECKING:
    from zsiqa.scoring.engine import Scorer

BATCH_IMAGES = {"cpu": 4, "cuda": 32}


def build_backbone(cfg: DictConfig, weights: Path | None, metrics: Sequence[MetricKey],
                   **shared: Any) -> Scorer:
    """Build the engine of the backbone's pass.

    Args:
        shared: further arguments of `Scorer`.
    """
    from zsiqa.backbones.build import build_model, least_side
    from zsiqa.scoring.engine import Scorer

    backbone = build_model(cfg, weights).to(shared["device"])
    distances = {name: instantiate(cfg.distances[name].fn)
                 for name in dict.fromkeys(name for _, name in metrics)}
    return Scorer(
        backbone, least_side=least_side(cfg, backbone),
        distances={(representation, name): distances[name] for representation, name in metrics},
        window=cfg.window, stride=cfg.stride, precision=cfg.precision, compile=cfg.compile,
        batch_tiles=cfg.batch_tiles or cfg.backbone.batch_tiles[shared["device"]],
        noise_seed=cfg.seed if cfg.official_train_mode else None, max_megapixels=cfg.max_megapixels, **shared)


def build_baselines(cfg: DictConfig, files: Mapping[str, Mapping[str, Path]], metrics: Sequence[MetricKey],
                    **shared: Any) -> Scorer:
    """Build the engine of the baselines' pass.

    Args:
        files: weight files, by baseline and by argument of the baseline.
        shared: further arguments of `Scorer`.
    """
    from zsiqa.baselines.baseline import Baselines
    from zsiqa.scoring.engine import Scorer

    baselines = {name: instantiate(cfg.baselines[name].model, **files[name]) for name, in metrics}
    strictest = max(baselines, key=lambda name: baselines[name].least_side)
    least = baselines[strictest].least_side
    reason = f"{strictest} needs sides of at least {least} pixels"
    alone = "; without it, the others could be scored" if len(baselines) > 1 else ""

    def check_size(height: int, width: int) -> None:
        for name, baseline in baselines.items():
            try:
                baseline.check_size(height, width)
            except ValueError as error:
                raise ValueError(f"{name} {error}{alone}") from None

    return Scorer(
        Baselines(baselines).to(shared["device"]),
        distances={(name,): baseline.compare for name, baseline in baselines.items()},
        window=None, least_side=(least, reason + alone), check_size=check_size,
        batch_tiles=cfg.batch_images or BATCH_IMAGES[shared["device"]],
        max_megapixels=cfg.max_megapixels, **shared)
