"""Robustness, and the check of the paper's message."""

import math

import pandas as pd
import pytest

from zsiqa.evaluation.message import check_message, rank_robustness


def frame(**rows):
    return pd.DataFrame.from_dict({name.replace("__", "-"): row for name, row in rows.items()},
                                  orient="index", columns=["original", "translate", "rotate"])


GOOD = {"dinov1__features__cosine": [0.9, 0.85, 0.8], "dinov1__embedding__cosine": [0.8, 0.8, 0.7],
        "psnr": [0.7, 0.1, 0.2], "lpips_vgg": [0.85, 0.75, 0.8]}


def verdicts(values, **options):
    return [one.holds for one in check_message(values, ("psnr",), **options)]


def test_a_metric_that_is_bad_everywhere_is_not_the_most_robust():
    ranked = rank_robustness(frame(bad=[0.1, 0.1, 0.1], good=[0.9, 0.8, 0.85], wrong=[-0.5, -0.4, -0.4]))
    assert [one.metric for one in ranked] == ["good", "bad", "wrong"]
    assert ranked[0][1:] == (0.9, 0.8, "translate")
    assert [round(one.loss, 9) for one in ranked] == [0.1, 0, 0]


def test_a_metric_without_moved_or_original_images_is_left_out():
    ranked = rank_robustness(frame(a=[0.9, math.nan, 0.8], b=[0.9, math.nan, math.nan], c=[math.nan, 1, 1]))
    assert [one.metric for one in ranked] == ["a"]


def test_the_message_holds():
    assert verdicts(frame(**GOOD)) == [True] * 4


@pytest.mark.parametrize(("changed", "place", "why"), [
    ({"lpips_vgg": [0.95, 0.75, 0.8]}, 0, "lpips_vgg 0.950"),
    ({"dinov1__embedding__cosine": [0.9, 0.8, 0.7]}, 1, "not for dinov1 cosine (+0.000)"),
    ({"lpips_vgg": [0.85, 0.82, 0.82]}, 2, "lpips_vgg 0.820 (translate)"),
    ({"psnr": [0.8, 0.76, 0.77]}, 3, "the median distance has 0.750, psnr 0.760"),
])
def test_each_statement_can_fail(changed, place, why):
    found = check_message(frame(**(GOOD | changed)), ("psnr",))
    assert [one.holds for one in found] == [number != place for number in range(4)]
    assert why in found[place].why


def test_a_statement_without_metrics_to_compare_is_left_out():
    assert check_message(frame(psnr=[0.7, 0.1, 0.2]), ("psnr",)) == []
    still = frame(psnr=[0.7, 0.1, 0.2], vgg__features__l2=[0.8, 0.7, 0.7])[["original"]]
    assert [one.statement for one in check_message(still, ("psnr",))] == [
        "without training, the best distance is at least as good as the best baseline"]
    assert check_message(still.drop(columns="original"), ("psnr",)) == []


@pytest.mark.parametrize(("decided", "text"), [(0, "within chance"), (1, "more than chance")])
def test_chance_is_said(decided, text):
    names = ["dinov1-features-cosine", "lpips_vgg"]
    matrix = pd.DataFrame([[0, decided], [-decided, 0]], index=names, columns=names)
    assert check_message(frame(**GOOD), ("psnr",), matrix)[0].why.endswith(text)
