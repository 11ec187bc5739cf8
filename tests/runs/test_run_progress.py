"""`zsiqa status` and only_missing: what is said of a sweep at every stage of it."""

import json
import shutil

import pytest
from commands import run
from conftest import write_pairs

from zsiqa.cli.main import main
from zsiqa.runs.heartbeats import Journal

ARGUMENTS = ["dataset=pairs", "dataset.csv=pairs.csv", "baseline=psnr,ms_ssim",
             "perturbation=[original,rotate]"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """PSNR is whole, of two shards of MS-SSIM one ran and one has failed; its images are too small."""
    folder = tmp_path_factory.mktemp("status")
    write_pairs(folder, [(24, 24)] * 4, levels=40)
    run("-m", *ARGUMENTS[:2], "baseline=psnr", ARGUMENTS[3], "num_shards=2", "shard=0,1", cwd=folder)
    run("-m", *ARGUMENTS[:2], "baseline=ms_ssim", ARGUMENTS[3], cwd=folder, status=1)
    return folder


@pytest.fixture
def status(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)

    def status(*arguments):
        code = main(["status", *arguments])
        return code, capsys.readouterr().out

    return status


def test_done_and_failed_with_the_reason(status):
    code, text = status(*ARGUMENTS)
    assert code == 1
    assert "  done       2 files, 160 of 160 pairs\n" in text
    assert "  failed     2 files: ref0.png|dis0_1.png (original): " in text
    assert text.endswith("2 jobs, 4 score files: 2 done, 2 failed\n")


def test_json_has_every_file(status):
    found = json.loads(status(*ARGUMENTS, "--json")[1])
    assert [(cell["metric"], cell["perturbation"], cell["state"], cell["there"]) for cell in found] == [
        ("psnr", "original", "done", 160), ("psnr", "rotate", "done", 160),
        ("ms_ssim", "original", "failed", 0), ("ms_ssim", "rotate", "failed", 0)]


def test_missing_partial_and_running(status, folder):
    where = "results_dir=other"
    arguments = [*ARGUMENTS[:2], "baseline=psnr", where]
    assert status(*arguments) == (1,
                                  f"job 0: {' '.join(arguments)}\n  missing    1 file\n1 job, 1 score file: "
                                     "1 missing\n")
    run(*arguments, "num_shards=2", "shard=1", cwd=folder)
    assert ("  partial    1 file, 80 of 160 pairs: missing: 80 pairs of the references ref0.png, ref1.png\n"
            in status(*arguments)[1])
    code, text = status(*arguments, "num_shards=2", "shard=range(2)")
    assert "  missing    1 file, 0 of 80 pairs\n" in text
    assert "  done       1 file, 80 of 80 pairs\n" in text
    with Journal(folder / "other/scores/pairs", ["psnr/original"], (0, 2)).at_work():
        code, text = status(*arguments, "num_shards=2", "shard=range(2)")
        assert "  running    1 file, 0 of 80 pairs: process " in text
        assert code == 1
    run(*arguments, cwd=folder)
    assert status(*arguments)[0] == 0


def test_scores_of_other_settings_are_not_those_that_are_wanted(status):
    text = status(*ARGUMENTS[:2], "baseline=psnr", "perturbation=rotate",
                  "perturbations.rotate.resample=bicubic")[1]
    assert "  failed     1 file: there are scores of other settings: perturbation\n" in text


@pytest.mark.slow
def test_only_missing_leaves_out_what_is_there(folder):
    arguments = ["-m", *ARGUMENTS[:2], "baseline=psnr", "perturbation=original,rotate,dilate",
                 "only_missing=true"]
    output = run(*arguments, cwd=folder)
    assert output.count("done already: ") == 2
    assert "psnr    dilate " in output
    assert "psnr    original " not in output
    output = run(*arguments, cwd=folder)
    assert output.count("done already: ") == 3
    assert "PLCC" not in output


def test_a_part_of_the_data_set_can_be_all_that_is_asked_for(status, folder):
    where = [*ARGUMENTS[:2], "baseline=psnr", "results_dir=limited"]
    limited = [*where, "dataset.limit=10"]
    run(*limited, cwd=folder)
    assert status(*limited) == (0, f"job 0: {' '.join(limited)}\n  done       1 file, 10 of 10 pairs\n"
                                   "1 job, 1 score file: 1 done\n")
    assert "  partial    1 file, 3 of 40 pairs: missing: 37 pairs of the references ref0.png\n" in status(
            *where, "dataset.references=[ref0]")[1]
    assert "  partial    1 file, 10 of 160 pairs: missing: 150 pairs of the references ref2.png" in status(
            *where)[1]
    assert "  failed     1 file: dataset.references: unknown nobody; there are" in status(
        *where, "dataset.references=[nobody]")[1]


@pytest.mark.slow
def test_a_finished_file_that_was_damaged_is_not_done(status, folder):
    arguments = [*ARGUMENTS[:2], "baseline=psnr", "results_dir=damaged"]
    run(*arguments, cwd=folder)
    file = folder / "damaged/scores/pairs/psnr/original.csv"
    whole = file.read_text()
    rows = whole.splitlines(keepends=True)
    for damaged in ("".join(rows[:-1]), f"{whole.rpartition(',')[0]},\n", whole[:-3], whole + rows[-1],
                    "".join([*rows[:2], rows[1], *rows[3:]]), whole.replace(".", ",", 1)):
        file.write_text(damaged)
        code, text = status(*arguments)
        assert code == 1
        assert "  damaged    1 file: damaged/scores/pairs/psnr/original.csv is damaged: it is not" in text
    assert "To fix it, run its command again with overwrite=true" in run(*arguments, cwd=folder, status=1)
    run(*arguments, "overwrite=true", cwd=folder)
    assert file.read_text() == whole
    assert status(*arguments)[0] == 0
    file.with_suffix(".json").unlink()
    assert "original.csv has no original.json beside it" in status(*arguments)[1]


@pytest.mark.slow
def test_pairs_and_labels_of_ones_own_may_change(status, folder):
    arguments = ["dataset=pairs", "dataset.csv=some.csv", "baseline=psnr", "results_dir=own"]
    header, *rows = (folder / "pairs.csv").read_text().splitlines(keepends=True)
    (folder / "some.csv").write_text("".join([header, *rows[:5]]))
    run(*arguments, cwd=folder)
    assert status(*arguments)[0] == 0
    (folder / "some.csv").write_text("".join([header, *rows[:4], f"{rows[4].rsplit(',', 1)[0]},7.5\n"]))
    assert "  partial    1 file, 5 of 5 pairs: the labels have changed" in status(*arguments)[1]
    run("-m", *arguments, "only_missing=true", cwd=folder)
    assert status(*arguments)[0] == 0
    (folder / "some.csv").write_text("".join([header, *rows[:6]]))
    assert "  failed     1 file: there are scores of other settings: dataset\n" in status(*arguments)[1]


@pytest.mark.parametrize(("argument", "message"), [
    ("dataset.limit=0", "dataset.limit must be a whole number of at least 1"),
    ("shard=7", "shard=7, but num_shards=1"),
    ("dataset.csv=no.csv", "no.csv")])
def test_what_a_run_would_refuse_is_refused(folder, monkeypatch, capsys, argument, message):
    monkeypatch.chdir(folder)
    assert main(["status", *ARGUMENTS, argument]) == 1
    assert message in capsys.readouterr().err


def test_a_part_of_a_whole_is_counted_as_such(status):
    arguments = [*ARGUMENTS[:2], "baseline=psnr"]
    assert "done       1 file, 10 of 10 pairs\n" in status(*arguments, "dataset.limit=10")[1]
    assert status(*arguments, "num_shards=2", "shard=range(2)")[1].count("1 file, 80 of 80 pairs\n") == 2


@pytest.mark.slow
def test_parts_that_nobody_has_joined_are_not_done(status, folder):
    arguments = [*ARGUMENTS[:2], "baseline=psnr"]
    for shard in "01":
        run(*arguments, f"results_dir=half{shard}", "num_shards=2", f"shard={shard}", cwd=folder)
    (part,) = (folder / "half1").rglob("*.part")
    shutil.copy(part, folder / "half0/scores/pairs/psnr")
    assert "  partial    1 file, 160 of 160 pairs: all in parts; the same command" in status(
        *arguments, "results_dir=half0")[1]
    run("-m", *arguments, "results_dir=half0", "only_missing=true", cwd=folder)
    assert status(*arguments, "results_dir=half0")[0] == 0
    assert not list((folder / "half0").rglob("*.part"))


def test_only_missing_is_true_or_false(folder):
    output = run("-m", *ARGUMENTS[:2], "baseline=psnr", "only_missing=maybe", cwd=folder, status=1)
    assert "error: only_missing must be true or false, found 'maybe'" in output


def test_parts_are_read_as_they_are_and_what_is_missing_is_named(status, folder, monkeypatch, capsys):
    arguments = [*ARGUMENTS[:2], "baseline=psnr", "results_dir=parts"]
    run(*arguments, "num_shards=2", "shard=1", cwd=folder)
    assert "80 of 160 pairs: missing: 80 pairs of the references" in status(*arguments)[1]
    monkeypatch.chdir(folder)
    assert main(["rank", "--scores", "parts/scores", "--dataset", "pairs", "--replicates", "100"]) == 0
    assert "psnr: 80 of 160 pairs have no usable score" in capsys.readouterr().out
    run(*arguments, "num_shards=2", "shard=0", cwd=folder)
    assert not list((folder / "parts").rglob("*.part")), "the last shard joins all of them"
