"""Writing a file in one step, and what kills and full disks leave."""

import errno
import os
import socket
import subprocess
import sys
import time

import pytest

from zsiqa.results.files import parse_json, remove_temporary_files, replace_file
from zsiqa.types import StoreError


def test_a_full_disk_leaves_the_old_file_no_temporary_file_and_an_error_with_the_name(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    replace_file(path, "old")

    def full(_descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match=r"a\.json cannot be written: No space left on device\. .*free some"):
        replace_file(path, "new")
    assert [file.name for file in tmp_path.iterdir()] == ["a.json"]
    assert path.read_text() == "old"


def test_temporary_files_of_dead_runs_are_removed_and_no_others(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    host = socket.gethostname()
    names = {f"a.csv.{host}-{os.getpid()}.0123456789ab.tmp": True,
             f"a.csv.{host}-{dead.pid}.0123456789ab.tmp": False,
             f"a.csv.x{host}-{dead.pid}.0123456789ab.tmp": True,
             "a.csv.another-host-1.0123456789ab.tmp": True,
             "of an older version.tmp": True, "a.csv": True}
    for name in names:
        (tmp_path / name).write_text("")
    remove_temporary_files(tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == {name for name, stays in names.items() if stays}
    day_ago = time.time() - 86400
    for file in tmp_path.iterdir():
        os.utime(file, (day_ago, day_ago))
    remove_temporary_files(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["a.csv"]


def test_a_kill_while_writing_leaves_a_file_that_the_next_write_removes(tmp_path):
    code = ("import os, sys, zsiqa.results.files as files; os.fsync = lambda _: os.kill(os.getpid(), 9); "
            "import pathlib; files.replace_file(pathlib.Path(sys.argv[1]), 'new')")
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "a.json")], check=False)
    assert [file.suffix for file in tmp_path.iterdir()] == [".tmp"]
    remove_temporary_files(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("text", "why"), [("[1]", "expected an object, found list"), ("{", "Expecting"),
                                           ('{"a": Infinity}', "Infinity is not JSON"),
                                           ('{"a":' * 100_000, "nested too deeply")])
def test_what_is_no_json_object_has_a_reason(text, why):
    with pytest.raises(ValueError, match=why):
        parse_json(text)
