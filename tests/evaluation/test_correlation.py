import itertools
import math

import numpy as np
import pytest

from zsiqa.evaluation.correlation import FEW, correlate


def _reference_pearson(x, y):
    dx, dy = x - x.mean(), y - y.mean()
    return (dx * dy).sum() / math.sqrt((dx**2).sum() * (dy**2).sum())


def _reference_ranks(x):
    return np.array([(x < value).sum() + ((x == value).sum() + 1) / 2 for value in x])


def _reference_tau_b(x, y):
    concordant = discordant = only_x = only_y = 0
    for i, j in itertools.combinations(range(len(x)), 2):
        sx, sy = np.sign(x[i] - x[j]), np.sign(y[i] - y[j])
        concordant += sx * sy > 0
        discordant += sx * sy < 0
        only_x += sx == 0 and sy != 0
        only_y += sx != 0 and sy == 0
    pairs = concordant + discordant
    return (concordant - discordant) / math.sqrt((pairs + only_x) * (pairs + only_y))


@pytest.mark.parametrize("n", [FEW, FEW + 1])  # two ways to KRCC
@pytest.mark.parametrize("ties", [False, True])
def test_against_the_definitions(ties, n):
    random = np.random.default_rng(0)
    x, y = random.normal(size=n), random.normal(size=n)
    y += 0.5 * x
    if ties:
        x, y = x.round(), (2 * y).round()
    result = correlate(x, y)
    assert result.plcc == pytest.approx(_reference_pearson(x, y), rel=1e-12)
    assert result.srcc == pytest.approx(
            _reference_pearson(_reference_ranks(x), _reference_ranks(y)), rel=1e-12)
    assert result.krcc == pytest.approx(_reference_tau_b(x, y), rel=1e-12)


@pytest.mark.parametrize("sign", [1, -1])
def test_the_sign_is_kept(sign):
    result = correlate(sign * np.array([1.0, 2.0, 3.0, 5.0]), [10.0, 30.0, 20.0, 90.0])
    assert [math.copysign(1, value) for value in result] == [sign] * 3


@pytest.mark.parametrize(("scores", "labels"), [
    ([], []), ([1.0], [1.0]), ([1.0, 1.0], [1.0, 2.0]), ([1.0, 2.0], [3.0, 3.0]),
])
def test_undefined_is_nan(scores, labels):
    result = correlate(scores, labels)
    assert all(math.isnan(value) for value in result)


@pytest.mark.parametrize(("scores", "labels", "message"), [
    ([1.0, 2.0], [1.0], "as many scores as labels"), ([1.0, math.nan], [1.0, 2.0], "must be finite"),
    ([1.0, 2.0], [math.inf, 2.0], "must be finite"),
])
def test_bad_input(scores, labels, message):
    with pytest.raises(ValueError, match=message):
        correlate(scores, labels)
