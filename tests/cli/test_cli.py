import json
import os
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import numpy as np
import pytest
from conftest import noisy, official_rows, write_official, write_stored
from PIL import Image

from zsiqa.cli.main import main
from zsiqa.results.scores import ScoreKey

ROOT = Path(__file__).parents[2]
COMMANDS = ("tables", "audit", "rank")
ROWS = official_rows("live")
DRIFTING = "live_dinov1_cos.csv"  # random scores for a cell of Table 2
UNPRINTED = "live_psnr.csv"  # the paper prints PSNR for PIPAL alone


@pytest.fixture
def authors_like(tmp_path):
    """A function that makes a folder of the authors' with these LIVE files."""
    def make(*names):
        for seed, name in enumerate(names):
            write_official(tmp_path / "theirs" / name, ROWS, noisy(ROWS, seed))
        return str(tmp_path / "theirs")

    return make


def one_line_error(capsys, arguments):
    """The message of a call that must fail with one line, after progress if any, and no traceback."""
    assert main(arguments) == 1
    *progress, line = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert all("metrics (" in one for one in progress)
    return line


def run(code, *arguments, cwd):
    return subprocess.run([sys.executable, "-c", code, *arguments], cwd=cwd, capture_output=True, text=True,
                          check=False)


def test_the_command_is_installed():
    (command,) = entry_points(group="console_scripts", name="zsiqa")
    assert command.load() is main


@pytest.mark.parametrize(("command", "words"), [
    ([], [*COMMANDS, "usage: zsiqa"]),
    (["tables"], ["--scores", "--out", "--format", "--extended", "--also", "--table",
                  "Exit status 1", "table1"]),
    (["audit"], ["--scores", "--json", "exit status 1 if a cell drifts", "--official", "--dataset",
                 "--metric", "--rtol",
                 "exit status 1 if a pair diverges"]),
    (["rank"], ["--dataset", "--perturbation", "--metric", "--replicates", "--seed", "--logistic", "--out"]),
])
def test_help(capsys, command, words):
    with pytest.raises(SystemExit) as left:
        main([*command, "--help"])
    assert left.value.code == 0
    said = " ".join(capsys.readouterr().out.split())
    for word in words:
        assert word in said


@pytest.mark.parametrize("arguments", [[], ["nonsense"], ["tables", "--nonsense"], ["rank"],
                                       ["rank", "--dataset", "live", "--replicates", "many"],
                                       ["rank", "--dataset", "live", "--replicates", "99"],
                                       ["report", "--replicates", "99"]])
def test_a_command_line_that_makes_no_sense_shows_the_usage(capsys, arguments):
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert left.value.code == 2
    assert capsys.readouterr().err.startswith("usage: zsiqa")


def test_help_imports_nothing_heavy(tmp_path):
    code = ("import sys\nfrom zsiqa.cli.main import main\ntry: main(sys.argv[1:])\nexcept SystemExit: pass\n"
            "print('heavy:', {'numpy', 'scipy', 'pandas', 'yaml', 'torch'} & set(sys.modules))")
    for command in ([], *([name] for name in COMMANDS)):
        assert run(code, *command, "--help", cwd=tmp_path).stdout.splitlines()[-1] == "heavy: set()"


@pytest.mark.sample("audit")
@pytest.mark.parametrize("command", [
    ["tables", "--extended", "--also", "rmse,srcc_per_ref", "--out", "out"], ["audit"],
    ["audit", "--official", "theirs"], ["rank", "--dataset", "live", "--replicates", "100", "--out", "out"],
], ids=["tables", "audit", "official", "rank"])
def test_no_command_imports_torch(tmp_path, authors_like, command):
    authors_like(DRIFTING, UNPRINTED, "live_dists.csv")
    code = ("import sys; from zsiqa.cli.main import main; print(main(sys.argv[1:])); print('torch' in "
            "sys.modules)")
    done = run(code, *command, "--scores", "theirs", cwd=tmp_path)
    assert done.stdout.splitlines()[-2:] == ["1" if command == ["audit"] else "0", "False"], done.stderr


def test_tables_of_an_empty_store_name_what_is_missing(tmp_path, capsys):
    assert main(["tables", "--scores", str(tmp_path)]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    assert [f"Table {number}: " in said.out for number in (1, 2, 3)] == [True] * 3
    assert ("756 printed cells: 0 match, 0 mislabelled, 0 wrong file, 0 drift, 0 partial, 756 missing"
            in said.out)
    missing = " ".join(line for line in said.out.splitlines() if line.startswith("missing: "))
    for metric in ("psnr", "dists", "vgg19-features-skld", "clip_rn50-embedding-cosine"):
        assert metric in missing
    assert main(["tables", "--scores", str(tmp_path), "--table", "demo"]) == 0
    said = capsys.readouterr().out
    assert said.count("efficientnet_lite0-") == 11
    assert "printed cells" not in said, "the demo is not in the paper"


def test_tables_of_the_authors_files(tmp_path, capsys, authors_like):
    folder = authors_like(DRIFTING, UNPRINTED)
    assert main(["tables", "--scores", folder, "--out",
                 str(tmp_path / "out")]) == 0, "drift is the audit's business"
    said = capsys.readouterr().out
    assert "756 printed cells: 0 match, 0 mislabelled, 0 wrong file, 2 drift, 0 partial, 754 missing" in said
    assert "drift: dinov1-features-cosine/live/original/plcc: " in said
    assert f"wrote {tmp_path / 'out/tables.md'}" in said
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "cells.csv", "table1.tex", "table2.tex", "table3.tex", "tables.html", "tables.md", "tables.tex"]
    assert len((tmp_path / "out/cells.csv").read_text().splitlines()) == 757


def test_tables_and_formats_can_be_chosen(tmp_path, capsys, authors_like):
    folder = authors_like(DRIFTING)
    out = tmp_path / "out"
    assert main(["tables", "--scores", folder, "--table", "table2", "--table", "demo", "--format",
                 "tex,csv", "--also",
                 "rmse", "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert ("Table 1" in said, "Table 2" in said, "Demo: " in said,
            "RMSE" in said) == (False, True, True, True)
    assert sorted(path.name for path
                  in out.iterdir()) == ["cells.csv", "demo.tex", "table2.tex", "tables.tex"]
    assert main(["tables", "--scores", folder, "--extended"]) == 0
    said = capsys.readouterr().out
    assert ["All metrics: " in line for line in said.splitlines()].count(True) == 3
    assert "Table 2" not in said


def test_a_file_that_cannot_be_read_is_an_error_beside_the_tables(capsys, authors_like):
    folder = authors_like(DRIFTING, "live_dinov1_l2.csv")
    path = f"{folder}/live_dinov1_l2.csv"
    with open(path, "w") as stream:  # noqa: PTH123
        stream.write("a,b\n1,2\n")
    assert main(["tables", "--scores", folder]) == 1
    said = capsys.readouterr()
    assert said.err.splitlines() == [f"error: {path}: expected the columns dis,ref,mos,pred, found a,b"]
    assert "2 drift, 0 partial, 754 missing" in said.out


@pytest.mark.parametrize(("option", "words"), [
    (["--format", "md,pdf"], ["--format", "pdf", "md, tex, csv, html"]),
    (["--also", "rmse,mae"], ["--also", "mae", "srcc_per_ref"]),
    (["--table", "table4"], ["table4", "table1", "extended", "demo"]),
    (["--table", "../dataset/demo"], ["../dataset/demo", "table1"]),
    (["--scores", "nowhere"], ["no folder nowhere", "say where the scores are"]),
])
def test_an_unknown_choice_is_one_clear_line(tmp_path, capsys, monkeypatch, option, words):
    monkeypatch.chdir(tmp_path)
    line = one_line_error(capsys, ["tables", "--scores", str(tmp_path), *option])
    for word in words:
        assert word in line


@pytest.mark.parametrize("arguments",
                         [["audit", "--json", "file/findings.json"], ["audit", "--json", "folder"]])
def test_a_place_that_cannot_be_written_is_one_clear_line(tmp_path,
                                                          capsys, monkeypatch, authors_like, arguments):
    authors_like(UNPRINTED)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("kept")
    (tmp_path / "folder").mkdir()
    assert arguments[-1].partition("/")[0] in one_line_error(capsys, [*arguments, "--scores", "theirs"])
    assert (tmp_path / "file").read_text() == "kept"


@pytest.mark.parametrize("command", [["tables"], ["rank", "--dataset", "live", "--replicates", "100"],
                                     ["report", "--replicates", "100"]], ids=["tables", "stats", "report"])
@pytest.mark.parametrize("out", ["file", "file/below"])
def test_a_folder_for_results_that_is_a_file_is_one_clear_line(
        tmp_path, capsys, monkeypatch, authors_like, command, out):
    authors_like(UNPRINTED)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("kept")
    line = one_line_error(capsys, [*command, "--scores", "theirs", "--out", out])
    assert line == (
        f"error: --out {out}: expected a folder, or a place where one can be made: a file is in the way")


@pytest.mark.parametrize("arguments", [["audit", "--json"], ["score", "a.png", "b.png", "--csv"],
                                       ["score", "a.png", "b.png", "--json"]], ids=" ".join)
@pytest.mark.parametrize(("place", "why"),
                         [("file/below", "a file is in the way"), ("folder", "a folder is there")])
def test_a_file_that_cannot_be_written_is_one_clear_line_before_the_work(
        tmp_path, monkeypatch, capsys, arguments,
                                                                         place, why):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    for name in ("file", "a.png", "b.png"):
        Image.new("RGB", (224, 224)).save(name, format="png")
    line = one_line_error(capsys, [*arguments, place])
    assert line == f"error: {arguments[-1]} {place}: expected a file, or a place where one can be made: {why}"


@pytest.mark.parametrize("command", [["tables"], ["audit"], ["rank", "--dataset", "live"],
                                     ["audit", "--official", "."]])
def test_scores_that_are_not_there_are_one_clear_line(tmp_path, capsys, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    assert "no folder results/scores" in one_line_error(capsys, command)


@pytest.mark.parametrize(("name", "status"), [(DRIFTING, 1), (UNPRINTED, 0)])
def test_the_audit_fails_if_a_cell_drifts(capsys, authors_like, name, status):
    assert main(["audit", "--scores", authors_like(name)]) == status
    said = capsys.readouterr().out
    assert f"756 printed cells: 0 match, 0 mislabelled, 0 wrong file, {2 * status} drift, " in said
    assert ("  drift: table2, cosine, DINOv1" in said) == (status == 1)


def _no_constant(name):
    raise AssertionError(f"{name} is no JSON")


@pytest.mark.parametrize("names", [[DRIFTING, UNPRINTED], [UNPRINTED]])
def test_the_audit_as_json(tmp_path, capsys, authors_like, names):
    folder = authors_like(*names)
    write_official(tmp_path / "theirs/live_dists.csv", ROWS, np.ones(779))  # no correlation: NaN
    status = main(["audit", "--scores", folder, "--json", "-"])
    printed = capsys.readouterr()
    found = json.loads(printed.out, parse_constant=_no_constant)
    assert printed.err == ""
    assert sum(found["counts"].values()) == len(found["cells"]) == 756
    assert status == (1 if found["counts"]["drift"] else 0) == int(DRIFTING in names)
    file = tmp_path / "findings.json"
    assert main(["audit", "--scores", folder, "--json", str(file)]) == status
    assert capsys.readouterr().out.startswith("Audit of ")
    assert json.loads(file.read_text(), parse_constant=_no_constant) == found


@pytest.fixture
def ours_and_theirs(tmp_path):
    """TID2013 under DISTS, scored twice; a function that adds something to our first score."""
    rows = official_rows("tid2013")
    scores = noisy(rows, 0)
    write_official(tmp_path / "theirs/tid2013_dists.csv", rows, scores)

    def make(difference):
        ours = scores.copy()
        ours[0] += difference
        write_stored(tmp_path / "ours", ScoreKey("tid2013", "dists", "original"), ours,
                     [mos for *_, mos in rows],
                     ids=[f"tid2013/{dis.partition('.')[0].lower()}" for dis, *_ in rows],
                     higher_is_better=False)
        return ["audit", "--scores", str(tmp_path / "ours"), "--official", str(tmp_path / "theirs")]

    return make


@pytest.mark.parametrize(("difference", "options", "status"), [
    (0.0, [], 0), (1e-3, [], 0), (5.0, [], 1), (5.0, ["--rtol", "0.5"], 0), (1e-3, ["--rtol", "1e-9"], 1),
    (0.0, ["--rtol", "0"], 0),
])
def test_verify_fails_if_a_pair_diverges(capsys, ours_and_theirs, difference, options, status):
    assert main([*ours_and_theirs(difference), *options]) == status
    said = capsys.readouterr().out
    assert "tid2013/dists/original" in said
    assert ("first diverging pair tid2013/i01_01_1: ours " in said) == (status == 1)


def test_verify_with_nothing_to_compare_is_one_clear_line(capsys, ours_and_theirs):
    arguments = ours_and_theirs(0.0)
    for choice in (["--dataset", "live"], ["--metric", "psnr"]):
        assert "nothing to compare" in one_line_error(capsys, [*arguments, *choice])
    assert main([*arguments, "--dataset", "tid2013", "--metric", "dists"]) == 0


def test_stats_prints_what_was_asked_for(capsys, authors_like):
    folder = authors_like("live_dists.csv", UNPRINTED)
    assert main(["rank", "--scores", folder, "--dataset", "live", "--metric", "dists", "--replicates",
                 "100"]) == 0
    said = capsys.readouterr().out
    assert "dists" in said
    assert "psnr" not in said
    assert "tid2013" in one_line_error(capsys, ["rank", "--scores", folder, "--dataset", "tid2013"])


@pytest.mark.sample("short")
@pytest.mark.parametrize("command", [
    ["-m", "zsiqa.cli.main", "tables", "--scores", "."],
    ["-m", "zsiqa.cli.main", "tables", "--scores", ".", "--table", "demo"],
    ["-m", "zsiqa.cli.main", "run", "--help"], [str(ROOT / "run.py"), "--help"],
    [str(ROOT / "run.py"), "dataset.limit=1", "num_shards=40", "shard=1"],
    [str(ROOT / "run.py"), "-m", "dataset.limit=1", "num_shards=40", "shard=1,2"],
], ids=["long", "short", "help of runs", "help of run.py", "run without work", "sweep"])
def test_a_reader_that_goes_away_leaves_no_traceback(tmp_path, command):
    """As in `zsiqa tables | head -1`."""
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([sys.executable, *command], cwd=tmp_path, stdout=write,
                          stderr=subprocess.PIPE, text=True,
                          check=False)
    os.close(write)
    assert done.stderr == ""
    assert done.returncode == 1


def test_an_audit_of_a_damaged_file_ends_with_status_1(tmp_path, capsys):
    path = write_stored(tmp_path, ScoreKey("mine", "net", "original"), [1.0, 2.0, 3.0])
    assert main(["audit", "--scores", str(tmp_path)]) == 0
    path.write_text(path.read_text().replace("2.0", "2.5"))
    capsys.readouterr()
    assert main(["audit", "--scores", str(tmp_path)]) == 1
    assert "mine/net/original.csv: " in (text := capsys.readouterr().out)
    assert "is damaged: it is not what was written" in text
