"""`zsiqa weights`: what weights the backbones and baselines need, fetched ahead, found and checked."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zsiqa import CONFIGS
from zsiqa.backbones.weights import published_digest, sha256
from zsiqa.types import WeightsError, ZsiqaError

ANY_OR_NONE = ("timm", "open_clip", "none", "all")  # configurations without weights of their own


def add_parser(commands: Any) -> None:
    """Add the command to argparse's `commands`."""
    parser = commands.add_parser(
        "weights", help="fetch the models' weights ahead, for machines without internet; find and check them",
        description="Weights come from the Hugging Face hub into its cache (HF_HOME), from PyTorch's host into "
                    "TORCH_HOME, or from an installed package. HF_HUB_OFFLINE=1 forbids all downloads.")
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    for name, action, text in (
            ("list", _list, "every model, where its weights come from, and whether they are on this machine"),
            ("fetch", _fetch, "download what is not on this machine yet; exit status 1 if something cannot be had"),
            ("path", _path, "print where the weights lie; exit status 1 if they are not on this machine"),
            ("verify", _verify, "compare SHA-256 sums with the published ones; exit status 1 if one differs")):
        command = actions.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        command.add_argument("names", nargs="*", metavar="NAME",
                             help="backbones and baselines (all that have weights); settings, too: timm "
                                  "backbone.model_name=resnet50.a1_in1k")
        command.set_defaults(command=action)
        if name == "verify":
            command.add_argument("--load", action="store_true", help="also build each model from its weights")


@dataclass(frozen=True)
class Needed:
    """The weights of a backbone or a baseline.

    Attributes:
        source: where they come from.
        find: gives the file, downloaded or not as told. May raise WeightsError.
        load: builds the model from the file. May raise ZsiqaError.
    """

    name: str
    source: str
    find: Callable[[bool], Path]
    load: Callable[[Path], object]

    def here(self) -> Path | None:
        """The file, if it is on this machine."""
        try:
            return self.find(False)
        except WeightsError:
            return None


def _needed(options: argparse.Namespace) -> Iterator[Needed]:
    settings = [name for name in options.names if "=" in name]
    names = [name for name in options.names if "=" not in name]
    if settings and not names:
        raise ZsiqaError(f"{' '.join(settings)}: of which backbone? Name it, too, as in: timm {settings[0]}")
    backbones, baselines = (sorted(file.stem for file in (CONFIGS / group).glob("*.yaml"))
                            for group in ("backbone", "baseline"))
    for name in names or [name for name in (*backbones, *baselines) if name not in ANY_OR_NONE]:
        found = (_of_baseline if name in baselines and name not in ANY_OR_NONE else _of_backbone)(name, settings)
        if found:
            yield found
        elif names:
            raise ZsiqaError(f"{name} has no weights")


def _of_backbone(name: str, settings: list[str]) -> Needed | None:
    from omegaconf import OmegaConf

    from zsiqa.backbones.weights import find_weights
    from zsiqa.config import compose, instantiate

    cfg = compose(f"backbone={name}", *settings)
    if OmegaConf.is_missing(cfg.backbone, "model_name"):
        raise ZsiqaError(f"{name} is any model: say which, as in: {name} backbone.model_name=NAME")
    if cfg.backbone.model is None or not cfg.backbone.pretrained:
        return None

    def find(download: bool) -> Path:
        found = find_weights(cfg, download=download)
        if found is None:
            raise WeightsError(f"{name} has random weights")
        return found

    return Needed(cfg.backbone.name, str(cfg.backbone.checkpoint or cfg.backbone.weights.source), find,
                  lambda file: instantiate(cfg.backbone.model, weights=file))


def _of_baseline(name: str, settings: list[str]) -> Needed | None:
    from zsiqa.backbones.weights import find_baseline_files
    from zsiqa.config import compose, instantiate

    cfg = compose(f"baseline={name}", *settings)
    node = cfg.baselines[name]
    if node.weights is None:
        return None
    return Needed(name, str(node.checkpoint or node.weights.source),
                  lambda download: find_baseline_files(cfg, download=download)[name]["weights"],
                  lambda file: instantiate(node.model, **{**find_baseline_files(cfg)[name], "weights": file}))


def _list(options: argparse.Namespace) -> int:
    rows = [(one.name, "here" if one.here() else "missing", one.source) for one in _needed(options)]
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    for name, state, source in rows:
        print(f"{name:{widths[0]}}  {state:{widths[1]}}  {source}")
    return 0


def _fetch(options: argparse.Namespace) -> int:
    failed = []
    for one in _needed(options):
        try:
            file = one.find(True)
            if not sha256(file).startswith(published_digest(file)):
                raise WeightsError(f"{file} is damaged, its SHA-256 is not that of its name; remove it and fetch")
        except WeightsError as error:
            failed.append(one.name)
            print(f"error: {one.name}: {error}", file=sys.stderr)
        else:
            print(f"{one.name}: {file}")
    if failed:
        print(f"{len(failed)} could not be had: {' '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def _path(options: argparse.Namespace) -> int:
    found = {one.name: one.here() for one in _needed(options)}
    for name, file in found.items():
        if file:
            print(file)
        else:
            print(f"error: {name}: not on this machine; zsiqa weights fetch {name}", file=sys.stderr)
    return 0 if all(found.values()) else 1


def _verify(options: argparse.Namespace) -> int:
    bad = 0
    for one in _needed(options):
        file = one.here()
        if file is None:
            print(f"{one.name}: missing")
            bad += bool(options.names)
            continue
        found, published = sha256(file), published_digest(file)
        fits = found.startswith(published)
        verdict = "ok" if published and fits else f"DAMAGED, should begin with {published}" if published else "unknown"
        if fits and options.load:
            try:
                one.load(file)
                verdict += ", loads"
            except ZsiqaError as error:
                fits = False
                verdict += f", DOES NOT LOAD: {error}"
        print(f"{one.name}: {verdict}  {found}  {file}")
        bad += not fits
    return 1 if bad else 0
