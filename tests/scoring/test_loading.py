import numpy as np
from conftest import image_pair, make_image
from PIL import Image

from zsiqa.perturbations import Dilate, Original, Rotate, Translate
from zsiqa.scoring import loading
from zsiqa.scoring.loading import Loader, plan_blocks

ALL = {"original": Original(), "translate": Translate(), "dilate": Dilate(), "rotate": Rotate()}


def test_blocks_hold_whole_groups_in_order_of_appearance(tmp_path):
    pairs = [image_pair(tmp_path / f"r{index % 7}", tmp_path / f"d{index}") for index in range(70)]
    blocks = plan_blocks(pairs, least=25)
    assert [len(block) for block in blocks] == [3, 3, 1]
    groups = [group for block in blocks for group in block]
    assert groups == [list(range(start, 70, 7)) for start in range(7)]


def test_a_block_is_the_reference_with_its_variants_then_the_distorted_images(tmp_path):
    make_image(330, 240, 0).save(tmp_path / "ref.png")
    for name in "ab":
        make_image(330, 240, 1).save(tmp_path / f"{name}.png")
    pairs = [image_pair(tmp_path / "ref.png", tmp_path / f"{name}.png") for name in "ab"]
    loader = Loader(pairs, ALL, window=224, stride=200, workers=3, ahead=1)
    (block,) = [[list(variants) for variants in images] for images in loader.blocks(lambda *_: True)]
    reference, *distorted = block
    assert [sorted({name for _, name in image.serves}) for image in reference] == [
        ["dilate", "original", "rotate"], ["translate"]], "one encoding serves three perturbations"
    assert [[image.serves for image in images] for images in distorted] == [
        [[(index, name)] for name in ALL] for index in range(2)]
    assert all(image.tiles.shape == (4, 224, 224, 3) for images in block for image in images)
    np.testing.assert_array_equal(reference[1].tiles[0],
                                  np.asarray(Image.open(tmp_path / "ref.png"))[:224, :224])


def test_blocks_with_nothing_to_do_are_not_loaded(tmp_path):
    pairs = [image_pair(tmp_path / f"missing{index}", tmp_path / "missing") for index in range(200)]
    loader = Loader(pairs, ALL, window=224, stride=200, workers=1, ahead=1)
    blocks = [sum(1 for _ in images) for images in loader.blocks(lambda index, _: index == 130)]
    assert blocks == [128], "64 groups of a reference and one pair"


def test_pairs_of_two_sizes_fail_before_anything_is_decoded(tmp_path, monkeypatch):
    """A reference is decoded for the pairs that have its size; where there is none, nothing is."""
    for name, size in {"ref": (64, 80), "same": (64, 80), "other": (80, 64), "alone": (70, 70)}.items():
        make_image(*size, 0).save(tmp_path / f"{name}.png")
    (tmp_path / "text.png").write_text("text")
    decoded = []
    decode = loading.decode_rgb
    monkeypatch.setattr(loading, "decode_rgb", lambda image, path, **limit:
                        decoded.append(path.stem) or decode(image, path, **limit))
    pairs = [image_pair(tmp_path / f"{ref}.png", tmp_path / f"{dis}.png") for ref, dis in (
        ("ref", "other"), ("ref", "same"), ("alone", "other"), ("alone", "ref"), ("text", "other"))]
    loader = Loader(pairs, {"original": Original()}, window=64, stride=60, workers=1, ahead=1)
    (block,) = [[images[0] for images in block] for block in loader.blocks(lambda *_: True)]
    assert decoded == ["ref", "same", "other"], "the last one of an unreadable reference"
    assert [image.size for image in block] == [(64, 80), (80, 64), (64, 80),  # the reference, its pairs
                                               (70, 70), (80, 64), (64, 80), (0, 0), (80, 64)]
    assert [bool(image.error) for image in block] == [False, True, False, True, True, True, True, False]


def test_images_beyond_the_limit_are_not_decoded(tmp_path):
    Image.new("RGB", (2000, 1001)).save(tmp_path / "large.png")
    loader = Loader([image_pair(tmp_path / "large.png", tmp_path / "large.png")], {"original": Original()},
                    window=224, stride=200, workers=1, ahead=1, max_megapixels=2)
    (block,) = [[images[0] for images in block] for block in loader.blocks(lambda *_: True)]
    for image, kind in zip(block, ("reference", "distorted image"), strict=True):
        assert image.error.startswith(f"{kind} {tmp_path / 'large.png'}: 2000 x 1001 pixels, expected at "
                                      "most 2 megapixels; max_megapixels=3 ")
