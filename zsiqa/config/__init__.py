"""Configurations: compose, check and instantiate them. Only this module and `runs` know Hydra."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import hydra
import yaml
from hydra import errors
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from zsiqa import CONFIGS
from zsiqa.config.hints import groups, not_an_override, unknown_name, unknown_setting
from zsiqa.config.names import GROUPS_OF_MANY, added, flat, may_be_added, top_level
from zsiqa.types import ZsiqaError, did_you_mean, missing_package, require

OmegaConf.register_new_resolver("stem", lambda path: Path(path).stem, replace=True)
PLUGINS = {"submitit_": "hydra_submitit_launcher", "joblib": "hydra_joblib_launcher"}  # by launcher


def compose(*overrides: str) -> DictConfig:
    """Compose the configuration that `python run.py *overrides` would run.

    Raises:
        ZsiqaError: if a name or a value is unknown to the configuration.
    """
    check_choices(overrides)
    outside = GlobalHydra.instance().hydra  # set in a program that runs under Hydra and builds a Metric
    GlobalHydra.instance().clear()
    try:
        with hydra.initialize_config_dir(str(CONFIGS), version_base="1.3"):
            cfg = hydra.compose("config", overrides=list(overrides))
    except (errors.HydraException, OmegaConfBaseException) as error:
        raise ZsiqaError(explain(error, overrides)) from error
    finally:
        GlobalHydra.instance().hydra = outside
    check_added(cfg, overrides)
    return cfg


def check_added(cfg: DictConfig, overrides: Sequence[str]) -> None:
    """Check that overrides add only what something reads: `+dataset.limt=3` would have no effect.

    Raises:
        ZsiqaError: names the setting that is unknown, and which one may be meant.
    """
    data, given = cast(dict[str, Any], OmegaConf.to_container(cfg)), added(overrides)
    for name, value in given.items():
        if not may_be_added(name, data):
            known = {one: there for one, there in flat(data) if one not in given}
            raise ZsiqaError(unknown_setting(name, str(value), known | dict.fromkeys(groups())))


def check_choices(overrides: Sequence[str]) -> None:
    """Check the choices of groups that Hydra would misread: another group's file, a number, null, true.

    Raises:
        ZsiqaError: lists the choices.
    """
    for name, _, value in (override.partition("=") for override in overrides):
        misread = (".." in value or value.lower() in ("null", "true", "false")
                   or value.lstrip("-").replace(".", "", 1).isdigit())
        if misread and (CONFIGS / name).is_dir():
            raise ZsiqaError(unknown_name(f"{name}/{value}"))


def explain(error: Exception, overrides: Sequence[str] = ()) -> str:
    """Explain an error of Hydra in one message, with the possible choices.

    Args:
        error: raised by composing `overrides`.
        overrides: arguments of the command line; those that are no overrides have no effect.
    """
    if isinstance(error, errors.OverrideParseException):
        if re.fullmatch(r"[\w./-]+", error.override or ""):
            return not_an_override(str(error.override), settings())
        return (f"{error.override}: cannot be parsed\nA value with spaces or any of ,=()[]{{}} needs its own "
                f"quotes: 'name=\"...\"'")
    if isinstance(error, errors.MissingConfigException):
        file = str(error.missing_cfg_file)
        for launcher, package in PLUGINS.items():
            if file.startswith(f"hydra/launcher/{launcher}"):
                return str(missing_package("this launcher", package))
        return unknown_name(file, error.options or _options_in_list(file, overrides))
    if lacking := re.match(r"Could not override '([^']+)'\.\nTo append", str(error)):
        name, given = lacking[1], [one for one in overrides if "=" in one and one[0] != "-"]
        value = next((one.partition("=")[2] for one in given if one.startswith(f"{name}=")), "VALUE")
        return unknown_setting(name, value, settings([one for one in given if not one.startswith(name)]))
    cause = error.__cause__ if isinstance(error, errors.HydraException) else None
    return f"{error}\n{cause}" if cause and str(cause) not in str(error) else str(error)


def _options_in_list(file: str, overrides: Sequence[str]) -> Sequence[str] | None:
    """List the names of a group for an unknown one in a list, `group=[a,b]`.

    Hydra lists them for a single name only, so that is composed.
    """
    group, _, name = file.partition("/")
    if not any(override.startswith(f"{group}=[") for override in overrides):
        return None
    try:
        compose(*(one for one in overrides if one.startswith("hydra.searchpath=")), f"{group}={name}")
    except ZsiqaError as error:
        return getattr(error.__cause__, "options", None)
    return None


def settings(overrides: Sequence[str] = ()) -> dict[str, Any]:
    """List the names of groups and settings, with values: of these overrides, or else of the defaults."""
    try:
        cfg = compose(*overrides)
    except ZsiqaError:
        cfg = compose()
    return {**dict(flat(OmegaConf.to_container(cfg))), **dict.fromkeys(groups())}


def instantiate(node: DictConfig, **extra: Any) -> Any:
    """Call `hydra.utils.instantiate`; raise errors that are meant for the user without Hydra's wrapper."""
    try:
        return hydra.utils.instantiate(node, **extra)
    except errors.InstantiationException as error:
        cause: BaseException | None = error
        while cause and not isinstance(cause, ZsiqaError):  # of an import, it is the cause of the cause
            cause = cause.__cause__
        if cause:
            raise cause from None
        if isinstance(error.__cause__, ValueError | RuntimeError | TypeError):
            named = re.search(r"unexpected keyword argument '(\w+)'", str(error.__cause__))
            known = [name.rpartition(".")[2] for name, _ in flat(OmegaConf.to_container(node))]
            near = did_you_mean(named[1], set(known) - {named[1]}) if named else ""
            raise ZsiqaError(f"{node.get('_target_')}: {error.__cause__}{near}") from error
        raise


CHOICES = {"precision": ("fp32", "tf32", "bf16", "fp16", "clip_fp16_official"),
           "device": ("auto", "cpu", "cuda"),
           "on_error": ("stop", "skip"),
           "dataset.pairs": ("distorted", "references"),
           "dataset.image_identity": ("names", "paths")}
NEARLY_BOOLEAN = ("yes", "no", "on", "off")  # booleans in YAML 1.1; Hydra passes them on as text


def check_settings(cfg: DictConfig) -> None:
    """Check values and combinations of settings that Hydra does not check.

    Raises:
        ZsiqaError: names the setting, its permitted values and its value.
    """
    if "sweep" in cfg:
        raise ZsiqaError("+sweep=... is many jobs; give -m, too: python run.py -m +sweep=...")
    check_names(cfg)
    if missing := [name for name, value in flat(OmegaConf.to_container(cfg)) if value == "???"]:
        raise ZsiqaError(f"missing on the command line: {', '.join(f'{name}=...' for name in missing)}")
    if unsure := [name for name, value in flat(OmegaConf.to_container(cfg))
                  if str(value).lower() in NEARLY_BOOLEAN]:
        raise ZsiqaError(f"{unsure[0]} must be true or false, found {OmegaConf.select(cfg, unsure[0])!r}")
    if "model" not in cfg.backbone:
        raise ZsiqaError(f"the configuration of backbone={cfg.backbone.get('name')} has no model; build on "
                         f"another one, as with `defaults: [timm]`")
    for name, choices in CHOICES.items():
        if OmegaConf.select(cfg, name) not in choices:
            value = OmegaConf.select(cfg, name)
            raise ZsiqaError(f"{name} must be one of {', '.join(choices)}, found {value!r}"
                             f"{did_you_mean(str(value), choices)}")
    for name in ("overwrite", "backbone.pretrained", "dataset.higher_is_better", "dataset.strict",
                 "official_train_mode", "profile", "only_missing"):
        check_boolean(cfg, name)
    if cfg.compile != "distances" and not isinstance(cfg.compile, bool):
        raise ZsiqaError(f"compile must be true, false or distances, found {cfg.compile!r}")
    for name, least in (("window", 1), ("stride", 1), ("batch_tiles", 1), ("batch_images", 1), ("workers", 1),
                        ("max_megapixels", 1), ("seed", 0), ("dataset.limit", 1), ("num_shards", 1),
                        ("shard", 0)):
        value = OmegaConf.select(cfg, name)
        if value is None and name in ("window", "batch_tiles", "batch_images", "workers", "dataset.limit"):
            continue  # whole images, all pairs, or a value that suits the device
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise ZsiqaError(f"{name} must be a whole number of at least {least}, found {value!r}")
    if cfg.shard >= cfg.num_shards:
        raise ZsiqaError(f"shard={cfg.shard}, but num_shards={cfg.num_shards}: shards are counted from 0; "
                         f"all of them are -m num_shards={cfg.num_shards} 'shard=range({cfg.num_shards})'")
    for name in ("dataset.types", "dataset.references"):
        value = OmegaConf.select(cfg, name)
        if not (value is None or (OmegaConf.is_list(value) and len(value))):
            raise ZsiqaError(f"{name} must be a list such as {name}=[a,b], found {value!r}")
    if cfg.window is not None and cfg.stride > cfg.window:
        raise ZsiqaError(f"stride={cfg.stride} is larger than window={cfg.window}: parts of an image would "
                         f"not be seen")
    for name in ("results_dir", "data_dir", "dataset.name", "backbone.name", "protocol.folder"):
        if not str(OmegaConf.select(cfg, name) or ""):
            raise ZsiqaError(f"{name} must not be empty")
    for name in ("dataset.name", "backbone.name", "protocol.folder"):  # they become names of folders
        value = str(OmegaConf.select(cfg, name))
        if "/" in value or "\\" in value or value.startswith("."):
            raise ZsiqaError(f"{name} must be a plain name, found {value!r}; give {name}=NAME")
    for name in ("distance", "perturbation", "representation", "scale"):
        if not OmegaConf.select(cfg, f"{name}s"):
            raise ZsiqaError(f"{name} must name at least one; see --help for what there is")
    if cfg.protocol.folder == _shipped_protocol(cfg).get("folder") and (other := protocol_deviations(cfg)):
        raise ZsiqaError(f"{', '.join(other)}: no longer protocol={cfg.protocol.name}; give these scores a "
                         f"folder of their own, protocol.folder=NAME")
    for name, node in cfg.baselines.items():
        if node.checkpoint is not None and node.weights is None:
            raise ZsiqaError(f"baselines.{name}.checkpoint: {name} has no weights; leave it out")
        if node.library is not None:
            require(f"baseline={name}", node.library)
    if cfg.backbone.model is None:
        if not cfg.baselines:
            raise ZsiqaError("nothing to score: give backbone=NAME or baseline=NAME; see --help for what "
                             "there is")
        if (cfg.backbone.checkpoint is not None or cfg.official_train_mode
                or cfg.precision == "clip_fp16_official"):
            raise ZsiqaError("backbone.checkpoint, official_train_mode and precision=clip_fp16_official need "
                             "a backbone; baseline=... alone has none: add backbone=NAME")
        return
    if lacking := [name for name in cfg.representations if name not in cfg.backbone.representations]:
        raise ZsiqaError(f"{cfg.backbone.name} has no {', '.join(lacking)}; choose "
                         f"representation={','.join(cfg.backbone.representations)}")
    if cfg.backbone.checkpoint is not None and not cfg.backbone.pretrained:
        raise ZsiqaError("backbone.checkpoint and backbone.pretrained=false exclude each other; leave one "
                         "out")
    if cfg.compile and (cfg.official_train_mode or cfg.precision == "clip_fp16_official"):
        raise ZsiqaError(f"compile={str(cfg.compile).lower()} would change the draws and the rounding that "
                         "official_train_mode and precision=clip_fp16_official are to imitate; leave it out")
    if cfg.official_train_mode and not cfg.backbone.model.get("train_mode"):
        raise ZsiqaError(f"official_train_mode=true has nothing to imitate with "
                         f"backbone={cfg.backbone.name}: the authors ran it in evaluation mode; leave it out")
    if cfg.precision == "clip_fp16_official" and not cfg.backbone.model.get("half"):
        raise ZsiqaError(f"precision=clip_fp16_official has nothing to imitate with "
                         f"backbone={cfg.backbone.name}: the authors did not run it in half precision; "
                         f"choose fp32")


def check_names(cfg: DictConfig) -> None:
    """Refuse unknown entries, as of `+misspelt=1`, and single values in place of entries with parts.

    Raises:
        ZsiqaError: names the entry.
    """
    if unknown := [str(name) for name in cfg if name not in top_level()]:
        raise ZsiqaError(unknown_setting(unknown[0], str(cfg[unknown[0]]), settings()))
    parts = [f"{group}.{name}" for group in GROUPS_OF_MANY if OmegaConf.is_dict(cfg.get(group))
             for name in cfg[group]]
    optional = [*GROUPS_OF_MANY, "backbone.model", "backbone.weights",
                *(f"{name}.weights" for name in parts if name.startswith("baselines."))]
    for name in ("backbone", "dataset", "protocol", "dataset.read", *parts, *optional):
        value = OmegaConf.select(cfg, name)
        if not OmegaConf.is_dict(value) and not (value is None and name in optional):
            raise ZsiqaError(f"{name} consists of settings, {name}.NAME=VALUE; it cannot be {value!r}")


def check_boolean(cfg: DictConfig, name: str) -> None:
    """Check that a setting is true or false.

    Raises:
        ZsiqaError: if it is not.
    """
    if not isinstance(OmegaConf.select(cfg, name), bool):
        raise ZsiqaError(f"{name} must be true or false, found {OmegaConf.select(cfg, name)!r}")


def protocol_deviations(cfg: DictConfig) -> list[str]:
    """List options that differ from the protocol of this name, as `protocol.option=value`."""
    shipped = _shipped_protocol(cfg)
    return [f"protocol.{name}={cfg.protocol[name]}"
            for name, value in cast(dict[str, Any], OmegaConf.to_container(cfg.protocol)).items()
            if name not in ("folder", "note") and value != shipped.get(name, value)]


def _shipped_protocol(cfg: DictConfig) -> dict[str, Any]:
    file = CONFIGS / "protocol" / f"{cfg.protocol.name}.yaml"
    return cast(dict[str, Any], yaml.safe_load(file.read_text(encoding="utf-8"))) if file.is_file() else {}


def check_overrides(overrides: Sequence[str], known: Sequence[str]) -> None:
    """Refuse settings other than `known`, which would have no effect."""
    for given in overrides:
        name = given.lstrip("+~").split("=")[0].split("@")[0]
        if name != "hydra.searchpath" and name.split(".")[0] not in known:
            raise ZsiqaError(f"{given}: this setting has no effect here{did_you_mean(name, known)}; "
                             f"those that have one: {', '.join(known)}")


def plain(cfg: DictConfig) -> dict[str, Any]:
    """Convert the configuration to nested plain data, with every interpolation resolved."""
    return cast(dict[str, Any], OmegaConf.to_container(cfg, resolve=True))
