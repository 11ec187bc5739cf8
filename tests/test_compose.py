"""Composing outside of run.py: what comes out, and what is refused in one message."""

import pytest

from zsiqa.config import compose, instantiate
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
    ("nothing=1", "Could not override 'nothing'"),
])
def test_what_is_unknown_is_refused(override, message):
    with pytest.raises(ZsiqaError, match=message):
        compose(override)


def test_a_wrong_option_of_a_distance_shows_when_it_is_built():
    node = compose("distance=cosine", "protocol.cosine_axis=diagonal").distances.cosine.fn
    with pytest.raises(ZsiqaError, match="axis must be last or channel, found 'diagonal'"):
        instantiate(node)
