"""Shared fixtures: small photograph-like images, made from seeds."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from zsiqa.types import ImagePair


def make_image(width: int, height: int, seed: int) -> Image.Image:
    """Smooth colour blobs with some grain, 8-bit RGB."""
    random = np.random.default_rng(seed)
    coarse = Image.fromarray(random.integers(0, 256, (8, 8, 3), dtype=np.uint8)).resize((width, height), Image.BICUBIC)
    grain = random.normal(0, 6, (height, width, 3))
    return Image.fromarray(np.clip(np.asarray(coarse) + grain, 0, 255).astype(np.uint8))


def add_noise(image: Image.Image, sigma: float, seed: int) -> Image.Image:
    noise = np.random.default_rng(seed).normal(0, sigma, (image.height, image.width, 3))
    return Image.fromarray(np.clip(np.asarray(image) + noise, 0, 255).astype(np.uint8))


def write_pairs(folder: Path, sizes: list[tuple[int, int]], levels: int) -> Path:
    """References of the given sizes (W, H) with `levels` distorted images each; returns the CSV, level = mos."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for number, (width, height) in enumerate(sizes):
        reference = make_image(width, height, number)
        reference.save(folder / f"ref{number}.png")
        for level in range(1, levels + 1):
            # The mildest level is close to the reference: where rounding shows first.
            add_noise(reference, 0.8 * level**2, seed=level).save(folder / f"dis{number}_{level}.png")
            rows.append([f"ref{number}.png", f"dis{number}_{level}.png", level])
    # Interleaved, so that groups are not runs of neighbouring rows.
    rows.sort(key=lambda row: (row[2], row[0]))
    with (folder / "pairs.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([["ref", "dis", "mos"], *rows])
    return folder / "pairs.csv"


def write_images(folder: Path, names: list[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        Image.new("RGB", (8, 8)).save(folder / name)


def image_pair(ref: Path, dis: Path) -> ImagePair:
    return ImagePair(dis.name, ref.name, dis.name, 0.0, ref, dis)


@pytest.fixture(scope="session")
def shared() -> Path:
    """Reference material that is not part of the repository: ZSIQA_TEST_SHARED names its folder."""
    folder = os.environ.get("ZSIQA_TEST_SHARED")
    if not folder:
        pytest.skip("set ZSIQA_TEST_SHARED to the folder with tid2013/ and official/results.tar.xz")
    return Path(folder)
