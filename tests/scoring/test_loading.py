import numpy as np
import pytest
from conftest import image_pair, make_image
from PIL import Image

from zsiqa.datasets.images import open_rgb
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


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "1", "LA"])
def test_eight_bit_modes_become_rgb(mode, tmp_path):
    image = make_image(30, 20, 0).convert(mode)
    file = tmp_path / ("image.tif" if mode == "CMYK" else "image.png")
    image.save(file)
    opened = open_rgb(file)
    assert (opened.mode, opened.size) == ("RGB", (30, 20))
    np.testing.assert_array_equal(np.asarray(opened), np.asarray(image.convert("RGB")))


def test_cmyk_by_pillows_formula_and_one_bit_as_black_and_white(tmp_path):
    Image.new("CMYK", (4, 4), (10, 200, 30, 40)).save(tmp_path / "ink.tif")
    ink = [255 * (1 - value / 255) * (1 - 40 / 255) for value in (10, 200, 30)]
    # rounded
    np.testing.assert_allclose(open_rgb(tmp_path / "ink.tif").getpixel((0, 0)), ink, atol=0.5 + 1e-9)
    Image.fromarray(np.array([[0, 255]], np.uint8)).convert("1").save(tmp_path / "bit.png")
    assert [open_rgb(tmp_path / "bit.png").getpixel((x, 0)) for x in (0, 1)] == [(0, 0, 0), (255, 255, 255)]


@pytest.mark.parametrize("suffix", ["gif", "tif", "png", "webp"])
def test_of_several_frames_the_first_counts(suffix, tmp_path):
    first, second = Image.new("RGB", (8, 6), "white"), Image.new("RGB", (8, 6))
    first.save(tmp_path / f"many.{suffix}", save_all=True, append_images=[second])
    assert open_rgb(tmp_path / f"many.{suffix}").getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
def test_exif_turns_nothing_but_tiff(suffix, tmp_path):
    turned = Image.Exif()
    turned[0x0112] = 6  # a quarter
    Image.new("RGB", (8, 6)).save(tmp_path / f"turned.{suffix}", exif=turned)
    assert open_rgb(tmp_path / f"turned.{suffix}").size == ((6, 8) if suffix == "tif" else (8, 6))


def test_sixteen_bits_are_refused_rather_than_clipped(tmp_path):
    Image.fromarray(np.full((20, 30), 40000, np.uint16)).save(tmp_path / "deep.png")
    with pytest.raises(ValueError, match="expected 8 bits a channel"):
        open_rgb(tmp_path / "deep.png")


@pytest.mark.filterwarnings("ignore")  # Pillow warns of odd metadata
@pytest.mark.parametrize("suffix", ["png", "bmp", "jpg", "tif", "gif", "webp", "jp2"])
def test_damaged_files_are_oserrors(suffix, tmp_path):
    """Cut short or scrambled at many places: an image or an OSError (ValueError for a strange mode), never
    else."""
    whole = tmp_path / f"whole.{suffix}"
    make_image(64, 48, 0).save(whole)
    content = whole.read_bytes()
    random = np.random.default_rng(0)
    damaged = tmp_path / f"damaged.{suffix}"
    refused = 0
    for trial in range(60):
        broken = bytearray(content)
        if trial % 2:
            broken = broken[:int(random.integers(len(content)))]
        for _ in range(8 * (len(broken) > 0)):
            broken[int(random.integers(len(broken)))] = int(random.integers(256))
        damaged.write_bytes(broken)
        try:
            open_rgb(damaged)
        except (OSError, ValueError):
            refused += 1
    assert refused > 0


def test_a_missing_file_is_an_oserror(tmp_path):
    with pytest.raises(OSError, match="missing.png"):
        open_rgb(tmp_path / "missing.png")
