"""Settings of our own runs beside the shipped ones."""

import pytest

from zsiqa.config import compose, plain
from zsiqa.results.settings import facts_of_run

SQUEEZE = "baselines.deepwsd_squeezenet1_1"


def answer(metric, *settings, sha256=""):
    found = facts_of_run(metric, {"config": plain(compose(*settings)),
                                  "identity": {"weights": {"sha256": sha256}}})
    return found.use["as_authors"], found.unlike_authors


@pytest.mark.parametrize(("metric", "settings"), [
    ("lpips_alex", ["baseline=lpips_alex", "baselines.lpips_alex.model.normalize=true"]),
    ("lpips_vgg_authors", ["baseline=lpips_vgg_authors"]),
    ("stlpips_alex", ["baseline=stlpips_alex"]),
    ("dists@short_256", ["baseline=dists", "scale=short_256"]),
    ("deepdc@short_224", ["baseline=deepdc", "scale=short_224"]),
    ("deepjsd_efficientnet_b7@average_256", ["baseline=deepjsd_efficientnet_b7", "scale=average_256"]),
    ("vgg19-features-jsd@average_256", ["backbone=vgg19", "distance=jsd", "scale=average_256"]),
    ("efficientnet_b7-features-wsd@average_256", ["backbone=efficientnet_b7", "scale=average_256"]),
    ("dinov1-features-wsd", ["backbone=dinov1"]),
    ("clip_vitb32-features-jsd", ["backbone=clip_vitb32", "distance=jsd", "precision=clip_fp16_official"]),
    ("rclip_convnext-features-cosine",
     ["backbone=rclip_convnext", "distance=cosine", "official_train_mode=true"]),
])
def test_a_run_as_shipped_has_no_setting_of_its_own(metric, settings):
    assert answer(metric, *settings) == ("yes", "")


@pytest.mark.parametrize(("metric", "settings", "why"), [
    ("deepwsd_squeezenet1_1",
     ["baseline=deepwsd_squeezenet1_1", f"{SQUEEZE}.model.scale._target_=zsiqa.scoring.scaling.Native",
      f"~{SQUEEZE}.model.scale.side"],
     "model.scale._target_ zsiqa.scoring.scaling.Native, its authors use "
     "zsiqa.scoring.scaling.AveragePooling; model.scale.side unset, its authors use 256"),
    ("deepwsd_squeezenet1_1", ["baseline=deepwsd_squeezenet1_1", f"{SQUEEZE}.model.distance.order=1"],
     "model.distance.order 1, its authors use 2"),
    ("stlpips_alex", ["baseline=stlpips_alex", "+baselines.stlpips_alex.model.extra=3"],
     "model.extra 3, its authors use unset"),
    ("lpips_alex", ["baseline=lpips_alex", "+baselines.lpips_alex.model.extra=3"],
     "input in [0, 1]; LPIPS expects [-1, 1]; model.extra 3, its authors use unset"),
    ("vgg19-features-wsd@average_256", ["backbone=vgg19", "scale=average_256", "distances.wsd.fn.order=1"],
     "distances.wsd.fn.order 1, its authors use 2"),
    ("vgg19-features-wsd@average_256", ["backbone=vgg19", "scale=average_256", "backbone.recipe.wsd_order=1"],
     "distances.wsd.fn.order 1, its authors use 2"),
    ("vgg19-features-wsd@average_256",
     ["backbone=vgg19", "scale=average_256", "scales.average_256.fn.side=300"],
     "scales.average_256.fn.side 300, its authors use 256"),
    ("vgg19-features-jsd@average_256",
     ["backbone=vgg19", "distance=jsd", "scale=average_256", "protocol.jsd_euclidean_term=false"],
     "protocol.jsd_euclidean_term false, its authors use true"),
    ("dinov1-features-wsd", ["backbone=dinov1", "backbone.model.norm_eps=1e-6"],
     "backbone.model.norm_eps 1e-06, its authors use 1e-12"),
])
def test_any_other_setting_is_unlike_the_authors(metric, settings, why):
    assert answer(metric, *settings) == ("no", why)


CHECKPOINT = "baseline=deepwsd_squeezenet1_1", f"{SQUEEZE}.checkpoint=mine.pth"


@pytest.mark.parametrize(("metric", "settings", "sha256", "expected"), [
    ("deepwsd_squeezenet1_1", CHECKPOINT, "0" * 64, "unknown"),
    ("deepwsd_squeezenet1_1", CHECKPOINT, "b8a52dc0" + "0" * 56, "yes"),
    ("dinov1-features-wsd", ["backbone=dinov1", "backbone.checkpoint=mine.pth"], "0" * 64, "unknown"),
    ("dinov1-features-wsd", ["backbone=dinov1", "backbone.weights.source=other/model"], "0" * 64, "unknown"),
    ("vgg19-features-wsd@average_256", ["backbone=vgg19", "scale=average_256", "backbone.pretrained=false"],
     "", "unknown"),
])
def test_weights_of_your_own_are_not_known_to_be_the_authors(metric, settings, sha256, expected):
    assert answer(metric, *settings, sha256=sha256) == (
        expected, "weights of your own" if expected == "unknown" else "")


def test_another_calibration_is_not_known_to_be_the_authors_even_with_their_network():
    settings = ["baseline=lpips_alex_authors", "baselines.lpips_alex_authors.calibration.filename=other.pth"]
    assert answer("lpips_alex_authors", *settings, sha256="7be5be79" + "0" * 56)[0] == "unknown"


def test_a_setting_that_differs_decides_before_the_weights():
    assert answer("deepwsd_squeezenet1_1", *CHECKPOINT, f"{SQUEEZE}.model.distance.order=1") == (
        "no", "model.distance.order 1, its authors use 2; weights of your own")


@pytest.mark.parametrize("setting", ["share: 0.01", "share: 0.05"])
def test_a_distance_of_your_own_is_not_known_to_be_the_authors_whatever_its_name(tmp_path, setting):
    (tmp_path / "distance").mkdir()
    (tmp_path / "distance/swd.yaml").write_text(
        f"# @package distances.swd\nlabel: SWD\nfn:\n  _target_: mine.SWD\n  {setting}\n")
    own = [f"hydra.searchpath=[file://{tmp_path}]", "backbone=dinov1", "distance=[swd,l2]"]
    assert answer("dinov1-features-swd", *own) == ("unknown", "")
    assert answer("dinov1-features-l2", *own) == ("yes", "")


def test_a_distance_of_your_own_under_a_shipped_name_is_unlike_the_authors():
    settings = ["backbone=dinov1", "distance=l2", "distances.l2.fn._target_=mine.L2"]
    assert answer("dinov1-features-l2", *settings) == (
        "no", "distances.l2.fn._target_ mine.L2, its authors use zsiqa.distances.L2")


def test_a_baseline_of_your_own_is_not_known_to_be_the_authors(tmp_path):
    (tmp_path / "baseline").mkdir()
    (tmp_path / "baseline/deepabc_vgg19.yaml").write_text(
        "# @package baselines.deepabc_vgg19\ndefaults: [deepwsd_vgg19@_here_]\nmodel: {least_side: 66}\n")
    assert answer("deepabc_vgg19", f"hydra.searchpath=[file://{tmp_path}]", "baseline=deepabc_vgg19") == (
        "unknown", "")


def test_a_backbone_beside_a_baseline_does_not_matter_to_it():
    settings = ["backbone=vgg19", "backbone.pretrained=false", "baseline=stlpips_alex"]
    assert answer("stlpips_alex", *settings) == ("yes", "")


def test_options_of_a_perturbation_are_of_the_images_not_of_the_metric():
    settings = ["backbone=dinov1", "perturbation=rotate", "perturbations.rotate.resample=bilinear"]
    assert answer("dinov1-features-wsd", *settings) == ("yes", "")
