"""Whole images of any size: against timm's own option and open_clip's own resampling."""

import open_clip
import pytest
import timm
import torch
from open_clip.model import resize_pos_embed
from torch import nn

from zsiqa.backbones.open_clip_backbone import OpenClipBackbone
from zsiqa.backbones.timm_backbone import TimmBackbone
from zsiqa.config import compose
from zsiqa.perturbations import Original
from zsiqa.runs.build import build_backbone
from zsiqa.scoring.metric import Metric
from zsiqa.types import ZsiqaError

pytestmark = pytest.mark.numeric

# With a class token; with registers and no position for them; with average pooling and no class token.
VITS = ["test_vit.r160_in1k", "test_vit2.r160_in1k", "test_vit3.r160_in1k"]
CLIP = {"model_name": "ViT-B-32-quickgelu", "vision_cfg": {"width": 64, "layers": 2}}


def randomised(model):
    """Random values everywhere: positions of zeros would hide a wrong resampling."""
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.2, generator=random)
    return model


def images(height, width, count=2):
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", VITS)
@pytest.mark.parametrize(("height", "width"), [(192, 256), (101, 330), (16, 47)])
def test_a_vit_against_timms_own_option(name, height, width):
    backbone = TimmBackbone(model_name=name, weights=None, layers="blocks.*")
    randomised(backbone.model)
    original = timm.create_model(name, dynamic_img_size=True).eval()
    original.load_state_dict(backbone.model.state_dict())
    backbone.allow_any_size()
    assert backbone.patch == (16, 16)
    x = images(height, width)
    cut = x[..., :height // 16 * 16, :width // 16 * 16]
    outputs = []
    for block in original.blocks:
        block.register_forward_hook(lambda _module, _inputs, out: outputs.append(out))
    with torch.no_grad():
        found = backbone(x)
        pooled = original.forward_head(original.forward_features(cut), pre_logits=True)
    torch.testing.assert_close(found["features"][0], torch.stack(outputs, 1), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found["embedding"][0][:, 0, 0], nn.functional.normalize(pooled, dim=-1),
                               rtol=1e-5, atol=1e-6)  # float32 sums in other layouts


@pytest.mark.parametrize("backbone", [
    lambda: TimmBackbone(model_name=VITS[0], weights=None, layers="blocks.*"),
    lambda: OpenClipBackbone(**CLIP, weights=None)], ids=["timm", "open_clip"])
def test_at_the_models_own_size_nothing_changes(backbone):
    backbone = backbone()
    x = images(160, 160) if isinstance(backbone, TimmBackbone) else images(224, 224)
    with torch.no_grad():
        before = backbone(x)
        backbone.allow_any_size()
        after = backbone(x)
    for name in before:
        assert all(torch.equal(one, other) for one, other in zip(before[name], after[name], strict=True))


@pytest.mark.parametrize(("height", "width"), [(192, 256), (300, 101)])
def test_a_clip_vit_against_a_model_of_that_size(height, width):
    """open_clip builds the encoder for the size, and resamples the positions of a checkpoint."""
    backbone = OpenClipBackbone(**CLIP, weights=None)
    randomised(backbone.model)
    rows, columns = height // 32, width // 32
    config = open_clip.get_model_config(CLIP["model_name"])
    sized = open_clip.CLIP(embed_dim=config["embed_dim"], quick_gelu=True, text_cfg={
        "width": 64, "heads": 1, "layers": 1, "vocab_size": 1, "context_length": 1},
        vision_cfg={**config["vision_cfg"], **CLIP["vision_cfg"], "image_size": [32 * rows, 32 * columns]})
    state = {f"visual.{name}": tensor for name, tensor in backbone.model.state_dict().items()}
    resize_pos_embed(state, sized)
    sized.visual.load_state_dict({name.removeprefix("visual."): tensor for name, tensor in state.items()})
    backbone.allow_any_size()
    x = images(height, width)
    with torch.no_grad():
        found = backbone(x)["embedding"][0][:, 0, 0]
        expected = sized.eval().visual(x[..., :32 * rows, :32 * columns])
    torch.testing.assert_close(found, nn.functional.normalize(expected, dim=-1), rtol=1e-4, atol=1e-6)


def test_gradients_reach_both_ends_of_a_clip_vit():
    backbone = OpenClipBackbone(**CLIP, weights=None)
    backbone.allow_any_size()
    x = images(96, 70, 1).requires_grad_()
    backbone(x)["embedding"][0][..., 0].sum().backward()
    assert x.grad[..., :64].abs().sum() > 0
    assert not x.grad[..., 64:].any(), "what does not fill a patch is cut"


def test_models_of_one_size_say_so():
    backbone = OpenClipBackbone(model_name="RN50", weights=None,
                                vision_cfg={"layers": [1, 1, 1, 1], "width": 8})
    backbone.allow_any_size()
    with pytest.raises(ZsiqaError, match="cannot take tiles of 256 x 192 pixels, only of 224 x 224; set"):
        backbone(images(256, 192, 1))


@pytest.mark.slow
def test_dinov1_scores_an_image_of_256_x_192():
    """The paper's model, with random weights: DINOv1 at the size of average_256 on TID2013."""
    metric = Metric("dinov1", "wsd", pretrained=False, scale="average_256", overrides=["window=null"])
    assert metric.name == "dinov1_RANDOM_WEIGHTS-features-wsd@average_256"
    ref = images(384, 512, 1)
    dis = (ref + 0.1).clamp(0, 1)
    pooled = [nn.functional.avg_pool2d(one, 2) for one in (ref, dis)]
    same_size = Metric("dinov1", "wsd", pretrained=False, overrides=["window=null"])
    assert metric(ref, dis).item() == pytest.approx(same_size(*pooled).item(), rel=1e-6)
    assert same_size.encode(pooled[0])[0].shape == (1, 12, 12 * 16 + 1, 768)


def test_an_image_below_a_patch_is_an_error_of_its_pair():
    cfg = compose("backbone=timm", f"backbone.model_name={VITS[0]}", "backbone.pretrained=false",
                  "window=null", "distance=l2")
    scorer = build_backbone(cfg, None, [("features", "l2")], device="cpu", workers=1,
                            perturbations={"original": Original()})
    assert scorer.least_side == (16, f"{VITS[0]} needs sides of at least 16 pixels, a patch")
    with pytest.raises(ZsiqaError, match="the images have 300 x 15 pixels, less than a patch"):
        Metric("timm", "l2", pretrained=False, overrides=[
            f"backbone.model_name={VITS[0]}", "window=null"])(*[images(15, 300, 1)] * 2)
