import json

import numpy as np
import pytest
from conftest import noisy, official_rows, write_official, write_stored
from scipy import stats

from zsiqa.evaluation.audit import audit
from zsiqa.evaluation.correlation import correlate
from zsiqa.evaluation.half_grid import is_on_half_grid, tie_range
from zsiqa.evaluation.measurement import Measurer
from zsiqa.report.audit import to_json, to_text
from zsiqa.results.folder import open_folder
from zsiqa.results.pair_list import write_pairs
from zsiqa.results.score_file import ScoreFile
from zsiqa.results.scores import ScoreKey
from zsiqa.types import ImagePair

ROWS = official_rows("tid2013")
LABELS = np.array([mos for _, _, mos in ROWS])
STEMS = {dis.lower().removesuffix(".bmp"): row for row, (dis, _, _) in enumerate(ROWS)}
METHODS = ("dists", "lpips", "lpips_vgg", "msssim")
FIRST = "tid2013_dists.csv"
# Equal images: a rule that holds for every reference, and a single pair.
COPIES = [(f"i{ref:02}_02_3", f"i{ref:02}_05_4") for ref in range(1, 26)] + [("i07_10_1", "i07_11_2")]


def _audit(folder):
    return audit(Measurer(open_folder(folder)))


def _problems(found):
    return {one.file: one.problem for one in found.file_findings}


def _with_copies(scores):
    for one, other in COPIES:
        scores[STEMS[other]] = scores[STEMS[one]]
    return scores


@pytest.fixture
def folder(tmp_path):
    """Four whole files of TID2013 in which nothing is wrong."""
    for seed, method in enumerate(METHODS):
        write_official(tmp_path / f"tid2013_{method}.csv", ROWS, noisy(ROWS, seed))
    return tmp_path


@pytest.fixture(scope="module")
def duplicates(tmp_path_factory):
    """Six metrics over equal images; EfficientNet's WSD scores them anew each time, and FSIMc has the wrong
    sign."""
    folder = tmp_path_factory.mktemp("duplicates")
    scores = {f"tid2013_{method}.csv": _with_copies(noisy(ROWS, seed)) for seed, method in enumerate(METHODS)}
    scores["tid2013_fsim.csv"] = -_with_copies(noisy(ROWS, 8))
    scores["tid2013_deep_wsd_eff.csv"] = _with_copies(noisy(ROWS, 9)) + np.random.default_rng(0).normal(
        0, 3, len(ROWS))
    for name, values in scores.items():
        write_official(folder / name, ROWS, values)
    return scores, _audit(folder)


@pytest.fixture(scope="module")
def real(authors):
    return _audit(authors)


def _store(root, metrics, count=8, perturbations=("original",), refs=("A0001", "A0002", "A0003")):
    """Our own files of a data set `set`, named as PIPAL's; `metrics` give scores from their number and that
    of the perturbation."""
    refs = [ref for ref in refs for _ in range(count)]
    ids = [f"set/{ref}_02_{place % count:02}" for place, ref in enumerate(refs)]
    for metric, scores in metrics.items():
        for number, name in enumerate(perturbations):
            write_stored(root, ScoreKey("set", metric, name), scores(len(ids), number),
                         1000.0 + np.arange(len(ids)), ids=ids, types=["02"] * len(ids),
                         refs=[f"{ref}.bmp" for ref in refs], identity={"metric": metric})
    return root


def _falling(seed):
    """Scores (distances) that fall as the labels of `_store` rise, with noise; images 0 and 1 of a reference
    equal."""
    def scores(total, number):
        values = -np.arange(total) + np.random.default_rng([seed, number]).normal(size=total)
        values[1::8] = values[::8]
        return values
    return scores


def test_a_clean_folder_has_no_findings(folder):
    found = _audit(folder)
    assert (found.files, found.complete) == (4, {"tid2013": 4})
    assert found.file_findings == found.duplicates == found.non_deterministic == []
    assert found.half_precision == found.wrong_sign == []
    assert found.agreement == {
        "tid2013": "4 files with a row for every pair, 4 with one and the same sequence of pairs and labels, "
                   "which is not that of commit 1d8c1ce; the labels are not those of the release"}
    assert (found.unchecked, found.file_findings) == (4, [])


def _write(rows=ROWS, scores=None, name=FIRST):
    return lambda folder: write_official(folder / name, rows, noisy(rows, 7) if scores is None else scores)


def _text(change, name=FIRST):
    return lambda folder: (folder / name).write_text(change((folder / FIRST).read_text()))


def _replaced(row, place, value):
    rows = list(ROWS)
    rows[row] = tuple(value if column == place else old for column, old in enumerate(rows[row]))
    return rows


@pytest.mark.parametrize(("damage", "file", "problem"), [
    (_text(lambda _: ""), FIRST, "expected the columns dis,ref,mos,pred, found nothing"),
    (_text(lambda text: text.splitlines()[0] + "\n"), FIRST, "a header and no rows"),
    (_write(ROWS[:100]), FIRST, "cut short: 100 of 3000 rows"),
    (_text(lambda text: text, "tid2013_lpips.csv"), "tid2013_dists.csv",
     "the same content, byte for byte, as tid2013_lpips.csv"),
    (_write(scores=[np.nan, 1, np.inf, *range(2997)]), FIRST,
     "2 of 3000 scores are absent, NaN or infinite: tid2013/i01_01_1, tid2013/i01_01_3"),
    (_text(lambda text: text.replace("pred", "score", 1)), FIRST,
     "expected the columns dis,ref,mos,pred, found dis,ref,mos,score"),
    (_write(_replaced(0, 0, "x.png")), FIRST, "line 2: expected a name like"),
    (_write(_replaced(0, 2, "good"), noisy(ROWS, 7)), FIRST, "not a table of dis,ref,mos,pred"),
    (_write([*ROWS, ROWS[0]]), FIRST, "3001 rows, more than tid2013 has"),
    (_write([*ROWS[:-1], ROWS[0]]), FIRST, "the pair tid2013/i01_01_1 is listed twice"),
    (_write(name="tid2013_mystery.csv"), "tid2013_mystery.csv", "the name is that of no metric"),
    (_write(name="kadid_dists.csv"), "kadid_dists.csv", "expected a name <dataset>_"),
    (_write(name="tid2013_dists copy.csv"), "tid2013_dists copy.csv",
     "a copy of tid2013_dists.csv, by its name"),
    (_write(_replaced(1, 2, 5.0)), FIRST, "1 labels differ from those of the other files: tid2013/i01_01_2"),
    (_write(_replaced(2999, 0, "i26_01_1.bmp")), FIRST,
     "1 pairs that the other files do not have: tid2013/i26_01_1"),
    (_write(_replaced(1, 1, "I02.BMP")), FIRST,
     "1 pairs have another reference than in the other files: tid2013/i01_01_2"),
])
def test_an_odd_file_is_named_with_what_is_wrong(folder, damage, file, problem):
    damage(folder)
    problems = _problems(_audit(folder))
    assert list(problems) == [file]
    assert problem in problems[file]


def test_files_that_hold_the_same_part_of_a_data_set_are_not_cut_short(tmp_path):
    for seed, method in enumerate(METHODS):
        write_official(tmp_path / f"tid2013_{method}.csv", ROWS[:100], noisy(ROWS[:100], seed))
    said = "a part of the data set, the same in each file: 100 of 3000 rows"
    assert set(_problems(_audit(tmp_path)).values()) == {said}
    _write(ROWS[:99])(tmp_path)
    assert sorted(set(_problems(_audit(tmp_path)).values())) == [
        "cut short: 100 of 3000 rows", "cut short: 99 of 3000 rows"]


@pytest.mark.parametrize("rows", [ROWS[::-1], [(dis.swapcase(), ref.lower(), mos) for dis, ref, mos in ROWS]])
def test_another_order_or_case_is_no_finding(folder, rows):
    _write(rows)(folder)
    found = _audit(folder)
    assert found.file_findings == []
    assert found.complete == {"tid2013": 4}


def test_duplicates_are_found_in_files_of_another_order(folder):
    for seed, method in enumerate(METHODS):
        scores, order = _with_copies(noisy(ROWS, seed)), np.random.default_rng(seed).permutation(len(ROWS))
        write_official(folder / f"tid2013_{method}.csv", [ROWS[row] for row in order], scores[order])
    (same,) = _audit(folder).duplicates
    assert same.pairs == len(COPIES)


def test_a_file_with_gaps_says_nothing_about_duplicates_and_stops_nothing(folder):
    for seed, method in enumerate(METHODS):
        write_official(folder / f"tid2013_{method}.csv", ROWS, _with_copies(noisy(ROWS, seed)))
    _write(scores=[np.nan, *noisy(ROWS, 3)[1:]])(folder)
    found = _audit(folder)
    assert found.duplicates[0].pairs == len(COPIES)
    assert set(found.duplicates[0].without) == {"ms_ssim", "lpips_alex", "lpips_vgg"}


def test_equal_images_their_pattern_and_their_labels(duplicates):
    _, found = duplicates
    (same,) = found.duplicates
    rows = np.array([[STEMS[one], STEMS[other]] for one, other in COPIES])
    difference = np.abs(LABELS[rows[:, 0]] - LABELS[rows[:, 1]])
    assert (same.dataset, same.images, same.pairs, same.references) == ("tid2013", 52, 26, 25)
    assert same.patterns == ((("*_02_3", "*_05_4"), 25), (("*_10_1", "*_11_2"), 1))
    assert sorted(same.groups) == sorted(tuple(f"tid2013/{stem}" for stem in pair) for pair in COPIES)
    assert same.label_difference == pytest.approx(
            (difference.mean(), np.median(difference), difference.max()))
    assert same.label_sd == pytest.approx(LABELS.std())


def test_what_leaving_equal_images_out_does_equals_a_direct_computation(duplicates):
    scores, found = duplicates
    (same,) = found.duplicates
    kept = np.setdiff1d(np.arange(len(ROWS)), [STEMS[stem] for pair in COPIES for stem in pair])
    assert set(same.without) == {"dists", "lpips_alex", "lpips_vgg", "ms_ssim", "fsimc",
                                 "efficientnet_b7-features-wsd"}
    for metric, file in (("dists", FIRST), ("fsimc", "tid2013_fsim.csv")):
        before, after = (correlate(scores[file][some], LABELS[some])
                         for some in (slice(None), kept))
        for name, values in same.without[metric]["original"].items():
            # The same numbers in the same order.
            assert values == pytest.approx((getattr(before, name), getattr(after, name)), rel=1e-12)


def test_a_metric_that_was_not_deterministic_is_named_with_the_rows_that_rest_on_it(duplicates):
    scores, found = duplicates
    (one,) = found.non_deterministic
    assert (one.dataset, one.metric, one.perturbations) == ("tid2013",
                                                            "efficientnet_b7-features-wsd", ("original",))
    assert one.equal_share == 0
    values = scores["tid2013_deep_wsd_eff.csv"]
    squares = [(values[STEMS[a]] - values[STEMS[b]]) ** 2 for a, b in COPIES]
    assert one.noise_share == pytest.approx(np.mean(squares) / 2 / values.var(), rel=1e-12)
    ranks = stats.rankdata(values)
    squares = [(ranks[STEMS[a]] - ranks[STEMS[b]]) ** 2 for a, b in COPIES]
    assert one.rank_noise_share == pytest.approx(np.mean(squares) / 2 / ranks.var(), rel=1e-12)
    assert one.printed_in == ("table2: WSD, EfficientNet", "table3: Training-free, WSD, EfficientNet")


def test_a_wrong_sign_is_named_beside_the_printed_figures(folder):
    write_official(folder / "tid2013_dinov1_l2.csv", ROWS, -noisy(ROWS, 8))
    write_official(folder / FIRST, ROWS, -noisy(ROWS, 8) + 1)
    first, second = _audit(folder).wrong_sign
    assert (first.dataset, first.metric, first.perturbation) == ("tid2013", "dinov1-features-l2", "original")
    assert set(first.printed) == {"plcc", "srcc"}  # Table 2
    assert min(first.printed.values()) > 0
    expected = correlate(-noisy(ROWS, 8), LABELS)
    assert [first.values[name] for name in ("plcc", "srcc", "krcc")] == pytest.approx(expected[:3], rel=1e-12)
    assert (second.metric, second.printed) == ("dists", {})


def test_contradictions_of_the_paper_need_no_scores(tmp_path):
    found = _audit(tmp_path)
    assert found.counts == {"match": 0, "mislabelled": 0, "wrong file": 0, "drift": 0, "partial": 0,
                            "missing": 756}
    assert len(found.contradictions) == 8
    assert found.contradictions[
            0] == "clip_rn50-features-cosine, pipal/original/srcc: 0.581 in table1, 0.598 in table3"
    assert {line.partition(",")[0] for line in found.contradictions} == {"clip_rn50-features-cosine",
                                                                         "clip_convnext-features-cosine"}


def test_the_json_is_plain_complete_and_has_stable_keys(duplicates):
    _, found = duplicates
    data = json.loads(to_json(found))
    assert list(data) == ["scores", "counts", "odd_rows", "contradictions_in_the_paper", "files", "unchecked",
                          "complete", "agreement", "file_findings", "identical_images", "not_deterministic",
                          "half_precision", "wrong_sign", "cells"]
    assert len(data["cells"]) == sum(data["counts"].values()) == 756
    assert {"table", "method", "representation", "distance", "dataset", "perturbation", "metric",
            "paper", "value",
            "delta", "verdict", "n", "source file", "n expected", "why", "scale",
            "as_authors", "unlike_authors"} == set(data["cells"][0])
    for cell in data["cells"]:
        assert (cell["value"] is None) == (cell["verdict"] == "missing")
    assert data["identical_images"][0]["patterns"][0] == [["*_02_3", "*_05_4"], 25]
    assert data["identical_images"][0]["without"]["dists"]["original"]["srcc"][0] > 0.5
    assert data["not_deterministic"][0]["metric"] == "efficientnet_b7-features-wsd"
    assert data["wrong_sign"][0]["metric"] == "fsimc"


def test_the_text_has_the_essentials(duplicates):
    _, found = duplicates
    text = to_text(found)
    for part in ("756 printed cells: 0 match", "drift: table2, WSD, EfficientNet: 2 cells", "is not 0.",
                 "6 files", "tid2013: 6 files with a row for every pair",
                 "tid2013: 52 images of 25 references are copies",
                 "*_02_3 = *_05_4 in 25 references", "without all of them SRCC changes by",
                 "efficientnet_b7-features-wsd (printed: table2: WSD, EfficientNet; table3: ",
                 "tid2013/fsimc/original: plcc -0.", "The paper prints one quantity with two figures"):
        assert part in text


def test_a_constant_metric_does_not_spoil_the_text(duplicates, tmp_path):
    scores, _ = duplicates
    for name, values in scores.items():
        write_official(tmp_path / name, ROWS, values)
    _write(scores=np.zeros(len(ROWS)), name="tid2013_clip_vitb32_l2.csv")(tmp_path)  # the first in the folder
    found = _audit(tmp_path)
    assert found.duplicates[0].pairs == len(COPIES)
    assert not [line for line in to_text(found).splitlines() if "nan" in line and "without them" in line]
    json.loads(to_json(found))


def test_equal_scores_of_one_metric_under_four_perturbations_are_no_proof(tmp_path):
    """A coarse metric has ties, and has them under every perturbation: its four files are one witness, not
    four."""
    store = _store(tmp_path, {"net-features-jsd": _falling(1)},
                   perturbations=("dilate", "original", "rotate"))
    assert _audit(store).duplicates == []


def test_our_own_store_is_audited_alike(tmp_path):
    store = _store(tmp_path, {f"net-features-{name}": _falling(len(name)) for name in ("l2", "wsd", "skld")})
    found = _audit(store)
    (same,) = found.duplicates
    assert (same.pairs, same.images, same.references) == (3, 6, 3)
    assert same.patterns == (
            (("*_02_00", "*_02_01"), 3),), "our own files spell the reference with its ending"
    assert found.agreement == {"set": "3 files with a row for every pair"}


def test_a_damaged_file_of_our_own_store_is_named_with_its_folder(tmp_path):
    store = _store(tmp_path, {"net-features-l2": _falling(0)})
    (store / "set/net-features-l2/original.csv").write_text("pair_id,score\n")
    assert list(_problems(_audit(store))) == ["set/net-features-l2/original.csv"]


def test_the_authors_rows_of_table_1_are_exchanged(real):
    assert real.counts["drift"] == 0
    odd = {(row.table, row.group, row.name): row for row in real.odd_rows if row.verdict == "mislabelled"}
    other = {"CLIP-RN50": "clip_convnext", "CLIP-ConvNext": "clip_rn50"}
    assert set(odd) == {("table1", group, name) for group in other for name in ("embedding", "features")}
    for (_, group, name), row in odd.items():
        assert f"those of {other[group]}-{name}-cosine agree in all" in row.why
    # all of TID2013 is there, of PIPAL what fits the repository
    assert all(row.cells >= 4 for row in odd.values())


def test_the_authors_wrong_file(real):
    (row,) = [row for row in real.odd_rows if row.verdict == "wrong file"]
    assert (row.table, row.metric, row.cells) == ("table3", "imagenet_vit-features-cosine", 3)
    assert row.sources == ("pipal_imagenet_vit_cos copy.csv",)
    assert "pipal_imagenet_vit_cos.csv: 296 of 23200 rows" in row.why
    assert "cut short: 296 of 23200 rows" in _problems(real)["pipal_imagenet_vit_cos.csv"]


def test_the_authors_empty_and_cut_files(real):
    problems = _problems(real)
    assert "a header and no rows" in problems["live_clip_rn50_l2.csv"]
    assert "cut short: 6 of 779 rows" in problems["live_openclip_convnext_base_l2.csv"]
    for dataset in ("live", "tid2013"):
        assert real.complete[dataset] == 168
        assert real.agreement[dataset].endswith(
            "168 with one and the same sequence of pairs and labels, that of commit 1d8c1ce; the labels are "
            "those of the release")


def test_the_equal_images_of_live(real):
    (same,) = [one for one in real.duplicates if one.dataset == "live"]
    assert (same.pairs, same.images) == (17, 31)
    assert sorted(map(len, same.groups)) == [2] * 14 + [3]
    assert all(name.startswith("live/jpeg/") for group in same.groups for name in group)
    assert {one.dataset for one in real.duplicates} <= {"live", "pipal"}


def test_the_authors_metrics_that_were_not_deterministic(real, authors):
    metrics = {key.metric for key in open_folder(authors).files if key.dataset == "live"}
    chance = {one.metric: one for one in real.non_deterministic if one.dataset == "live"}
    expected = {metric for metric in metrics for word in ("convnext", "efficientnet", "swd")
                if word in metric}
    lacking = {"clip_convnext-features-l2"}  # LIVE's file of it has 6 rows
    assert set(chance) == expected - lacking
    assert all(len(one.perturbations) == 4 for one in chance.values())
    assert chance["efficientnet_b7-features-jsd"].printed_in == (
        "table2: JSD, EfficientNet", "table3: Training-free, JSD, EfficientNet")


def test_a_mislabelled_row_rests_on_the_files_whose_figures_it_prints(real):
    on_pipal = {one.metric: one for one in real.non_deterministic if one.dataset == "pipal"}
    assert on_pipal["clip_convnext-embedding-cosine"].printed_in == ("table1: CLIP-RN50, embedding",)
    assert on_pipal["clip_convnext-features-cosine"].printed_in == (
        "table1: CLIP-RN50, features", "table3: Training-free, cosine, CLIP-ConvNext")


def test_a_file_that_cannot_be_read_is_a_finding_and_stops_nothing(folder):
    (folder / "tid2013_lpips.csv").unlink(missing_ok=True)
    (folder / "tid2013_lpips.csv").symlink_to(folder / "nowhere.csv")
    problems = {one.file: one.problem for one in _audit(folder).file_findings}
    assert "cannot be read" in problems["tid2013_lpips.csv"] or "No such file" in problems[
            "tid2013_lpips.csv"]


def test_too_few_metrics_are_not_searched_for_equal_images(tmp_path):
    write_official(tmp_path / FIRST, ROWS, noisy(ROWS, 1))
    assert ("tid2013: not searched for equal images; that takes complete scores of 3 metrics, found 1"
            in to_text(_audit(tmp_path)))


def _in_half(seed, tiles=6, count=3000, levels=40):
    """Means over tiles of float16 numbers that rise with the labels."""
    random = np.random.default_rng(seed)
    quality = np.sort(random.uniform(size=count))[np.argsort(np.argsort(LABELS))]
    steps = np.rint(levels * (quality[:, None] + random.normal(0, 0.2, (count, tiles))).clip(0))
    return (steps / levels).astype(np.float16).astype(float).mean(1)


@pytest.mark.parametrize("tiles", [1, 4, 6, 9, 12])
@pytest.mark.parametrize(("precision", "found"),
                         [(np.float16, True), (np.float32, False), (np.float64, False)])
def test_a_half_precision_grid_is_found_whatever_the_metric(tiles, precision, found):
    """Twelve layers a tile, added up in float64, of sizes that differ by a factor of 10; and single
    values."""
    random = np.random.default_rng(tiles)
    layers = np.exp(random.normal(-4, 0.6, (300, tiles, 12))).astype(precision)
    assert is_on_half_grid(layers.astype(float).sum(2).mean(1)) == found
    assert is_on_half_grid(layers[..., 0].astype(float).mean(1)) == found
    # 1 - x in float32 has few bits where x is near 1, but a fine step.
    near_1 = (1 - 0.1 * random.uniform(size=(300, tiles))).astype(precision)
    assert is_on_half_grid((1 - near_1).astype(float).mean(1)) == found


@pytest.mark.parametrize("scores", [np.arange(100.0), np.zeros(100), np.full(100, 1 / 3),
                                    np.arange(100) / 100, np.arange(29) / 64 + 1 / 512])
def test_other_coarse_scores_are_no_half_precision_grid(scores):
    """Whole numbers, constants, decimals, and too few different ones (29)."""
    assert not is_on_half_grid(scores)


def test_what_ties_can_have_cost_is_bounded(folder):
    scores = write_official(folder / "tid2013_clip_vitb32_jsd.csv", ROWS, _in_half(0))
    (one,) = _audit(folder).half_precision
    assert (one.dataset, one.metric, one.perturbation) == ("tid2013", "clip_vitb32-features-jsd", "original")
    values, counts = np.unique(scores, return_counts=True)
    assert (one.scores, one.distinct, one.tied) == (3000, len(values), counts[counts > 1].sum())
    for name, statistic in (("srcc", stats.spearmanr), ("krcc", stats.kendalltau)):
        as_is, low, high = one.values[name]
        assert as_is == pytest.approx(statistic(scores, LABELS).statistic, rel=1e-12)  # the same numbers
        assert low < as_is < high
        tiny = np.diff(values).min() / 2000
        random = np.random.default_rng(1)
        for broken in (random.uniform(size=3000), random.normal(LABELS, 30).argsort().argsort() / 3000):
            assert low <= statistic(scores + tiny * broken, LABELS).statistic <= high
        ranks = LABELS.argsort().argsort() / 3000
        assert statistic(scores + tiny * ranks, LABELS).statistic == pytest.approx(high, rel=1e-12)
        assert statistic(scores - tiny * ranks, LABELS).statistic == pytest.approx(low, rel=1e-12)
    text = to_text(_audit(folder))
    assert f"clip_vitb32-features-jsd, 1 file: {len(values):,} different ones of 3,000 scores, " in text
    assert json.loads(to_json(_audit(folder)))["half_precision"][0]["distinct"] == len(values)


@pytest.mark.parametrize("sign", [1, -1])
def test_the_range_of_a_metric_that_agrees_or_is_wrong(sign):
    found = tie_range(sign * np.array([0.0, 0, 1, 1]), sign * np.array([1.0, 2, 3, 4]))
    # 4 of 6 pairs are ordered; the others against, or along
    assert found["krcc"][1:] == pytest.approx((2 / 6, 1))
    assert found["srcc"][1:] == pytest.approx((0.6, 1))


def test_the_authors_half_precision(real):
    """OpenAI's CLIP, but for WSD and SWD, whose features the official code makes float32 first; and nothing
    else."""
    found = {(one.dataset, one.metric, one.perturbation): one for one in real.half_precision}
    metrics = {"clip_vitb32-features-cosine", "clip_vitb32-features-jsd", "clip_vitb32-features-l2",
               "clip_vitb32-features-skld", "clip_vitb32-embedding-cosine", "clip_rn50-features-cosine",
               "clip_rn50-embedding-cosine"}
    perturbations = {"original", "translate", "dilate", "rotate"}
    assert {key for key in found if key[0] != "pipal"} == {
        (dataset, metric, perturbation) for dataset in ("live", "tid2013") for metric in metrics
        for perturbation in perturbations}
    jsd = found["tid2013", "clip_vitb32-features-jsd", "original"]
    assert (jsd.distinct, jsd.tied) == (312, 2866)
    # as docs/audit.md says
    assert jsd.values["krcc"][2] - jsd.values["krcc"][0] == pytest.approx(0.026, abs=5e-4)


def test_a_store_in_parts_is_audited_as_it_is_read(tmp_path):
    """Parts that no run has joined: their scores count, and no CSV file is missed."""
    rows = ROWS[:50]
    pairs = [
        ImagePair(f"tid2013/{dis.rpartition('.')[0].lower()}", ref, dis, mos, tmp_path / ref, tmp_path / dis)
             for dis, ref, mos in rows]
    file = ScoreFile(tmp_path / "tid2013/psnr/original.csv", {"baseline": {"name": "psnr"}})
    file.path.parent.mkdir(parents=True)
    file.begin({"dataset": {"pairs": 50, "higher_is_better": False}, "notes": [],
                "pairs_file": write_pairs(tmp_path / "tid2013", pairs)}, {})
    for number, pair in enumerate(pairs[:40]):
        file.append(pair.pair_id, float(number))
    file.close()
    found = _audit(tmp_path)
    [finding] = found.file_findings
    assert finding.problem.startswith(
            "cut short: 50 of 3000 rows; 10 of 50 scores are absent, NaN or infinite")
    assert not file.path.exists()
