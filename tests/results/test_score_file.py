import json
import math
import os

import numpy as np
import pytest
from conftest import image_pair

from zsiqa.results.parts import read_part
from zsiqa.results.score_file import ScoreFile, read_rows, read_sidecar
from zsiqa.types import StoreError

IDENTITY = {"backbone": {"name": "dinov1", "eps": 1e-12}, "weights": {"sha256": "abc"}, "window": 224}
# Floats that only round-trip with all their digits.
SCORES = [0.1 + 0.2, 1e-17, 123456789.123456789, 2.0 / 3.0]


@pytest.fixture
def pairs(tmp_path):
    return [image_pair(tmp_path / "ref", tmp_path / f'dis,"{index}"') for index in range(4)]


@pytest.fixture
def make(tmp_path):
    return lambda identity=IDENTITY: ScoreFile(tmp_path / "scores/set/metric/original.csv", identity)


def test_scores_read_back_exactly_in_the_data_sets_order(make, pairs):
    file = make()
    file.claim({"note": "new"})
    assert read_sidecar(file.sidecar)["note"] == "new"
    assert not file.is_complete()
    for index in (2, 0, 3, 1):
        file.append(pairs[index].pair_id, SCORES[index])
    file.flush()
    assert make().read() == {pair.pair_id: score for pair, score in zip(pairs, SCORES, strict=True)}
    file.finish(pairs, SCORES, {"device": "cpu"})
    assert read_rows(file.path) == [(pair.pair_id, 0.0, score) for pair,
                                    score in zip(pairs, SCORES, strict=True)]
    assert file.is_complete()
    sidecar = read_sidecar(file.sidecar)
    assert (sidecar["complete"], sidecar["device"], sidecar["identity"]) == (True, "cpu", IDENTITY)
    assert make().read() == {pair.pair_id: score for pair, score in zip(pairs, SCORES, strict=True)}
    assert sorted(p.name for p in file.path.parent.iterdir()) == ["original.csv", "original.json"]


def test_a_pair_without_a_score_has_an_empty_field_and_the_file_is_not_complete(make, pairs):
    file = make()
    file.claim({})
    file.finish(pairs, [1.0, math.nan, 2.0, 3.0], {})
    assert file.path.read_text().splitlines()[2].endswith("0.0,")
    assert math.isnan(read_rows(file.path)[1][2])
    assert not read_sidecar(file.sidecar)["complete"]
    assert make().read().keys() == {pairs[index].pair_id for index in (0, 2, 3)}


def test_a_torn_last_line_is_computed_again(make, pairs):
    """Cut the part file at every byte: what comes back is always a prefix of what was written."""
    file = make()
    file.claim({})
    for pair, score in zip(pairs, SCORES, strict=True):
        file.append(pair.pair_id, score)
    file.close()
    (part,) = file.path.parent.glob("*.part")
    content = part.read_bytes()
    ends = [index + 1 for index, byte in enumerate(content) if byte == ord("\n")]
    for size in range(len(content) + 1):
        part.write_bytes(content[:size])
        count = sum(end <= size for end in ends)
        assert make().read() == {pair.pair_id: score for pair,
                                 score in zip(pairs[:count], SCORES, strict=False)}
    # a block that never reached the disk
    part.write_bytes(content[:ends[1]] + bytes(64) + b"\n" + content[ends[1]:])
    assert len(make().read()) == 4


def test_a_kill_at_any_step_of_finishing_loses_nothing(make, pairs, monkeypatch):
    """Fail at the first, second, ... file operation of claim and finish; what is stored stays readable."""
    expected = {pair.pair_id: score for pair, score in zip(pairs, SCORES, strict=True)}

    class Killed(BaseException):
        pass

    steps, left = ("replace", "fsync"), [0]
    for step in steps:
        original = getattr(os, step)

        def counted(*arguments, _original=original):
            if left[0] == 0:
                raise Killed
            left[0] -= 1
            return _original(*arguments)

        monkeypatch.setattr(os, step, counted)
    for operations in range(20):
        make().clear()
        left[0] = 100
        file = make()
        file.claim({})
        for pair, score in zip(pairs, SCORES, strict=True):
            file.append(pair.pair_id, score)
        file.flush()
        left[0] = operations
        try:
            file.finish(pairs, SCORES, {})
        except Killed:
            left[0] = 100
            assert make().read() == expected
            make().claim({})
            make().finish(pairs, SCORES, {})
        left[0] = 100
        assert make().is_complete()
        assert make().read() == expected


def test_two_runs_side_by_side_share_their_scores_and_write_no_common_file(make, pairs):
    one, two = make(), make()
    for file in (one, two):
        file.claim({})
    one.append(pairs[0].pair_id, SCORES[0])
    two.append(pairs[1].pair_id, SCORES[1])
    one.flush()
    two.flush()
    assert len(list(one.path.parent.glob("*.part"))) == 2
    assert len(make().read()) == 2
    one.finish(pairs, SCORES, {})
    two.append(pairs[2].pair_id, SCORES[2])
    two.finish(pairs, SCORES, {})
    assert [score for *_, score in read_rows(one.path)] == SCORES
    assert sorted(p.name for p in one.path.parent.iterdir()) == ["original.csv", "original.json"]


@pytest.mark.parametrize("view", [False, True])
def test_who_does_not_complete_a_file_removes_nobodys_part(make, pairs, view):
    """Two parts of a data set at once: the first to end must not take away what the other is writing."""
    one, two = make(), make()
    for name, file in (("a", one), ("b", two)):
        file.claim({"sessions": [{"id": name, "started": name}]}, pairs)
    for index, file in ((0, one), (1, two)):
        file.append(pairs[index].pair_id, SCORES[index])
        file.flush()
    one.close(seconds=1.0, failed={pairs[3].pair_id: "torn"})
    assert not one.finish(pairs, [SCORES[0], *[math.nan] * 3], {}, view=view)
    assert one.path.exists() == view
    for index in (2, 3):
        two.append(pairs[index].pair_id, SCORES[index])
    two.close(seconds=2.0)
    assert two.finish(pairs, [math.nan] * 4, {}), "what both have is enough"
    assert [score for *_, score in read_rows(one.path)] == SCORES
    sidecar = read_sidecar(one.sidecar)
    assert sidecar["sessions"] == [{"id": "a", "started": "a", "seconds": 1.0},
                                   {"id": "b", "started": "b", "seconds": 2.0}]
    assert sidecar["failed"] == {}, "the other had it"


def test_a_finished_file_is_not_claimed_again_by_a_run_that_began_before(make, pairs):
    file = make()
    file.claim({"dataset": 1})
    file.finish(pairs, SCORES, {"dataset": 1})
    make().claim({"dataset": 1})
    assert make().is_complete()


def test_what_a_run_of_the_same_identity_has_begun_is_not_cleared(make, pairs):
    """Two jobs with overwrite=true that found the same old scores: the second must keep what the first has by
    now."""
    file = make()
    file.claim({})
    file.append(pairs[0].pair_id, 1.0)
    file.flush()
    make().clear()
    assert len(make().read()) == 1


@pytest.mark.parametrize("finished", [False, True])
def test_another_identity_is_refused_with_the_settings_that_differ(make, pairs, finished):
    file = make()
    file.claim({})
    file.append(pairs[0].pair_id, SCORES[0])
    if finished:
        file.finish(pairs, SCORES, {})
    else:
        file.close()
    before = {path: path.read_bytes() for path in file.path.parent.iterdir()}
    other = make({**IDENTITY, "weights": {"sha256": "xyz"}, "precision": "fp16"})
    with pytest.raises(StoreError):
        other.claim({})
    with pytest.raises(StoreError) as caught:
        other.read()
    message = str(caught.value)
    assert "weights.sha256: stored 'abc', now 'xyz'" in message
    assert "precision: stored None, now 'fp16'" in message
    assert "results_dir=DIR" in message
    assert "overwrite=true" in message
    assert "revision" not in message
    assert "backbone" not in message
    assert {path: path.read_bytes() for path in file.path.parent.iterdir()} == before
    other.clear()
    other.claim({})
    assert other.read() == {}
    other.append(pairs[0].pair_id, 1.0)
    other.flush()
    with pytest.raises(StoreError):
        make().claim({})


@pytest.mark.parametrize("finished", [False, True])
def test_scores_of_an_older_arithmetic_are_refused_not_resumed(make, pairs, finished):
    old, new = ({**IDENTITY, "distance": {"name": "wsd", "revision": number}} for number in (1, 2))
    file = make(old)
    file.claim({})
    file.append(pairs[0].pair_id, SCORES[0])
    if finished:
        file.finish(pairs, SCORES, {})
    else:
        file.close()
    with pytest.raises(StoreError,
                       match=r"distance\.revision: stored 1, now 2\nA new revision: the same settings now"):
        make(new).read()
    make(new).clear()
    assert make(new).read() == {}


def test_a_part_that_vanishes_is_in_the_finished_file(make, pairs, monkeypatch):
    """A twin finishes between our listing of the parts and our reading of them."""
    file, twin = make(), make()
    file.claim({})
    file.append(pairs[0].pair_id, SCORES[0])
    file.flush()
    listed = [part.path for part in make().parts()]
    twin.finish(pairs, SCORES, {})
    monkeypatch.setattr(ScoreFile, "parts", lambda _: [read_part(path) for path in listed])
    assert len(listed) == 1
    assert len(make().read()) == 4


def test_sessions_add_up(make, pairs):
    first, second = make(), make()
    first.claim({"sessions": [{"id": "a", "device": "cpu"}]})
    first.append(pairs[0].pair_id, SCORES[0])
    first.close()
    session = {"id": "b", "device": "cuda"}
    second.claim({"sessions": [session]})
    session["seconds"] = 3.0
    second.finish(pairs, SCORES, {"sessions": [session]})
    assert read_sidecar(second.sidecar)["sessions"] == [{"id": "a", "device": "cpu"}, session]
    make().finish(pairs, SCORES, {})
    assert len(read_sidecar(second.sidecar)["sessions"]) == 2, "a run that only had to finish adds none"


def test_a_run_that_never_got_anywhere_does_not_stand_in_the_way(make, pairs):
    make({"other": 1}).claim({})
    file = make()
    assert file.read() == {}
    file.claim({})
    assert read_sidecar(file.sidecar)["identity"] == IDENTITY
    file.finish(pairs, SCORES, {})


def test_of_two_different_runs_at_once_one_stops_at_its_first_flush(make, pairs):
    one, two = make(), make({"other": 1})
    one.claim({})
    two.claim({})
    one.append(pairs[0].pair_id, SCORES[0])
    two.append(pairs[0].pair_id, 5.0)
    two.flush()
    with pytest.raises(StoreError, match="holds scores of another run"):
        one.flush()
    two.finish(pairs, [5.0] * 4, {})
    with pytest.raises(StoreError, match="holds scores of another run"):
        one.finish(pairs, SCORES, {})
    assert {score for *_, score in read_rows(two.path)} == {5.0}


def test_part_files_of_another_identity_are_never_read(make, pairs):
    file = make()
    file.path.parent.mkdir(parents=True)
    file.append(pairs[0].pair_id, 1.0)
    file.close()
    assert make({"other": 1}).read() == {}
    assert len(make().read()) == 1


def test_scores_without_a_sidecar_are_refused(make, pairs):
    file = make()
    file.claim({})
    file.finish(pairs, SCORES, {})
    file.sidecar.unlink()
    with pytest.raises(StoreError, match="which says how its scores were made"):
        make().read()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"schema": 0, "identity": {}}', '{"schema": 3}', "\0"])
def test_a_damaged_sidecar_is_one_clear_error(make, content):
    file = make()
    file.path.parent.mkdir(parents=True)
    file.sidecar.write_text(content)
    with pytest.raises(StoreError, match=r"does not say how .*: it (is damaged|has schema 0)"):
        file.claim({})
    file.clear()
    file.claim({})


@pytest.mark.parametrize("content", ["", "a,b\n1,2\n", "pair_id,ref,dis,type,mos,score\na,b,c,d,1\n",
                                     "pair_id,ref,dis,type,mos,score\na,b,c,d,1,x\n",
                                     "pair_id,ref,dis,type,mos,score\na,b,c,d,1,0.2"])
def test_a_damaged_score_file_is_one_clear_error(make, content):
    file = make()
    file.path.parent.mkdir(parents=True)
    file.path.write_text(content)
    with pytest.raises(StoreError, match=r"original\.csv"):
        read_rows(file.path)


def test_sidecars_are_plain_json(make, pairs):
    file = make()
    file.claim({})
    file.finish(pairs, np.array(SCORES), {"seconds": 1.5})
    assert json.loads(file.sidecar.read_text())["seconds"] == 1.5
