import math
import shutil

import numpy as np
import pytest
from conftest import noisy, official_rows, write_official, write_stored

from zsiqa.cli.main import main
from zsiqa.evaluation.agreement import verify
from zsiqa.evaluation.correlation import correlate
from zsiqa.report.agreement import to_text
from zsiqa.results.folder import open_folder
from zsiqa.results.scores import ScoreKey
from zsiqa.types import StoreError

ROWS = official_rows("tid2013")
THEIRS = noisy(ROWS, 0)
FILE = "tid2013_dinov1_l2.csv"
KEY = ScoreKey("tid2013", "dinov1-features-l2", "original")


def _id(row):
    return f"tid2013/{ROWS[row][0].lower().removesuffix('.bmp')}"


def _ours(tmp_path, scores, key=KEY, rows=ROWS):
    """Our own file of these scores, as a run writes it."""
    write_stored(tmp_path / "ours", key, scores, [mos for *_, mos in rows], refs=[ref for _, ref, _ in rows],
                 ids=[f"tid2013/{dis.lower().removesuffix('.bmp')}" for dis, *_ in rows],
                 higher_is_better=False)


def _verify(tmp_path, datasets=None, metrics=None, rtol=1e-3):
    return verify(open_folder(tmp_path / "ours"), open_folder(tmp_path / "theirs"), datasets, metrics, rtol)


@pytest.fixture
def theirs(tmp_path):
    return write_official(tmp_path / "theirs" / FILE, ROWS, THEIRS)


def test_equal_scores_agree_in_every_respect(tmp_path, theirs):
    _ours(tmp_path, theirs)
    (one,) = _verify(tmp_path, rtol=0).agreements
    assert one.key == KEY
    assert (one.n, one.only_ours, one.only_theirs, one.labels_differ) == (3000, 0, 0, 0)
    assert (one.largest, one.diverging, one.first) == (0, 0, "")
    assert (one.srcc, one.krcc) == pytest.approx((1, 1), abs=1e-12)


@pytest.mark.parametrize(("share", "diverging"), [(0.99, 0), (1.01, 1)])
def test_the_tolerance_is_a_share_of_the_authors_largest_score(tmp_path, theirs, share, diverging):
    ours = theirs.copy()
    ours[17] -= share * 1e-3 * np.abs(theirs).max()
    _ours(tmp_path, ours)
    (one,) = _verify(tmp_path).agreements
    assert one.diverging == diverging
    assert one.largest == pytest.approx(share * 1e-3 * np.abs(theirs).max(), rel=1e-9)
    assert one.worst == _id(17)


def test_the_first_diverging_pair_is_that_of_the_authors_order(tmp_path, theirs):
    """Ours stand in the opposite order, and the largest difference comes later."""
    ours = theirs.copy()
    ours[[40, 2000, 900]] += [5, 30, 7]
    _ours(tmp_path, ours[::-1], rows=ROWS[::-1])
    (one,) = _verify(tmp_path).agreements
    assert (one.n, one.diverging) == (3000, 3)
    assert one.first == f"{_id(40)}: ours {ours[40]:.7g}, theirs {theirs[40]:.7g}"
    assert one.largest == pytest.approx(30, rel=1e-12)
    assert one.worst == _id(2000)


def test_rank_agreement_is_that_of_the_two_sets_of_scores(tmp_path, theirs):
    ours = theirs + np.random.default_rng(1).normal(0, 5, len(ROWS))
    _ours(tmp_path, ours)
    (one,) = _verify(tmp_path).agreements
    expected = correlate(ours, theirs)
    assert (one.srcc, one.krcc) == pytest.approx((expected.srcc, expected.krcc), rel=1e-12)
    assert one.srcc < 0.99


def test_pairs_without_a_score_on_one_side_are_counted(tmp_path, theirs):
    ours = theirs.copy()
    ours[[3, 4]] = math.nan
    _ours(tmp_path, ours)
    write_official(tmp_path / "theirs" / FILE, ROWS, np.where(np.arange(3000) == 8, math.inf, theirs))
    found = _verify(tmp_path)
    (one,) = found.agreements
    assert (one.n, one.only_ours, one.only_theirs, one.diverging) == (2997, 1, 2, 0)
    assert "1 pairs only ours, 2 only theirs" in to_text(found)


def test_other_pairs_on_one_side_are_counted(tmp_path, theirs):
    _ours(tmp_path, [*theirs[:2000], 1.0], rows=[*ROWS[:2000], ("i99_01_1.bmp", "I99.BMP", 1.0)])
    (one,) = _verify(tmp_path).agreements
    assert (one.n, one.only_ours, one.only_theirs) == (2000, 1, 1000)


def test_other_labels_are_counted_and_questioned(tmp_path, theirs):
    _ours(tmp_path, theirs, rows=[*ROWS[:-2], *((dis, ref, mos + 0.01) for dis, ref, mos in ROWS[-2:])])
    found = _verify(tmp_path)
    assert found.agreements[0].labels_differ == 2
    assert "2 pairs have another label: is this the same release of the data set?" in to_text(found)


@pytest.fixture
def several(tmp_path, theirs):
    """Two common sets, one that only we have, one that only the authors have, and one of theirs that is cut
    short."""
    for metric in ("dinov1-features-l2", "dinov1-features-wsd", "dinov1-features-skld", "other-features-l2"):
        _ours(tmp_path, theirs, ScoreKey("tid2013", metric, "original"))
    for name in ("dinov1_wsd", "dists"):
        write_official(tmp_path / f"theirs/tid2013_{name}.csv", ROWS, theirs)
    write_official(tmp_path / "theirs/tid2013_dinov1_skld.csv", ROWS[:9], theirs[:9])
    return tmp_path


def test_only_what_both_have_is_compared_and_the_rest_is_named(several):
    found = _verify(several)
    assert [one.key.metric for one in found.agreements] == ["dinov1-features-l2", "dinov1-features-wsd"]
    assert found.not_ours == [ScoreKey("tid2013", "dists", "original")]
    assert [key.metric for key in found.not_theirs] == ["dinov1-features-skld", "other-features-l2"]
    text = to_text(found)
    assert "not scored here: 1 of the authors' sets, e.g. tid2013/dists/original" in text
    assert "the authors have no complete tid2013/dinov1-features-skld/original" in text


def test_only_the_chosen_are_compared(several):
    found = _verify(several, metrics=["dinov1-features-wsd"])
    assert [one.key.metric for one in found.agreements] == ["dinov1-features-wsd"]
    assert found.not_ours == found.not_theirs == []
    assert len(_verify(several, datasets=["tid2013"]).agreements) == 2


@pytest.mark.parametrize("choice", [{"datasets": ["pipal"]}, {"metrics": ["psnr"]},
                                    {"datasets": ["tid2013"], "metrics": ["other-features-l2"]}])
def test_nothing_in_common_is_an_error_that_says_what_to_do(several, choice):
    with pytest.raises(StoreError, match=r"nothing to compare.*: .*ours.*theirs.*--dataset and --metric"):
        _verify(several, **choice)


def test_no_pair_in_common_is_no_agreement(tmp_path, theirs):
    _ours(tmp_path, theirs[:5], rows=[(f"x{row}.bmp", "x.bmp", 1.0) for row in range(5)])
    status = main(["audit", "--scores", str(tmp_path / "ours"), "--official", str(tmp_path / "theirs")])
    assert status == 1


def test_the_whole_file_beside_one_that_was_cut_short_is_used_and_named(tmp_path, theirs):
    write_official(tmp_path / "theirs" / FILE, ROWS[:9], theirs[:9])
    write_official(tmp_path / "theirs/tid2013_dinov1_l2 copy.csv", ROWS, theirs)
    _ours(tmp_path, theirs)
    found = _verify(tmp_path, rtol=0)
    (one,) = found.agreements
    assert (one.key, one.n, one.diverging) == (KEY, 3000, 0)
    assert "tid2013_dinov1_l2 copy.csv" in to_text(found)


def test_the_text_names_the_first_and_the_worst_pair(tmp_path, theirs):
    ours = theirs.copy()
    ours[[40, 2000]] += [5, 30]
    _ours(tmp_path, ours)
    text = to_text(_verify(tmp_path))
    assert f"first diverging pair {_id(40)}: ours {ours[40]:.7g}, theirs {theirs[40]:.7g}" in text
    assert f"largest difference at {_id(2000)}" in text
    assert "more than 0.001 of the largest score of the file" in text


def test_the_exit_status_says_whether_a_pair_diverges(tmp_path, theirs, capsys):
    ours = theirs.copy()
    ours[7] *= 1.01
    _ours(tmp_path, ours)
    command = ["audit", "--scores", str(tmp_path / "ours"), "--official", str(tmp_path / "theirs")]
    assert main(command) == 1
    assert main([*command, "--rtol", "0.1"]) == 0
    assert main([*command, "--dataset", "live"]) == 1
    assert "error: nothing to compare" in capsys.readouterr().err


def test_scores_that_are_not_all_there_are_no_agreement(tmp_path, theirs):
    _ours(tmp_path, theirs)
    assert _verify(tmp_path).agree
    shutil.rmtree(tmp_path / "ours")  # scores that are there once stay there
    _ours(tmp_path, np.where(np.arange(3000) < 10, np.nan, theirs))
    assert not _verify(tmp_path).agree


def test_a_damaged_sidecar_costs_its_own_comparison_only(tmp_path, theirs):
    _ours(tmp_path, theirs)
    write_official(tmp_path / "theirs/tid2013_dists.csv", ROWS, THEIRS)
    _ours(tmp_path, theirs, key=ScoreKey("tid2013", "dists", "original"))
    (tmp_path / "ours/tid2013/dists/original.json").write_text("{}")
    found = _verify(tmp_path)
    assert [one.key for one in found.agreements] == [KEY]
    assert not found.agree
    assert "not compared: " in to_text(found)
