"""Conditions of a run: every perturbation at every scale."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from omegaconf import DictConfig

from zsiqa.config import at_scale, instantiate, plain
from zsiqa.types import ZsiqaError


class Condition(NamedTuple):
    """Perturbation at a scale.

    Attributes:
        perturbation, scale: their names in the configuration.
        scale_name: the scale's name in names of metrics; None for the native scale.
        identity: what determines its effect.
    """

    perturbation: str
    scale: str
    scale_name: str | None
    identity: Mapping[str, Any]


def conditions(cfg: DictConfig) -> dict[str, Condition]:
    """List the conditions of a configuration, by the engine's names for them.

    Raises:
        ZsiqaError: if two scales have one name.
    """
    settings = plain(cfg)
    names = [node["name"] for node in settings["scales"].values()]
    if len(set(names)) < len(names):
        raise ZsiqaError(f"two of scale=[{','.join(settings['scales'])}] have one name, and so one place for "
                         f"their scores: {', '.join(map(str, names))}; leave one out")
    found = {}
    for scale, node in settings["scales"].items():
        of_scale = {"scale": {"name": node["name"], **options(node["fn"])}} if node["name"] else {}
        for perturbation, settings_of_it in settings["perturbations"].items():
            found[at_scale(perturbation, node["name"])] = Condition(
                perturbation, scale, node["name"],
                {"perturbation": {"name": perturbation, **options(settings_of_it)}, **of_scale})
    return found


def build_conditions(cfg: DictConfig, taking_part: Mapping[str, Condition]) -> dict[str, dict[str, Any]]:
    """Build the arguments `perturbations` and `scales` of `Scorer`."""
    return {"perturbations": {name: instantiate(cfg.perturbations[condition.perturbation])
                              for name, condition in taking_part.items()},
            "scales": {name: instantiate(cfg.scales[condition.scale].fn)
                       for name, condition in taking_part.items()}}


def options(node: Any) -> Any:
    """Return plain data without the entries for Hydra, such as `_target_`."""
    if isinstance(node, Mapping):
        return {key: options(value) for key, value in node.items() if not str(key).startswith("_")}
    return node
