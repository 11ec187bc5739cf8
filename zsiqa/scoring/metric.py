"""A metric as a PyTorch module: batches of images in, one score per pair out, differentiable.

It computes what a run computes (docs/protocol.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self, TypeAlias

import numpy as np
import torch
from omegaconf import DictConfig
from PIL import Image
from torch import Tensor, nn

from zsiqa.backbones.build import build_model
from zsiqa.backbones.weights import find_baseline_files, find_weights
from zsiqa.config import check_overrides, check_settings, compose, instantiate
from zsiqa.config.names import at_scale, metric_name
from zsiqa.datasets.images import decode_rgb, open_rgb
from zsiqa.distances import Distance, compare
from zsiqa.scoring.precision import arithmetic
from zsiqa.scoring.scaling import Native
from zsiqa.scoring.tiling import tile_starts
from zsiqa.types import Features, ZsiqaError

# Settings that determine the score of a pair in memory; all others concern files, runs and the device.
SETTINGS = ("backbone", "distance", "distances", "representation", "protocol", "window", "stride",
            "batch_tiles", "precision", "seed", "baselines", "scale", "scales")
DEFAULT = ("efficientnet_lite0", "cosine", "features")  # backbone, distance, representation
BATCH_IMAGES = 4  # of a baseline, as in a run on a CPU
Images: TypeAlias = "Tensor | Image.Image | Path | str"


class Metric(nn.Module):
    """Distance of distorted images from their references: 0 for equal ones, lower is better; or a baseline.

    Calling it with references and distorted images, both (B, 3, H, W), RGB in [0, 1], returns (B,). For 8-bit
    images divided by 255, these are the scores of `run.py`, up to float32's rounding: a relative 1e-6 for any
    batch size. It also takes paths, Pillow images, and lists of them; the images of a list may differ in
    size.

    It is differentiable with respect to both images, and frozen: no parameter requires a gradient, and
    `train()` leaves the backbone in the mode that its scores need. SKLD, JSD and WSD of a tile are a fourth
    root, log(1 + x)^0.25, whose derivative grows without bound as x goes to 0. In a tile that is equal in
    both images, every distance is at its minimum and its gradient is 0; for nearly equal tiles, the gradient
    is finite but large. To optimise towards equality, use l2 or cosine, or clip gradients.

    Without gradients, memory does not grow with the number of images or tiles. With gradients, all tiles'
    activations are kept until the backward pass: train on crops, for instance of one window.

    Args:
        backbone, distance, representation: names as on the command line of `run.py`, one each;
            `zsiqa.list_backbones()` and `zsiqa.list_distances()` list them.
        baseline: the name of a baseline, instead of these three; `zsiqa.list_baselines()` lists them.
        scale: size at which images are scored, one name as on the command line (docs/scale.md).
        pretrained: False for random weights, of `seed`.
        checkpoint: a local file with weights, instead of the downloaded weights.
        overrides: further settings as on the command line: `["stride=112", "protocol=textbook"]`. For whole
            images, `["window=null"]`.

    Attributes:
        name: as in the name of a run's folder, `efficientnet_lite0-features-cosine` or `psnr`.
        higher_is_better: False, except for some baselines.
        scale: the function that scales images.
        window: shortest permitted side of a scaled image, in pixels; None for a backbone that sees whole
            images.
        baseline: the baseline's module; None for a distance of features.

    Raises:
        ZsiqaError: if a name or setting is unknown or has no effect on a metric.
        WeightsError: if the weights cannot be obtained or do not fit.

    Examples:
        >>> metric = Metric("efficientnet_lite0", "l2")
        >>> images = torch.rand(2, 3, 224, 300)
        >>> metric(images, images)
        tensor([0., 0.])
        >>> Metric(baseline="psnr")(images, images)
        tensor([80., 80.])
    """

    name: str
    higher_is_better: bool = False
    baseline: Any  # a Baseline, which is a layer above, or None
    _like: Tensor

    def __init__(self, backbone: str = DEFAULT[0], distance: str = DEFAULT[1],
                 representation: str = DEFAULT[2], *, baseline: str | None = None, scale: str = "native",
                 pretrained: bool = True, checkpoint: Path | str | None = None,
                 overrides: Sequence[str] = ()) -> None:
        super().__init__()
        if baseline is not None and ((backbone, distance, representation) != DEFAULT or not pretrained):
            raise ZsiqaError(f"baseline={baseline!r} has no backbone, distance, representation or "
                             f"pretrained; leave them out")
        cfg = _configuration(backbone, distance, representation, baseline, scale, overrides)
        if not pretrained:
            cfg.backbone.pretrained = False
        if checkpoint is not None:
            (cfg.backbone if baseline is None else cfg.baselines[baseline]).checkpoint = str(checkpoint)
        self._build(cfg)

    @classmethod
    def from_config(cls, cfg: DictConfig) -> Self:
        """Build the metric from a composed configuration with one metric: of a backbone, or a baseline."""
        metric = cls.__new__(cls)
        nn.Module.__init__(metric)
        metric._build(cfg)
        return metric

    def _build(self, cfg: DictConfig) -> None:
        cfg.protocol.folder = "none"  # nothing is stored, so any mixture of protocols is allowed
        check_settings(cfg)
        self.baseline = None
        if cfg.backbone.model is None:
            self._build_baseline(cfg)
        else:
            self._build_distance(cfg)
        if len(cfg.scales) != 1:
            raise ZsiqaError(f"a metric has one scale, found {', '.join(cfg.scales) or 'none'}; make one "
                             f"Metric for each")
        [scale] = cfg.scales.values()
        self.scale: Native = instantiate(scale.fn)
        self.name = at_scale(self.name, scale.name)
        self.window, self.stride = cfg.window, cfg.stride
        self.batch_tiles: int | None = cfg.batch_tiles
        self._suitable_batch: dict[str, int] = dict(cfg.backbone.batch_tiles)  # by device
        self.precision = cfg.precision
        # has the device and type of images and scores
        self.register_buffer("_like", torch.zeros(()), persistent=False)

    def _build_baseline(self, cfg: DictConfig) -> None:
        [(self.name, node)] = cfg.baselines.items()
        model = instantiate(node.model, **find_baseline_files(cfg.baselines)[self.name])
        self.baseline = model
        self.higher_is_better = node.higher_is_better

    def _build_distance(self, cfg: DictConfig) -> None:
        weights = find_weights(cfg)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(cfg.seed)
            self.backbone = build_model(cfg, weights)
        [(distance_name, node)] = cfg.distances.items()
        self.distance: Distance = instantiate(node.fn)
        [self.representation] = cfg.representations
        self.name = metric_name(cfg, self.representation, distance_name)

    def forward(self, ref: Images | Sequence[Images], dis: Images | Sequence[Images]) -> Tensor:
        """Score pairs.

        Args:
            ref, dis: references and distorted images, (B, 3, H, W) each, of any floating type, RGB in [0, 1],
                on the metric's device; sides of at least `window` pixels once scaled. Or the path or the
                Pillow image of one image (B = 1), decoded as in a run; or lists of these, of equal length.

        Returns:
            (B,), of the metric's type: float32, or float64 after `.double()`; float64 of some baselines.

        Raises:
            ZsiqaError: if type, shape, size, range or device differ from these.
            ImageError: if a file cannot be read.
        """
        if isinstance(ref, list | tuple) and isinstance(dis, list | tuple):
            if len(ref) != len(dis) or not ref:
                raise ZsiqaError(f"expected as many references as distorted images, and at least one; found "
                                 f"{len(ref)} and {len(dis)}")
            return torch.cat([self(*pair) for pair in zip(ref, dis, strict=True)])
        return self._score(self._checked("reference", ref), self._checked("distorted", dis))

    def _score(self, ref: Tensor, dis: Tensor) -> Tensor:
        if ref.shape != dis.shape:
            raise ZsiqaError(f"reference and distorted images must have the same shape, found "
                             f"{tuple(ref.shape)} and {tuple(dis.shape)}")
        ref, dis = (self.scale(images).to(self._like.dtype) for images in (ref, dis))
        if self.baseline is not None:
            with arithmetic("fp32", self._like.device.type):
                return torch.cat([self.baseline(ref[start:start + BATCH_IMAGES],
                                                dis[start:start + BATCH_IMAGES])
                                  for start in range(0, len(ref), BATCH_IMAGES)])
        places = [(index, *corner) for index in range(len(ref))
                  for corner in self.tile_corners(*ref.shape[-2:])]
        scores = []
        device = self._like.device.type
        size: int = self.batch_tiles or self._suitable_batch.get(device, self._suitable_batch["cpu"])
        for start in range(0, len(places), size):
            part = places[start:start + size]
            features = [self.encode(self.cut(images, part)) for images in (ref, dis)]
            with arithmetic("fp32", device):
                scores.append(compare([self.distance], *features)[:, 0])
        return torch.cat(scores).view(len(ref), -1).mean(1).to(ref.dtype)  # in half precision, float64

    def tile_corners(self, height: int, width: int) -> list[tuple[int, int]]:
        """List (y, x) of an image's tiles, row by row; only (0, 0) for a backbone that sees whole images."""
        if self.window is None:
            return [(0, 0)]
        rows, columns = (tile_starts(side, window=self.window, stride=self.stride)
                         for side in (height, width))
        return [(y, x) for y in rows for x in columns]

    def cut(self, images: Tensor, places: Sequence[tuple[int, int, int]]) -> Tensor:
        """Cut tiles (len(places), 3, window, window) from images (B, 3, H, W); a place is (index, y, x)."""
        height, width = (self.window, self.window) if self.window else images.shape[-2:]
        return torch.stack([images[index, :, y:y + height, x:x + width] for index, y, x in places])

    def encode(self, tiles: Tensor) -> Features:
        """Encode tiles as the engine does: channels last in memory, and a single tile encoded twice."""
        batch = torch.cat([tiles, tiles]) if len(tiles) == 1 else tiles
        with arithmetic(self.precision, tiles.device.type):
            encoded = self.backbone(batch.contiguous(memory_format=torch.channels_last))[self.representation]
        return tuple(stack[:len(tiles)] for stack in encoded)

    def train(self, mode: bool = True) -> Self:
        """Set `training` only: the backbone stays in the mode that its scores need."""
        self.training = mode
        return self

    def extra_repr(self) -> str:
        """Describe the metric, for `repr`."""
        tiles = "" if self.baseline is not None else f", window={self.window}, stride={self.stride}"
        return f"{self.name}{tiles}"

    def _checked(self, what: str, images: Any) -> Tensor:
        if isinstance(images, str | Path | Image.Image):
            images = to_tensor(images).to(self._like.device)
        expected = f"{what} images must be a floating tensor (B, 3, H, W) with RGB in [0, 1]"
        if not isinstance(images, Tensor):
            raise ZsiqaError(f"{expected}, a path, a Pillow image, or a list of these on both sides; found "
                             f"{type(images).__name__}")
        if not images.is_floating_point():
            raise ZsiqaError(f"{expected}, found {images.dtype}; 8-bit images: divide by 255")
        if images.ndim != 4 or images.shape[1] != 3 or not images.shape[0]:
            raise ZsiqaError(f"{expected}, found shape {tuple(images.shape)}; one image: images[None]; grey: "
                             f"images.expand(-1, 3, -1, -1)")
        if images.device != self._like.device:
            raise ZsiqaError(f"{what} images are on {images.device}, the metric on {self._like.device}; move "
                             f"one with .to(device)")
        height, width = images.shape[-2:]
        try:
            size = self.scale.size(height, width)
        except ValueError as error:
            raise ZsiqaError(f"{what} images have {width} x {height} pixels: {error}") from None
        least = min(size)
        scaled = "" if least == min(height, width) else f" (the shorter side {least}, as scaled)"
        if self.baseline is not None:
            try:
                self.baseline.check_size(*size)
            except ValueError as error:
                raise ZsiqaError(f"{what} images have {width} x {height} pixels{scaled}, but {self.name} "
                                 f"{error}; enlarge them") from None
        if least < (self.window or 1):
            raise ZsiqaError(f"{what} images have {width} x {height} pixels{scaled}, but tiles have "
                             f"{self.window} x {self.window}; score whole images (overrides=['window=null']) "
                             f"or at another scale (scale='short_224'), or enlarge them, for instance by "
                             f"torch.nn.functional.pad(images, ..., mode='reflect')")
        with torch.no_grad():
            if not ((images >= 0) & (images <= 1)).all():  # NaN is neither
                values = f"values from {images.min():.6g} to {images.max():.6g}"
                bad = "NaN" if images.isnan().any() else values
                raise ZsiqaError(f"{expected}, found {bad}; clamp(0, 1) cuts off what a model gives beyond")
        return images


def to_tensor(image: Image.Image | Path | str) -> Tensor:
    """Decode an image as a run does: (1, 3, H, W), float32, RGB in [0, 1].

    Raises:
        ImageError: if it cannot be read, or has more than 8 bits a channel.
    """
    rgb = (decode_rgb(image, Path(getattr(image, "filename", "") or "the image"))
           if isinstance(image, Image.Image) else open_rgb(Path(image)))
    return torch.from_numpy(np.array(rgb)).permute(2, 0, 1)[None].float() / 255


def _configuration(backbone: str, distance: str, representation: str, baseline: str | None, scale: str,
                   overrides: Sequence[str]) -> DictConfig:
    """Compose the configuration of a run with one metric.

    Raises:
        ZsiqaError: if it names no backbone, or several distances, representations, baselines or scales.
    """
    if isinstance(overrides, str):
        raise ZsiqaError(f"overrides must be a list of settings, found the text {overrides!r}")
    check_overrides(overrides, SETTINGS)
    if baseline is not None:
        cfg = compose(f"baseline={baseline}", f"scale={scale}", *overrides)
        if len(cfg.baselines) != 1 or cfg.backbone.model is not None:
            raise ZsiqaError(f"a metric has one baseline, found {', '.join(cfg.baselines) or 'none'}; make "
                             f"one Metric for each, without a backbone")
        return cfg
    cfg = compose(f"backbone={backbone}", f"distance={distance}", f"representation={representation}",
                  f"scale={scale}", *overrides)
    if cfg.backbone.model is None:
        raise ZsiqaError(f"backbone={backbone} is none; choose one")
    for what, names in (("distance", cfg.distances), ("representation", cfg.representations)):
        if len(names) != 1:
            raise ZsiqaError(f"a metric has one {what}, found {', '.join(names) or 'none'}; make one Metric "
                             f"for each")
    return cfg
