"""The mean over pairs, as torchmetrics keeps it."""

import subprocess
import sys

import pytest
import torch
from torchmetrics import MetricCollection

import zsiqa
from zsiqa.scoring.metric import Metric
from zsiqa.torchmetrics import ZeroShotIQA
from zsiqa.types import ZsiqaError

CNN = {"pretrained": False,
       "overrides": ["backbone.model_name=test_resnet.r160_in1k", "window=64", "stride=50"]}


def pairs(count, seed=0):
    random = torch.Generator().manual_seed(seed)
    return torch.rand(2, count, 3, 64, 80, generator=random).unbind()


def test_mean_over_pairs_of_batches_of_any_size():
    metric = zsiqa.torchmetrics.ZeroShotIQA("timm", "wsd", **CNN)
    single = Metric("timm", "wsd", **CNN)
    scores = []
    for size in (1, 3, 2):
        target, preds = pairs(size, seed=size)
        expected = single(target, preds)
        scores.append(expected)
        assert metric(preds,
                      target).item() == pytest.approx(expected.mean().item(), rel=1e-6), "of this batch"
    assert metric.compute().item() == pytest.approx(torch.cat(scores).mean().item(), rel=1e-6)  # float32
    metric.reset()
    target, preds = pairs(2)
    metric.update(preds=preds, target=target)
    assert metric.compute().item() == pytest.approx(single(target, preds).mean().item(), rel=1e-6)


def test_in_a_collection_cloned_and_as_a_loss():
    collection = MetricCollection(
        {"a": ZeroShotIQA("timm", "l2", **CNN), "b": ZeroShotIQA("timm", "wsd", **CNN)})
    clone = collection.clone(prefix="val_").train()
    target, preds = pairs(2)
    found = clone(preds, target)
    assert found.keys() == {"val_a", "val_b"}
    assert found["val_b"].item() == pytest.approx(
            Metric("timm", "wsd", **CNN)(target, preds).mean().item(), rel=1e-6)
    preds.requires_grad_()
    ZeroShotIQA("timm", "l2", **CNN)(preds, target).backward()
    assert preds.grad.any()


def test_the_rules_for_images_are_those_of_the_metric():
    target, preds = pairs(1)
    with pytest.raises(ZsiqaError, match="distorted images .* found values"):
        ZeroShotIQA("timm", "l2", **CNN).update(2 * preds, target)


def test_a_baseline():
    metric = ZeroShotIQA(baseline="psnr")
    target, preds = pairs(3)
    metric.update(preds, target)
    assert metric.compute().item() == pytest.approx(Metric(baseline="psnr")(target, preds).mean().item())
    assert metric.higher_is_better
    assert not ZeroShotIQA("timm", "l2", **CNN).higher_is_better
    clone = MetricCollection({"a": metric}).clone()
    assert clone["a"].higher_is_better


@pytest.mark.slow
def test_without_torchmetrics_the_rest_works():
    code = ("import sys; sys.modules['torchmetrics'] = None; import zsiqa; zsiqa.Metric\n"
            "try: zsiqa.torchmetrics\n"
            "except ImportError as error: print(error)")
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert "pip install 'zsiqa[torchmetrics]'" in done.stdout
