"""Open and decode image files: the only place where zsiqa opens one."""

from __future__ import annotations

import math
import stat
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from zsiqa.types import ImageError

# Formats in which images and quality data sets are kept, recognized by content. Pillow reads more, but some
# start another program (EPS: Ghostscript) or take files of any content for an image (TGA).
Image.init()  # registers all formats that this Pillow was built with; AVIF may be missing
FORMATS = tuple(name for name in ("PNG", "BMP", "DIB", "JPEG", "JPEG2000", "TIFF", "WEBP", "GIF", "PPM",
                                  "AVIF") if name in Image.OPEN)
EIGHT_BIT_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV", "LAB")
# Images of almost every camera are smaller. Decoding 100 megapixels takes 0.8 GB (measured), and tiles
# come on top.
MAX_MEGAPIXELS = 100
Image.MAX_IMAGE_PIXELS = None  # `decode_rgb` has the one rule on sizes, and it can be set
# Errors that Pillow's decoders raise on damaged files.
DECODER_ERRORS = (OSError, ValueError, SyntaxError, EOFError, struct.error, zlib.error, MemoryError,
                  RuntimeError, ArithmeticError, LookupError, TypeError, AttributeError, AssertionError)


@contextmanager
def open_image(path: Path) -> Iterator[Image.Image]:
    """Open an image file and read its header; its pixels are decoded when they are first used.

    Raises:
        ImageError: if it is not a regular file (opening a named pipe would wait for ever) or not an image of
            one of `FORMATS`; also for every error of Pillow while it is open.
    """
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            kind = ("a folder" if stat.S_ISDIR(mode) else "a named pipe" if stat.S_ISFIFO(mode)
                    else "a device or socket")
            raise ImageError(path, f"is {kind}, expected an image file", "give the path of a file")
        with Image.open(path, formats=FORMATS) as image:
            yield image
    except UnidentifiedImageError:
        raise ImageError(path, f"not a readable image ({path.stat().st_size} bytes)",
                         f"expected {', '.join(FORMATS)}: convert it to one of them") from None
    except DECODER_ERRORS as error:
        if isinstance(error, OSError) and error.strerror:  # of the file system; Pillow's have a text alone
            raise ImageError(path, error.strerror, "correct the path, or make the file readable") from None
        raise ImageError(path, f"not a readable image ({type(error).__name__}: {error})",
                         "restore the file from its source") from error


def decode_rgb(image: Image.Image, path: Path, *, max_megapixels: float = MAX_MEGAPIXELS) -> Image.Image:
    """Decode an open 8-bit image as RGB, without resizing: the rules are in docs/scoring.md.

    Raises:
        ImageError: if it has more pixels than permitted, or more than 8 bits a channel; converting would clip
            it silently. (Pillow itself reduces 16-bit *RGB* files to their upper 8 bits.)
    """
    megapixels = image.width * image.height / 1e6
    if megapixels > max_megapixels:
        enough = math.ceil(megapixels)
        raise ImageError(path, f"{image.width} x {image.height} pixels, expected at most {max_megapixels} "
                               f"megapixels",
                         f"max_megapixels={enough} (of zsiqa score: --max-megapixels {enough}) permits it")
    if image.mode not in EIGHT_BIT_MODES:
        raise ImageError(path, f"has Pillow mode {image.mode}, expected 8 bits a channel",
                         "convert it to 8-bit RGB")
    return image.convert("RGB")


def open_rgb(path: Path, *, max_megapixels: float = MAX_MEGAPIXELS) -> Image.Image:
    """Open an image file and decode it as `decode_rgb` does.

    Raises:
        ImageError: if it cannot be opened or decoded.
    """
    with open_image(path) as image:
        return decode_rgb(image, path, max_megapixels=max_megapixels)
