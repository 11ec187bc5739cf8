"""Damaged label files of every data set, and of your own pairs: right labels, or one error of ours.

Every accepted file must say what a plain parser reads in it, without any check. Short by default;
ZSIQA_FUZZ multiplies the number of examples (`make test-fuzz`: 8).
"""

import csv
import io
import re
from pathlib import Path

import numpy as np
import openpyxl
import pandas as pd
import pytest
from fuzz import fuzz
from hypothesis import given
from hypothesis import strategies as st
from scipy.io import savemat
from trees import (
    CSIQ_FILES,
    CSIQ_HEADER,
    CSIQ_ROWS,
    csiq,
    kadid10k,
    live,
    live_arrays,
    live_table,
    pipal,
    tid2013,
)

from zsiqa.datasets import csiq as csiq_module
from zsiqa.datasets import kadid10k as kadid10k_module
from zsiqa.datasets import live as live_module
from zsiqa.datasets import pairs as pairs_module
from zsiqa.datasets import pipal as pipal_module
from zsiqa.datasets import tid2013 as tid2013_module
from zsiqa.datasets.labels import CONTROL
from zsiqa.types import DatasetError

HOSTILE = ("", " ", "nan", "inf", "-infinity", "\u0663", "1_0", "0x10", "3,5", '"3,5"', "1e999", "-0",
           " 2.5 ", "+1.", "3.5", "4.25e0", '"', '""', "..", "../x.png", "a\x1b[31m", "a\0", "\x85", "\u2028",
           "\r", "\t", "é", "\ufeff", "=cmd|x", "-1.png", "a|b", "x" * 300, "mos", "dmos", "score", "ref",
           "who")


def lines_of(text):
    return [line.strip() for line in text.removeprefix("\ufeff").rstrip(" \t\r\n").split("\n")]


def plain_tid2013(text):
    rows = [line.split(" ", 1) for line in lines_of(text)]
    return {name.strip().lower(): 100 - float(mos) for mos, name in rows}


def plain_pipal(text):
    return {name.lower(): float(elo) for name, elo in (line.split(",") for line in lines_of(text))}


def plain_kadid10k(text):
    rows = list(csv.reader(lines_of(text)))
    return {row[0].strip().rpartition("/")[2].lower(): float(row[2]) for row in rows[1:]}


def plain_csiq(text):
    rows = [line.split(" ", 1) for line in lines_of(text)]
    return {name.rpartition("/")[2].lower(): float(dmos) for name, dmos in rows}


def plain_live(text):
    header, *rows = ([field.strip() for field in row] for row in csv.reader(lines_of(text)))
    rows = [dict(zip(header, row, strict=True)) for row in rows]
    name = next(name for name in ("dis_img_path", "dist_name") if name in header)
    score = next(name for name in ("score", "mos", "dmos", "elo_score") if name in header)
    names = ("/".join(row[name].lower().split("/")[-2:]) for row in rows)
    # `blur` is another name of gblur, and img02.bmp is img2.bmp.
    return {re.sub("^blur", "gblur", re.sub("/img0+", "/img", name)): float(row[score])
            for name, row in zip(names, rows, strict=True)}


def make_tid2013(root):
    facts = tid2013(root)
    (root / "mos.txt").unlink()  # any other score would contradict it
    (root / "mos_std.txt").unlink()
    return facts, root / "mos_with_names.txt"


def make_csiq(root):
    facts = csiq(root)
    (root / "csiq.DMOS.xlsx").unlink()
    (root / "csiq_label.txt").write_text("".join(f"{name.rpartition('/')[2]} {dmos}\n"
                                                 for name, dmos in CSIQ_FILES.items()))
    return facts, root / "csiq_label.txt"


def make_live(root):
    facts = live(root)
    for file in root.glob("*.mat"):
        file.unlink()
    live_table(root / "LIVE.txt")
    return facts, root / "LIVE.txt"


SETS = {"tid2013": (make_tid2013, tid2013_module, plain_tid2013),
        "pipal": (lambda root: (pipal(root), root / "Train_Label/A0001.txt"), pipal_module, plain_pipal),
        "kadid10k": (lambda root: (kadid10k(root), root / "dmos.csv"), kadid10k_module, plain_kadid10k),
        "csiq": (make_csiq, csiq_module, plain_csiq), "live": (make_live, live_module, plain_live)}


@pytest.fixture(scope="module", params=SETS)
def miniature(request, tmp_path_factory):
    """(root, facts, label file, its content, reader, plain parser) of a data set."""
    make, module, plain = SETS[request.param]
    root = tmp_path_factory.mktemp(request.param)
    facts, file = make(root)
    return root, facts, file, file.read_bytes(), module.read, plain


def pairs_or_error(read, *names):
    """The pairs; None for an error of ours that names the file and shows no control character."""
    try:
        return read().pairs
    except DatasetError as error:
        message = str(error)
    assert any(name in message for name in names), message
    assert not CONTROL.search(message), message
    return None


@st.composite
def damaged(draw, good, separators=", "):
    """Bytes or lines and fields of a file changed, left out, doubled or exchanged."""
    if draw(st.booleans()):
        content = bytearray(good)
        for place, kind, byte in draw(st.lists(st.tuples(
                st.integers(0, len(good) - 1), st.sampled_from(("set", "insert", "cut")),
                st.integers(0, 255)), min_size=1, max_size=3)):
            content[place:place + (kind != "insert")] = b"" if kind == "cut" else bytes([byte])
        return bytes(content)
    lines = good.decode().split("\n")
    for _ in range(draw(st.integers(1, 3))):
        one, other = (draw(st.integers(0, len(lines) - 1)) for _ in "ab")
        kind = draw(st.sampled_from(("field", "field", "field", "drop", "double", "swap", "column", "blank",
                                     "case")))
        separator = next((mark for mark in separators if mark in lines[one]), separators[0])
        fields = lines[one].split(separator)
        if kind == "field":
            fields[draw(st.integers(0, len(fields) - 1))] = draw(st.sampled_from(HOSTILE))
            lines[one] = separator.join(fields)
        elif kind == "drop" and len(lines) > 1:
            del lines[one]
        elif kind == "double":
            lines.insert(other, lines[one])
        elif kind == "swap":
            lines[one], lines[other] = lines[other], lines[one]
        elif kind == "column":
            added = draw(st.sampled_from(HOSTILE))
            lines = [f"{line}{separator}{added}" if line else line for line in lines]
        elif kind == "blank":
            lines.insert(one, "")
        else:
            lines[one] = lines[one].swapcase()
    return draw(st.sampled_from(("", "\ufeff"))).encode() + draw(
        st.sampled_from(("\n", "\r\n"))).join(lines).encode("utf-8", "surrogatepass")


@fuzz(60)
@given(data=st.data())
def test_published_labels_are_right_or_one_error(miniature, data):
    root, facts, file, good, read, plain = miniature
    file.write_bytes(data.draw(damaged(good)))
    found = pairs_or_error(lambda: read(root, facts), file.name)
    if found is None:
        return
    expected = plain(file.read_bytes().decode())
    parts = 2 if facts["name"] == "live" else 1  # its names repeat between folders
    labels = {"/".join([*pair.dis_path.parts[-2:-1], pair.dis][-parts:]).lower():
              pair.mos if facts["name"] == "tid2013" else pair.native_mos for pair in found}
    assert {name: labels[name] for name in expected} == expected
    assert len(found) == facts["pairs"]


PAIRS = b"""ref,dis,mos,type,level
r.png,a.png,3.5,jpeg,2
r.png,"b, c.png",-1e-3,,
s.png,a.png,4,blur,1
"""


@fuzz(60)
@given(content=damaged(PAIRS))
def test_pairs_are_right_or_one_error(tmp_path_factory, content):
    path = Path(tmp_path_factory.getbasetemp()) / "fuzzed pairs.csv"
    path.write_bytes(content)
    found = pairs_or_error(lambda: pairs_module.read(path), str(path))
    if found is None:
        return
    rows = pd.read_csv(io.BytesIO(content), dtype=str, keep_default_na=False, index_col=False)
    assert [(pair.ref, pair.dis, pair.mos) for pair in found] == list(
        zip(rows["ref"], rows["dis"], map(float, rows["mos"]), strict=True))
    for name in ("type", "level"):
        expected = list(rows[name]) if name in rows else [""] * len(found)
        assert [getattr(pair, name) for pair in found] == expected


@pytest.fixture(scope="module")
def live_release(tmp_path_factory):
    root = tmp_path_factory.mktemp("live")
    return root, live(root)


# Rounded, because openpyxl writes 16 digits of a float.
NUMBERS = st.one_of(st.floats(-150, 150).map(lambda number: round(number, 6)),
                    st.sampled_from((0.0, 1.0, 2.0, np.nan, np.inf, -np.inf)))


@fuzz(60)
@given(data=st.data())
def test_arrays_of_live_are_right_or_one_error(live_release, data):
    """Values, sizes, types and names of the release's arrays changed, and then bytes of the files."""
    root, facts = live_release
    arrays, cells = live_arrays()
    arrays["refnames_all"] = cells
    for name in data.draw(st.lists(st.sampled_from(tuple(arrays)), max_size=3)):
        kind = data.draw(st.sampled_from(("value", "size", "type", "name")))
        values = arrays[name].copy()
        place = data.draw(st.integers(0, values.size - 1))
        if kind == "value":
            texts = st.sampled_from(("bikes.bmp", "womanhat.bmp", "../x.bmp", "", "\u0663.bmp"))
            kinds = {"f": NUMBERS, "O": texts}
            values.flat[place] = data.draw(kinds.get(values.dtype.kind, st.integers(0, 2)))
        elif kind == "size":
            values = values[:, :place + 1]
        elif kind == "type" and values.dtype != object:
            with np.errstate(invalid="ignore"):
                values = values.astype(data.draw(st.sampled_from(("f4", "i2", "u1", "f8"))))
        arrays[f"{name}_" if kind == "name" else name] = values
        if kind == "name":
            del arrays[name]
            break
    files = ("dmos_realigned.mat", "refnames_all.mat")
    for file in files:
        content = {name: array for name, array in arrays.items() if ("refnames" in name) == ("ref" in file)}
        savemat(root / file, content, do_compression=data.draw(st.booleans()))
    damage = data.draw(st.lists(st.tuples(st.sampled_from(files), st.integers(0, 2**16),
                                          st.integers(0, 255)), max_size=2))
    for file, place, byte in damage:
        content = bytearray((root / file).read_bytes())
        content[place % len(content)] = byte
        (root / file).write_bytes(content)
    found = pairs_or_error(lambda: live_module.read(root, facts), *(Path(file).stem for file in files))
    if found is not None and not damage:  # scipy would crash on some damaged files
        columns = (arrays[name].ravel().tolist() for name in ("dmos_new", "dmos_std", "orgs"))
        assert [(pair.native_mos, pair.mos_std) for pair in found] == [
            (score, std) for score, std, org in zip(*columns, strict=True) if org == 0]


@pytest.fixture(scope="module")
def csiq_release(tmp_path_factory):
    root = tmp_path_factory.mktemp("csiq")
    return root, csiq(root)


@fuzz(60)
@given(data=st.data())
def test_cells_of_csiq_are_right_or_one_error(csiq_release, data):
    root, facts = csiq_release
    rows = [list(CSIQ_HEADER), *map(list, CSIQ_ROWS)]
    for _ in range(data.draw(st.integers(1, 3))):
        row = data.draw(st.sampled_from(rows))
        row[data.draw(st.integers(0, len(row) - 1))] = data.draw(st.one_of(
            NUMBERS.filter(np.isfinite), st.booleans(), st.none(),
            st.sampled_from([text for text in HOSTILE if text.isprintable()])))  # openpyxl writes no others
    book = openpyxl.Workbook()
    book.active.title = "all_by_image"
    for row in rows:
        book.active.append(row)
    book.save(root / "csiq.DMOS.xlsx")
    found = pairs_or_error(lambda: csiq_module.read(root, facts), "csiq.DMOS.xlsx")
    if found is None:
        return
    plain = [dict(zip(rows[0], row, strict=True)) for row in rows[1:]]
    assert sorted((pair.native_mos, pair.mos_std) for pair in found) == sorted(
        (float(row["dmos"]), float(row["dmos_std"])) for row in plain)


def test_the_miniatures_are_read(miniature):
    """Or else nothing but errors would be tested."""
    root, facts, file, good, read, plain = miniature
    file.write_bytes(good)
    assert len(read(root, facts).pairs) == facts["pairs"]
    assert len(plain(good.decode())) == (facts["pairs"] // 2 if facts["name"] == "pipal" else facts["pairs"])
