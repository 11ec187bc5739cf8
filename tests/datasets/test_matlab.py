import io
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io import loadmat, savemat

from zsiqa.datasets.matlab import read_variables

ARRAYS = {
    "doubles": np.array([[1.5, -2.25, 1e300]]), "column": np.arange(4.0)[:, None],
    "square": np.arange(6).reshape(2, 3),
    "bytes": np.array([[0, 255]], np.uint8), "singles": np.array([[0.5]], np.float32),
    "nothing": np.empty((0, 0)),
    "word": "img.bmp", "short": "a", "large": np.array([[2**53 + 1]], np.int64),
    "truth": np.array([[True, False]]),
    "complex": np.array([[1 + 2j]]),
}


def written(variables, **options):
    stream = io.BytesIO()
    savemat(stream, variables, **options)
    return stream.getvalue()


def cells(*texts):
    found = np.empty((1, len(texts)), dtype=object)
    found[0] = texts
    return found


@pytest.mark.parametrize("compressed", [False, True])
def test_the_same_as_scipy(compressed):
    data = written({**ARRAYS, "names": cells("bikes.bmp", "é€", "")}, do_compression=compressed)
    ours, theirs = read_variables(data), loadmat(io.BytesIO(data))
    assert ours.keys() == {name for name in theirs if not name.startswith("__")}
    for name in ARRAYS.keys() - {"word", "short", "complex"}:
        np.testing.assert_array_equal(ours[name], theirs[name].ravel(order="F"))
    assert (ours["word"], ours["short"], ours["names"]) == ("img.bmp", "a", ["bikes.bmp", "é€", ""])
    assert ours["complex"] == [1.0], "the real part"


def test_a_name_that_is_no_word_is_refused():
    with pytest.raises(ValueError, match=r"a variable named '\\x1borgs'"):
        read_variables(written({"aorgs": np.eye(2)}).replace(b"aorgs", b"\x1borgs"))


def test_other_byte_order():
    """Written by hand: a 1 x 2 array of doubles called x, from a big-endian machine."""
    body = (struct.pack(">IIII", 6, 8, 6, 0) + struct.pack(">IIii", 5, 8, 1, 2)
            + struct.pack(">HHc3x", 1, 1, b"x")
            + struct.pack(">IIdd", 9, 16, 1.0, -2.5))
    head = b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack(">H", 0x0100) + b"MI"
    data = head + struct.pack(">II", 14, len(body)) + body
    assert read_variables(data)["x"].tolist() == [1.0,
                                                  -2.5] == loadmat(io.BytesIO(data))["x"].ravel().tolist()


def test_an_empty_cell():
    """Written by hand, as MATLAB may: a 1 x 1 cell array called x, whose entry has no content at all."""
    body = (struct.pack("<IIII", 6, 8, 1, 0) + struct.pack("<IIii", 5, 8, 1, 1)
            + struct.pack("<HHc3x", 1, 1, b"x")
            + struct.pack("<II", 14, 0))
    head = b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack("<H", 0x0100) + b"IM"
    data = head + struct.pack("<II", 14, len(body)) + body
    assert read_variables(data) == {"x": [None]}
    assert loadmat(io.BytesIO(data))["x"][0, 0].size == 0


def test_structures_are_there_but_not_read():
    assert read_variables(written({"s": {"a": 1.0}, "x": 2.0})) == {"s": None, "x": np.array([2.0])}


def test_another_format():
    for data in (b"", b"<html>", written({"x": 1.0}, format="4"), b"MATLAB 7.3 MAT-file".ljust(126) + b"IM"):
        with pytest.raises(ValueError, match="no MATLAB 5 file"):
            read_variables(data)


GOOD = [written({**ARRAYS, "names": cells("a.bmp", "b.bmp")}, do_compression=packed) for packed
        in (False, True)]


@settings(max_examples=500, deadline=None)
@given(st.sampled_from(GOOD),
       st.lists(st.tuples(st.integers(128, len(GOOD[1]) - 1), st.integers(0, 255)), max_size=4),
       st.integers(0, 2000))
def test_damaged_files_are_values_or_a_value_error(good, changes, end):
    data = bytearray(good)
    for place, value in changes:
        data[place] = value
    try:
        found = read_variables(bytes(data[:end] if end > 128 else data))
    except ValueError:
        return
    assert all(isinstance(name, str) for name in found)
