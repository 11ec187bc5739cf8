import json
import os
import socket
import subprocess
import sys

import pytest

from zsiqa.runs.heartbeats import SECONDS_UNTIL_DEAD, Journal, read_journal


def journal(folder, *files, shard=(0, 1)):
    return Journal(folder, files or ["psnr/original"], shard)


def test_a_run_at_work_is_there_and_then_gone(tmp_path, monkeypatch):
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "12")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")
    with journal(tmp_path, shard=(2, 8)).at_work():
        (entry,) = read_journal(tmp_path)
        assert entry.alive
        assert str(entry) == f"SLURM job 12_3 on {socket.gethostname()}, shard 2 of 8"
    assert not list(tmp_path.iterdir())


def test_a_run_that_fails_says_why_and_its_successor_takes_that_away(tmp_path):
    with pytest.raises(ValueError, match="torn"), journal(tmp_path).at_work():
        raise ValueError("torn\nin pieces")
    (entry,) = read_journal(tmp_path)
    assert (entry.alive, entry.error) == (False, "torn\nin pieces")
    with journal(tmp_path).at_work():
        (entry,) = read_journal(tmp_path)
        assert not entry.error


def test_an_interrupted_run_leaves_nothing(tmp_path):
    with pytest.raises(SystemExit), journal(tmp_path).at_work():
        raise SystemExit(143)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("shard", "left"), [((0, 1), 0), ((1, 2), 0), ((0, 2), 1), ((1, 3), 1)])
def test_only_who_does_the_same_pairs_takes_it_away(tmp_path, shard, left):
    journal(tmp_path, shard=(1, 2)).fail(ValueError("torn"))
    with journal(tmp_path, shard=shard).at_work():
        assert sum(bool(entry.error) for entry in read_journal(tmp_path)) == left


def killed(folder):
    """What a process leaves that is killed at work."""
    code = (f"import os, pathlib; from zsiqa.runs.heartbeats import Journal\n"
            f"with Journal(pathlib.Path({str(folder)!r}), ['psnr/original'], (0, 1)).at_work(): os._exit(9)")
    subprocess.run([sys.executable, "-c", code], check=False)
    (path,) = folder.glob("*.run")
    return path


def test_a_killed_process_of_this_machine_is_known_dead_at_once(tmp_path):
    killed(tmp_path)
    assert not read_journal(tmp_path)[0].alive


def test_of_another_machine_only_signs_of_life_tell(tmp_path):
    path = killed(tmp_path)
    path.write_text(json.dumps({**json.loads(path.read_text()), "host": "elsewhere"}))
    assert read_journal(tmp_path)[0].alive
    long_ago = path.stat().st_mtime - SECONDS_UNTIL_DEAD - 1
    os.utime(path, (long_ago, long_ago))
    assert not read_journal(tmp_path)[0].alive
    with journal(tmp_path).at_work():
        assert len(read_journal(tmp_path)) == 1, "the dead are removed"


def test_a_sign_of_life(tmp_path):
    own = journal(tmp_path)
    with own.at_work():
        os.utime(own.path, (0, 0))
        own.beat()
        assert read_journal(tmp_path)[0].age < 60
    own.beat()  # its file is gone: nothing happens


@pytest.mark.parametrize("content", ["", "{", "[]", '{"host": "a"}', '{"files": "many"}', "[" * 100_000,
                                     '{"files": ["psnr/original"], "shard": [0, null]}', '{"files": [NaN]}',
                                     '{"files": [["psnr/original"]]}', "\udcff"])
def test_a_damaged_file_is_named_and_the_next_run_removes_it(tmp_path, content):
    (tmp_path / "x.run").write_bytes(content.encode(errors="surrogateescape"))
    (entry,) = read_journal(tmp_path)
    assert not entry.alive
    assert entry.error.startswith(f"{tmp_path}/x.run is damaged (")
    with journal(tmp_path).at_work():
        assert not (tmp_path / "x.run").exists()


@pytest.mark.parametrize("process", [None, "many", 1.5, 10**30, {}])
def test_a_run_whose_process_is_not_known_is_alive_while_it_signs(tmp_path, process):
    about = {"files": ["psnr/original"], "host": socket.gethostname(), "pid": process}
    (tmp_path / "x.run").write_text(json.dumps(about))
    assert read_journal(tmp_path)[0].alive == (process != 10**30)
