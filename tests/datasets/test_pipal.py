import shutil
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trees import PIPAL_FOLDERS, PIPAL_SCORES, expect_error, pipal, write_images

from zsiqa.datasets.pipal import parse_labels, read
from zsiqa.releases import published
from zsiqa.types import DatasetError

expect = partial(expect_error, read)


@pytest.mark.parametrize("folders", [
    PIPAL_FOLDERS, {"A0001": "Distortion1", "A0200": "Distortion4"},
    dict.fromkeys(PIPAL_FOLDERS, "Train_Dis"),
    {"A0001": "Distortion_1/Distortion_1", "A0200": "Distortion_4/Distortion_4"},
    {"A0001": "Distortion/Distortion_1", "A0200": "Distortion/Distortion_4"},
])
@pytest.mark.parametrize("last", [True, False])
def test_the_release_under_every_name_of_its_folders(tmp_path, folders, last):
    facts = pipal(tmp_path, folders=folders, last=last)
    found = read(tmp_path, facts)
    assert [(p.pair_id, p.mos) for p
            in found.pairs] == [(f"pipal/{stem}", mos) for stem, mos in PIPAL_SCORES.items()]
    first = found.pairs[0]
    assert (first.ref, first.dis, first.type, first.level) == ("A0001.bmp", "A0001_00_00.bmp", "00", "00")
    assert first.dis_path == tmp_path / folders["A0001"] / "A0001_00_00.bmp"
    assert all(p.dis_path.is_file() and p.ref_path.is_file() for p in found.pairs)
    assert (found.warnings, found.unnamed) == ((), ())


def test_folders_of_the_authors_repository_and_images_of_the_validation_part(tmp_path):
    facts = pipal(tmp_path / "PIPAL")
    for old, new in (("Train_Label", "MOS_Scores_train"), ("Train_Ref", "Reference_train")):
        (tmp_path / "PIPAL" / old).rename(tmp_path / "PIPAL" / new)
    write_images(tmp_path / "PIPAL/Distortion_1", ["A0001_10_00.bmp"])
    found = read(tmp_path, facts)
    assert len(found.pairs) == len(PIPAL_SCORES)
    assert [path.name for path in found.unnamed] == ["A0001_10_00.bmp"]


def test_the_published_parts_hold_every_reference():
    facts = published()["pipal"]
    bounds = [bound for part in facts["parts"].values() for bound in part]
    assert bounds == sorted(bounds)
    assert facts["pairs"] == facts["references"] * 116


def test_an_image_in_two_archives(tmp_path):
    facts = pipal(tmp_path)
    shutil.copy(tmp_path / "Distortion_1/A0001_00_00.bmp", tmp_path / "Distortion_4")
    assert len(read(tmp_path, facts).pairs) == len(PIPAL_SCORES)
    (tmp_path / "Distortion_4/A0001_00_00.bmp").write_bytes(b"other")
    expect(tmp_path, facts,
           "A0001_00_00.bmp found twice in .*, with different content: Distortion_1/.*, Distortion_4/")


def test_normalised_scores_are_not_elo(tmp_path):
    facts = pipal(tmp_path)
    shutil.rmtree(tmp_path / "Train_Label")
    expect(tmp_path / "Train_Ref", facts,
           r"no Train_Label/\*.txt in .*Train_Ref or below.*get the training part .6 GB")
    rows = [f"{stem[:5]}.bmp,{stem}.bmp,{mos}" for stem, mos in PIPAL_SCORES.items()]
    meta = tmp_path / "meta_info_PIPALDataset.csv"
    meta.write_text("\n".join(["hq_name,dist_name,elo_score", *rows]))
    assert read(tmp_path, facts).warnings == ()
    meta.write_text("\n".join(["hq_name,dist_name,elo_score", *(f"{row[:26]}0.5" for row in rows)]))
    expect(tmp_path, facts, r"line 2: score 0.5, expected 900..1850 as in the release.*not a normalised copy")


def test_a_folder_too_deep(tmp_path):
    facts = pipal(tmp_path)
    expect(tmp_path / "Distortion_1", facts, f"Fix: give the folder above, {tmp_path}$")


@pytest.mark.parametrize(("old", "new", "message"), [
    ("A0200_06_01.bmp,", "A0200_06_01.bmp;", r"A0200.txt line 6: expected \"A0001_00_00.bmp,<Elo>\""),
    ("A0200_06_01.bmp,", "A0200_06_00.bmp,",
     "the pair pipal/A0200_06_00 is listed twice in A0001.txt ... A0200.txt"),
    ("A0200_06_01.bmp", "A0200_06_01.bmp,1500\nA0200_06_02.bmp", "A0200.txt: 7 lines, expected 6"),
    ("A0200_06_01.bmp,", "../A0200_06_01.bmp,", "A0200.txt line 6: expected"),
    ("A0200_06_01.bmp,1", "A0200_06_01.bmp,inf1", "A0200.txt line 6: expected a finite number, got 'inf1"),
])
def test_wrong_lines(tmp_path, old, new, message):
    facts = pipal(tmp_path)
    labels = tmp_path / "Train_Label/A0200.txt"
    labels.write_text(labels.read_text().replace(old, new))
    expect(tmp_path, facts, message)


def test_not_all_of_it(tmp_path):
    pipal(tmp_path)
    expect(tmp_path, published()["pipal"], "A0001.txt: 6 lines, expected 116")


@given(st.one_of(st.binary(max_size=200), st.lists(st.builds(
    "{},{}".format, st.sampled_from(("A0001_00_00.bmp", "a0002_06_11.BMP", "A1_0_0.bmp", "")),
    st.sampled_from(("1500.25", "-1", "1e3", "inf", ""))),
                                                   max_size=5).map(lambda lines: "\n".join(lines).encode())))
def test_any_bytes_are_labels_or_one_error(data):
    count = data.rstrip().count(b"\n") + 1
    try:
        labels = parse_labels(data, "A0001.txt", count)
    except DatasetError:
        return
    assert len(labels) == count
