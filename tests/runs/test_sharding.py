"""A run as several jobs: the split, and what runs make of it. PSNR on tiny images, so that whole runs take a
second."""

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
from commands import command, run
from conftest import write_pairs

from zsiqa.results.part_files import read_part
from zsiqa.results.score_file import part_files, read_about
from zsiqa.runs.sharding import shard_of
from zsiqa.scoring.loading import plan_blocks
from zsiqa.types import ImagePair

ARGUMENTS = ["dataset=pairs", "dataset.csv=pairs.csv", "baseline=psnr", "perturbation=[original,rotate]"]


def score_files(folder):
    return {file.name: file.read_bytes() for file in sorted(folder.rglob("*.csv"))}


@pytest.fixture(scope="module")
def folder(tmp_path_factory, device):
    """400 pairs on ten references, five blocks, and a finished run on them in `whole`."""
    folder = tmp_path_factory.mktemp("shards")
    write_pairs(folder, [(24, 24)] * 10, levels=40)
    run(*ARGUMENTS, f"device={device}", "results_dir=whole", cwd=folder)
    return folder


def pairs_of(sizes):
    """Pairs on references with so many each, one after another in turn."""
    return [ImagePair(f"{ref}-{number}", f"{ref}", "", 0.0, Path(f"{ref}"), Path())
            for number in range(max(sizes)) for ref, size in enumerate(sizes) if number < size]


@pytest.mark.parametrize("num_shards", [1, 2, 3, 7, 20, 400])
@pytest.mark.parametrize("sizes", [[116] * 200, [24, 120, 5, 64, 1, 70, 33], [3], [5] * 100])
def test_shards_are_runs_of_whole_blocks_and_share_no_reference(sizes, num_shards):
    pairs = pairs_of(sizes)
    shards = shard_of(pairs, num_shards)
    assert set(shards) <= set(range(num_shards))
    of_blocks = [{int(shards[index]) for group in block for index in group} for block in plan_blocks(pairs)]
    assert all(len(found) == 1 for found in of_blocks)
    order = [found.pop() for found in of_blocks]
    assert order == sorted(order)
    largest = max(sum(map(len, block)) for block in plan_blocks(pairs))
    assert np.bincount(shards).max() <= len(pairs) / num_shards + largest, "as equal as whole blocks allow"


def test_any_split_gives_the_scores_of_one_run(folder, tmp_path, device):
    """Begun with four shards, of which two ran; gone on with three, of which one ran; finished with none."""
    where = f"results_dir={tmp_path}", f"device={device}"
    output = run("-m", *ARGUMENTS, *where, "num_shards=4", "shard=0,2", cwd=folder)
    assert "80 of 400 pairs" in output
    assert not list(tmp_path.rglob("original.csv")), "no table must take a part for the whole"
    run(*ARGUMENTS, *where, "num_shards=3", "shard=2", cwd=folder)
    output = run(*ARGUMENTS, *where, cwd=folder)
    assert "400/" not in output, "nothing is scored twice"
    assert score_files(tmp_path) == score_files(folder / "whole")
    assert not list(tmp_path.rglob("*.part"))
    sessions = json.loads(next(tmp_path.rglob("rotate.json")).read_text())["sessions"]
    assert [session["shard"] for session in sessions] == [[0, 4], [2, 4], [2, 3], [0, 1]]
    assert all({"device", "seconds", "versions", "host", "git_commit"} <= session.keys() for session
               in sessions)


@pytest.mark.slow
def test_shards_at_once_the_last_of_which_joins_them(folder, tmp_path, device):
    """Both shards, and the first a second time, as when a node came back with an old copy of a job."""
    commands = [command(*ARGUMENTS, f"results_dir={tmp_path}", f"device={device}", "num_shards=2",
                        f"shard={shard}")
                for shard in (0, 1, 0)]
    runs = [subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
            for command in commands]
    for process in runs:
        _, errors = process.communicate()
        assert process.returncode == 0, errors
    assert score_files(tmp_path) == score_files(folder / "whole")
    assert not [*tmp_path.rglob("*.part"), *tmp_path.rglob("*.run"), *tmp_path.rglob("*.tmp")]
    sidecar = json.loads(next(tmp_path.rglob("rotate.json")).read_text())
    assert {session["shard"][0] for session in sidecar["sessions"]} == {0, 1}, "nobody's origin is lost"


def test_a_shard_without_pairs_says_so_and_succeeds(folder, tmp_path):
    output = run(*ARGUMENTS, f"results_dir={tmp_path}", "num_shards=50", "shard=1", cwd=folder)
    assert "shard 1 of 50: no pairs, so nothing to do" in output
    assert not list(tmp_path.rglob("*.part"))


def test_shards_of_a_part(folder, tmp_path):
    where = [f"results_dir={tmp_path}", "dataset.references=[ref0,ref9]", "dataset.limit=60"]
    assert "30 of 400 pairs" in run(*ARGUMENTS, *where, "num_shards=2", "shard=0", cwd=folder)
    assert "30 of 400 pairs" in run(*ARGUMENTS, *where, "num_shards=2", "shard=1", cwd=folder)
    assert "60 of 400 pairs, PSNR: all scores were there already" in run(*ARGUMENTS, *where, cwd=folder)


def test_what_failed_in_a_shard_is_not_forgotten(tmp_path):
    write_pairs(tmp_path, [(24, 24)] * 4, levels=40)
    (tmp_path / "dis0_7.png").write_bytes(b"torn")
    arguments = [*ARGUMENTS, "on_error=skip", "num_shards=2"]
    assert "1 of 80 pairs lack a score" in run(*arguments, "shard=0", cwd=tmp_path, status=1)
    run(*arguments, "shard=1", cwd=tmp_path)
    assert "1 of 160 pairs lack a score" in run(*ARGUMENTS, "on_error=skip", cwd=tmp_path, status=1)
    partial = next(tmp_path.rglob("rotate.partial.csv"))
    path = partial.with_name("rotate.csv")
    assert {name for part in part_files(path) for name in read_part(part).failed} == {"ref0.png|dis0_7.png"}
    assert len(read_about(path)["sessions"]) == 3
    assert partial.read_text().count(",\n") == 1


@pytest.mark.parametrize(("arguments", "message"), [
    (["num_shards=3"], "num_shards=3, but no shard=...: all of them are -m num_shards=3 'shard=range(3)'"),
    (["num_shards=0"], "num_shards must be a whole number of at least 1, found 0"),
    (["num_shards=null"], "num_shards must be a whole number of at least 1, found None"),
    (["num_shards=2", "shard=2"], "shard=2, but num_shards=2: shards are counted from 0"),
    (["shard=-1"], "shard must be a whole number of at least 0, found -1"),
    (["only_missing=maybe"], "only_missing must be true or false, found 'maybe'"),
    (["+sweep=table3"], "is many jobs; give -m"),
])
def test_settings_that_cannot_be(arguments, message, tmp_path):
    assert message in run(*ARGUMENTS, *arguments, cwd=tmp_path, status=1)
