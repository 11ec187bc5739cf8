"""The baselines against the authors' scores, the packages that define them, and plain float64 loops."""

import copy
import csv
import math
import tarfile
from importlib.util import find_spec

import lpips
import numpy as np
import piq
import pytest
import torch
from conftest import add_noise, dists_package, image_pair, make_image, tensor, write_pairs
from PIL import Image
from scipy.signal import convolve2d
from torch.nn import functional as F
from torchvision.models import alexnet, vgg16

from zsiqa.backbones.weights import package_file
from zsiqa.baselines.baseline import Baselines
from zsiqa.baselines.dists import DISTS
from zsiqa.baselines.fsimc import FSIMc
from zsiqa.baselines.lpips import lpips_alex, lpips_vgg
from zsiqa.baselines.ms_ssim import MSSSIM
from zsiqa.baselines.psnr import PSNR
from zsiqa.baselines.stlpips import stlpips_alex, stlpips_vgg
from zsiqa.datasets import pairs as pairs_dataset
from zsiqa.perturbations import Dilate, Original, Rotate, Translate
from zsiqa.scoring.engine import Failed, Scorer
from zsiqa.types import WeightsError

pytestmark = pytest.mark.numeric

PERTURBATIONS = {"original": Original(), "translate": Translate(), "dilate": Dilate(), "rotate": Rotate()}
SUFFIXES = {"original": "", "translate": "_tra-1", "dilate": "_sca-1", "rotate": "_rot-1"}
STLPIPS = {"alex": stlpips_alex, "vgg": stlpips_vgg}


def st_file(name):
    return package_file("stlpips_pytorch", f"weights/vST0.0/{name}_shift_tolerant.pth")


def head_file(name):
    return package_file("lpips", f"weights/v0.1/{name}.pth")


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    """Files with random weights as torchvision has them, AlexNet and VGG16."""
    folder = tmp_path_factory.mktemp("networks")
    torch.manual_seed(0)
    for name, model in (("alex", alexnet()), ("vgg", vgg16())):
        torch.save(model.state_dict(), folder / f"{name}.pth")
    return {name: folder / f"{name}.pth" for name in ("alex", "vgg")}


@pytest.fixture(scope="module")
def everyone(networks):
    """All eight; networks that must be downloaded have random weights."""
    return {name: build(networks) for name, build in BUILD.items()}


BUILD = {
    "psnr": lambda _: PSNR(), "ms_ssim": lambda _: MSSSIM(), "fsimc": lambda _: FSIMc(),
    "dists": lambda networks: DISTS(weights=networks["vgg"],
                                    calibration=package_file("DISTS_pytorch", "weights.pt")),
    "lpips_alex": lambda networks: lpips_alex(weights=networks["alex"], calibration=head_file("alex")),
    "lpips_vgg": lambda networks: lpips_vgg(weights=networks["vgg"], calibration=head_file("vgg")),
    "stlpips_alex": lambda _: stlpips_alex(weights=st_file("alex")),
    "stlpips_vgg": lambda _: stlpips_vgg(weights=st_file("vgg"))}


def some_pairs(*sizes):
    """(reference, distorted) batches (2, 3, H, W): mild and strong noise, and one with its content moved."""
    for number, (width, height) in enumerate(sizes):
        reference = make_image(width, height, number)
        mild, strong = (tensor(add_noise(reference, sigma, number)) for sigma in (2, 40))
        yield tensor(reference).expand(2, -1, -1, -1), torch.cat([mild, strong.roll(3, dims=3)])


def official_row(shared, method, perturbation):
    """The authors' score of the pair that lies in shared/tid2013."""
    with tarfile.open(shared / "official/results.tar.xz") as archive:
        name = f"tid2013_{method}{SUFFIXES[perturbation]}.csv"
        member = next(one for one in archive.getmembers() if one.name.rpartition("/")[2] == name)
        rows = csv.DictReader(archive.extractfile(member).read().decode().splitlines())
    (score,) = [float(row["pred"]) for row in rows if row["dis"].lower() == "i01_01_5.bmp"]
    return score


@pytest.mark.sample("psnr-psnr-original", "fsimc-fsim-rotate", "stlpips_alex-stlpips_alex-translate")
@pytest.mark.parametrize("perturbation", PERTURBATIONS)
@pytest.mark.parametrize(("name", "method"), [("psnr", "psnr"), ("ms_ssim", "msssim"), ("fsimc", "fsim"),
                                              ("stlpips_alex", "stlpips_alex"),
                                              ("stlpips_vgg", "stlpips_vgg")])
def test_the_authors_scores_of_a_real_pair(shared, everyone, name, method, perturbation):
    paths = (shared / "tid2013/reference_images/I01.BMP", shared / "tid2013/distorted_images/i01_01_5.bmp")
    reference, distorted = (Image.open(path).convert("RGB") for path in paths)
    moved = PERTURBATIONS[perturbation]
    with torch.inference_mode():
        found = everyone[name](tensor(moved.reference(reference)), tensor(moved.distorted(distorted))).item()
    # Theirs come from a GPU in float32; the largest difference found was 1.1e-6, of MS-SSIM.
    assert found == pytest.approx(official_row(shared, method, perturbation), abs=1e-5)


def test_psnr_by_hand():
    for reference, distorted in some_pairs((40, 30)):
        squares = (reference.double() - distorted.double()).numpy() ** 2
        expected = [10 * math.log10(1 / (square.mean() + 1e-8)) for square in squares]
        assert PSNR()(reference, distorted).tolist() == pytest.approx(expected, abs=1e-4)  # dB, in float32


@pytest.mark.parametrize("size", [(120, 90), (97, 131), (400, 390)])
def test_fsimc_is_that_of_piq(size):
    ((reference, distorted),) = some_pairs(size)
    expected = (1 - piq.fsim(distorted, reference, chromatic=True, reduction="none")) / 2
    assert FSIMc()(reference, distorted).tolist() == pytest.approx(expected.tolist(), abs=1e-6)  # float32


def _reference_ms_ssim(reference, distorted):
    """Loops over scales, a two-dimensional window, zeros written out."""
    def luma(image):
        return np.round(255 * np.tensordot([0.299, 0.587, 0.114], image.double().numpy(), axes=1))

    def halve(x):
        x = np.pad(x, [(side % 2, side % 2) for side in x.shape])
        height, width = (side // 2 * 2 for side in x.shape)
        return x[:height, :width].reshape(height // 2, 2, width // 2, 2).mean(axis=(1, 3))

    grid = np.arange(11) - 5
    window = np.exp(-(grid[:, None] ** 2 + grid[None] ** 2) / (2 * 1.5**2))
    window /= window.sum()
    x, y = luma(reference), luma(distorted)
    product = 1.0
    for scale, weight in enumerate([0.0448, 0.2856, 0.3001, 0.2363, 0.1333]):
        mx, my, xx, yy, xy = (convolve2d(z, window, mode="valid") for z in (x, y, x * x, y * y, x * y))
        value = np.maximum((2 * (xy - mx * my) + 58.5225) / (xx - mx**2 + yy - my**2 + 58.5225), 0)
        if scale == 4:
            value *= (2 * mx * my + 6.5025) / (mx**2 + my**2 + 6.5025)
        product *= value.mean() ** weight
        x, y = halve(x), halve(y)
    return (1 - product) / 2


@pytest.mark.parametrize("size", [(192, 176), (181, 203), (161, 161)])
def test_ms_ssim_against_plain_loops(size):
    ((reference, distorted),) = some_pairs(size)
    expected = [_reference_ms_ssim(*pair) for pair in zip(reference, distorted, strict=True)]
    # float64, in another order
    assert MSSSIM()(reference, distorted).tolist() == pytest.approx(expected, rel=1e-9)


@pytest.mark.sample("alex-lpips_alex-alexnet-False")
@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize(("name", "build", "trunk"),
                         [("alex", lpips_alex, alexnet), ("vgg", lpips_vgg, vgg16)])
def test_lpips_is_that_of_its_package(networks, name, build, trunk, normalize):
    ours = build(weights=networks[name], calibration=head_file(name), normalize=normalize)
    package = lpips.LPIPS(net=name, pnet_rand=True, verbose=False)
    layers = trunk().features
    layers.load_state_dict({key.removeprefix("features."): value for key, value
                            in torch.load(networks[name], weights_only=True).items()
                            if key.startswith("features.")})
    for part in (package.net.slice1, package.net.slice2, package.net.slice3, package.net.slice4,
                 package.net.slice5):
        for number in [key for key, layer in part.named_children() if hasattr(layer, "weight")]:
            part.get_submodule(number).load_state_dict(layers[int(number)].state_dict())
    for reference, distorted in some_pairs((80, 64), (67, 93)):
        with torch.inference_mode():
            expected = package(reference, distorted, normalize=normalize).flatten().tolist()
            # Float32 in another order: 1e-6 of a feature, and about ten times that of a difference.
            assert ours(reference, distorted).tolist() == pytest.approx(expected, rel=2e-5)


def test_dists_is_that_of_its_package(networks, monkeypatch):
    package = dists_package(networks["vgg"], monkeypatch)
    ours = DISTS(weights=networks["vgg"], calibration=package_file("DISTS_pytorch", "weights.pt"))
    for reference, distorted in some_pairs((80, 64), (67, 93)):
        with torch.inference_mode():
            expected = package(reference, distorted).tolist()
            # 1 - a sum near 1, of covariances that are differences of means: some 1e-6 are lost in float32.
            assert ours(reference, distorted).tolist() == pytest.approx(expected, abs=1e-5)


def _reference_stlpips(name, reference, distorted):
    """The network spelled out in float64, each layer by its name in the package's file."""
    state = {key: value.double() for key, value in torch.load(st_file(name), map_location="cpu",
                                                                weights_only=True).items()}

    def conv(x, place, padding):
        return F.conv2d(x, state[f"net.{place}.weight"], state[f"net.{place}.bias"], padding=padding)

    def blur(x, place):
        # scipy would do as well; its own weights, one channel at a time, every second row and column.
        padded = np.pad(x.numpy(), [(0, 0), (0, 0), (2, 2), (2, 2)], mode="reflect")
        kernel = state[f"net.{place}.filt"][0, 0].numpy()
        return torch.from_numpy(np.stack([[convolve2d(one, kernel, mode="valid")[::2, ::2] for one in image]
                                          for image in padded]))

    def maps(x):
        if name == "alex":
            x = blur(conv(x, "slice1.0", 2), "slice1.1").relu()
            yield x
            x = conv(blur(F.max_pool2d(x, 3, 1), "slice2.4"), "slice2.5", 2).relu()
            yield x
            x = conv(blur(F.max_pool2d(x, 3, 1), "slice3.8"), "slice3.9", 1).relu()
            yield x
            for place in ("slice4.11", "slice5.13"):
                x = conv(x, place, 1).relu()
                yield x
            return
        for number, places in enumerate(((0, 2), (6, 8), (12, 14, 16), (20, 22, 24), (28, 30, 32)), start=1):
            if number > 1:
                x = blur(F.max_pool2d(x, 2, 1), f"slice{number}.{places[0] - 1}")
            for place in places:
                x = conv(x, f"slice{number}.{place}", 1).relu()
            yield x

    total = 0
    inputs = ((2 * image.double() - 1 - state["scaling_layer.shift"]) / state["scaling_layer.scale"]
              for image in (reference, distorted))
    for number, (one, other) in enumerate(zip(*map(maps, inputs), strict=True)):
        difference = F.normalize(one, dim=1, eps=1e-10) - F.normalize(other, dim=1, eps=1e-10)
        total += F.conv2d(difference**2, state[f"lin{number}.model.1.weight"]).mean((1, 2, 3))
    return total


@pytest.mark.sample("alex-size1")
@pytest.mark.parametrize("size", [(44, 33), (37, 50)])
@pytest.mark.parametrize("name", STLPIPS)
def test_stlpips_against_its_network_in_float64(name, size):
    ((reference, distorted),) = some_pairs(size)
    with torch.inference_mode():
        expected = _reference_stlpips(name, reference, distorted).tolist()
        found = STLPIPS[name](weights=st_file(name))(reference, distorted).tolist()
    # Float32: 1e-6 of a feature, and the mild pair's differ by less than a hundredth.
    assert found == pytest.approx(expected, rel=1e-4)


def test_equal_images_are_the_best_that_there_is(everyone):
    image = tensor(make_image(180, 170, 0))
    for name, baseline in everyone.items():
        with torch.inference_mode():
            # 80 dB is what the 1e-8 leaves; means and covariances of DISTS lose some 1e-6 in float32.
            assert baseline(image, image).item() == pytest.approx(80 if name == "psnr" else 0, abs=1e-5), name


def test_the_least_side_is_the_least(everyone):
    torch.manual_seed(0)
    for name, baseline in everyone.items():
        for side in (baseline.least_side, baseline.least_side + 1):
            images = torch.rand(2, 3, side, side + 3)
            with torch.inference_mode():
                assert baseline(images, images.flip(3)).isfinite().all(), (name, side)
        if baseline.least_side > 1:
            images = torch.rand(2, 3, baseline.least_side - 1, 200)
            try:
                scores = baseline(images, images.flip(3))
            except RuntimeError:  # of PyTorch, whose kernels do not fit
                continue
            assert not scores.isfinite().all(), f"{name} can do with less"


@pytest.mark.slow
def test_weights_that_do_not_fit(networks):
    with pytest.raises(WeightsError, match=r"missing, e.g. heads.0.weight|missing, e.g. shift"):
        stlpips_alex(weights=networks["alex"])
    with pytest.raises(WeightsError, match="of another shape"):
        lpips_vgg(weights=networks["vgg"], calibration=head_file("alex"))
    with pytest.raises(WeightsError, match="does not fit"):
        lpips_alex(weights=networks["vgg"], calibration=head_file("alex"))
    with pytest.raises(WeightsError, match="missing, e.g. alpha"):
        DISTS(weights=networks["vgg"], calibration=head_file("alex"))


SMALL = ("psnr", "ms_ssim", "fsimc", "lpips_alex", "stlpips_alex")


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """Three references of two sizes, two distorted images each, interleaved."""
    folder = tmp_path_factory.mktemp("pairs")
    return pairs_dataset.read(write_pairs(folder, [(180, 161), (170, 190), (180, 161)], levels=2)).pairs


def score(everyone, pairs, todo=lambda _index, _name: True, names=SMALL, **settings):
    chosen = Baselines({name: everyone[name] for name in names})
    scorer = Scorer(chosen, distances={(name,): everyone[name].compare for name in names}, window=None,
                    batch_tiles=4,
                    **{"perturbations": PERTURBATIONS, **settings})
    return {(outcome.index, outcome.condition): outcome for outcome in scorer.score(pairs, todo)}


@pytest.fixture(scope="module")
def small(networks):
    """Those that the engine is tested with. ST-LPIPS' weights are large, and may be missing beside a GPU."""
    names = [name for name in SMALL if name != "stlpips_alex" or find_spec("stlpips_pytorch")]
    return {name: BUILD[name](networks) for name in names}


@pytest.fixture(scope="module")
def on_device(small, device):
    return {name: copy.deepcopy(baseline).to(device) for name, baseline in small.items()}


@pytest.fixture(scope="module")
def whole(on_device, pairs, device):
    found = score(on_device, pairs, names=on_device, device=device)
    return {key: outcome.scores for key, outcome in found.items()}


def test_the_engine_scores_as_each_pair_alone(small, pairs, whole):
    """On any device as on the CPU."""
    assert len(whole) == len(pairs) * 4
    for (index, name), scores in list(whole.items())[::3]:  # each pair, and each perturbation
        images = Image.open(pairs[index].ref_path), Image.open(pairs[index].dis_path)
        with torch.inference_mode():
            reference, distorted = (tensor(move(image)) for move, image in zip(
                (PERTURBATIONS[name].reference, PERTURBATIONS[name].distorted), images, strict=True))
            expected = {(one,): baseline(reference, distorted).item() for one, baseline in small.items()}
        # Another batch size may take other kernels; the mildest pairs lose most to rounding.
        assert scores == pytest.approx(expected, rel=1e-3, abs=1e-6), (pairs[index].pair_id, name)


@pytest.mark.slow
def test_a_resumed_run_is_bit_equal(on_device, pairs, whole, device):
    random = np.random.default_rng(0)
    for share in (0.1, 0.5):
        todo = {key for key in whole if random.random() < share}
        rest = score(on_device, pairs, lambda index, name: (index, name) in todo,  # noqa: B023
                     names=on_device, device=device)
        assert {key: outcome.scores for key, outcome in rest.items()} == {key: whole[key] for key in todo}


def test_a_reference_is_encoded_once_and_once_more_when_it_is_cropped(pairs):
    class Counting(torch.nn.Module):
        images, calls = 0, 0

        def forward(self, images):
            self.images, self.calls = self.images + len(images), self.calls + 1
            return {"psnr": (images,)}

    counting = Counting()
    scorer = Scorer(counting, distances={("psnr",): PSNR().compare}, perturbations=PERTURBATIONS, window=None,
                    batch_tiles=3)
    assert len(list(scorer.score([pair for pair in pairs if pair.ref == "ref0.png"]))) == 8
    # 7 images of one size and 3 of the other, by threes; the last of the first is alone, and doubled (see
    # Scorer._encode).
    assert (counting.images, counting.calls) == (2 + 8 + 1, 3 + 1)


def test_images_too_small_say_what_needs_more(everyone, tmp_path):
    make_image(200, 160, 0).save(tmp_path / "small.png")
    settings = {"perturbations": {"original": Original()}, "least_side": (161, "ms_ssim needs 161 pixels")}
    pair = image_pair(tmp_path / "small.png", tmp_path / "small.png")
    (outcome,) = score(everyone, [pair], names=["psnr", "ms_ssim"], **settings).values()
    assert isinstance(outcome, Failed)
    assert str(
            outcome.error) == "small.png (original): the image has 200 x 160 pixels: ms_ssim needs 161 pixels"
