"""Batches of tiles as segments, each of one image, and the transfer of their scores from the device.

Letters: B tiles of a batch, K metrics.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from zsiqa.scoring.loading import TiledImage, Todo

OPEN_SIZES = 2  # sizes collected per scale: a group's translated images have another size than the rest
Fail = Callable[[int, str, str], None]  # (pair index, condition, error)


@dataclass(frozen=True)
class Segment:
    """Part of a batch: tiles [start, stop) of an image."""

    image: TiledImage
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    @property
    def compared(self) -> list[TiledImage]:
        """Images that get scores from these tiles: the distorted image itself, or the reference's twins."""
        return self.image.twins if self.image.reference is None else [self.image]


class PendingScores:
    """Scores of distorted tiles, being copied from the device.

    Args:
        segments: the tiles.
        scores: (B, K), in the order of the tiles.
    """

    def __init__(self, segments: Sequence[Segment], scores: torch.Tensor) -> None:
        self._segments, self._done = segments, None
        if scores.is_cuda:  # an asynchronous copy: the host does not wait
            self._scores = torch.empty(scores.shape, dtype=scores.dtype, pin_memory=True)
            self._scores.copy_(scores, non_blocking=True)
            self._done = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._done.record()
        else:
            self._scores = scores

    def fill_in(self) -> None:
        """Wait for the scores, and write them to `tile_scores` of their images."""
        if self._done is not None:
            self._done.synchronize()
        first = 0
        for segment in self._segments:
            image = segment.image
            if image.tile_scores is None:
                image.tile_scores = np.full((len(image.tiles), self._scores.shape[1]), np.nan)
            image.tile_scores[segment.start:segment.stop] = self._scores[first:first + len(segment)].numpy()
            first += len(segment)


def link(images: Iterable[list[TiledImage]], todo: Todo, fail: Fail) -> Iterator[Segment]:
    """Link a block's distorted images to their references, in order; `fail` receives unusable ones."""
    references: dict[tuple[int, str], TiledImage] = {}
    for variants in images:
        known = variants[0].serves[0] in references
        if not known:  # the next group, or the next conditions, begin
            references = {served: image for image in variants for served in image.serves}
            yield from (Segment(image, 0, len(image.tiles)) for image in variants)
        twins = [twin for image in variants for twin in image.twins]
        for image in variants if known else twins:
            image.reference = image.reference or references[image.serves[0]]
            error = image.reference.error or image.error
            sizes = image.size, image.reference.size
            if sizes[0] != sizes[1] and all(map(any, sizes)):  # both could be read
                error = (f"the distorted image is {sizes[0][0]} x {sizes[0][1]} but its reference is "
                         f"{sizes[1][0]} x {sizes[1][1]}; they must have the same size")
            if error:
                for index, condition in image.serves:
                    if todo(index, condition):
                        fail(index, condition, error)
            elif known:
                yield Segment(image, 0, len(image.tiles))


def cut_batches(segments: Iterable[Segment], most: int, open_sizes: int = OPEN_SIZES,
                ) -> Iterator[list[Segment]]:
    """Cut tiles into batches of `most` tiles of one size; tiles of one size keep their order.

    At most `open_sizes` sizes are collected at a time. A batch is shorter at the end, or if one more size
    arrives.
    """
    batches: dict[tuple[int, ...], list[Segment]] = {}
    for segment in segments:
        size = segment.image.tiles.shape[1:]
        batch = batches.pop(size, [])  # put back below, as the most recent
        if not batch and len(batches) == open_sizes:
            yield batches.pop(next(iter(batches)))
        start = segment.start
        while start < segment.stop:
            stop = min(start + most - sum(map(len, batch)), segment.stop)
            batch.append(Segment(segment.image, start, stop))
            start = stop
            if sum(map(len, batch)) == most:
                yield batch
                batch = []
        if batch:
            batches[size] = batch
    yield from batches.values()
