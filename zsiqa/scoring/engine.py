"""The engine: image pairs in, one score per (pair, condition, metric) out, from one pass over the images.

A condition is a perturbation at a scale; its name is the perturbation's, with `@` and the scale's name unless
the scale is native.

The steps, and why a resumed run computes the same scores:

1. `zsiqa.scoring.loading` delivers the images of a block in a fixed order, as tiles.
2. The tiles are cut into batches of exactly `batch_tiles`. Only a block's last batch is shorter; with whole
   images of several sizes, also the last batch of a size. A resumed run cuts the same batches and skips those
   without work left to do. So every tile is in the same batch, at the same place, as in an uninterrupted run,
   and its scores are equal to the bit. (Except when a GPU runs out of memory: from then on batches are cut in
   halves, and scores are equal up to rounding.)
3. Each batch goes through the backbone once. A reference's features are kept until all its distorted images
   are compared; features of distorted tiles are compared immediately, under every distance, and dropped.

Letters: B tiles of a batch, T tiles of an image, K metrics.
"""

from __future__ import annotations

import logging
import math
import zlib
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import torch

from zsiqa.datasets.images import MAX_MEGAPIXELS
from zsiqa.distances import Distance, compare, compiled_compare
from zsiqa.scoring.loading import Loader, TiledImage, Todo
from zsiqa.scoring.precision import Precision, arithmetic
from zsiqa.scoring.profiling import Measure, unmeasured
from zsiqa.scoring.rounds import Perturbation, count_sizes
from zsiqa.scoring.scaling import Native
from zsiqa.scoring.segments import OPEN_SIZES, PendingScores, Segment, cut_batches, link
from zsiqa.types import Features, ImagePair, MetricKey, PairError, ZsiqaError

log = logging.getLogger(__name__)

IN_FLIGHT = {"cpu": 0, "cuda": 2}  # batches whose scores are still being copied while the next are prepared


class Backbone(Protocol):
    """Model that maps tiles (B, 3, H, W), RGB in [0, 1], to `Features` by representation; or a baseline."""

    def __call__(self, tiles: torch.Tensor) -> Mapping[str, Features]:
        """Encode the tiles."""

    def compile(self) -> None:
        """Let PyTorch compile what it can."""


@dataclass(frozen=True)
class Scored:
    """Scores of pair `index` under one condition: the mean over its tiles, by metric.

    `undefined` has the metrics whose score is not finite, each with the reason.
    """

    index: int
    condition: str
    scores: dict[MetricKey, float]
    undefined: dict[MetricKey, str]


@dataclass(frozen=True)
class Failed:
    """Failure to score pair `index` under a condition; `error` names the pair and the cause."""

    index: int
    condition: str
    error: PairError


class Scorer:
    """Scores pairs with one backbone, under several distances, representations and perturbations at once.

    Args:
        backbone: already on `device`.
        distances: by metric; a metric's first part is a key of the backbone's output.
        perturbations: by condition.
        scales: by condition; a condition without one is at the native scale.
        window, stride: of the tiles, in pixels (docs/protocol.md section 3); window None: whole images.
        least_side: shortest side of a whole image that can be scored, in pixels, and the reason.
        check_size: raises ValueError if an image of this height and width is too small for another reason.
        batch_tiles: tiles per forward pass. It is halved each time the GPU runs out of memory.
        workers: threads that decode, perturb and tile.
        max_megapixels: largest image that is decoded.
        device: "cpu" or "cuda".
        precision: of the backbone's arithmetic; distances are computed in float32. `clip_fp16_official` is
            implemented by the backbone and the distances themselves.
        compile: let PyTorch compile backbone and distances (`distances`: these alone) at the first batch. The
            backbone is compiled for full batches; shorter ones are filled up (whole images: compiled again,
            for any number). Scores change by rounding. Code that it cannot compile runs uncompiled, with a
            warning.
        noise_seed: for a backbone in training mode: encode each tile alone, under its own seed, and each
            reference again for every pair, as the official loop does. None for any other backbone.
        measure: measures the time of each step.

    Raises:
        ZsiqaError: if the device lacks the precision.
    """

    def __init__(self, backbone: Backbone, *, distances: Mapping[MetricKey, Distance],
                 perturbations: Mapping[str, Perturbation], scales: Mapping[str, Native] | None = None,
                 window: int | None = 224, stride: int = 200,
                 least_side: tuple[int, str] = (1, ""),
                 check_size: Callable[[int, int], None] = lambda *_: None,
                 batch_tiles: int = 8, workers: int = 2,
                 device: str = "cpu", precision: Precision = "fp32",
                 compile: bool | Literal["distances"] = False,  # noqa: A002 - PyTorch's name for it
                 noise_seed: int | None = None, max_megapixels: float = MAX_MEGAPIXELS,
                 measure: Measure = unmeasured) -> None:
        if precision == "tf32" and device != "cuda":
            raise ZsiqaError("precision=tf32 exists on CUDA GPUs only; use precision=fp32 here")
        self.backbone = backbone
        self.distances = dict(distances)
        self.representations = list(dict.fromkeys(representation for representation, *_ in distances))
        self.perturbations, self.scales = dict(perturbations), dict(scales or {})
        self.window, self.stride = window, stride
        self.least_side, self.check_size = least_side, check_size
        self.batch_tiles, self.workers = batch_tiles, workers
        self.device, self.precision, self.noise_seed, self.measure = device, precision, noise_seed, measure
        self.max_megapixels = max_megapixels
        self._compare = compiled_compare() if compile else compare
        if compile:
            torch._dynamo.config.suppress_errors = True  # run uncompiled instead of failing
        if compile is True:
            self.backbone.compile()
        self._most_tiles = batch_tiles  # halved when the GPU runs out of memory
        self._fill_batches = compile is True and window is not None

    def score(self, pairs: Sequence[ImagePair], todo: Todo = lambda _index, _perturbation: True,
              ) -> Generator[Scored | Failed]:
        """Score every (pair, condition) for which `todo(index, condition)` holds, block by block.

        Memory does not grow with the number of pairs.
        """
        loader = Loader(pairs, self.perturbations, self.window, self.stride, self.workers,
                        ahead=2 * self.workers + self.batch_tiles // 4, least_side=self.least_side,
                        share_references=self.noise_seed is None, max_megapixels=self.max_megapixels,
                        measure=self.measure, scales=self.scales, check_size=self.check_size)
        open_sizes = (max(OPEN_SIZES, count_sizes(self.perturbations))
                      * len({self.scales.get(name) for name in self.perturbations}))
        in_flight: deque[tuple[list[Segment], list[PendingScores]]] = deque()
        for images in loader.blocks(todo):
            failures: list[Failed] = []

            def fail(index: int, condition: str, error: str, failures: list[Failed] = failures) -> None:
                message = f"{pairs[index].pair_id} ({condition}): {error}"
                failures.append(Failed(index, condition, PairError(message)))

            for batch in cut_batches(link(images, todo, fail), self.batch_tiles, open_sizes):
                wanted = any(todo(*served) for segment in batch for served in segment.image.serves)
                in_flight.append((batch, self._process(batch) if wanted else []))
                if len(in_flight) > IN_FLIGHT[self.device]:
                    yield from self._finished(*in_flight.popleft(), pairs, todo)
                yield from failures
                failures.clear()
            yield from failures
        while in_flight:
            yield from self._finished(*in_flight.popleft(), pairs, todo)

    def _process(self, batch: Sequence[Segment]) -> list[PendingScores]:
        """Encode and compare a batch, in several parts if the GPU's memory is too small for the whole."""
        size = sum(map(len, batch))
        if size > self._most_tiles:
            return [scores for part in cut_batches(batch, self._most_tiles) for scores in self._process(part)]
        try:
            return self._encode_and_compare(batch)
        except torch.OutOfMemoryError:
            if size == 1:
                raise ZsiqaError("out of GPU memory with a single tile (a reference's features, kept for all "
                                 "of its distorted images, count too); use a smaller backbone or "
                                 "device=cpu") from None
        # Outside the handler, where the failed attempt's tensors are already freed.
        torch.cuda.empty_cache()
        self._most_tiles = size // 2
        log.warning("out of GPU memory with %d tiles a batch; going on with %d", size, self._most_tiles)
        return self._process(batch)

    @torch.inference_mode()
    def _encode_and_compare(self, batch: Sequence[Segment]) -> list[PendingScores]:
        """Keep reference features with their images; compare distorted tiles with their references."""
        encoded = self._encode(batch)
        stops = np.cumsum([len(segment) for segment in batch])
        places = [slice(stop - len(segment), stop) for segment, stop in zip(batch, stops, strict=True)]
        distorted = []
        for segment, place in zip(batch, places, strict=True):
            for name, stacks in encoded.items() if segment.image.reference is None else ():
                kept = segment.image.encoded.setdefault(
                    name, [torch.empty_like(stack[:1].expand(len(segment.image.tiles), *stack.shape[1:]))
                           for stack in stacks])
                for whole, stack in zip(kept, stacks, strict=True):
                    whole[segment.start:segment.stop] = stack[place]
            distorted += [(Segment(image, segment.start, segment.stop), place) for image in segment.compared]
        if not distorted:
            return []
        columns: dict[MetricKey, torch.Tensor] = {}
        for name, stacks in encoded.items():
            everything = [place for _, place in distorted] == places  # then no copy is necessary
            dis = stacks if everything else tuple(_join([stack[place] for _, place in distorted])
                                                  for stack in stacks)
            with self.measure("gather references"):
                ref = tuple(_join([self._counterpart(segment, place, name, number, stack)
                                   for segment, place in distorted]) for number, stack in enumerate(stacks))
            distances = {metric: distance for metric, distance in self.distances.items() if metric[0] == name}
            with self.measure("distances"), arithmetic("fp32", self.device):
                values = self._compare(list(distances.values()), ref, dis).double()
                columns.update(zip(distances, values.unbind(1), strict=True))
        scores = torch.stack([columns[metric] for metric in self.distances], dim=1)  # B, K
        return [PendingScores([segment for segment, _ in distorted], scores)]

    @staticmethod
    def _counterpart(segment: Segment, place: slice, name: str, number: int,
                     stack: torch.Tensor) -> torch.Tensor:
        """Return the reference features for a distorted segment: tiles [start, stop) of stack `number`."""
        kept = segment.image.reference.encoded.get(name) if segment.image.reference else None
        # After a resume, the features of a reference whose pairs are all done may be missing. Tiles of these
        # pairs only keep the batch as it was: their scores are not used, so any features of the right shape
        # are good enough.
        return stack[place] if kept is None else kept[number][segment.start:segment.stop]

    def _encode(self, batch: Sequence[Segment]) -> dict[str, Features]:
        """Encode a batch's tiles, in one pass, or one by one for a backbone in training mode."""
        if self.noise_seed is not None:
            single = []
            for segment in batch:
                for number in range(segment.start, segment.stop):
                    torch.manual_seed(noise_seed(self.noise_seed, segment.image, number))
                    single.append(self._forward(segment.image.tiles[number:number + 1].copy()))
            return {name: tuple(torch.cat(stacks)
                                for stacks in zip(*(features[name] for features in single), strict=True))
                    for name in self.representations}
        tiles = np.concatenate([segment.image.tiles[segment.start:segment.stop] for segment in batch])
        count = len(tiles)
        # Code that is compiled for one number of tiles is faster than for any. At least two: a matrix product
        # with a single row takes another kernel, which rounds differently.
        least = max(2, self._most_tiles) if self._fill_batches else 2
        if count < least:
            tiles = np.resize(tiles, (least, *tiles.shape[1:]))  # repeats tiles
        return {name: tuple(stack[:count] for stack in stacks)
                for name, stacks in self._forward(tiles).items()}

    def _forward(self, tiles: np.ndarray) -> dict[str, Features]:
        """Encode tiles (B, window, window, 3) in [0, 255]; the model's input is channels last in memory."""
        with self.measure("transfer"):
            pixels = torch.from_numpy(tiles)
            if self.device == "cuda":
                pixels = pixels.pin_memory().to(self.device, non_blocking=True)
            images = pixels.permute(0, 3, 1, 2).float() / 255
        with self.measure("model"), arithmetic(self.precision, self.device):
            encoded = self.backbone(images)
        return {name: encoded[name] for name in self.representations}

    def _finished(self, batch: Sequence[Segment], pending: Iterable[PendingScores],
                  pairs: Sequence[ImagePair], todo: Todo) -> Iterator[Scored | Failed]:
        """Yield the outcome of each wanted image whose last tile is in this batch."""
        with self.measure("fetch scores"):
            for tile_scores in pending:
                tile_scores.fill_in()
        finished = [(image, *served) for segment in batch for image in segment.compared
                    for served in image.serves if segment.stop == len(image.tiles) and todo(*served)]
        for image, index, condition in finished:
            if image.tile_scores is None:  # of a batch without work
                continue
            scores = dict(zip(self.distances, image.tile_scores.mean(0).tolist(), strict=True))
            undefined = {
                metric: f"{pairs[index].pair_id} ({condition}): the score is not finite: "
                        f"{'-'.join(metric)} = {score}; the metric is not defined for this pair, the weights "
                        f"are wrong, or there was an overflow, which precision=fp32 avoids"
                for metric, score in scores.items() if not math.isfinite(score)}
            yield Scored(index, condition, {metric: score for metric, score in scores.items()
                                               if metric not in undefined}, undefined)


def _join(parts: list[torch.Tensor]) -> torch.Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def noise_seed(seed: int, image: TiledImage, tile: int) -> int:
    """Seed of one tile's random numbers; depends only on its place in the data set and its condition."""
    index, condition = image.serves[0]
    own = zlib.crc32(condition.encode()) if image.reference else 0
    return int(np.random.SeedSequence((seed, index, own, tile)).generate_state(1)[0])
