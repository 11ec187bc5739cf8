import os
from contextlib import suppress
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trees import TID_LABELS, expect_error, tid2013

from zsiqa.datasets.tid2013 import parse_column, parse_labels, read
from zsiqa.releases import published
from zsiqa.types import DatasetError

expect = partial(expect_error, read)


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("last", [True, False])
def test_the_release(tmp_path, newline, last):
    found = read(tmp_path, tid2013(tmp_path, newline=newline, last=last))
    assert [(p.pair_id, p.ref, p.dis, p.type, p.level) for p in found.pairs] == [
        ("tid2013/i01_01_1", "I01.BMP", "I01_01_1.bmp", "01", "1"),
        ("tid2013/i01_08_2", "I01.BMP", "i01_08_2.bmp", "08", "2"),
        ("tid2013/i01_11_1", "I01.BMP", "I01_11_1.BMP", "11", "1"),
        ("tid2013/i25_11_1", "I25.BMP", "I25_11_1.BMP", "11", "1"),
        ("tid2013/i25_13_2", "I25.BMP", "i25_13_2.bmp", "13", "2")]
    assert str(
            found.pairs[
                2].mos) == "95.62162000000001", "100. - MOS as the official code has it, to the last digit"
    assert [p.native_mos for p in found.pairs] == [float(mos) for mos in TID_LABELS.values()]
    assert [p.mos_std for p in found.pairs] == [0.1, 0.2, 0.3, 0.4, 0.5]
    assert [p.ref_path.name for p in found.pairs] == ["I01.BMP"] * 3 + ["i25.bmp"] * 2
    assert [p.dis_path.name for p in found.pairs][2:] == ["i01_11_1.bmp", "i25_11_1.BMP", "I25_13_2.BMP"]
    assert found.pairs[1].subsets == ("Noise", "Actual", "Simple")
    assert (found.warnings, found.unnamed) == ((), ())


def test_subsets_have_the_sizes_of_the_readme():
    facts = published()["tid2013"]
    assert {name: len(kinds) for name, kinds in facts["subsets"].items()} == {
        "Noise": 11, "Actual": 11, "Simple": 3, "Exotic": 9, "New": 7, "Color": 6}
    assert facts["pairs"] == facts["references"] * len(facts["types"]) * 5


def test_nested_and_labels_alone(tmp_path):
    facts = tid2013(tmp_path / "TID2013/tid2013")
    for name in ("mos.txt", "mos_std.txt"):
        (tmp_path / "TID2013/tid2013" / name).unlink()
    found = read(tmp_path, facts)
    assert found.pairs[0].dis_path.is_file()
    assert str(found.pairs[0].mos_std) == "nan"


def test_a_folder_too_deep(tmp_path):
    facts = tid2013(tmp_path)
    expect(tmp_path / "distorted_images", facts,
           f"no mos_with_names.txt in .*distorted_images or below. Fix: give the folder above, {tmp_path}$")


def test_missing_images_are_where_they_should_be(tmp_path):
    facts = tid2013(tmp_path)
    (tmp_path / "distorted_images/i01_11_1.bmp").unlink()
    found = read(tmp_path, facts)
    assert [p.dis_path.is_file() for p in found.pairs] == [True, True, False, True, True]
    assert found.pairs[2].dis_path == tmp_path / "distorted_images/I01_11_1.BMP"


@pytest.mark.skipif(os.path.normcase("A") == "a", reason="needs a file system that tells case apart")
def test_two_files_that_differ_only_by_case(tmp_path):
    facts = tid2013(tmp_path)
    (tmp_path / "distorted_images/I01_08_2.bmp").write_bytes(b"")
    expect(tmp_path, facts, "two files that differ only by case: distorted_images/I01_08_2.bmp, "
                            "distorted_images/i01_08_2.bmp. Fix: delete one of them")


def test_the_table_of_waterloo_has_rounded_labels_and_says_so(tmp_path):
    facts = tid2013(tmp_path)
    (tmp_path / "mos_with_names.txt").unlink()
    rows = [
        f"TID2013/distorted_images/{name.lower()},X,TID2013/reference_images/{name[:3]}.bmp,{float(mos):.3f}"
            for name, mos in TID_LABELS.items()]
    (tmp_path / "TID2013.txt").write_text(
        "\n".join(["dis_img_path,dis_type,ref_img_path,score", *reversed(rows)]))
    found = read(tmp_path, facts)
    assert [p.dis for p in found.pairs] == list(TID_LABELS), "in the order and spelling of the release"
    assert [p.mos for p in found.pairs] == pytest.approx(
            [100 - float(mos) for mos in TID_LABELS.values()], abs=5e-4)
    assert "the labels in TID2013.txt are not those of the release" in found.warnings[0]


@pytest.mark.parametrize(("line", "message"), [
    ("5.5 ../../I01_08_2.bmp", 'line 2: expected "<mos> iRR_TT_L.bmp", got \'5.5 ../../I01_08_2.bmp\''),
    ("i01_08_2.bmp 5.5", 'line 2: expected "<mos> iRR_TT_L.bmp"'),
    ("5.5", 'line 2: expected "<mos> iRR_TT_L.bmp"'),
    ("", 'line 2: expected "<mos> iRR_TT_L.bmp", got \'\''),
    ("nan i01_08_2.bmp", "line 2: expected a finite number, got 'nan'"),
    ("1_0 i01_08_2.bmp", "line 2: expected a finite number, got '1_0'"),
    ("10.5 i01_08_2.bmp", r"line 2: score 10.5, expected 0..9 as in the release"),
    ("5.5 I01_01_1.bmp", "line 2: I01_01_1.bmp is out of order"),
    ("5.5 i02_08_2.bmp", "line 3: I01_11_1.BMP is out of order"),
])
def test_wrong_lines(tmp_path, line, message):
    facts = tid2013(tmp_path)
    for name in ("mos.txt", "mos_std.txt"):
        (tmp_path / name).unlink()
    labels = tmp_path / "mos_with_names.txt"
    lines = labels.read_text().splitlines()
    labels.write_text("\n".join([lines[0], line, *lines[2:]]))
    expect(tmp_path, facts, message)


def test_files_that_contradict_each_other(tmp_path):
    facts = tid2013(tmp_path)
    (tmp_path / "mos_std.txt").write_text("1\n2\n")
    expect(tmp_path, facts, "mos_std.txt: 2 lines, mos_with_names.txt has 5")
    (tmp_path / "mos.txt").write_text("5.51429\n4.5\n4.37838\n5\n0.24242\n")
    expect(tmp_path, facts, r"mos.txt line 2 is 4.5, mos_with_names.txt says 4.02439")


def test_not_all_of_it(tmp_path):
    facts = tid2013(tmp_path)
    expect(tmp_path, published()["tid2013"], r"5 label rows in mos_with_names.txt, expected 3000")
    expect(tmp_path, {**facts, "references": 3}, "2 references in mos_with_names.txt, expected 3")
    expect(tmp_path / "nowhere", facts, r"folder not found: /.*nowhere.*get http.*tid2013.rar.*ZSIQA_TID2013")
    (tmp_path / "mos_with_names.txt").write_bytes(b"\xff\xfe5")
    expect(tmp_path, facts, "mos_with_names.txt: not a text file")


@given(st.one_of(st.binary(max_size=200), st.lists(st.one_of(
    st.builds("{} {}".format, st.sampled_from(("5.5", "1e0", "-3", "nan", "٣", "")),
              st.sampled_from(("i01_01_1.bmp", "I01_11_1.BMP", "i02_01_1.bmp", "x.bmp"))),
    st.text(max_size=30))).map(lambda lines: "\n".join(lines).encode("utf-8", "surrogatepass"))))
def test_any_bytes_are_labels_or_one_error(data):
    try:
        labels = parse_labels(data)
    except DatasetError:
        return
    assert len(labels) == len(data.split()) / 2, "two words a line, and no line is dropped"


@given(st.one_of(st.binary(max_size=100),
                 st.lists(st.floats(width=32)).map(lambda v: "\n".join(map(str, v)).encode())))
def test_any_column_is_numbers_or_one_error(data):
    count = data.rstrip().count(b"\n") + 1 if data.strip() else 0
    with suppress(DatasetError):
        assert len(parse_column(data, "mos_std.txt", count)) == count
