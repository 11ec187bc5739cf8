"""Packed products against float64, and who gets them."""

import pytest
import torch
from conftest import write_pairs
from torch import nn
from torch.profiler import profile

from zsiqa import distances
from zsiqa.backbones.timm_backbone import TimmBackbone
from zsiqa.datasets import pairs as pairs_dataset
from zsiqa.packing import AVAILABLE, PackedLinears
from zsiqa.perturbations import Original
from zsiqa.scoring import Scorer

packed_here = pytest.mark.skipif(not AVAILABLE, reason="no oneDNN, or no x86 processor")


def count_calls(work):
    """How often oneDNN packed a weight, and multiplied with one."""
    with profile() as events:
        work()
    names = [event.name for event in events.events()]
    return names.count("mkldnn::_reorder_linear_weight"), names.count("mkldnn::_linear_pointwise")


@pytest.fixture
def two_pairs(tmp_path):
    return pairs_dataset.read(write_pairs(tmp_path, [(70, 64)], levels=2)).pairs


def frozen(layer):
    return layer.eval().requires_grad_(False)


@pytest.mark.parametrize("shape", [(2, 33), (5, 7, 33), (2, 3, 4, 33), (1, 33), (33,), (0, 33)])
@pytest.mark.parametrize("bias", [True, False])
def test_products_are_right_up_to_rounding(shape, bias):
    torch.manual_seed(0)
    layer, x = frozen(nn.Linear(33, 20, bias=bias)), torch.randn(shape)
    with PackedLinears():
        found = layer(x)
    assert found.dtype == torch.float32
    # 33 products of about 1 are added; each addition may round by 6e-8 of the sum.
    torch.testing.assert_close(found.double(), layer.double()(x.double()), rtol=0, atol=33 * 6e-8)


def test_memory_of_any_layout():
    torch.manual_seed(0)
    layer, maps = frozen(nn.Linear(6, 4)), torch.randn(2, 6, 3, 5)
    with PackedLinears():
        found = layer(maps.permute(0, 2, 3, 1))
    torch.testing.assert_close(found, layer(maps.permute(0, 2, 3, 1).contiguous()), rtol=0, atol=6 * 6e-8)


@packed_here
def test_a_weight_is_packed_once_for_any_number_of_rows():
    layer, packed = frozen(nn.Linear(16, 8)), PackedLinears()

    def work():
        for rows in (3, 50, 7):
            with packed:
                layer(torch.ones(rows, 16))

    assert count_calls(work) == (1, 3)


@pytest.mark.parametrize("layer", [nn.Linear(8, 4), frozen(nn.Linear(8, 4)).double(), frozen(nn.Linear(8, 4)).half()],
                         ids=["wants a gradient", "float64", "float16"])
def test_all_else_is_left_alone(layer):
    x = torch.ones(3, 8, dtype=layer.weight.dtype)

    def work():
        with PackedLinears():
            assert torch.equal(layer(x), nn.functional.linear(x, layer.weight, layer.bias))

    assert count_calls(work) == (0, 0)


def test_gradients_are_as_ever():
    torch.manual_seed(0)
    layer, x = frozen(nn.Linear(8, 4)), torch.randn(3, 8, requires_grad=True)
    with PackedLinears():
        [found] = torch.autograd.grad(layer(x).sum(), x)
    torch.testing.assert_close(found, layer.weight.sum(0).expand(3, 8))
    layer.bias.requires_grad_(True)
    with PackedLinears():
        [found] = torch.autograd.grad(layer(x.detach()).sum(), layer.bias)
    assert found.tolist() == [3, 3, 3, 3]


@packed_here
@pytest.mark.parametrize(("settings", "packs"), [({}, True), ({"precision": "bf16"}, False),
                                                 ({"compile": True}, False)], ids=["fp32", "bf16", "compiled"])
def test_the_engine_packs_in_float32(settings, packs, two_pairs, monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda work, **_: work)  # nothing is to be compiled here, only asked for
    backbone = TimmBackbone(model_name="vit_tiny_patch16_224", weights=None, model_kwargs={"depth": 2, "img_size": 64})
    scorer = Scorer(backbone, distances={("features", "l2"): distances.L2()}, perturbations={"original": Original()},
                    window=64, stride=50, **settings)
    packed, multiplied = count_calls(lambda: list(scorer.score(two_pairs)))
    assert (packed, multiplied > 0) == (8 if packs else 0, packs)  # qkv, proj, fc1 and fc2 of two blocks
