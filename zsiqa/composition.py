"""Configurations: composed from `configs`, and built into what they name. Beside the runner, all that knows Hydra."""

from __future__ import annotations

import operator
from pathlib import Path
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException, InstantiationException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from zsiqa import CONFIGS
from zsiqa.gpus import list_gpus
from zsiqa.machine import code_digest
from zsiqa.types import WeightsError, ZsiqaError
from zsiqa.weights import local_file

OmegaConf.register_new_resolver("stem", lambda path: Path(path).stem, replace=True)
OmegaConf.register_new_resolver("equal", operator.eq, replace=True)
OmegaConf.register_new_resolver("code_digest", code_digest, replace=True)
OmegaConf.register_new_resolver("count_gpus", lambda: max(1, len(list_gpus())), replace=True)
PLUGINS = ("hydra/launcher/submitit_", "hydra/launcher/joblib")


def compose(*overrides: str) -> DictConfig:
    """The configuration that `python run.py *overrides` would run.

    Raises:
        ZsiqaError: if a name or a value is unknown to the configuration.
    """
    for name, _, value in (one.partition("=") for one in overrides):
        if ".." in value and (CONFIGS / name).is_dir():  # Hydra would take a file of another group
            raise ZsiqaError(_unknown(f"{name}/{value}"))
    outside = GlobalHydra.instance().hydra  # of a program that runs under Hydra itself, and makes a Metric
    GlobalHydra.instance().clear()
    try:
        with hydra.initialize_config_dir(str(CONFIGS), version_base="1.3"):
            return hydra.compose("config", overrides=list(overrides))
    except (HydraException, OmegaConfBaseException) as error:
        raise ZsiqaError(explain(error)) from error
    finally:
        GlobalHydra.instance().hydra = outside


def explain(error: Exception) -> str:
    """One message for what Hydra refuses, with what there is to choose from."""
    if isinstance(error, OverrideParseException):
        return f"{error}\nA value with spaces or any of ,=()[]{{}} needs quotes of its own: 'name=\"...\"'"
    if isinstance(error, MissingConfigException):
        if str(error.missing_cfg_file).startswith(PLUGINS):
            return ("this launcher needs hydra-submitit-launcher and hydra-joblib-launcher: "
                    "pip install 'zsiqa[cluster]', or pip install -e '.[cluster]' in a checkout")
        return _unknown(str(error.missing_cfg_file))
    cause = error.__cause__ if isinstance(error, HydraException) else None
    return f"{error}\n{cause}" if cause and str(cause) not in str(error) else str(error)


def _unknown(file: str) -> str:
    named = CONFIGS / file.partition("/..")[0]
    group = next(folder for folder in (named, *named.parents) if folder.is_dir())
    names = ", ".join(sorted(one.stem for one in group.glob("*.yaml")))
    return f"no {file} in the configuration; {group.name} can be: {names}"


def instantiate(node: DictConfig, **extra: Any) -> Any:
    """`hydra.utils.instantiate`, without Hydra's wrapping around errors that are meant for the user."""
    try:
        return hydra.utils.instantiate(node, **extra)
    except InstantiationException as error:
        if isinstance(error.__cause__, ZsiqaError):
            raise error.__cause__ from None
        if isinstance(error.__cause__, ValueError | RuntimeError | TypeError):
            raise ZsiqaError(f"{node.get('_target_')}: {error.__cause__}") from error
        raise


def find_weights(cfg: DictConfig, *, download: bool = True) -> Path | None:
    """The file with the backbone's weights; None for random weights.

    Raises:
        WeightsError: if it is not on this machine, and cannot be (or, without `download`, shall not be) downloaded.
    """
    if not cfg.backbone.pretrained:
        return None
    if cfg.backbone.checkpoint is not None:
        return local_file(str(cfg.backbone.checkpoint))
    found: Path = instantiate(cfg.backbone.weights, download=download)
    return found


def find_baseline_files(cfg: DictConfig, *, download: bool = True) -> dict[str, dict[str, Path]]:
    """By baseline and argument of its model, the files with its weights.

    Raises:
        WeightsError: naming all that are not on this machine, and cannot be (or shall not be) downloaded.
    """
    found: dict[str, dict[str, Path]] = {}
    errors = []
    for name, node in cfg.baselines.items():
        setting = f"baselines.{name}.checkpoint"
        found[name] = {}
        try:
            if node.checkpoint is not None:
                found[name]["weights"] = local_file(str(node.checkpoint), setting=setting)
            elif node.weights is not None:
                found[name]["weights"] = instantiate(node.weights, setting=setting, download=download)
            if node.calibration is not None:
                found[name]["calibration"] = instantiate(node.calibration)
        except WeightsError as error:
            errors.append(f"{name}: {error}")
    if errors:
        raise WeightsError("\n".join(errors))
    return found
