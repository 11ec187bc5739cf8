"""Our backbones against the original implementations, with identical random weights, layer by layer.

The files that are loaded are written by the original's own `save_pretrained`, in the key names of the hub.
"""

import numpy as np
import pytest
import safetensors.torch
import test_distances as naive
import timm
import torch
from test_backbones import hf_position_4_44, relative_l2
from test_configs import composed
from torch import nn
from transformers import Dinov2Config, Dinov2Model, ViTConfig, ViTForImageClassification, ViTModel

from zsiqa.backbones.vit_state_dicts import dinov2_to_timm, vit_to_timm
from zsiqa.runner import build_distance, find_weights, instantiate
from zsiqa.types import WeightsError

# What config.json says on the hub and what decides: size 768, 12 blocks and heads, MLP of 3072, GELU, epsilon.
VIT = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "hidden_act": "gelu", "qkv_bias": True,
       "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
VIT_B16 = {**VIT, "intermediate_size": 3072, "image_size": 224, "patch_size": 16, "layer_norm_eps": 1e-12}
DINOV2_B14 = {**VIT, "mlp_ratio": 4, "image_size": 518, "patch_size": 14, "layer_norm_eps": 1e-6,
              "layerscale_value": 1.0, "drop_path_rate": 0.0, "use_swiglu_ffn": False}
ORIGINALS = {
    "dinov1": lambda: ViTModel(ViTConfig(**VIT_B16)),  # facebook/dino-vitb16
    "dinov2": lambda: Dinov2Model(Dinov2Config(**DINOV2_B14)),  # facebook/dinov2-base
    "imagenet_vit": lambda: ViTForImageClassification(ViTConfig(**VIT_B16, num_labels=1000)),  # google/vit-base-...
}


def original(name, seed=0):
    """A model of transformers in which no parameter has its default value, so that a wrong mapping cannot pass."""
    torch.manual_seed(seed)
    model = ORIGINALS[name]().eval().requires_grad_(False)
    for parameter in model.parameters():
        parameter += 0.05 * torch.randn_like(parameter)
    return model


def saved(model, folder):
    model.save_pretrained(folder)
    return folder / "model.safetensors"


def states(model, tiles):
    """Outputs of the blocks, and the last hidden state, (B, N, D) each, by hooks on transformers' model.

    DINOv2's position embedding is brought to 16 x 16 patches by the rule of transformers 4.44, in float64 and sample by
    sample: later versions have another rule, and ours is not asked.
    """
    trunk = getattr(model, "vit", model)
    (blocks,) = [module for module in trunk.modules()
                 if isinstance(module, nn.ModuleList) and len(module) == trunk.config.num_hidden_layers]
    outputs = []
    for block in blocks:  # their outputs were tuples in transformers 4
        block.register_forward_hook(lambda _module, _input, out: outputs.append(out[0] if isinstance(out, tuple) else out))
    if isinstance(model, Dinov2Model):
        position = hf_position_4_44(model.embeddings.position_embeddings)
        model.embeddings.interpolate_pos_encoding = lambda *_: position
    with torch.inference_mode():
        last = trunk(tiles).last_hidden_state
    return outputs, last


@pytest.fixture(scope="module", params=ORIGINALS)
def both(request, tmp_path_factory):
    """(name, original, our backbone) with the same weights; ours through configuration and file, as a run does."""
    model = original(request.param)
    folder = tmp_path_factory.mktemp(request.param)
    file = saved(model, folder)
    cfg = composed(f"backbone={request.param}", f"backbone.checkpoint={file}")
    backbone = instantiate(cfg.backbone.model, weights=find_weights(cfg))
    file.unlink()  # 350 MB
    return request.param, model, backbone


@pytest.fixture(scope="module")
def tiles():
    """A tile of blobs, and the same with noise of standard deviation 0.1: (2, 3, 224, 224) in [0, 1]."""
    random = torch.Generator().manual_seed(1)
    coarse = torch.rand((1, 3, 8, 8), generator=random)
    ref = nn.functional.interpolate(coarse, size=(224, 224), mode="bicubic").clamp(0, 1)
    return torch.cat([ref, (ref + 0.1 * torch.randn(ref.shape, generator=random)).clamp(0, 1)])


def test_every_block_and_the_embedding(both, tiles):
    name, model, backbone = both
    blocks, last = states(model, tiles)
    with torch.inference_mode():
        outputs = backbone(tiles)
    (features,), (embedding,) = outputs["features"], outputs["embedding"]
    assert features.shape == (2, 12, 257 if name == "dinov2" else 197, 768)
    errors = [relative_l2(features[:, layer], block) for layer, block in enumerate(blocks)]
    errors.append(relative_l2(embedding[:, 0], last / last.norm(dim=-1, keepdim=True)))
    print(name, errors)
    assert len(errors) == 13
    assert max(errors) < 1e-5
    if name == "imagenet_vit":
        with torch.inference_mode():
            print(relative_l2(backbone.model(tiles), model(tiles).logits))
            assert relative_l2(backbone.model(tiles), model(tiles).logits) < 1e-5
