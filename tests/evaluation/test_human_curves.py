"""Metrics beside people's responses, against direct computations."""

import numpy as np
import pytest
from conftest import write_stored
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from zsiqa.evaluation.human_curves import affine_fit, compare_with_people, monotone_fit
from zsiqa.results.folder import open_folder
from zsiqa.results.scores import ScoreKey

FAMILIES = ("gn", "rot")
# Sixteenths: a line of them is exact, so ties stay ties.
RESPONSES = {(family, ref, level): (level - 1) * (1 + ref / 16) + (family == "gn") / 4
             for family in FAMILIES for ref in range(4) for level in range(2, 8)}


@pytest.fixture
def folder(tmp_path):
    """`affine` is a line of responses, `curved` a rising curve; `alarmed` takes rotations for too much."""
    keys = list(RESPONSES)
    people = np.array([RESPONSES[key] for key in keys])
    rotated = np.array([family == "rot" for family, _, _ in keys])
    scores = {"affine": 3 * people + 1, "curved": np.exp(3 * people), "alarmed": people + 2 * rotated,
              "similar": 10 - people}
    for metric, values in scores.items():
        write_stored(tmp_path / "scores", ScoreKey("raid", metric, "original"), values, people,
                     ids=[f"raid/{family}_img_{ref}_level_{level:02}" for family, ref, level in keys],
                     refs=[f"img_{ref}.png" for _, ref, _ in keys], types=[family for family, *_ in keys],
                     higher_is_better=False, about={"score": {"higher_is_better": metric == "similar"}})
    return open_folder(tmp_path / "scores")


def test_rank_and_shape(folder):
    found = compare_with_people(folder, None, 100, 0, []).rows.set_index(["metric", "family"])
    for metric in ("affine", "similar"):
        for family in (*FAMILIES, "all"):
            row = found.loc[metric, family]
            assert (row["srcc"], row["srcc_per_ref"]) == pytest.approx((1, 1))
            # A line through points on a line leaves the rounding of numbers near 10.
            errors = row[["rmse_affine", "rmse_monotone", "bias"]].astype(float)
            np.testing.assert_allclose(errors, 0, atol=1e-9)
    curved = found.loc["curved", "rot"]
    assert curved["srcc"] == pytest.approx(1)
    assert curved["rmse_monotone"] == pytest.approx(0, abs=1e-9)
    people = np.array([value for (family, _, _), value in RESPONSES.items() if family == "rot"])
    line = stats.linregress(np.exp(3 * people), people)
    assert curved["rmse_affine"] == pytest.approx(np.sqrt(np.mean(
        (line.intercept + line.slope * np.exp(3 * people) - people) ** 2)))
    assert curved["rmse_affine"] > 0.5
    assert curved["sd"] == pytest.approx(people.std())
    assert (curved["pairs"], curved["references"]) == (24, 4)


def test_a_family_that_a_metric_takes_for_too_great_a_difference_has_a_bias(folder):
    found = compare_with_people(folder, ["alarmed"], 100, 0, []).rows.set_index("family")
    assert found.loc["rot", "srcc"] == pytest.approx(1)
    assert found.loc["rot", "bias"] > 0.3
    assert found.loc["gn", "bias"] == pytest.approx(-found.loc["rot", "bias"])  # residuals add up to 0
    assert found.loc["all", "srcc"] < 1


def test_mean_curves_after_the_best_line(folder):
    curves = compare_with_people(folder, ["affine", "curved"], 100, 0, []).curves
    assert len(curves) == 2 * len(FAMILIES) * 6
    for row in curves.to_dict("records"):
        people = np.mean([RESPONSES[row["family"], ref, row["level"]] for ref in range(4)])
        assert row["response"] == pytest.approx(people)
        if row["metric"] == "affine":
            assert row["fitted"] == pytest.approx(people)
    some = curves[(curves["metric"] == "curved") & (curves["family"] == "rot")]
    assert (some["fitted"] - some["response"]).abs().max() > 0.3  # a bend that no line removes


NUMBERS = st.lists(st.tuples(st.integers(0, 6), st.integers(-5, 5)), min_size=1, max_size=12)


@given(NUMBERS)
def test_the_monotone_fit_is_the_min_max_formula(points):
    """Isotonic regression: the largest over i <= k of the smallest over j >= k of the mean of steps i..j."""
    x, y = (np.array(column, dtype=float) for column in zip(*points, strict=True))
    steps = np.unique(x)
    fitted = {}
    for k, step in enumerate(steps):
        fitted[step] = max(min(y[(x >= steps[i]) & (x <= steps[j])].mean() for j in range(k, len(steps)))
                           for i in range(k + 1))
    np.testing.assert_allclose(monotone_fit(x, y), [fitted[value] for value in x], atol=1e-12)  # rounding


def test_a_line_never_falls():
    assert affine_fit([1.0, 2.0, 3.0], [3.0, 2.0, 1.0]).tolist() == [2.0, 2.0, 2.0]
    assert affine_fit([1.0, 1.0], [0.0, 1.0]).tolist() == [0.5, 0.5]
