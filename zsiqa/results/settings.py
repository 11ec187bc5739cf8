"""Comparison of a run's settings with the shipped ones: does the metric's name describe its scores?"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf

from zsiqa import CONFIGS
from zsiqa.releases import UNKNOWN, MetricFacts, metric_facts, select

CONTEXT = ("protocol", "precision", "official_train_mode")  # backbones and distances refer to these settings
UNSET = "unset"  # value of a setting that one side lacks


def facts_of_run(metric: str, about: Mapping[str, Any]) -> MetricFacts:
    """Return the facts about a metric, and whether a run made its scores as its authors do.

    Args:
        metric: its name, with its scale.
        about: content of the sidecar.
    """
    config, (name, _, scale) = about.get("config", {}), metric.partition("@")
    shipped = _shipped(name, scale, json.dumps({key: config[key] for key in CONTEXT if key in config}))
    if any(select(shipped, place) == UNKNOWN != select(config, place) for place in _parts(name, config)):
        return MetricFacts()  # a distance or baseline of one's own, whatever its name
    return metric_facts(metric, config, changed_settings(name, scale, config, shipped),
                        own_weights(name, config, shipped, select(about["identity"], "weights.sha256")))


def changed_settings(name: str, scale: str, config: Mapping[str, Any],
                     shipped: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """List settings that decide the scores of a metric and are not as shipped: name, value, shipped value.

    Compares the parts that compute the metric: `model` of the baseline, or of the backbone with the distance;
    and the scale. Parts that one side lacks are not compared.

    Args:
        name: of the metric.
        scale: its scale in the configuration; "" for the native one.
        config: of the run.
        shipped: the same parts as shipped.
    """
    changed = []
    for place in (*_parts(name, config), f"scales.{scale}.fn"):
        called = "model" if place.startswith("baselines.") else place
        ours, theirs = select(config, place), select(shipped, place)
        if UNKNOWN not in (ours, theirs):
            ours, theirs = dict(_leaves(ours, called)), dict(_leaves(theirs, called))
            changed += [(key, ours.get(key, UNSET), theirs.get(key, UNSET)) for key in theirs | ours
                        if ours.get(key, UNSET) != theirs.get(key, UNSET)]
    return changed


def _parts(name: str, config: Mapping[str, Any]) -> list[str]:
    """Name the parts of a run's configuration that compute a metric."""
    if name in config.get("baselines", {}):
        return [f"baselines.{name}.model"]
    return ["backbone.model", f"distances.{name.rpartition('-')[2]}.fn"]


def own_weights(name: str, config: Mapping[str, Any], shipped: Mapping[str, Any], sha256: str) -> bool:
    """Return whether a run used other weights than shipped: random ones, or a file that is not known.

    A file is known by digits of its SHA-256 in the name of the shipped file; torchvision's names have them.

    Args:
        name: of the metric.
        config: of the run.
        shipped: baseline or backbone as shipped.
        sha256: of the weights; anything else if they have none.
    """
    place = f"baselines.{name}" if name in shipped.get("baselines", {}) else "backbone"
    ours, theirs = select(config, place), select(shipped, place)
    if not (isinstance(ours, Mapping) and isinstance(theirs, Mapping)):
        return False

    def changed(*keys: str) -> bool:
        return any(ours.get(key, theirs.get(key)) != theirs.get(key) for key in keys)

    digits = re.search(r"-([0-9a-f]{8,})\.\w+$", str(select(theirs, "weights.source")))
    known = digits is not None and sha256.startswith(digits[1])
    return changed("calibration", "pretrained") or (changed("checkpoint", "weights") and not known)


@functools.cache
def _shipped(name: str, scale: str, context: str) -> Mapping[str, Any]:
    """Load the parts of a metric as shipped.

    Args:
        name: of the metric.
        scale: its scale in the configuration.
        context: values of settings in `CONTEXT`, as JSON; a backbone needs all.
    """
    settings = json.loads(context)
    files = {f"baselines.{name}": f"baseline/{name}.yaml", f"scales.{scale}": f"scale/{scale}.yaml"}
    if name.count("-") == 2 and len(settings) == len(CONTEXT):
        backbone, _, distance = name.split("-")
        files |= {"backbone": f"backbone/{backbone}.yaml",
                  f"distances.{distance}": f"distance/{distance}.yaml"}
    cfg = OmegaConf.create(settings)
    for place, file in files.items():
        if (CONFIGS / file).is_file():
            OmegaConf.update(cfg, place, _with_defaults(CONFIGS / file))
    return cast(dict[str, Any], OmegaConf.to_container(cfg, resolve=True))


def _with_defaults(file: Path) -> DictConfig:
    """Load a file of the configuration with the files of the same group that its `defaults` names."""
    node = cast(DictConfig, OmegaConf.load(file))
    below = [_with_defaults(file.with_name(f"{one.partition('@')[0]}.yaml"))
             for one in node.pop("defaults", []) if isinstance(one, str) and one != "_self_"]
    return cast(DictConfig, OmegaConf.merge(*below, node))


def _leaves(node: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Iterate over the values of a node, by dotted names."""
    if isinstance(node, Mapping) and node:
        for key, value in node.items():
            yield from _leaves(value, f"{name}.{key}")
    else:
        yield name, node
