"""Score files: written, resumed, shared by runs, and what a kill at any step leaves."""

import json
import math
import os

import numpy as np
import pytest
from conftest import fill, image_pair

from zsiqa.results.pair_list import read_pairs, write_pairs
from zsiqa.results.part_files import read_part
from zsiqa.results.score_file import ScoreFile, part_files, read_about
from zsiqa.results.sidecar import read_sidecar
from zsiqa.results.table import read_finished
from zsiqa.types import ImagePair, StoreError

IDENTITY = {"backbone": {"name": "dinov1", "eps": 1e-12}, "weights": {"sha256": "abc"}, "window": 224}
# Floats that only round-trip with all their digits.
SCORES = [0.1 + 0.2, 1e-17, 123456789.123456789, 2.0 / 3.0]
INFO = {"dataset": {"pairs": 4, "higher_is_better": True}, "notes": [], "pairs_file": "0.pairs"}


@pytest.fixture
def pairs(tmp_path):
    return [image_pair(tmp_path / "ref", tmp_path / f'dis,"{index}"') for index in range(4)]


@pytest.fixture
def make(tmp_path):
    (tmp_path / "scores/set/metric").mkdir(parents=True)
    return lambda identity=IDENTITY: ScoreFile(tmp_path / "scores/set/metric/original.csv", identity)


def begin(file, session=None, **info):
    file.begin({**INFO, **info}, session or {})
    return file


def names(file):
    return sorted(path.name for path in file.path.parent.iterdir())


def stored(file):
    return read_finished(file.path, read_sidecar(file.sidecar))["score"].tolist()


def test_scores_read_back_exactly_in_the_data_sets_order(make, pairs):
    expected = {pair.pair_id: score for pair, score in zip(pairs, SCORES, strict=True)}
    file = begin(make(), note="new")
    assert not file.is_finished()
    for index in (2, 0, 3, 1):
        file.append(pairs[index].pair_id, SCORES[index])
    file.flush()
    assert make().read() == expected
    assert read_about(file.path)["note"] == "new"
    assert file.finish(pairs, {**INFO, "device": "cpu"})
    assert stored(file) == SCORES
    sidecar = read_sidecar(file.sidecar)
    assert (sidecar["file"], sidecar["device"]) == ("set/metric/original", "cpu")
    assert sidecar["identity"] == IDENTITY
    assert make().read() == expected
    assert names(file) == ["original.csv", "original.json"]


def test_until_every_pair_has_a_score_there_is_only_a_partial_file_for_people(make, pairs):
    file = begin(make())
    for index in (0, 2):
        file.append(pairs[index].pair_id, SCORES[index])
    assert not file.finish(pairs, INFO)
    assert not file.path.exists()
    partial = file.path.with_name("original.partial.csv").read_text().splitlines()
    assert [line.rpartition(",")[2] for line in partial[1:]] == [repr(SCORES[0]), "", repr(SCORES[2]), ""]
    file.path.with_name("original.partial.csv").write_text("nothing that zsiqa reads")
    assert make().read().keys() == {pairs[0].pair_id, pairs[2].pair_id}
    assert fill(make(), pairs[1::2], SCORES[1::2]) is True
    assert not file.path.with_name("original.partial.csv").exists()


def test_a_pair_for_which_the_metric_is_not_defined_is_there_with_its_reason(make, pairs):
    file = begin(make())
    for pair, score in zip(pairs, [1.0, math.inf, 2.0, 3.0], strict=True):
        file.append(pair.pair_id, score, "" if math.isfinite(score) else "no noise")
    assert file.finish(pairs, INFO)
    assert file.path.read_text().splitlines()[2].endswith("0.0,")
    assert read_sidecar(file.sidecar)["undefined"] == {pairs[1].pair_id: "no noise"}
    scores = make().read()
    assert scores.keys() == {pair.pair_id for pair in pairs}
    assert math.isnan(scores[pairs[1].pair_id])
    assert make().finish(pairs, {**INFO, "dataset": {"pairs": 4, "higher_is_better": False}})
    assert read_sidecar(file.sidecar)["undefined"] == {pairs[1].pair_id: "no noise"}


@pytest.mark.parametrize("relabel", [False, True])
def test_a_kill_at_any_step_of_finishing_loses_nothing(make, pairs, monkeypatch, relabel):
    """Fail at the first, second, ... file operation; what is stored stays readable, and finishing works.

    With `relabel`, a finished file is written again with other labels.
    """
    expected = {pair.pair_id: score for pair, score in zip(pairs, SCORES, strict=True)}

    class Killed(BaseException):
        pass

    left, steps = [0], (("replace", os), ("fsync", os), ("unlink", type(make().path)))
    for step, owner in steps:
        original = getattr(owner, step)

        def counted(*arguments, _original=original, **options):
            if left[0] == 0:
                raise Killed
            left[0] -= 1
            return _original(*arguments, **options)

        monkeypatch.setattr(owner, step, counted)
    killed = 0
    for operations in range(30):
        left[0] = 1000
        for path in make().path.parent.iterdir():
            path.unlink()
        file = begin(make())
        for pair, score in zip(pairs, SCORES, strict=True):
            file.append(pair.pair_id, score)
        file.flush()
        if relabel:
            file.finish(pairs, INFO)
        left[0] = operations
        try:
            make().finish(pairs, {**INFO, "labels": {"new": relabel}})
        except Killed:
            killed += 1
            left[0] = 1000
            assert make().read() == expected
            assert make().finish(pairs, {**INFO, "labels": {"new": relabel}})
        left[0] = 1000
        make().tidy()
        left_over = [name for name in names(file) if not name.endswith(".tmp")]  # this process is not dead
        assert left_over == ["original.csv", "original.json"]
        assert make().read() == expected
        assert read_sidecar(file.sidecar)["labels"] == {"new": relabel}
    assert killed > 5


def test_a_part_that_a_kill_left_beside_a_finished_file_has_no_effect(make, pairs):
    fill(make(), pairs, SCORES)
    late = begin(make())
    late.append(pairs[0].pair_id, 7.0)
    late.flush()
    assert make().read()[pairs[0].pair_id] == SCORES[0]
    part_files(late.path)[0].write_bytes(b"damaged")
    assert make().read()[pairs[0].pair_id] == SCORES[0]
    make().tidy()
    assert names(late) == ["original.csv", "original.json"]


def test_two_runs_side_by_side_share_their_scores_and_write_no_common_file(make, pairs):
    one, two = begin(make()), begin(make())
    one.append(pairs[0].pair_id, SCORES[0])
    two.append(pairs[1].pair_id, SCORES[1])
    one.flush()
    two.flush()
    assert len(part_files(one.path)) == 2
    assert len(make().read()) == 2
    for index in (1, 2, 3):
        one.append(pairs[index].pair_id, SCORES[index])
    assert one.finish(pairs, INFO)
    two.append(pairs[2].pair_id, SCORES[2])
    assert two.finish(pairs, INFO)
    assert stored(one) == SCORES
    assert names(one) == ["original.csv", "original.json"]


def test_a_run_that_does_not_complete_a_file_removes_no_part(make, pairs):
    """Two parts of a data set at once: the first to end must not remove what the other is writing."""
    one, two = (begin(make(), {"id": name, "started": name}) for name in "ab")
    for index, file in ((0, one), (1, two)):
        file.append(pairs[index].pair_id, SCORES[index])
        file.flush()
    one.close(seconds=1.0, failed={pairs[3].pair_id: "torn"})
    assert not one.finish(pairs, INFO)
    for index in (2, 3):
        two.append(pairs[index].pair_id, SCORES[index])
    two.close(seconds=2.0)
    assert two.finish(pairs, INFO), "what both have is enough"
    assert stored(one) == SCORES
    assert read_sidecar(one.sidecar)["sessions"] == [{"id": "a", "started": "a", "seconds": 1.0},
                                                     {"id": "b", "started": "b", "seconds": 2.0}]


def test_a_file_that_another_run_finishes_while_this_one_looks_is_read(make, pairs, monkeypatch):
    """The other finishes between our listing of the parts and our reading of them."""
    file = begin(make())
    file.append(pairs[0].pair_id, SCORES[0])
    file.flush()
    listed = part_files(file.path)

    def listing(_path):
        monkeypatch.undo()
        fill(make(), pairs, SCORES)
        return listed

    monkeypatch.setattr("zsiqa.results.score_file.part_files", listing)
    assert make().read() == {pair.pair_id: score for pair, score in zip(pairs, SCORES, strict=True)}
    assert read_part(listed[0]).scores == {}


def test_what_a_run_of_the_same_identity_has_begun_is_not_cleared(make, pairs):
    """Two jobs with overwrite=true that found the same old scores: the second keeps what the first has."""
    file = begin(make())
    file.append(pairs[0].pair_id, 1.0)
    file.flush()
    make().clear()
    assert len(make().read()) == 1


@pytest.mark.parametrize("finished", [False, True])
def test_another_identity_is_refused_with_the_settings_that_differ(make, pairs, finished):
    file = begin(make())
    file.append(pairs[0].pair_id, SCORES[0])
    if finished:
        fill(file, pairs, SCORES)
    else:
        file.close()
    before = {path: path.read_bytes() for path in file.path.parent.iterdir()}
    other = make({**IDENTITY, "weights": {"sha256": "xyz"}, "precision": "fp16"})
    with pytest.raises(StoreError) as caught:
        begin(other)
    message = str(caught.value)
    assert "weights.sha256: stored 'abc', now 'xyz'" in message
    assert "precision: stored None, now 'fp16'" in message
    assert "results_dir=DIR" in message
    assert "overwrite=true" in message
    assert "revision" not in message
    assert "backbone" not in message
    assert {path: path.read_bytes() for path in file.path.parent.iterdir()} == before
    other.clear()
    begin(other)
    assert other.read() == {}
    other.append(pairs[0].pair_id, 1.0)
    other.flush()
    with pytest.raises(StoreError):
        begin(make())


@pytest.mark.parametrize("finished", [False, True])
def test_scores_of_an_older_arithmetic_are_refused_not_resumed(make, pairs, finished):
    old, new = ({**IDENTITY, "distance": {"name": "wsd", "revision": number}} for number in (1, 2))
    fill(make(old), pairs, SCORES if finished else SCORES[:1])
    with pytest.raises(StoreError,
                       match=r"distance\.revision: stored 1, now 2\nA new revision: the same settings now"):
        begin(make(new))
    make(new).clear()
    assert make(new).read() == {}


def test_a_run_that_only_finishes_adds_no_session(make, pairs):
    first = begin(make(), {"id": "a", "device": "cpu", "started": "1"})
    first.append(pairs[0].pair_id, SCORES[0])
    first.close()
    fill(make(), pairs[1:], SCORES[1:], session={"id": "b", "started": "2"})
    make().finish(pairs, INFO)
    assert [session["id"] for session in read_sidecar(first.sidecar)["sessions"]] == ["a", "b"]


def test_of_two_different_runs_at_once_the_later_stops_at_its_first_flush(make, pairs):
    one, two = (begin(make(identity), {"id": started, "started": started})
                for identity, started in ((IDENTITY, "1"), ({"other": 1}, "2")))
    for file in (one, two):
        file.append(pairs[0].pair_id, SCORES[0])
        file._part.flush()
    one.flush()
    with pytest.raises(StoreError, match="holds scores of another run"):
        two.flush()
    two.close()
    for pair, score in zip(pairs[1:], SCORES[1:], strict=True):
        one.append(pair.pair_id, score)
    with pytest.raises(StoreError, match="holds scores of another run"):
        two.finish(pairs, INFO)


def test_parts_of_another_identity_are_never_read(make, pairs):
    file = begin(make())
    file.append(pairs[0].pair_id, 1.0)
    file.close()
    assert make({"other": 1}).read() == {}
    assert len(make().read()) == 1


def test_parts_that_contradict_each_other_are_refused_and_cleared(make, pairs):
    for score in (1.0, 2.0):
        file = begin(make())
        file.append(pairs[0].pair_id, score)
        file.close()
    with pytest.raises(StoreError, match="differ by more than rounding: other images, or other code"):
        make().read()
    make().clear()
    assert make().read() == {}


def test_a_csv_file_that_is_gone_is_refused(make, pairs):
    fill(make(), pairs, SCORES)
    make().path.unlink()
    with pytest.raises(StoreError, match=r"original\.csv is gone, but .*json is there.*overwrite=true"):
        make().read()
    make().clear()
    assert names(make()) == []


def test_any_text_in_names_and_types_reads_back(make, tmp_path):
    texts = ["a\nb", "a,b", 'a"b', "=1+1", " a ", "\N{SNOWMAN}", "#", "nan", "1e3"]
    pairs = [ImagePair(f"{text}{index}", text, text, float(index), tmp_path, tmp_path, text)
             for index, text in enumerate(texts)]
    file = make()
    assert fill(file, pairs, [0.5] * len(pairs))
    table = read_finished(file.path, read_sidecar(file.sidecar))
    assert table["pair_id"].tolist() == [pair.pair_id for pair in pairs]
    assert table["type"].tolist() == table["ref"].tolist() == texts
    listed = read_pairs(file.path.parent.parent / read_sidecar(file.sidecar)["pairs_file"])
    assert [pair.type for pair in listed] == texts


def test_scores_without_a_sidecar_are_refused(make, pairs):
    file = make()
    fill(file, pairs, SCORES)
    file.sidecar.unlink()
    with pytest.raises(StoreError, match="which says how its scores were made"):
        begin(make())
    make().clear()
    assert names(file) == []


@pytest.mark.parametrize("content", ["", "{", "[]", '{"schema": 0, "identity": {}}', '{"schema": 4}', "\0",
                                     '{"schema": "4"}', "[" * 100_000, '{"schema": NaN}'])
def test_a_damaged_sidecar_is_one_clear_error(make, pairs, content):
    file = make()
    fill(file, pairs, SCORES)
    file.sidecar.write_text(content)
    with pytest.raises(StoreError, match=r"original\.json (is damaged|has schema 0).*overwrite=true"):
        make().read()
    make().clear()
    assert make().read() == {}
    assert fill(make(), pairs, SCORES)


def test_the_files_of_another_metric_are_refused(make, pairs):
    file = make()
    fill(file, pairs, SCORES)
    other = ScoreFile(file.path.parent.parent / "other/original.csv", IDENTITY)
    fill(other, pairs, SCORES[::-1])
    file.path.write_bytes(other.path.read_bytes())
    with pytest.raises(StoreError, match=r"metric/original\.csv is damaged: it is not what was written"):
        make().read()
    file.sidecar.write_bytes(other.sidecar.read_bytes())
    with pytest.raises(StoreError, match=r"original\.json is damaged: it belongs to set/other/original"):
        make().read()


def test_sidecars_are_plain_json_and_numbers_of_numpy_are_numbers(make, pairs):
    file = make()
    fill(file, pairs, np.array(SCORES), {"seconds": 1.5})
    assert json.loads(file.sidecar.read_text())["seconds"] == 1.5


def test_a_list_of_pairs_that_was_damaged_is_written_again(tmp_path, pairs):
    name = write_pairs(tmp_path, pairs)
    assert [pair.pair_id for pair in read_pairs(tmp_path / name)] == [pair.pair_id for pair in pairs]
    (tmp_path / name).write_text("damaged")
    with pytest.raises(StoreError, match="its content does not match the digest in its name"):
        read_pairs(tmp_path / name)
    assert write_pairs(tmp_path, pairs) == name
    assert len(read_pairs(tmp_path / name)) == 4
