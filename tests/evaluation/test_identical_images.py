import numpy as np
import pytest

from zsiqa.evaluation.identical_images import find_identical, name_pattern, noise_share

REFS = np.repeat([f"r{number}" for number in range(5)], 8)
GROUPS = [[1, 5], [9, 12, 15], [32, 39]]
PAIRS = [(1, 5), (9, 12), (9, 15), (12, 15), (32, 39)]


def _planted(num_metrics=5, groups=GROUPS):
    """Scores in which the images of each group are the same."""
    values = np.random.default_rng(0).normal(size=(num_metrics, len(REFS)))
    for first, *others in groups:
        values[:, others] = values[:, [first]]
    return values


def _found(same):
    return sorted(map(tuple, same.pairs.tolist()))


def test_pairs_and_a_triple_are_found_and_joined_into_groups():
    same = find_identical(_planted(), REFS)
    assert _found(same) == PAIRS
    assert same.groups == GROUPS
    assert same.deterministic.all()
    assert same.equal_share.tolist() == [1] * 5


def test_versions_of_a_reference_need_not_be_neighbours():
    order = np.random.default_rng(1).permutation(len(REFS))
    same = find_identical(_planted()[:, order], REFS[order])
    assert sorted(sorted(order[group].tolist()) for group in same.groups) == GROUPS


def test_a_random_metric_is_named_and_hides_no_pair():
    values = _planted()
    values[2] = np.random.default_rng(2).normal(size=len(REFS))
    same = find_identical(values, REFS)
    assert _found(same) == PAIRS
    assert same.deterministic.tolist() == [True, True, False, True, True]
    assert same.equal_share.tolist() == [1, 1, 0, 1, 1]


def test_one_pair_on_which_a_deterministic_metric_disagrees_is_not_the_same_image():
    values = _planted()
    values[0, 5] += 1e-12
    same = find_identical(values, REFS)
    assert _found(same) == PAIRS[1:]
    assert same.deterministic.all()


def test_coarse_metrics_make_no_duplicates():
    values = _planted(7)
    coarse = np.random.default_rng(3).integers(5, size=(3, len(REFS)))
    values[:3] = np.where(np.isin(np.arange(len(REFS)), np.concatenate(GROUPS)), values[:3], coarse)
    assert _found(find_identical(values, REFS)) == PAIRS
    assert not len(find_identical(np.vstack([coarse, _planted(4, [])]), REFS).pairs)


def test_versions_of_different_references_are_never_compared():
    same = find_identical(_planted(groups=[[0, 8], [7, 39]]), REFS)
    assert not len(same.pairs)


def test_most_metrics_must_agree():
    values = _planted(4)
    values[2:] = np.random.default_rng(4).normal(size=(2, len(REFS)))
    assert not len(find_identical(values, REFS).pairs)


@pytest.mark.parametrize(("num_metrics", "groups"), [(1, GROUPS), (2, GROUPS), (5, [])])
def test_nothing_is_found_without_duplicates_or_with_too_few_metrics(num_metrics, groups):
    same = find_identical(_planted(num_metrics, groups), REFS)
    assert same.pairs.shape == (0, 2)
    assert same.groups == []
    assert np.isnan(same.equal_share).all()
    assert same.deterministic.tolist() == [True] * num_metrics


def test_no_images_are_no_duplicates():
    assert not len(find_identical(np.empty((3, 0)), np.array([])).pairs)


@pytest.mark.parametrize("sigma", [0.3, 1.0])
def test_the_share_of_planted_noise_is_recovered(sigma):
    random, num_pairs = np.random.default_rng(0), 5000
    pairs = np.arange(2 * num_pairs).reshape(-1, 2)
    values = np.repeat(random.normal(size=num_pairs), 2) + sigma * random.normal(size=2 * num_pairs)
    # The mean of 5000 squared differences has a relative standard error of sqrt(2 / 5000) = 2 %; the variance
    # of the scores, which is half or more of other origin, has less. Four of them.
    assert noise_share(values, pairs) == pytest.approx(sigma**2 / (1 + sigma**2), rel=0.08)


def test_the_noise_share_by_hand():
    # Squared differences 4 and 0, so a noise variance of 1; the scores' variance is 83 / 4.
    assert noise_share(np.array([0.0, 2.0, 10.0, 10.0]), np.array([[0, 1], [2, 3]])) == pytest.approx(4 / 83)
    assert noise_share(np.array([0.0, 0.0, 10.0, 10.0]), np.array([[0, 1], [2, 3]])) == 0


@pytest.mark.parametrize(("ids", "refs", "pattern"), [
    (["pipal/A0010_03_06", "pipal/A0010_05_13"], ["A0010", "A0010"], ("*_03_06", "*_05_13")),
    (["live/jpeg/img23", "live/jpeg/img91"], ["womanhat", "womanhat"], ("jpeg/img23", "jpeg/img91")),
])
def test_a_pattern_leaves_out_data_set_and_reference(ids, refs, pattern):
    assert name_pattern(ids, refs) == pattern
