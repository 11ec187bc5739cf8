"""Our backbones against the original implementations, with identical random weights, layer by layer.

The files that are loaded are written by the original's own `save_pretrained`, in the key names of the hub.
"""

import pytest
import safetensors.torch
import test_distances as naive
import timm
import torch
from test_backbones import hf_position_4_44, relative_l2
from test_configs import composed
from torch import nn
from transformers import (
    Dinov2Config,
    Dinov2ForImageClassification,
    Dinov2Model,
    ViTConfig,
    ViTForImageClassification,
    ViTModel,
)

from zsiqa.backbones.timm_backbone import TimmBackbone
from zsiqa.backbones.vit_state_dicts import dinov2_to_timm, vit_to_timm
from zsiqa.backbones.weights import find_weights
from zsiqa.config import instantiate
from zsiqa.types import WeightsError

pytestmark = pytest.mark.numeric

# What config.json says on the hub and what decides: size 768, 12 blocks and heads, MLP of 3072, GELU,
# epsilon.
VIT = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "hidden_act": "gelu",
       "qkv_bias": True,
       "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
VIT_B16 = {**VIT, "intermediate_size": 3072, "image_size": 224, "patch_size": 16, "layer_norm_eps": 1e-12}
DINOV2_B14 = {**VIT, "mlp_ratio": 4, "image_size": 518, "patch_size": 14, "layer_norm_eps": 1e-6,
              "layerscale_value": 1.0, "drop_path_rate": 0.0, "use_swiglu_ffn": False}
ORIGINALS = {
    "dinov1": lambda: ViTModel(ViTConfig(**VIT_B16)),  # facebook/dino-vitb16
    "dinov2": lambda: Dinov2Model(Dinov2Config(**DINOV2_B14)),  # facebook/dinov2-base
    # google/vit-base-...
    "imagenet_vit": lambda: ViTForImageClassification(ViTConfig(**VIT_B16, num_labels=1000)),
}


def shaken(model):
    """The model with noise on every parameter: none has its default value, so that a wrong mapping cannot
    pass."""
    random = torch.Generator().manual_seed(0)
    for parameter in model.eval().requires_grad_(False).parameters():
        parameter += 0.05 * torch.randn(parameter.shape, generator=random)
    return model


def saved(model, folder):
    model.save_pretrained(folder)
    return folder / "model.safetensors"


def states(model, tiles):
    """Outputs of the blocks, and the last hidden state, (B, N, D) each, by hooks on transformers' model.

    DINOv2's position embedding is brought to 16 x 16 patches by the rule of transformers 4.44, in float64 and
    sample by sample: later versions have another rule, and ours is not asked.
    """
    trunk = getattr(model, "vit", model)
    (blocks,) = [module for module in trunk.modules()
                 if isinstance(module, nn.ModuleList) and len(module) == trunk.config.num_hidden_layers]
    outputs = []
    for block in blocks:
        block.register_forward_hook(lambda _module, _input, output: outputs.append(output))
    if isinstance(model, Dinov2Model):
        position = hf_position_4_44(model.embeddings.position_embeddings)
        model.embeddings.interpolate_pos_encoding = lambda *_: position
    with torch.inference_mode():
        last = trunk(tiles).last_hidden_state
    return outputs, last


@pytest.fixture(scope="module", params=[
    "dinov1", *(pytest.param(name, marks=pytest.mark.slow) for name in ORIGINALS if name != "dinov1")])
def both(request, tmp_path_factory):
    """(name, original, our backbone) with the same weights; ours through configuration and file, as a run
    does."""
    torch.manual_seed(0)
    model = shaken(ORIGINALS[request.param]())
    for parameter in getattr(model, "vit", model).embeddings.parameters():
        # tokens so small that the epsilon of the layer norms shows: 1e-6 for 1e-12 would fail
        parameter *= 0.05
    file = saved(model, tmp_path_factory.mktemp(request.param))
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


@pytest.fixture(scope="module")
def features(both, tiles):
    """(theirs, ours): each a mapping of representation to (2, L, N, D), reference and distorted."""
    name, model, backbone = both
    blocks, last = states(model, tiles)
    theirs = {"features": torch.stack(blocks, 1),
              "embedding": (last / last.norm(dim=-1, keepdim=True))[:, None]}
    with torch.inference_mode():
        ours = {representation: stack for representation, (stack,) in backbone(tiles).items()}
    assert ours["features"].shape == (2, 12, 257 if name == "dinov2" else 197, 768)
    return theirs, ours


def test_every_block_and_the_embedding(both, tiles, features):
    """All tokens, and the logits where there are any.

    Measured: equal to the bit for DINOv1 and ImageNet-ViT; up to 6e-7 for DINOv2, whose position embedding is
    computed in float64 on the other side. 1e-5 leaves room for another order of float32 sums (other kernels
    of attention).
    """
    theirs, ours = features
    for representation in ("features", "embedding"):
        assert ours[representation].shape == theirs[representation].shape
        for layer in range(ours[representation].shape[1]):
            assert relative_l2(ours[representation][:, layer], theirs[representation][:, layer]) < 1e-5
    name, model, backbone = both
    if name == "imagenet_vit":
        with torch.inference_mode():
            assert relative_l2(backbone.model(tiles), model(tiles).logits) < 1e-5


@pytest.mark.parametrize("representation", ["features", "embedding"])
@pytest.mark.parametrize("distance", ["l2", "cosine", "skld", "jsd", "wsd"])
def test_scores(features, distance, representation):
    """Our scores of our features, against plain float64 loops over the original's features."""
    theirs, ours = ({name: stack.split(1) for name, stack in side.items()} for side in features)
    score = instantiate(composed(f"distance={distance}").distances[distance].fn)
    ref, dis = ours[representation]
    (expected_ref,), (expected_dis,) = (stack.double().numpy() for stack in theirs[representation])
    # Measured: up to 4e-7.
    assert score((ref,),
                 (dis,)).item() == pytest.approx(naive.SCORES[distance](expected_dis, expected_ref), rel=1e-5)


# Conversions, on models that are small enough to be built for every test: timm's settings and transformers'.
SMALL = {"model_name": "vit_tiny_patch16_224",
         "model_kwargs": {"embed_dim": 48, "depth": 2, "num_classes": 7}}
SMALL_DINOV2 = {"model_name": "vit_small_patch14_dinov2",
                "model_kwargs": {"embed_dim": 48, "depth": 2, "num_heads": 3, "img_size": 224}}
SMALL_SIZES = {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 3}


def small_vit():
    config = ViTConfig(**{**VIT_B16, **SMALL_SIZES, "intermediate_size": 192}, num_labels=7)
    return shaken(ViTForImageClassification(config))


def small_dinov2(classifier=False):
    config = Dinov2Config(**{**DINOV2_B14, **SMALL_SIZES}, num_labels=7)
    return shaken((Dinov2ForImageClassification if classifier else Dinov2Model)(config))


def own_names(settings):
    return set(timm.create_model(settings["model_name"], **settings["model_kwargs"]).state_dict())


@pytest.mark.parametrize("kind", ["model.safetensors", "pytorch_model.bin"])
@pytest.mark.parametrize("prefix", ["", "vit."])
def test_a_vit_of_the_hub(kind, prefix, tmp_path):
    """Both kinds of file, bare or inside a classifier, with the pooler that some files have."""
    state = safetensors.torch.load_file(saved(small_vit(), tmp_path))
    state = {name.removeprefix("vit.") if not prefix else name: tensor for name, tensor in state.items()}
    state[f"{prefix}pooler.dense.weight"], state[f"{prefix}pooler.dense.bias"] = torch.zeros(
        48, 48), torch.zeros(48)
    file = tmp_path / kind
    (safetensors.torch.save_file if kind.endswith(".safetensors") else torch.save)(state, file)
    model = TimmBackbone(weights=file, convert=vit_to_timm, **SMALL).model
    query, key, value = (state[f"{prefix}encoder.layer.1.attention.attention.{part}.weight"]
                         for part in ("query", "key", "value"))
    assert torch.equal(model.blocks[1].attn.qkv.weight, torch.cat([query, key, value]))
    assert torch.equal(model.head.weight, state["classifier.weight"])


@pytest.mark.parametrize("classifier", [False, True])
def test_a_dinov2_of_the_hub(classifier, tmp_path):
    state = safetensors.torch.load_file(saved(small_dinov2(classifier), tmp_path))
    prefix = "dinov2." if classifier else ""
    assert f"{prefix}embeddings.mask_token" in state
    assert state[f"{prefix}embeddings.position_embeddings"].shape == (1, 1370, 48)
    converted = dinov2_to_timm(state)
    assert converted.keys() == own_names(SMALL_DINOV2)
    assert converted["pos_embed"].shape == (1, 257, 48)
    assert torch.equal(converted["blocks.1.ls2.gamma"],
                       state[f"{prefix}encoder.layer.1.layer_scale2.lambda1"])


def test_facebooks_own_names():
    """They are timm's, apart from the mask token that only DINOv2's training needs."""
    ours = timm.create_model(SMALL_DINOV2["model_name"], **SMALL_DINOV2["model_kwargs"]).state_dict()
    converted = dinov2_to_timm({"mask_token": torch.zeros(1, 48), **ours})
    assert converted.keys() == ours.keys()
    assert all(converted[name] is ours[name] for name in ours)
    assert vit_to_timm(ours) == ours, "timm's names pass unchanged"


@pytest.mark.parametrize(("change", "messages"), [
    (lambda state: state.pop("vit.layernorm.bias"), ["1 missing, e.g. norm.bias."]),
    (lambda state: state.update(other=torch.zeros(1)), ["1 unexpected, e.g. other."]),
    (lambda state: state.pop("vit.encoder.layer.1.attention.attention.value.weight"),
     ["1 missing, e.g. blocks.1.attn.qkv.weight",
      "2 unexpected, e.g. vit.encoder.layer.1.attention.attention.key.weight"]),
    (lambda state: state.update({"vit.encoder.layer.1.attention.attention.value.bias": torch.zeros(3)}),
     ["1 missing, e.g. blocks.1.attn.qkv.bias",
      "3 unexpected, e.g. vit.encoder.layer.1.attention.attention.key.bias"]),
    (lambda state: state.update({"layernorm.bias": torch.zeros(48)}), ["1 unexpected, e.g. "]),
    (lambda state: state.update({"vit.encoder.layer.2.layernorm_after.bias": torch.zeros(48)}),
     ["1 unexpected, e.g. blocks.2.norm2.bias"]),
    (lambda state: state.update({"vit.embeddings.position_embeddings": torch.zeros(1, 5, 48)}),
     ["1 of another shape, e.g. pos_embed is (1, 5, 48) instead of (1, 197, 48)"]),
])
def test_a_file_that_does_not_fit(change, messages, tmp_path):
    state = safetensors.torch.load_file(saved(small_vit(), tmp_path))
    change(state)
    file = tmp_path / "changed.safetensors"
    safetensors.torch.save_file(state, file)
    with pytest.raises(WeightsError) as error:
        TimmBackbone(weights=file, convert=vit_to_timm, **SMALL)
    for message in messages:
        assert message in str(error.value)


@pytest.mark.parametrize("position", [torch.zeros(7), torch.zeros(2, 1370, 4), torch.zeros(1, 1371, 4)])
def test_a_position_embedding_of_another_form_is_left_to_the_loader(position):
    assert dinov2_to_timm({"pos_embed": position})["pos_embed"] is position


def test_a_file_of_another_model(tmp_path):
    file = saved(small_dinov2(), tmp_path)
    with pytest.raises(WeightsError,
                       match=r"missing, e\.g\. head\.weight; 4 unexpected, e\.g\. blocks\.0\.ls1\.gamma"):
        TimmBackbone(weights=file, convert=vit_to_timm, **SMALL)
