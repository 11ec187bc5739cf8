"""Any model of timm by its name: families of models, with random weights, through the configuration."""

import pytest
import torch
from test_backbones import relative_l2
from test_configs import composed

from zsiqa.backbones.weights import find_weights
from zsiqa.config import instantiate
from zsiqa.types import ZsiqaError

pytestmark = pytest.mark.numeric


@pytest.fixture(scope="module")
def scores():
    return [instantiate(node.fn) for node in composed("distance=all").distances.values()]


def maps(*channels, size=56):
    """One stack a stage, each half as large as the one before: (1, C, H, W)."""
    return [(1, width, size >> stage, size >> stage) for stage, width in enumerate(channels)]


# Model: what its features are at 224 pixels, without the batch, and the width of its embedding.
MODELS = {
    # Vision transformers: blocks x tokens x width
    "vit_small_patch16_dinov3.lvd1689m": ([(12, 201, 384)], 384),  # CLS and 4 registers
    "vit_base_patch16_siglip_224.v2_webli": ([(12, 196, 768)], 768),
    "vit_pe_core_tiny_patch16_384.fb": ([(12, 197, 192)], 192),
    "eva02_tiny_patch14_224.mim_in22k": ([(12, 257, 192)], 192),
    "deit3_small_patch16_224.fb_in1k": ([(12, 197, 384)], 384),
    "deit_tiny_distilled_patch16_224.fb_in1k": ([(12, 198, 192)], 192),
    "vit_base_patch16_224.mae": ([(12, 197, 768)], 768),
    "beitv2_base_patch16_224.in1k_ft_in1k": ([(12, 197, 768)], 768),
    "vit_small_patch14_reg4_dinov2.lvd142m": ([(12, 261, 384)], 384),
    "vit_small_patch16_rope_224.naver_in1k": ([(12, 197, 384)], 384),
    "cait_xxs24_224.fb_dist_in1k": ([(24, 196, 192)], 192),
    "xcit_nano_12_p16_224.fb_in1k": ([(12, 196, 128)], 128),
    # Tokens whose number shrinks
    "hiera_tiny_224.mae_in1k_ft_in1k": ([(1, 3136, 96), (1, 784, 192), (1, 196, 384), (1, 49, 768)], 768),
    "levit_128s.fb_dist_in1k": ([(1, 196, 128), (1, 49, 256), (1, 16, 384)], 384),
    "twins_svt_small.in1k": ([(2, 3136, 64), (2, 784, 128), (10, 196, 256), (4, 49, 512)], 512),
    # Transformers with maps
    "swin_tiny_patch4_window7_224.ms_in1k": (maps(96, 192, 384, 768), 768),
    "maxvit_tiny_tf_224.in1k": (maps(64, 64, 128, 256, 512, size=112), 512),
    "coatnet_nano_rw_224.sw_in1k": (maps(64, 64, 128, 256, 512, size=112), 512),
    "pvt_v2_b0.in1k": (maps(32, 64, 160, 256), 256),
    "davit_tiny.msft_in1k": (maps(96, 192, 384, 768), 768),
    "tiny_vit_5m_224.dist_in22k_ft_in1k": (maps(64, 128, 160, 320), 320),
    "caformer_s18.sail_in1k": (maps(64, 128, 320, 512), 512),
    "gcvit_xxtiny.in1k": (maps(64, 128, 256, 512), 512),
    "efficientformerv2_s0.snap_dist_in1k": (maps(32, 48, 96, 176), 176),
    # Convolutional networks
    "convnextv2_atto.fcmae_ft_in1k": (maps(40, 80, 160, 320), 320),
    "convnext_tiny.dinov3_lvd1689m": (maps(96, 192, 384, 768), 768),
    "resnet18.a1_in1k": (maps(64, 64, 128, 256, 512, size=112), 512),
    "efficientnet_b0.ra_in1k": (maps(16, 24, 40, 112, 320, size=112), 1280),
    "mobilenetv3_small_100.lamb_in1k": (maps(16, 16, 24, 48, 576, size=112), 1024),
    "mobilenetv4_conv_small.e2400_r224_in1k": (maps(32, 32, 64, 96, 960, size=112), 1280),
    "mambaout_femto.in1k": (maps(48, 96, 192, 288), 1152),
    "fastvit_t8.apple_in1k": (maps(48, 96, 192, 384), 768),
    "edgenext_xx_small.in1k": (maps(24, 48, 88, 168), 168),
    "inception_next_atto.sail_in1k": (maps(40, 80, 160, 320), 960),
}
# What a name alone does not say.
SETTINGS = {
    "vit_pe_core_tiny_patch16_384.fb": ["+backbone.model.model_kwargs.img_size=224"],
    "vit_small_patch14_reg4_dinov2.lvd142m": ["+backbone.model.model_kwargs.img_size=224"],
    "twins_svt_small.in1k": ["backbone.model.layers=blocks.*.*"],
}


def built(name, *overrides):
    """The backbone, with random weights, as a run builds it."""
    cfg = composed("backbone=timm", f"backbone.model_name={name}", "backbone.pretrained=false", *overrides)
    torch.manual_seed(cfg.seed)
    return instantiate(cfg.backbone.model, weights=find_weights(cfg))


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_conformance(name, scores):
    """Shapes; finite; each tile by itself; equal input is at distance 0, other input is not."""
    shapes, width = MODELS[name]
    backbone = built(name, *SETTINGS.get(name, []))
    random = torch.Generator().manual_seed(0)
    for parameter in backbone.parameters():  # many models begin with branches that are scaled to nothing
        parameter += 0.02 * torch.randn(parameter.shape, generator=random)
    tiles = torch.rand((2, 3, 224, 224), generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        together, first, again, second = (backbone(batch) for batch
                                          in (tiles, tiles[:1], tiles[:1], tiles[1:]))
    assert [tuple(stack.shape) for stack in together["features"]] == [(2, *shape) for shape in shapes]
    assert [tuple(stack.shape) for stack in together["embedding"]] == [(2, 1, 1, width)]
    for representation, stacks in together.items():
        for tile, alone in enumerate((first, second)):
            for stack, single in zip(stacks, alone[representation], strict=True):
                assert stack.dtype == torch.float32
                assert stack.is_contiguous()
                assert torch.isfinite(stack).all()
                # Matrix products of another size sum in another order: measured up to 2e-6. Batch
                # normalisation in training mode, the likely fault, makes it 0.01 to 0.1 in a ResNet.
                assert relative_l2(stack[tile:tile + 1], single) < 1e-5
        for score in scores:
            assert score(first[representation], again[representation]).item() == 0
            assert score(first[representation], second[representation]).item() > 0


@pytest.mark.slow
@pytest.mark.parametrize(("name", "overrides", "message"), [
    ("mvitv2_tiny.fb_in1k", [], "timm does not say which modules of MultiScaleVit hold its features"),
    # they give sizes, too
    ("mvitv2_tiny.fb_in1k", ["backbone.model.layers=stages.*"], "should give one tensor"),
    ("twins_svt_small.in1k", [], "timm does not say which modules of Twins hold its features"),
    ("pit_ti_224.in1k", [], "should give one tensor .* but gave: tuple"),
])
def test_families_that_are_refused(name, overrides, message):
    """No model gives wrong features in silence: what is not a list of tensors is refused, saying what to
    name."""
    with pytest.raises(ZsiqaError, match=message):
        built(name, *overrides)(torch.rand(1, 3, 224, 224))
