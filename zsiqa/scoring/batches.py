"""Batches of tiles, and the transfer of their scores from the device.

Letters: B tiles of a batch, K metrics.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from zsiqa.scoring.loading import TiledImage

OPEN_SIZES = 2  # sizes collected per scale: a group's translated images have another size than the rest


@dataclass(frozen=True)
class Segment:
    """Part of a batch: tiles [start, stop) of an image."""

    image: TiledImage
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start


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


def cut_batches(segments: Iterable[Segment], most: int, open_sizes: int = OPEN_SIZES,
                ) -> Iterator[list[Segment]]:
    """Cut tiles into batches of `most` tiles of one size; tiles of one size keep their order.

    At most `open_sizes` sizes are collected at a time. A batch is shorter if another arrives, and at the end.
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
