"""The module against a run, against finite differences, and against what users hand it by mistake."""

import copy
import csv
import io
import subprocess
import sys

import numpy as np
import pytest
import torch
from conftest import make_image, tensor, write_pairs
from hydra import initialize
from hydra.core.global_hydra import GlobalHydra
from PIL import Image

import zsiqa
from zsiqa import distances
from zsiqa.config import compose
from zsiqa.runs.runner import run
from zsiqa.scoring.metric import Metric
from zsiqa.types import WeightsError, ZsiqaError

pytestmark = pytest.mark.numeric

VIT = {"pretrained": False,
       "overrides": ["backbone.model_name=test_vit.r160_in1k", "window=160", "stride=140"]}
CNN = {"pretrained": False,
       "overrides": ["backbone.model_name=test_resnet.r160_in1k", "window=64", "stride=50"]}
ALL = ("l2", "cosine", "skld", "jsd", "wsd")


def noisy_pair(batch, height, width, dtype=torch.float32, seed=0):
    """Away from 0 and 1, so that the pair can be moved a little in both directions."""
    random = torch.Generator().manual_seed(seed)
    ref = 0.1 + 0.8 * torch.rand(batch, 3, height, width, dtype=dtype, generator=random)
    return ref, (ref + 0.05 * torch.randn(ref.shape, dtype=dtype, generator=random)).clamp(0.05, 0.95)


@pytest.mark.sample("tiles")
@pytest.mark.parametrize(("settings", "files"), [
    (["backbone=efficientnet_lite0", "distance=[cosine,wsd]", "representation=all"], 4),
    (["backbone=efficientnet_lite0", "distance=[l2,skld,jsd]", "representation=all"], 6),
    (["backbone=vgg19", "distance=all", "backbone.pretrained=false", "seed=3"], 5),
], ids=["tiles", "tiles, other distances", "whole images"])
def test_the_score_of_a_run(settings, files, tmp_path, capsys, device):
    sizes = [(65, 48), (40, 80)] if "backbone=vgg19" in settings else [(430, 230), (240, 300)]
    file = write_pairs(tmp_path / "images", sizes, levels=1)
    run(compose(*settings, "dataset=pairs", f"dataset.csv={file}", f"results_dir={tmp_path}",
                f"device={device}"))
    capsys.readouterr()
    backbone, seeds = settings[0].split("=")[1], [one for one in settings if one.startswith("seed")]
    stored = sorted(tmp_path.glob("scores/*/*/original.csv"))
    assert len(stored) == files
    for scores in stored:
        *_, representation, distance = scores.parent.name.split("-")
        metric = Metric(backbone, distance, representation, pretrained="lite0" in backbone,
                        overrides=seeds).to(device)
        assert metric.name == scores.parent.name
        with scores.open(newline="") as stream:
            rows = list(csv.DictReader(line for line in stream if not line.startswith("#")))
        assert len(rows) == 2
        for row in rows:
            found = metric(*(tensor(file.parent / row[side]).to(device) for side in ("ref", "dis"))).item()
            # The engine batches other tiles together, so that sums in the network are rounded differently. A
            # GPU's libraries choose among more kernels by the size of a batch.
            assert found == pytest.approx(float(row["score"]), rel=1e-6 if device == "cpu" else 1e-5), (
                metric.name, row)


@pytest.mark.slow
def test_batches_are_their_pairs_one_by_one(device):
    metric = Metric("efficientnet_lite0", "wsd").to(device)
    ref, dis = (one.to(device) for one in noisy_pair(3, 240, 430))
    whole = metric(ref, dis)
    assert whole.shape == (3,)
    assert whole.dtype == torch.float32
    ones = torch.cat([metric(ref[index:index + 1], dis[index:index + 1]) for index in range(3)])
    torch.testing.assert_close(whole, ones, rtol=1e-6, atol=0)  # other companions, other rounding
    metric.batch_tiles = 1
    # other kernels: tests/scoring/test_engine.py
    torch.testing.assert_close(metric(ref, dis), whole, rtol=5e-6, atol=0)


@pytest.mark.parametrize("settings", [VIT, CNN], ids=["vit", "cnn"])
@pytest.mark.parametrize("representation", ["features", "embedding"])
@pytest.mark.parametrize("distance", ALL)
def test_gradients_of_both_images(distance, representation, settings, device):
    """In float64, along a random direction. Two tiles, so that tiling and its overlap are differentiated,
    too."""
    metric = Metric("timm", distance, representation, **settings).double().to(device)
    ref, dis = (one.to(device).requires_grad_() for one
                in noisy_pair(1, metric.window, metric.window + 6, torch.float64))
    score = metric(ref, dis).sum()
    assert score.dtype == torch.float64
    score.backward()
    along = torch.randn(2, *ref.shape, dtype=ref.dtype, generator=torch.Generator().manual_seed(9)).to(device)
    step = 1e-7
    with torch.no_grad():
        up, down = (
            metric(*(one + sign * step * way for one, way in zip((ref, dis), along, strict=True))).sum()
                    for sign in (1, -1))
    slope = sum((one.grad * way).sum() for one, way in zip((ref, dis), along, strict=True))
    # Features are rounded at 1e-16, their differences over the step at 1e-9, and 1e3 times that where the
    # slope of an embedding is small beside its features'. WSD has kinks, |p - q|; the step crosses a few in
    # ten thousands of terms.
    assert slope.item() == pytest.approx(((up - down) / (2 * step)).item(),
                                         rel=1e-3 if distance == "wsd" else 1e-5)


@pytest.mark.sample(*(f"{shape}-{distance}" for shape, distance in (
    ("tokens", distances.SKLD()), ("tokens", distances.Cosine()), ("maps", distances.JSD()),
    ("maps", distances.WSD()), ("maps", distances.L2()))))
@pytest.mark.parametrize("distance", [distances.SKLD(), distances.JSD(), distances.L2(), distances.Cosine(),
                                      distances.WSD(), distances.WSD(order=2, weights="energy"),
                                      distances.SKLD(softmax_over="columns"),
                                      distances.JSD(euclidean_term=True)], ids=str)
@pytest.mark.parametrize("shape", [(2, 1, 9, 8), (1, 2, 3, 8, 8)], ids=["tokens", "maps"])
def test_every_option_passes_gradcheck(distance, shape):
    random = torch.Generator().manual_seed(1)
    ref, dis = (torch.randn(shape, dtype=torch.float64, generator=random).requires_grad_() for _ in range(2))
    assert torch.autograd.gradcheck(lambda r, d: distance((r,), (d,)), (ref, dis))


@pytest.mark.parametrize("distance", ALL)
def test_equal_tiles_have_gradient_zero(distance, device):
    """Also beside tiles that differ, whose gradient must not be spoilt."""
    metric = Metric("timm", distance, **CNN).to(device)
    ref = noisy_pair(1, 64, 164)[0].to(device)
    dis = ref.clone().requires_grad_()
    metric(ref, dis).sum().backward()
    assert not dis.grad.any()
    changed = ref.clone()
    changed[..., :20] = changed[..., :20].flip(-1)  # in the first tile only
    changed.requires_grad_()
    metric(ref, changed).sum().backward()
    assert changed.grad.isfinite().all()
    assert changed.grad[..., :50].any()
    assert not changed.grad[..., 64:].any()


def test_as_a_loss_it_brings_an_image_closer(device):
    metric = Metric("timm", "l2", **CNN).train().to(device)
    ref, dis = (one.to(device) for one in noisy_pair(1, 64, 64))
    first = metric(ref, dis).item()
    image = dis.clone().requires_grad_()
    optimizer = torch.optim.Adam([image], lr=2e-3)
    for _ in range(20):
        optimizer.zero_grad()
        metric(ref, image.clamp(0, 1)).sum().backward()
        optimizer.step()
    assert metric(ref, image.detach().clamp(0, 1)).item() < first / 2
    assert not any(parameter.requires_grad for parameter in metric.parameters())


def test_training_mode_autocast_and_half_precision_images_change_nothing(device):
    metric = Metric("timm", "wsd", **CNN).to(device)
    ref, dis = (one.half().to(device) for one in noisy_pair(1, 64, 100))
    expected = metric(ref.float(), dis.float())
    with torch.autocast(device, dtype=torch.bfloat16):
        assert metric.train()(ref, dis).equal(expected)
    assert metric.training


def test_copies_and_files_compute_the_same():
    """Hooks of a copy must not fill the original's lists."""
    metric = Metric("timm", "wsd", **VIT)
    pair = noisy_pair(1, 160, 160)
    expected, twin = metric(*pair), copy.deepcopy(metric)
    buffer = io.BytesIO()
    torch.save(metric, buffer)
    buffer.seek(0)
    del metric
    assert twin(*pair).equal(expected)
    assert torch.load(buffer, weights_only=False)(*pair).equal(expected)


def test_building_leaves_the_caller_alone():
    """Neither its random numbers nor its own Hydra configuration change; random weights depend on the seed
    alone."""
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    with initialize(version_base=None, config_path="."):
        outside = GlobalHydra.instance().hydra
        one = Metric("timm", "l2", **CNN)
        assert torch.rand(3).equal(expected)
        two = Metric("timm", "l2", pretrained=False, overrides=[*CNN["overrides"], "seed=1"])
        assert GlobalHydra.instance().hydra is outside
    assert not GlobalHydra.instance().is_initialized()
    pair = noisy_pair(1, 64, 64)
    assert one(*pair).equal(Metric("timm", "l2", **CNN)(*pair))
    assert not one(*pair).equal(two(*pair))
    assert one.name == "test_resnet.r160_in1k_RANDOM_WEIGHTS-features-l2"


FINE = torch.full((2, 3, 64, 70), 0.5)


@pytest.mark.parametrize(("ref", "dis", "message"), [
    (FINE.numpy(), FINE, "reference images must be a floating tensor .* found ndarray"),
    ((255 * FINE).byte(), FINE, "found torch.uint8; 8-bit images: divide by 255"),
    (FINE, FINE[0], r"distorted images .* found shape \(3, 64, 70\); one image: images\[None\]"),
    (FINE[:, :1], FINE, r"found shape \(2, 1, 64, 70\).* grey"),
    (FINE[:0], FINE[:0], r"found shape \(0, 3, 64, 70\)"),
    (FINE, FINE[..., 1:], r"must have the same shape, found \(2, 3, 64, 70\) and \(2, 3, 64, 69\)"),
    (FINE[:, :, :50], FINE[:, :, :50], "70 x 50 pixels, but tiles have 64 x 64; score whole"),
    (FINE, 255 * FINE, r"found values from 127.5 to 127.5; clamp"),
    (FINE - 0.6, FINE, r"found values from -0.1 to -0.1; clamp"),
    (FINE, FINE / 0 * 0, "found NaN"),
    (FINE.to("meta"), FINE, "are on meta, the metric on cpu"),
    ("nothing.png", FINE, "nothing.png: No such file"),
    ([FINE], [], "as many references as distorted images, and at least one; found 1 and 0"),
    (FINE, [FINE], "a list of these on both sides; found list"),
])
def test_wrong_images_are_refused(ref, dis, message):
    with pytest.raises(ZsiqaError, match=message):
        Metric("timm", "l2", **CNN)(ref, dis)


@pytest.mark.parametrize(("arguments", "message"), [
    ({"distance": "wsdd"}, "distance can be: all, cosine"),
    ({"distance": "all"}, "one distance, found skld, jsd, wsd, l2, cosine"),
    ({"representation": "all"}, "one representation"),
    ({"backbone": "vgg19", "representation": "embedding"}, "VGG|vgg19 has no embedding"),
    ({"backbone": "none"}, "backbone=none is none"),
    ({"backbone": "timm"}, "model_name"),
    ({"overrides": ["dataset=live"]}, "dataset=live: this setting has no effect here"),
    ({"overrides": "stride=50"}, "overrides must be a list"),
    ({"overrides": ["stride=500"]}, "stride=500 is larger than window=224"),
    ({"pretrained": False, "checkpoint": "x"}, "exclude each other"),
    ({"backbone": "dinov"}, r"\(did you mean dinov1 or dinov2\?\)"),
    ({"baseline": "psn"}, r"\(did you mean psnr\?\)"),
    ({"baseline": "all"}, "a metric has one baseline, found psnr, ms_ssim"),
    ({"baseline": "psnr", "backbone": "dinov1"}, "has no backbone, distance, representation or pretrained"),
    ({"baseline": "psnr", "checkpoint": "x"}, "psnr has no weights"),
])
def test_wrong_settings_are_refused(arguments, message):
    with pytest.raises(ZsiqaError, match=message):
        Metric(**arguments)


def test_a_missing_checkpoint_is_an_error_of_weights(tmp_path):
    with pytest.raises(WeightsError, match="nothing.pth"):
        Metric(checkpoint=tmp_path / "nothing.pth")


@pytest.mark.parametrize("settings", [{}, {"baseline": "psnr"}, {"baseline": "ms_ssim"}], ids=str)
def test_paths_and_pillow_images_are_scored_as_their_tensors(settings, tmp_path):
    paths = []
    for number, size in enumerate([(240, 230), (240, 230), (300, 225), (300, 225)]):
        make_image(*size, number).convert("L" if number == 1 else "RGB").save(tmp_path / f"{number}.png")
        paths.append(tmp_path / f"{number}.png")
    metric = Metric(**settings)
    arrays = [np.asarray(Image.open(path).convert("RGB")).copy() for path in paths]
    tensors = [torch.from_numpy(array).permute(2, 0, 1)[None] / 255 for array in arrays]
    expected = torch.cat([metric(*tensors[:2]), metric(*tensors[2:])])
    assert metric(paths[::2], [str(path) for path in paths[1::2]]).equal(expected), "two sizes"
    assert metric(paths[0], Image.open(paths[1])).equal(expected[:1])


def test_a_baseline_has_the_scores_of_a_run(tmp_path, capsys):
    file = write_pairs(tmp_path / "images", [(240, 230)], levels=2)
    run(compose("baseline=[psnr,ms_ssim,stlpips_alex]", "dataset=pairs", f"dataset.csv={file}",
                f"results_dir={tmp_path}", "device=cpu"))
    capsys.readouterr()
    for name in ("psnr", "ms_ssim", "stlpips_alex"):
        metric = Metric(baseline=name)
        assert (metric.name, metric.window) == (name, None)
        assert metric.higher_is_better == compose(f"baseline={name}").baselines[name].higher_is_better
        [stored] = tmp_path.glob(f"scores/*/{name}/original.csv")
        with stored.open(newline="") as stream:
            for row in csv.DictReader(stream):
                ref, dis = (file.parent / row[side] for side in ("ref", "dis"))
                # rel: float32 in batches of other sizes
                assert metric(ref, dis).item() == pytest.approx(float(row["score"]), rel=1e-6)


def test_a_baseline_refuses_images_that_are_too_small():
    images = torch.full((1, 3, 100, 200), 0.5)
    with pytest.raises(ZsiqaError, match="200 x 100 pixels, but ms_ssim needs sides of at least 161"):
        Metric(baseline="ms_ssim")(images, images)


def test_the_public_names():
    assert dir(zsiqa) == ["Metric", "__version__", "list_backbones", "list_baselines", "list_distances",
                          "torchmetrics"]
    assert {"dinov1", "timm", "vgg19"} < set(zsiqa.list_backbones())
    assert zsiqa.list_distances() == sorted(ALL)


@pytest.mark.slow
def test_every_name_that_is_listed_is_one_metric():
    for name in zsiqa.list_baselines():
        assert list(compose(f"baseline={name}").baselines) == [name], "one, not a list"
    assert all(compose(f"backbone={name}").backbone.model is not None for name in zsiqa.list_backbones())


@pytest.mark.slow
def test_importing_zsiqa_stays_light():
    code = "import sys, zsiqa; assert 'torch' not in sys.modules; zsiqa.Metric; assert 'torch' in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert zsiqa.Metric is Metric
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = zsiqa.nothing


def test_the_protocol_matters():
    image = torch.from_numpy(np.asarray(make_image(224, 224, 0)).copy()).permute(2, 0, 1)[None] / 255
    pair = image, image.flip(-1)
    given = [], ["protocol=textbook"], ["protocol.wsd_softmax_over=samples"]  # a mixture: nothing is stored
    assert len({Metric(distance="wsd", overrides=overrides)(*pair).item()
                for overrides in given}) == 3
