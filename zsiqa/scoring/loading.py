"""Load images ahead of the model: decode, perturb, scale and tile in threads, in one fixed order.

Pairs are grouped by reference, and groups packed into *blocks*. A block is a fixed sequence of images: each
reference once (and once more for a condition that changes it), then its distorted images under every
condition: a perturbation at a scale. Blocks depend on the data set only, not on which scores exist or which
run computes them.

If many conditions change the reference, a few of them at a time take part in this sequence, and the next ones
follow in the same way (`zsiqa.scoring.rounds`). So the features of only a few references are kept at a time.

Letters: T tiles of an image; H, W its sides in pixels.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from PIL import Image

from zsiqa.datasets.images import MAX_MEGAPIXELS, decode_rgb, open_image
from zsiqa.scoring.image_cache import ImageCache
from zsiqa.scoring.profiling import Measure, unmeasured
from zsiqa.scoring.rounds import Perturbation, distinct, plan_rounds, unmoved
from zsiqa.scoring.tiling import extract_tiles
from zsiqa.types import ImageError, ImagePair

if TYPE_CHECKING:
    from zsiqa.scoring.scaling import Native

BLOCK_PAIRS = 64
Block = list[list[int]]  # groups of indices into the pairs; a group shares its reference
Todo = Callable[[int, str], bool]  # (pair index, condition): is its score wanted?


@dataclass(eq=False)
class TiledImage:
    """Image of a block's sequence, cut into tiles.

    Attributes:
        serves: every (pair index, condition) that needs it: of one pair for a distorted image.
        size: of the whole image as decoded, (W, H).
        tiles: (T, window, window, 3), or (1, H, W, 3) for the whole image; uint8, or float32 in [0, 255] if
            it was scaled; T = 0 if there is an error.
        error: why it cannot be used ("" if it can).
        reference: the image that a distorted image is compared with; None for a reference.
        twins: of a reference, distorted images that are the same image: they are not encoded again.
        encoded: features of a reference, by representation; filled by the engine.
        tile_scores: scores of a distorted image, (T, metrics); filled by the engine.
    """

    serves: list[tuple[int, str]]
    size: tuple[int, int] = (0, 0)
    tiles: np.ndarray = field(default_factory=lambda: np.empty((0,), np.uint8))
    error: str = ""
    reference: TiledImage | None = None
    twins: list[TiledImage] = field(default_factory=list)
    encoded: dict[str, Any] = field(default_factory=dict)
    tile_scores: np.ndarray | None = None


class Unusable(NamedTuple):
    """Image that is not decoded: its size, (0, 0) if it cannot be read, and why."""

    size: tuple[int, int]
    error: str


def size_of(path: Path) -> tuple[int, int] | None:
    """Read the size (W, H) of an image from its header; None if it cannot be read."""
    with suppress(ImageError), open_image(path) as image:
        return image.size
    return None


@dataclass(frozen=True)
class Loader:
    """Loader of pairs as tiled images; `workers` threads prepare a bounded number of them (`ahead`).

    Without `share_references`, a reference is delivered again for each of its pairs. `least_side` is the
    shortest side that can be scored, in pixels, and the reason. `check_size` raises ValueError if an image of
    this height and width is too small for another reason. `max_megapixels` limits the images' sizes.
    `perturbations` and `scales` are by condition; a condition without a scale is at the native one.
    """

    pairs: Sequence[ImagePair]
    perturbations: Mapping[str, Perturbation]
    window: int | None
    stride: int
    workers: int
    ahead: int
    share_references: bool = True
    least_side: tuple[int, str] = (1, "")
    max_megapixels: float = MAX_MEGAPIXELS
    measure: Measure = unmeasured
    scales: Mapping[str, Native] = field(default_factory=dict)
    check_size: Callable[[int, int], None] = lambda *_: None
    decoded: ImageCache = field(default_factory=ImageCache)

    @cached_property
    def _alone(self) -> set[Path]:
        """References that are paired with nothing but themselves."""
        count = Counter(pair.ref_path for pair in self.pairs)
        return {pair.ref_path for pair in self.pairs
                if pair.ref_path == pair.dis_path and count[pair.ref_path] == 1 and self.share_references}

    @cached_property
    def _unmoved(self) -> set[str]:
        return unmoved(self.perturbations)

    def blocks(self, todo: Todo) -> Iterator[Iterator[list[TiledImage]]]:
        """Iterate over blocks with work to do; each iterates over its images, as lists of variants.

        Exhaust each block before you request the next.
        """
        blocks = [block for block in plan_blocks(self.pairs, share_references=self.share_references)
                  if any(todo(index, name) for group in block for index in group
                         for name in self.perturbations)]
        rounds = plan_rounds(self.perturbations)
        # Under many conditions, an image is many images: fewer are loaded ahead.
        ahead = min(self.ahead, max(self.workers, 4 * self.ahead // max(map(len, rounds))))
        jobs = ((number, job) for number, block in enumerate(blocks) for group in block for names in rounds
                for job in (partial(self.reference, group, names, again=len(rounds) > 1),
                            *(partial(self.distorted, index, names, again=len(rounds) > 1)
                              for index in group)))
        pool = ThreadPoolExecutor(self.workers, thread_name_prefix="zsiqa-load")
        queue: deque[tuple[int, Future[list[TiledImage]]]] = deque()

        def results() -> Iterator[tuple[int, list[TiledImage]]]:
            for number, job in jobs:
                queue.append((number, pool.submit(job)))
                if len(queue) > ahead:
                    yield first()
            while queue:
                yield first()

        def first() -> tuple[int, list[TiledImage]]:
            number, future = queue.popleft()
            with self.measure("wait for images"):
                return number, future.result()

        try:
            for _, numbered in groupby(results(), key=lambda result: result[0]):
                yield (images for _, images in numbered if images)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def reference(self, group: Sequence[int], names: Sequence[str], *, again: bool) -> list[TiledImage]:
        """Load the group's reference: unchanged, and once more for each condition that changes it.

        Args:
            names: the conditions.
            again: the image will be needed once more, under other conditions.
        """
        path = self.pairs[group[0]].ref_path
        image = self._decode(path, [self.pairs[index].dis_path for index in group], again=again)
        if isinstance(image, Unusable):
            return [TiledImage([(index, name) for index in group for name in names], image.size,
                               error=f"reference {image.error}")]
        variants: list[tuple[Image.Image, Native | None, list[str]]] = []
        for perturbation, scale, alike in distinct(self.perturbations, self.scales, names, image.size):
            with self.measure("perturb"):
                variant = perturbation.reference(image)
            for known, known_scale, served in variants:
                if known is variant and known_scale == scale:
                    served += alike
                    break
            else:
                variants.append((variant, scale, alike))
        found = []
        for variant, scale, served in variants:
            found.append(self._tiled(variant, scale, image.size,
                                     [(index, name) for index in group for name in served]))
            if twins := [name for name in served if self._is_twin(group[0], name, image)]:
                # Its reference is a copy with the same `encoded`: a cycle would keep features in memory.
                found[-1].twins.append(replace(found[-1], serves=[(group[0], name) for name in twins],
                                               twins=[], reference=replace(found[-1], twins=[])))
        return found

    def distorted(self, index: int, names: Sequence[str], *, again: bool) -> list[TiledImage]:
        """Load the pair's distorted image under the conditions, except where it is the reference itself.

        Args:
            names: the conditions.
            again: the image will be needed once more, under other conditions.
        """
        pair = self.pairs[index]
        image = self._decode(pair.dis_path, [pair.ref_path], again=again)
        if isinstance(image, Unusable):
            return [TiledImage([(index, name) for name in names], image.size,
                               error=f"distorted image {image.error}")]
        variants = []
        for perturbation, scale, alike in distinct(self.perturbations, self.scales, names, image.size):
            if self._is_twin(index, alike[0], image):
                continue
            with self.measure("perturb"):
                variant = perturbation.distorted(image)
            # A backbone in training mode draws its own random numbers for each condition.
            variants += [self._tiled(variant, scale, image.size, [(index, name) for name in served])
                         for served in ([alike] if self.share_references else [[name] for name in alike])]
        return variants

    def _is_twin(self, index: int, name: str, image: Image.Image) -> bool:
        """Return whether a pair is one unchanged image, paired with itself alone, under a condition."""
        perturbation = self.perturbations[name]
        return (name in self._unmoved and self.pairs[index].ref_path in self._alone
                and perturbation.reference(image) is image and perturbation.distorted(image) is image)

    def _decode(self, path: Path, others: Sequence[Path], *, again: bool) -> Image.Image | Unusable:
        """Decode an image, unless its header shows that no image in `others`, its partners, has its size."""
        if again or list(others) == [path]:
            found: Image.Image | Unusable = self.decoded.get(
                (path, *others), partial(self._decode_now, path, others))
            return found
        return self._decode_now(path, others)

    def _decode_now(self, path: Path, others: Sequence[Path]) -> Image.Image | Unusable:
        try:
            with self.measure("decode"), open_image(path) as image:
                if not any(size_of(other) in (image.size, None) for other in others):
                    return Unusable(image.size, f"{path}: no image of its pairs has its size")
                return decode_rgb(image, path, max_megapixels=self.max_megapixels)
        except ImageError as error:
            return Unusable((0, 0), str(error))

    def _tiled(self, image: Image.Image, scale: Native | None, size: tuple[int, int],
               serves: list[tuple[int, str]]) -> TiledImage:
        changed = "" if image.size == size else f", {image.width} x {image.height} as perturbed"
        try:
            with self.measure("scale"):
                pixels = scale.pixels(image) if scale else np.asarray(image)
            height, width, _ = pixels.shape
            if (width, height) != image.size:
                changed += f", {width} x {height} as scaled"
            least, reason = self.least_side
            if min(height, width) < least:
                raise ValueError(reason)
            self.check_size(height, width)
            with self.measure("cut tiles"):
                tiles = extract_tiles(pixels, window=self.window, stride=self.stride)
            return TiledImage(serves, size, tiles)
        except ValueError as error:
            return TiledImage(serves, size, error=f"the image has {size[0]} x {size[1]} pixels{changed}: "
                                                  f"{error}")


def plan_blocks(pairs: Sequence[ImagePair], *, least: int = BLOCK_PAIRS,
                share_references: bool = True) -> list[Block]:
    """Group pairs by reference, and pack the groups, in order, into blocks of at least `least` pairs.

    Without `share_references`, each pair is a group of its own.

    Examples:
        >>> one, two = (ImagePair(r, r, r, 0.0, Path(r), Path(r)) for r in "ab")
        >>> plan_blocks([one, two, one], least=3)
        [[[0, 2], [1]]]
    """
    groups: dict[Path | int, list[int]] = {}
    for index, pair in enumerate(pairs):
        groups.setdefault(pair.ref_path if share_references else index, []).append(index)
    blocks: list[Block] = []
    for group in groups.values():
        if not blocks or sum(map(len, blocks[-1])) >= least:
            blocks.append([])
        blocks[-1].append(group)
    return blocks
