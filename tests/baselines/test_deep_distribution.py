"""The measures of Liao et al. against their formulas in float64, spelled out with numpy, scipy and bisection.

test_liao_originals.py compares them with the twelve original files.
"""

import bisect
import math

import numpy as np
import pytest
import torch
import torchvision
from conftest import image_pair, make_image, tensor
from scipy.special import rel_entr, softmax
from torch.nn import functional as F
from torchvision.models import vgg

from zsiqa import Metric
from zsiqa.baselines.baseline import Baselines
from zsiqa.baselines.liao import DeepDistribution
from zsiqa.config import compose, instantiate
from zsiqa.datasets.demo import DISTORTIONS, PHOTOGRAPHS, _photograph
from zsiqa.distances import SKLD, WSD
from zsiqa.perturbations import Original
from zsiqa.runs.build import build_baselines
from zsiqa.scoring.engine import Failed
from zsiqa.scoring.scaling import AveragePooling
from zsiqa.types import ZsiqaError

pytestmark = pytest.mark.numeric

# Of each network: the layers whose outputs are maps, and how a side becomes a multiple of 8.
NETWORKS = {"vgg19": ((3, 8, 17, 26, 35), round), "efficientnet_b7": ((1, 2, 3, 4, 5, 6, 7), round),
            "mobilenet_v3_small": ((3, 6, 8, 11, 12), math.ceil), "squeezenet1_0": ((1, 5, 10, 12), round),
            "squeezenet1_1": ((1, 4, 7, 12), round)}
LEAST = {"vgg19": 65, "efficientnet_b7": 129, "mobilenet_v3_small": 1, "squeezenet1_0": 85,
         "squeezenet1_1": 81}
BUILT_QUICKLY = sorted(NETWORKS.keys() - {"efficientnet_b7"})
EACH = [*BUILT_QUICKLY, pytest.param("efficientnet_b7", marks=pytest.mark.slow)]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Files with random weights as torchvision has them, by network; made when they are asked for."""
    folder = tmp_path_factory.mktemp("networks")

    def file(network):
        path = folder / f"{network}.pth"
        if not path.exists():
            torch.manual_seed(0)
            # VGG19's are larger than those of a new network, so that the deepest maps matter.
            torch.save({f"features.{key}": 2 * tensor if network == "vgg19" else tensor
                        for key, tensor in layers_of(network).state_dict().items()}, path)
        return path
    return file


@pytest.fixture(scope="module")
def trunks(files):
    """Networks as the configuration builds them, in float32; built once each."""
    built = {}

    def trunk(network):
        if network not in built:
            built[network] = instantiate(next(iter(nodes(network).values())).network)(weights=files(network))
        return built[network]
    return trunk


def layers_of(network):
    if network == "vgg19":  # without its classifier, which is most of it
        return vgg.make_layers(vgg.cfgs["E"])
    return getattr(torchvision.models, network)(weights=None).features


def nodes(network):
    """Models of the configuration on a network, by name of the metric."""
    names = [name for name in DIVERGENCES if name.endswith(network)]
    return {name: node.model for name, node in compose(f"baseline=[{','.join(names)}]").baselines.items()}


def models(network, trunks):
    """The metrics on a network, which they share, by name."""
    return {name: DeepDistribution(network=lambda **_: trunks(network),
                                   distance=instantiate(node.distance), scale=instantiate(node.scale),
                                   least_side=node.least_side, weights=None)
            for name, node in nodes(network).items()}


def photographs(width, height, distortion, level):
    """(reference, distorted) of one of the demo's photographs, (1, 3, H, W)."""
    photograph = _photograph(*PHOTOGRAPHS["motorcycle"])
    distort, strengths = DISTORTIONS[distortion]
    box = (60, 100, 60 + width, 100 + height)
    return [tensor(image.crop(box)) for image in (photograph, distort(photograph, strengths[level - 1]))]


def pooled(image):
    """Means of f x f pixels of (3, H, W)."""
    _, height, width = image.shape
    f = max(1, int(np.round(max(height, width) / 256)))
    image = image[:, :height // f * f, :width // f * f]
    return image.reshape(3, height // f, f, width // f, f).mean((2, 4))


def maps_of(network, file, image):
    """The image and the maps, (C, H, W) each, by torchvision's layers in float64."""
    layers = layers_of(network)
    layers.load_state_dict({key.removeprefix("features."): tensor
                            for key, tensor in torch.load(file, weights_only=True).items()})
    layers.double().eval()
    found, x = [image], torch.from_numpy(image)[None]
    ends, _ = NETWORKS[network]
    with torch.no_grad():
        for number, layer in enumerate(layers[:max(ends) + 1]):
            if network == "vgg19" and isinstance(layer, torch.nn.MaxPool2d):
                hann = torch.tensor([0.25, 0.5, 0.25], dtype=x.dtype)
                kernel = torch.outer(hann, hann).expand(x.shape[1], 1, 3, 3)
                x = (F.conv2d(x * x, kernel, stride=2, padding=1, groups=x.shape[1]) + 1e-12).sqrt()
            else:
                x = layer(x)
            if number in ends:
                found.append(x[0].numpy().copy())
    return found


def columns(x, whole):
    """Cut a map into 64 chunks: (64, M). Zeros below and on the left, or rows and columns cropped there."""
    channels, height, width = x.shape
    rows, cols = (8 * whole(side / 8) for side in (height, width))
    changed = np.zeros((channels, rows, cols))
    kept_rows, kept_cols = min(rows, height), min(cols, width)
    changed[:, :kept_rows, cols - kept_cols:] = x[:, :kept_rows, width - kept_cols:]
    return changed.reshape(64, -1)


def kl(x, y, epsilon):
    p, q = softmax(x, axis=0), softmax(y, axis=0)
    return sum((one * (np.log(one) - np.log(other + epsilon))).sum(0) for one, other in ((p, q), (q, p))) / 2


def js(x, y):
    p, q = softmax(x, axis=0), softmax(y, axis=0)
    return (rel_entr(p, (p + q) / 2) + rel_entr(q, (p + q) / 2)).sum(0) / 2


def transport(p, q, order):
    """Integral over quantiles of |position in p - position in q|^order, column by column, by bisection."""
    found = []
    for one, other in zip(np.cumsum(p, 0).T.tolist(), np.cumsum(q, 0).T.tolist(), strict=True):
        total, last = 0.0, 0.0
        for quantile in sorted(one + other):
            places = (min(63, bisect.bisect_left(ends, quantile)) for ends in (one, other))
            total += (quantile - last) * abs(next(places) - next(places)) ** order
            last = quantile
        found.append(total)
    return np.array(found)


def energies(x):
    return x * x / (x.sum() + 1e-6)


DIVERGENCES = {  # of (distorted, reference) columns; then the constant of the Euclidean term, None without it
    "deepwsd_vgg19": (lambda x, y: transport(energies(x), energies(y), 2), 10),
    "deepjsd_vgg19": (js, 10),
    "deepkld_vgg19": (lambda x, y: kl(x, y, 0), 10),
    "deepwsd_efficientnet_b7": (lambda x, y: transport(softmax(x, axis=1), softmax(y, axis=1), 1), 10),
    "deepjsd_efficientnet_b7": (js, None),
    "deepkld_efficientnet_b7": (lambda x, y: kl(x, y, 1e-17), 10),
    "deepwsd_mobilenet_v3_small": (lambda x, y: transport(x, y, 2), 10),
    "deepjsd_mobilenet_v3_small": (js, 100),
    "deepkld_mobilenet_v3_small": (lambda x, y: kl(x, y, 1e-17), 10),
    "deepwsd_squeezenet1_1": (lambda x, y: transport(energies(x), energies(y), 2), 10),
    "deepjsd_squeezenet1_0": (js, 10),
    "deepkld_squeezenet1_0": (lambda x, y: kl(x, y, 1e-17), 10),
}


def expected(network, file, reference, distorted):
    """Scores by name of the metric."""
    maps = [maps_of(network, file, pooled(image[0].double().numpy())) for image in (distorted, reference)]
    scores = {}
    for name in nodes(network):
        divergence, constant = DIVERGENCES[name]
        values = []
        for pair in zip(*maps, strict=True):
            x, y = (columns(one, NETWORKS[network][1]) for one in pair)
            k = divergence(x, y)
            weight = 0 if constant is None else 1 / (np.sqrt(np.exp(-1 / (k + constant))) * (k + constant)**2)
            values.append(np.mean(k + ((x - y) ** 2).sum(0) * weight))
        scores[name] = np.log(np.mean(values) + 1) ** 0.25
    return scores


@pytest.mark.sample("smallest-squeezenet1_0", "pooled-mobilenet_v3_small")
@pytest.mark.parametrize("network", sorted(NETWORKS))
@pytest.mark.parametrize("kind", ["smallest", "pooled"])
def test_every_variant_against_its_formula(files, trunks, network, kind):
    least = max(LEAST[network], 33)  # MobileNet would take an image of one pixel
    # Pooled by 2; the last row and column are cut.
    pair = (photographs(391, 2 * least + 1, "jpeg", 1) if kind == "pooled" else
            photographs(least, least, "additive_gaussian_noise", 5))
    wanted = expected(network, files(network), *pair)
    metrics = models(network, trunks)
    try:
        with torch.inference_mode():
            found = {name: metric(*pair).item() for name, metric in metrics.items()}
            trunks(network).double()
            precise = {name: metric(*(image.double() for image in pair)).item()
                       for name, metric in metrics.items()}
    finally:
        trunks(network).float()  # it is shared
    assert found == pytest.approx(wanted, rel=1e-5)  # float32; docs/baselines.md has measured errors
    assert precise == pytest.approx(wanted, rel=1e-9)  # both float64, summed in other orders


@pytest.mark.parametrize("network", [
    pytest.param(name, marks=[pytest.mark.slow] if name == "vgg19" else []) for name in BUILT_QUICKLY])
def test_degenerate_images_at_the_least_side(trunks, network):
    least = LEAST[network]
    black, white = (torch.full((1, 3, least, least + 3), value) for value in (0.0, 1.0))
    pixel = black.clone()
    pixel[0, 1, least // 2, 1] = 1 / 255
    for name, metric in models(network, trunks).items():
        assert metric.least_side == least
        with torch.inference_mode():
            assert metric(white, white).item() == 0
            scores = [metric(*pair).item() for pair in ((black, pixel), (black, white), (white, black))]
        assert np.isfinite(scores).all(), name
        assert all(score > 0 for score in scores), name


@pytest.mark.parametrize("network", EACH)
def test_below_the_least_side_a_map_has_no_window(trunks, network):
    least, (_, whole) = LEAST[network], NETWORKS[network]
    for side in (least, least - 1):
        if side == 0:
            continue  # MobileNet takes every image
        with torch.inference_mode():
            heights = [x.shape[-2] for x in trunks(network).maps(torch.rand(1, 3, side, 200))]
        assert (min(whole(height / 8) for height in heights) > 0) == (side == least)


def test_sides_are_counted_after_pooling(trunks):
    metric = models("vgg19", trunks)["deepwsd_vgg19"]
    metric.check_size(65, 383)
    with pytest.raises(ValueError, match="needs sides of at least 65 pixels$"):
        metric.check_size(64, 200)
    with pytest.raises(ValueError, match="at least 65 pixels, and pools this image to 192 x 64"):
        metric.check_size(129, 384)


def test_a_run_and_a_metric_refuse_images_that_pooling_makes_too_small(files, tmp_path):
    checkpoint = files("squeezenet1_1")
    cfg = compose("baseline=[psnr,deepwsd_squeezenet1_1]")
    made = build_baselines(cfg, {"psnr": {}, "deepwsd_squeezenet1_1": {"weights": checkpoint}},
                           [("psnr",), ("deepwsd_squeezenet1_1",)], device="cpu",
                           perturbations={"original": Original()})
    for name in ("ref", "dis"):
        make_image(400, 161, 0).save(tmp_path / f"{name}.png")
    [failed] = made.score([image_pair(tmp_path / "ref.png", tmp_path / "dis.png")])
    assert isinstance(failed, Failed)
    assert str(failed.error).endswith(
        "the image has 400 x 161 pixels: deepwsd_squeezenet1_1 needs sides of at least 81 pixels, and pools "
        "this image to 200 x 80; without it, the others could be scored")
    metric = Metric(baseline="deepwsd_squeezenet1_1", checkpoint=checkpoint)
    with pytest.raises(ZsiqaError, match="have 400 x 161 pixels, but .* pools this image to 200 x 80; enl"):
        metric(torch.rand(1, 3, 161, 400), torch.rand(1, 3, 161, 400))


def test_measures_on_one_network_share_one_pass(files):
    names = ["deepjsd_squeezenet1_0", "deepkld_squeezenet1_0", "deepwsd_squeezenet1_1"]
    together = Baselines({name: instantiate(node.model, weights=files(name.partition("_")[2]))
                          for name, node in compose(f"baseline=[{','.join(names)}]").baselines.items()})
    passes = []
    for name, baseline in together.items():
        baseline.trunk.register_forward_hook(lambda *_, name=name: passes.append(name))
    pair = photographs(120, 100, "jpeg", 3)
    with torch.inference_mode():
        ref, dis = (together(image) for image in pair)
        scores = {name: baseline.compare(ref[name], dis[name]).item() for name, baseline in together.items()}
        assert len(passes) == 4, "two networks, two images"
        assert scores == {name: baseline(*pair).item() for name, baseline in together.items()}


def test_a_scale_of_the_run_comes_before_the_metrics_own(files):
    metric = Metric(baseline="deepwsd_squeezenet1_1", checkpoint=files("squeezenet1_1"))
    again, smaller = (Metric(baseline="deepwsd_squeezenet1_1", checkpoint=files("squeezenet1_1"), scale=scale,
                             overrides=overrides) for scale, overrides in (
        ("average_256", []), ("average", ["scales.average.side=128"])))
    pair = photographs(400, 256, "jpeg", 3)
    with torch.inference_mode():
        plain = metric(*pair).item()
        assert again(*pair).item() == pytest.approx(plain, rel=1e-6), "pooled already: float32's rounding"
        thirds = [F.avg_pool2d(image, 3) for image in pair]  # 133 x 85 pixels, which it does not pool again
        assert smaller(*pair).item() == pytest.approx(metric(*thirds).item(), rel=1e-6)


def test_pooling_twice_is_pooling_once():
    pool = AveragePooling(256)
    for side in range(1, 4000):
        once = pool.size(side, side)
        assert pool.size(*once) == once


@pytest.mark.parametrize(("distance", "options", "message"), [
    (WSD, {"weights": "features"}, "order must be 2, found 1"),
    (SKLD, {"half": True, "constant": 100.0}, "constant must be 10, found 100"),
])
def test_options_that_no_formula_has(distance, options, message):
    with pytest.raises(ValueError, match=message):
        distance(**options)
