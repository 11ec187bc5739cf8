"""DeepDC and DMM against their formulas in float64, spelled out with numpy and scipy.

Both were compared with their packages by hand, on the same random trunks: DeepDC_PyTorch 0.2 and DMM_PyTorch
0.1 gave the same scores up to rounding (1e-7 in DeepDC; 7e-3 of DMM at the smallest scores, else 1e-3).
"""

import numpy as np
import pytest
import torch
from conftest import add_noise, make_image, tensor
from scipy.spatial.distance import cdist
from torch.nn import functional as F
from torchvision.models import vgg16, vgg19

from zsiqa.baselines.deepdc import DeepDC
from zsiqa.baselines.dmm import DMM, decompose
from zsiqa.types import WeightsError

pytestmark = pytest.mark.numeric


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    """Files with random weights as torchvision has them; larger than usual, so that the maps matter."""
    folder = tmp_path_factory.mktemp("networks")
    torch.manual_seed(0)
    for name, build in (("vgg16", vgg16), ("vgg19", vgg19)):
        state = {key: 1.5 * tensor for key, tensor in build().state_dict().items()
                 if key.startswith("features")}
        torch.save(state, folder / f"{name}.pth")
    return {name: folder / f"{name}.pth" for name in ("vgg16", "vgg19")}


@pytest.fixture(scope="module")
def models(networks):
    return {"deepdc": DeepDC(weights=networks["vgg19"]), "dmm": DMM(weights=networks["vgg16"])}


def images(width, height, sigma):
    """(reference, distorted), both (1, 3, H, W)."""
    reference = make_image(width, height, 1)
    return [tensor(image) for image in (reference, add_noise(reference, sigma, 2))]


def maps_of(file, image, wanted, pool):
    """Outputs of convolutions in float64, (C, H, W).

    `wanted` has their indices in torchvision's network: True with the ReLU, False without. `pool` follows the
    last convolution of a block.
    """
    state = torch.load(file, weights_only=True)
    last_of_block = {"vgg16.pth": (2, 7, 14), "vgg19.pth": (2, 7, 16, 25)}[file.name]
    x, found = image.double(), []
    for number in sorted({int(key.split(".")[1]) for key in state}):
        weight, bias = (state[f"features.{number}.{part}"].double() for part in ("weight", "bias"))
        before = F.conv2d(x, weight, bias, padding=1)
        x = before.relu()
        if number in wanted:
            found.append((x if wanted[number] else before)[0].numpy())
        if number == max(wanted):
            break
        if number in last_of_block:
            x = pool(x)
    return found


def max_pool(x):
    return F.max_pool2d(x, 2)


def l2_pool(x):
    side = torch.tensor([0.25, 0.5, 0.25], dtype=x.dtype)
    kernel = torch.outer(side, side).expand(x.shape[1], 1, 3, 3)
    return (F.conv2d(x.square(), kernel, stride=2, padding=1, groups=x.shape[1]) + 1e-12).sqrt()


def reference_deepdc(file, reference, distorted):
    def centred(x):
        channels = x.reshape(len(x), -1)
        distances = np.sqrt((cdist(channels, channels) / len(x)) ** 2 + 1e-5)
        centre = np.eye(len(x)) - 1 / len(x)
        return centre @ distances @ centre

    wanted = {2: True, 7: True, 16: True, 25: True, 34: False}
    correlations = []
    maps = (maps_of(file, image, wanted, max_pool) for image in (reference, distorted))
    for x, y in zip(*maps, strict=True):
        a, b = centred(x), centred(y)
        correlations.append(((a * b).sum() + 1e-6) / (np.sqrt((a * a).sum() * (b * b).sum()) + 1e-6))
    return 1 - np.mean(correlations)


def reference_dmm(maps):
    """From (reference's, distorted image's) maps (C, H, W) of each layer."""
    def similarity(x, y):
        return np.mean([(2 * a * b + 1e-6) / (a**2 + b**2 + 1e-6)
                        for a, b in zip(x.mean((1, 2)), y.mean((1, 2)), strict=True)])

    def patches(x):
        return [channel[row:row + 16, column:column + 16].T for channel in x
                for row in range(0, x.shape[1] - 15, 4) for column in range(0, x.shape[2] - 15, 4)]

    total = 0
    for x, y in maps:
        terms = []
        for one, other in zip(patches(x), patches(y), strict=True):
            (u, s, _), (v, t, _) = np.linalg.svd(one), np.linalg.svd(other)
            agreement = np.abs(u * v).sum(1)
            terms.append(((s - t) ** 2).sum() * agreement.std(ddof=1) / (agreement.mean() + 1e-9))
        total += np.mean(terms) * np.exp(-2 * similarity(x, y))
    return total


@pytest.mark.slow
@pytest.mark.parametrize(("size", "sigma"), [((70, 52), 3), ((51, 67), 40)])
def test_deepdc_against_its_formula(networks, models, size, sigma):
    pair = images(*size, sigma)
    expected = reference_deepdc(networks["vgg19"], *pair)
    with torch.inference_mode():
        # float32: 1 - a sum near 1
        assert models["deepdc"](*pair).item() == pytest.approx(expected, abs=1e-6)
        precise = DeepDC(weights=networks["vgg19"]).double()(*(image.double() for image in pair)).item()
        native = DeepDC(weights=networks["vgg19"], normalize="native").double()
        mean, std = (torch.tensor(three).view(3, 1, 1) for three in ((0.485, 0.456, 0.406),
                                                                     (0.229, 0.224, 0.225)))
        of_native = native(*(image.double() for image in pair)).item()
    assert precise == pytest.approx(expected, rel=1e-8)  # squared distances by products, in float64
    expected = reference_deepdc(networks["vgg19"], *((image - mean) / std for image in pair))
    assert of_native == pytest.approx(expected, rel=1e-4)  # mean and deviation are rounded to float32


def test_dmm_of_given_maps_against_its_formula(models):
    random = np.random.default_rng(0)
    maps = [(x, x + random.normal(0, 0.5, x.shape)) for x in (random.normal(1, 1, (3, 27, 21)),
                                                              random.normal(2, 1, (5, 16, 20)))]
    encoded = [tuple(part for pair in maps for part in parts_of(torch.from_numpy(pair[side])[None]))
               for side in (0, 1)]
    found = models["dmm"].compare(*encoded).item()
    assert found == pytest.approx(reference_dmm(maps), rel=1e-9)  # float64


def parts_of(maps):
    return maps.mean((2, 3)), *decompose(maps)


@pytest.mark.slow
@pytest.mark.parametrize(("size", "sigma"), [((132, 121), 10), ((121, 140), 40)])
def test_dmm_against_its_formula(networks, models, size, sigma):
    pair = images(*size, sigma)
    maps = (maps_of(networks["vgg16"], image, {14: True, 21: True}, l2_pool) for image in pair)
    expected = reference_dmm(zip(*maps, strict=True))
    with torch.inference_mode():
        # After a ReLU, many patches have a rank below 16, and then their vectors are not unique: numpy's and
        # PyTorch's differ. The scores differed by up to 2 %, also in float64.
        assert models["dmm"](*pair).item() == pytest.approx(expected, rel=5e-2)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["deepdc", "dmm"])
def test_order_of_levels_equal_images_and_batches(models, name):
    model = models[name]
    reference, mild = images(150, 130, 2)
    _, strong = images(150, 130, 40)
    with torch.inference_mode():
        batch = torch.cat([reference, mild, strong])
        equal, low, high = model(reference.expand(3, -1, -1, -1), batch).tolist()
        alone = model(reference, strong).item()
    assert equal == pytest.approx(0, abs=1e-6)  # float32
    assert equal < low < high
    assert high == pytest.approx(alone, rel=1e-2)  # other kernels for another batch; see above


@pytest.mark.parametrize("name", ["deepdc", "dmm"])
def test_degenerate_images_and_the_least_side(models, name):
    model = models[name]
    least = model.least_side
    black, white = (torch.full((1, 3, least, least + 5), value) for value in (0.0, 1.0))
    pixel = black.clone()
    pixel[0, 1, 8, 8] = 1 / 255
    with torch.inference_mode():
        for pair in ((black, black), (black, white), (white, black), (black, pixel)):
            assert model(*pair).isfinite().all()
        small = torch.rand(1, 3, least - 1, least - 1)
        with pytest.raises(RuntimeError):  # of PyTorch: a pool or a patch does not fit
            model(small, small)


@pytest.mark.slow
def test_weights_that_do_not_fit(networks):
    with pytest.raises(WeightsError, match="does not fit"):
        DeepDC(weights=networks["vgg16"])
    with pytest.raises(WeightsError, match="does not fit"):
        DMM(weights=networks["vgg19"])
