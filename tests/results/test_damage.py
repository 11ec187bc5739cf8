"""Damage to any file of a store: refused with the file's name, or without effect on what is read."""

import os
import random
import re
import shutil

import pytest
from conftest import fill, image_pair

from zsiqa.results.folder import open_folder
from zsiqa.results.pair_list import write_pairs
from zsiqa.results.score_file import ScoreFile
from zsiqa.runs.heartbeats import Journal, read_journal
from zsiqa.types import StoreError

IDENTITY = {"window": 224, "backbone": {"name": "net", "eps": 1e-12}}
PAIRS = 12


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A finished file, one in two parts, of which one was killed, another finished one, and a heartbeat."""
    root = tmp_path_factory.mktemp("store")
    pairs = [image_pair(root / f"ref{index // 3}", root / f"dis{index}") for index in range(PAIRS)]
    numbers = random.Random(0)  # noqa: S311 - no secret
    for metric in ("done", "other"):
        fill(ScoreFile(root / f"set/{metric}/original.csv", IDENTITY), pairs,
             [numbers.random() for _ in pairs], {"notes": ["a note"], "labels": {"backbone": "Net"}})
    about = {"dataset": {"pairs": PAIRS, "higher_is_better": True}, "notes": [],
             "pairs_file": write_pairs(root / "set", pairs)}
    for rows in (range(5), range(5, 9)):
        (root / "set/begun").mkdir(exist_ok=True)
        file = ScoreFile(root / "set/begun/original.csv", IDENTITY)
        file.begin(about, {"id": str(rows), "started": "now"})
        for index in rows:
            file.append(pairs[index].pair_id, numbers.random())
        file.close(**({"seconds": 1.0, "failed": {pairs[10].pair_id: "torn"}} if rows[0] else {}))
    Journal(root / "set", ["begun/original"], (0, 1)).fail(ValueError("torn"))
    return root


def outcomes(root):
    """By metric: what evaluation reads, or the error; and the same for what a run resumes from."""
    found = {}
    folder = open_folder(root)
    for key, path in folder.files.items():
        for who, read in (("evaluation", lambda key=key, path=path: folder.load(key, path)),
                          ("run", lambda path=path: ScoreFile(path, IDENTITY).read())):
            try:
                data = read()
            except StoreError as error:
                found[key.metric, who] = error
                continue
            if who == "evaluation":
                columns = (data.pairs.ids, data.pairs.refs, data.pairs.types, data.pairs.labels, data.values)
                data = (*(column.tolist() for column in columns), data.pairs.higher_is_better,
                        data.higher_is_better, data.expected, data.notes, dict(data.identity))
            found[key.metric, who] = repr(data)
    read_journal(root / "set")
    return found


def flip_a_bit(content, numbers):
    damaged = bytearray(content)
    damaged[numbers.randrange(len(content))] ^= 1 << numbers.randrange(8)
    return bytes(damaged)


def change_lines(content, numbers):
    lines = content.splitlines(keepends=True)
    here, there = numbers.randrange(len(lines)), numbers.randrange(len(lines))
    how = numbers.choice(["lose", "double", "swap", "overwrite", "blank", "garbage"])
    if how == "lose":
        del lines[here]
    elif how == "double":
        lines.insert(there, lines[here])
    elif how == "swap":
        lines[here], lines[there] = lines[there], lines[here]
    elif how == "overwrite":
        lines[here] = lines[there]
    else:
        lines.insert(here, bytes(20) if how == "blank" else numbers.randbytes(20) + b"\n")
    return b"".join(lines)


def change_a_number(content, numbers):
    digits = [match.start() for match in re.finditer(rb"\d", content)]
    place = numbers.choice(digits)
    return content[:place] + b"%d" % numbers.randrange(10) + content[place + 1:]


def cut(content, numbers):
    return content[:numbers.randrange(len(content))]


def check(root, path, before, *, like_a_kill):
    """Compare what is read now with what was read before the damage to `path`.

    A part that is cut off, or lost its last lines, is what a kill leaves: scores may be missing, and none is
    another.
    """
    for key, after in outcomes(root).items():
        if isinstance(after, StoreError):
            names = [path.with_suffix(suffix).name for suffix in (path.suffix, ".json", ".csv")]
            assert any(name in str(after) for name in names)
        elif like_a_kill:
            scores = [set(re.findall(r"0\.\d+", text)) for text in (after, before[key])]
            assert scores[0] <= scores[1]
        else:
            assert after == before[key], f"{path.name} was damaged"


@pytest.mark.parametrize("seed", [pytest.param(seed, marks=[pytest.mark.slow] * (seed > 0))
                                  for seed in range(40)])
def test_damage_is_refused_or_has_no_effect(store, tmp_path, seed):
    """300 changes a seed, 12,000 in all, as many of each kind."""
    root = tmp_path / "store"
    shutil.copytree(store, root)
    before = outcomes(root)
    assert len(before) == 6
    assert not any(isinstance(outcome, StoreError) for outcome in before.values())
    files = sorted(path for path in root.rglob("*") if path.is_file())
    assert {path.suffix for path in files} == {".csv", ".json", ".part", ".pairs", ".run"}
    numbers = random.Random(seed)  # noqa: S311
    for number in range(300):
        path = numbers.choice(files)
        content = path.read_bytes()
        change = (flip_a_bit, change_lines, change_a_number, cut)[number % 4]
        damaged = change(content, numbers)
        path.write_bytes(damaged)
        whole_lines = damaged.rpartition(b"\n")[0]
        check(root, path, before, like_a_kill=path.suffix == ".part" and content.startswith(whole_lines))
        path.write_bytes(content)
    assert outcomes(root) == before


def test_the_files_of_one_metric_in_place_of_anothers_are_refused(store, tmp_path):
    root = tmp_path / "store"
    shutil.copytree(store, root)
    before = outcomes(root)
    for suffixes in ((".csv",), (".json",), (".csv", ".json")):
        for suffix in suffixes:
            shutil.copy(root / f"set/other/original{suffix}", root / f"set/done/original{suffix}")
        after = outcomes(root)
        assert isinstance(after["done", "evaluation"], StoreError)
        assert isinstance(after["done", "run"], StoreError)
        assert {key: after[key] for key in after if key[0] != "done"} == {
            key: before[key] for key in before if key[0] != "done"}
        for suffix in suffixes:
            shutil.copy(store / f"set/done/original{suffix}", root / f"set/done/original{suffix}")


@pytest.mark.parametrize("kind", ["pipe", "folder", "device"])
def test_what_is_no_regular_file_is_named_and_not_opened(store, tmp_path, kind):
    """Opening a named pipe would wait for ever."""
    root = tmp_path / "store"
    shutil.copytree(store, root)
    before = outcomes(root)
    for path in sorted(path for path in root.rglob("*") if path.is_file()):
        content = path.read_bytes()
        path.unlink()
        if kind == "pipe":
            os.mkfifo(path)
        elif kind == "folder":
            path.mkdir()
        else:
            path.symlink_to("/dev/zero")
        check(root, path, before, like_a_kill=False)
        path.rmdir() if kind == "folder" else path.unlink()
        path.write_bytes(content)
