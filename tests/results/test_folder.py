import json
import math

import numpy as np
import pytest
from conftest import image_pair, noisy, official_rows, write_official, write_stored

from zsiqa.results.files import digest
from zsiqa.results.folder import StoredFolder, open_folder
from zsiqa.results.official import OfficialFolder
from zsiqa.results.pair_list import write_pairs
from zsiqa.results.score_file import ScoreFile
from zsiqa.results.scores import ScoreKey
from zsiqa.types import StoreError

KEY = ScoreKey("set", "net-features-l2", "original")
PSNR = ScoreKey("live", "psnr", "original")


def test_a_folder_is_ours_or_the_authors_by_where_its_files_lie(tmp_path):
    write_stored(tmp_path / "ours", KEY, [1.0])
    write_official(tmp_path / "theirs/live_psnr.csv", [], [])
    (tmp_path / "empty").mkdir()
    assert isinstance(open_folder(tmp_path / "ours"), StoredFolder)
    assert isinstance(open_folder(tmp_path / "theirs"), OfficialFolder)
    empty = open_folder(tmp_path / "empty")
    assert isinstance(empty, StoredFolder)
    assert (empty.files, empty.strays) == ({}, [])


def test_a_folder_that_is_not_there_is_a_clear_error(tmp_path):
    (tmp_path / "file.csv").write_text("")
    for name in ("nowhere", "file.csv"):
        with pytest.raises(StoreError,
                           match=rf"no folder .*{name}; score something first, .*--scores DIR"):
            open_folder(tmp_path / name)


@pytest.mark.parametrize("below", ["results", "scores"])
def test_the_folder_above_the_scores_names_the_right_one(tmp_path, below):
    if below == "results":  # a clone of the official repository
        write_official(tmp_path / below / "live_psnr.csv", [], [])
    else:  # our results_dir
        write_stored(tmp_path / below, KEY, [1.0])
    with pytest.raises(StoreError, match=rf"did you mean .*{below}\?"):
        open_folder(tmp_path)


def test_a_stored_file_is_read_in_full(tmp_path):
    path = write_stored(tmp_path, KEY, [0.5, math.nan, 0.25, 2.0 / 3.0], notes=["a caveat"])
    folder = StoredFolder(tmp_path)
    assert folder.files == {KEY: path}
    assert folder.strays == folder.copies(KEY) == []
    scores = folder.load(KEY, path)
    assert (scores.key, scores.path, scores.expected) == (KEY, path, 4)
    assert scores.values[[0, 2, 3]].tolist() == [0.5, 0.25, 2.0 / 3.0]
    assert scores.usable.tolist() == [True, False, True, True]
    assert scores.pairs.ids.tolist() == ["dis0", "dis1", "dis2", "dis3"]
    assert scores.pairs.refs.tolist() == ["ref0", "ref0", "ref1", "ref1"]
    assert scores.pairs.types.tolist() == ["", "blur", "blur", "blur"]
    assert scores.pairs.labels.tolist() == [0.0, 10.0, 20.0, 30.0]
    assert scores.notes == ("a caveat",)
    assert scores.identity == {"window": 224, "perturbation": {"amount": 1}}


@pytest.mark.parametrize("upwards", [True, False])
def test_our_scores_are_distances_and_labels_have_the_direction_of_their_data_set(tmp_path, upwards):
    scores = StoredFolder(tmp_path).load(KEY,
                                         write_stored(tmp_path, KEY, [0.5, 0.25], higher_is_better=upwards))
    assert scores.quality.tolist() == [-0.5, -0.25]
    assert scores.oriented_labels.tolist() == ([0.0, 10.0] if upwards else [0.0, -10.0])


def test_a_sidecar_may_say_that_scores_grow_with_quality(tmp_path):
    path = write_stored(tmp_path, KEY, [30.0, 20.0], about={"score": {"higher_is_better": True}})
    assert StoredFolder(tmp_path).load(KEY, path).quality.tolist() == [30.0, 20.0]


def test_a_part_of_a_published_data_set_is_not_the_whole(tmp_path):
    key = ScoreKey("tid2013", "net-features-l2", "original")
    path = write_stored(tmp_path, key, [0.5, 0.25])
    assert StoredFolder(tmp_path).load(key, path).expected == 3000
    assert StoredFolder(tmp_path).load_whole(key) is None


def test_a_file_without_any_score_is_not_there(tmp_path):
    file = ScoreFile(tmp_path.joinpath(*KEY).with_suffix(".csv"), {})
    file.begin({}, {})
    file.close()
    assert StoredFolder(tmp_path).files == {}


def test_scores_without_a_sidecar_are_a_stray_that_nobody_knows(tmp_path):
    path = write_stored(tmp_path, KEY, [1.0])
    path.with_suffix(".json").unlink()
    folder = open_folder(tmp_path)
    assert folder.files == {}
    assert folder.strays == [path]
    with pytest.raises(StoreError, match=r"original\.csv has no original\.json beside it, which says how"):
        folder.stray_key(path)


@pytest.mark.parametrize("content", ["", "{", "[]", "\0", '{"schema": 1, "identity": {}}'])
def test_a_damaged_sidecar_is_a_clear_error(tmp_path, content):
    path = write_stored(tmp_path, KEY, [1.0])
    path.with_suffix(".json").write_text(content)
    folder = StoredFolder(tmp_path)
    why = "has schema 1, this zsiqa has 4" if "schema" in content else "is damaged"
    with pytest.raises(StoreError, match=rf"original\.json {why}"):
        folder.load(KEY, path)


@pytest.mark.parametrize("lacking", ["dataset", "notes", "dataset.pairs", "dataset.higher_is_better"])
def test_a_sidecar_that_lacks_what_evaluation_needs_is_a_clear_error(tmp_path, lacking):
    path = write_stored(tmp_path, KEY, [1.0])
    sidecar = json.loads(path.with_suffix(".json").read_text())
    outer, _, inner = lacking.partition(".")
    del (sidecar[outer] if inner else sidecar)[inner or outer]
    path.with_suffix(".json").write_text(json.dumps(sidecar))
    with pytest.raises(StoreError, match=r"original\.json"):
        StoredFolder(tmp_path).load(KEY, path)


@pytest.mark.parametrize(("old", "new"), [("pair_id,ref", "pair,ref"), (",10.0,", ",ten,"), (",10.0,", ",,"),
                                          (",10.0,", ",inf,"), ("dis1,ref0,", "dis1,"), (",2.0\n", ",2.")])
def test_a_damaged_score_file_is_a_clear_error(tmp_path, old, new):
    path = write_stored(tmp_path, KEY, [1.0, 2.0])
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(StoreError, match=r"original\.csv"):
        StoredFolder(tmp_path).load(KEY, path)


def test_whole_scores_come_from_the_named_file_if_it_is_whole(tmp_path):
    rows = official_rows("live")
    named = write_official(tmp_path / "live_psnr.csv", rows, noisy(rows, 0))
    write_official(tmp_path / "live_psnr copy.csv", rows, noisy(rows, 1))
    scores = open_folder(tmp_path).load_whole(PSNR)
    assert scores.path.name == "live_psnr.csv"
    assert scores.values.tolist() == named.tolist()


@pytest.mark.parametrize("spoil", [
    lambda path: path.unlink(),
    lambda path: path.write_text("dis,ref,mos,pred\n"),
    lambda path: path.write_text(""),
    lambda path: path.write_text("".join(path.read_text().splitlines(keepends=True)[:7])),
], ids=["missing", "header only", "empty", "cut short"])
def test_whole_scores_come_from_a_copy_if_the_named_file_is_not_whole(tmp_path, spoil):
    rows = official_rows("live")
    write_official(tmp_path / "live_psnr.csv", rows, noisy(rows, 0))
    write_official(tmp_path / "live_psnr (1).csv", rows[:10], noisy(rows[:10], 1))
    copy = write_official(tmp_path / "live_psnr copy.csv", rows, noisy(rows, 2))
    spoil(tmp_path / "live_psnr.csv")
    scores = open_folder(tmp_path).load_whole(PSNR)
    assert scores.path.name == "live_psnr copy.csv"
    assert scores.values.tolist() == copy.tolist()
    assert scores.key == PSNR
    assert scores.higher_is_better


def test_there_may_be_no_whole_scores(tmp_path):
    rows = official_rows("live")[:10]
    write_official(tmp_path / "live_psnr.csv", rows, noisy(rows, 0))
    write_official(tmp_path / "live_psnr copy.csv", rows, noisy(rows, 0))
    assert open_folder(tmp_path).load_whole(PSNR) is None
    assert open_folder(tmp_path).load_whole(ScoreKey("live", "dists", "original")) is None
    assert open_folder(tmp_path).load_whole(KEY) is None


def test_the_copy_of_a_perturbed_set_of_scores_never_stands_in_for_the_original(tmp_path):
    rows = official_rows("live")
    write_official(tmp_path / "live_psnr.csv", [], [])
    write_official(tmp_path / "live_psnr_rot-1 copy.csv", rows, noisy(rows, 0))
    assert open_folder(tmp_path).load_whole(PSNR) is None
    assert open_folder(tmp_path).load_whole(PSNR._replace(perturbation="rotate")) is not None


def test_the_authors_empty_file_has_a_whole_copy(authors):
    scores = open_folder(authors).load_whole(ScoreKey("pipal", "imagenet_vit-features-cosine", "original"))
    assert scores.path.name == "pipal_imagenet_vit_cos copy.csv"
    assert scores.expected == len(scores.values) == 23200


def test_parts_are_joined_as_they_are_read(tmp_path):
    """Two shards, of which one was killed: their scores, in the order of the list of pairs, and NaN for the
    rest."""
    pairs = [image_pair(tmp_path / "ref", tmp_path / f"dis{index}") for index in range(4)]
    about = {"dataset": {"pairs": 4, "higher_is_better": True}, "notes": ["random"]}
    for shard in ((2, 0), (3,)):
        file = ScoreFile(tmp_path / "set/metric/original.csv", {"window": 224})
        file.begin({**about, "pairs_file": write_pairs(tmp_path / "set", pairs)}, {})
        for index in shard:
            file.append(pairs[index].pair_id, 0.5 + index)
        file.close()
    folder = open_folder(tmp_path)
    [(key, path)] = folder.files.items()
    found = folder.load(key, path)
    np.testing.assert_array_equal(found.values, [0.5, np.nan, 2.5, 3.5])
    assert found.pairs.ids.tolist() == [pair.pair_id for pair in pairs]
    assert (found.expected, found.notes, found.pairs.higher_is_better) == (4, ("random",), True)
    assert not path.exists(), "reading changes nothing"


def test_parts_whose_list_of_pairs_is_damaged_are_a_clear_error(tmp_path):
    file = ScoreFile(tmp_path / "set/metric/original.csv", {"window": 224})
    listed = write_pairs(tmp_path / "set", [image_pair(tmp_path / "ref", tmp_path / "dis")])
    file.begin({"dataset": {"pairs": 1, "higher_is_better": True}, "notes": [], "pairs_file": listed}, {})
    file.append("dis", 1.0)
    file.close()
    folder = open_folder(tmp_path)
    [(key, path)] = folder.files.items()
    listed = next((tmp_path / "set").glob("*.pairs"))
    listed.write_text(listed.read_text()[:-5])
    with pytest.raises(StoreError, match="its content does not match the digest in its name"):
        folder.load(key, path)
    listed.unlink()
    with pytest.raises(StoreError, match="cannot be read"):
        folder.load(key, path)


@pytest.fixture
def unchecked(tmp_path):
    """A file that another tool wrote: without checksums."""
    path = write_stored(tmp_path, KEY, [1.0, 2.0], about={"dataset": {
        "name": "set", "pairs": 2, "higher_is_better": True, "labels_sha256": digest([0.0, 10.0])}})
    sidecar = json.loads(path.with_suffix(".json").read_text())
    del sidecar["checksum"], sidecar["csv_sha256"], sidecar["file"]
    path.with_suffix(".json").write_text(json.dumps(sidecar))
    return path


def test_a_file_without_checksums_is_read_and_known_as_unchecked(unchecked, tmp_path):
    scores = StoredFolder(tmp_path).load(KEY, unchecked)
    assert (scores.checked, scores.values.tolist()) == (False, [1.0, 2.0])
    other = StoredFolder(tmp_path).load(KEY, write_stored(tmp_path, KEY._replace(metric="m"), [1.0, 2.0]))
    assert other.checked


@pytest.mark.parametrize(("old", "new", "problem"), [
    ("dis1,", "dis0,", "the pair dis0 is listed twice"),
    (",2.0\n", ",inf\n", "the pair dis1 has no finite score"),
    (",2.0\n", ",\n", "the pair dis1 has no finite score"),
    (",10.0,", ",,", "a label is missing"),
    (",10.0,", ",11.0,", "its labels are not those that original.json states"),
    ("dis1,ref0,dis1,blur,10.0,2.0\n", "", "1 rows, expected 2"),
    (",2.0\n", ",2.0", "it does not end with a line break"),
])
def test_a_file_without_checksums_is_checked_as_far_as_it_can_be(unchecked, tmp_path, old, new, problem):
    text = unchecked.read_text()
    assert old in text
    unchecked.write_text(text.replace(old, new))
    with pytest.raises(StoreError, match=rf"original\.csv: .*{problem}"):
        StoredFolder(tmp_path).load(KEY, unchecked)


def test_further_columns_hold_further_scores(unchecked, tmp_path):
    header, *rows = unchecked.read_text().splitlines()
    unchecked.write_text("\n".join([f"{header},layer 1", f"{rows[0]},0.25", f"{rows[1]},", ""]))
    assert StoredFolder(tmp_path).load(KEY, unchecked).values.tolist() == [1.0, 2.0]
    unchecked.write_text("\n".join([f"{header},score", f"{rows[0]},0.25", f"{rows[1]},", ""]))
    with pytest.raises(StoreError, match="expected the columns"):
        StoredFolder(tmp_path).load(KEY, unchecked)
