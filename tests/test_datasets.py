import os
import shutil

import numpy as np
import pytest
from conftest import write_images
from PIL import Image

from zsiqa.datasets import demo, pairs, pipal, tid2013
from zsiqa.types import DatasetError


@pytest.fixture
def csv_file(tmp_path):
    write_images(tmp_path, ["r.png", "a.png", "b.png"])
    return tmp_path / "pairs.csv"


def test_pairs_relative_and_absolute_paths_and_optional_columns(csv_file, tmp_path):
    csv_file.write_text(f"ref,dis,mos,type,level\nr.png,a.png,3.5,jpeg,2\r\n{tmp_path}/r.png,{tmp_path}/b.png,-1e-3,,\n")
    first, second = pairs.read(csv_file)
    assert (first.ref, first.dis, first.mos, first.type, first.level) == ("r.png", "a.png", 3.5, "jpeg", "2")
    assert (second.mos, second.type) == (-1e-3, "")
    assert first.ref_path == second.ref_path == tmp_path / "r.png", "one reference, so one group"


def test_pairs_with_a_byte_order_mark_and_more_columns(csv_file):
    csv_file.write_bytes(b"\xef\xbb\xbfmos,dis,ref,who\n1,a.png,r.png,me\n")
    assert pairs.read(csv_file)[0].dis == "a.png"


@pytest.mark.parametrize(("content", "message"), [
    (b"", "no column ref, dis, mos in the header"),
    (b"ref,dis\nr.png,a.png\n", "no column mos in the header"),
    (b"ref,dis,mos\n", "no pairs below the header"),
    (b"ref,dis,mos\nr.png,a.png\n", "line 2: expected the header's number of fields"),
    (b"ref,dis,mos\nr.png,a.png,1,2\n", "line 2: expected the header's number of fields"),
    (b"ref,dis,mos\nr.png,a.png,good\n", "line 2: mos must be a finite number, found 'good'"),
    (b"ref,dis,mos\nr.png,a.png,nan\n", "line 2: mos must be a finite number"),
    (b"ref,dis,mos\nr.png,,1\n", "line 2: ref and dis must be file names"),
    (b'ref,dis,mos\nr.png,"a\n.png",1\n', "ref and dis must be file names"),
    (b"ref,dis,mos\nr.png,a.png,1\nr.png,b.png,1\nr.png,a.png,2\n", "stands there twice"),
    (b"ref,dis,mos\nr.png,\xff.png,1\n", "not a UTF-8 CSV file"),
    (b'ref,dis,mos\nr.png,"a.png,1\n', "not a UTF-8 CSV file"),
])
def test_bad_pairs_are_one_clear_error(csv_file, content, message):
    csv_file.write_bytes(content)
    with pytest.raises(DatasetError, match=message):
        pairs.read(csv_file)


def test_unusual_names_are_names(csv_file, tmp_path):
    write_images(tmp_path, ["Screenshot 9.41\u202fAM, (1).png"])
    csv_file.write_text('ref,dis,mos\nr.png,"Screenshot 9.41\u202fAM, (1).png",1\n')
    assert pairs.read(csv_file)[0].dis_path.is_file()


def test_no_csv_at_all(tmp_path):
    with pytest.raises(DatasetError, match="give the path of a CSV with the columns ref,dis,mos"):
        pairs.read(tmp_path / "nothing.csv")


@pytest.fixture(scope="module")
def demo_root(tmp_path_factory):
    root = tmp_path_factory.mktemp("demo")
    demo.read(root)
    return root


def test_demo_is_what_it_says(demo_root):
    found = demo.read(demo_root)
    assert len(found) == len({pair.pair_id for pair in found}) == 6 * 8 * 5
    assert len({pair.ref_path for pair in found}) == 6
    assert all(Image.open(path).size == (512, 384) for pair in found for path in (pair.ref_path, pair.dis_path))
    assert {(pair.type, pair.mos) for pair in found} == {
        (kind, level) for kind in demo.DISTORTIONS for level in range(1, 6)}


def test_demo_levels_grow_stronger(demo_root):
    """PSNR falls from level to level, for every reference and type: the label orders something real."""
    psnr = {}
    for pair in demo.read(demo_root):
        a, b = (np.asarray(Image.open(path), dtype=np.float64) for path in (pair.ref_path, pair.dis_path))
        psnr[pair.ref, pair.type, pair.mos] = 10 * np.log10(255**2 / ((a - b) ** 2).mean())
    for (ref, kind, level), value in psnr.items():
        if level > 1:
            assert value < psnr[ref, kind, level - 1], (ref, kind, level)


def test_demo_is_deterministic_and_built_once(demo_root, tmp_path):
    first, second = demo.read(demo_root), demo.read(tmp_path)
    assert all(a.dis_path.read_bytes() == b.dis_path.read_bytes() for a, b in zip(first, second, strict=True))
    stamp = second[0].dis_path.stat().st_mtime_ns
    assert demo.read(tmp_path)[0].dis_path.stat().st_mtime_ns == stamp
    assert [path.name for path in tmp_path.iterdir()] == [f"recipe-{demo.RECIPE}"]


def test_demo_build_that_breaks_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setitem(demo.PHOTOGRAPHS, "flower", ("no_such_package", "x.jpg"))
    monkeypatch.setitem(demo.PIP_NAMES, "no_such_package", "no-such-package")
    with pytest.raises(DatasetError, match="pip install no-such-package"):
        demo.read(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name != "posix", reason="needs a path below a file to be refused")
def test_demo_where_nothing_can_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DatasetError, match="give a writable folder with dataset.root=DIR"):
        demo.read(tmp_path / "file" / "demo")


@pytest.fixture
def tid_root(tmp_path):
    """Native names: a lower-case reference 25, labels in another case than the files."""
    write_images(tmp_path / "reference_images", ["I01.BMP", "i25.bmp"])
    write_images(tmp_path / "distorted_images", ["I01_01_1.bmp", "i01_11_1.bmp", "i25_13_2.bmp"])
    (tmp_path / "mos_with_names.txt").write_bytes(b"5.51429 I01_01_1.bmp\r\n4.37838 I01_11_1.BMP\n0.24242 i25_13_2.bmp")
    return tmp_path


def test_tid2013(tid_root):
    found = tid2013.read(tid_root, num_pairs=3)
    assert [(p.pair_id, p.ref, p.dis, p.type, p.level) for p in found] == [
        ("tid2013/i01_01_1", "I01.BMP", "I01_01_1.bmp", "01", "1"),
        ("tid2013/i01_11_1", "I01.BMP", "I01_11_1.BMP", "11", "1"),
        ("tid2013/i25_13_2", "I25.BMP", "i25_13_2.bmp", "13", "2")]
    assert str(found[1].mos) == "95.62162000000001", "100. - MOS as the official code computes it, to the last digit"
    assert [p.ref_path.name for p in found] == ["I01.BMP", "I01.BMP", "i25.bmp"]
    assert found[1].dis_path.name == "i01_11_1.bmp"


def test_bad_tid2013(tid_root, tmp_path):
    with pytest.raises(DatasetError, match=r"\[tid2013\] 3 label rows, expected 3000"):
        tid2013.read(tid_root)
    (tid_root / "distorted_images" / "i01_11_1.bmp").unlink()
    assert [p.dis_path.is_file() for p in tid2013.read(tid_root, num_pairs=3)] == [True, False, True]
    (tid_root / "mos_with_names.txt").write_text("5.5 ../../I01_01_1.bmp\n")
    with pytest.raises(DatasetError, match='line 1: expected "<mos> iRR_TT_L.bmp"'):
        tid2013.read(tid_root, num_pairs=1)
    with pytest.raises(DatasetError, match="ZSIQA_TID2013"):
        tid2013.read(tmp_path / "nowhere")


@pytest.fixture
def pipal_root(tmp_path):
    write_images(tmp_path / "Train_Ref", ["A0001.bmp", "A0200.bmp"])
    write_images(tmp_path / "Distortion_1", ["A0001_00_00.bmp", "A0001_03_11.bmp", "A0001_10_00.bmp"])
    write_images(tmp_path / "Distortion_4" / "Distortion_4", ["A0200_06_02.bmp"])
    (tmp_path / "Train_Label").mkdir()
    (tmp_path / "Train_Label" / "A0001.txt").write_text("A0001_03_11.bmp,1401.25\nA0001_00_00.bmp,1520.0648\n")
    (tmp_path / "Train_Label" / "A0200.txt").write_text("A0200_06_02.bmp,916.7136")  # no last newline
    return tmp_path


def test_pipal(pipal_root):
    found = pipal.read(pipal_root, num_pairs=3)
    assert [(p.pair_id, p.ref, p.mos, p.type, p.level) for p in found] == [
        ("pipal/A0001_00_00", "A0001.bmp", 1520.0648, "00", "00"),
        ("pipal/A0001_03_11", "A0001.bmp", 1401.25, "03", "11"),
        ("pipal/A0200_06_02", "A0200.bmp", 916.7136, "06", "02")]


def test_bad_pipal(pipal_root, tmp_path):
    with pytest.raises(DatasetError, match="3 label rows .* expected 23200"):
        pipal.read(pipal_root)
    (pipal_root / "Train_Label" / "A0200.txt").write_text("A0200_06_02.bmp;916\n")
    with pytest.raises(DatasetError, match=r"A0200\.txt line 1: expected"):
        pipal.read(pipal_root, num_pairs=3)
    (pipal_root / "Train_Label" / "A0200.txt").write_text("A0200_06_02.bmp,916\n")
    shutil.rmtree(pipal_root / "Distortion_4")
    assert [p.dis_path.is_file() for p in pipal.read(pipal_root, num_pairs=3)] == [True, True, False]
    with pytest.raises(DatasetError, match="ZSIQA_PIPAL"):
        pipal.read(tmp_path / "nowhere")
