"""Baselines by piq against piq's own functions, called for one pair at a time as its documentation shows."""

import math

import piq
import pytest
import torch
from conftest import image_pair, make_image, tensor
from PIL import ImageFilter

from zsiqa.baselines.baseline import Baselines
from zsiqa.baselines.piq_function import PiqFunction
from zsiqa.config import compose, instantiate
from zsiqa.datasets.demo import DISTORTIONS, PHOTOGRAPHS, _photograph
from zsiqa.perturbations import Original
from zsiqa.scoring.engine import Scorer
from zsiqa.types import ZsiqaError

pytestmark = pytest.mark.numeric

# Distorted image first: VIFp and IW-SSIM differ when the two are exchanged.
LIBRARY = {
    "ssim": piq.ssim, "gmsd": piq.gmsd, "ms_gmsd": piq.multi_scale_gmsd,
    "ms_gmsdc": lambda x, y: piq.multi_scale_gmsd(x, y, chromatic=True), "mdsi": piq.mdsi, "vsi": piq.vsi,
    "haarpsi": piq.haarpsi, "dss": piq.dss, "srsim": piq.srsim,
    "srsimc": lambda x, y: piq.srsim(x, y, chromatic=True), "vifp": piq.vif_p,
    "iw_ssim": piq.information_weighted_ssim,
}
DISTANCES = {"gmsd", "ms_gmsd", "ms_gmsdc", "mdsi"}
# Relative difference between a pair alone and the pair in a batch: a variance is a difference of means of
# squares, in float32. On the demo's photographs, piq in float64 differs from piq in float32 by up to 4e-5;
# DSS, a mean of the 5 % smallest similarities, by 5e-4.
ROUNDING = {**dict.fromkeys(LIBRARY, 1e-4), "dss": 1e-3}


@pytest.fixture(scope="module")
def nodes():
    """The configurations of the baselines that PiqFunction computes."""
    return {name: node for name, node in compose("baseline=extended").baselines.items()
            if node.model._target_.endswith("PiqFunction")}


@pytest.fixture(scope="module")
def metrics(nodes):
    return {name: instantiate(node.model) for name, node in nodes.items()}


@pytest.fixture(scope="module")
def photographs():
    """(references, distorted images) of the demo: one mild, one strong, one of another photograph."""
    references, distorted = [], []
    for name, kind, level in (("astronaut", "jpeg", 1), ("astronaut", "jpeg", 4),
                              ("china", "gaussian_blur", 2)):
        photograph = _photograph(*PHOTOGRAPHS[name])
        distort, strengths = DISTORTIONS[kind]
        references.append(tensor(photograph))
        distorted.append(tensor(distort(photograph, strengths[level])))
    return torch.cat(references), torch.cat(distorted)


def of_the_library(name, reference, distorted):
    """Score of one pair (3, H, W); NaN where the library raises or has no value."""
    try:
        score = LIBRARY[name](distorted[None], reference[None]).item()
    except torch.linalg.LinAlgError:
        return math.nan
    return score


def test_all_of_them_are_compared_with_the_library(nodes):
    assert nodes.keys() == LIBRARY.keys()
    assert {name for name, node in nodes.items() if not node.higher_is_better} == DISTANCES
    assert all(node.library == "piq" for node in nodes.values())


@pytest.mark.parametrize("name", LIBRARY)
def test_photographs_in_a_batch_score_as_the_library_scores_each_pair(metrics, photographs, name):
    with torch.inference_mode():
        expected = [of_the_library(name, *pair) for pair in zip(*photographs, strict=True)]
        found = metrics[name](*photographs).tolist()
    assert found == pytest.approx(expected, rel=ROUNDING[name])
    mild, strong, _ = found
    assert (mild < strong) == (name in DISTANCES)


@pytest.mark.parametrize("name", LIBRARY)
def test_equal_photographs_are_the_best(metrics, photographs, name):
    reference = photographs[0][:1]
    with torch.inference_mode():
        found = metrics[name](reference, reference).item()
    assert found == pytest.approx(float(name not in DISTANCES), abs=1e-5)  # float32


def test_vifp_knows_which_image_is_the_reference(metrics, photographs):
    """More contrast is more information than the reference has (Sheikh and Bovik): above 1, not below."""
    reference = 0.2 + 0.6 * photographs[0][:1]
    with torch.inference_mode():
        more = metrics["vifp"](reference, (1.2 * (reference - 0.5) + 0.5).clamp(0, 1)).item()
    assert 1.05 < more < 1.2  # exchanged, it is 0.92


def degenerate():
    """(name, reference, distorted) of images without content, or with next to none of a difference."""
    noise = torch.rand(3, 165, 180, generator=torch.Generator().manual_seed(0))
    grey, black, white = (torch.full_like(noise, value) for value in (0.5, 0, 1))

    def one_pixel(image):
        changed = image.clone()
        changed[1, 80, 90] = (changed[1, 80, 90] + 1 / 255) % 1
        return changed

    yield from (("grey, grey", grey, grey), ("black, black", black, black), ("grey, black", grey, black),
                ("black, white", black, white), ("grey, noise", grey, noise), ("noise, grey", noise, grey),
                ("grey, one pixel", grey, one_pixel(grey)), ("noise, one pixel", noise, one_pixel(noise)))


# Where the library has no score: 0/0 in HaarPSI (its score goes to 1 / 0), and in IW-SSIM a covariance of the
# reference without an inverse.
UNDEFINED = {("haarpsi", "black, black"),
             *(("iw_ssim", case) for case, *_ in degenerate() if not case.startswith("noise"))}


@pytest.mark.parametrize("name", LIBRARY)
def test_degenerate_images_score_as_in_the_library_or_not_at_all(metrics, name):
    cases = list(degenerate())
    batch = [torch.stack(images) for images in zip(*(images for _, *images in cases), strict=True)]
    with torch.inference_mode():
        together = metrics[name](*batch).tolist()
        expected = {case: of_the_library(name, *images) for case, *images in cases}
    for (case, score), found in zip(expected.items(), together, strict=True):
        assert math.isfinite(score) == ((name, case) not in UNDEFINED), case
        # Variances of a constant reference are rounding errors, and VIFp is a quotient of them.
        rounding = 2e-3 if name == "vifp" and case.startswith("grey") else 1e-5
        assert found == pytest.approx(score, rel=ROUNDING[name], abs=rounding, nan_ok=True), case


def test_a_pair_without_a_score_fails_alone(metrics, tmp_path):
    make_image(180, 170, 0).save(tmp_path / "photo.png")
    make_image(180, 170, 0).filter(ImageFilter.BoxBlur(1)).save(tmp_path / "blurred.png")
    make_image(180, 170, 0).point(lambda _: 0).save(tmp_path / "black.png")
    chosen = Baselines({name: metrics[name] for name in ("haarpsi", "iw_ssim", "ssim")})
    scorer = Scorer(chosen, distances={(name,): metric.compare for name, metric in chosen.items()},
                    window=None, batch_tiles=4, perturbations={"original": Original()})
    pairs = [image_pair(tmp_path / ref, tmp_path / dis)
             for ref, dis in (("black.png", "black.png"), ("photo.png", "blurred.png"))]
    black, photo = sorted(scorer.score(pairs), key=lambda outcome: outcome.index)
    assert black.scores == {("ssim",): pytest.approx(1)}
    assert set(black.undefined) == {("haarpsi",), ("iw_ssim",)}
    assert "black.png (original): the score is not finite: iw_ssim = nan" in black.undefined["iw_ssim",]
    assert not photo.undefined
    assert photo.scores.keys() == scorer.distances.keys()


@pytest.mark.parametrize("name", LIBRARY)
def test_the_least_side_is_the_least(metrics, name):
    metric = metrics[name]
    least = metric.least_side
    torch.manual_seed(0)
    for height, width in ((least, least + 3), (least + 40, least)):
        images = torch.rand(2, 3, height, width)
        with torch.inference_mode():
            scores = metric(images, images.flip(3))
        assert scores.isfinite().all()
        expected = [of_the_library(name, *pair) for pair in zip(images, images.flip(3), strict=True)]
        assert scores.tolist() == pytest.approx(expected, rel=ROUNDING[name])
    if least > 1:
        images = torch.rand(2, 3, least - 1, least - 1)
        try:
            scores = metric(images, images.flip(3))
        except ValueError:  # of piq
            return
        assert not scores.isfinite().all(), "it can do with less"


def test_a_function_that_piq_does_not_have():
    with pytest.raises(ZsiqaError, match=r"piq 0.8.0 has no function sssim"):
        PiqFunction("sssim")
