import gc
import os

import numpy as np
import pytest
from conftest import write_images
from PIL import Image

from zsiqa.datasets import demo, pairs
from zsiqa.types import DatasetError


@pytest.fixture
def csv_file(tmp_path):
    write_images(tmp_path, ["r.png", "a.png", "b.png"])
    return tmp_path / "pairs.csv"


def test_pairs_relative_and_absolute_paths_and_optional_columns(csv_file, tmp_path):
    csv_file.write_text(
        f"ref,dis,mos,type,level\nr.png,a.png,3.5,jpeg,2\r\n{tmp_path}/r.png,{tmp_path}/b.png,-1e-3,,\n")
    first, second = pairs.read(csv_file).pairs
    assert (first.ref, first.dis, first.mos, first.type, first.level) == ("r.png", "a.png", 3.5, "jpeg", "2")
    assert (second.mos, second.type) == (-1e-3, "")
    assert first.ref_path == second.ref_path == tmp_path / "r.png", "one reference, so one group"


def test_pairs_with_a_byte_order_mark_and_more_columns(csv_file):
    csv_file.write_bytes(b"\xef\xbb\xbfmos,dis,ref,who\n1,a.png,r.png,me\n")
    assert pairs.read(csv_file).pairs[0].dis == "a.png"


@pytest.mark.parametrize(("content", "message"), [
    (b"", "no column ref, dis, mos in the header"),
    (b"ref,dis\nr.png,a.png\n", "no column mos in the header"),
    (b"ref,dis,mos\n", "no pairs below the header"),
    (b"ref,dis,mos\nr.png,a.png\n", "line 2: expected the header's number of fields"),
    (b"ref,dis,mos\nr.png,a.png,1,2\n", "line 2: expected the header's number of fields"),
    (b"ref,dis,mos\nr.png,a.png,good\n", "line 2: mos must be a finite number, found 'good'"),
    (b"ref,dis,mos\nr.png,a.png,nan\n", "line 2: mos must be a finite number"),
    (b"ref,dis,mos\nr.png,,1\n", "line 2: ref and dis must be file names"),
    (b'ref,dis,mos\nr.png,"a\n.png",1\n', r"line 3: control characters in \['r.png', 'a\\n.png'"),
    (b"ref,dis,mos\nr\x1b[31m.png,a.png,1\n", r"line 2: control characters in \['r\\x1b"),
    (b"ref,dis,mos\nr.png,a\0.png,1\n", "line 2: control characters"),
    ("ref,dis,mos\nr.png,a\u2028.png,1\n".encode(), "line 2: control characters"),
    (b'ref,dis,mos,type\nr.png,a.png,1,"a\rb"\n', "control characters"),
    (b"ref,dis,mos,level\nr.png,a.png,1,a\tb\n", "line 2: control characters"),
    (b"ref,dis,mos,mos\nr.png,a.png,1,2\n", "column 'mos' twice in the header"),
    (b"ref,dis,mos,who,who\nr.png,a.png,1,2,3\n", "column 'who' twice in the header"),
    (b"ref;dis;mos\nr.png;a.png;3,5\n", "separate fields by commas"),
    (b'ref,dis,mos\nr.png,a.png,"3,5"\n',
     "line 2: mos must be a finite number, found '3,5'; write a decimal point"),
    *((f"ref,dis,mos\nr.png,a.png,{text}\n".encode(), "line 2: mos must be a finite number")
      for text in ("\u0663", "1_0", "0x10", "infinity", "inf", "1e999", "\u00a03", "1e", "", " ", "--1")),
    (b"ref,dis,mos\nr.png,a.png,1\nr.png,b.png,1\nr.png,a.png,2\n", "is listed twice"),
    (b"ref,dis,mos\nr.png,\xff.png,1\n", "not a UTF-8 CSV file"),
    (b'ref,dis,mos\nr.png,"a.png,1\n', "not a UTF-8 CSV file"),
])
def test_bad_pairs_are_one_clear_error(csv_file, content, message):
    csv_file.write_bytes(content)
    with pytest.raises(DatasetError, match=message):
        pairs.read(csv_file)


@pytest.mark.parametrize(("text", "value"), [
    ("3", 3), ("-.5", -0.5), ("+2.", 2), ("1e-3", 1e-3), ("1E+3", 1e3), (" 3.5 ", 3.5), ("007", 7)])
def test_decimal_numbers_are_labels(csv_file, text, value):
    csv_file.write_text(f"ref,dis,mos\nr.png,a.png,{text}\n")
    assert pairs.read(csv_file).pairs[0].mos == value


def test_columns_without_a_name_may_repeat(csv_file):
    csv_file.write_text("ref,dis,mos,,\nr.png,a.png,1,,\n\nr.png,b.png,2,x,\n")  # from a spreadsheet
    assert [pair.mos for pair in pairs.read(csv_file).pairs] == [1, 2]


def test_formulas_are_file_names(csv_file, tmp_path):
    write_images(tmp_path, ["-1.png", "=a.png"])
    csv_file.write_text("ref,dis,mos\n-1.png,=a.png,1\n")
    (pair,) = pairs.read(csv_file).pairs
    assert (pair.ref, pair.dis, pair.ref_path.is_file(), pair.dis_path.is_file()) == (
        "-1.png", "=a.png", True, True)


def test_pairs_share_references_and_garbage_is_collected_again(csv_file):
    csv_file.write_text("ref,dis,mos\nr.png,a.png,1\nr.png,b.png,2\n")
    first, second = pairs.read(csv_file).pairs
    assert first.ref_file is second.ref_file
    assert first.ref is second.ref
    csv_file.write_text("ref,dis,mos\nr.png,a.png,x\n")
    with pytest.raises(DatasetError):
        pairs.read(csv_file)
    assert gc.isenabled()


def test_unusual_names_are_names(csv_file, tmp_path):
    write_images(tmp_path, ["Screenshot 9.41\u202fAM, (1).png"])
    csv_file.write_text('ref,dis,mos\nr.png,"Screenshot 9.41\u202fAM, (1).png",1\n')
    assert pairs.read(csv_file).pairs[0].dis_path.is_file()


def test_no_csv_at_all(tmp_path):
    with pytest.raises(DatasetError, match="give the path of a CSV with the columns ref,dis,mos"):
        pairs.read(tmp_path / "nothing.csv")


@pytest.fixture(scope="module")
def demo_root(tmp_path_factory):
    root = tmp_path_factory.mktemp("demo")
    demo.read(root)
    return root


def test_demo_is_what_it_says(demo_root):
    found = demo.read(demo_root).pairs
    assert len(found) == len({pair.pair_id for pair in found}) == 6 * 8 * 5
    assert len({pair.ref_path for pair in found}) == 6
    assert all(Image.open(path).size == (512, 384) for pair in found for path
               in (pair.ref_path, pair.dis_path))
    assert {(pair.type, pair.mos) for pair in found} == {
        (kind, level) for kind in demo.DISTORTIONS for level in range(1, 6)}


def test_demo_levels_grow_stronger(demo_root):
    """PSNR falls from level to level, for every reference and type: the label orders something real."""
    psnr = {}
    for pair in demo.read(demo_root).pairs:
        a, b = (np.asarray(Image.open(path), dtype=np.float64) for path in (pair.ref_path, pair.dis_path))
        psnr[pair.ref, pair.type, pair.mos] = 10 * np.log10(255**2 / ((a - b) ** 2).mean())
    for (ref, kind, level), value in psnr.items():
        if level > 1:
            assert value < psnr[ref, kind, level - 1], (ref, kind, level)


@pytest.mark.slow
def test_demo_is_deterministic_and_built_once(demo_root, tmp_path):
    first, second = demo.read(demo_root).pairs, demo.read(tmp_path).pairs
    assert all(a.dis_path.read_bytes() == b.dis_path.read_bytes() for a, b in zip(first, second, strict=True))
    stamp = second[0].dis_path.stat().st_mtime_ns
    assert demo.read(tmp_path).pairs[0].dis_path.stat().st_mtime_ns == stamp
    assert [path.name for path in tmp_path.iterdir()] == [f"recipe-{demo.RECIPE}"]


def test_demo_build_that_breaks_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setitem(demo.PHOTOGRAPHS, "coffee", ("no_such_package", "x.jpg"))
    with pytest.raises(DatasetError, match="pip install no-such-package"):
        demo.read(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name != "posix", reason="needs a path below a file to be refused")
def test_demo_where_nothing_can_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DatasetError, match="give a writable folder with dataset.root=DIR"):
        demo.read(tmp_path / "file" / "demo")
