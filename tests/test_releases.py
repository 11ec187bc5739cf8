import fnmatch
import importlib

import pytest
import yaml

from zsiqa import CONFIGS
from zsiqa.config import compose, plain
from zsiqa.releases import _entry, joint_use, metric_facts, published
from zsiqa.results import liao
from zsiqa.results.official import conventions
from zsiqa.types import DatasetError

COMMON = {"name", "label", "get", "pairs", "references", "higher_is_better", "scores", "case", "tables",
          "sizes", "types", "subsets", "image"}


@pytest.mark.parametrize("name", published())
def test_facts_are_complete_and_have_a_reader(name, tmp_path):
    facts = published()[name]
    extra = facts.keys() - COMMON - {"images", "originals", "parts", "minuend"}
    assert facts.keys() >= COMMON
    assert len(facts[extra.pop()]) == 64
    assert not extra, "one digest"
    assert {kind for kinds in facts["subsets"].values() for kind in kinds} <= set(facts["types"])
    with pytest.raises(DatasetError, match=rf"^\[{name}\] no .* Fix: .* ZSIQA_{name.upper()}=DIR;"):
        importlib.import_module(f"zsiqa.datasets.{name}").read(tmp_path)


def test_the_authors_rows_of_live_are_its_images_but_for_the_originals():
    facts = conventions()["datasets"]["live"]
    assert facts["folders"] == {name: count - facts["originals"][name] for name,
                                count in facts["images"].items()}


@pytest.mark.parametrize(("metric", "expected", "why"), [
    ("lpips_alex", False, "input in [0, 1]; LPIPS expects [-1, 1]"),
    ("lpips_vgg@short_256", False,
     "input in [0, 1]; LPIPS expects [-1, 1]; scale short_256, its authors use native"),
    ("lpips_vgg_authors", True, ""),
    ("lpips_alex_authors@short_256", False, "scale short_256, its authors use native"),
    ("stlpips_alex", True, ""), ("stlpips_vgg", True, ""), ("stlpips_vgg_kadid", None, ""),
    ("dists", False, "scale native, its authors use short_256"), ("dists@short_256", True, ""),
    ("dists@average_256", False, "scale average_256, its authors use short_256"),
    ("psnr", None, ""), ("psnr@short_256", None, ""), ("gmsd", None, ""), ("nobody", None, ""),
    ("dinov1-features-wsd", True, ""),
    ("dinov1-features-wsd@short_224", False, "scale short_224, its authors use native"),
    ("dinov1-embedding-wsd", None, ""), ("dinov1_RANDOM_WEIGHTS-features-wsd", None, ""),
    ("efficientnet_lite0-features-l2", None, ""),
    ("vgg19-features-jsd", False, "scale native, its authors use average_256"),
    ("vgg19-features-jsd@average_256", True, ""),
    ("efficientnet_b7-features-wsd@average_256", True, ""), ("deepjsd_mobilenet_v3_small", True, ""),
    ("deepwsd_vgg19", True, ""), ("deepkld_squeezenet1_0@average_256", True, ""),
    ("deepkld_squeezenet1_0@short_256", False, "scale short_256, its authors use native or average_256"),
])
def test_published_scores_are_as_the_authors_make_them_or_not_or_unknown(metric, expected, why):
    found = metric_facts(metric)
    assert (found.as_authors, found.unlike_authors) == (expected, why)
    assert found.use == {"as_authors": {True: "yes", False: "no", None: "unknown"}[expected],
                         "unlike_authors": why}


@pytest.mark.sample("dinov1-features-wsd", "clip_vitb32-features-jsd", "clip_convnext-features-cosine",
                    "vgg19-features-wsd")
@pytest.mark.parametrize("metric", [metric for metric in conventions()["metrics"] if "-" in metric])
def test_the_papers_scores_are_made_as_its_authors_make_them_except_those_of_others(metric):
    of_others = metric.startswith(("vgg19", "efficientnet_b7"))
    assert metric_facts(metric).as_authors is not of_others
    if of_others or "swd" in metric:
        return
    backbone, representation, distance = metric.rsplit("-", 2)
    settings = [f"backbone={backbone}", f"distance={distance}", f"representation={representation}"]
    theirs = dict(_entry(metric)["authors"])
    assert theirs.pop("scale") == "native"
    chosen = [f"{name}={str(theirs[name]).lower()}" for name in ("precision", "official_train_mode")]
    cfg = plain(compose(*settings, *chosen))
    assert metric_facts(metric, cfg).as_authors, "with the shipped protocol, window and stride"
    default = metric_facts(metric, plain(compose(*settings)))
    assert default.as_authors is (theirs["precision"] == "fp32" and not theirs["official_train_mode"])


@pytest.mark.parametrize(("setting", "why"), [
    ("protocol=textbook", "protocol.normalize native, its authors use none"),
    ("window=null", "window null, its authors use 224"),
    ("precision=bf16", "precision bf16, its authors use fp32"),
    ("protocol.cosine_axis=channel", "protocol.cosine_axis channel, its authors use last"),
])
def test_a_run_with_another_setting_is_not_as_the_authors_run_it(setting, why):
    found = metric_facts("dinov1-features-cosine", plain(compose("backbone=dinov1", setting)))
    assert found.as_authors is False
    assert why in found.unlike_authors


def test_the_settings_of_a_run_count_more_than_its_name():
    changed = plain(compose("baseline=lpips_alex", "baselines.lpips_alex.model.normalize=true"))
    assert metric_facts("lpips_alex", changed).use == {"as_authors": "yes", "unlike_authors": ""}
    changed = plain(compose("baseline=stlpips_alex", "baselines.stlpips_alex.model.normalize=false"))
    assert metric_facts("stlpips_alex", changed).unlike_authors == (
        "model.normalize false, its authors use true")


def test_settings_that_a_file_does_not_have_are_not_known_to_be_the_authors():
    assert metric_facts("dinov1-features-l2", {}).as_authors is None
    assert metric_facts("deepjsd_mobilenet_v3_small", {"baselines": {}}).as_authors is None
    assert metric_facts("dinov1-features-l2@short_224", {}).as_authors is False
    assert metric_facts("lpips_alex", {}).as_authors is False, "its default is known"
    assert metric_facts("dists@short_256", {}).as_authors is True, "its name has all that matters"


def test_scores_of_several_sets_have_the_worst_answer_and_all_reasons():
    one, other, unknown = (metric_facts(name).use for name in ("dists@short_256", "dists", "psnr"))
    assert joint_use([one, one]) == {"as_authors": "yes", "unlike_authors": ""}
    assert joint_use([one, unknown])["as_authors"] == "unknown"
    assert joint_use([unknown, other, one]) == other
    assert joint_use([]) == {"as_authors": "", "unlike_authors": ""}


def test_every_fact_is_of_a_metric_that_there_is_and_every_scale_too():
    there = {*conventions()["metrics"], *liao.conventions()["metrics"],
             *compose("baseline=extended").baselines}
    scales = {path.stem for path in (CONFIGS / "scale").glob("*.yaml")}
    known = yaml.safe_load((CONFIGS / "metrics.yaml").read_text())
    for name, entry in known.items():
        assert fnmatch.filter(there, name), name
        assert set(entry) <= {"title", "variant_of", "trained_on", "authors", "unlike_authors"}, name
        scale = entry.get("authors", {"scale": "native"})["scale"]
        assert scales.issuperset(scale if isinstance(scale, list) else [scale]), name
        assert entry.get("variant_of", name) in {name, *known}
