"""The file of costs: a row for each metric, and the script that writes it."""

import subprocess
import sys
from pathlib import Path

import pytest
from torchvision.models import alexnet, vgg16, vgg19

from zsiqa import CONFIGS
from zsiqa.backbones.weights import find_weights
from zsiqa.config import compose
from zsiqa.evaluation.cost import cost_of, costs
from zsiqa.releases import variant_of

SCRIPT = Path(__file__).parents[2] / "scripts/benchmark_cost.py"


def metrics():
    yield from map(variant_of, compose("baseline=extended").baselines)
    for name in sorted(file.stem for file in (CONFIGS / "backbone").glob("*.yaml")):
        if name not in ("timm", "open_clip", "none"):  # any model, or none
            cfg = compose(f"backbone={name}", "distance=all")
            yield from (f"{name}-{representation}-{distance}" for distance in cfg.distances
                        for representation in cfg.backbone.representations)


@pytest.mark.slow
def test_every_metric_has_its_cost():
    assert costs().keys() == set(metrics())
    for name, cost in costs().items():
        assert 0 < cost.ms_further <= cost.ms_pair, name
        assert cost.peak_mib > 100, name  # PyTorch alone needs more
        assert bool(cost.parameters) == bool(cost.download_mib), name
        assert cost.machine.startswith("one core of an "), name


def test_a_variant_costs_what_its_metric_costs():
    assert cost_of("lpips_vgg_authors") == costs()["lpips_vgg"]
    assert cost_of("liao2024:lpips_vgg_authors@short_256") is None


@pytest.mark.slow
@pytest.mark.parametrize(("name", "network", "last"), [
    ("lpips_alex", alexnet, 11), ("dists", vgg16, 29), ("deepdc", vgg19, 34), ("dmm", vgg16, 22),
    ("vgg19-features-wsd", vgg19, 35),
])
def test_parameters_are_those_of_the_layers_in_use(name, network, last):
    layers = network().features[:last + 1]
    heads = 64 + 192 + 384 + 256 + 256 if name == "lpips_alex" else 0
    assert costs()[name].parameters == heads + sum(parameter.numel() for parameter in layers.parameters())


def test_the_download_is_the_file():
    file = find_weights(compose("backbone=efficientnet_lite0"))
    assert costs()["efficientnet_lite0-features-cosine"].download_mib == pytest.approx(
        file.stat().st_size / 2**20, abs=0.05)  # stored with one decimal


@pytest.mark.slow
def test_the_script_measures():
    done = subprocess.run([sys.executable, str(SCRIPT), "--here", "psnr"], check=True, capture_output=True,
                          text=True)
    name, pair, further, _, parameters, download = done.stdout.strip().split(",")
    assert (name, parameters, download) == ("psnr", "0", "0.0")
    assert 0 < float(further) <= float(pair)
