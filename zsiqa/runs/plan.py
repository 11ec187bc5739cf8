"""The score files that a run is to fill: where they lie, what decides their scores, what they hold already."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig

from zsiqa.backbones.weights import sha256
from zsiqa.config import metric_name, plain
from zsiqa.results.score_file import ScoreFile, digest, read_sidecar
from zsiqa.types import Dataset, StoreError

# Revision of what precision=clip_fp16_official computes; count it up when its scores move, so that older files are
# refused. 1 (not written down): l2, SKLD, JSD and the embedding's normalisation in float32.
HALF_PRECISION = 2


@dataclass(frozen=True)
class TargetKey:
    """Names one score file of a run.

    Attributes:
        metric: representation and distance, or the name of a baseline alone.
    """

    metric: tuple[str, ...]
    perturbation: str


@dataclass(frozen=True)
class Target:
    """One score file of a run, with what it holds so far.

    Attributes:
        scores: (pairs,) in the data set's order, NaN where there is none yet.
        complete: the finished file is there.
        stale: what lies there is of another run, and is to be replaced.
    """

    file: ScoreFile
    scores: np.ndarray
    complete: bool
    stale: bool


def planned(cfg: DictConfig) -> dict[TargetKey, tuple[Path, dict[str, Any]]]:
    """Where the scores of a configuration go, and what of their identity it decides: all but data set and weights.

    Needs neither images nor weights.
    """
    settings = plain(cfg)
    perturbations = {name: {"name": name, **_options(node)} for name, node in settings["perturbations"].items()}
    found: dict[TargetKey, tuple[Path, dict[str, Any]]] = {}
    if settings["backbone"]["model"] is not None:
        shared = {"backbone": _identity(settings["backbone"]["name"], settings["backbone"], "model"),
                  **{name: settings[name] for name in ("window", "stride", "precision")},
                  **({"noise_seed": cfg.seed} if cfg.official_train_mode else {}),
                  **({"half_precision_revision": HALF_PRECISION} if cfg.precision == "clip_fp16_official" else {})}
        # What imitates the authors' chance and rounding must not be confused with the rest.
        variant = "_train_mode" * cfg.official_train_mode + "_clip_fp16" * (cfg.precision == "clip_fp16_official")
        for representation in cfg.representations:
            for distance in cfg.distances:
                for perturbation in cfg.perturbations:
                    path = scores_folder(cfg, variant) / metric_name(cfg, representation, distance)
                    found[TargetKey((representation, distance), perturbation)] = (
                        path / f"{perturbation}.csv",
                        {**shared, "representation": representation,
                         "distance": _identity(distance, settings["distances"][distance], "fn"),
                         "perturbation": perturbations[perturbation]})
    for name, node in settings["baselines"].items():
        library = {"library": {node["library"]: metadata.version(node["library"])}} if node["library"] else {}
        for perturbation in cfg.perturbations:
            found[TargetKey((name,), perturbation)] = (
                scores_folder(cfg) / name / f"{perturbation}.csv",
                {"baseline": _identity(name, node, "model"), **library,
                 "perturbation": perturbations[perturbation]})
    return found


def _identity(name: str, node: Mapping[str, Any], part: str) -> dict[str, Any]:
    """Name, revision of the arithmetic and options of what `part` of a configuration's node builds.

    Where its code lives is no part of it: `_target_` may change while the scores do not.
    """
    return {"name": name, "revision": node.get("revision", 1), **_options(node[part])}


def _options(node: Any) -> Any:
    """Plain data without the entries that are meant for Hydra, such as `_target_`."""
    if isinstance(node, Mapping):
        return {key: _options(value) for key, value in node.items() if not str(key).startswith("_")}
    return node


def score_files(cfg: DictConfig, dataset: Dataset, weights: Path | None) -> dict[TargetKey, ScoreFile]:
    """The score files of the backbone, each with its identity: everything that decides its scores."""
    shared = {"dataset": identify(cfg, dataset),
              "weights": {"random_seed": cfg.seed} if weights is None else {"sha256": sha256(weights)}}
    return {key: ScoreFile(path, {**shared, **decided}) for key, (path, decided) in planned(cfg).items()
            if key.metric[0] not in cfg.baselines}


def baseline_files(cfg: DictConfig, dataset: Dataset,
                   weights: Mapping[str, Mapping[str, Path]]) -> dict[TargetKey, ScoreFile]:
    """The score files of the baselines, likewise; `weights` are the files of each, by what they are."""
    known_by = identify(cfg, dataset)
    sums = {name: {role: {"sha256": sha256(file)} for role, file in files.items()} for name, files in weights.items()}
    return {key: ScoreFile(path, {"dataset": known_by, **sums[key.metric[0]], **decided})
            for key, (path, decided) in planned(cfg).items() if key.metric[0] in cfg.baselines}


def identify(cfg: DictConfig, dataset: Dataset) -> dict[str, str]:
    """What tells the images of one run from those of another."""
    # Names alone would confuse two CSV files that use the same relative names in different folders.
    with_paths = cfg.dataset.image_identity == "paths"
    known_by = "paths_sha256" if with_paths else "names_sha256"
    pairs = [(pair.pair_id, pair.ref, pair.dis,
              *((str(pair.ref_path.absolute()), str(pair.dis_path.absolute())) if with_paths else ()))
             for pair in dataset.pairs]
    return {"name": dataset.name, known_by: digest(pairs)}


def scores_folder(cfg: DictConfig, variant: str = "") -> Path:
    """The folder of this data set's scores."""
    return Path(str(cfg.results_dir)) / f"{cfg.protocol.folder}{variant}" / str(cfg.dataset.name)


def cell_names(paths: Iterable[Path]) -> list[str]:
    """`metric/perturbation` of score files, as journals name them."""
    return [f"{path.parent.name}/{path.stem}" for path in paths]


def read_target(file: ScoreFile, dataset: Dataset, info: Mapping[str, Any], *, overwrite: bool) -> Target:
    """What a score file holds. May raise StoreError, unless what is in the way is to be overwritten."""
    try:
        # First, because a run beside this one may finish at any moment. With other labels, the file is written anew.
        complete = file.is_complete() and read_sidecar(file.sidecar).get("dataset") == info["dataset"]
        stored = file.read()
    except StoreError:
        if not overwrite:
            raise
        return Target(file, np.full(len(dataset.pairs), np.nan), complete=False, stale=True)
    scores = np.array([stored.get(pair.pair_id, np.nan) for pair in dataset.pairs])
    return Target(file, scores, complete and not np.isnan(scores).any(), stale=False)
