import numpy as np
from conftest import image_pair, make_image
from PIL import Image

from zsiqa.perturbations import Dilate, Original, Rotate, Translate
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
