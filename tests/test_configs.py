"""Every configuration composes, resolves, and builds what it names."""

import copy
import functools
import textwrap
from pathlib import Path

import open_clip
import pytest
import torch
import yaml
from hydra import compose, initialize_config_dir
from hydra.utils import get_object
from omegaconf import OmegaConf
from test_backbones import VITS
from test_open_clip import CLIPS

from zsiqa import CONFIGS
from zsiqa.backbones.weights import find_baseline_files, find_weights
from zsiqa.config import check_settings, flat, instantiate
from zsiqa.releases import published
from zsiqa.results import liao
from zsiqa.results.official import conventions
from zsiqa.results.scores import split_metric, split_scale
from zsiqa.types import ZsiqaError

GROUPS = ["backbone", "baseline", "dataset", "distance", "perturbation", "protocol", "representation",
          "scale"]
GIVEN = {"timm": ["backbone.model_name=resnet18.a1_in1k"], "open_clip": ["backbone.model_name=RN50"],
         "pairs": ["dataset.csv=my.csv"], "average": ["scales.average.side=300"],
         "short": ["scales.short.side=300"]}


def names(group):
    return sorted(file.stem for file in (CONFIGS / group).glob("*.yaml"))


@functools.cache
def _composed(overrides):
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        return compose("config", overrides=list(overrides))


def composed(*overrides):
    return copy.deepcopy(_composed(overrides))  # to compose takes ten times as long


@pytest.mark.parametrize(("group", "name"), [(group, name) for group in GROUPS for name in names(group)])
def test_every_option_composes_and_resolves(group, name):
    cfg = composed(f"{group}={name}", *GIVEN.get(name, []))
    plain = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    targets = [value for key, value in flat(plain) if key.endswith("_target_")]
    assert targets
    assert all(target.startswith("zsiqa.") for target in targets)
    if group in ("backbone", "dataset", "protocol") and name not in GIVEN:
        assert plain[group]["name"] == name


@pytest.mark.parametrize("group", GROUPS)
def test_options_of_a_group_have_the_same_keys(group):
    keys = {"backbone": "backbone", "baseline": "baselines", "dataset": "dataset", "distance": "distances",
            "perturbation": "perturbations", "protocol": "protocol",
            "representation": "representations", "scale": "scales"}[group]
    found = set()
    for name in names(group):
        node = composed(f"{group}={name}", *GIVEN.get(name, []))[keys]
        nodes = [node] if keys == group else node.values()
        own = {"root", "csv", "percent", "pixels", "axis", "degrees", "keep_reference", "resample",
               "side"}
        found |= {frozenset(set(n) - own) for n in nodes}
    assert len(found) == 1


@pytest.mark.parametrize(("group", "key", "all_of_them"), [
    ("distance", "distances", {"l2", "cosine", "skld", "jsd", "wsd"}),
    ("perturbation", "perturbations", {"original", "translate", "dilate", "rotate"}),
    ("representation", "representations", {"features", "embedding"}),
    ("baseline", "baselines", {"psnr", "ms_ssim", "fsimc", "dists", "lpips_alex", "lpips_vgg", "stlpips_alex",
                               "stlpips_vgg"}),
])
def test_one_a_list_or_all(group, key, all_of_them):
    one, other = sorted(all_of_them)[:2]
    assert set(composed(f"{group}=all")[key]) == all_of_them
    assert list(composed(f"{group}=[{other},{one}]")[key]) == [other, one]
    assert list(composed(f"{group}={one}")[key]) == [one]


@pytest.mark.parametrize(("group", "key", "everything"), [
    ("distance", "distances", "all"), ("perturbation", "perturbations", "all"),
    ("representation", "representations", "all"), ("baseline", "baselines", "extended"),
])
def test_everything_is_everything(group, key, everything):
    curves = {name for name in names(group) if name.startswith("curves")}  # levels beyond the paper's points
    assert set(composed(f"{group}={everything}")[key]) == set(names(group)) - {"all", "extended"} - curves


def test_the_papers_command_means_original_images_and_features():
    cfg = composed("backbone=dinov1", "distance=wsd", "dataset=pipal")
    assert (list(cfg.perturbations), list(cfg.representations)) == (["original"], ["features"])
    assert (cfg.window, cfg.stride, cfg.precision) == (224, 200, "fp32")
    assert cfg.dataset.higher_is_better is True


@pytest.mark.parametrize(("choice", "backbone"), [
    ([], "efficientnet_lite0"), (["baseline=psnr"], "none"), (["baseline=[ms_ssim,psnr]"], "none"),
    (["baseline=all"], "none"), (["baseline=all", "backbone=dinov1"], "dinov1"),
    (["backbone=dinov1", "baseline=[psnr,ms_ssim]"], "dinov1"), (["backbone=none", "baseline=psnr"], "none"),
])
def test_baselines_come_without_a_backbone_unless_one_is_named(choice, backbone):
    cfg = composed(*choice)
    assert cfg.backbone.name == backbone
    assert bool(cfg.baselines) == any(part.startswith("baseline=") for part in choice)
    check_settings(cfg)


def test_baselines_are_those_of_the_tables_and_of_the_authors():
    cfg = composed("baseline=all")
    spec = yaml.safe_load((CONFIGS / "table/table3.yaml").read_text())
    rows = {row["metric"]: row["name"] for group in spec["groups"] for row in group["rows"]
            if "-" not in row["metric"]}
    assert {name: node.label for name, node in cfg.baselines.items()} == rows
    assert cfg.baselines.keys() <= conventions()["metrics"].keys()
    assert [name for name,
            node in cfg.baselines.items() if node.higher_is_better] == conventions()["higher_is_better"]


def test_the_page_of_baselines_has_each_with_its_direction_and_smallest_side():
    page = (CONFIGS.parent / "docs/baselines.md").read_text(encoding="utf-8")
    rows = {cells[0].strip("`"): cells for line in page.splitlines()
            if len(cells := [cell.strip() for cell in line.strip("|").split("|")]) == 7}
    baselines = composed("baseline=extended").baselines
    assert baselines.keys() == rows.keys() - {"baseline", "---"}
    for name, node in baselines.items():
        _, _, direction, side, *_ = rows[name]
        assert direction == ("↑" if node.higher_is_better else "↓"), name
        least = node.model.get("least_side") or getattr(get_object(node.model._target_), "least_side", side)
        assert int(side) == int(least), name


@pytest.mark.parametrize("name", ["psnr", "ms_ssim", "fsimc", "stlpips_alex", "stlpips_vgg"])
def test_baselines_that_need_no_download_build(name):
    cfg = composed(f"baseline={name}")
    baseline = instantiate(cfg.baselines[name].model, **find_baseline_files(cfg.baselines)[name])
    assert baseline(*torch.rand(2, 1, 3, 170, 170)).shape == (1,)


@pytest.mark.parametrize("name", VITS)
def test_the_vits_are_those_that_test_backbones_checks(name):
    node = composed(f"backbone={name}").backbone
    model = node.model
    assert node.weights.source == f"timm/{VITS[name]['model_name']}"
    assert (model.model_name, model.layers, model.embedding, model.normalize) == (
        VITS[name]["model_name"], "blocks.*", "tokens", "none")
    assert model.norm_eps == VITS[name].get("norm_eps")
    assert model.model_kwargs == VITS[name].get("model_kwargs", {})
    # all read other names; DINOv2 resamples, too
    assert (model.convert.get("grid") == 16) == ("convert" in VITS[name])


@pytest.mark.parametrize("name", CLIPS)
def test_the_clips_are_those_that_test_open_clip_checks(name):
    node = composed(f"backbone={name}").backbone
    assert (node.model.model_name, node.model.layers, node.model.normalize, node.model.vision_cfg) == (
        CLIPS[name]["model_name"], CLIPS[name].get("layers"), "none", {})


@pytest.mark.parametrize(("name", "tag"), [
    ("clip_rn50", "openai"), ("clip_vitb32", "openai"), ("clip_convnext", "laion2b_s13b_b82k"),
])
def test_weights_are_where_open_clip_itself_finds_them(name, tag):
    node = composed(f"backbone={name}").backbone
    published = open_clip.get_pretrained_cfg(node.model_name, tag)
    assert (f"{node.weights.source}/", node.weights.filename, node.weights.fallback) == (
        published["hf_hub"], open_clip.constants.HF_SAFE_WEIGHTS_NAME, open_clip.constants.HF_WEIGHTS_NAME)


def test_a_backbone_is_labelled_as_in_the_tables():
    rows = [row for group in yaml.safe_load((CONFIGS / "table/extended.yaml").read_text())["groups"]
            for row in group["rows"] if row["metric"].split("-")[0] in names("backbone")]
    assert {row["metric"].split("-")[0] for row in rows} >= CLIPS.keys()
    for row in rows:
        label = composed(f"backbone={row['metric'].split('-')[0]}").backbone.label
        assert row["name"].removesuffix(" (embedding)") == label


@pytest.mark.parametrize("group", ["distance", "perturbation"])
def test_distances_and_perturbations_build(group):
    cfg = composed(f"{group}=all")
    for node in cfg.distances.values():
        assert callable(instantiate(node.fn))
    for node in cfg.perturbations.values():
        assert callable(instantiate(node).distorted)


@pytest.mark.parametrize("file", sorted((CONFIGS / "table").glob("*.yaml")), ids=lambda file: file.stem)
def test_every_cell_of_a_table_names_configurations(file):
    spec = yaml.safe_load(file.read_text())
    official = conventions()
    assert set(spec["datasets"]) <= set(names("dataset")) | set(official["datasets"])
    assert set(spec["labels"]) == set(spec["datasets"])
    assert set(spec["perturbations"]) <= set(names("perturbation"))
    rows = [row for group in spec["groups"] for row in group["rows"]]
    metrics = [row["metric"] for row in rows]
    assert len(metrics) == len(set(metrics))
    columns = len(spec["datasets"]) * len(spec["perturbations"]) * len(spec["coefficients"])
    for row in rows:
        assert len(row.get("printed", range(columns))) == columns
        name, scale = split_scale(row["metric"])
        assert not scale or scale in names("scale")
        backbone, representation, distance = split_metric(name)
        if name in official["metrics"] or name in liao.conventions()["metrics"]:
            continue
        if not distance:
            assert name in names("baseline")
        else:
            assert backbone in names("backbone")
            assert representation in names("representation")
            assert distance in names("distance")


def test_every_published_set_has_a_configuration_of_the_same_label_and_direction():
    for name, facts in published().items():
        ours = composed(f"dataset={name}").dataset
        assert (ours.label, ours.higher_is_better, ours.image_identity) == (
            facts["label"], facts["higher_is_better"], "names")
        assert ours.read._target_ == f"zsiqa.datasets.{name}.read", "as `zsiqa data` assumes"
    assert set(published()) > set(conventions()["datasets"])


def test_a_data_set_is_whole_until_a_part_is_chosen():
    for name in names("dataset"):
        node = composed(f"dataset={name}", *GIVEN.get(name, [])).dataset
        assert (node.limit, node.types, node.references, node.strict) == (None, None, None, False)


def test_configs_are_where_the_readme_says():
    assert (Path(__file__).parent.parent / "configs") == CONFIGS


def test_a_new_vit_of_timm_by_yaml_alone(tmp_path):
    """A file in a folder of one's own, which the command line names; nothing in the repository, no Python."""
    (tmp_path / "backbone").mkdir()
    (tmp_path / "backbone/my_vit.yaml").write_text(textwrap.dedent("""
        defaults: [timm]
        name: my_vit
        label: My ViT
        model_name: vit_tiny_patch16_224.augreg_in21k_ft_in1k
        model:
          layers: blocks.*
          embedding: tokens
          norm_eps: 1e-12
    """))
    cfg = composed(f"hydra.searchpath=[{tmp_path.as_uri()}]", "backbone=my_vit", "backbone.pretrained=false")
    check_settings(cfg)
    assert cfg.backbone.weights.source == "timm/vit_tiny_patch16_224.augreg_in21k_ft_in1k"
    backbone = instantiate(cfg.backbone.model, weights=find_weights(cfg))
    with torch.inference_mode():
        outputs = backbone(torch.rand(1, 3, 224, 224))
    assert [tuple(stack.shape) for stack in outputs["features"]] == [(1, 12, 197, 192)]
    assert [tuple(stack.shape) for stack in outputs["embedding"]] == [(1, 1, 197, 192)]
    assert backbone.model.norm.eps == 1e-12


def test_a_new_vit_of_open_clip_by_yaml_alone(tmp_path):
    """The same for open_clip, with the representation that only its models have."""
    (tmp_path / "backbone").mkdir()
    (tmp_path / "backbone/my_clip.yaml").write_text(textwrap.dedent("""
        defaults: [open_clip]
        name: my_clip
        label: My CLIP
        model_name: ViT-B-32
        weights: {source: somebody/my-clip}
        model:
          layers: transformer.resblocks.*.mlp
          vision_cfg: {width: 64, layers: 3}
    """))
    cfg = composed(f"hydra.searchpath=[{tmp_path.as_uri()}]", "backbone=my_clip", "backbone.pretrained=false")
    check_settings(cfg)
    assert cfg.backbone.weights.source == "somebody/my-clip"
    backbone = instantiate(cfg.backbone.model, weights=find_weights(cfg))
    with torch.inference_mode():
        outputs = backbone(torch.rand(1, 3, 224, 224))
    assert [tuple(stack.shape) for stack in outputs["features"]] == [(1, 3, 50, 64)]
    assert [tuple(stack.shape) for stack in outputs["embedding"]] == [(1, 1, 1, 512)]


@pytest.mark.sample("dinov1", "clip_rn50", "vgg19", "efficientnet_lite0")
@pytest.mark.parametrize("backbone", [name for name in names("backbone") if name not in {*GIVEN, "none"}])
def test_the_paper_protocol_is_the_default_and_the_textbook_changes_every_quirk(backbone):
    paper, textbook = (composed(f"backbone={backbone}", "distance=all", "perturbation=translate", *chosen)
                       for chosen in ([], ["protocol=textbook"]))
    assert paper == composed(f"backbone={backbone}", "distance=all", "perturbation=translate",
                             "protocol=paper")
    vgg = backbone == "vgg19"
    for cfg, expected in ((paper, ("none", "last", "columns", vgg, "nearest")),
                          (textbook, ("native", "channel", "samples", True, "up"))):
        assert cfg.perturbations.translate.keep_reference == (cfg is textbook)
        assert {fns.windows for fns in (cfg.distances[name].fn for name in ("skld", "jsd", "wsd"))} == {
            "spatial" if cfg is textbook else "memory"}
        fns = {name: node.fn for name, node in cfg.distances.items()}
        assert (cfg.backbone.model.normalize, fns["cosine"].axis, fns["wsd"].softmax_over,
                fns["jsd"].euclidean_term,
                fns["jsd"].padding) == expected
        assert fns["skld"].padding == fns["wsd"].padding == fns["jsd"].padding
    if backbone in VITS:
        assert (paper.backbone.model.embedding, textbook.backbone.model.embedding) == ("tokens", "pooled")
    assert paper.protocol.folder != textbook.protocol.folder


TRAIN_MODE = {"clip_convnext", "rclip_convnext", "efficientnet_b7"}  # docs/protocol.md section 8
# By backbone, the distances that the authors computed in half precision.
HALF = {"clip_rn50": {"l2", "cosine"}, "clip_vitb32": {"l2", "cosine", "skld", "jsd"}}


@pytest.mark.sample(
    "official_train_mode=true-imitated0-clip_convnext", "official_train_mode=true-imitated0-dinov1",
    "precision=clip_fp16_official-imitated1-clip_rn50", "precision=clip_fp16_official-imitated1-dinov1")
@pytest.mark.parametrize("backbone", [name for name in names("backbone") if name not in {*GIVEN, "none"}])
@pytest.mark.parametrize(("setting", "imitated"), [("official_train_mode=true", TRAIN_MODE),
                                                   ("precision=clip_fp16_official", HALF)])
def test_what_the_authors_did_is_imitated_where_they_did_it(backbone, setting, imitated):
    ours, theirs = (composed(f"backbone={backbone}", "distance=all", *chosen) for chosen in ([], [setting]))
    assert not ours.backbone.model.get("train_mode")
    assert not ours.backbone.model.get("half")
    assert not any(node.fn.get("half") for node in ours.distances.values())
    in_half = {name for name, node in theirs.distances.items() if instantiate(node.fn).half}
    assert in_half == (HALF.get(backbone, set()) if imitated is HALF else set())
    if backbone in imitated:
        check_settings(theirs)
    else:
        with pytest.raises(ZsiqaError, match=f"has nothing to imitate with backbone={backbone}"):
            check_settings(theirs)
