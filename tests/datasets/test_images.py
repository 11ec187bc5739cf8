import os
import subprocess
import sys
import warnings

import numpy as np
import pytest
from conftest import make_image
from fuzz import damaged, fuzz
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, features

from zsiqa.datasets.images import FORMATS, open_image, open_rgb
from zsiqa.types import ImageError

TURNED = Image.Exif()
TURNED[0x0112] = 6  # a quarter
SAVED = {"PNG": {}, "BMP": {}, "DIB": {}, "JPEG": {"exif": TURNED}, "JPEG2000": {},
         "TIFF": {"compression": "tiff_lzw"}, "WEBP": {}, "GIF": {}, "PPM": {}, "AVIF": {}}


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
    Image.new("RGB", (8, 6)).save(tmp_path / f"turned.{suffix}", exif=TURNED)
    assert open_rgb(tmp_path / f"turned.{suffix}").size == ((6, 8) if suffix == "tif" else (8, 6))


def test_sixteen_bits_are_refused_rather_than_clipped(tmp_path):
    Image.fromarray(np.full((20, 30), 40000, np.uint16)).save(tmp_path / "deep.png")
    with pytest.raises(ImageError, match="expected 8 bits a channel"):
        open_rgb(tmp_path / "deep.png")


def test_of_a_camera_with_two_lenses_the_first_image_counts(tmp_path):
    """An MPO file is a JPEG file with more images behind the first."""
    first, second = Image.new("RGB", (8, 6), "white"), Image.new("RGB", (8, 6))
    first.save(tmp_path / "two.mpo", save_all=True, append_images=[second])
    assert open_rgb(tmp_path / "two.mpo").getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize("place", ["folder", "pipe", "device"])
def test_only_regular_files_are_opened(place, tmp_path):
    """In another process: to open a named pipe would wait for ever."""
    path = tmp_path / "image.png"
    if place == "folder":
        path.mkdir()
    elif place == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
    code = ("import sys; from pathlib import Path; from zsiqa.datasets.images import open_rgb; "
            "open_rgb(Path(sys.argv[1]))")
    done = subprocess.run([sys.executable, "-c", code, path], stderr=subprocess.PIPE, text=True, timeout=60,
                          check=False)
    assert f"ImageError: {path}: is a " in done.stderr
    assert ", expected an image file; give the path of a file" in done.stderr


def test_symbolic_links_to_files_are_followed(tmp_path):
    make_image(8, 6, 0).save(tmp_path / "image.png")
    (tmp_path / "link").symlink_to("image.png")
    assert open_rgb(tmp_path / "link").size == (8, 6)


@pytest.mark.parametrize(("name", "reason"), [
    ("missing.png", "No such file or directory; correct the path"),
    ("text.png/image.png", "Not a directory; correct the path"),
    ("text.png", r"not a readable image \(4 bytes\); expected PNG, .*: convert it to one of them"),
    ("cut.png", r"not a readable image \(OSError: image file is truncated.*\); restore the file"),
    ("drawing.png", r"not a readable image .*; expected PNG, "),
])
def test_errors_name_file_cause_and_remedy(name, reason, tmp_path, monkeypatch):
    monkeypatch.setattr(subprocess, "Popen", None)  # Ghostscript
    (tmp_path / "text.png").write_text("text")
    make_image(8, 6, 0).save(tmp_path / "drawing.png", "EPS")
    make_image(80, 60, 0).save(tmp_path / "cut.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:5000])
    with pytest.raises(ImageError, match=f"^{tmp_path / name}: {reason}"):
        open_rgb(tmp_path / name)


def test_large_images_are_refused_before_they_are_decoded(tmp_path):
    """By one rule: Pillow's own warns at 89 megapixels and refuses 179."""
    Image.new("1", (20000, 10000)).save(tmp_path / "large.png")
    content = (tmp_path / "large.png").read_bytes()
    (tmp_path / "large.png").write_bytes(content[:-1000])  # decoding would fail
    with warnings.catch_warnings(action="error"):
        with pytest.raises(ImageError, match=r"large.png: 20000 x 10000 pixels, expected at most 100 "
                                             r"megapixels; max_megapixels=200 \(of zsiqa score: "
                                             r"--max-megapixels 200\)"):
            open_rgb(tmp_path / "large.png")
        with pytest.raises(ImageError, match="truncated"):
            open_rgb(tmp_path / "large.png", max_megapixels=200)


def test_every_format_is_read(tmp_path):
    assert set(SAVED) - set(FORMATS) <= {"AVIF"} - set(features.get_supported())
    for name in FORMATS:
        make_image(64, 48, 0).save(tmp_path / "image", name, **SAVED[name])
        assert open_rgb(tmp_path / "image").size == (64, 48), "by its content, whatever its name"


@pytest.mark.filterwarnings("ignore")  # Pillow warns of odd metadata
@pytest.mark.parametrize("name", FORMATS)
def test_damaged_files_are_images_or_one_error(name, tmp_path):
    """An error that names the file, or an image of the size in the header."""
    path = tmp_path / "image"
    make_image(64, 48, 0).save(path, name, **SAVED[name])
    whole = path.read_bytes()

    @fuzz(100)
    @given(st.data())
    def read(data):
        path.write_bytes(data.draw(damaged(whole)))
        error = ""
        try:
            with open_image(path) as image:
                size = image.size
            found = open_rgb(path, max_megapixels=1)
        except ImageError as caught:
            error = str(caught)
        assert error.startswith(f"{path}: ") if error else (found.mode, found.size) == ("RGB", size)

    read()
