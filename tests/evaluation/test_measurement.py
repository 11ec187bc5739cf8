import math
import warnings

import numpy as np
import pytest
from conftest import noisy, official_rows, write_official
from scipy import optimize, stats

from zsiqa.evaluation.bootstrap import draw
from zsiqa.evaluation.measurement import STATISTICS, Measurement, Measurer
from zsiqa.results.folder import open_folder
from zsiqa.results.official import OfficialFolder
from zsiqa.results.scores import ScoreKey
from zsiqa.types import StoreError

PSNR = ScoreKey("live", "psnr", "original")  # DMOS, and a similarity: the raw correlation is turned
FSIM = ScoreKey("live", "fsimc", "original")  # DMOS, and a distance
ROWS = official_rows("live")
LABELS = np.array([mos for *_, mos in ROWS])
# scipy sums the same few hundred float64 values in another order.
TOLERANCE = 1e-12


class CountingFolder(OfficialFolder):
    loads = 0

    def load(self, key, path):
        self.loads += 1
        return super().load(key, path)


@pytest.fixture
def measure(tmp_path):
    """Measure a file of PSNR with these scores."""
    def write_and_measure(scores, statistics=STATISTICS, rows=ROWS):
        write_official(tmp_path / "live_psnr.csv", rows, scores)
        return Measurer(open_folder(tmp_path)).measure(PSNR, tmp_path / "live_psnr.csv", statistics)

    return write_and_measure


def _scipy(scores, labels):
    return [float(test(scores, labels).statistic) for test
            in (stats.pearsonr, stats.spearmanr, stats.kendalltau)]


@pytest.mark.parametrize("ties", [False, True])
def test_the_paper_s_coefficients_are_those_of_scipy(measure, ties):
    scores = noisy(ROWS, 0)
    scores = np.round(scores / 20) if ties else scores
    found = measure(scores, ["plcc"])
    assert set(found.values) == {"plcc", "srcc", "krcc"}, "they are had together"
    assert list(found.values.values()) == pytest.approx(
            [-value for value in _scipy(scores, LABELS)], abs=TOLERANCE)
    assert (found.n, found.rows, found.expected, found.problem, found.whole) == (779, 779, 779, "", True)


def test_the_sign_comes_from_the_directions_of_scores_and_labels(tmp_path):
    for name in ("live_psnr.csv", "live_fsim.csv"):
        write_official(tmp_path / name, ROWS, noisy(ROWS, 0))
    measurer = Measurer(open_folder(tmp_path))
    psnr, fsim = (measurer.measure(key, measurer.folder.files[key]).values for key in (PSNR, FSIM))
    assert fsim["srcc"] > 0.5
    assert psnr == {name: -value for name, value in fsim.items()}


def test_per_reference_values_are_means_over_references(measure):
    scores = noisy(ROWS, 1)
    refs = np.array([ref for _, ref, _ in ROWS])
    expected = np.mean([_scipy(-scores[refs == ref], LABELS[refs == ref]) for ref in set(refs)], axis=0)
    found = measure(scores, ["srcc_per_ref"])
    assert list(found.values) == ["plcc_per_ref", "srcc_per_ref", "krcc_per_ref"]
    assert list(found.values.values()) == pytest.approx(expected.tolist(), abs=TOLERANCE)


def test_a_reference_whose_scores_are_all_equal_does_not_count(measure):
    scores = noisy(ROWS, 1)
    refs = np.array([ref for _, ref, _ in ROWS])
    scores[refs == "ref3.bmp"] = 7.0
    expected = np.mean(
        [_scipy(-scores[refs == ref], LABELS[refs == ref]) for ref in set(refs) - {"ref3.bmp"}], axis=0)
    found = measure(scores, ["srcc_per_ref"])
    assert list(found.values.values()) == pytest.approx(expected.tolist(), abs=TOLERANCE)


def test_mapped_values_are_those_of_a_least_squares_fit(measure):
    def curve(x, top, bottom, centre, width):
        return bottom + (top - bottom) / (1 + np.exp(-(x - centre) / width))

    # labels: a logistic
    scores = -5 * np.log((100 - LABELS) / LABELS) + np.random.default_rng(2).normal(0, 2, 779)
    fitted, _ = optimize.curve_fit(curve, scores, LABELS, p0=[100, 0, 0, 5])
    mapped = curve(scores, *fitted)
    found = measure(-scores, ["rmse"])  # PSNR: larger is better, while a larger label is worse
    # Two optimisers stop at slightly different places; the optimum is flat.
    assert found.values["plcc_mapped"] == pytest.approx(stats.pearsonr(mapped, LABELS).statistic, abs=1e-7)
    assert found.values["rmse"] == pytest.approx(math.sqrt(np.mean((mapped - LABELS) ** 2)), rel=1e-6)
    assert found.values["plcc_mapped"] > abs(_scipy(scores, LABELS)[0])


def test_intervals_are_quantiles_over_resampled_references(measure):
    scores = noisy(ROWS, 4)
    refs = np.array([ref for _, ref, _ in ROWS])
    rows = [np.flatnonzero(refs == ref) for ref in sorted(set(refs))]
    replicates = []
    for counts in draw(29, 2000, seed=0):
        some = np.concatenate([rows[ref] for ref in np.repeat(np.arange(29), counts)])
        replicates.append(np.corrcoef(-scores[some], LABELS[some])[0, 1])
    found = measure(scores, ["plcc_low"])
    assert list(found.values) == ["plcc_low", "plcc_high"]
    assert [found.values["plcc_low"], found.values["plcc_high"]] == pytest.approx(
        np.quantile(replicates, [0.025, 0.975]).tolist(), abs=TOLERANCE)


def test_scores_of_the_wrong_sign_have_no_mapped_value(measure):
    found = measure(noisy(ROWS, 0), ["rmse"])
    assert [math.isnan(value) for value in found.values.values()] == [True, True]


def test_pairs_without_a_usable_score_are_left_out_and_counted(measure):
    scores = noisy(ROWS, 3)
    usable = np.ones(779, dtype=bool)
    usable[[5, 100, 700]] = False
    scores[5], scores[[100, 700]] = math.inf, -math.inf
    found = measure(scores, ["srcc"])
    assert list(found.values.values()) == pytest.approx(
            [-value for value in _scipy(scores[usable], LABELS[usable])],
                                                        abs=TOLERANCE)
    assert (found.n, found.rows, found.expected, found.whole) == (776, 779, 779, True)


def test_an_empty_score_is_left_out_and_counted(tmp_path):
    path = tmp_path / "live_psnr.csv"
    write_official(path, ROWS, noisy(ROWS, 3))
    lines = path.read_text().splitlines()
    lines[1] = lines[1].rpartition(",")[0] + ","
    path.write_text("\n".join(lines) + "\n")
    found = Measurer(open_folder(tmp_path)).measure(PSNR, path)
    assert (found.n, found.rows) == (778, 779)
    assert found.values["srcc"] == pytest.approx(-_scipy(noisy(ROWS, 3)[1:], LABELS[1:])[1], abs=TOLERANCE)


@pytest.mark.parametrize("count", [0, 1, 2, 6])
def test_a_short_file_says_how_short_and_never_warns(measure, count):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = measure(noisy(ROWS, 0)[:count], rows=ROWS[:count])
    assert (found.n, found.rows, found.expected, found.whole) == (count, count, 779, False)
    assert set(found.values) == set(STATISTICS)
    assert math.isnan(found.values["srcc"]) == (count < 2)


def test_constant_scores_have_no_value(measure):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert all(math.isnan(value) for value in measure(np.ones(779)).values.values())


def test_a_file_that_cannot_be_read_has_a_problem_and_no_values(tmp_path):
    path = tmp_path / "live_psnr.csv"
    path.write_text("a,b\n1,2\n")
    folder = OfficialFolder(tmp_path)
    found = Measurer(folder).measure(PSNR, path)
    with pytest.raises(StoreError) as caught:
        folder.load(PSNR, path)
    assert found == Measurement(problem=str(caught.value))
    assert not found.whole


def test_the_share_between_references_is_that_of_the_scores(measure):
    scores = noisy(ROWS, 5)
    refs = np.array([ref for _, ref, _ in ROWS])
    means = np.array([scores[refs == ref].mean() for ref in refs])
    found = measure(scores, ["between_share"])
    assert found.values["between_share"] == pytest.approx(means.var() / scores.var(), rel=1e-10)  # rounding


def test_each_file_is_measured_once(tmp_path):
    for seed, name in enumerate(("live_psnr.csv", "live_fsim.csv")):
        write_official(tmp_path / name, ROWS, noisy(ROWS, seed))
    measurer = Measurer(CountingFolder(tmp_path))
    first, again = ([measurer.measure(key, path) for key, path in measurer.folder.files.items()] for _
                    in range(2))
    assert first == again
    assert measurer.folder.loads == 2
    more = measurer.measure(PSNR, measurer.folder.files[PSNR], STATISTICS)
    assert more.values.items() >= measurer.measure(PSNR, measurer.folder.files[PSNR]).values.items()
