import json
import os
import re
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import numpy as np
import pytest
from conftest import noisy, official_rows, write_official, write_stored
from PIL import Image

from zsiqa.cli.main import main, make_parser
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


@pytest.mark.parametrize("arguments", [["nonsense"], ["tables", "--nonsense"],
                                       ["rank", "--dataset", "live", "--replicates", "many"],
                                       ["rank", "--dataset", "live", "--replicates", "99"],
                                       ["report", "--replicates", "99"]])
def test_a_command_line_that_makes_no_sense_shows_the_usage(capsys, arguments):
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert left.value.code == 2
    assert capsys.readouterr().err.startswith("usage: zsiqa")


@pytest.mark.parametrize(("arguments", "usage", "hint"), [
    (["scor"], "usage: zsiqa [", "unknown scor (did you mean score?); choose from score, run, "),
    (["data", "chek"], "usage: zsiqa data", "unknown chek (did you mean check?); choose from list, check"),
    (["score", "a", "b", "--distanse", "l2"], "usage: zsiqa score",
     "unrecognized arguments: --distanse l2 (did you mean --distance?)"),
    (["report", "--replicate=9"], "usage: zsiqa report", "argument --replicates: must be at least 100"),
    (["rank", "--datset", "live"], "usage: zsiqa rank", "(did you mean --dataset?)"),
])
def test_a_misspelt_command_or_option_is_told_what_may_be_meant(capsys, arguments, usage, hint):
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert left.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith(usage)
    assert hint in said


@pytest.mark.parametrize("arguments", [[], ["data"], ["weights"]])
def test_a_command_without_a_subcommand_shows_its_help(capsys, arguments):
    assert main(arguments) == 0
    said = capsys.readouterr()
    assert said.out.startswith(f"usage: {' '.join(['zsiqa', *arguments])}")
    assert "\nexamples:\n  zsiqa " in said.out
    assert said.err == ""


@pytest.mark.parametrize("command", ["score", "status", "tables", "audit", "report", "data check",
                                     "data manifest", "data list", "weights list", "weights verify"])
def test_help_ends_with_examples_that_the_parser_takes(capsys, command):
    with pytest.raises(SystemExit):
        main([*command.split(), "--help"])
    _, _, examples = capsys.readouterr().out.partition("\nexamples:\n  ")
    assert len(examples.splitlines()) >= 2
    for line in examples.splitlines():
        words = [word for word in line.split() if not word.startswith("ZSIQA_")]
        assert make_parser().parse_args(words[1:]).command


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


def test_tables_of_an_empty_store(tmp_path, capsys):
    assert "zsiqa run dataset=demo" in one_line_error(capsys, ["tables", "--scores", str(tmp_path)])
    (tmp_path / "my.csv").write_text("ref,dis,score\n")
    (tmp_path / "psnr").mkdir()
    (tmp_path / "psnr/original.csv").write_text("")
    (tmp_path / "my.csv").rename(tmp_path / "psnr/my.csv")
    assert "images (`zsiqa audit` says why): psnr/my.csv, psnr/original.csv" in one_line_error(
        capsys, ["tables", "--scores", str(tmp_path)])


def test_tables_of_the_paper_without_scores_name_what_is_missing(tmp_path, capsys):
    paper = [word for number in (1, 2, 3) for word in ("--table", f"table{number}")]
    assert main(["tables", "--scores", str(tmp_path), *paper]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    assert [f"Table {number}: " in said.out for number in (1, 2, 3)] == [True] * 3
    assert ("756 printed cells: 0 match, 0 mislabelled, 0 wrong file, 0 drift, 0 partial, 756 missing"
            in said.out)
    assert "more (--out DIR writes all)" in said.out
    assert max(map(len, said.out.splitlines())) <= 100
    missing = " ".join(said.out.split("missing: ")[1:])
    for metric in ("psnr", "dists", "vgg19-features-skld", "clip_rn50-embedding-cosine"):
        assert metric in missing
    assert main(["tables", "--scores", str(tmp_path), "--table", "demo"]) == 0
    said = capsys.readouterr().out
    assert "efficientnet_lite0-" in said
    assert re.search(r"and \d+ more \(--out DIR writes all\)", said)
    assert "printed cells" not in said, "the demo is not in the paper"


def test_tables_of_what_is_stored(tmp_path, capsys):
    for name, perturbation in (("psnr", "original"), ("psnr", "rotate"), ("mine-features-l2", "original")):
        write_stored(tmp_path, ScoreKey("photos", name, perturbation), [1.0, 3.0, 2.0, 4.0])
    (tmp_path / "photos/notes.csv").write_text("")
    assert main(["tables", "--scores", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert said.startswith("Stored scores: photos\n")
    assert "mine-features-l2" in said
    assert "no scores for table1, table2, table3; `zsiqa tables --table table1` lists what it needs" in said
    assert "1 file ignored, of unknown metric or images (`zsiqa audit` says why): photos/notes.csv" in said
    assert "printed cells" not in said


def test_files_of_no_use_are_counted_by_folder(tmp_path, capsys):
    """The public folder of Liao et al. has three data sets without names of images, of twelve files each."""
    for folder, files in (("TID2013", 1), ("SCID", 12), ("DLF", 12)):
        (tmp_path / folder).mkdir()
        for number in range(files):
            (tmp_path / folder / ("DeepWSD_VGG.txt" if not number else f"{number}.txt")).write_text("1\n")
    (tmp_path / "TID2013/ref_name.txt").write_text("5.5 I01_01_1.bmp\n")
    assert main(["tables", "--table", "liao2024", "--scores", str(tmp_path)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert said.endswith("24 files ignored, of unknown metric or images (`zsiqa audit` says why): "
                         "DLF (12 files), SCID (12 files)")
    assert main(["audit", "--scores", str(tmp_path)]) == 1
    said = " ".join(capsys.readouterr().out.split())
    assert "DLF (12 files), SCID (12 files): nothing says which images its scores belong to" in said


@pytest.mark.parametrize("columns", [100, 80])
def test_tables_and_audit_fit_into_the_columns(capsys, authors_like, monkeypatch, columns):
    folder = authors_like(DRIFTING, UNPRINTED, "live_dists.csv")
    monkeypatch.setenv("COLUMNS", "" if columns == 100 else str(columns))
    for arguments in (["tables", "--table", "table2"], ["tables"], ["audit"]):
        main([*arguments, "--scores", folder])
        said = capsys.readouterr().out
        long = [line for line in said.splitlines() if len(line) > columns]
        assert not [line for line in long if " " in line.strip()], "but for words that are longer"
    assert main(["tables", "--table", "table2", "--scores", folder]) == 0
    assert "[0.000]: the paper prints this instead. -: no scores." in capsys.readouterr().out


def test_tables_of_the_authors_files(tmp_path, capsys, authors_like):
    folder = authors_like(DRIFTING, UNPRINTED)
    paper = [word for number in (1, 2, 3) for word in ("--table", f"table{number}")]
    assert main(["tables", "--scores", folder, *paper, "--out",
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
    assert "2 drift, 0 partial, 254 missing" in said.out
    assert "no scores for table1, table3; " in said.out


@pytest.mark.parametrize(("option", "words"), [
    (["--format", "md,pdf"], ["--format", "pdf", "md, tex, csv, html"]),
    (["--also", "rmse,mae"], ["--also", "mae", "srcc_per_ref"]),
    (["--table", "table4"], ["table4", "table1", "extended", "demo"]),
    (["--table", "../dataset/demo"], ["../dataset/demo", "table1"]),
    (["--scores", "nowhere"], ["no folder /", "/nowhere; ", "--scores DIR"]),
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
    assert f"no folder {Path.cwd()}/results/scores; " in one_line_error(capsys, command)


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
    ["-m", "zsiqa.cli.main", "tables", "--scores", ".", "--table", "table1", "--table", "table3"],
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
    assert "mine/net/original.csv: " in (text := " ".join(capsys.readouterr().out.split()))
    assert "is damaged: it is not what was written" in text
