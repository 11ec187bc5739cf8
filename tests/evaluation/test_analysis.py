import json
import math
from dataclasses import replace
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from conftest import noisy, official_rows, write_official, write_stored
from scipy import stats

from zsiqa.evaluation.analysis import AnalysisSettings, analyse, between_share
from zsiqa.evaluation.bootstrap import (
    bca_interval,
    draw,
    leave_one_out,
    paired_p_value,
    percentile_interval,
    replicate,
)
from zsiqa.evaluation.correlation import COEFFICIENTS, correlate, per_reference
from zsiqa.evaluation.logistic import fit_logistic
from zsiqa.evaluation.paired_tests import holm, steiger, wilcoxon_over_references, williams, zou_interval
from zsiqa.report.analysis import to_text, write
from zsiqa.results.folder import open_folder
from zsiqa.results.scores import ScoreKey
from zsiqa.types import StoreError

# Ten references with twelve versions each. What the labels say of the reference, a metric need not know.
REFS = np.repeat([f"r{number}" for number in range(10)], 12)
GROUPS = np.repeat(np.arange(10), 12)
KINDS = np.tile(["noise", "blur", "jpeg"], 40)
RANDOM = np.random.default_rng(0)
OFFSETS = np.repeat(RANDOM.normal(size=10), 12)
LABELS = OFFSETS + RANDOM.normal(size=120)
QUICK = AnalysisSettings(replicates=50)
# By how much a metric errs; `a` and `b` are alike, `c` is worse. Larger is better here, smaller in the files.
QUALITY = {name: LABELS + sigma * RANDOM.normal(size=120) for name,
           sigma in (("c", 2.0), ("a", 0.5), ("b", 0.55))}
CLOSE = 1e-12  # the same numbers, summed in another order


def _store(root, quality, labels=LABELS, refs=REFS, kinds=KINDS):
    """Our own files of a data set `set`; labels by metric where they are a mapping."""
    for metric, values in quality.items():
        own = labels[metric] if isinstance(labels, dict) else labels
        write_stored(root, ScoreKey("set", metric, "original"), -np.asarray(values, dtype=float), own,
                     ids=[f"set/{row}" for row in range(len(refs))], refs=refs, types=kinds,
                     notes=["a caveat"])
    return open_folder(root)


def _analyse(folder, settings=QUICK, metrics=None):
    return analyse(folder, "set", "original", metrics, settings)


def _coefficient(quality, labels, name):
    found = correlate(quality, labels)
    return getattr(found, name)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return _store(tmp_path_factory.mktemp("store"), QUALITY)


@pytest.fixture(scope="module")
def found(folder):
    return _analyse(folder)


@pytest.fixture(scope="module")
def tid(tmp_path_factory):
    """A folder as the authors', with TID2013's types."""
    folder, rows = tmp_path_factory.mktemp("tid"), official_rows("tid2013")
    scores = {name: write_official(folder / f"tid2013_{name}.csv", rows, noisy(rows, seed, 40))
              for seed, name in enumerate(("dists", "lpips"))}
    return folder, rows, scores


def test_estimates_equal_the_pooled_correlations_the_best_first(found):
    assert list(found.methods.index) == ["a", "b", "c"]
    assert (found.n, found.expected, found.references) == (120, 120, 10)
    for metric, row in found.methods.iterrows():
        for name in COEFFICIENTS:
            assert row[name] == pytest.approx(_coefficient(QUALITY[metric], LABELS, name), abs=CLOSE)
    assert found.methods["rank_pooled"].tolist() == [1, 2, 3]


def test_per_reference_values_summarise_the_correlations_within_references(found):
    for metric, row in found.methods.iterrows():
        for name in COEFFICIENTS:
            within = [_coefficient(QUALITY[metric][group == GROUPS], LABELS[group == GROUPS], name)
                      for group in range(10)]
            summary = [row[f"{name}_per_ref{suffix}"] for suffix in ("", "_median", "_sd")]
            assert summary == pytest.approx(
                    [np.mean(within), np.median(within), np.std(within, ddof=1)], abs=CLOSE)
        assert row["undefined_refs"] == 0


def test_a_reference_without_a_correlation_is_counted_and_left_out_of_the_mean(tmp_path):
    quality = {"a": np.where(GROUPS == 3, 1.0, QUALITY["a"])}
    row = _analyse(_store(tmp_path, quality)).methods.loc["a"]
    within = per_reference(quality["a"], LABELS, REFS)["srcc"]
    assert (row["undefined_refs"], np.isnan(within).sum()) == (1, 1)
    assert row["srcc_per_ref"] == pytest.approx(np.nanmean(within), abs=CLOSE)


@pytest.mark.parametrize("interval", ["percentile", "bca"])
def test_intervals_are_those_of_the_cluster_bootstrap(folder, interval):
    found = _analyse(folder, AnalysisSettings(replicates=50, seed=3, interval=interval))
    drawn, jackknife = draw(10, 50, seed=3), leave_one_out(10)
    for metric, row in found.methods.iterrows():
        for name in COEFFICIENTS:
            values = replicate(QUALITY[metric], LABELS, GROUPS, drawn)[name]
            left_out = replicate(QUALITY[metric], LABELS, GROUPS, jackknife)[name]
            expected = percentile_interval(values) if interval == "percentile" else bca_interval(
                row[name], values, left_out)
            assert (row[f"{name}_low"], row[f"{name}_high"]) == pytest.approx(expected[:2], abs=CLOSE)


def test_the_share_of_variance_between_groups_by_hand(found):
    # Means 2 and 6 around 4: 2 * 4 + 2 * 4 = 16 of 9 + 1 + 1 + 9 = 20; unequal groups: 3 * 1 + 1 * 9 = 12 of
    # 12.
    assert between_share(np.array([1.0, 3.0, 5.0, 7.0]), np.array([0, 0, 1, 1])) == pytest.approx(0.8)
    assert between_share(np.array([1.0, 1.0, 1.0, 5.0]), np.array([0, 0, 0, 1])) == pytest.approx(1)
    assert between_share(np.array([1.0, 5.0, 1.0, 5.0]), np.array([0, 0, 1, 1])) == 0
    assert math.isnan(between_share(np.ones(4), np.array([0, 0, 1, 1])))
    within = sum(((LABELS[group == GROUPS] - LABELS[group == GROUPS].mean()) ** 2).sum() for group
                 in range(10))
    assert found.label_share == pytest.approx(1 - within / ((LABELS - LABELS.mean()) ** 2).sum(), abs=CLOSE)
    assert found.methods.loc["c",
                             "between_share"] == pytest.approx(between_share(QUALITY["c"], GROUPS), abs=CLOSE)


def test_types_equal_a_direct_computation(found):
    assert list(found.types.columns) == ["blur", "jpeg", "noise"]
    for metric, row in found.types.iterrows():
        for kind, value in row.items():
            expected = _coefficient(QUALITY[metric][kind == KINDS], LABELS[kind == KINDS], "srcc")
            assert value == pytest.approx(expected, abs=CLOSE)
    assert found.type_names["blur"] == "(40 pairs)"


def test_tid2013s_types_and_published_subsets_equal_a_direct_computation(tid):
    folder, rows, scores = tid
    found = analyse(open_folder(folder), "tid2013", "original", None, QUICK)
    subsets = {  # Ponomarenko et al. (2015), Table II
        "Noise": [*range(1, 10), 19, 21], "Actual": [1, 3, 4, 5, 6, 8, 9, 10, 11, 19, 21],
               "Simple": [1, 8, 10],
        "Exotic": [*range(12, 18), 20, 23, 24], "New": [*range(18, 25)], "Color": [2, 7, 10, 18, 22, 23]}
    wanted = {f"{number:02}": [number] for number in range(1, 25)} | subsets
    assert list(found.types.columns) == list(wanted)
    number = np.array([int(dis[4:6]) for dis, _, _ in rows])
    labels = np.array([mos for _, _, mos in rows])
    for column, members in wanted.items():
        some = np.isin(number, members)
        expected = _coefficient(-scores["dists"][some], -labels[some], "srcc")  # both fall with quality
        assert found.types.loc["dists", column] == pytest.approx(expected, abs=CLOSE)
        assert found.type_names[column].endswith(f"({125 * len(members)} pairs)")
    assert found.type_names["10"].startswith("JPEG ")


def test_lives_types_are_its_folders(tmp_path):
    rows = official_rows("live")
    write_official(tmp_path / "live_dists.csv", rows, noisy(rows, 0))
    found = analyse(open_folder(tmp_path), "live", "original", None, QUICK)
    assert list(found.types.columns) == ["jp2k", "jpeg", "wn", "gblur", "fastfading"]
    assert found.type_names["jpeg"] == "JPEG (175 pairs)"


@pytest.mark.parametrize("name", COEFFICIENTS)
def test_comparisons_equal_the_tests_on_the_same_numbers(folder, name):
    found = _analyse(folder, AnalysisSettings(coefficient=name, replicates=50))
    drawn = draw(10, 50)
    values = {metric: replicate(quality, LABELS, GROUPS, drawn)[name] for metric, quality in QUALITY.items()}
    within = {metric: per_reference(quality, LABELS, REFS)[name] for metric, quality in QUALITY.items()}
    turn = stats.rankdata if name == "srcc" else np.asarray
    order = found.methods.index
    assert [(row.a, row.b) for row in found.comparisons.itertuples()] == list(combinations(order, 2))
    for row in found.comparisons.to_dict("records"):
        a, b = row["a"], row["b"]
        r = [_coefficient(QUALITY[metric], LABELS, name) for metric in (a, b)]
        assert row["difference"] == pytest.approx(r[0] - r[1], abs=CLOSE)
        difference = values[a] - values[b]
        assert (row["low"], row["high"]) == pytest.approx(percentile_interval(difference)[:2], abs=CLOSE)
        assert row["p"] == paired_p_value(difference)
        t = row["difference"] / (difference.std(ddof=1) * np.sqrt(10 / 9))  # G = 10
        assert row["p_t"] == pytest.approx(2 * stats.t.sf(abs(t), 9), rel=1e-6)  # far out in the tail
        signed = wilcoxon_over_references(within[a], within[b])
        assert (row["wins_a"], row["ties"], row["references"]) == (signed.wins, signed.ties, signed.n)
        assert row["p_wilcoxon"] == pytest.approx(signed.p_value)
        if name == "krcc":
            assert not {"williams_t", "p_williams", "steiger_z", "p_steiger", "zou_low"} & set(row)
            continue
        r.append(np.corrcoef(turn(QUALITY[a]), turn(QUALITY[b]))[0, 1])
        assert (row["williams_t"], row["p_williams"]) == pytest.approx(williams(*r, 120), rel=1e-6)
        assert (row["steiger_z"], row["p_steiger"]) == pytest.approx(steiger(*r, 120), rel=1e-6)
        assert (row["zou_low"], row["zou_high"]) == pytest.approx(zou_interval(*r, 120), rel=1e-6)
    assert found.comparisons["p_holm"].tolist() == pytest.approx(holm(found.comparisons["p_t"]).tolist())
    assert found.comparisons["p_holm"].max() > 2 * found.comparisons["p_holm"].min()


def test_significance_is_antisymmetric_and_follows_the_comparisons(found):
    matrix = found.significance
    assert list(matrix.index) == list(matrix.columns) == list(found.methods.index)
    assert (matrix.to_numpy() == -matrix.to_numpy().T).all()
    for row in found.comparisons.to_dict("records"):
        decided = row["p_holm"] < 0.05
        assert matrix.loc[row["a"], row["b"]] == (np.sign(row["difference"]) if decided else 0)
    assert matrix.loc["a"].tolist() == [0, 0, 1], "a and b are alike, c is worse"
    assert found.methods["not_worse_than_best"].to_dict() == {"a": True, "b": True, "c": False}


@pytest.fixture(scope="module")
def conflicting(tmp_path_factory):
    """One metric knows the reference and little else; the other ranks the versions of a reference, and no
    more."""
    quality = {"knows-references": 5 * OFFSETS + RANDOM.normal(size=120),
               "knows-versions": LABELS - OFFSETS + 10 * RANDOM.normal(size=10)[GROUPS]}
    return quality, _analyse(_store(tmp_path_factory.mktemp("conflict"), quality, LABELS + 4 * OFFSETS))


def test_an_alarm_where_pooled_and_per_reference_order_disagree(conflicting, found):
    _, turned = conflicting
    (alarm,) = turned.alarms
    pooled, within = turned.methods["srcc"], turned.methods["srcc_per_ref"]
    one, other = "knows-references", "knows-versions"
    assert pooled[one] > pooled[other]
    assert within[one] < within[other]
    assert alarm.sure
    assert alarm.text == (
            f"{one} is before {other} pooled ({pooled[one]:.3f}, {pooled[other]:.3f}), but after it "
                          f"within references ({within[one]:.3f}, {within[other]:.3f}), both significantly")
    assert turned.methods["rank_pooled"].tolist() == [1, 2]
    assert turned.methods["rank_per_ref"].tolist() == [2, 1]
    assert "Rank change: 1 pairs of metrics change places" in to_text(turned)
    changed = [pair for pair in combinations(found.methods.index, 2)
               if np.prod([found.methods.loc[pair[0], name] - found.methods.loc[pair[1], name]
                           for name in ("srcc", "srcc_per_ref")]) < 0]
    assert len(found.alarms) == len(changed) == 0, "a, b and c keep their order"


def test_pairs_without_a_usable_score_are_left_out_for_all_and_counted(tmp_path):
    quality = {"a": QUALITY["a"].copy(), "b": QUALITY["b"].copy()}
    quality["b"][[5, 70]] = math.nan
    found = _analyse(_store(tmp_path, quality))
    kept = np.setdiff1d(np.arange(120), [5, 70])
    assert (found.n, found.expected) == (118, 120)
    assert found.methods.loc["a",
                             "srcc"] == pytest.approx(_coefficient(QUALITY["a"][kept], LABELS[kept], "srcc"),
                                                           abs=CLOSE)
    assert "b: 2 of 120 pairs have no usable score; they are left out for every metric" in found.notes
    text = to_text(found)
    assert "118 of 120 pairs" in text
    assert found.notes[-1] in text


def test_a_metric_of_few_pairs_does_not_take_them_from_the_others(tmp_path):
    quality = {name: QUALITY[name].copy() for name in "abc"}
    quality["b"][59:] = math.nan
    quality["c"][60:] = math.nan
    folder = _store(tmp_path, quality)
    found = _analyse(folder)
    assert (set(found.methods.index), found.n) == ({"a", "c"}, 60)
    assert "few pairs: b has scores of 59 of 120, and is left out (--metric keeps it in)" in found.notes
    assert _analyse(folder, metrics=["a", "b"]).n == 59, "as asked for"


def test_a_reference_that_loses_all_its_pairs_is_not_counted(tmp_path):
    found = _analyse(_store(tmp_path, {"a": np.where(GROUPS == 4, math.nan, QUALITY["a"])}))
    assert (found.n, found.references) == (108, 9)


def test_another_order_of_pairs_changes_nothing(tid, tmp_path):
    folder, rows, scores = tid
    write_official(tmp_path / "tid2013_dists.csv", rows, scores["dists"])
    write_official(tmp_path / "tid2013_lpips.csv", rows[::-1], scores["lpips"][::-1])
    one, other = (analyse(open_folder(root), "tid2013", "original", None, QUICK) for root
                  in (folder, tmp_path))
    pd.testing.assert_frame_equal(one.methods, other.methods)
    pd.testing.assert_frame_equal(one.comparisons, other.comparisons)


def test_metrics_of_different_labels_do_not_mix(tmp_path):
    other = LABELS.copy()
    other[3] += 0.1
    folder = _store(tmp_path, {name: QUALITY[name] for name in "ab"}, {"a": LABELS, "b": other})
    found = _analyse(folder)
    assert list(found.methods.index) == ["a"]
    assert any("b/original.csv has other labels than most" in note for note in found.notes)
    with pytest.raises(StoreError, match=r"b/original\.csv has other labels than .*a/original\.csv"):
        _analyse(folder, metrics=["a", "b"])


@pytest.mark.parametrize(("dataset", "perturbation", "metrics", "message"), [
    ("sett", "original", None, "no scores of sett/original in .*; it holds set$"),
    ("set", "rotated", None, "no scores of set/rotated in .*; it holds original$"),
    ("set", "original", ["a", "z"], "no scores of set by z under original; there are a, b, c$"),
])
def test_what_is_not_there_is_answered_with_what_is(folder, dataset, perturbation, metrics, message):
    with pytest.raises(StoreError, match=message):
        analyse(folder, dataset, perturbation, metrics, QUICK)


def test_a_file_that_is_not_whole_is_left_out_and_said_unless_it_was_asked_for(tid, tmp_path):
    _, rows, scores = tid
    write_official(tmp_path / "tid2013_dists.csv", rows, scores["dists"])
    for name, values in {"lpips": rows[:9], "msssim": rows[:9], "msssim copy": rows}.items():
        write_official(tmp_path / f"tid2013_{name}.csv", values, scores["lpips"][:len(values)])
    folder = open_folder(tmp_path)
    found = analyse(folder, "tid2013", "original", None, QUICK)
    assert set(found.methods.index) == {"dists", "ms_ssim"}
    assert any(note.startswith("left out: ") and "tid2013_lpips.csv" in note for note in found.notes)
    assert ("ms_ssim: its own file is not there or not whole; taken from tid2013_msssim copy.csv"
            in found.notes)
    asked = analyse(folder, "tid2013", "original", ["lpips_alex", "dists"], QUICK)
    assert (set(asked.methods.index), asked.n) == ({"dists", "lpips_alex"}, 9)
    (tmp_path / "tid2013_lpips.csv").write_text("no,scores\n")
    with pytest.raises(StoreError, match="tid2013_lpips.csv cannot be read"):
        analyse(open_folder(tmp_path), "tid2013", "original", ["lpips_alex"], QUICK)


def test_no_usable_pairs_and_no_replicates_are_errors(tmp_path, folder):
    with pytest.raises(StoreError, match="at least 1 replicate, found 0"):
        _analyse(folder, AnalysisSettings(replicates=0))
    with pytest.raises(StoreError, match="only 2 pairs have a usable score by every metric"):
        _analyse(_store(tmp_path, {"a": [1.0, 2.0, *[math.nan] * 118]}))


def test_one_metric_alone_has_no_comparisons(folder, tmp_path):
    found = _analyse(folder, metrics=["b"])
    assert found.comparisons.empty
    assert found.significance.to_numpy().tolist() == [[0]]
    assert found.methods["not_worse_than_best"].tolist() == [True]
    assert found.alarms == []
    assert "compared" not in to_text(found)
    assert {path.suffix for path in write(found, tmp_path)} == {".csv", ".json"}


def test_types_like_formulas_have_an_apostrophe(folder, tmp_path):
    found = _analyse(folder)
    types = found.types.rename(columns={name: f"=cmd|{name}" for name in found.types.columns[:1]})
    write(replace(found, types=types), tmp_path)
    (path,) = tmp_path.glob("*_types.csv")
    table = pd.read_csv(path, index_col=0)
    assert list(table.columns) == [f"'{name}" if name.startswith("=") else name for name in types.columns]
    np.testing.assert_array_equal(table, types)


def test_a_metric_given_twice_counts_once(folder):
    found = _analyse(folder, metrics=["b", "a", "b"])
    assert list(found.methods.index) == ["a", "b"]
    assert len(found.comparisons) == 1


def test_three_pairs_are_too_few_for_williams_but_no_crash(tmp_path):
    found = _analyse(_store(tmp_path, {"a": [1.0, 2.0, 4.0], "b": [2.0, 1.0, 3.0]}, [1.0, 2.0, 3.0],
                            refs=["r", "s", "t"], kinds=["x"] * 3))
    assert found.comparisons["difference"].tolist() == pytest.approx([0.5])
    assert found.comparisons["p_williams"].isna().all()


def test_a_metric_without_a_coefficient_is_not_among_the_best(tmp_path):
    found = _analyse(_store(tmp_path, {"a": np.zeros(120), "b": QUALITY["b"]}))
    assert list(found.methods.index) == ["b", "a"]
    assert math.isnan(found.methods.loc["a", "srcc"])
    assert found.significance.to_numpy().tolist() == [[0, 0], [0, 0]]
    assert found.methods["not_worse_than_best"].to_dict() == {"b": True, "a": False}


def test_one_reference_decides_nothing(tmp_path):
    """References are the unit of generalisation: with a single one, there is no error to estimate."""
    found = _analyse(_store(tmp_path, {"a": QUALITY["a"], "c": QUALITY["c"]}, refs=["r"] * 120))
    assert found.references == 1
    assert not found.significance.to_numpy().any()
    assert found.comparisons[["p", "p_t", "p_holm"]].isna().all(axis=None)
    assert found.methods[["srcc_low", "srcc_high"]].isna().all(axis=None)


@pytest.mark.parametrize("name", COEFFICIENTS)
def test_metrics_that_differ_by_rounding_alone_do_not_differ(tmp_path, name):
    random = np.random.default_rng(0)
    quality = {f"m{number}": random.uniform(0.01, 100) * QUALITY["a"] + 10 * random.normal() for number
               in range(6)}
    found = _analyse(_store(tmp_path, quality), AnalysisSettings(coefficient=name, replicates=50))
    assert found.comparisons["p_t"].tolist() == [1] * 15, "the last bits are no evidence"
    assert found.alarms == []
    assert found.methods["not_worse_than_best"].all()


def test_kendall_has_no_test_for_independent_pairs_and_the_text_promises_none(folder):
    text = to_text(_analyse(folder, AnalysisSettings(coefficient="krcc", replicates=20)))
    assert "KRCC compared" in text
    assert "p_wilcoxon: over references." in text
    assert "Williams" not in text


@pytest.mark.slow
@pytest.mark.parametrize("parameters", [4, 5])
def test_the_logistic_curve_may_have_four_or_five_parameters(folder, parameters):
    found = _analyse(folder, AnalysisSettings(replicates=20, logistic=parameters))
    for metric, row in found.methods.iterrows():
        fit = fit_logistic(QUALITY[metric], LABELS, parameters)
        assert (row["plcc_mapped"], row["rmse"]) == pytest.approx((fit.plcc, fit.rmse), rel=1e-9)


def test_a_curve_that_cannot_be_fitted_is_said_and_not_replaced(tmp_path):
    found = _analyse(_store(tmp_path, {"a": QUALITY["a"], "wrong": -QUALITY["c"]}))
    assert math.isnan(found.methods.loc["wrong", "plcc_mapped"])
    assert [note for note in found.notes if note.startswith("logistic curve of wrong: ")
            and "wrong sign" in note]
    assert "n/a" in to_text(found)


def test_the_seed_is_recorded_and_decides_the_intervals(folder):
    one, again, other = (_analyse(folder, AnalysisSettings(replicates=50, seed=seed)) for seed in (1, 1, 2))
    pd.testing.assert_frame_equal(one.methods, again.methods)
    pd.testing.assert_frame_equal(one.comparisons, again.comparisons)
    assert one.methods["srcc_low"].tolist() != other.methods["srcc_low"].tolist()
    assert one.methods["srcc"].tolist() == other.methods["srcc"].tolist()
    assert "50 resamples of the references, seed 1" in to_text(one)


def test_everything_is_written(found, tmp_path):
    paths = write(found, tmp_path / "new")
    assert sorted(paths) == sorted((tmp_path / "new").iterdir())
    by_name = {path.name.removeprefix("set_original_"): path for path in paths}
    assert set(by_name) == {"methods.csv", "types.csv", "within.csv", "comparisons.csv", "significance.csv",
                            "analysis.json", "significance.png", "significance.pdf"}
    assert by_name["significance.png"].read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    assert by_name["significance.pdf"].read_bytes().startswith(b"%PDF-")
    about = json.loads(by_name["analysis.json"].read_text(), parse_constant=pytest.fail)
    assert (about["seed"], about["replicates"], about["interval"],
            about["level"]) == (0, 50, "percentile", 0.95)
    assert (about["pairs"], about["pairs_of_the_data_set"], about["references"]) == (120, 120, 10)
    assert about["label_variance_between_references"] == found.label_share
    assert about["notes"] == found.notes
    assert "a caveat" in found.notes
    for name, index in (("methods", "metric"), ("types", "metric"), ("significance", "metric"),
                        ("comparisons", None)):
        read = pd.read_csv(by_name[f"{name}.csv"], index_col=index)
        if name == "methods":  # pandas reads an empty text as NaN
            assert read["unlike_authors"].isna().all()
            read["unlike_authors"] = ""
        pd.testing.assert_frame_equal(read, getattr(found, name), check_dtype=False, rtol=1e-12)


def test_the_json_is_valid_where_nothing_is_defined(tmp_path):
    found = _analyse(_store(tmp_path / "store", {"a": QUALITY["a"]}, np.ones(120)))
    (about,) = [path for path in write(found, tmp_path / "out") if path.suffix == ".json"]
    json.loads(about.read_text(), parse_constant=pytest.fail)


def test_the_text_has_the_essentials(found):
    text = to_text(found)
    for part in ("set/original: 120 of 120 pairs, 10 references",
                 f"{found.label_share:.1%} of the labels' variance",
                 "intervals: 95%, percentile, 50 resamples of the references, seed 0",
                 "SRCC by distortion type",
                 "blur: (40 pairs)", "SRCC compared", "p after Holm over 3 comparisons",
                 "Williams, Steiger, Zou: assume independent pairs",
                 "best, and not significantly worse than it: a, b",
                 "a caveat"):
        assert part in text
    row = found.methods.loc["a"]
    assert f"{row['srcc']:.3f} [{row['srcc_low']:.3f}, {row['srcc_high']:.3f}]" in text


def test_many_comparisons_are_shown_as_a_matrix(tmp_path):
    quality = {f"m{number}": LABELS + (0.3 + number / 3) * np.random.default_rng(number).normal(size=120)
               for number in range(7)}
    found = _analyse(_store(tmp_path, quality))
    text = to_text(found)
    assert "+ the row's is better, - it is worse, . undecided" in text
    for metric, row in found.significance.iterrows():
        assert f"  {metric}  " + "".join("-.+"[value + 1] for value in row) in text
    assert set(found.significance.to_numpy().ravel()) == {-1, 0, 1}


def test_the_authors_live_and_tid2013(authors):
    """STATISTICS.md of the reference material: 2 % of LIVE's label variance lies between references."""
    folder = open_folder(authors)
    live = analyse(folder, "live", "original", ["psnr"], QUICK)
    assert live.label_share == pytest.approx(0.02, abs=0.005)  # printed as a whole per cent
    assert (live.n, live.references) == (779, 29)
    tid = analyse(folder, "tid2013", "original", ["psnr", "lpips_vgg"], QUICK)
    # The release's readme: PSNRc has an SROCC of 0.687, a KROCC of 0.496.
    assert tid.methods.loc["psnr", ["srcc", "krcc"]].tolist() == pytest.approx([0.687, 0.496], abs=5e-4)
    assert len(tid.alarms) == 1


def test_the_mean_over_references_has_an_interval_from_the_same_resamples(folder):
    found = _analyse(folder, AnalysisSettings(replicates=50))
    for metric, row in found.methods.iterrows():
        within = per_reference(QUALITY[metric], LABELS, REFS)["srcc"]
        means = draw(10, 50) @ within / 10
        ends = row["srcc_per_ref_low"], row["srcc_per_ref_high"]
        assert ends == pytest.approx(percentile_interval(means)[:2], abs=CLOSE)
    corrected = holm(found.comparisons["p_wilcoxon"])
    assert found.comparisons["p_wilcoxon_holm"].tolist() == pytest.approx(corrected.tolist())
