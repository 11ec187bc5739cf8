"""The built-in data set: real photographs under eight distortions, made on first use, nothing downloaded.

The photographs ship inside scikit-image and scikit-learn. They are cropped to TID2013's 512 x 384 and
distorted as in TID2013, five levels each. The label is the distortion *level*, not human opinion: a
correlation on this set shows that a metric orders levels, and nothing about human opinion.
"""

from __future__ import annotations

import csv
import importlib.util
import io
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter

from zsiqa.datasets import pairs
from zsiqa.datasets.images import open_rgb
from zsiqa.types import DatasetError, Manifest, MissingPackageError, require

RECIPE = "1"  # part of the folder's name, so that a changed recipe never reuses old images
WIDTH, HEIGHT = 512, 384
PHOTOGRAPHS = {
    "astronaut": ("skimage", "data/astronaut.png"),
    "coffee": ("skimage", "data/coffee.png"),
    "rocket": ("skimage", "data/rocket.jpg"),
    "motorcycle": ("skimage", "data/motorcycle_left.png"),
    "china": ("sklearn", "datasets/images/china.jpg"),
    "flower": ("sklearn", "datasets/images/flower.jpg"),
}

Distortion = Callable[[Image.Image, float], Image.Image]


def read(root: str | Path) -> Manifest:
    """Read the demo's pairs; build the images under `root` if they are missing.

    Returns:
        6 references x 8 distortions x 5 levels = 240 pairs, label = level (1 mild .. 5 strong).

    Raises:
        DatasetError: if a package with photographs is missing, or the folder cannot be written.
    """
    folder = Path(root) / f"recipe-{RECIPE}"
    if not folder.is_dir():
        try:
            _build(folder)
        except OSError as error:
            raise DatasetError(f"demo: cannot build the images in {folder} ({error}); give a writable folder "
                               f"with dataset.root=DIR") from error
    return Manifest(tuple(
        pair._replace(pair_id=f"demo/{Path(pair.dis).stem}", ref=Path(pair.ref).name, dis=Path(pair.dis).name)
        for pair in pairs.read(folder / "pairs.csv").pairs))


def _build(folder: Path) -> None:
    """Write images and pairs.csv to a temporary folder beside `folder`, then rename it: all or nothing."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    work = folder.with_name(f".building-{uuid.uuid4().hex[:12]}")
    work.mkdir()
    try:
        (work / "reference_images").mkdir()
        (work / "distorted_images").mkdir()
        with (work / "pairs.csv").open("w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(["ref", "dis", "mos", "type", "level"])
            for name, (package, file) in PHOTOGRAPHS.items():
                photograph = _photograph(package, file)
                ref = f"reference_images/{name}.bmp"
                photograph.save(work / ref)
                for number, (kind, (distort, strengths)) in enumerate(DISTORTIONS.items(), start=1):
                    for level, strength in enumerate(strengths, start=1):
                        dis = f"distorted_images/{name}_{number:02}_{level}.bmp"
                        distort(photograph, strength).save(work / dis)
                        writer.writerow([ref, dis, level, kind, level])
        try:
            work.rename(folder)
        except OSError:
            if not folder.is_dir():  # else another process was faster, with the same images
                raise
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _photograph(package: str, file: str) -> Image.Image:
    """Load a packaged photograph, cropped at its centre. The package is located, not imported."""
    try:
        require("demo: a photograph", package)
    except MissingPackageError as error:
        raise DatasetError(str(error)) from error
    spec = importlib.util.find_spec(package)
    [folder] = (spec.submodule_search_locations if spec else None) or [""]
    image = open_rgb(Path(folder) / file)
    left, top = (image.width - WIDTH) // 2, (image.height - HEIGHT) // 2
    return image.crop((left, top, left + WIDTH, top + HEIGHT))


def _noise(image: Image.Image, sigma: float) -> Image.Image:
    noise = np.random.default_rng(0).normal(0.0, sigma, (image.height, image.width, 3))
    return Image.fromarray(np.clip(np.asarray(image) + noise, 0, 255).round().astype(np.uint8))


def _blur(image: Image.Image, sigma: float) -> Image.Image:
    return image.filter(ImageFilter.GaussianBlur(sigma))


def _compress(image: Image.Image, **options: Any) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, **options)
    return Image.open(buffer).convert("RGB")


def _jpeg(image: Image.Image, quality: float) -> Image.Image:
    return _compress(image, format="JPEG", quality=int(quality))


def _jpeg2000(image: Image.Image, ratio: float) -> Image.Image:
    return _compress(image, format="JPEG2000", irreversible=True, quality_mode="rates",
                     quality_layers=[ratio])


def _block_loss(image: Image.Image, count: float) -> Image.Image:
    """Replace `count` random 32 x 32 blocks by a flat colour each (TID2013's type 15)."""
    random, lost = np.random.default_rng(0), image.copy()
    for _ in range(int(count)):
        left, top = int(random.integers(WIDTH - 32)), int(random.integers(HEIGHT - 32))
        lost.paste(tuple(int(c) for c in random.integers(0, 256, 3)), (left, top, left + 32, top + 32))
    return lost


def _mean_shift(image: Image.Image, shift: float) -> Image.Image:
    return image.point(lambda value: value + shift)


def _contrast(image: Image.Image, factor: float) -> Image.Image:
    return ImageEnhance.Contrast(image).enhance(factor)


def _saturation(image: Image.Image, factor: float) -> Image.Image:
    return ImageEnhance.Color(image).enhance(factor)


# Name of the distortion: (function, its strength at levels 1..5).
DISTORTIONS: dict[str, tuple[Distortion, tuple[float, ...]]] = {
    "additive_gaussian_noise": (_noise, (4, 8, 16, 28, 44)),  # sigma in grey levels
    "gaussian_blur": (_blur, (0.5, 1.0, 1.8, 3.0, 5.0)),  # sigma in pixels
    "jpeg": (_jpeg, (60, 35, 20, 10, 5)),  # quality
    "jpeg2000": (_jpeg2000, (12, 30, 60, 120, 240)),  # compression ratio
    "local_blockwise": (_block_loss, (1, 3, 7, 14, 28)),  # blocks
    "mean_shift": (_mean_shift, (8, 16, 28, 44, 64)),  # grey levels
    "contrast_change": (_contrast, (0.85, 0.7, 0.55, 0.4, 0.25)),  # factor
    "color_saturation": (_saturation, (0.8, 0.6, 0.4, 0.2, 0.0)),  # factor
}
