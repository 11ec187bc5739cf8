"""Curves of a small store, against direct computations with scipy."""

import math
from dataclasses import replace

import numpy as np
import pytest
from curves import LABELS, METRICS, REFERENCES, REFS, names, write, write_store
from scipy import stats

from zsiqa.evaluation import bootstrap
from zsiqa.evaluation.human_thresholds import read_thresholds
from zsiqa.evaluation.robustness import RobustnessSettings, measure_robustness
from zsiqa.evaluation.stored_levels import WithoutCurves
from zsiqa.report.robustness import to_json, to_markdown, to_text
from zsiqa.results.folder import open_folder
from zsiqa.results.scores import ScoreKey
from zsiqa.types import StoreError

ROUNDING = 1e-12  # the same numbers, summed in another order
SETTINGS = RobustnessSettings(*read_thresholds(), replicates=100)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return open_folder(write_store(tmp_path_factory.mktemp("curves") / "scores"))


@pytest.fixture(scope="module")
def found(folder):
    return measure_robustness(folder, SETTINGS)


def scores_of(folder, metric, name, dataset="mine"):
    key = ScoreKey(dataset, metric, name)
    return folder.load(key, folder.files[key]).values


def test_each_point_is_the_srcc_of_its_file(folder, found):
    assert len(found.points) == len(METRICS) * (len(names()) + 4)  # and `original`, once a curve
    for row in found.points.to_dict("records"):
        expected = stats.spearmanr(-scores_of(folder, row["metric"], row["perturbation"]), LABELS).statistic
        assert row["srcc"] == pytest.approx(expected, abs=ROUNDING)
        assert (row["perturbation"] == "original") == (row["level"] == 0)


def test_intervals_and_means_are_those_of_resampled_references(folder, found):
    rows = [np.flatnonzero(name == REFS) for name in sorted(set(REFS))]
    levels = ["original", "translate_x_2px", "translate_x_4px", "translate_x_8px"]
    scores = [scores_of(folder, "fragile", name) for name in levels]
    drawn = []
    for counts in bootstrap.draw(REFERENCES, 100):
        use = np.concatenate([np.tile(rows[place], count) for place, count in enumerate(counts) if count])
        drawn.append([stats.spearmanr(-values[use], LABELS[use]).statistic for values in scores])
    replicates = np.array(drawn)
    points = found.points[(found.points["metric"] == "fragile") & (found.points["family"] == "translate_x")]
    for column, row in enumerate(points.to_dict("records")):
        low, high = np.quantile(replicates[:, column], [0.025, 0.975])
        assert (row["srcc_low"], row["srcc_high"]) == pytest.approx((low, high), abs=ROUNDING)
    human = 0.23 * 29.2

    def mean(values):
        """Area below the lines 0-2, 2-4, and 4-8 up to the threshold."""
        at_human = values[2] + (human - 4) / 4 * (values[3] - values[2])
        return (values[0] + values[1] + values[1] + values[2]
                + (values[2] + at_human) / 2 * (human - 4)) / human

    (curve,) = found.curves[(found.curves["metric"] == "fragile")
                            & (found.curves["family"] == "translate_x")].to_dict("records")
    estimate = points["srcc"].tolist()
    assert curve["human"] == curve["mean_until"] == pytest.approx(human)
    assert curve["srcc_unseen"] == pytest.approx(mean(estimate), abs=ROUNDING)
    assert curve["loss"] == pytest.approx(estimate[0] - mean(estimate), abs=ROUNDING)
    means = np.array([mean(values) for values in replicates])
    assert (curve["srcc_unseen_low"], curve["srcc_unseen_high"]) == pytest.approx(
        tuple(np.quantile(means, [0.025, 0.975])), abs=ROUNDING)
    assert (curve["loss_low"], curve["loss_high"]) == pytest.approx(
        tuple(np.quantile(replicates[:, 0] - means, [0.025, 0.975])), abs=ROUNDING)


def test_the_response_of_references_is_in_units_of_their_own_distortions(folder, found):
    real = scores_of(folder, "fragile", "original")
    mildest = np.median([real[name == REFS].min() for name in sorted(set(REFS))])
    median = np.median([np.median(real[name == REFS]) for name in sorted(set(REFS))])
    points = found.points[(found.points["metric"] == "fragile") & (found.points["family"] == "rotate")]
    for row in points.to_dict("records"):
        response = np.median(scores_of(folder, "fragile", row["perturbation"], "mine_references"))
        assert row["response"] == pytest.approx(response)
        assert row["in_mildest"] == pytest.approx(response / mildest)
        assert row["in_median"] == pytest.approx(response / median)
    at = found.curves.set_index(["metric", "family"])["mildest_at"]
    # The response rises in a straight line up to 90 * 1.4 at 5 degrees: the median reference has 1 + 4 / 10.
    assert at["fragile", "rotate"] == pytest.approx(5 * mildest / (90 * 1.4))
    assert at["tolerant", "rotate"] == math.inf


@pytest.mark.parametrize("dataset", ["mine", "mine_references"])
def test_a_level_without_one_of_the_two_scores_leaves_the_others_in_their_place(found, tmp_path, dataset):
    write_store(tmp_path)
    for path in (tmp_path / dataset / "tolerant").glob("rotate_3deg*"):
        path.unlink()
    less = measure_robustness(open_folder(tmp_path), SETTINGS, metrics=["tolerant"]).points
    less, more = (points[(points["metric"] == "tolerant") & (points["family"] == "rotate")].set_index("level")
                  for points in (less, found.points))
    assert less.index.tolist() == ([0, 1, 5] if dataset == "mine" else [0, 1, 3, 5])
    assert less["response"].drop(3, errors="ignore").equals(more["response"].drop(3))
    assert less["response"].reindex([3]).isna().all()


def test_a_similarity_gives_the_curve_of_its_distance(folder, found, tmp_path):
    write_store(tmp_path)
    for dataset in ("mine", "mine_references"):
        refs = REFS if dataset == "mine" else sorted(set(REFS))
        for name in ("original", *names()):
            values = 100 - scores_of(folder, "fragile", name, dataset)
            write(tmp_path, dataset, "similar", name, refs, LABELS[:len(refs)], values,
                  higher_is_better=True)
    points = measure_robustness(open_folder(tmp_path), SETTINGS, metrics=["similar"]).points
    own = found.points[found.points["metric"] == "fragile"]
    numbers = points.columns[4:].drop("perturbation")
    # 100 - x and back: rounding of numbers near 100.
    np.testing.assert_allclose(points[numbers].astype(float), own[numbers].astype(float), atol=1e-9)


def test_a_metric_that_is_wrong_everywhere_is_not_robust(found):
    assert found.ranking["metric"].tolist() == ["tolerant", "fragile", "wrong"]
    ranking = found.ranking.set_index("metric")
    assert ranking.loc["wrong", "loss"] < ranking.loc["fragile", "loss"]
    assert ranking["in_best_group"].tolist() == [True, False, False]
    unseen = ranking.filter(like="unseen_")
    np.testing.assert_array_equal(ranking["worst"], unseen.min(axis=1))
    np.testing.assert_allclose(ranking["srcc_original"] - ranking["loss"], ranking["worst"], atol=ROUNDING)
    assert found.notes == []


def test_metrics_without_a_curve_are_not_ranked_but_named(tmp_path):
    write_store(tmp_path, references=False)
    for path in (tmp_path / "mine/tolerant").glob("rotate*"):
        path.unlink()
    found = measure_robustness(open_folder(tmp_path), SETTINGS)
    assert found.ranking["metric"].tolist() == ["fragile", "wrong"]
    assert "mine/tolerant: not ranked: no curve of rotate, which most metrics have" in found.notes
    (note,) = (note for note in found.notes if "dataset.pairs=references makes them" in note)
    assert note.startswith("mine/fragile, tolerant, wrong: ")
    assert found.points["in_mildest"].isna().all()


def test_pairs_without_a_score_at_one_level_are_left_out_at_all(tmp_path):
    write_store(tmp_path)
    values = scores_of(open_folder(tmp_path), "tolerant", "dilate").tolist()
    for part in ("csv", "json"):
        (tmp_path / f"mine/tolerant/dilate.{part}").unlink()
    write(tmp_path, "mine", "tolerant", "dilate", REFS, LABELS, [math.nan, *values[1:]])
    found = measure_robustness(open_folder(tmp_path), SETTINGS)
    assert set(found.points.loc[found.points["metric"] == "tolerant", "pairs"]) == {len(LABELS) - 1}
    assert any("tolerant: 1 of 54 pairs lack a score" in note for note in found.notes)
    assert not found.ranking["in_best_group"].any()  # other pairs: no test
    assert any("different pairs" in note for note in found.notes)


def remove(root, metric, *names, dataset="mine"):
    for name in names:
        for part in ("csv", "json"):
            (root / f"{dataset}/{metric}/{name}.{part}").unlink()


def test_fewer_levels_do_not_make_a_metric_look_robust(tmp_path):
    write_store(tmp_path)
    remove(tmp_path, "fragile", "rotate_5deg")  # the threshold is 3.6
    found = measure_robustness(open_folder(tmp_path), SETTINGS)
    assert found.ranking["metric"].tolist() == ["tolerant", "wrong"]
    assert ("mine/fragile: not ranked: rotate ends at 3 deg, below the human threshold of 3.6 deg, which "
            "other metrics reach") in found.notes


def test_the_ranking_uses_the_levels_that_all_metrics_have(tmp_path, found):
    write_store(tmp_path)
    remove(tmp_path, "tolerant", "rotate_3deg")
    folder = open_folder(tmp_path)
    some = measure_robustness(folder, SETTINGS)
    assert any("the ranking leaves out rotate at 3 deg" in note for note in some.notes)
    at0, at1, at5 = (stats.spearmanr(-scores_of(folder, "fragile", name), LABELS).statistic
                     for name in ("original", "rotate", "rotate_5deg"))
    human = at1 + (3.6 - 1) / 4 * (at5 - at1)
    row = some.ranking.set_index("metric").loc["fragile"]
    assert row["unseen_rotate"] == pytest.approx(
        ((at0 + at1) / 2 + (at1 + human) / 2 * 2.6) / 3.6, abs=ROUNDING)
    assert row["unseen_dilate"] == found.ranking.set_index("metric").loc["fragile", "unseen_dilate"]


def test_a_range_that_most_metrics_lack_is_cut_for_all(tmp_path):
    write_store(tmp_path)
    remove(tmp_path, "fragile", "rotate_5deg")
    remove(tmp_path, "wrong", "rotate_5deg")
    found = measure_robustness(open_folder(tmp_path), SETTINGS)
    assert len(found.ranking) == 3
    assert set(found.ranking["until_rotate"]) == {3.0}
    assert any("the ranking follows rotate up to 3 deg" in note for note in found.notes)


def test_one_metric_with_more_families_does_not_remove_the_others(tmp_path):
    write_store(tmp_path)
    for metric in ("fragile", "wrong"):
        remove(tmp_path, metric, *(name for name in names() if name.startswith("translate_y")))
    found = measure_robustness(open_folder(tmp_path), SETTINGS)
    assert len(found.ranking) == 3
    assert "unseen_translate_y" not in found.ranking
    assert ("mine: translate_y does not count in the ranking: only 1 of 3 metrics have it: tolerant"
            in found.notes)


def test_what_is_asked_for_and_has_no_curve_is_named(tmp_path):
    write_store(tmp_path)
    write(tmp_path, "other", "psnr", "original", REFS, LABELS, LABELS)
    found = measure_robustness(open_folder(tmp_path), SETTINGS, ["mine", "other"], ["tolerant", "psnr"])
    assert any(note.startswith("other: left out: no curve") for note in found.notes)
    assert "psnr: left out: this metric has no curve" in found.notes


def test_wide_tables_are_split_and_a_level_before_the_first_is_not_given_a_number(found):
    text = to_text(found, 40).split("mildest distortion")[1].split("Intervals")[0]
    tables = text.split("! people")[0]
    assert tables.count("human threshold") == 3
    assert max(map(len, tables.splitlines())) <= 40
    early = replace(found, curves=found.curves.assign(mildest_at=0.1))
    assert "<1!" in to_text(early, 100)


def test_notes_of_a_data_set_are_passed_on(tmp_path):
    write_store(tmp_path)
    values = scores_of(open_folder(tmp_path), "fragile", "original")
    remove(tmp_path, "fragile", "original")
    write(tmp_path, "mine", "fragile", "original", REFS, LABELS, values, notes=["labels are levels"])
    assert measure_robustness(open_folder(tmp_path), SETTINGS).notes == ["mine: labels are levels"]


def test_a_single_metric_has_no_star(folder):
    assert not measure_robustness(folder, SETTINGS, metrics=["fragile"]).ranking["in_best_group"].any()


def test_no_threshold_no_ranking_and_a_note(folder):
    found = measure_robustness(folder, RobustnessSettings([], 29.2, 100))
    assert not len(found.ranking)
    assert "mine: no curve has a human threshold in its unit" in found.notes


def test_a_response_of_some_references_is_marked(tmp_path):
    write_store(tmp_path)
    own = sorted(set(REFS))
    for name in ("original", *names()):
        values = scores_of(open_folder(tmp_path), "fragile", name, "mine_references").tolist()
        remove(tmp_path, "fragile", name, dataset="mine_references")
        write(tmp_path, "mine_references", "fragile", name, own, [0.0] * len(own), [*values[:-1], math.nan])
    found = measure_robustness(open_folder(tmp_path), SETTINGS)
    assert found.points.groupby("metric")["response_references"].unique().map(list).to_dict() == {
        "fragile": [REFERENCES - 1], "tolerant": [REFERENCES], "wrong": [REFERENCES]}
    assert any(f"{REFERENCES - 1} of {REFERENCES} references" in note for note in found.notes)
    table = to_text(found, 100).split("mildest distortion")[1].split("Intervals")[0]
    assert [line.split()[0] for line in table.splitlines() if line.endswith(" p")] == ["fragile"]


def test_damaged_scores_of_references_are_not_called_absent(tmp_path):
    write_store(tmp_path)
    (tmp_path / "mine_references/fragile/original.csv").write_text("damaged")
    notes = measure_robustness(open_folder(tmp_path), SETTINGS).notes
    (note,) = (note for note in notes if "no response" in note)
    assert "cannot be read; `zsiqa audit` says more" in note


@pytest.mark.parametrize(("datasets", "metrics", "message"), [
    (["mine_references"], None, "no labels, so no SRCC; use --dataset mine"),
    (["mime"], None, r"no scores of the data set mime .*did you mean mine\?"),
    (None, ["tolrant"], r"no scores of the metric tolrant .*did you mean tolerant\?")])
def test_unknown_names_are_answered(folder, datasets, metrics, message):
    with pytest.raises(StoreError, match=message):
        measure_robustness(folder, SETTINGS, datasets, metrics)


def test_a_store_without_levels_says_which_command_makes_them(tmp_path):
    for name in ("original", "rotate"):
        write(tmp_path, "mine", "psnr", name, REFS, LABELS, LABELS)
    with pytest.raises(StoreError, match="zsiqa run dataset=mine perturbation=curves"):
        measure_robustness(open_folder(tmp_path), SETTINGS)


def test_other_commands_leave_levels_out(folder):
    assert {key[::2] for key in WithoutCurves(folder).held()} == {
        ("mine", name) for name in ("original", "dilate", "rotate")}


def test_texts_fit_a_terminal_and_json_has_all(found):
    import json

    text = to_text(found, 100)
    tables = text.split("Intervals (95%)")[0]
    assert max(map(len, tables.splitlines())) <= 100
    assert "wrong" in tables
    assert f"{found.ranking['worst'].iloc[0]:.3f}*" in tables
    assert ">5" in tables  # not reached
    assert any(line.startswith("fragile") and line.count("!") == 4 for line in tables.splitlines())
    read = json.loads(to_json(found))
    assert len(read["points"]) == len(found.points)
    assert {(row["mildest_at"], row["mildest_reached"]) for row in read["curves"]
            if row["metric"] == "tolerant"} == {(None, False)}
    assert all(isinstance(row["mildest_at"], float) and row["mildest_reached"] is True
               for row in read["curves"] if row["metric"] == "fragile")
    assert read["thresholds"][0]["value"] == 0.23
    assert to_markdown(found).startswith("| mine | at 0 | translate_x |")
