"""`zsiqa weights`: what weights the backbones need, fetched ahead, found and checked."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zsiqa import CONFIGS
from zsiqa.types import WeightsError, ZsiqaError
from zsiqa.weights import published_digest, sha256

if TYPE_CHECKING:
    from omegaconf import DictConfig

UNNAMED = ("timm", "open_clip", "none")  # configurations of any model, whose name must be given, and of no backbone


def add_parser(commands: Any) -> None:
    """Add the command to argparse's `commands`."""
    parser = commands.add_parser(
        "weights", help="fetch the backbones' weights ahead, for machines without internet; find and check them",
        description="Weights come from the Hugging Face hub into its cache (HF_HOME), from PyTorch's host into "
                    "TORCH_HOME, or from an installed package. HF_HUB_OFFLINE=1 forbids all downloads.")
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    for name, action, text in (
            ("list", _list, "every backbone, where its weights come from, and whether they are on this machine"),
            ("fetch", _fetch, "download what is not on this machine yet; exit status 1 if something cannot be had"),
            ("path", _path, "print where the weights lie; exit status 1 if they are not on this machine"),
            ("verify", _verify, "compare SHA-256 sums with the published ones; exit status 1 if one differs")):
        command = actions.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        command.add_argument("names", nargs="*", metavar="BACKBONE",
                             help="files of configs/backbone (all); settings, too: timm "
                                  "backbone.model_name=resnet50.a1_in1k")
        command.set_defaults(command=action)
        if name == "verify":
            command.add_argument("--load", action="store_true", help="also build each model from its weights")


def _backbones(options: argparse.Namespace) -> Iterator[tuple[str, DictConfig]]:
    """(name, configuration) of the backbones that are asked for."""
    from omegaconf import OmegaConf

    from zsiqa.composition import compose

    settings = [name for name in options.names if "=" in name]
    names = [name for name in options.names if "=" not in name]
    if settings and not names:
        raise ZsiqaError(f"{' '.join(settings)}: of which backbone? Name it, too, as in: timm {settings[0]}")
    there = sorted(file.stem for file in (CONFIGS / "backbone").glob("*.yaml"))
    for name in names or [name for name in there if name not in UNNAMED]:
        cfg = compose(f"backbone={name}", *settings)
        if cfg.backbone.model is None:
            raise ZsiqaError(f"{name} is no backbone, and has no weights; name another")
        if OmegaConf.is_missing(cfg.backbone, "model_name"):
            raise ZsiqaError(f"{name} is any model: say which, as in: {name} backbone.model_name=NAME")
        yield cfg.backbone.name, cfg


def _here(cfg: DictConfig) -> Path | None:
    """The file, if it is on this machine."""
    from zsiqa.composition import find_weights

    try:
        return find_weights(cfg, download=False)
    except WeightsError:
        return None


def _list(options: argparse.Namespace) -> int:
    rows = [(name, "here" if _here(cfg) else "missing", str(cfg.backbone.weights.source))
            for name, cfg in _backbones(options)]
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    for name, state, source in rows:
        print(f"{name:{widths[0]}}  {state:{widths[1]}}  {source}")
    return 0


def _fetch(options: argparse.Namespace) -> int:
    from zsiqa.composition import find_weights

    failed = []
    for name, cfg in _backbones(options):
        try:
            file = find_weights(cfg)
        except WeightsError as error:
            failed.append(name)
            print(f"error: {name}: {error}", file=sys.stderr)
        else:
            print(f"{name}: {file}")
    if failed:
        print(f"{len(failed)} could not be had: {' '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def _path(options: argparse.Namespace) -> int:
    found = {name: _here(cfg) for name, cfg in _backbones(options)}
    for name, file in found.items():
        if file:
            print(file)
        else:
            print(f"error: {name}: not on this machine; zsiqa weights fetch {name}", file=sys.stderr)
    return 0 if all(found.values()) else 1


def _verify(options: argparse.Namespace) -> int:
    from zsiqa.composition import instantiate

    bad = 0
    for name, cfg in _backbones(options):
        file = _here(cfg)
        if file is None:
            print(f"{name}: missing")
            bad += bool(options.names)
            continue
        found, published = sha256(file), published_digest(file)
        fits = found.startswith(published)
        verdict = "ok" if published and fits else f"DAMAGED, should begin with {published}" if published else "unknown"
        if fits and options.load:
            instantiate(cfg.backbone.model, weights=file)
            verdict += ", loads"
        print(f"{name}: {verdict}  {found}  {file}")
        bad += not fits
    return 1 if bad else 0
