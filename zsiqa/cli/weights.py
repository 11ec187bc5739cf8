"""`zsiqa weights`: list, fetch, find and verify the weights of backbones and baselines."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zsiqa.cli.options import examples, show_help_alone
from zsiqa.terminal import aligned
from zsiqa.types import WeightsError, ZsiqaError, did_you_mean

if TYPE_CHECKING:
    from omegaconf import DictConfig

ANY_OR_NONE = ("timm", "open_clip", "none", "all", "extended")  # configurations without weights of their own


def add_parser(commands: Any) -> None:
    """Add the subcommand to argparse's `commands`."""
    parser = commands.add_parser(
        "weights", help="list, fetch, find and verify the weights of models",
        description="Weights come from the Hugging Face hub into its cache (HF_HOME), from PyTorch's host "
                    "into TORCH_HOME, or from an installed package. HF_HUB_OFFLINE=1 forbids all downloads. "
                    "For a machine without internet, fetch the weights in advance.",
        **examples("zsiqa weights list", "zsiqa weights fetch dinov1 lpips_alex",
                   "zsiqa weights path timm backbone.model_name=resnet50.a1_in1k"))
    actions = show_help_alone(parser).add_subparsers(metavar="ACTION")
    for name, action, text in (
            ("list", _list, "list models: source, size and licence of their weights, and if they are here"),
            ("fetch", _fetch, "download weights that are not on this machine; exit status 1 on failure"),
            ("path", _path, "print the paths of the weights; exit status 1 if some are not on this machine"),
            ("verify", _verify, "compare SHA-256 sums with published ones; exit status 1 if one differs")):
        command = actions.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.",
                                     **examples(f"zsiqa weights {name}",
                                                f"zsiqa weights {name} dinov1 lpips_alex"))
        command.add_argument("names", nargs="*", metavar="NAME",
                             help="backbones and baselines (all that have weights); also settings, e.g. timm "
                                  "backbone.model_name=resnet50.a1_in1k")
        command.set_defaults(command=action)
        if name == "verify":
            command.add_argument("--load", action="store_true", help="also build each model from its weights")


@dataclass(frozen=True)
class Needed:
    """Weights that a backbone or a baseline needs.

    Attributes:
        source: their source, for the user.
        find: returns their file; downloads it only if its argument is True. Raises WeightsError if there is
            no file.
        load: builds the model from the file. Raises ZsiqaError if that fails.
    """

    name: str
    source: str
    find: Callable[[bool], Path]
    load: Callable[[Path], object]

    def here(self) -> Path | None:
        """Return the file if it is on this machine, else None."""
        try:
            return self.find(False)
        except WeightsError:
            return None


def _needed(options: argparse.Namespace) -> Iterator[Needed]:
    from zsiqa.config.hints import names_of

    settings = [name for name in options.names if "=" in name]
    names = [name for name in options.names if "=" not in name]
    if settings and not names:
        raise ZsiqaError(f"{' '.join(settings)}: of which backbone? Name it before the setting, "
                         f"as in: timm {settings[0]}")
    backbones, baselines = names_of("backbone"), names_of("baseline")
    known = sorted({*backbones, *baselines})
    # Settings may add folders of configurations.
    if not settings and (unknown := [name for name in names if name not in known]):
        raise ZsiqaError(f"no backbone or baseline {', '.join(unknown)}{did_you_mean(unknown, known)}; "
                         f"there are {', '.join(known)}")
    names_or_all = names or [name for name in (*backbones, *baselines) if name not in ANY_OR_NONE]
    of_baselines = _of_baselines([name for name in names_or_all
                                  if name in baselines and name not in ANY_OR_NONE], settings)
    for name in names_or_all:
        needed = of_baselines[name] if name in of_baselines else _of_backbone(name, settings)
        if needed:
            yield needed
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


def _of_baselines(names: Sequence[str], settings: list[str]) -> dict[str, Needed | None]:
    from omegaconf import OmegaConf

    from zsiqa.config import compose

    if not names:
        return {}
    cfg = compose(f"baseline=[{','.join(names)}]", *settings)  # in one step: each takes 0.1 s
    return {name: _of_baseline(name, OmegaConf.masked_copy(cfg.baselines, name)) for name in names}


def _of_baseline(name: str, baselines: DictConfig) -> Needed | None:
    from zsiqa.backbones.weights import find_baseline_files
    from zsiqa.config import instantiate

    node = baselines[name]
    if node.weights is None:
        return None
    return Needed(name, str(node.checkpoint or node.weights.source),
                  lambda download: find_baseline_files(baselines, download=download)[name]["weights"],
                  lambda file: instantiate(node.model, **{**find_baseline_files(baselines)[name],
                                                          "weights": file}))


def _list(options: argparse.Namespace) -> int:
    from zsiqa.backbones.weights import facts

    rows = [("NAME", "STATE", "SIZE", "SOURCE", "LICENCE")]
    for one in _needed(options):
        file, known = one.here(), facts().get(one.source, {})
        size = file.stat().st_size / 2**20 if file else known.get("mib")
        rows.append((one.name, "here" if file else "missing", "-" if size is None else f"{size:.3g} MiB",
                     one.source, known.get("licence", "-")))
    print(*aligned(rows, right={2}), sep="\n")
    return 0


def _fetch(options: argparse.Namespace) -> int:
    from zsiqa.backbones.weights import published_digest, sha256

    failed = []
    for one in _needed(options):
        try:
            file = one.find(True)
            if not sha256(file).startswith(published_digest(file)):
                raise WeightsError(f"{file} is damaged: its SHA-256 does not match its name; "
                                   f"remove it and fetch it again")
        except WeightsError as error:
            failed.append(one.name)
            print(f"error: {one.name}: {error}", file=sys.stderr)
        else:
            print(f"{one.name}: {file}")
    if failed:
        print(f"{len(failed)} could not be fetched: {' '.join(failed)}", file=sys.stderr)
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
    from zsiqa.backbones.weights import published_digest, sha256

    bad = 0
    for one in _needed(options):
        file = one.here()
        if file is None:
            print(f"{one.name}: missing")
            bad += bool(options.names)
            continue
        found, published = sha256(file), published_digest(file)
        fits = found.startswith(published)
        verdict = ("unknown" if not published else f"DAMAGED, should begin with {published}" if not fits else
                   "ok" if published == found else f"ok (only {len(published)} digits are published)")
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
