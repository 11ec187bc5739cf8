"""Metrics as their authors run them, against the authors' own calls on the same photographs."""

import sys
from types import SimpleNamespace

import DISTS_pytorch.DISTS_pt as package_of_dists
import lpips
import numpy as np
import pytest
import torch
from conftest import add_noise, dists_package, make_image
from PIL import Image
from torchvision.models import alexnet, vgg16

import zsiqa
import zsiqa.baselines.dists  # before a test replaces torchvision's vgg16
from zsiqa.config import compose
from zsiqa.releases import metric_facts, variant_of
from zsiqa.scoring.scaling import ShortSide

pytestmark = pytest.mark.numeric
NETWORKS = {"alex": alexnet, "vgg": vgg16}


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    """Files with random weights as torchvision has them."""
    folder = tmp_path_factory.mktemp("networks")
    for name, build in NETWORKS.items():
        torch.manual_seed(0)
        torch.save(build().state_dict(), folder / f"{name}.pth")
    return folder


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Files of a reference and a distorted image, 90 x 70 pixels."""
    return write_images(tmp_path_factory.mktemp("images"), 90, 70)


def write_images(folder, width, height):
    reference = make_image(width, height, 1)
    reference.save(folder / "ref.png")
    add_noise(reference, 25, 2).save(folder / "dis.png")
    return folder / "ref.png", folder / "dis.png"


def score(images, name, *overrides, scale="native"):
    with torch.inference_mode():
        return zsiqa.Metric(baseline=name, scale=scale, overrides=list(overrides))(*map(str, images)).item()


def loaded(package, network, file):
    """The package's network with weights of torchvision's layers, which have the same numbers."""
    model = NETWORKS[network]()
    model.load_state_dict(torch.load(file, weights_only=True))
    for part in (getattr(package.net, f"slice{number}") for number in range(1, 6)):
        for number in [key for key, layer in part.named_children() if hasattr(layer, "weight")]:
            part.get_submodule(number).load_state_dict(model.features[int(number)].state_dict())
    return package


@pytest.mark.slow
@pytest.mark.parametrize("network", NETWORKS)
def test_lpips_as_its_authors_run_it(networks, images, network):
    package = loaded(lpips.LPIPS(net=network, pnet_rand=True, verbose=False), network,
                     networks / f"{network}.pth")
    # lpips_2imgs.py: images in [-1, 1]; im2tensor is the package's.
    tensors = [lpips.im2tensor(np.asarray(Image.open(path))) for path in images]
    with torch.inference_mode():
        expected, papers = package(*tensors).item(), package(*(x / 2 + 0.5 for x in tensors)).item()
    name = f"lpips_{network}_authors"
    checkpoint = f"checkpoint={networks / f'{network}.pth'}"
    # Float32 in another order: 1e-6 of a feature, and about ten times that of a difference.
    assert score(images, name, f"baselines.{name}.{checkpoint}") == pytest.approx(expected, rel=2e-5)
    assert score(images, variant_of(name), f"baselines.{variant_of(name)}.{checkpoint}") == pytest.approx(
        papers, rel=2e-5)
    assert abs(expected - papers) > 0.01 * papers, "or the test could not tell them apart"


@pytest.mark.sample("alex")
@pytest.mark.parametrize("network", NETWORKS)
def test_stlpips_as_its_authors_run_it(images, network, monkeypatch):
    # Imported by the package, declared nowhere, and not used.
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(embed=None))
    monkeypatch.setitem(sys.modules, "torchsummary", SimpleNamespace(summary=None))
    from stlpips_pytorch import stlpips, utils  # with these two only
    package = stlpips.LPIPS(net=network, variant="shift_tolerant", verbose=False)
    with torch.inference_mode():
        expected = package(*(utils.im2tensor(np.asarray(Image.open(path))) for path in images)).item()
    assert score(images, f"stlpips_{network}") == pytest.approx(expected, rel=2e-5)  # as above


@pytest.mark.slow
def test_dists_as_its_authors_run_it(networks, tmp_path, monkeypatch):
    images = write_images(tmp_path, 300, 280)
    package = dists_package(networks / "vgg.pth", monkeypatch)
    pictures = [Image.open(path).convert("RGB") for path in images]
    assert metric_facts("dists@short_256").as_authors
    ours = score(images, "dists", f"baselines.dists.checkpoint={networks / 'vgg.pth'}", scale="short_256")
    full = score(images, "dists", f"baselines.dists.checkpoint={networks / 'vgg.pth'}")
    scaled = [torch.from_numpy(ShortSide(256).pixels(image)).permute(2, 0, 1)[None] / 255
              for image in pictures]
    # DISTS_pt.py shrinks in 8 bits, and we do not round: docs/scale.md.
    theirs = [package_of_dists.prepare_image(image, resize=True) for image in pictures]
    assert [x.shape for x in theirs] == [x.shape for x in scaled]
    with torch.inference_mode():
        same_input, own_input = package(*scaled).item(), package(*theirs).item()
    # 1 - a sum near 1, of covariances that are differences of means: some 1e-6 are lost in float32.
    assert ours == pytest.approx(same_input, abs=1e-5)
    # At most one grey level of 255 a pixel, which means and covariances average out: 5e-5 measured.
    assert ours == pytest.approx(own_input, rel=1e-3)
    assert abs(full - ours) > 1e-3, "or the test could not tell them apart"


@pytest.mark.parametrize("name", ["lpips_alex_authors", "lpips_vgg_authors"])
def test_a_variant_is_its_metric_but_for_its_label_and_one_setting(name):
    variant, metric = (compose(f"baseline={one}").baselines[one] for one in (name, variant_of(name)))
    assert variant_of(name) == name.removesuffix("_authors")
    assert {**variant, "label": "", "model": {**variant.model, "normalize": False}} == {
        **metric, "label": "", "model": dict(metric.model)}
    assert variant.model.normalize is True
    assert metric_facts(name).trained_on == metric_facts(variant_of(name)).trained_on == ("bapps",)
