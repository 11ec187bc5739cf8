"""Names: of settings, configured or added on a command line; of data sets and metrics, for files."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig

from zsiqa import CONFIGS
from zsiqa.types import REFERENCES

GROUPS_OF_MANY = ("distances", "perturbations", "scales", "baselines")  # NAME: settings


def flat(data: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Iterate over the leaves of nested mappings: (dotted name, value)."""
    if isinstance(data, Mapping) and data:
        for key, value in data.items():
            yield from flat(value, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, data


@functools.cache
def top_level() -> frozenset[str]:
    """Names of the entries of a configuration: those of configs/config.yaml, and of its groups."""
    config = yaml.safe_load((CONFIGS / "config.yaml").read_text(encoding="utf-8"))
    chosen = [str(name) for entry in config["defaults"] if isinstance(entry, dict) for name in entry]
    return frozenset({*config, *chosen, *(f"{name}s" for name in chosen)} - {"defaults"})


def added(overrides: Sequence[str]) -> dict[str, Any]:
    """List the settings that overrides add (+name=value), with values."""
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    return {name: value for one in parsed if one.is_add() or one.is_force_add()
            for name, value in flat(one.value(), one.key_or_group)}


def may_be_added(name: str, data: Mapping[str, Any]) -> bool:
    """Return whether something reads a setting that is added to the groups.

    The arguments of a `_target_` may all be added: it checks them itself. Otherwise a shipped file of the
    group must have the name.

    Args:
        name: the setting, dotted.
        data: the configuration, with the setting.
    """
    group, *parts = name.split(".")
    if group not in top_level() - {"hydra"} or not parts:
        return True  # Hydra's own, or refused by `check_names`
    node: Any = data.get(group)
    known: Any = _shipped(group.removesuffix("s") if group in GROUPS_OF_MANY else group)
    if group in GROUPS_OF_MANY:
        node = node.get(parts[0]) if isinstance(node, Mapping) else None
        parts = parts[1:]
    for part in parts:
        if isinstance(node, Mapping) and "_target_" in node:
            return True
        if not (isinstance(known, Mapping) and part in known):
            return False
        node, known = node.get(part) if isinstance(node, Mapping) else None, known[part]
    return True


@functools.cache
def _shipped(group: str) -> dict[str, Any]:
    """Merge all files of a group: a name that any of them has is known."""
    config = yaml.safe_load((CONFIGS / "config.yaml").read_text(encoding="utf-8"))
    merged: dict[str, Any] = {}
    for file in sorted((CONFIGS / group).glob("*.yaml")):
        _merge(merged, yaml.safe_load(file.read_text(encoding="utf-8")))
    return _merge(merged, config.get(group) or {})


def _merge(into: dict[str, Any], data: Mapping[str, Any]) -> dict[str, Any]:
    for key, value in data.items():
        if isinstance(value, Mapping):
            into[key] = _merge(dict(into[key]) if isinstance(into.get(key), Mapping) else {}, value)
        elif not isinstance(into.get(key), Mapping):
            into[key] = value
    return into


def dataset_name(cfg: DictConfig) -> str:
    """Name the data set, for files and output; the references alone are a data set of their own."""
    return f"{cfg.dataset.name}{REFERENCES if cfg.dataset.pairs == 'references' else ''}"


def metric_name(cfg: DictConfig, representation: str, distance: str) -> str:
    """Name a metric of the backbone, for files and output; the name says if the weights are random."""
    backbone = cfg.backbone.name if cfg.backbone.pretrained else f"{cfg.backbone.name}_RANDOM_WEIGHTS"
    return f"{backbone}-{representation}-{distance}"


def at_scale(name: str, scale: str | None) -> str:
    """Name a metric or a perturbation at a scale; None is the native one, which leaves the name unchanged.

    Examples:
        >>> at_scale("dists", "short_256"), at_scale("dists", None)
        ('dists@short_256', 'dists')
    """
    return f"{name}@{scale}" if scale else name
