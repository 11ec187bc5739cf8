"""VGG19 and EfficientNet-B7 on whole images, against torchvision's own layers and plain float64
arithmetic."""

import math

import numpy as np
import ot
import pytest
import torch
import torchvision
from test_distances import _reference_columns, _softmax, _weight
from torch.nn import functional as F

from zsiqa import distances
from zsiqa.backbones import torchvision_backbone
from zsiqa.config import compose, instantiate
from zsiqa.distances.columns import FEW_COLUMNS
from zsiqa.distances.distribution import squared_transport
from zsiqa.types import WeightsError

pytestmark = pytest.mark.numeric

BACKBONES = ["vgg19", "efficientnet_b7"]


def randomise(model, seed):
    """Nothing at its default, so that a layer mixed up or left out shows."""
    torch.manual_seed(seed)
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point() and tensor.ndim < 2:
            tensor.copy_(torch.rand_like(tensor) * 0.4 + (0.8 if "weight" in name or "var" in name else -0.2))
    return model.eval()


@pytest.fixture(scope="module")
def originals():
    """torchvision's networks with random weights. VGG19 without its classifier, which alone has 124
    million."""
    vgg = torchvision.models.VGG(torchvision.models.vgg.make_layers(torchvision.models.vgg.cfgs["E"]),
                                 num_classes=1,
                                 init_weights=True)
    vgg.classifier = torch.nn.Sequential(torch.nn.Linear(4, 4))
    return {"vgg19": randomise(vgg, 1), "efficientnet_b7": randomise(torchvision.models.efficientnet_b7(), 2)}


@pytest.fixture(scope="module")
def ours(originals, tmp_path_factory):
    """The backbones as they are configured, with the weights of the originals from a file."""
    found = {}
    for name, model in originals.items():
        file = tmp_path_factory.mktemp("weights") / f"{name}.pth"
        torch.save(model.state_dict(), file)
        found[name] = instantiate(compose(f"backbone={name}").backbone.model, weights=file)
    return found


@pytest.fixture(scope="module")
def images():
    torch.manual_seed(3)
    # no multiple of 8
    smooth = F.interpolate(torch.rand(2, 3, 9, 12), size=(99, 140), mode="bicubic").clamp(0, 1)
    return smooth, (smooth + 0.05 * torch.randn_like(smooth)).clamp(0, 1)


def _reference_l2_pooling(x):
    """Loops over the nine places of the window, float64."""
    height, width = x.shape[-2:]
    window = np.outer(np.hanning(5)[1:-1], np.hanning(5)[1:-1])
    window /= window.sum()
    out = torch.zeros(*x.shape[:2], (height + 1) // 2, (width + 1) // 2, dtype=torch.float64)
    padded = F.pad(x.double(), (1, 1, 1, 1))
    for row in range(3):
        for column in range(3):
            part = padded[..., row:row + height:2, column:column + width:2]
            out += window[row, column] * part**2
    return (out + 1e-12).sqrt()


def _reference_maps(name, model, x):
    """The maps of protocol section 6 with torchvision's layers, in float64."""
    layers = [layer.double() for layer in model.features]
    maps, x = [x.double()], x.double()
    for number, layer in enumerate(layers[:36] if name == "vgg19" else layers[:8]):
        x = _reference_l2_pooling(x) if isinstance(layer, torch.nn.MaxPool2d) else layer(x).clone()
        if number in ((3, 8, 17, 26, 35) if name == "vgg19" else range(1, 8)):
            maps.append(x.clone())
    model.float()
    return maps


@pytest.mark.slow
@pytest.mark.parametrize("name", BACKBONES)
def test_every_map_is_the_originals(name, originals, ours, images):
    with torch.no_grad():
        expected = _reference_maps(name, originals[name], images[0])
        found = ours[name](images[0])
    assert list(found) == ["features"]
    assert [tuple(one.shape[2:]) for one in found["features"]] == [tuple(one.shape[1:]) for one in expected]
    for one, reference in zip(found["features"], expected, strict=True):
        error = (one[:, 0] - reference).norm() / reference.norm()
        assert error <= 1e-5  # float32 against float64 through up to 150 layers; measured 3e-7 to 2e-6
        assert one.is_contiguous()
        assert one.dtype == torch.float32


def _reference_value(backbone, distance, x, y):
    """One map's value by protocol section 6; x of the distorted, y of the reference, (C, H, W) float64."""
    padded_sums = [_reference_columns(z).sum() for z in (x, y)]
    columns = [_reference_columns(z) for z in (x, y)]
    over_samples, over_columns = [_softmax(z, 0) for z in columns], [_softmax(z, 1) for z in columns]
    support, total = np.arange(64.0), 0.0
    for m in range(columns[0].shape[1]):
        euclid = ((columns[0][:, m] - columns[1][:, m]) ** 2).sum()
        p, q = over_samples[0][:, m], over_samples[1][:, m]
        if distance == "skld":
            k = ((p * np.log(p / q)).sum() + (q * np.log(q / p)).sum()) / 2
        elif distance == "jsd":
            k = ((p * np.log(2 * p / (p + q))).sum() + (q * np.log(2 * q / (p + q))).sum()) / 2
        elif backbone == "vgg19":
            p, q = (z[:, m] ** 2 / (whole + 1e-6) for z, whole in zip(columns, padded_sums, strict=True))
            k = float(ot.wasserstein_1d(support, support, p, q, p=2))
        else:
            k = float(ot.wasserstein_1d(support, support, over_columns[0][:, m], over_columns[1][:, m], p=1))
        total += k + (0.0 if (backbone, distance) == ("efficientnet_b7", "jsd") else euclid * _weight(k))
    return total / columns[0].shape[1]


@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize("distance", ["skld", "jsd", "wsd"])
def test_scores_are_those_of_liao_et_al(name, distance):
    torch.manual_seed(4)
    # Small maps, for the loops are slow, of the networks' magnitudes. Positive, as after ReLU and in images.
    ref = tuple(torch.rand(1, 1, *shape) * scale for shape, scale in
                [((3, 21, 30), 1.0), ((16, 12, 20), 3.0), ((24, 9, 7), 6.0)])
    dis = tuple((stack + 0.1 * torch.randn_like(stack)).clamp_min(0) for stack in ref)
    found = instantiate(compose(f"backbone={name}", f"distance={distance}").distances[distance].fn)(ref, dis)
    values = [_reference_value(name, distance, d[0, 0].double().numpy(), r[0, 0].double().numpy())
              for d, r in zip(dis, ref, strict=True)]
    assert found.item() == pytest.approx(math.log(1 + sum(values) / len(values)) ** 0.25, rel=1e-5)  # float32


@pytest.mark.slow
@pytest.mark.parametrize("name", BACKBONES)
def test_equal_images_have_distance_zero_and_batches_do_not_matter(name, ours, images):
    cfg = compose(f"backbone={name}", "distance=all")
    with torch.no_grad():
        together, single = ours[name](torch.cat(images))["features"], ours[name](images[0][1:2])["features"]
        for node in cfg.distances.values():
            assert instantiate(node.fn)(together, together).tolist() == [0, 0, 0, 0]
    for many, one in zip(together, single, strict=True):
        assert (many[1] - one[0]).norm() <= 1e-5 * one.norm()  # another kernel rounds differently


def test_squared_transport_is_pots_for_unequal_masses():
    random = np.random.default_rng(5)
    p, q = random.random((2, 64, 20)) * random.random((2, 1, 20)) * 3
    found = squared_transport(torch.from_numpy(p), torch.from_numpy(q))
    support = np.arange(64.0)
    expected = [float(ot.wasserstein_1d(support, support, p[:, m], q[:, m], p=2)) for m in range(20)]
    assert found.tolist() == pytest.approx(expected, rel=1e-10)  # float64
    by_hand = squared_transport(torch.tensor([[1.0], [0.0], [0.0]]), torch.tensor([[0.0], [0.0], [1.0]]))
    assert by_hand.tolist() == [4.0]  # all of the mass moves by two


def test_a_softmax_that_underflows_is_not_hidden():
    columns = 2 * FEW_COLUMNS  # so many that it is computed in float32
    ref, dis = torch.zeros(64, columns), torch.zeros(64, columns)
    ref[0], dis[1] = 200.0, 200.0
    ref, dis = (samples.view(1, 1, columns, 8, 8) for samples in (ref, dis))
    assert not torch.isfinite(distances.SKLD(epsilon=0.0)((ref,), (dis,))).all()
    assert torch.isfinite(distances.SKLD()((ref,), (dis,))).all()


@pytest.mark.sample("vgg19")
@pytest.mark.parametrize("name", BACKBONES)
def test_weights_are_loaded_strictly(name, originals, tmp_path):
    state = originals[name].state_dict()
    first = next(iter(state))
    torch.save({key: value for key, value in state.items() if key != first}, tmp_path / "partial.pth")
    with pytest.raises(WeightsError, match=f"1 missing, e.g. {first}"):
        instantiate(compose(f"backbone={name}").backbone.model, weights=tmp_path / "partial.pth")
    torch.save({**state, "features.0.extra": torch.zeros(1)}, tmp_path / "more.pth")
    with pytest.raises(WeightsError, match=r"1 unexpected, e.g. features\.0\.extra"):
        instantiate(compose(f"backbone={name}").backbone.model, weights=tmp_path / "more.pth")


def test_always_in_evaluation_mode(ours):
    assert not any(module.training for model in ours.values() for module in model.modules())


def test_native_normalisation_leaves_the_first_map_alone(images):
    torch.manual_seed(0)
    plain = torchvision_backbone.vgg19(weights=None)
    native = torchvision_backbone.vgg19(weights=None, normalize="native")
    native.load_state_dict(plain.state_dict())
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    with torch.no_grad():
        found = native(images[0])["features"]
        expected = plain((images[0] - mean.view(3, 1, 1)) / std.view(3, 1, 1))["features"]
    assert torch.equal(found[0][:, 0], images[0])
    assert torch.equal(found[3], expected[3])
    with pytest.raises(ValueError, match="normalize must be none or native, found 'imagenet'"):
        torchvision_backbone.vgg19(weights=None, normalize="imagenet")
