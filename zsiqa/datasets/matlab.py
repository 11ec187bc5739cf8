"""Read numbers and texts from a MATLAB 5 file (`save -v6`, `-v7`), the format of LIVE's labels.

scipy's `loadmat` is used only in tests, for comparison: it is compiled, and some damaged files crash the
whole process. Format: "MAT-File Format", MathWorks, chapter 1.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np

HEADER = 128  # bytes; the last two give the byte order
MATRIX, COMPRESSED = 14, 15  # types of elements
NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
TEXTS = {1: "latin-1", 2: "latin-1", 4: "utf-16", 16: "utf-8", 17: "utf-16"}
CELL, CHARACTERS, NUMERIC = 1, 4, range(6, 16)  # classes of arrays
LARGEST = 1 << 26  # bytes of an unpacked element; LIVE's files have 66 kB
DEEPEST = 4  # cells within cells


def read_variables(data: bytes) -> dict[str, Any]:
    """Read the variables of a file.

    Returns:
        By name: a vector for numbers of any shape (column by column), a str for characters, a list for
        cells, None for anything else.

    Raises:
        ValueError: if the file has another format, or is damaged.
    """
    try:
        return _variables(data)
    except (struct.error, zlib.error, KeyError) as error:
        raise ValueError(f"damaged ({error})") from error


def _variables(data: bytes) -> dict[str, Any]:
    order = {b"IM": "<", b"MI": ">"}.get(data[126:HEADER])
    if order is None or not data.startswith(b"MATLAB 5"):
        raise ValueError("no MATLAB 5 file")
    variables: dict[str, Any] = {}
    for kind, body in _elements(data[HEADER:], order):
        if kind == COMPRESSED:
            (kind, body), = _elements(_unpacked(body), order)
        if kind != MATRIX:
            raise ValueError(f"element of type {kind} where an array was expected")
        name, value = _array(body, order, DEEPEST)
        if not re.fullmatch(r"\w*", name, re.ASCII):  # MATLAB's own data have no name
            raise ValueError(f"a variable named {name!r}")
        variables[name] = value
    return variables


def _elements(data: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    """Iterate over the elements: (type, content)."""
    place = 0
    while place < len(data):
        if place + 8 > len(data):
            raise ValueError("the file is cut off")
        kind, size = struct.unpack_from(f"{order}II", data, place)
        if kind >> 16:  # a content of up to 4 bytes is stored inside the 8-byte head
            kind, size, start, end = kind & 0xFFFF, kind >> 16, place + 4, place + 8
        else:
            start, end = place + 8, place + 8 + size
            if kind != COMPRESSED:
                end += -size % 8
        if start + size > min(end, len(data)):
            raise ValueError("the file is cut off")
        yield kind, data[start:start + size]
        place = end


def _array(body: bytes, order: str, depth: int) -> tuple[str, Any]:
    """Parse an array: (name, value)."""
    if not body:  # an empty cell
        return "", None
    (_, flags), (_, shape), (_, name), *parts = _elements(body, order)
    kind = struct.unpack(f"{order}II", flags)[0] & 0xFF
    count = int(np.prod(np.frombuffer(shape, f"{order}i4").astype(object)))
    value: Any = None
    if kind == CELL:
        if depth == 0 or any(part != MATRIX for part, _ in parts) or len(parts) != count:
            raise ValueError(f"a cell array with {len(parts)} of {count} entries")
        value = [_array(part, order, depth - 1)[1] for _, part in parts]
    elif kind == CHARACTERS or kind in NUMERIC:
        (stored, content), *_imaginary = parts or [(1, b"")]
        if kind == CHARACTERS:
            value = content.decode(TEXTS[stored].replace("16", "16-le" if order == "<" else "16-be"))
        else:
            value = np.frombuffer(content, order + NUMBERS[stored]).astype(NUMBERS[stored])
        if len(value) != count:
            raise ValueError(f"an array with {len(value)} of {count} entries")
    return name.decode("ascii"), value


def _unpacked(data: bytes) -> bytes:
    unpacker = zlib.decompressobj()
    content = unpacker.decompress(data, LARGEST)
    if not unpacker.eof:
        raise ValueError("packed data that are cut off or too large")
    return content
