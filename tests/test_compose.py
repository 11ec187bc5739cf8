"""Composing outside of run.py: what comes out, and what is refused in one message."""

import pytest

from zsiqa.config import check_settings, compose, instantiate
from zsiqa.types import ZsiqaError


def test_as_the_command_line_would():
    cfg = compose("backbone=dinov1", "distance=wsd", "dataset=pipal")
    assert (cfg.backbone.name, list(cfg.distances), cfg.dataset.name) == ("dinov1", ["wsd"], "pipal")
    assert compose().backbone.name == "efficientnet_lite0", "one call leaves nothing behind for the next"


@pytest.mark.parametrize(("override", "message"), [
    ("backbone=nothing",
     "no backbone/nothing in the configuration; backbone can be: clip_convnext, clip_rn50"),
    ("backbone=../dataset/nothing",
     "no backbone/../dataset/nothing .*; backbone can be: clip_convnext, clip_rn50"),
    ("backbone=../dataset/demo", "no backbone/../dataset/demo .*; backbone can be: clip_convnext, clip_rn50"),
    ("backbone=a/b/c", "backbone can be: clip_convnext"),
    ("a b=c", "needs its own quotes"),
    ("nothing=1", "unknown setting nothing; `zsiqa run --help` lists all"),
    ("backbone=dinov", r"no backbone/dinov in the configuration \(did you mean dinov1 or dinov2\?\)"),
    ("backbone=psnr", r"no backbone/psnr in the configuration \(did you mean baseline=psnr\?\)"),
    ("distance=[l2,wds]", r"\(did you mean wsd\?\)"),
    ("distanc=wsd", r"unknown setting distanc \(did you mean distance=wsd\?\)"),
    ("dataset.limt=2", r"unknown setting dataset.limt \(did you mean dataset.limit=2\?\)"),
    ("distances.wsd.fn.oder=3", r"\(did you mean distances.wsd.fn.order=3\?\)"),
    ("backbone.model.model_kwargs.img_size=384", r"\(to add it: \+backbone.model.model_kwargs.img_size=3"),
    ("dinov1", r"dinov1: expected a setting as name=value \(did you mean backbone=dinov1\?\)"),
    ("baseline=psnr=3", "baseline=psnr=3: cannot be parsed"),
    ("+dataset.limt=3", r"unknown setting dataset.limt \(did you mean dataset.limit=3\?\)"),
    ("++dataset.limt=3", r"\(did you mean dataset.limit=3\?\)"),
    ("+dataset={limt:3}", r"\(did you mean dataset.limit=3\?\)"),
    ("dataset={limt:3}", r"unknown setting dataset"),
    ("dataset.window=3", r"\(did you mean window=3\?\)"),
    ("+backbone.foo=1", "unknown setting backbone.foo; backbone has batch_tiles, checkpoint, label"),
    ("+backbone.modle.layers=x", r"\(did you mean backbone.model.layers=x\?\)"),
    ("+backbone.recipe.epsilo=3", r"\(did you mean backbone.recipe.epsilon=3\?\)"),
    ("+distances.wsd.revison=3", r"\(did you mean distances.wsd.revision=3\?\)"),
    ("+protocol.windws=spatial", r"\(did you mean protocol.windows=spatial\?\)"),
])
def test_what_is_unknown_is_refused(override, message):
    with pytest.raises(ZsiqaError, match=message):
        compose(override)


@pytest.mark.parametrize(("override", "message"), [
    ("+misspelt=1", "unknown setting misspelt; `zsiqa run --help` lists all"),
    ("+limit=3", r"unknown setting limit \(did you mean dataset.limit=3\?\)"),
    ("+distanc=wsd", r"unknown setting distanc \(did you mean distance=wsd\?\)"),
    ("backbone.model=3", "backbone.model consists of settings, backbone.model.NAME=VALUE; it cannot be 3"),
    ("dataset.read=x", "dataset.read consists of settings"),
    ("baselines=3", "baselines consists of settings"),
    ("distances.wsd=1", "distances.wsd consists of settings"),
    ("perturbations.original=1", "perturbations.original consists of settings"),
])
def test_what_hydra_takes_and_no_run_can_use_is_refused(override, message):
    with pytest.raises(ZsiqaError, match=message):
        check_settings(compose(override))


@pytest.mark.parametrize("override", [
    "+backbone.model.model_kwargs.img_size=384", "+dataset.types=[jp2k]", "backbone=none",
    "+distances.l2.revision=3", "+distances.wsd.fn.option_of_its_own=3", "+hydra.launcher.option=3",
    "+perturbations.mine={_target_: zsiqa.perturbations.Rotate, degrees: 3}",
    "+distances.mine={label: mine, fn: {_target_: zsiqa.distances.L2}}"])
def test_what_may_be_added_or_left_out(override):
    check_settings(compose(override, "baseline=psnr") if override == "backbone=none" else compose(override))


def test_a_wrong_option_of_a_distance_shows_when_it_is_built():
    node = compose("distance=cosine", "protocol.cosine_axis=diagonal").distances.cosine.fn
    with pytest.raises(ZsiqaError, match="axis must be last or channel, found 'diagonal'"):
        instantiate(node)


def test_a_misspelt_option_of_a_distance_shows_when_it_is_built():
    node = compose("+distances.wsd.fn.oder=3").distances.wsd.fn
    with pytest.raises(ZsiqaError, match=r"unexpected keyword argument 'oder' \(did you mean order\?\)"):
        instantiate(node)


def test_a_setting_of_another_choice_is_known_with_that_choice():
    with pytest.raises(ZsiqaError, match=r"dataset.cvs \(did you mean dataset.csv=a.csv\?\)"):
        compose("dataset=pairs", "dataset.cvs=a.csv")


@pytest.mark.parametrize(("override", "own", "expected"), [
    ("backbone=tiny_vi", "backbone/tiny_vit", r"did you mean tiny_vit\?.*timm, tiny_vit, vgg19"),
    ("distance=[l2,l3_l]", "distance/l3_loss", r"no distance/l3_l .*mean l3_loss\?.*l2, l3_loss, skld"),
])
def test_names_of_ones_own_folder_are_suggested(tmp_path, override, own, expected):
    (tmp_path / own).parent.mkdir()
    (tmp_path / f"{own}.yaml").write_text("defaults: [timm]\n")
    with pytest.raises(ZsiqaError, match=expected):
        compose(f"hydra.searchpath=[file://{tmp_path}]", override)
