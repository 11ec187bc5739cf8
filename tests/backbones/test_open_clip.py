"""CLIP in open_clip against OpenAI's own package and against hooks on open_clip, with identical random
weights."""

import functools
import pickle
import sys
import types
import warnings
import zipfile

import open_clip
import packaging.version
import pytest
import safetensors.torch
import test_distances as naive
import torch
from test_backbones import relative_l2
from torch import nn

from zsiqa.backbones.open_clip_backbone import OpenClipBackbone
from zsiqa.backbones.state_dicts import read_state_dict, visual_tower
from zsiqa.backbones.torchscript import is_torchscript
from zsiqa.types import WeightsError, ZsiqaError

pytestmark = pytest.mark.numeric

with pytest.MonkeyPatch.context() as patch:
    # OpenAI's package takes `packaging` from setuptools' `pkg_resources`, which setuptools no longer has.
    patch.setitem(sys.modules, "pkg_resources", types.SimpleNamespace(packaging=packaging))
    from clip.model import CLIP, convert_weights

# As in configs/backbone; test_configs.py checks that those files say the same.
CLIPS = {
    "clip_rn50": {"model_name": "RN50-quickgelu"},
    "clip_vitb32": {"model_name": "ViT-B-32-quickgelu"},
    "clip_convnext": {"model_name": "convnext_base_w", "layers": "trunk.stages.*.blocks.*"},
    "rclip_vitb32": {"model_name": "ViT-B-32"},
    "rclip_convnext": {"model_name": "convnext_base_w", "layers": "trunk.stages.*.blocks.*"},
}
# OpenAI's constructor: embedding, then resolution, layers, width, patch of the images.
OPENAI = {"clip_rn50": (1024, 224, (3, 4, 6, 3), 64, None), "clip_vitb32": (512, 224, 12, 768, 32)}
SHAPES = {
    "clip_rn50": [(1, 64, 56, 56), (1, 256, 56, 56), (1, 512, 28, 28), (1, 1024, 14, 14), (1, 2048, 7, 7)],
    "clip_vitb32": [(12, 50, 768)],
    "clip_convnext": [(3, 128, 56, 56), (3, 256, 28, 28), (27, 512, 14, 14), (3, 1024, 7, 7)],
    "rclip_vitb32": [(12, 50, 768)],
}
EMBEDDING = {"clip_rn50": 1024, "clip_vitb32": 512, "clip_convnext": 640, "rclip_vitb32": 512}
# The text tower does not matter here, except that its entries must not disturb. (Its blocks have the image's
# names.)
TEXT = {"width": 64, "heads": 1, "layers": 1, "vocab_size": 9, "context_length": 5}
# A ViT of two blocks for what does not depend on size; OpenAI's and open_clip's.
TINY = {"model_name": "ViT-B-32-quickgelu", "vision_cfg": {"width": 64, "layers": 2}}
# Float32 sums in another order, because of other layouts of the same products; 6e-7 was measured.
CLOSE = 5e-6


def randomised(model, seed=0):
    """Evaluation mode, and no norm, bias or running statistic at its default, so that a wrong mapping cannot
    pass."""
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in model.state_dict().values():
            if tensor.is_floating_point() and tensor.ndim < 2:
                tensor += 0.05 * torch.randn(tensor.shape, generator=random)
    return model.eval()


def openai_clip(*images):
    torch.manual_seed(0)
    return randomised(CLIP(*images, TEXT["context_length"], TEXT["vocab_size"], TEXT["width"], TEXT["heads"],
                           TEXT["layers"]))


def tiny_clip():
    return openai_clip(512, 224, 2, 64, 32)


def hooked(visual, modules, tiles):
    """(outputs of the modules in firing order, output of the whole), by hooks of our own."""
    outputs = []
    handles = [module.register_forward_hook(lambda _module, _input, out: outputs.append(out))
               for module in modules]
    with torch.inference_mode():
        whole = visual(tiles)
    for handle in handles:
        handle.remove()
    return outputs, whole


def saved(state, file):
    (safetensors.torch.save_file if file.suffix == ".safetensors" else torch.save)(state, file)
    return file


@pytest.fixture(scope="module")
def tiles():
    """Noise; the second of lower contrast, for the embeddings of random networks to differ by more than
    rounding."""
    random = torch.Generator().manual_seed(1)
    return torch.rand((2, 3, 224, 224), generator=random) * torch.tensor([1.0, 0.2]).view(2, 1, 1, 1)


# R-CLIP has the layers of CLIP ViT-B/32, and ConvNeXt's are timm's.
@pytest.fixture(scope="module", params=[
    pytest.param(name, marks=[] if name in OPENAI else [pytest.mark.slow]) for name in SHAPES])
def case(request, tiles, tmp_path_factory):
    """(name, our backbone, its outputs, the original's feature maps batch first, its embedding not yet
    normalised)."""
    name = request.param
    folder = tmp_path_factory.mktemp(name)
    if name in OPENAI:
        model = openai_clip(*OPENAI[name])
        visual, file = model.visual, saved(model.state_dict(), folder / "openai.pth")
    else:
        torch.manual_seed(0)
        model = randomised(open_clip.create_model(CLIPS[name]["model_name"], text_cfg=TEXT))
        visual, file = model.visual, saved(model.state_dict(), folder / "open_clip_model.safetensors")
    if name == "clip_rn50":
        modules = [visual.avgpool, visual.layer1, visual.layer2, visual.layer3, visual.layer4]
    elif name == "clip_convnext":
        modules = [block for stage in visual.trunk.stages for block in stage.blocks]
    else:
        modules = visual.transformer.resblocks
    features, embedding = hooked(visual, modules, tiles)
    if name == "clip_vitb32":
        features = [tokens.transpose(0, 1) for tokens in features]  # OpenAI's are tokens first
    backbone = OpenClipBackbone(weights=file, **CLIPS[name])
    file.unlink()  # some hundred megabytes
    with torch.inference_mode():
        return name, backbone, backbone(tiles), features, embedding


def test_features_and_embedding_against_the_original(case):
    name, _, outputs, features, embedding = case
    assert [tuple(stack.shape[1:]) for stack in outputs["features"]] == SHAPES[name]
    found = [layer for stack in outputs["features"] for layer in stack.unbind(1)]
    for ours, theirs in zip(found, features, strict=True):
        assert relative_l2(ours, theirs) < CLOSE
    assert outputs["embedding"][0].shape == (2, 1, 1, EMBEDDING[name])
    assert relative_l2(outputs["embedding"][0][:, 0, 0],
                       embedding / embedding.norm(dim=1, keepdim=True)) < CLOSE
    for stacks in outputs.values():
        assert all(stack.is_contiguous() and stack.dtype == torch.float32 for stack in stacks)


def test_a_tile_does_not_depend_on_its_companions(case, tiles):
    _, backbone, together, *_ = case
    with torch.inference_mode():
        alone = backbone(tiles[1:])
    for representation, stacks in together.items():
        for stack, single in zip(stacks, alone[representation], strict=True):
            assert relative_l2(stack[1:], single) < CLOSE


def test_all_distances(case, tiles):
    """Finite, nothing between equal tiles even when computed twice, something between others."""
    _, backbone, first, *_ = case
    with torch.inference_mode():
        again = backbone(tiles)
        for representation in ("features", "embedding"):
            swapped = tuple(stack.flip(0) for stack in first[representation])
            for distance in (ours() for ours in naive.OURS.values()):
                same = distance(first[representation], again[representation])
                # Cosine: 1 - 1 in float32, summed over at most 36 layers.
                assert same.abs().max() < 1e-5, (representation, distance)
                other = distance(first[representation], swapped)
                assert torch.isfinite(other).all()
                assert (other > 10 * same.abs()).all(), (representation, distance)


@pytest.mark.parametrize("distance", naive.SCORES)
def test_scores_against_plain_numpy(case, distance):
    """docs/protocol.md section 5 in float64 on the very features: what is left is float32's arithmetic."""
    _, _, outputs, *_ = case
    for stacks in outputs.values():
        swapped = tuple(stack.flip(0) for stack in stacks)
        found = naive.OURS[distance]()(stacks, swapped)[0].item()
        assert found == pytest.approx(naive.score(distance, swapped, stacks, tile=0), rel=naive.ERROR)


def test_evaluation_mode_and_what_happens_without(case, tiles):
    """In training mode, as open_clip hands its models out, ConvNeXt gives other features each time."""
    name, backbone, *_ = case
    assert not any(module.training for module in backbone.modules())
    backbone.model.train()
    try:
        with pytest.raises(RuntimeError, match=r"changed the backbone's mode; call \.train\(False\)"):
            backbone(tiles)
        if name == "clip_convnext":
            with torch.inference_mode():
                assert relative_l2(backbone.model(tiles[:1]), backbone.model(tiles[:1])) > 1e-3
    finally:
        backbone.eval()


def test_the_activation_is_the_one_that_the_weights_were_trained_with(tiles, tmp_path):
    """QuickGELU for OpenAI's ViT, GELU for R-CLIP's; OpenAI's own features tell them apart."""
    model = tiny_clip()
    file = saved(model.state_dict(), tmp_path / "tiny.pth")
    expected, _ = hooked(model.visual, model.visual.transformer.resblocks, tiles)
    errors = {}
    for name in ("clip_vitb32", "rclip_vitb32"):
        backbone = OpenClipBackbone(weights=file, **{**TINY, **CLIPS[name]})
        errors[name] = relative_l2(backbone(tiles)["features"][0][:, 0], expected[0].transpose(0, 1))
    assert errors["clip_vitb32"] < CLOSE
    assert errors["rclip_vitb32"] > 1e-4, "the wrong activation must show"


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """(what torch.jit.load finds, file) of a small CLIP as OpenAI publishes: TorchScript, half precision, 3
    numbers."""
    model = tiny_clip()
    convert_weights(model)
    del model.context_length, model.vocab_size
    for name, number in {"input_resolution": 224, "context_length": 5, "vocab_size": 9}.items():
        model.register_buffer(name, torch.tensor(number))
    file = tmp_path_factory.mktemp("archive") / "ViT-tiny.pt"
    inputs = torch.rand(1, 3, 224, 224), torch.zeros(1, 5, dtype=torch.long)
    with warnings.catch_warnings(action="ignore"):  # TorchScript is on its way out, OpenAI's files are not
        torch.jit.trace(model, inputs, check_trace=False).save(file)
        expected = {name: tensor.clone() for name, tensor in torch.jit.load(file).state_dict().items()}
    return expected, file


def test_torchscript_archive_without_running_it(archive, tiles, monkeypatch):
    expected, file = archive
    monkeypatch.setattr(torch.jit, "load", None)
    monkeypatch.setattr(torch, "load", None)
    assert is_torchscript(file)
    found = read_state_dict(file)
    assert expected.keys() <= found.keys()
    assert all(torch.equal(found[name], tensor) and found[name].dtype == tensor.dtype
               for name, tensor in expected.items())
    assert found["visual.conv1.weight"].dtype == torch.float16
    backbone = OpenClipBackbone(weights=file, **TINY)
    model = tiny_clip()
    model.load_state_dict({name: expected[name].float() for name in model.state_dict()})
    features, embedding = hooked(model.visual, model.visual.transformer.resblocks, tiles)
    outputs = backbone(tiles)
    for layer, tokens in enumerate(features):
        assert relative_l2(outputs["features"][0][:, layer], tokens.transpose(0, 1)) < CLOSE
    assert relative_l2(outputs["embedding"][0].flatten(1), nn.functional.normalize(embedding, dim=-1)) < CLOSE


def test_a_torchscript_archive_cannot_run_code(archive, tmp_path):
    """The pickle of an archive, with a call of `print` where its root was; and an archive without its
    pickle."""
    _, file = archive
    for name, content in {"evil.pt": pickle.dumps(functools.partial(print, "run")), "torn.pt": None}.items():
        with zipfile.ZipFile(file) as good, zipfile.ZipFile(tmp_path / name, "w") as bad:
            for entry in good.namelist():
                if not entry.endswith("/data.pkl"):
                    bad.writestr(entry, good.read(entry))
                elif content:
                    bad.writestr(entry, content)
        with pytest.raises(WeightsError, match="expected a state dict"):
            read_state_dict(tmp_path / name)


@pytest.mark.parametrize("part", ["whole", "visual only"])
@pytest.mark.parametrize("suffix", [".safetensors", ".bin"])
def test_files_of_the_whole_model_and_of_the_image_encoder(part, suffix, tiles, tmp_path):
    model = tiny_clip()
    state = (model if part == "whole" else model.visual).state_dict()
    file = saved({name: tensor.half() for name, tensor in state.items()}, tmp_path / f"tiny{suffix}")
    backbone = OpenClipBackbone(weights=file, **TINY)
    assert all(torch.equal(tensor, model.visual.state_dict()[name].half().float())
               for name, tensor in backbone.model.state_dict().items())
    assert torch.isfinite(backbone(tiles)["features"][0]).all()


@pytest.mark.parametrize(("change", "message"), [
    (lambda state: state.pop("visual.proj"), r"1 missing, e\.g\. proj"),
    (lambda state: state.update({"visual.other": torch.zeros(1)}), r"1 unexpected, e\.g\. other"),
    (lambda state: state.update({"ln_post.weight": torch.zeros(64)}),
     r"neither to its visual nor .* e\.g\. ln_post"),
    (lambda state: state.update({"visual.proj": torch.zeros(64, 8)}),
     r"proj is \(64, 8\) instead of \(64, 512\)"),
    (lambda state: [state.pop(name) for name in list(state) if name.startswith("visual.")],
     r"missing, e\.g\. class_embedding; .* unexpected, e\.g\. text_projection"),
    (lambda state: state.clear(), r"missing, e\.g\. class_embedding"),
])
def test_a_file_that_does_not_fit(change, message, tmp_path):
    state = tiny_clip().state_dict()
    change(state)
    with pytest.raises(WeightsError, match=message):
        OpenClipBackbone(weights=saved(state, tmp_path / "wrong.pth"), **TINY)


def test_what_belongs_to_the_text_towers_of_open_clip():
    """No entry of a text tower is mistaken for an unknown one: CLIP, a text tower apart, CoCa."""
    for name in ("ViT-B-32", "ViT-B-16-SigLIP", "coca_ViT-B-32"):
        with torch.device("meta"):
            config = open_clip.get_model_config(name)
            kind = open_clip.CoCa if "multimodal_cfg" in config else (
                open_clip.CustomTextCLIP if config.pop("custom_text", False) else open_clip.CLIP)
            model = kind(**{key: value for key, value in config.items() if key != "custom_text"})
        assert visual_tower(model.state_dict()).keys() == model.visual.state_dict().keys()


def test_other_sizes(tiles):
    """A ViT takes its own size alone; more pixels than its patches cover would be ignored without a word."""
    backbone = OpenClipBackbone(weights=None, **TINY)
    for side in (192, 230, 256):
        with pytest.raises(ZsiqaError,
                           match=rf"tiles of {side} x {side} pixels, only of 224 x 224; set window"):
            backbone(torch.rand(2, 3, side, side))
    larger = OpenClipBackbone(model_name="ViT-B-32", weights=None,
                              vision_cfg={"width": 64, "layers": 2, "image_size": 256})
    assert larger(torch.rand(2, 3, 256, 256))["features"][0].shape == (2, 2, 65, 64)
    with pytest.raises(ZsiqaError, match="cannot take tiles of 224 x 224"):
        larger(tiles)
    with pytest.raises(ZsiqaError, match="cannot take tiles of 224 x 224"):  # how a model of timm refuses
        OpenClipBackbone(model_name="vit_medium_patch16_gap_256", weights=None)(tiles)


def test_attention_is_plain_inside_and_as_it_was_outside(tiles):
    backbone = OpenClipBackbone(weights=None, **TINY)
    seen = []
    backbone.model.ln_pre.register_forward_hook(
        lambda *_: seen.append(torch.backends.mha.get_fastpath_enabled()))
    backbone(tiles)
    assert seen == [False]
    assert torch.backends.mha.get_fastpath_enabled()


@pytest.mark.slow
@pytest.mark.parametrize("name", OPENAI)
def test_half_precision_is_openais(name, tiles, tmp_path):
    """OpenAI's own half-precision model on the same weights, one tile at a time, to the bit."""
    model = openai_clip(*OPENAI[name])
    file = saved(model.state_dict(), tmp_path / "openai.pth")
    backbone = OpenClipBackbone(weights=file, half=True,
                                **CLIPS[name]).to(memory_format=torch.contiguous_format)
    file.unlink()
    convert_weights(model)
    visual = model.visual
    modules = ([visual.avgpool, visual.layer1, visual.layer2, visual.layer3, visual.layer4]
               if name == "clip_rn50"
               else visual.transformer.resblocks)
    features, embedding = hooked(visual, modules, tiles[:1].half())
    assert embedding.dtype == torch.float16
    if name == "clip_vitb32":
        features = [tokens.transpose(0, 1) for tokens in features]
    outputs = backbone(tiles[:1])
    found = [layer for stack in outputs["features"] for layer in stack.unbind(1)]
    for ours, theirs in zip(found, features, strict=True):
        assert ours.dtype == torch.float32
        assert torch.equal(ours, theirs.float())
    # Normalised in half precision, too, where the norm of a vector is rounded.
    assert torch.equal(outputs["embedding"][0].flatten(),
                       nn.functional.normalize(embedding, dim=-1)[0].float())


@pytest.mark.slow
def test_training_mode_drops_paths_at_random(tiles):
    """Stochastic depth of ConvNeXt, as open_clip hands it out: the same with the same seed, other with
    another."""
    torch.manual_seed(0)
    backbone = OpenClipBackbone(weights=None, train_mode=True, **CLIPS["clip_convnext"])
    randomised(backbone.model).train()  # fresh blocks are scaled by 1e-6, so dropping one would hardly show
    found = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        with torch.inference_mode():
            found.append(backbone(tiles[:1])["features"][-1])
    assert torch.equal(found[0], found[1])
    assert relative_l2(found[2], found[0]) > 1e-3
    with pytest.raises(RuntimeError, match=r"call \.train\(True\)"):
        backbone.eval()(tiles[:1])


def test_layers_of_ones_own(tiles):
    backbone = OpenClipBackbone(weights=None, layers="transformer.resblocks.*.mlp", **TINY)
    assert backbone(tiles)["features"][0].shape == (2, 2, 50, 64)
    with pytest.raises(ValueError, match=r"no module of VisionTransformer matches layers='blocks\.\*'"):
        OpenClipBackbone(weights=None, layers="blocks.*", **TINY)


def test_native_normalisation(tiles):
    torch.manual_seed(0)
    plain = OpenClipBackbone(weights=None, **TINY)
    torch.manual_seed(0)
    native = OpenClipBackbone(weights=None, normalize="native", **TINY)
    mean = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(3, 1, 1)  # in OpenAI's README
    std = torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(3, 1, 1)
    found = native(tiles)["features"][0]
    assert relative_l2(found, plain((tiles - mean) / std)["features"][0]) < CLOSE
    assert relative_l2(found, plain(tiles)["features"][0]) > 1e-2


def test_native_normalisation_of_other_families():
    """SigLIP has means of its own; of ViT-L-14, weights with different ones are published."""
    siglip = OpenClipBackbone(model_name="ViT-B-32-SigLIP2-256", weights=None, normalize="native")
    assert siglip.mean.flatten().tolist() == siglip.std.flatten().tolist() == [0.5, 0.5, 0.5]
    with pytest.raises(ValueError, match="different means"):
        OpenClipBackbone(model_name="ViT-L-14", weights=None, normalize="native",
                         vision_cfg={"width": 64, "layers": 1})


@pytest.mark.parametrize(("options", "message"), [
    ({"model_name": "ViT-B-23"}, r"open_clip has no model 'ViT-B-23'; near: .*ViT-B-32"),
    ({"model_name": "hf-hub:laion/CLIP"}, "open_clip has no model 'hf-hub:laion/CLIP'"),
    ({**TINY, "normalize": "imagenet"}, "normalize must be none or native, found 'imagenet'"),
])
def test_unknown_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        OpenClipBackbone(weights=None, **options)
