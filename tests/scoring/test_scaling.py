"""Scales against NumPy, Pillow and the code of DISTS; one pass at several scales against one scale a pass."""

import dataclasses

import numpy as np
import pytest
import torch
from conftest import add_noise, image_pair, make_image
from PIL import Image
from torchvision.transforms import functional as torchvision

from zsiqa.datasets import images as decoding
from zsiqa.perturbations import Rotate, Translate
from zsiqa.scoring import loading
from zsiqa.scoring.engine import Failed, Scorer
from zsiqa.scoring.scaling import AveragePooling, Native, ReflectPad, ShortSide

SCALES = {"average": AveragePooling(64), "short": ShortSide(50), "enlarged": ShortSide(150, enlarge=True)}


def tensor(image):
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)[None]


@pytest.mark.parametrize(("height", "width", "factor"), [
    (384, 512, 2), (512, 768, 3), (288, 288, 1),  # TID2013, LIVE, PIPAL
    (401, 640, 2), (896, 333, 4),  # 2.5 and 3.5: halves to even
    (101, 383, 1), (385, 100, 2), (1023, 77, 4)])
def test_average_pooling_against_numpy(height, width, factor):
    """The factor and the means of `downsample` of Liao et al., written with NumPy from its formula."""
    assert factor == int(max(1, np.round(max(height, width) / 256)))
    image = make_image(width, height, 0)
    rows, columns = height // factor, width // factor
    pixels = np.asarray(image, np.float64)[:rows * factor, :columns * factor]
    expected = pixels.reshape(rows, factor, columns, factor, 3).mean((1, 3))
    scale = AveragePooling(256)
    assert scale.size(height, width) == (rows, columns)
    # float32 sums of at most 16 whole numbers up to 255 are exact; a division rounds by 6e-8 of 255.
    np.testing.assert_allclose(scale.pixels(image), expected, rtol=0, atol=2e-5)
    in_units = scale(tensor(image).double() / 255)[0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(255 * in_units, expected, rtol=1e-12)


@pytest.mark.parametrize("size", [(512, 384), (301, 257), (257, 611), (640, 480)])
@pytest.mark.parametrize("side", [256, 224, 97])
def test_the_short_side_against_pillow_and_against_the_code_of_dists(size, side):
    image = make_image(*size, 1)
    found = ShortSide(side).pixels(image)
    dists = torchvision.resize(image, side)  # `prepare_image` of DISTS
    assert found.shape[:2] == (dists.height, dists.width)
    channels = [channel.convert("F").resize(dists.size, Image.Resampling.BILINEAR)
                for channel in image.split()]  # Pillow's filter without rounding to 8 bits
    # PyTorch computes a filter's place in float32: up to 4e-5 of a pixel at 611, where neighbours differ by
    # at most 50 grey levels.
    np.testing.assert_allclose(found, np.stack(list(map(np.asarray, channels)), axis=-1), rtol=0, atol=2e-3)
    # Its 8-bit images are rounded after each of the two directions: at most one grey level.
    np.testing.assert_allclose(found, np.asarray(dists, np.float32), rtol=0, atol=1.01)


def test_enlarging_against_pillow():
    image = make_image(131, 90, 2)
    found = ShortSide(224, enlarge=True).pixels(image)
    assert found.shape == (224, 326, 3)
    channels = [channel.convert("F").resize((326, 224), Image.Resampling.BILINEAR)
                for channel in image.split()]
    np.testing.assert_allclose(found, np.stack(list(map(np.asarray, channels)), axis=-1), rtol=0, atol=5e-4)


@pytest.mark.parametrize(("scale", "size"), [
    (Native(), (300, 200)), (AveragePooling(256), (383, 288)), (ShortSide(256), (400, 256)),
    (ShortSide(256), (300, 200)), (ShortSide(224, enlarge=True), (224, 300)),
    (ReflectPad(ShortSide(256), 200), (300, 200))])
def test_nothing_to_do_changes_nothing(scale, size):
    image = make_image(*size, 3)
    images = tensor(image)
    assert scale(images) is images
    pixels = scale.pixels(image)
    assert pixels.dtype == np.uint8
    np.testing.assert_array_equal(pixels, np.asarray(image))


@pytest.mark.parametrize("scale", [AveragePooling(4), ShortSide(4), ShortSide(14, enlarge=True),
                                   ReflectPad(ShortSide(4), 7)])
def test_gradients(scale, device):
    images = torch.rand(1, 1, 9, 11, dtype=torch.float64, device=device, requires_grad=True)
    assert scale(images).shape[-2:] != images.shape[-2:]
    # A GPU adds the gradients of one pixel in any order, in float64.
    assert torch.autograd.gradcheck(scale, images, nondet_tol=0.0 if device == "cpu" else 1e-12)


@pytest.mark.parametrize("scale", [AveragePooling(43), ShortSide(97), ShortSide(197, enlarge=True)])
def test_white_and_black_stay_in_range_and_keep_their_gradient(scale, device):
    """Weights of float32 do not add up to 1 exactly."""
    for dtype in (torch.uint8, torch.float32):
        white = torch.ones(1, 3, 131, 173, dtype=dtype, device=device)
        white[..., 60:, :] = 0
        assert scale(white).min() == 0
        assert scale(white).max() == 1
    images = white.requires_grad_()
    scale(images)[..., -1, 0].sum().backward()
    assert images.grad.sum().item() == pytest.approx(3, rel=1e-6)


@pytest.mark.parametrize("side", [0, 2.5, True, "256"])
def test_a_side_is_a_whole_number(side):
    with pytest.raises(ValueError, match="side must be a whole number of at least 1"):
        ShortSide(side)


def test_nothing_left_is_an_error():
    with pytest.raises(ValueError, match="pooling by 4 x 4 leaves nothing of a side of 3 pixels"):
        AveragePooling(256).size(1000, 3)


class Means(torch.nn.Module):
    """A backbone of one layer: maps of 4 x 4 pixels' means."""

    def forward(self, tiles):
        return {"features": (torch.nn.functional.avg_pool2d(tiles, 4)[:, None],)}


def difference(ref, dis):
    return (ref[0] - dis[0]).abs().mean((1, 2, 3, 4))


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pairs")
    found = []
    for number, size in enumerate([(301, 222), (130, 180), (222, 301)]):
        reference = make_image(*size, number)
        reference.save(folder / f"{number}.png")
        for level in (3, 9):
            add_noise(reference, level, level).save(folder / f"{number}_{level}.png")
            found.append(image_pair(folder / f"{number}.png", folder / f"{number}_{level}.png"))
    return found


@pytest.mark.parametrize("window", [40, None])
def test_one_pass_at_several_scales_decodes_each_image_once(pairs, window, monkeypatch):
    decoded = []
    monkeypatch.setattr(loading, "decode_rgb", lambda image, path, **limit:
                        decoded.append(path.name) or decoding.decode_rgb(image, path, **limit))
    perturbations = {"rotate": Rotate(), "translate": Translate()}
    conditions = [(name, scale) for name in perturbations for scale in ("native", *SCALES)]
    settings = {"distances": {("features", "l1"): difference}, "window": window, "stride": 30}
    found = {(one.index, *one.condition.split("@")): one.scores["features", "l1"] for one in Scorer(
        Means(), perturbations={f"{name}@{scale}": perturbations[name] for name, scale in conditions},
        scales={f"{name}@{scale}": SCALES[scale] for name, scale in conditions if scale != "native"},
        **settings).score(pairs)}
    assert len(decoded) == len({path for pair in pairs for path in (pair.ref_path, pair.dis_path)})
    assert len(found) == len(pairs) * len(conditions)
    for (index, name, scale), score in found.items():
        images = []
        for path, change in ((pairs[index].ref_path, perturbations[name].reference),
                             (pairs[index].dis_path, perturbations[name].distorted)):
            image = change(Image.open(path))
            images.append(SCALES.get(scale, Native())(tensor(image).float() / 255))
        height, width = images[0].shape[-2:]
        places = ([(y, x) for y in starts(height, window) for x in starts(width, window)]
                  if window else [(0, 0)])
        cut = [torch.cat([one[..., y:y + (window or height), x:x + (window or width)] for y, x in places])
               for one in images]
        expected = difference(*(Means()(one)["features"] for one in cut)).mean().item()
        # Pooled in [0, 255] and divided there, in [0, 1] here: float32's rounding, 1e-7, of values up to 1 in
        # differences of 0.01.
        assert score == pytest.approx(expected, rel=3e-5), (index, name, scale)


def starts(side, window):
    return [*range(0, side - window, 30), side - window]


def test_a_scale_without_effect_is_equal_to_the_bit(pairs):
    settings = {"distances": {("features", "l1"): difference}, "perturbations": {"original": Rotate()},
                "window": 40, "stride": 30}
    native, scaled = ([dataclasses.astuple(one) for one in Scorer(
        Means(), scales=scales, **settings).score(pairs)] for scales in ({}, {"original": ShortSide(256)}))
    assert native == scaled


def test_sides_under_the_window_name_both_ways_out(pairs):
    outcomes = list(Scorer(Means(), distances={("features", "l1"): difference}, window=120, stride=90,
                           perturbations={"original": Rotate()}, scales={"original": AveragePooling(150)}
                           ).score(pairs[:1]))
    assert isinstance(outcomes[0], Failed)
    assert str(outcomes[0].error).endswith(
        "the image has 301 x 222 pixels, 150 x 111 as scaled: a side of 111 pixels is shorter than the "
        "120-pixel tile; score whole images (window=null), or at another scale (scale=short_224)")
