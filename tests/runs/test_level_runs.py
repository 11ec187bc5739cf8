"""Levels of perturbations in runs: names, identities, references alone, and work that is shared."""

import csv
import json
import signal
import subprocess
import time
from contextlib import suppress

import numpy as np
import pytest
from commands import command, run
from conftest import write_pairs

from zsiqa.config import compose as composed
from zsiqa.perturbations import level_of
from zsiqa.results.folder import StoredFolder
from zsiqa.results.scores import ScoreKey
from zsiqa.runs.conditions import conditions
from zsiqa.runs.plan import planned_files
from zsiqa.types import StoreError, ZsiqaError

# As scores have them since before there were levels. Another identity would refuse all existing files.
PAPER = {"original": '{"name": "original"}',
         "translate": '{"name": "translate", "percent": 1, "keep_reference": false}',
         "dilate": '{"name": "dilate", "percent": 1}',
         "rotate": '{"name": "rotate", "degrees": 1, "resample": "nearest"}'}
LISTS = ["perturbation=[translate,dilate,rotate]", "perturbations.translate.percent=[0,0.5,1.0]",
         "perturbations.dilate.percent=[1,2]", "perturbations.rotate.degrees=[0,0.25,1]"]


def names(*arguments):
    return list(conditions(composed("baseline=psnr", *arguments)))


@pytest.mark.parametrize("arguments", [["perturbation=all"], ["perturbation=curves"],
                                       ["perturbation=[all,curves]"], ["perturbation=[curves,all]"], LISTS])
def test_the_papers_points_keep_name_and_identity_to_the_byte(arguments):
    files = planned_files(composed("baseline=psnr", *arguments))
    found = {file.path.stem: json.dumps(file.identity["perturbation"]) for file in files}
    assert len(found) == len(files), "no second copy"
    assert {name: found[name] for name in PAPER} == PAPER


def test_lists_of_levels_become_conditions_in_their_order():
    assert names("perturbation=rotate", "perturbations.rotate.degrees=[0,0.25,0.5,1,2]") == [
        "original", "rotate_0.25deg", "rotate_0.5deg", "rotate", "rotate_2deg"]
    assert names(*LISTS) == ["original", "translate_x_0.5pct", "translate", "dilate", "dilate_2pct",
                             "rotate_0.25deg", "rotate"]
    assert names("perturbation=curves_translate_y", "perturbations.curves_translate_y.pixels=[2]",
                 "perturbations.curves_translate_y.percent=[1,2.5]") == [
        "translate_y_2px", "translate_y_1pct", "translate_y_2.5pct"]


def test_a_single_number_is_a_level_too():
    """Scores at 2 degrees must never lie where 1 degree is expected."""
    assert names("perturbation=rotate", "perturbations.rotate.degrees=2") == ["rotate_2deg"]
    assert names("perturbation=rotate", "perturbations.rotate.degrees=1.0") == ["rotate"]
    assert names("perturbation=dilate", "perturbations.dilate.percent=0") == ["original"]


def test_a_perturbation_of_another_name_keeps_it():
    mine = "{_target_:zsiqa.perturbations.Rotate,degrees:3,resample:bicubic}"
    assert names(f"+perturbations.mine={mine}") == ["original", "mine"]


@pytest.mark.parametrize("family", ["translate_x", "translate_y", "dilate", "rotate"])
def test_a_curve_has_ten_levels_in_each_unit(family):
    levels = [level_of(name) for name in names(f"perturbation=curves_{family}")]
    assert levels.count(None) == 1, "level 0"
    for unit in {level.unit for level in levels if level}:
        assert len({level.value for level in levels if level and level.unit == unit}) >= 9, "with level 0, 10"
    assert {level.family for level in levels if level} == {family}
    assert set(names(f"perturbation=curves_{family}")) <= set(names("perturbation=curves"))


def test_curves_hold_the_thresholds_of_people_and_twice_as_much():
    levels = {level for name in names("perturbation=curves") if (level := level_of(name))}
    for family, unit, threshold in (("translate_x", "px", 8), ("translate_y", "px", 8),
                                    ("dilate", "pct", 2.6), ("rotate", "deg", 3.6)):
        values = [level.value for level in levels if (level.family, level.unit) == (family, unit)]
        assert threshold in values
        assert max(values) >= 2 * threshold
        assert min(values) <= threshold / 4


@pytest.mark.parametrize(("arguments", "error"), [
    (["perturbation=rotate", "perturbations.rotate.degrees=[]"], "lists of levels are empty"),
    (["perturbation=rotate", "perturbations.rotate.degrees=[abc]"],
     "perturbations.rotate.degrees: expected numbers, found 'abc'"),
    (["perturbation=rotate", "perturbations.rotate.degrees=[1,200]"], "between -180 and 180, found 200"),
    (["perturbation=rotate", "perturbations.rotate.degrees=[1.2345678]"], "at most six digits"),
    (["perturbation=curves_translate_x", "perturbations.curves_translate_x.pixels=[2.5]"], "whole number"),
    (["perturbation=[rotate,curves_rotate]", "perturbations.rotate.resample=bicubic"],
     "two perturbations are both named rotate, with different settings"),
    (["+perturbations.mine={_target_:zsiqa.perturbations.Original,percent:[1,2]}"], "Original"),
])
def test_impossible_levels_are_one_clear_error(arguments, error):
    with pytest.raises(ZsiqaError, match=error):
        names(*arguments)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Six pairs on three references."""
    folder = tmp_path_factory.mktemp("levels")
    write_pairs(folder, [(70, 80), (64, 90), (66, 66)], levels=2)
    return folder


# 13 translations, so two rounds; 0.25 % is one pixel.
CURVE = ["dataset=pairs", "dataset.csv=pairs.csv", "dataset.higher_is_better=false", "baseline=psnr",
         "perturbation=[curves_translate_x,curves_rotate]",
         "perturbations.curves_translate_x.pixels=[0,1,2,3,4,5,6,7,8,9]",
         "perturbations.curves_translate_x.percent=[0.25,1,3]",
         "perturbations.curves_rotate.degrees=[0.25,1,10]"]


def scores_of(folder, metric, name, dataset="pairs"):
    with (folder / "scores" / dataset / metric / f"{name}.csv").open() as stream:
        return list(csv.DictReader(stream))


@pytest.mark.slow
def test_levels_in_parts_are_the_scores_of_one_run(folder):
    """Some levels, some references and shards first, the rest later: the same bits, and no file but these."""
    run(*CURVE, "results_dir=all", cwd=folder)
    run(*CURVE, "dataset.limit=1", "results_dir=parts", cwd=folder)
    assert (folder / "parts/scores/pairs/psnr/translate_x_0.25pct.partial.csv").is_file()
    run(*CURVE, "dataset.limit=3", "results_dir=parts", cwd=folder)
    output = run(*CURVE, "results_dir=parts", cwd=folder)
    assert "translate_x_0.25pct" in output
    whole, parts = (
        {file.relative_to(folder / root): file.read_bytes() for file in (folder / root).rglob("*.csv")}
        for root in ("all", "parts"))
    assert whole == parts
    assert {path.stem for path in whole} == set(names(*CURVE[4:]))
    assert not list((folder / "parts").rglob("*.part"))
    assert "all scores were there already" in run(*CURVE, "results_dir=parts", cwd=folder)


@pytest.mark.slow
@pytest.mark.parametrize("alone", [[], ["dataset.pairs=references"]])
def test_killed_among_levels_it_goes_on_where_it_stopped(folder, alone):
    """kill -9 after a third of the scores; the files end up as those of an uninterrupted run."""
    run(*CURVE, *alone, f"results_dir=whole{len(alone)}", cwd=folder)
    process = subprocess.Popen(command(*CURVE, *alone, f"results_dir=killed{len(alone)}"), cwd=folder,
                               stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)

    def stored():
        begun = 0
        for part in (folder / f"killed{len(alone)}").rglob("*.part"):
            with suppress(FileNotFoundError):  # the run has just finished this file
                begun += part.read_bytes().count(b"\n") > 1
        return begun

    while process.poll() is None and stored() < 5:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    run(*CURVE, *alone, f"results_dir=killed{len(alone)}", cwd=folder)
    whole, killed = ({file.relative_to(folder / f"{root}{len(alone)}"): file.read_bytes()
                      for file in (folder / f"{root}{len(alone)}").rglob("*.csv")}
                     for root in ("whole", "killed"))
    assert whole == killed


def test_references_alone_are_a_data_set_of_their_own(folder):
    arguments = [*CURVE, "baseline=[psnr,ssim]", "dataset.pairs=references", "results_dir=alone"]
    output = run(*arguments, cwd=folder)
    assert "no correlations: references paired with themselves have no labels" in output
    assert "SRCC" not in output
    identical = {"psnr": 80.0, "ssim": 1.0}  # PSNR: of its smallest error, 1e-8
    for metric, value in identical.items():
        rows = scores_of(folder / "alone", metric, "original", "pairs_references")
        assert all(row["pair_id"] == row["ref"] == row["dis"] for row in rows)
        assert [row["mos"] for row in rows] == [""] * 3
        assert [float(row["score"]) for row in rows] == pytest.approx([value] * 3, rel=1e-6)
        turned = scores_of(folder / "alone", metric, "rotate_10deg", "pairs_references")
        assert all(float(row["score"]) < 0.9 * value for row in turned)
    assert "all scores were there already" in run(*arguments, cwd=folder)
    whole = run(*arguments, "num_shards=2", "shard=0", cwd=folder)
    assert "references" in whole
    key = ScoreKey("pairs_references", "ssim", "rotate_0.25deg")
    stored = StoredFolder(folder / "alone/scores")
    loaded = stored.load(key, stored.files[key])
    assert np.isnan(loaded.pairs.labels).all()
    assert loaded.usable.all()


@pytest.mark.slow
def test_references_alone_can_be_scored_in_parts_and_watched(folder):
    arguments = [*CURVE, "dataset.pairs=references", "results_dir=watched"]
    run(*arguments, "dataset.limit=2", cwd=folder)
    stored = StoredFolder(folder / "watched/scores")
    key = ScoreKey("pairs_references", "psnr", "translate_x_0.25pct")
    assert np.isfinite(stored.load(key, stored.files[key]).values).sum() == 2
    assert "nothing" not in run("-m", *arguments, "only_missing=true", cwd=folder)
    assert "done already" in run("-m", *arguments, "only_missing=true", cwd=folder)


def test_labels_among_references_are_refused(folder):
    run(*CURVE, "dataset.pairs=references", "results_dir=labelled", cwd=folder)
    path = folder / "labelled/scores/pairs_references/psnr/rotate.csv"
    sidecar = json.loads(path.with_suffix(".json").read_text())
    for name in ("checksum", "csv_sha256"):
        del sidecar[name]
    path.with_suffix(".json").write_text(json.dumps(sidecar))
    path.write_text(path.read_text().replace(",,,", ",,3.0,"))
    stored, key = StoredFolder(folder / "labelled/scores"), ScoreKey("pairs_references", "psnr", "rotate")
    with pytest.raises(StoreError, match=r"it has labels, and rotate\.json says that there are none"):
        stored.load(key, path)


def test_unknown_pairs_are_refused(folder):
    assert "dataset.pairs must be one of distorted, references, found 'refs'" in run(
        *CURVE, "dataset.pairs=refs", cwd=folder, status=1)
