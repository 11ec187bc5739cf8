"""Maps of differences: where they are, what they add up to, and that no seam shows."""

import pytest
import torch
from conftest import make_image
from test_score_command import tensor

from zsiqa.scoring.heatmap import difference_map
from zsiqa.scoring.metric import Metric

VIT = {"pretrained": False,
       "overrides": ["backbone.model_name=test_vit.r160_in1k", "window=160", "stride=140"]}
CNN = {"pretrained": False,
       "overrides": ["backbone.model_name=test_resnet.r160_in1k", "window=64", "stride=50"]}


WHOLE = {"pretrained": False, "overrides": ["backbone.model_name=test_vit.r160_in1k", "window=null"]}


@pytest.mark.sample("l2-settings0")
@pytest.mark.parametrize(("distance", "settings"), [("l2", VIT), ("cosine", VIT), ("l2", CNN), ("cosine", {
    **CNN, "overrides": [*CNN["overrides"], "protocol.cosine_axis=channel"]}), ("l2", WHOLE),
    ("l2", {**WHOLE, "scale": "short", "overrides": [*WHOLE["overrides"], "scales.short.side=180"]})])
def test_the_hottest_place_is_where_the_images_differ(distance, settings):
    metric = Metric("timm", distance, **settings)
    ref = tensor(make_image(330, 210, 0))
    for x, y in ((20, 30), (250, 60), (150, 170)):
        dis = ref.clone()
        dis[:, :, y:y + 32, x:x + 32] = 1 - dis[:, :, y:y + 32, x:x + 32]
        found = difference_map(metric, ref, dis)
        assert found.shape == (210, 330)
        assert (found >= 0).all()
        row, column = divmod(int(found.argmax()), 330)
        # a patch of 16 pixels, or the 32 of the coarsest maps
        assert y - 32 <= row < y + 64, (row, column)
        assert x - 32 <= column < x + 64, (row, column)


@pytest.mark.parametrize(("distance", "settings"), [("wsd", VIT), ("jsd", CNN), ("cosine", CNN)])
def test_elsewhere_a_tile_has_its_score(distance, settings, device):
    metric = Metric("timm", distance, **settings).to(device)
    window, step = metric.window, metric.stride
    ref = tensor(make_image(window + step, window, 0)).to(device)
    dis = ref.clone()
    dis[..., :step] = 1 - dis[..., :step]  # the second tile is equal
    found = difference_map(metric, ref, dis)
    scores = [metric(ref[..., x:x + window], dis[..., x:x + window]).item() for x in (0, step)]
    assert scores[1] == 0
    # lone tiles
    expected = torch.full((window, step), scores[0], device=device)
    torch.testing.assert_close(found[:, :step], expected, rtol=1e-5, atol=0)
    assert not found[:, window:].any()
    falling = found[window // 2, step:window]
    assert (falling.diff() < 0).all(), "from one tile to the next without a seam"
    assert falling.diff().abs().max() < scores[0] / (window - step)


def test_one_tile_adds_up_to_its_score(device):
    """l2 of tokens: the mean of the map and the score differ by the class token's share alone."""
    metric = Metric("timm", "l2", **VIT).to(device)
    ref, dis = (tensor(make_image(160, 160, seed)).to(device) for seed in (0, 1))
    [[r], [d]] = (metric.encode(images) for images in (ref, dis))
    per_token = metric.distance.at_positions(r, d).sum(1)[0]
    # order of float32 sums
    assert per_token.mean().item() == pytest.approx(metric(ref, dis).item(), rel=1e-5)
    values = difference_map(metric, ref, dis)
    # bilinear: inside a patch's row the mean is kept but for the two outermost halves of patches
    assert values.mean().item() == pytest.approx(per_token[1:].mean().item(), rel=0.1)


def test_equal_images_have_an_empty_map():
    image = tensor(make_image(100, 80, 0))
    assert not difference_map(Metric("timm", "l2", **CNN), image, image).any()
