import math

import numpy as np
import pytest
from scipy import optimize

from zsiqa.evaluation.logistic import fit_logistic, logistic

FOUR = [90.0, 10.0, 0.4, 0.15]
FIVE = [40.0, 6.0, 0.5, 12.0, 30.0]
ENDS = 1e-6  # a fit ends where rounding hides any further descent; measured 2e-8


def _data(parameters, *, noise, n=400, seed=0):
    random = np.random.default_rng(seed)
    scores = random.uniform(size=n)
    return scores, logistic(scores, parameters) + noise * random.normal(size=n)


def test_the_curves_are_the_published_ones():
    x = np.array([-1.0, 0.2, 3.0])
    b1, b2, b3, b4 = FOUR
    np.testing.assert_allclose(logistic(x, FOUR), b2 + (b1 - b2) / (1 + np.exp(-(x - b3) / abs(b4))))
    np.testing.assert_allclose(logistic(x, [b1, b2, b3, -b4]), logistic(x, FOUR))
    b1, b2, b3, b4, b5 = FIVE
    np.testing.assert_allclose(logistic(x, FIVE), b1 * (0.5 - 1 / (1 + np.exp(b2 * (x - b3)))) + b4 * x + b5)


@pytest.mark.parametrize("parameters", [FOUR, FIVE])
def test_known_parameters_are_found(parameters):
    scores, labels = _data(parameters, noise=0)
    fit = fit_logistic(scores, labels, len(parameters))
    np.testing.assert_allclose(fit.parameters, parameters, rtol=1e-3)
    assert fit.plcc == pytest.approx(1, abs=1e-9)
    assert fit.rmse < 1e-3
    assert (fit.problem, fit.note) == ("", "")


@pytest.mark.parametrize("parameters", [FOUR, FIVE])
def test_no_other_optimiser_does_better(parameters):
    scores, labels = _data(parameters, noise=5.0)
    fit = fit_logistic(scores, labels, len(parameters))
    other = optimize.least_squares(lambda b: logistic(scores, b) - labels, parameters, xtol=1e-12, ftol=1e-12)
    residuals = labels - logistic(scores, fit.parameters)
    assert fit.rmse == pytest.approx(math.sqrt(np.mean(residuals**2)), rel=1e-9)
    assert fit.rmse <= math.sqrt(2 * other.cost / 400) * (1 + ENDS)
    assert fit.plcc == pytest.approx(np.corrcoef(logistic(scores, fit.parameters), labels)[0, 1], rel=1e-9)


@pytest.mark.parametrize("count", [4, 5])
@pytest.mark.parametrize("curve", [np.exp, np.sqrt, lambda x: x, lambda x: (x > 0.5).astype(float)])
def test_mapping_is_no_worse_than_raw(count, curve):
    scores = np.random.default_rng(0).uniform(size=300)
    labels = curve(scores) + 0.1 * np.random.default_rng(1).normal(size=300)
    fit = fit_logistic(scores, labels, count)
    assert fit.problem == ""
    assert fit.plcc >= np.corrcoef(scores, labels)[0, 1] - 1e-9


@pytest.mark.parametrize("count", [4, 5])
def test_a_wrong_sign_is_no_fit(count):
    scores, labels = _data(FOUR, noise=5.0)
    fit = fit_logistic(-scores, labels, count)
    assert math.isnan(fit.plcc)
    assert math.isnan(fit.rmse)
    assert "wrong sign" in fit.problem


@pytest.mark.parametrize(("scores", "labels", "problem"), [
    (np.ones(20), np.arange(20.0), "fewer than 4 different scores"),
    (np.arange(20.0), np.ones(20), "all labels are equal"),
    ([], [], "fewer than 4 different scores"),
])
def test_what_cannot_be_fitted_says_so(scores, labels, problem):
    fit = fit_logistic(scores, labels)
    assert fit.problem == problem
    assert np.isnan([fit.plcc, fit.rmse, *fit.parameters]).all()


def test_no_convergence_is_reported_and_raw_is_not_used(monkeypatch):
    monkeypatch.setattr("zsiqa.evaluation.logistic.MOST_EVALUATIONS", 1)
    fit = fit_logistic(*_data(FOUR, noise=5.0))
    assert fit.problem == "no start converged within 1 evaluations"
    assert math.isnan(fit.plcc)


@pytest.mark.parametrize("parameters", [FOUR, FIVE])
def test_units_do_not_matter(parameters):
    scores, labels = _data(parameters, noise=5.0)
    fit = fit_logistic(scores, labels, len(parameters))
    other = fit_logistic(1e-6 * scores - 3, 1e4 * labels + 1e5, len(parameters))
    assert other.plcc == pytest.approx(fit.plcc, rel=ENDS)
    assert other.rmse == pytest.approx(1e4 * fit.rmse, rel=ENDS)


def test_a_curve_that_turns_is_noted():
    scores, labels = _data([150.0, 12.0, 0.5, -60.0, 30.0], noise=1.0)
    fit = fit_logistic(scores, labels, 5)
    assert "not monotone" in fit.note
    assert fit.plcc > 0.99
    assert fit_logistic(scores, labels, 4).note == ""


def test_parameters_that_the_data_do_not_determine_are_noted():
    scores = np.linspace(0, 1, 200)
    assert "exponential" in fit_logistic(scores, np.exp(3 * scores)).note
    assert "a step" in fit_logistic(scores, (scores > 0.5).astype(float)).note


@pytest.mark.parametrize(("change", "message"), [
    ({"labels": [1.0]}, "as many scores as labels"), ({"labels": [1.0, 2.0, math.nan]}, "must be finite"),
    ({"parameters": 3}, "4 or 5 parameters"),
])
def test_bad_input(change, message):
    with pytest.raises(ValueError, match=message):
        fit_logistic(**{"scores": [1.0, 2.0, 3.0], "labels": [1.0, 2.0, 3.0]} | change)


def test_a_curve_needs_four_or_five_parameters():
    with pytest.raises(ValueError, match="4 or 5 parameters"):
        logistic([1.0], [1.0, 2.0])
