import math
import warnings

import numpy as np
import pytest
from scipy import stats

from zsiqa.evaluation import bootstrap, resampled
from zsiqa.evaluation.bootstrap import (
    bca_interval,
    draw,
    leave_one_out,
    paired_p_value,
    percentile_interval,
    replicate,
)
from zsiqa.evaluation.correlation import correlate

# scipy sums the same float64 values in another order; a few hundred terms differ by 1e-14 at most.
TOLERANCE = 1e-12


def _pairs(seed, *, sizes=(1, 7, 3, 12, 2, 40), methods=3, levels=6):
    """Scores (M, N) and labels with many ties within and between groups of unequal size, in random order."""
    random = np.random.default_rng(seed)
    groups = random.permutation(np.repeat(np.arange(len(sizes)), sizes))
    labels = random.integers(levels, size=len(groups)) + 0.5 * (groups % 2)
    scores = random.integers(levels,
                             size=(methods, len(groups))) + random.integers(2, size=(methods, 1)) * labels
    return scores.astype(float), labels, groups


def _naive(scores, labels, groups, weights):
    """(3, B): the drawn pairs written out and given to scipy."""
    rows = []
    for row in weights:
        index = np.concatenate(
            [np.flatnonzero(groups == g) for g, count in enumerate(row) for _ in range(count)])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            rows.append(correlate(scores[index], labels[index]))
    return np.array(rows).T


@pytest.mark.parametrize("seed", range(4))
def test_every_replicate_equals_the_pairs_written_out(seed):
    scores, labels, groups = _pairs(seed)
    weights = draw(6, 60, seed=seed)
    result = replicate(scores, labels, groups, weights)
    for method, row in enumerate(scores):
        expected = _naive(row, labels, groups, weights)
        found = np.stack([result[name][method] for name in ("plcc", "srcc", "krcc")])
        np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE)


def test_continuous_values_far_from_zero_lose_no_digits():
    random = np.random.default_rng(5)
    groups = np.repeat(np.arange(10), 15)
    labels = 1e6 + groups + random.normal(size=150)
    scores = -1e-9 * (labels + random.normal(size=150))
    weights = draw(10, 50)
    result = replicate(scores, labels, groups, weights)
    np.testing.assert_allclose(np.stack([*result.values()]), _naive(scores, labels, groups, weights), rtol=0,
                               atol=1e-9)  # of Pearson: what is left of 1e6 in float64 has ten digits
    np.testing.assert_allclose(result["srcc"], _naive(scores, labels, groups, weights)[1], rtol=0,
                               atol=TOLERANCE)
    assert result["plcc"].max() < 0  # the sign is kept


def test_one_method_equals_many():
    scores, labels, groups = _pairs(1)
    weights = draw(6, 20)
    many = replicate(scores, labels, groups, weights)
    for method, row in enumerate(scores):
        one = replicate(row, labels, groups, weights)
        for name in bootstrap.COEFFICIENTS:
            assert one[name].shape == (20,)
            np.testing.assert_array_equal(one[name], many[name][method])


def test_blocks_do_not_change_the_result(monkeypatch):
    scores, labels, groups = _pairs(2)
    weights = draw(6, 25)
    whole = replicate(scores, labels, groups, weights)
    monkeypatch.setattr(resampled, "_BLOCK", 40 * 4)
    monkeypatch.setattr(resampled, "_RUN", 3)
    for name, values in replicate(scores, labels, groups, weights).items():
        np.testing.assert_array_equal(values, whole[name])


def test_only_the_wanted_coefficients_are_computed():
    scores, labels, groups = _pairs(0)
    assert list(replicate(scores, labels, groups, draw(6, 2), ["krcc"])) == ["krcc"]


def test_weights_of_one_give_the_estimate_and_zeros_the_jackknife():
    scores, labels, groups = _pairs(3, methods=1)
    ones = np.ones((1, 6), dtype=int)
    result = replicate(scores[0], labels, groups, np.vstack([ones, leave_one_out(6)]))
    for row in range(7):
        kept = groups != row - 1
        expected = correlate(scores[0, kept], labels[kept])
        assert [result[name][row] for name in result] == pytest.approx(expected[:3], abs=TOLERANCE)


def test_an_undefined_replicate_is_nan_and_no_other():
    scores, labels = [1.0, 1.0, 2.0, 3.0, 5.0], [0.1, 0.3, 0.2, 0.2, 0.3]
    weights = [[1, 0, 0], [3, 0, 0], [0, 2, 0], [0, 0, 0], [0, 0, 5], [1, 0, 1], [0, 1, 1]]
    result = replicate(scores, labels, [0, 0, 1, 1, 2], weights)
    for values in result.values():  # equal scores twice, equal labels, no pair, one pair and its copies
        assert np.isnan(values).tolist() == [True] * 5 + [False] * 2


def test_more_ranks_than_int16_holds():
    random = np.random.default_rng(0)
    labels = random.normal(size=33_000)
    scores = labels + random.normal(size=33_000)
    groups = np.arange(33_000) % 3
    result = replicate(scores, labels, groups, [[1, 1, 1], [0, 2, 1]])
    np.testing.assert_allclose(np.stack([*result.values()]),
                               _naive(scores, labels, groups, [[1, 1, 1], [0, 2, 1]]),
                               rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("size", [127, 128])
def test_groups_at_the_edge_of_int8(size):
    scores, labels = np.arange(size + 1.0), -np.arange(size + 1.0) ** 2
    result = replicate(scores, labels, [0] * size + [1], [[1, 1], [2, 1]], ["srcc", "krcc"])
    assert result["srcc"] == pytest.approx(-1, abs=TOLERANCE)
    assert result["krcc"] == pytest.approx(-1, abs=TOLERANCE)


def test_large_weights_take_float64_and_agree():
    scores, labels, groups = _pairs(0)
    weights = draw(6, 20)
    small, large = (replicate(scores, labels, groups, weights * factor) for factor in (1, 1_234_567))
    for name in ("plcc", "srcc"):  # tau-b is not the same: copies are ties
        np.testing.assert_allclose(large[name], small[name], rtol=0, atol=TOLERANCE)


def test_draws_are_reproducible_and_fair():
    counts = draw(5, 4000, seed=3)
    assert counts.shape == (4000, 5)
    assert (counts.sum(1) == 5).all()
    np.testing.assert_array_equal(counts, draw(5, 4000, seed=3))
    assert not np.array_equal(counts, draw(5, 4000, seed=4))
    np.testing.assert_allclose(counts.mean(0), 1, atol=0.06)  # four standard errors
    np.testing.assert_allclose(counts.var(0), 0.8, atol=0.1)  # of a binomial, 5 draws at 1/5


def test_the_percentile_interval_counts_what_it_leaves_out():
    interval = percentile_interval([*range(101), math.nan, math.nan], level=0.9)
    assert interval == pytest.approx((5, 95, 2))
    assert np.isnan(percentile_interval([math.nan])[:2]).all()


def test_bca_equals_scipy():
    random = np.random.default_rng(0)
    data = random.exponential(size=30)
    indices = random.integers(30, size=(999, 30))
    replicates, jackknife = data[indices].mean(1), (data.sum() - data) / 29

    class Fixed(np.random.Generator):  # gives scipy the same resamples
        def integers(self, *_, **__):
            return indices

    expected = stats.bootstrap((data,), np.mean, n_resamples=999, method="BCa", confidence_level=0.9,
                               random_state=Fixed(np.random.PCG64())).confidence_interval
    interval = bca_interval(data.mean(), replicates, jackknife, level=0.9)
    assert interval == pytest.approx((*expected, 0), rel=1e-12)
    assert interval.low > percentile_interval(replicates, 0.9).low  # the data are skewed


def test_bca_without_bias_and_skew_is_the_percentile_interval():
    replicates = np.linspace(-1, 1, 201)
    assert bca_interval(0.0, replicates, [-1.0, 0.0, 1.0]) == pytest.approx(percentile_interval(replicates))
    assert bca_interval(0.0, replicates, [2.0, 2.0]) == pytest.approx(percentile_interval(replicates))


@pytest.mark.parametrize(("estimate", "jackknife"), [(3.0, [0.0, 1.0]), (math.nan, [0.0, 1.0]),
                                                     (0.0, [0.0, math.nan]), (0.0, [])])
def test_bca_that_does_not_exist_is_nan(estimate, jackknife):
    interval = bca_interval(estimate, [-1.0, 0.0, 1.0, math.nan], jackknife)
    assert np.isnan(interval[:2]).all()
    assert interval.undefined == 1


def test_the_p_value_is_two_sided_and_never_zero():
    assert paired_p_value(np.ones(99)) == paired_p_value(-np.ones(99)) == 0.02
    assert paired_p_value([*np.ones(96), -1, -1, 0]) == pytest.approx(2 * 4 / 100)
    assert paired_p_value(np.zeros(99)) == 1
    assert math.isnan(paired_p_value([math.nan]))


def test_undefined_differences_only_raise_the_p_value():
    assert paired_p_value([*np.ones(97), math.nan, math.nan]) == pytest.approx(2 * 3 / 100)


@pytest.mark.parametrize(("change", "message"), [
    ({"scores": [1.0, 2.0]}, "as many scores as labels, found shapes"),
    ({"groups": [0, 1]}, "with N > 0, found shapes"),
    ({"labels": [1.0, math.nan, 3.0]}, "must be finite"),
    ({"groups": [0, 2, 2]}, "renumber the references"), ({"groups": [0.0, 1.0, 1.0]}, "to be integers"),
    ({"weights": [[1, -1]]}, "weights >= 0"), ({"weights": [[1.0, 1.0]]}, "to be integers"),
    ({"weights": [1, 1]}, "to be integers"), ({"coefficients": ["tau"]}, "found tau"),
])
def test_bad_input(change, message):
    arguments = {"scores": [1.0, 2.0, 4.0], "labels": [1.0, 3.0, 2.0], "groups": [0, 1, 1],
                 "weights": [[1, 1]]}
    with pytest.raises(ValueError, match=message):
        replicate(**arguments | change)


def test_bad_input_of_the_others():
    with pytest.raises(ValueError, match="at least 1 reference"):
        draw(0)
    with pytest.raises(ValueError, match="level in"):
        percentile_interval([1.0], level=95)
    with pytest.raises(ValueError, match="of one method"):
        paired_p_value([[1.0]])
    with pytest.raises(ValueError, match="one jackknife value a reference"):
        bca_interval(0.0, [1.0], [[1.0]])
