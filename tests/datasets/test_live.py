import io
import re
import shutil
from contextlib import suppress
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io import savemat
from trees import LIVE_FOLDERS, LIVE_REFERENCES, LIVE_SCORES, expect_error, live, live_arrays, live_table

from zsiqa.datasets.live import ALIASES, parse_labels, parse_mat, read
from zsiqa.releases import published
from zsiqa.types import DatasetError

SMALL = {**published()["live"], "images": dict.fromkeys(LIVE_FOLDERS, 3),
         "originals": dict.fromkeys(LIVE_FOLDERS, 1)}
IDS = [f"live/{folder}/img{index}" for folder, index in LIVE_SCORES]


@pytest.fixture
def root(tmp_path):
    return tmp_path / "databaserelease2"


@pytest.fixture
def facts(root):
    return live(root)


expect = partial(expect_error, read)


def test_the_release(root, facts):
    found = read(root, facts)
    assert [pair.pair_id for pair in found.pairs] == IDS
    assert [(pair.mos, pair.native_mos) for pair
            in found.pairs] == [(score, score) for score in LIVE_SCORES.values()]
    first = found.pairs[0]
    assert (first.ref, first.dis, first.type, first.level, first.mos_std) == (
        "womanhat.bmp", "img2.bmp", "jp2k", "0.25", 1.25)
    assert (first.ref_path, first.dis_path) == (root / "refimgs/womanhat.bmp", root / "jp2k/img2.bmp")
    assert [pair.dis_path.parent.name for pair in found.pairs] == [folder for folder, _ in LIVE_SCORES]
    assert (found.warnings, found.unnamed, found.layout) == ((), (), "the release's own")
    assert [path.name for path in found.label_files] == ["dmos_realigned.mat", "refnames_all.mat"]


def test_the_real_release_has_the_numbers_that_its_readme_tells():
    facts = published()["live"]
    assert list(facts["images"]) == list(LIVE_FOLDERS)
    assert sum(facts["images"].values()) == 982
    assert sum(facts["images"].values()) - sum(facts["originals"].values()) == facts["pairs"] == 779
    assert len(sum(facts["sizes"].values(), [])) == facts["references"] == 29


@pytest.mark.parametrize("point_at", ["outer", "inner"])
def test_nested_twice_and_the_labels_beside_the_folder(root, tmp_path, point_at):
    inner = root / "databaserelease2"
    facts = live(inner)
    place = root if point_at == "inner" else tmp_path
    shutil.move(inner / "dmos_realigned.mat", place)
    found = read(inner if point_at == "inner" else root, facts)
    assert [pair.pair_id for pair in found.pairs] == IDS
    assert found.pairs[0].dis_path == inner / "jp2k/img2.bmp"


def test_upper_case_and_the_folder_that_some_call_blur(root):
    facts = live(root, blur="BLUR")
    (root / "jp2k").rename(root / "JP2K")
    for path in sorted((root / "JP2K").glob("*.bmp")):
        path.rename(path.with_name(path.name.upper()))
    found = read(root, facts)
    assert [pair.pair_id for pair in found.pairs] == IDS
    assert found.pairs[0].dis_path == root / "JP2K/IMG2.BMP"
    assert found.pairs[6].dis_path == root / "BLUR/img1.bmp"
    assert ALIASES["gblur"] == ("gblur", "blur")


def test_a_root_too_deep_is_told_the_folder_above(root):
    facts = live(root)
    expect(root / "jp2k", facts, rf"no refnames_all\.mat in .*jp2k or below.*give the folder above, {root}")


def test_dmos_mat_is_no_substitute(root):
    facts = live(root, realigned=False)
    expect(root, facts, r"dmos_realigned\.mat not found in .* or its parent.*dmos\.mat is NOT a substitute")


@pytest.mark.parametrize(("name", "prefix"), [("LIVE.txt", "LIVE/"), ("live.txt", "LIVE/"), ("live.TXT", "")])
def test_the_tables_of_waterloo_and_of_the_official_code(root, name, prefix):
    """Their labels count even where dmos.mat lies about."""
    facts = live(root, realigned=False)
    live_table(root / name, prefix)
    found = read(root, facts)
    assert [pair.pair_id for pair in found.pairs] == IDS
    assert [pair.ref for pair in found.pairs] == [LIVE_REFERENCES[index] for _, index in LIVE_SCORES]
    assert (found.warnings, found.layout) == ((), "a table of another toolbox")


def test_the_table_of_pyiqa_with_the_labels_of_dmos_mat_is_not_the_release(root):
    facts = live(root, realigned=False)
    rows = [f"refimgs/{LIVE_REFERENCES[index]},{folder}/img{index}.bmp,{40 - score / 4}"
            for (folder, index), score in LIVE_SCORES.items()]
    (root / "meta_info_LIVEIQADataset.csv").write_text("\n".join(["ref_name,dist_name,mos", *rows]))
    (warning,) = read(root, facts).warnings
    assert "are not those of the release" in warning


def test_either_orientation_of_the_arrays(root, facts):
    arrays, cells = live_arrays()
    savemat(root / "dmos_realigned.mat", {name: values.T for name, values in arrays.items()})
    savemat(root / "refnames_all.mat", {"refnames_all": cells.T})
    assert [pair.pair_id for pair in read(root, facts).pairs] == IDS


def test_the_filtered_copy_that_circulates(root, facts):
    arrays, cells = live_arrays()
    savemat(root / "refnames_all.mat", {"refnames_all": cells[:, arrays["orgs"][0] == 0].T})
    expect(
        root, facts, "refnames_all has 10 entries, expected 15. Filtered copies circulate, in another order")


@pytest.mark.parametrize(("change", "message"), [
    ({"orgs": np.zeros((1, 15))}, r"orgs marks 0 originals \(0/0/0/0/0\), expected 5 \(1/1/1/1/1\)"),
    ({"orgs": np.zeros((1, 10))}, "orgs has 10 entries, expected 15"),
    ({"orgs": np.array([[0, 1, 0, *[0, 1, 0], *[0, 0, 1] * 3]])},
     r"disagree at jp2k/img1.bmp, jp2k/img2.bmp \(2 im"),
    ({"orgs": np.full((1, 15), 2)}, "orgs marks 0 originals"),
    ({"dmos_new": np.full((1, 15), np.nan)}, "dmos_new in dmos_realigned.mat does not hold finite numbers"),
    ({"dmos_new": "a text of its own"}, "dmos_new has no entries, expected 15"),
    ({"dmos_new": live_arrays()[1]}, "dmos_new in dmos_realigned.mat does not hold finite numbers"),
    ({"dmos_std": None}, "dmos_realigned.mat has no dmos_std, only dmos_new, orgs"),
])
def test_arrays_that_are_not_the_releases(root, facts, change, message):
    arrays = {name: values for name, values in {**live_arrays()[0], **change}.items() if values is not None}
    savemat(root / "dmos_realigned.mat", arrays)
    expect(root, facts, message)


@pytest.mark.parametrize("name", [5.0, "", "../bikes.bmp", "/etc/bikes.bmp"])
def test_reference_names_are_plain_names(root, facts, name):
    cells = live_arrays()[1]
    cells[0, 4] = name
    savemat(root / "refnames_all.mat", {"refnames_all": cells})
    expect(root, facts, "refnames_all has no file name for jpeg/img2.bmp")


def test_info_txt_that_contradicts(root, facts):
    info = root / "wn/info.txt"
    info.write_text(info.read_text().replace("womanhat.bmp", "BIKES.bmp"))
    expect(root, facts,
           r"wn/info.txt says that wn/img2.bmp comes from BIKES.bmp, refnames_all says womanhat.bmp")
    info.write_text("of another form\n")
    assert read(root, facts).pairs[4].level == ""


def test_a_score_that_cannot_be(root, facts):
    arrays = live_arrays()[0]
    arrays["dmos_new"][0, 1] = 999
    savemat(root / "dmos_realigned.mat", arrays)
    expect(root, facts, r"dmos_realigned.mat entry 2: score 999.0, expected -5..120")


def test_not_a_mat_file_and_no_reference_names(root, facts):
    (root / "dmos_realigned.mat").write_text("<html>Not found</html>")
    expect(root, facts, "dmos_realigned.mat is not a readable MATLAB file")
    (root / "refnames_all.mat").unlink()
    expect(root, facts, "refnames_all.mat not found")


@pytest.mark.parametrize("row", [
    "LIVE/tid/img2.bmp,jp2k,LIVE/refimgs/bikes.bmp,1", "LIVE/jp2k/img4.bmp,jp2k,LIVE/refimgs/bikes.bmp,1",
    "img2.bmp,jp2k,LIVE/refimgs/bikes.bmp,1", "LIVE/jp2k/../jp2k/img2.bmp,jp2k,LIVE/refimgs/bikes.bmp,1",
    "/LIVE/jp2k/img2.bmp,jp2k,LIVE/refimgs/bikes.bmp,1", "LIVE/jp2k/img2.bmp,jp2k,../refimgs/bikes.bmp,1",
    "LIVE/jp2k/img2.bmp,jp2k,,1",
])
def test_a_row_that_names_no_image(root, row):
    facts = live(root, realigned=False)
    live_table(root / "LIVE.txt")
    lines = (root / "LIVE.txt").read_text().splitlines()
    (root / "LIVE.txt").write_text("\n".join([lines[0], row, *lines[2:]]))
    expect(root, facts, f"LIVE.txt line 2: {re.escape(repr(row.split(',')[0]))} is no image of LIVE")


def test_the_same_name_with_other_content_below_another_folder(root, facts):
    (root / "backup/jp2k").mkdir(parents=True)
    shutil.copy(root / "jp2k/img2.bmp", root / "backup/jp2k")
    assert read(root, facts).pairs[0].dis_path == root / "jp2k/img2.bmp", "a copy does no harm"
    (root / "backup/jp2k/img2.bmp").write_bytes(b"other")
    expect(root, facts, "img2.bmp found twice in .*, with different content: backup/jp2k/img2.bmp, "
                        "jp2k/img2.bmp|"
                        "img2.bmp found twice in .*, with different content: jp2k/img2.bmp, "
                        "backup/jp2k/img2.bmp")



def mat_bytes(*, compressed=False):
    stream = io.BytesIO()
    arrays, cells = live_arrays()
    savemat(stream, {**arrays, "refnames_all": cells}, do_compression=compressed)
    return stream.getvalue()


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_any_bytes_are_labels_or_one_error(data):
    """Damaged .mat files: arbitrary bytes, and the real thing with bytes changed or cut off."""
    good = mat_bytes(compressed=data.draw(st.booleans()))
    kind = data.draw(st.sampled_from(("bytes", "cut", "changed")))
    if kind == "bytes":
        content = data.draw(st.binary(max_size=300))
    elif kind == "cut":
        content = good[:data.draw(st.integers(0, len(good)))]
    else:
        content = bytearray(good)
        for place, value in data.draw(st.lists(st.tuples(st.integers(0, len(good) - 1), st.integers(0, 255)),
                                               min_size=1, max_size=4)):
            content[place] = value
    whole = parse_mat(good, "dmos_realigned.mat")
    try:
        damaged = parse_mat(bytes(content), "dmos_realigned.mat")
    except DatasetError:
        return
    for realigned, names in ((damaged, whole), (whole, damaged)):
        with suppress(DatasetError):
            assert len(parse_labels(realigned, names, {}, SMALL)) == len(LIVE_SCORES)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200))
def test_any_info_txt_is_at_most_a_contradiction(info):
    whole = parse_mat(mat_bytes(), "dmos_realigned.mat")
    assert len(parse_labels(whole, whole, {"wn": info}, SMALL)) == len(LIVE_SCORES)
