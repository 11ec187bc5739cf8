import hashlib
import math
from collections import Counter

import numpy as np
import pytest
from conftest import noisy, official_rows, write_official

from zsiqa.results.official import OfficialFolder, conventions, file_name, folders_of_rows, keys_sha256
from zsiqa.results.scores import ScoreKey
from zsiqa.types import StoreError

FOLDERS = {"jp2k": 169, "jpeg": 175, "wn": 145, "gblur": 145, "fastfading": 145}
PSNR = {name: ScoreKey(name, "psnr", "original") for name in ("live", "tid2013", "pipal")}


@pytest.fixture
def load(tmp_path):
    """Write a file of PSNR with these rows; read it back."""
    def write_and_load(dataset, rows, scores=None):
        path = tmp_path / f"{dataset}_psnr.csv"
        write_official(path, rows, [0.5] * len(rows) if scores is None else scores)
        return OfficialFolder(tmp_path).load(PSNR[dataset], path)

    return write_and_load


def touch(folder, *names):
    for name in names:
        (folder / name).write_text("")
    return OfficialFolder(folder)


@pytest.mark.parametrize(("key", "name"), [
    (("live", "psnr", "original"), "live_psnr.csv"),
    (("tid2013", "fsimc", "rotate"), "tid2013_fsim_rot-1.csv"),
    (("pipal", "ms_ssim", "translate"), "pipal_msssim_tra-1.csv"),
    (("pipal", "dinov1-features-wsd", "dilate"), "pipal_dinov1_wsd_sca-1.csv"),
    (("live", "vgg19-features-skld", "original"), "live_deep_kld_vgg.csv"),
    (("tid2013", "clip_convnext-embedding-cosine", "original"),
     "tid2013_embed_openclip_convnext_base_cos.csv"),
    (("pipal", "rclip_vitb32-embedding-cosine", "rotate"),
     "pipal_embed_openclip_vitb32_laion_tecoa4_cos_rot-1.csv"),
])
def test_names_of_the_authors(key, name):
    assert file_name(ScoreKey(*key)) == name


@pytest.mark.parametrize(
    "key", [("kadid", "psnr", "original"), ("live", "swd", "original"), ("live", "fsim", "rotate"),
                                 ("live", "psnr", "shear"),
            ("demo", "efficientnet_lite0-features-l2", "original")])
def test_the_authors_have_no_name_for_what_they_did_not_score(key):
    assert file_name(ScoreKey(*key)) is None


def test_every_name_leads_back_to_its_scores(tmp_path):
    metrics = conventions()["metrics"]
    assert len(metrics) == 45
    keys = [ScoreKey(dataset, metric, perturbation) for dataset in ("live", "tid2013", "pipal")
            for metric in metrics
            for perturbation in ("original", "translate", "dilate", "rotate")]
    names = [file_name(key) for key in keys]
    assert len(set(names)) == 45 * 3 * 4
    folder = touch(tmp_path, *names)
    assert folder.files == {key: tmp_path / name for key, name in zip(keys, names, strict=True)}
    assert folder.strays == []
    assert [path for key in keys for path in folder.copies(key)] == []


def test_unknown_names_are_strays_and_other_files_are_nothing(tmp_path):
    strays = ["LIVE_psnr.csv", "kadid_psnr.csv", "live_dinov2.csv", "live_psnr_rot-2.csv", "notes.csv"]
    (tmp_path / "below").mkdir()
    folder = touch(tmp_path, *strays, "live_psnr.csv", "live_psnr.txt", "README.md", "below/live_fsim.csv")
    assert list(folder.files) == [PSNR["live"]]
    assert [path.name for path in folder.strays] == strays


@pytest.mark.parametrize(("name", "key"), [
    ("pipal_dinov2.csv", ("pipal", "dinov2", "original")),
    ("live_new_net_rot-1.csv", ("live", "new_net", "rotate")),
    ("live_new_net_sca-1.csv", ("live", "new_net", "dilate")),
    ("tid2013_new_tra-1.csv", ("tid2013", "new", "translate")),
    ("pipal_imagenet_vit_cos copy.csv", ("pipal", "imagenet_vit_cos copy", "original")),
])
def test_a_strays_name_still_says_what_it_holds(tmp_path, name, key):
    assert touch(tmp_path, name).stray_key(tmp_path / name) == key


@pytest.mark.parametrize("name", ["notes.csv", "kadid_psnr.csv", "live.csv", "live_.csv", "PIPAL_psnr.csv"])
def test_a_name_without_a_data_set_is_a_clear_error(tmp_path, name):
    with pytest.raises(StoreError,
                       match=r"expected a name <dataset>_<method>.* live, tid2013, pipal"):
        touch(tmp_path, name).stray_key(tmp_path / name)


def test_copies_are_strays_recognised_by_their_name(tmp_path):
    copies = ["live_lpips (1).csv", "live_lpips copy.csv", "live_lpips(1).csv", "live_lpips-copy.csv",
              "live_lpips.bak.csv", "live_lpips_copy.csv"]
    others = ["live_lpips.csv", "live_lpips_rot-1.csv", "live_lpips_vgg.csv", "live_lpips2.csv",
              "live_lpipsvgg.csv",
              "live_lpips_squeeze.csv", "tid2013_lpips copy.csv", "copy of live_lpips.csv"]
    folder = touch(tmp_path, *copies, *others)
    assert [path.name for path in folder.copies(ScoreKey("live", "lpips_alex", "original"))] == copies
    assert folder.copies(ScoreKey("demo", "net-features-l2", "original")) == []
    assert folder.copies(ScoreKey("live", "dists", "original")) == []


@pytest.mark.parametrize(("name", "owner"), [
    ("live_lpips_rot-1 copy.csv", ("live", "lpips_alex", "rotate")),
    ("live_lpips_vgg copy.csv", ("live", "lpips_vgg", "original")),
    ("live_lpips_vgg_kadid_tra-1 (1).csv", ("live", "lpips_vgg_kadid", "translate")),
])
def test_a_copy_belongs_to_the_longest_name_that_it_continues_and_to_no_other(tmp_path, name, owner):
    """The copy of a rotated set of scores must never stand in for the unrotated one."""
    folder = touch(tmp_path, name)
    assert [ScoreKey("live", metric, perturbation) for metric in conventions()["metrics"]
            for perturbation in conventions()["perturbations"]
            if folder.copies(ScoreKey("live", metric, perturbation))] == [owner]


def test_a_file_of_live_tells_the_folders_by_the_order_of_its_rows(load):
    rows = official_rows("live")
    scores = load("live", rows, np.arange(779.0))
    assert Counter(scores.pairs.types) == FOLDERS
    assert scores.pairs.types[[0, 168, 169, 343, 344, 778]].tolist() == ["jp2k", "jp2k", "jpeg", "jpeg", "wn",
                                                                        "fastfading"]
    assert scores.pairs.ids[[0, 169, 778]].tolist() == ["live/jp2k/img1",
                                                        "live/jpeg/img1", "live/fastfading/img145"]
    assert len(set(scores.pairs.ids)) == scores.expected == 779
    assert scores.pairs.refs[:2].tolist() == ["ref1", "ref2"]
    assert scores.pairs.labels.tolist() == [mos for *_, mos in rows]
    assert scores.values.tolist() == list(range(779))
    assert not scores.pairs.higher_is_better


@pytest.mark.parametrize("count", [1, 6, 168, 169, 170, 345, 778])
def test_a_file_of_live_that_ends_early_is_read_as_far_as_it_goes(load, count):
    whole = load("live", official_rows("live"))
    cut = load("live", official_rows("live")[:count])
    assert cut.pairs.ids.tolist() == whole.pairs.ids[:count].tolist()
    assert cut.pairs.types.tolist() == whole.pairs.types[:count].tolist()
    assert cut.expected == 779


def _swapped(rows):
    return [rows[1], rows[0], *rows[2:]]


@pytest.mark.parametrize("spoil", [
    _swapped,
    sorted,
    lambda rows: rows[::-1],
    lambda rows: rows[1:],
    lambda rows: rows[:100] + rows[101:],
    lambda rows: [*rows[:10], rows[9], *rows[10:-1]],
    lambda rows: rows[169:344] + rows[:169] + rows[344:],  # JPEG before JPEG 2000
], ids=["swapped", "sorted", "reversed", "first left out", "one left out", "one twice", "folders changed"])
def test_a_file_of_live_in_another_order_is_a_clear_error(load, spoil):
    with pytest.raises(StoreError,
                       match=r"the folder of a name such as img5\.bmp.*expected jp2k, jpeg, wn, .* at the "
                                         r"rows \[169, 344, 489, 634\], found \[.*keep the authors' order"):
        load("live", spoil(official_rows("live")))


def test_folders_by_hand(tmp_path):
    folders = {"a": 2, "b": 3}
    assert folders_of_rows([4, 7, 1, 7, 9], folders, tmp_path) == ["a", "a", "b", "b", "b"]
    assert folders_of_rows([4, 7, 7], folders, tmp_path) == ["a", "a", "b"]
    assert folders_of_rows([], folders, tmp_path) == []
    for wrong in ([4, 7, 9, 1, 2], [4, 4], [4, 7, 1, 9, 7]):
        with pytest.raises(StoreError, match="found"):
            folders_of_rows(wrong, folders, tmp_path)


def test_names_of_tid2013_mean_the_same_in_any_case(load):
    rows = official_rows("tid2013")
    scores = load("tid2013", rows)
    assert scores.pairs.ids[[0, 1, 51]].tolist() == ["tid2013/i01_01_1",
                                                     "tid2013/i01_01_2", "tid2013/i01_11_2"]
    assert Counter(scores.pairs.types) == {f"{kind:02}": 125 for kind in range(1, 25)}
    assert Counter(scores.pairs.refs) == {f"i{ref:02}": 120 for ref in range(1, 26)}
    turned = load("tid2013", [(dis.swapcase(), ref.swapcase(), mos) for dis, ref, mos in rows])
    for name in ("ids", "refs", "types", "labels"):
        assert getattr(turned.pairs, name).tolist() == getattr(scores.pairs, name).tolist()
    shuffled = load("tid2013", rows[::-1])
    assert shuffled.pairs.ids.tolist() == scores.pairs.ids[
            ::-1].tolist(), "any order is fine where names are unique"


def test_a_file_of_pipal(load):
    scores = load("pipal", official_rows("pipal"))
    assert len(scores.values) == scores.expected == 23200
    assert scores.pairs.ids[0] == "pipal/A0000_00_00"
    assert scores.pairs.higher_is_better
    assert scores.higher_is_better
    assert Counter(scores.pairs.types) == {f"{kind:02}": 200 * count
                                           for kind, count in enumerate((12, 16, 10, 24, 13, 14, 27))}
    assert set(Counter(scores.pairs.refs).values()) == {116}


def test_psnr_alone_grows_with_quality(tmp_path):
    rows = official_rows("live")
    folder = OfficialFolder(tmp_path)
    for metric in conventions()["metrics"]:
        key = ScoreKey("live", metric, "original")
        if metric in ("psnr", "ms_ssim", "fsimc", "clip_vitb32-features-cosine"):
            write_official(tmp_path / file_name(key), rows, range(779))
            assert folder.load(key, tmp_path / file_name(key)).higher_is_better == (metric == "psnr")


@pytest.mark.parametrize(("dataset", "count"), [("live", 780), ("tid2013", 3001)])
def test_more_rows_than_the_data_set_has_are_refused(load, dataset, count):
    rows = official_rows(dataset)
    with pytest.raises(StoreError,
                       match=rf"{count} rows, more than {dataset} has \(live 779, tid2013 3000, pip"):
        load(dataset, [*rows, rows[0]])


def test_a_pair_that_stands_there_twice_is_named(load):
    rows = official_rows("tid2013")
    again = (rows[7][0].swapcase(), *rows[7][1:])
    with pytest.raises(StoreError, match=r"tid2013_psnr\.csv: the pair tid2013/i01_02_3 is listed twice"):
        load("tid2013", [*rows[:100], again, *rows[101:]])


@pytest.mark.parametrize("label", [math.nan, math.inf])
def test_a_label_that_is_no_number_is_named_with_its_line(load, label):
    rows = official_rows("tid2013")
    rows[4] = (*rows[4][:2], label)
    with pytest.raises(StoreError, match=rf"tid2013_psnr\.csv line 6: the label of i01_01_5\.bmp is {label}"):
        load("tid2013", rows)


def test_an_empty_label_is_named_with_its_line(tmp_path):
    (tmp_path / "live_psnr.csv").write_text("dis,ref,mos,pred\nimg1.bmp,a.bmp,,0.5\n")
    with pytest.raises(StoreError,
                       match=r"live_psnr\.csv line 2: the label of img1\.bmp is nan, expected a finite"):
        OfficialFolder(tmp_path).load(PSNR["live"], tmp_path / "live_psnr.csv")


@pytest.mark.parametrize(("dataset", "name"), [
    ("tid2013", "img1.bmp"), ("live", "i01_01_1.bmp"), ("pipal", "i01_01_1.bmp"), ("tid2013", "i01_01_1.png"),
    ("tid2013", "x/i01_01_1.bmp"), ("tid2013", ""), ("live", "img.bmp"),
])
def test_an_image_that_the_data_set_cannot_have_is_named_with_its_line(load, dataset, name):
    with pytest.raises(StoreError, match=r"line 3: expected a name like .*, found ") as caught:
        load(dataset, [official_rows(dataset)[0], (name, "ref.bmp", 1.0)])
    assert repr(name) in str(caught.value)


def test_scores_that_are_missing_or_infinite_are_kept_as_such(load):
    scores = load("live", official_rows("live")[:3], [1.0, math.inf, 2.0])
    assert scores.usable.tolist() == [True, False, True]


def test_a_header_alone_is_a_file_without_rows(load):
    for dataset, upwards in {"live": False, "tid2013": False, "pipal": True}.items():
        scores = load(dataset, [])
        assert len(scores.values) == len(scores.pairs.ids) == 0
        assert scores.expected == {"live": 779, "tid2013": 3000, "pipal": 23200}[dataset]
        assert scores.pairs.higher_is_better == upwards


def test_other_columns_are_refused(tmp_path):
    (tmp_path / "live_psnr.csv").write_text("ref,dis,mos,pred\n")
    with pytest.raises(StoreError, match="expected the columns dis,ref,mos,pred, found ref,dis,mos,pred"):
        OfficialFolder(tmp_path).load(PSNR["live"], tmp_path / "live_psnr.csv")


def test_files_with_the_same_pairs_share_them_and_others_do_not(tmp_path):
    rows = official_rows("tid2013")
    relabelled = [*rows[:-1], (*rows[-1][:2], rows[-1][2] + 1e-9)]
    other_ref = [*rows[:-1], (rows[-1][0], "I01.BMP", rows[-1][2])]
    metrics = {"psnr": rows, "fsimc": rows, "dists": relabelled, "ms_ssim": other_ref, "lpips_vgg": rows[:-1]}
    folder = OfficialFolder(tmp_path)
    found = {}
    for seed, (metric, some) in enumerate(metrics.items()):
        key = ScoreKey("tid2013", metric, "original")
        values = write_official(tmp_path / file_name(key), some, noisy(some, seed))
        found[metric] = folder.load(key, tmp_path / file_name(key))
        assert found[metric].values.tolist() == values.tolist()
    pairs = {metric: scores.pairs for metric, scores in found.items()}
    assert pairs["psnr"] is pairs["fsimc"]
    assert len({id(one) for one in pairs.values()}) == 4
    assert pairs["dists"].labels[-1] == rows[-1][2] + 1e-9
    assert (pairs["ms_ssim"].refs[-1], pairs["psnr"].refs[-1]) == ("i01", "i25")
    assert len(pairs["lpips_vgg"].ids) == 2999


def test_two_data_sets_never_share_pairs(tmp_path):
    """A header alone has equal (no) rows everywhere."""
    folder = touch(tmp_path)
    for dataset in ("live", "pipal"):
        write_official(tmp_path / f"{dataset}_psnr.csv", [], [])
    live, pipal = (folder.load(PSNR[name], tmp_path / f"{name}_psnr.csv") for name in ("live", "pipal"))
    assert (live.pairs.higher_is_better, pipal.pairs.higher_is_better) == (False, True)


def test_the_hash_of_keys_is_that_of_all_fields_but_the_last(tmp_path):
    path = tmp_path / "live_psnr.csv"
    path.write_text("dis,ref,mos,pred\nimg1.bmp,a.bmp,5.0,0.1\nimg2.bmp,a.bmp,6.5,0.2\n")
    assert keys_sha256(path) == hashlib.sha256(b"img1.bmp,a.bmp,5.0\nimg2.bmp,a.bmp,6.5").hexdigest()


@pytest.mark.parametrize(("name", "metric"), [("live_dists.csv", "dists"), ("tid2013_dists.csv", "dists"),
                                              ("pipal_psnr.csv", "psnr")])
def test_the_authors_own_files(authors, name, metric):
    folder = OfficialFolder(authors)
    key = ScoreKey(name.partition("_")[0], metric, "original")
    scores = folder.load(key, folder.files[key])
    facts = conventions()["datasets"][key.dataset]
    assert len(scores.values) == facts["pairs"]
    assert len(set(scores.pairs.refs)) == facts["references"]
    assert set(scores.pairs.types) == set(facts["types"])
    assert keys_sha256(authors / name) == facts["keys_sha256"]
