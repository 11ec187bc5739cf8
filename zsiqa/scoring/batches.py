"""Batches of tiles, and their scores on the way from the device.

Letters: B tiles of a batch, K metrics.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from zsiqa.scoring.loading import TiledImage

OPEN_SIZES = 2  # translated images of a group have another size than the rest


@dataclass(frozen=True)
class Segment:
    """Tiles [start, stop) of an image, as part of a batch."""

    image: TiledImage
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start


class PendingScores:
    """The scores of some distorted tiles, on their way from the device.

    Args:
        segments: the tiles.
        scores: (B, K), in their order.
    """

    def __init__(self, segments: Sequence[Segment], scores: torch.Tensor) -> None:
        self._segments, self._done = segments, None
        if scores.is_cuda:  # the host goes on meanwhile
            self._scores = torch.empty(scores.shape, dtype=scores.dtype, pin_memory=True)
            self._scores.copy_(scores, non_blocking=True)
            self._done = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._done.record()
        else:
            self._scores = scores

    def fill_in(self) -> None:
        """Wait for them, and put them down with their images."""
        if self._done is not None:
            self._done.synchronize()
        first = 0
        for segment in self._segments:
            image = segment.image
            if image.tile_scores is None:
                image.tile_scores = np.full((len(image.tiles), self._scores.shape[1]), np.nan)
            image.tile_scores[segment.start:segment.stop] = self._scores[first:first + len(segment)].numpy()
            first += len(segment)


def cut_batches(segments: Iterable[Segment], most: int) -> Iterator[list[Segment]]:
    """The same tiles, those of a size in the same order, in batches of one size and `most` tiles.

    Two sizes are collected at a time. A batch is shorter where a third one comes, and at the end.
    """
    batches: dict[tuple[int, ...], list[Segment]] = {}
    for segment in segments:
        size = segment.image.tiles.shape[1:]
        batch = batches.pop(size, [])  # and put back as the latest
        if not batch and len(batches) == OPEN_SIZES:
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
