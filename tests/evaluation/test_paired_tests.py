import itertools
import math

import numpy as np
import pytest
from scipy import stats

from zsiqa.evaluation.paired_tests import holm, steiger, wilcoxon_over_references, williams, zou_interval

# r_jk, r_jh, r_kh, n of the aptitude data and what cocor prints for them: Diedenhofen & Musch, PLoS ONE
# 10(4): e0121945 (2015), page 8. Inputs and results are printed with four digits, so the last one is
# uncertain.
APTITUDE = (0.1038, 0.3213, 0.0257, 291)


def test_the_published_example_of_cocor():
    assert williams(*APTITUDE) == pytest.approx((-2.7743, 0.0059), abs=5e-4)
    assert steiger(*APTITUDE) == pytest.approx((-2.7513, 0.0059), abs=5e-4)
    assert zou_interval(*APTITUDE) == pytest.approx((-0.3689, -0.0630), abs=1e-4)


def test_the_published_numbers_of_depcor():
    # Silver, Hittner & May, Applied Psychological Measurement 30 (2006), as quoted in cocor 1.1-4, tests.r.
    assert williams(0.3, 0.4, 0.5, 100) == pytest.approx((-1.0767, 0.2843), abs=5e-5)
    assert steiger(0.3, 0.4, 0.5, 100) == pytest.approx((-1.0718, 0.2838), abs=5e-5)


def test_steigers_own_example():
    # Steiger, Psychological Bulletin 87 (1980), case A: -.8913 from rounded intermediates; cocor 1.1-4,
    # tests.r, has the number without that rounding.
    assert steiger(0.4, 0.5, 0.1, 103).statistic == pytest.approx(-0.8887185, abs=5e-8)


def test_zous_own_example():
    # Zou, Psychological Methods 12 (2007): overlapping correlations; as quoted in cocor 1.1-4, tests.r.
    assert zou_interval(0.396, 0.179, 0.088, 66) == pytest.approx((-0.093, 0.517), abs=5e-4)


@pytest.mark.parametrize("test", [williams, steiger])
def test_exchanging_the_metrics_changes_the_sign_alone(test):
    there, back = test(0.9, 0.85, 0.8, 100), test(0.85, 0.9, 0.8, 100)
    assert there.statistic == -back.statistic > 0
    assert there.p_value == back.p_value < 0.2


def test_exchanging_the_metrics_mirrors_the_interval():
    low, high = zou_interval(0.9, 0.85, 0.8, 100)
    assert zou_interval(0.85, 0.9, 0.8, 100) == pytest.approx((-high, -low), rel=1e-12)
    wider = zou_interval(0.9, 0.85, 0.8, 100, level=0.99)
    assert wider[0] < low < high < wider[1]


@pytest.mark.parametrize("test", [williams, steiger])
def test_the_p_value_is_uniform_without_a_difference(test):
    random = np.random.default_rng(0)
    labels = random.normal(size=(2000, 40))
    x, y = labels + random.normal(size=(2, 2000, 40))
    p_values = [test(*(np.corrcoef(rows)[pair] for pair in ((0, 1), (0, 2), (1, 2))), 40).p_value
                for rows in np.stack([labels, x, y], axis=1)]
    assert stats.kstest(p_values, "uniform").pvalue > 0.01


def test_equal_correlations_do_not_differ():
    assert williams(0.5, 0.5, 1.0, 50) == steiger(0.5, 0.5, 1.0, 50) == (0, 1)


def test_zous_interval_of_one_metric_with_itself():
    # The two estimates move together (c = 1): what is left is how much one arm of the interval of r is
    # longer.
    low, high = zou_interval(0.5, 0.5, 1.0, 50)
    reach = stats.norm.isf(0.025) / math.sqrt(47)
    arms = [math.tanh(math.atanh(0.5) + side * reach) - 0.5 for side in (-1, 1)]
    assert high == pytest.approx(-low) == pytest.approx(-sum(arms))


def test_what_is_undefined_is_nan():
    for position in range(3):
        correlations = [0.5, 0.5, 0.5]
        correlations[position] = math.nan
        for test in (williams, steiger, zou_interval):
            assert np.isnan(test(*correlations, 50)).all()
    for test in (steiger, zou_interval):
        assert np.isnan(test(1.0, 0.5, 0.5, 50)).all()


@pytest.mark.parametrize("test", [williams, steiger, zou_interval])
@pytest.mark.parametrize(("arguments", "message"), [
    ((1.2, 0.5, 0.5, 50), "in \\[-1, 1\\]"), ((0.5, 0.4, 0.5, 3), "at least 4 pairs"),
    ((0.9, -0.9, 0.9, 50), "the same orientation"),
])
def test_bad_input(test, arguments, message):
    with pytest.raises(ValueError, match=message):
        test(*arguments)


def test_bad_level():
    with pytest.raises(ValueError, match="level in"):
        zou_interval(0.5, 0.4, 0.3, 50, level=95)


def test_holm_by_hand():
    # Sorted 0.01, 0.02, 0.03, 0.04 times 4, 3, 2, 1 is 0.04, 0.06, 0.06, 0.04; no value may be below an
    # earlier one.
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.6, 0.7]) == pytest.approx([1, 1])
    assert holm([]).shape == (0,)


def test_holm_keeps_shape_and_order_and_does_not_count_nan():
    adjusted = holm([[0.03, math.nan], [0.01, math.nan]])
    np.testing.assert_allclose(adjusted, [[0.03, math.nan], [0.02, math.nan]])
    with pytest.raises(ValueError, match="p-values in"):
        holm([0.5, 1.5])


def test_wilcoxon_against_every_sign():
    differences = np.array([0.3, -0.1, 0.25, 0.4, 0.05, 0.31, -0.02, 0.2])
    ranks = stats.rankdata(np.abs(differences))
    total = ranks.sum()
    sums = [sum(ranks[i] for i in chosen) for k in range(9) for chosen in itertools.combinations(range(8), k)]
    smaller = min(ranks[differences > 0].sum(), ranks[differences < 0].sum())
    expected = np.mean([min(value, total - value) <= smaller for value in sums])
    result = wilcoxon_over_references(differences, np.zeros(8))
    assert result == pytest.approx((smaller, expected, 6, 0, 8, 0))


def test_wilcoxon_of_ties_against_every_sign():
    """scipy's own permutation test, which takes the choices one at a time."""
    differences = np.array([0.5, -0.5, 0.25, 0.5, 0.0, 0.25, 1.0])
    expected = stats.wilcoxon(differences, zero_method="zsplit")
    assert wilcoxon_over_references(differences, np.zeros(7))[:2] == (expected.statistic, expected.pvalue)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("n", [14, 25, 50, 51, 200])
def test_wilcoxon_against_scipy(n, ties):
    random = np.random.default_rng(n)
    for shift in (0, 0.3, 1):
        differences = random.normal(shift, size=n)
        differences = differences.round(1) if ties else differences
        expected = stats.wilcoxon(differences, zero_method="zsplit")
        found = wilcoxon_over_references(differences, np.zeros(n))
        assert found.statistic == pytest.approx(expected.statistic, rel=1e-14)  # sums of halves: exact
        assert found.p_value == pytest.approx(expected.pvalue, rel=1e-12)  # rounding of z and of its tail


def test_wilcoxon_counts_wins_ties_and_what_it_leaves_out():
    result = wilcoxon_over_references([0.5, 0.5, 0.9, math.nan, 0.1], [0.5, 0.4, 0.1, 0.3, math.nan])
    assert result[2:] == (2, 1, 3, 2)
    assert result.p_value < 1


def test_references_that_tie_speak_for_no_difference():
    a, b = np.linspace(-0.2, 0.9, 200), np.zeros(200)
    a[60:140] = 0
    kept = np.delete(a, slice(60, 140))
    assert wilcoxon_over_references(kept, b[:120]).p_value < wilcoxon_over_references(a, b).p_value < 0.05


def test_wilcoxon_of_equal_metrics_is_one():
    assert wilcoxon_over_references([0.5, 0.6], [0.5, 0.6]) == (1.5, 1, 0, 2, 2, 0)
    nothing = wilcoxon_over_references([math.nan], [0.5])
    assert np.isnan(nothing[:2]).all()
    assert nothing[2:] == (0, 0, 0, 1)


def test_wilcoxon_needs_the_same_references():
    with pytest.raises(ValueError, match="two correlations of each reference"):
        wilcoxon_over_references([0.5], [0.5, 0.6])
