"""Levels of perturbations: names, and geometry against numpy."""

import math

import numpy as np
import pytest
from conftest import make_image

from zsiqa.perturbations import FAMILIES, PAPER, Dilate, Level, Rotate, Translate, level_of, name_of

VALUES = [0.01, 0.1, 0.23, 0.25, 0.5, 1, 1.5, 2, 2.6, 3.6, 10, 12.25, 100000, 1e6, 1e-5, 123456]


@pytest.mark.parametrize(("family", "unit"), [(family, unit) for family, units in FAMILIES.items()
                                              for unit in units])
def test_names_and_levels_are_inverse(family, unit):
    for value in [*VALUES, *([-2, -0.5] if family == "rotate" else [])]:
        level = Level(family, value, unit)
        assert level_of(name_of(level)) == level
        assert not set(name_of(level)) & set("/ @")
    assert name_of(Level(family, 0, unit)) == "original"


def test_the_names_are_those_of_the_papers_points_and_the_documented_ones():
    assert {name: name_of(level) for name, level in PAPER.items()} == {name: name for name in PAPER}
    assert level_of("translate") == Level("translate_x", 1.0, "pct")
    assert level_of("translate_y_2pct") == Level("translate_y", 2.0, "pct")
    assert level_of("translate_x_0.5pct") == Level("translate_x", 0.5, "pct")
    assert level_of("rotate_0.25deg") == Level("rotate", 0.25, "deg")


@pytest.mark.parametrize("name", [
    "original", "shear", "translate_x_1pct", "dilate_1pct", "rotate_1deg", "rotate_0.250deg", "rotate_0deg",
    "rotate_1.2.3deg", "rotate_2px", "dilate_3px", "translate_2pct", "rotate_2deg_", "rotate_1e400deg",
    "rotate_--1deg", ""])
def test_other_names_have_no_level(name):
    assert level_of(name) is None


@pytest.mark.parametrize("level", [Level("rotate", 1.2345678, "deg"), Level("rotate", 2, "px"),
                                   Level("shear", 2, "deg"), Level("rotate", math.nan, "deg")])
def test_levels_without_a_name_are_refused(level):
    with pytest.raises(ValueError, match="expected one of|at most six digits"):
        name_of(level)


@pytest.mark.parametrize(("built", "name"), [
    (Translate(), "translate"), (Translate(percent=0.5), "translate_x_0.5pct"),
    (Translate(pixels=3), "translate_x_3px"), (Translate(percent=1, axis="y"), "translate_y_1pct"),
    (Dilate(2.6), "dilate_2.6pct"), (Rotate(0.25), "rotate_0.25deg"), (Rotate(0), "original")])
def test_perturbations_know_their_level(built, name):
    assert name_of(built.level) == name


@pytest.mark.parametrize("size", [(300, 225), (301, 224), (64, 90)])
@pytest.mark.parametrize(("options", "per_mille", "fixed"), [
    ({"pixels": 3}, 0, 3), ({"pixels": 0}, 0, 0), ({"percent": 2.5}, 25, 0), ({"percent": 1}, 10, 0)])
@pytest.mark.parametrize("axis", ["x", "y"])
def test_translation_is_a_crop_of_both_images(size, options, per_mille, fixed, axis):
    image = make_image(*size, seed=3)
    pixels = np.asarray(image)
    turned = pixels if axis == "x" else pixels.transpose(1, 0, 2)
    offset = fixed - (-turned.shape[1] * per_mille // 1000)
    expected = turned[:, :turned.shape[1] - offset], turned[:, offset:]
    moved = np.concatenate([np.zeros_like(turned[:, :offset]), expected[0]], axis=1)
    if axis == "y":
        expected = tuple(one.transpose(1, 0, 2) for one in expected)
        moved = moved.transpose(1, 0, 2)
    translate = Translate(**options, axis=axis)
    np.testing.assert_array_equal(np.asarray(translate.reference(image)), expected[0])
    np.testing.assert_array_equal(np.asarray(translate.distorted(image)), expected[1])
    kept = Translate(**options, axis=axis, keep_reference=True)
    assert kept.reference(image) is image
    np.testing.assert_array_equal(np.asarray(kept.distorted(image)), moved)


def test_a_shift_by_more_than_the_image_leaves_nothing():
    image = make_image(40, 30, seed=1)
    for axis, size in (("x", (0, 30)), ("y", (40, 0))):
        shifted = Translate(pixels=50, axis=axis)
        assert shifted.reference(image).size == shifted.distorted(image).size == size


@pytest.mark.parametrize(("options", "error"), [
    ({"pixels": 2.5}, "whole number of at least 0, found 2.5"), ({"pixels": -1}, "at least 0, found -1"),
    ({"pixels": 1, "percent": 1}, "percent or pixels, not both"), ({"axis": "z"}, "axis must be x or y")])
def test_impossible_translations_are_refused(options, error):
    with pytest.raises(ValueError, match=error):
        Translate(**options)


def _sample(pixels, from_x, from_y):
    """Bilinear samples at positions between pixel centres; edges repeated, float64."""
    height, width, _ = pixels.shape
    x, y = np.clip(from_x, 0, width - 1), np.clip(from_y, 0, height - 1)
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    right, bottom = np.minimum(left + 1, width - 1), np.minimum(top + 1, height - 1)
    across, down = (x - left)[..., None], (y - top)[..., None]
    upper = pixels[top, left] * (1 - across) + pixels[top, right] * across
    lower = pixels[bottom, left] * (1 - across) + pixels[bottom, right] * across
    return upper * (1 - down) + lower * down


@pytest.mark.parametrize("percent", [0.25, 2.6, 9])
def test_dilation_at_levels_against_float64(percent):
    width, height = 300, 224
    image = make_image(width, height, seed=3)
    grow = [2 * math.ceil(round(percent * side / 200, 9)) for side in (width, height)]
    y, x = np.mgrid[:height, :width] + 0.5
    expected = _sample(np.asarray(image, dtype=np.float64),
                       (x + grow[0] / 2) * width / (width + grow[0]) - 0.5,
                       (y + grow[1] / 2) * height / (height + grow[1]) - 0.5)
    found = np.asarray(Dilate(percent).distorted(image), dtype=np.float64)
    # Pillow rounds to 8 bits after each of its two passes: at most half a grey level each.
    assert np.abs(found - expected).max() <= 1.0 + 1e-9  # the float64 sums themselves round
