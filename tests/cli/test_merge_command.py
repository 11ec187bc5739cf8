"""`zsiqa merge`: parts become the file, or what is missing is named. No images are there at all."""

import json

import pytest
from conftest import image_pair

from zsiqa.cli.main import main
from zsiqa.results.score_file import ScoreFile, read_rows, read_sidecar
from zsiqa.runs.heartbeats import Journal
from zsiqa.runs.sharding import shard_of

IDENTITY = {"window": 224}
NUM = 4


@pytest.fixture
def pairs(tmp_path):
    return [image_pair(tmp_path / f"ref{ref}", tmp_path / f"dis{ref}_{number}") for ref in range(8)
            for number in range(64)]


@pytest.fixture
def write(tmp_path, pairs):
    """A function that leaves the part of one shard, as its run would; `shift` is added to its scores."""
    def write(shard, num=NUM, shift=0.0, failed=()):
        file = ScoreFile(tmp_path / "scores/set/metric/original.csv", IDENTITY)
        session = {"id": f"{shard}/{num}", "started": f"2026-01-0{num}T00:00:0{shard}", "shard": [shard, num]}
        file.claim({"dataset": {"pairs": len(pairs)}, "notes": [], "sessions": [session]}, pairs)
        for index, (pair, which) in enumerate(zip(pairs, shard_of(pairs, num), strict=True)):
            if which == shard and pair.pair_id not in failed:
                file.append(pair.pair_id, 1.0 + index + shift)
        file.close(seconds=1.0, failed=dict.fromkeys(failed, "torn"))
        return file

    return write


def merge(tmp_path, capsys):
    status = main(["merge", "--scores", str(tmp_path / "scores")])
    found = capsys.readouterr()
    return status, found.out, found.err


def test_all_shards_are_joined_with_their_origin(tmp_path, pairs, write, capsys):
    for shard in (2, 0, 3, 1):
        file = write(shard)
    assert merge(tmp_path, capsys) == (0, "1 file joined, 0 not\n", "")
    assert [score for *_, score in read_rows(file.path)] == [1.0 + index for index in range(len(pairs))]
    sidecar = read_sidecar(file.sidecar)
    assert (sidecar["complete"], sidecar["failed"], sidecar["dataset"]) == (True, {}, {"pairs": len(pairs)})
    assert [session["id"] for session in sidecar["sessions"]] == ["0/4", "1/4", "2/4", "3/4"]
    assert not list(tmp_path.rglob("*.part"))
    assert "nothing to join" in merge(tmp_path, capsys)[1]


def test_missing_shards_are_named_by_the_last_sharding(tmp_path, pairs, write, capsys):
    write(0, num=2)
    file = write(3, failed=[pairs[-1].pair_id])
    status, out, err = merge(tmp_path, capsys)
    assert (status, out) == (1, "0 files joined, 1 not\n")
    assert [line.partition(".csv: ")[2] for line in err.splitlines()] == [
        "shard 2 of 4: 128 of 128 pairs missing, of the references ref4, ref5",
        "shard 3 of 4: 1 of 128 pairs missing, of the references ref7", "dis7_63 could not be scored: torn"]
    assert len(list(tmp_path.rglob("*.part"))) == 2, "nothing is lost"
    assert not file.path.exists()


def test_overlapping_shards_that_agree_are_named_and_joined(tmp_path, write, capsys):
    for shard, num in ((0, 2), (1, 2), (1, 4)):
        write(shard, num)
    status, out, _ = merge(tmp_path, capsys)
    assert status == 0
    assert "original.csv: 128 pairs in more than one part (shard 0 of 2, shard 1 of 4); they agree" in out


@pytest.mark.parametrize(("shift", "status"), [(1e-4, 0), (10.0, 1)])
def test_overlapping_shards_may_differ_by_rounding_alone(tmp_path, write, capsys, shift, status):
    write(0, 2)
    write(1, 2)
    write(1, 4, shift=shift)
    found, _, err = merge(tmp_path, capsys)
    assert found == status
    if status:
        assert "more than rounding apart: other images, or other code?" in err
        assert len(list(tmp_path.rglob("*.part"))) == 3


def test_why_runs_failed_that_left_nothing(tmp_path, capsys):
    folder = tmp_path / "scores/set"
    Journal(folder, ["psnr/original"], (1, 2)).fail(ValueError("no disk"))
    status, out, err = merge(tmp_path, capsys)
    assert (status, "nothing to join" in out) == (1, True)
    assert err.startswith(f"{folder}: psnr/original (process ")
    assert err.endswith(", shard 1 of 2) failed: no disk\n")
    file = ScoreFile(folder / "psnr/original.csv", IDENTITY)
    file.claim({})
    file.finish([image_pair(tmp_path / "ref", tmp_path / "dis")], [1.0], {})
    assert merge(tmp_path, capsys)[::2] == (0, ""), "mended since"


def test_who_is_at_work_is_named(tmp_path, write, capsys):
    write(0)
    with Journal(tmp_path / "scores/set", ["metric/original"], (1, 4)).at_work():
        assert ", shard 1 of 4) at work\n" in merge(tmp_path, capsys)[2]


def test_damage_is_one_line(tmp_path, write, capsys):
    file = write(0)
    listed = next((tmp_path / "scores/set").glob("*.pairs"))
    listed.write_text("".join(listed.read_text().splitlines(keepends=True)[:-1]))
    assert "its content is not what its name is the digest of" in merge(tmp_path, capsys)[2]
    listed.unlink()
    assert "cannot be read" in merge(tmp_path, capsys)[2]
    sidecar = json.loads(file.sidecar.read_text())
    del sidecar["pairs_file"]
    file.sidecar.write_text(json.dumps(sidecar))
    assert "an older zsiqa began it" in merge(tmp_path, capsys)[2]
    assert main(["merge", "--scores", str(tmp_path / "nowhere")]) == 1
