"""Numbers of a curve, against values computed by hand or in another way."""

import math

import numpy as np
import pytest

from zsiqa.evaluation.bootstrap import draw
from zsiqa.evaluation.level_curves import first_reaching, in_units_of, mean_until, yardsticks

ROUNDING = 1e-12  # the same numbers, summed in another order


@pytest.mark.parametrize(("end", "expected"), [
    (2, 0.75),  # a trapezoid from 1 to 0.5
    (4, (2 * 0.75 + 2 * 0.5) / 4),
    (3, (2 * 0.75 + 1 * 0.5) / 3),  # ends between two levels
    (9, (2 * 0.75 + 2 * 0.5) / 4),  # beyond the last level
])
def test_the_mean_is_the_area_over_the_length(end, expected):
    assert mean_until([0, 2, 4], [1.0, 0.5, 0.5], end) == pytest.approx(expected, abs=ROUNDING)


def test_the_mean_of_many_curves_is_that_of_each():
    values = np.random.default_rng(1).normal(size=(5, 7))
    levels = [0, 0.5, 1, 3, 4]
    fine = np.linspace(0, 2.5, 100_001)
    expected = [np.interp(fine, levels, column).mean() for column in values.T]
    # The mean of points on a fine grid approaches the area: the error is below the step, 2.5e-5.
    np.testing.assert_allclose(mean_until(levels, values, 2.5), expected, atol=5e-5)


def test_a_mean_needs_levels_and_values():
    assert math.isnan(mean_until([0, 1, 2], [1.0, math.nan, 1.0], 2))
    with pytest.raises(ValueError, match="above the first level"):
        mean_until([0, 1], [1.0, 1.0], 0)


@pytest.mark.parametrize(("values", "expected"), [
    ([0, 0.5, 2.5], 2 + 0.25 * 2), ([0, 1, 0], 2.0), ([0, 0.2, 0.9], math.inf), ([2, 3, 4], 0.0),
    ([0, -1, 3], 2 + 0.5 * 2)])
def test_the_first_level_that_reaches_a_target(values, expected):
    assert first_reaching([0, 2, 4], values, 1.0) == expected


def test_an_unknown_value_before_the_target_hides_it():
    assert math.isnan(first_reaching([0, 1, 2], [0, math.nan, 3], 1.0))
    assert first_reaching([0, 1, 2], [0, 3, math.nan], 1.0) == pytest.approx(1 / 3)


def test_yardsticks_leave_out_what_the_metric_does_not_see():
    found = yardsticks([0.0, 3.0, 1.0, -2.0, 0.0, 0.0], [0, 0, 0, 1, 1, 2], 4)
    np.testing.assert_array_equal(found.mildest, [1.0, math.nan, math.nan, math.nan])
    np.testing.assert_array_equal(found.median, [1.0, -1.0, 0.0, math.nan])


def test_a_response_is_a_ratio_of_medians_also_in_each_replicate():
    rng = np.random.default_rng(2)
    responses, unit = rng.uniform(1, 2, (3, 6)), rng.uniform(0.5, 1, 6)
    unit[4] = math.nan
    weights = np.vstack([np.ones((1, 6), dtype=int), draw(6, 50)])
    found = in_units_of(responses, unit, weights)
    np.testing.assert_allclose(found[:, 0], np.median(responses, axis=1) / np.nanmedian(unit))
    for place, counts in enumerate(weights):
        drawn = [reference for reference, count in enumerate(counts) for _ in range(count)]
        np.testing.assert_allclose(found[:, place],
                                   np.median(responses[:, drawn], axis=1) / np.nanmedian(unit[drawn]))


def test_no_unit_gives_no_response():
    found = in_units_of([[1.0, 1.0]], [math.nan, math.nan], draw(2, 3))
    assert found.shape == (1, 3)
    assert np.isnan(found).all()
