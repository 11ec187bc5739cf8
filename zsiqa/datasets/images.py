"""Decode image files."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

from PIL import Image, UnidentifiedImageError

EIGHT_BIT_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV", "LAB")
# Errors that Pillow's decoders raise on damaged files, in addition to OSError and ValueError.
DECODER_ERRORS = (SyntaxError, EOFError, struct.error, zlib.error, Image.DecompressionBombError, MemoryError,
                  NotImplementedError, OverflowError, IndexError, KeyError, TypeError, AttributeError)


def open_rgb(path: Path) -> Image.Image:
    """Decode an 8-bit image as RGB, without resizing: the rules are in docs/scoring.md.

    Raises:
        OSError: if the file is missing or is not a readable image.
        ValueError: if its mode has more than 8 bits a channel; converting would clip it silently. (Pillow
            itself reduces 16-bit *RGB* files to their upper 8 bits.)
    """
    try:
        with Image.open(path) as image:
            if image.mode not in EIGHT_BIT_MODES:
                raise ValueError(f"has Pillow mode {image.mode}, expected 8 bits a channel; convert it to "
                                 f"8-bit RGB")
            return image.convert("RGB")
    except UnidentifiedImageError:
        raise OSError(f"not a readable image ({path.stat().st_size} bytes)") from None
    except DECODER_ERRORS as error:
        raise OSError(f"not a readable image ({type(error).__name__}: {error})") from error
