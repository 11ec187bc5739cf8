import os
from pathlib import Path

import numpy as np
import pytest
from conftest import noisy, official_rows, write_official
from scipy import stats

from zsiqa.evaluation.ranking import rank
from zsiqa.results.combined_sources import open_sources
from zsiqa.results.folder import open_folder
from zsiqa.results.liao import LiaoFolder
from zsiqa.results.scores import ScoreKey
from zsiqa.types import StoreError

FILE = "DeepWSD_VGG.txt"


def write(root, dataset, listed, scores, *, encoding="utf-8", file=FILE):
    """A folder as Liao et al. have it: lines of ref_name.txt, and of a file of scores."""
    (root / dataset).mkdir(parents=True, exist_ok=True)
    (root / dataset / "ref_name.txt").write_bytes("\r\n".join([*listed, ""]).encode(encoding))
    (root / dataset / file).write_text("\n".join(map(str, scores)) + "\n")
    return root


def load(root, dataset, metric="deepwsd_vgg19"):
    folder = LiaoFolder(root)
    key = ScoreKey(dataset, metric, "original")
    return folder.load(key, folder.files[key])


def test_names_before_or_after_labels_in_any_case_and_with_any_blanks(tmp_path):
    write(tmp_path, "TID2013", ["5.5 I01_01_1.bmp", "6.25\t\t i01_24_5.BMP"], [0.5, 0.25])
    found = load(tmp_path, "tid2013")
    assert found.pairs.ids.tolist() == ["tid2013/i01_01_1", "tid2013/i01_24_5"]
    assert (found.pairs.refs.tolist(), found.pairs.types.tolist()) == (["i01", "i01"], ["01", "24"])
    assert found.pairs.labels.tolist() == [94.5, 93.75], "100 - MOS, as in zsiqa"
    assert not found.pairs.higher_is_better
    assert not found.higher_is_better
    assert (found.values.tolist(), found.expected) == ([0.5, 0.25], 3000)
    write(tmp_path, "CSIQ", ["1600.AWGN.1.png\t\t0.062", "CSIQ/dst_imgs/jpeg2000/a_b.jpeg2000.5.png 0.9"],
          [1, 2])
    assert load(tmp_path, "csiq").pairs.ids.tolist() == ["csiq/1600.awgn.1", "csiq/a_b.jpeg2000.5"]


def test_utf16_with_a_mark_is_read_and_without_one_refused(tmp_path):
    lines = ["A0001_00_00.bmp\t1520.0648", "A0001_06_01.bmp\t1437.0"]
    write(tmp_path, "PIPAL", lines, [1, 2], encoding="utf-16", file="DeepWSD_Efficient.txt")
    found = load(tmp_path, "pipal", "deepwsd_efficientnet_b7")
    assert (found.pairs.ids.tolist(), found.pairs.labels.tolist()) == (
        ["pipal/A0001_00_00", "pipal/A0001_06_01"], [1520.0648, 1437.0])
    assert found.notes[0] == "pipal of Liao et al.: ref_name.txt is read as UTF-16"
    write(tmp_path / "other", "PIPAL", [f"é{line}" for line in lines], [1, 2], encoding="utf-16-le")
    with pytest.raises(StoreError, match=r"ref_name\.txt: not a UTF-8 file .*save it as UTF-8"):
        load(tmp_path / "other", "pipal")


def test_copies_of_references_are_left_out_and_said(tmp_path):
    listed = ["60.25 fastfading_img1.bmp", "0 fastfading_img2.bmp", "30 wn_img10.bmp"]
    found = load(write(tmp_path, "LIVE", listed, [0.7, 0, 0.2]), "live")
    assert (found.pairs.ids.tolist(), found.values.tolist()) == (
        ["live/fastfading/img1", "live/wn/img10"], [0.7, 0.2])
    assert found.notes[0] == "live of Liao et al.: 1 undistorted copies of references are left out"
    assert found.notes[1].startswith("live of Liao et al. lacks the type gblur, jp2k, jpeg: 2 of 779 pairs")


def test_names_in_the_file_of_scores_are_followed_and_a_contradiction_is_said(tmp_path):
    listed = ["4.5 avion_blur_r1.bmp", "3.5 avion_jpeg_r2.bmp"]
    found = load(write(tmp_path, "IVC", listed, ["0.25 avion_flou_f1.bmp", "0.5 avion_lar_r1.bmp"]), "ivc")
    assert found.pairs.ids.tolist() == ["ivc/avion_flou_f1", "ivc/avion_lar_r1"]
    assert (found.pairs.labels.tolist(), found.values.tolist()) == ([4.5, 3.5], [0.25, 0.5])
    assert any("name other images in the same line" in note for note in found.notes)


@pytest.mark.parametrize(("listed", "scores", "message"), [
    (["5 i01_01_1.bmp"], [1, 2], r"VGG\.txt: 2 scores, but 1 name in ref_name\.txt"),
    (["5 i01_01_1.bmp", "i01_01_2.bmp 5"], [1, 2], r"line 2: expected a name and a label, in the same order"),
    (["5 i01_01_1.bmp", "5"], [1, 2], "line 2: expected a name and a label"),
    (["5 6"], [1], "line 1: expected a name and a label"),
    ([], [1], "line 1: expected a name and a label"),
    (["5 i01_01_1.bmp", "5 i1.bmp"], [1, 2], r"'i1\.bmp' is no image of TID2013"),
    (["5 i01_01_1.bmp", "6 I01_01_1.BMP"], [1, 2], "tid2013/i01_01_1 is listed twice"),
    (["5 i01_01_1.bmp", "6 i01_01_2.bmp"], [1, "x"], "line 2: expected a number, found x"),
    (["5 i01_01_1.bmp", "6 i01_01_2.bmp"], [1, "nan"], "line 2: expected a number, found nan"),
    (["5 i01_01_1.bmp", "6 i01_01_2.bmp"], ["1 i01_01_1.bmp", 2], "a number and a name in all lines"),
])
def test_what_is_refused(tmp_path, listed, scores, message):
    with pytest.raises(StoreError, match=message):
        load(write(tmp_path, "TID2013", listed, scores), "tid2013")


def test_files_without_a_list_of_names_are_not_silent(tmp_path):
    write(tmp_path, "TID2013", ["5 i01_01_1.bmp"], [1])
    (tmp_path / "SCID").mkdir()
    (tmp_path / "SCID" / FILE).write_text("1\n")
    folder = open_folder(tmp_path)
    assert isinstance(folder, LiaoFolder)
    assert folder.strays == [tmp_path / "SCID" / FILE]
    with pytest.raises(StoreError, match="nothing says which images its scores belong to"):
        folder.stray_key(folder.strays[0])


def test_a_clone_is_answered_with_the_folder_inside(tmp_path):
    write(tmp_path / "results/Quality assessment", "TID2013", ["5 i01_01_1.bmp"], [1])
    with pytest.raises(StoreError, match=r"did you mean .*results.Quality assessment\?"):
        open_folder(tmp_path)


def test_labels_of_another_release_give_way_to_the_releases_and_it_is_said(tmp_path):
    """LIVE: Liao et al. have the original DMOS, the paper's authors the realigned."""
    rows = official_rows("live")
    write_official(tmp_path / "official/live_psnr.csv", rows, noisy(rows, 1))
    official = open_folder(tmp_path / "official")
    key = ScoreKey("live", "psnr", "original")
    pairs = official.load(key, official.files[key]).pairs
    listed = [f"{float(label) * 2 + number % 7:.6f} {name.split('/', 1)[1].replace('/', '_')}.bmp"
              for number, (name, label) in enumerate(zip(pairs.ids, pairs.labels, strict=True))]
    write(tmp_path / "liao", "LIVE", listed[::-1], noisy(rows, 2)[::-1])
    sources = open_sources([str(tmp_path / "official"), str(tmp_path / "liao")])
    found = rank(sources, ["live"], replicates=100)
    assert set(found.rows["metric"]) == {"psnr", "deepwsd_vgg19"}
    expected = stats.spearmanr(-noisy(rows, 2), pairs.oriented_labels).statistic
    got = found.rows.set_index("metric").loc["deepwsd_vgg19", "srcc"]
    assert got == pytest.approx(expected, abs=1e-12)  # rounding of two ways to compute it
    assert any(note.startswith("liao2024: ") and "labels of live are not those of ghildyal2025" in note
               for note in found.notes)


def test_without_references_another_source_is_asked_for(tmp_path):
    write(tmp_path, "LIVE", [f"{number + 1} wn_img{number + 1}.bmp" for number in range(9)], range(9))
    with pytest.raises(StoreError, match="its images have no references; add a source that has them"):
        rank(open_folder(tmp_path), ["live"], replicates=100)


PUBLISHED = {"tid2013": 0.8806, "pipal": 0.6327, "kadid10k": 0.9016, "csiq": 0.9646, "ivc": 0.9414}


@pytest.mark.parametrize("dataset", PUBLISHED)
@pytest.mark.skipif("ZSIQA_TEST_LIAO" not in os.environ,
                    reason="set ZSIQA_TEST_LIAO to the folder of Liao et al.")
def test_the_real_folder(dataset):
    """SRCC of DeepWSD on VGG19, by scipy from the lines of the files, as of commit b2c8993."""
    folder = open_folder(Path(os.environ["ZSIQA_TEST_LIAO"]))
    key = ScoreKey(dataset, "deepwsd_vgg19", "original")
    scores = folder.load(key, folder.files[key])
    direct = stats.spearmanr(scores.quality, scores.oriented_labels).statistic
    assert direct == pytest.approx(PUBLISHED[dataset], abs=5e-5)  # printed with four digits
    found = rank(folder, [dataset], metrics=[key.metric], replicates=100).rows
    assert found["srcc"].iloc[0] == pytest.approx(direct, abs=1e-12)  # rounding of two ways to compute it
    assert np.isfinite(found["srcc_per_ref"].iloc[0])
