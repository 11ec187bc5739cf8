"""Conditions of a run: every perturbation, at each of its levels, at every scale."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from omegaconf import DictConfig, OmegaConf

from zsiqa.config import instantiate, plain
from zsiqa.config.names import at_scale
from zsiqa.perturbations import UNITS, level_of, name_of
from zsiqa.types import ZsiqaError

ORIGINAL = {"_target_": "zsiqa.perturbations.Original"}  # level 0 of every perturbation


class Condition(NamedTuple):
    """Perturbation at a scale.

    Attributes:
        perturbation: its name, which is that of the score file.
        settings: its settings at its level, with `_target_`.
        scale: the scale's name in the configuration.
        scale_name: the scale's name in names of metrics; None for the native scale.
        identity: what determines its effect.
    """

    perturbation: str
    settings: Mapping[str, Any]
    scale: str
    scale_name: str | None
    identity: Mapping[str, Any]


def conditions(cfg: DictConfig) -> dict[str, Condition]:
    """List the conditions of a configuration, by the engine's names for them.

    Raises:
        ZsiqaError: if two scales have one name, or the levels of a perturbation are wrong.
    """
    settings = plain(cfg)
    perturbations = expand_levels(settings["perturbations"])
    names = [node["name"] for node in settings["scales"].values()]
    if len(set(names)) < len(names):
        raise ZsiqaError(f"two of scale=[{','.join(settings['scales'])}] have one name, and so one place for "
                         f"their scores: {', '.join(map(str, names))}; leave one out")
    found = {}
    for scale, node in settings["scales"].items():
        of_scale = {"scale": {"name": node["name"], **options(node["fn"])}} if node["name"] else {}
        for perturbation, settings_of_it in perturbations.items():
            found[at_scale(perturbation, node["name"])] = Condition(
                perturbation, settings_of_it, scale, node["name"],
                {"perturbation": {"name": perturbation, **options(settings_of_it)}, **of_scale})
    return found


def expand_levels(perturbations: Mapping[str, Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Expand lists of levels: one perturbation for each level, under the name of the level.

    A level is a number of `pixels`, `percent` or `degrees`; each number is a level of its own, also if a
    perturbation has several of these options. Level 0 is `original`. A perturbation without a list keeps its
    name, unless this is the name of another level: `rotate` by 2 degrees becomes `rotate_2deg`.

    Args:
        perturbations: settings, by the name in the configuration.

    Raises:
        ZsiqaError: if a level is not possible, two perturbations have one name, or nothing is left.
    """
    found: dict[str, Mapping[str, Any]] = {}
    for key, node in perturbations.items():
        for name, single in _at_each_level(key, node):
            if found.setdefault(name, single) != single:
                raise ZsiqaError(f"two perturbations are both named {name}, with different settings: "
                                 f"{options(found[name])} and {options(single)}; leave one out")
    if not found:
        raise ZsiqaError("the lists of levels are empty; give at least one level, such as "
                         "perturbations.rotate.degrees=[0,1]")
    return found


def _at_each_level(key: str, node: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Iterate over the levels of a perturbation: name and settings of each."""
    amounts = {option: node[option] for option in UNITS if node.get(option) is not None}
    if level_of(key) is None and not any(isinstance(amount, list) for amount in amounts.values()):
        yield key, node
        return
    for option, amount in amounts.items():
        for number in amount if isinstance(amount, list) else [amount]:
            if not isinstance(number, int | float) or isinstance(number, bool):
                raise ZsiqaError(f"perturbations.{key}.{option}: expected numbers, found {number!r}")
            # 1.0 and 1 are one level, so one identity.
            whole = isinstance(number, float) and number.is_integer()
            single = {**node, option: int(number) if whole else number}
            single = {name: value for name, value in single.items() if name == option or name not in UNITS}
            built = instantiate(OmegaConf.create(single))
            try:
                level = built.level
                name = name_of(level)
            except AttributeError:
                raise ZsiqaError(f"perturbations.{key}.{option} is a list, but {node['_target_']} has no "
                                 f"attribute `level`, which would name each; give one number") from None
            except ValueError as error:
                raise ZsiqaError(f"perturbations.{key}.{option}: {error}") from error
            yield name, single if level.value else ORIGINAL


def build_conditions(cfg: DictConfig, taking_part: Mapping[str, Condition]) -> dict[str, dict[str, Any]]:
    """Build the arguments `perturbations` and `scales` of `Scorer`."""
    return {"perturbations": {name: instantiate(OmegaConf.create(dict(condition.settings)))
                              for name, condition in taking_part.items()},
            "scales": {name: instantiate(cfg.scales[condition.scale].fn)
                       for name, condition in taking_part.items()}}


def options(node: Any) -> Any:
    """Return plain data without the entries for Hydra, such as `_target_`."""
    if isinstance(node, Mapping):
        return {key: options(value) for key, value in node.items() if not str(key).startswith("_")}
    return node
