import csv
import io
import math
import tarfile

import numpy as np
import pytest
from conftest import make_image
from PIL import Image

from zsiqa.perturbations import Dilate, Original, Rotate, Translate

SIZES = [(512, 384), (288, 288), (627, 482), (618, 453), (225, 301)]
ALL = {"original": Original(), "translate": Translate(), "dilate": Dilate(), "rotate": Rotate()}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", ALL)
def test_both_images_end_at_one_size_and_only_translate_changes_the_reference(name, size):
    image = make_image(*size, seed=1)
    before = np.asarray(image).copy()
    reference, distorted = ALL[name].reference(image), ALL[name].distorted(image)
    assert reference.size == distorted.size
    assert (reference is image) == (name != "translate")
    assert (distorted is image) == (name == "original")
    np.testing.assert_array_equal(np.asarray(image), before)


@pytest.mark.parametrize(("size", "offset"), [*zip(SIZES, [6, 3, 7, 7, 3], strict=True)])
def test_translate_crops_left_and_right(size, offset):
    assert offset == math.ceil(size[0] / 100)
    image = make_image(*size, seed=2)
    pixels = np.asarray(image)
    np.testing.assert_array_equal(np.asarray(Translate().reference(image)), pixels[:, :size[0] - offset])
    np.testing.assert_array_equal(np.asarray(Translate().distorted(image)), pixels[:, offset:])


def test_translate_as_the_paper_says():
    """The reference stays; the content moves right, and black comes in."""
    image = make_image(225, 40, seed=2)
    translate = Translate(keep_reference=True)
    assert translate.reference(image) is image
    moved = np.asarray(translate.distorted(image))
    np.testing.assert_array_equal(moved[:, 3:], np.asarray(image)[:, :-3])
    assert (moved[:, :3] == 0).all()


def test_rotate_resamples_as_it_is_told():
    image = make_image(225, 40, seed=2)
    found = {resample: np.asarray(Rotate(resample=resample).distorted(image), dtype=float)
             for resample in ("nearest", "bilinear", "bicubic")}
    np.testing.assert_array_equal(found["nearest"], np.asarray(Rotate().distorted(image)))
    for smooth in ("bilinear", "bicubic"):
        assert 0 < np.abs(found[smooth] - found["nearest"]).mean() < 10, "the same turn, by other neighbours"
    with pytest.raises(ValueError, match="resample must be nearest, bilinear or bicubic, found 'lanczos'"):
        Rotate(resample="lanczos")


@pytest.mark.parametrize(("kind", "percent"),
                         [(Translate, 100), (Translate, -1), (Dilate, 101), (Dilate, -1)])
def test_impossible_amounts_are_refused(kind, percent):
    with pytest.raises(ValueError, match=f"percent must be at least 0 .* found {percent}"):
        kind(percent=percent)


def _reference_bilinear(pixels, length, axis):
    """Enlarge or keep one axis: linear interpolation between pixel centres, edges repeated, float64."""
    old = pixels.shape[axis]
    centres = np.clip((np.arange(length) + 0.5) * old / length - 0.5, 0, old - 1)
    low = np.floor(centres).astype(int)
    high = np.minimum(low + 1, old - 1)
    weight = (centres - low).reshape([-1 if a == axis else 1 for a in range(3)])
    return np.take(pixels, low, axis) * (1 - weight) + np.take(pixels, high, axis) * weight


@pytest.mark.parametrize("size", [(512, 384), (288, 288), (400, 250)])
def test_dilate_even_sides_against_float64(size):
    image = make_image(*size, seed=3)
    pixels = np.asarray(image, dtype=np.float64)
    growth = [2 * math.ceil(side / 200) for side in size]
    grown = _reference_bilinear(_reference_bilinear(pixels, size[0] + growth[0], 1), size[1] + growth[1], 0)
    left, top = growth[0] // 2, growth[1] // 2
    expected = grown[top:top + size[1], left:left + size[0]]
    # Pillow rounds to 8 bits after each of its two passes: at most half a grey level each.
    assert np.abs(np.asarray(Dilate().distorted(image), dtype=np.float64) - expected).max() <= 1.0


def test_dilate_of_an_odd_side_crops_one_pixel_more_and_shrinks_back():
    image = make_image(627, 453, seed=4)
    grown = image.resize((635, 459), Image.Resampling.BILINEAR)  # 627 + 8, 453 + 6
    box = (317 - 314, 229 - 227, 317 + 314, 229 + 227)  # centres 635 // 2, 459 // 2; half sides rounded up
    cropped = grown.crop(box)
    assert cropped.size == (628, 454)
    expected = cropped.resize((627, 453), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(np.asarray(Dilate().distorted(image)), np.asarray(expected))


@pytest.mark.parametrize(("size", "degrees"), [
    ((512, 384), 1), ((627, 482), 1), ((300, 224), 0.25), ((300, 224), 3.6), ((300, 224), -2),
    ((300, 224), 18)])
def test_rotate_is_clockwise_nearest_with_black_corners(size, degrees):
    image = make_image(*size, seed=5)
    pixels = np.maximum(np.asarray(image), 1)  # black can then only come from outside
    turned = np.asarray(Rotate(degrees).distorted(Image.fromarray(pixels)))
    width, height = size
    # Where does each output pixel's centre come from? y points down: clockwise on the screen is positive.
    angle = math.radians(degrees)
    y, x = np.mgrid[:height, :width] + 0.5
    dx, dy = x - width / 2, y - height / 2
    from_x = math.cos(angle) * dx + math.sin(angle) * dy + width / 2
    from_y = -math.sin(angle) * dx + math.cos(angle) * dy + height / 2
    inside = (from_x >= 0) & (from_x < width) & (from_y >= 0) & (from_y < height)
    expected = np.zeros_like(pixels)
    expected[inside] = pixels[from_y[inside].astype(int), from_x[inside].astype(int)]
    # Pillow steps in 16-bit fixed point: a centre within 1e-4 or so of a pixel's edge may fall to its
    # neighbour.
    assert (turned == expected).all(-1).mean() > 0.998
    assert (turned[0, 0] == 0).all() == (not inside[0, 0])  # 0.25 degrees do not reach this corner
    assert (turned[height // 2, width // 2] > 0).all()


def test_psnr_of_the_real_tid2013_pair_is_the_authors(shared):
    """Decoding and all four perturbations, against the authors' own per-image PSNR of I01 / i01_01_5.

    Source: ZS-IQA `results/tid2013_psnr*.csv` at commit 1d8c1ce. 1e-4 dB: the files' own rounding is far
    finer.
    """
    reference = Image.open(shared / "tid2013/reference_images/I01.BMP").convert("RGB")
    distorted = Image.open(shared / "tid2013/distorted_images/i01_01_5.bmp").convert("RGB")
    suffixes = {"original": "", "translate": "_tra-1", "dilate": "_sca-1", "rotate": "_rot-1"}
    with tarfile.open(shared / "official/results.tar.xz") as archive:
        members = {member.name.rpartition("/")[2]: member for member in archive}
        for name, suffix in suffixes.items():
            lines = io.TextIOWrapper(archive.extractfile(members[f"tid2013_psnr{suffix}.csv"]))
            row = next(row for row in csv.DictReader(lines) if row["dis"].lower() == "i01_01_5.bmp")
            a, b = (np.asarray(image, dtype=np.float64) / 255
                    for image in (ALL[name].reference(reference), ALL[name].distorted(distorted)))
            psnr = 10 * math.log10(1 / ((a - b) ** 2).mean())
            assert psnr == pytest.approx(float(row["pred"]), abs=1e-4), name
