import math

import pytest

from zsiqa.evaluation.human_thresholds import read_thresholds, side_of, threshold_of
from zsiqa.perturbations import FAMILIES
from zsiqa.types import ZsiqaError


def test_every_family_has_a_threshold_with_a_source():
    thresholds, per_degree = read_thresholds()
    assert {family for one in thresholds for family in one.families} == set(FAMILIES)
    assert all(one.source and one.assumption for one in thresholds)
    assert per_degree == 29.2  # the number by which the source divides pixels


@pytest.mark.parametrize(("family", "unit", "per_degree", "dataset", "expected"), [
    ("translate_x", "px", 29.2, "mine", 0.23 * 29.2), ("translate_y", "px", 60, "mine", 0.23 * 60),
    ("translate_x", "pct", 29.2, "tid2013", 100 * 0.23 * 29.2 / 512),
    ("translate_y", "pct", 29.2, "tid2013", 100 * 0.23 * 29.2 / 384),
    ("rotate", "deg", 60, "mine", 3.6), ("dilate", "pct", 60, "live", 2.6),
    ("translate_x", "pct", 29.2, "mine", math.nan),  # the size is not known
    ("translate_x", "pct", 29.2, "live", math.nan),  # several sizes
    ("shear", "deg", 29.2, "mine", math.nan)])
def test_thresholds_in_the_units_of_a_curve(family, unit, per_degree, dataset, expected):
    found = threshold_of(read_thresholds()[0], family, unit, per_degree, dataset)
    assert found == pytest.approx(expected, nan_ok=True)


def test_sides():
    assert (side_of("pipal", "translate_x"), side_of("pipal", "translate_y")) == (288, 288)


GOOD = "families: [rotate], value: 2, unit: deg, source: a, checked: true, assumption: none"


@pytest.mark.parametrize(("text", "message"), [
    ("thresholds: [", "not a readable YAML file"), ("[]", "a positive number pixels_per_degree"),
    ("{pixels_per_degree: -1, thresholds: []}", "a positive number pixels_per_degree"),
    ("{pixels_per_degree: 30, thresholds: [3]}", "threshold 1: expected assumption, checked"),
    (f"{{pixels_per_degree: 30, thresholds: [{{{GOOD}, more: 1}}]}}", "found families, value, unit"),
    (f"{{pixels_per_degree: 30, thresholds: [{{{GOOD.replace('2', '.nan')}}}]}}", "number, found nan"),
    (f"{{pixels_per_degree: 30, thresholds: [{{{GOOD.replace('deg', 'rad')}}}]}}", "rotate must be deg"),
    (f"{{pixels_per_degree: 30, thresholds: [{{{GOOD.replace('deg', 'visual_deg')}}}]}}",
     "must be deg, found"),
    (f"{{pixels_per_degree: 30, thresholds: [{{{GOOD.replace('[rotate]', '[rotat]')}}}]}}",
     "did you mean rotate"),
    (f"{{pixels_per_degree: 30, thresholds: [{{{GOOD.replace('[rotate]', 'rotate')}}}]}}", "a list of names"),
    (f"{{pixels_per_degree: 30, thresholds: [{{{GOOD.replace('true', '1')}}}]}}", "true or false, found 1")])
def test_a_wrong_file_is_refused(tmp_path, text, message):
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(ZsiqaError, match="mine.yaml") as refused:
        read_thresholds(tmp_path / "mine.yaml")
    assert message in str(refused.value)


def test_a_file_of_ones_own(tmp_path):
    (tmp_path / "mine.yaml").write_text(f"{{pixels_per_degree: 30, thresholds: [{{{GOOD}}}]}}")
    (one,), per_degree = read_thresholds(tmp_path / "mine.yaml")
    assert (one.value, one.unit, one.checked, per_degree) == (2.0, "deg", True, 30.0)
    with pytest.raises(ZsiqaError, match="no_such.yaml"):
        read_thresholds(tmp_path / "no_such.yaml")
