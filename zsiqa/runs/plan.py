"""Plan of a run: passes over the images, and the score files that each pass fills, with their identities."""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from omegaconf import DictConfig

from zsiqa.backbones.weights import find_baseline_files, find_weights, sha256
from zsiqa.config import plain
from zsiqa.config.names import at_scale, dataset_name, metric_name
from zsiqa.results.score_file import ScoreFile
from zsiqa.results.sidecar import read_sidecar
from zsiqa.runs.build import build_backbone, build_baselines
from zsiqa.runs.conditions import Condition, conditions, options
from zsiqa.runs.notes import backbone_notes, protocol_note
from zsiqa.types import Dataset, MetricKey, StoreError

if TYPE_CHECKING:
    from zsiqa.scoring.engine import Scorer

# Revision of the arithmetic of precision=clip_fp16_official. Increase it when its scores change, so that
# older files are refused. Revision 1 (not stored in files): l2, SKLD, JSD and the embedding's normalisation
# in float32.
HALF_PRECISION = 2
TOGETHER = 10_000  # pairs that are hashed at a time: a few MB


class FileKey(NamedTuple):
    """Key of one score file of a run; the condition is a perturbation at a scale."""

    metric: MetricKey
    condition: str


@dataclass(frozen=True)
class PlannedFile:
    """One score file that a configuration fills.

    Attributes:
        path: path of the CSV file.
        identity: everything that determines the scores, except the images and the weights.
        labels: names for tables: of backbone, representation and distance, or of the baseline.
        higher_is_better: direction of the scores.
        notes: notes that must be shown with every score.
    """

    path: Path
    identity: Mapping[str, Any]
    labels: Mapping[str, str]
    higher_is_better: bool
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Pass:
    """One pass over the images: all metrics of a backbone, or all baselines.

    Attributes:
        files: the score files that it fills.
        find_weights: finds the weights, and downloads missing ones unless `download=False`.
        identify_weights: (weights, metric) to the part of the metric's identity that depends on the weights.
        build: builds the engine from weights, metrics and further arguments of `Scorer`.
    """

    files: Mapping[FileKey, PlannedFile]
    find_weights: Callable[..., Any]
    identify_weights: Callable[[Any, MetricKey], Mapping[str, Any]]
    build: Callable[..., Scorer]

    @property
    def metrics(self) -> list[MetricKey]:
        """The metrics, in order."""
        return list(dict.fromkeys(key.metric for key in self.files))

    def score_files(self, images: Mapping[str, str], weights: Any) -> dict[FileKey, ScoreFile]:
        """Complete the identities of the score files.

        Args:
            images: from `identify_images`.
            weights: from `find_weights`.
        """
        parts = {metric: self.identify_weights(weights, metric) for metric in self.metrics}
        return {key: ScoreFile(file.path, {"dataset": images, **parts[key.metric], **file.identity})
                for key, file in self.files.items()}


@dataclass(frozen=True)
class Target:
    """One score file of a run, with the scores that it holds so far.

    Attributes:
        planned: the file as planned.
        file: reads and writes it.
        scores: (pairs,) in the data set's order, NaN where there is none.
        missing: (pairs,) bool, True where a score is still to be computed.
        finished: the finished file exists, with today's labels.
        stale: the existing scores are of another run, or damaged, and will be replaced.
    """

    planned: PlannedFile
    file: ScoreFile
    scores: np.ndarray
    missing: np.ndarray
    finished: bool
    stale: bool

    def describe(self, dataset: Dataset) -> dict[str, Any]:
        """Describe the metric, for the sidecar."""
        return {"labels": dict(self.planned.labels),
                "score": {"higher_is_better": self.planned.higher_is_better},
                "notes": [*dataset.notes, *self.planned.notes]}


def plan(cfg: DictConfig) -> list[Pass]:
    """Plan the passes of a configuration: one for its backbone, one for its baselines.

    Needs no images and no weights.
    """
    passes = [_plan_backbone(cfg)] if cfg.backbone.model is not None else []
    return [*passes, _plan_baselines(cfg)] if cfg.baselines else passes


def planned_files(cfg: DictConfig) -> list[PlannedFile]:
    """List the score files that a configuration fills."""
    return [file for planned in plan(cfg) for file in planned.files.values()]


def _plan_backbone(cfg: DictConfig) -> Pass:
    settings = plain(cfg)
    shared = {"backbone": _identity(settings["backbone"]["name"], settings["backbone"], "model"),
              **{name: settings[name] for name in ("window", "stride", "precision")}}
    folder = str(cfg.protocol.folder)  # the authors' randomness or rounding: separate folders
    if cfg.official_train_mode:
        shared["noise_seed"] = cfg.seed
        folder += "_train_mode"
    if cfg.precision == "clip_fp16_official":
        shared["half_precision_revision"] = HALF_PRECISION
        folder += "_clip_fp16"
    files, planned = {}, conditions(cfg)
    for representation, distance in itertools.product(cfg.representations, cfg.distances):
        labels = {"backbone": cfg.backbone.label,
                  "representation": cfg.representations[representation].label,
                  "distance": cfg.distances[distance].label}
        notes = tuple(backbone_notes(cfg, distance))
        name = metric_name(cfg, representation, distance)
        for key, condition in planned.items():
            identity = {**shared, "representation": representation,
                        "distance": _identity(distance, settings["distances"][distance], "fn"),
                        **condition.identity}
            files[FileKey((representation, distance), key)] = PlannedFile(
                _score_path(cfg, folder, name, condition), identity, _scaled(labels, condition),
                higher_is_better=False, notes=notes)

    def identify_weights(weights: Path | None, _metric: MetricKey) -> Mapping[str, Any]:
        return {"weights": {"random_seed": cfg.seed} if weights is None else {"sha256": sha256(weights)}}
    return Pass(files, functools.partial(find_weights, cfg), identify_weights,
                functools.partial(build_backbone, cfg))


def _plan_baselines(cfg: DictConfig) -> Pass:
    notes = (note,) if (note := protocol_note(cfg)) else ()
    files, planned = {}, conditions(cfg)
    for name, node in plain(cfg)["baselines"].items():
        identity = {"baseline": _identity(name, node, "model")}
        if node["library"]:
            identity["library"] = {node["library"]: metadata.version(node["library"])}
        for key, condition in planned.items():
            files[FileKey((name,), key)] = PlannedFile(
                _score_path(cfg, str(cfg.protocol.folder), name, condition),
                {**identity, **condition.identity}, _scaled({"baseline": node["label"]}, condition),
                node["higher_is_better"], notes)

    def identify_weights(weights: Mapping[str, Mapping[str, Path]], metric: MetricKey) -> Mapping[str, Any]:
        return {role: {"sha256": sha256(file)} for role, file in weights[metric[0]].items()}
    return Pass(files, functools.partial(find_baseline_files, cfg.baselines), identify_weights,
                functools.partial(build_baselines, cfg))


def _scaled(labels: Mapping[str, str], condition: Condition) -> Mapping[str, str]:
    return {**labels, "scale": condition.scale_name} if condition.scale_name else labels


def _identity(name: str, node: Mapping[str, Any], part: str) -> dict[str, Any]:
    """Return name, arithmetic revision and options of the object that `part` of a configuration node builds.

    The place of its code (`_target_`) is not included: it may change without a change of the scores.
    """
    return {"name": name, "revision": node.get("revision", 1), **options(node[part])}


def identify_images(cfg: DictConfig, dataset: Dataset) -> dict[str, str]:
    """Identify the images of a run: by their names or, for your own pairs, by their paths."""
    # Two CSV files can use the same relative names for images in different folders.
    with_paths = cfg.dataset.image_identity == "paths"
    known_by = "paths_sha256" if with_paths else "names_sha256"
    absolute = functools.partial(os.path.join, str(Path.cwd()))  # faster than Path.absolute
    hashed, separator = hashlib.sha256(b"["), b""
    # This equals the digest of all pairs in one list. As one text, a million pairs would take a gigabyte.
    for first in range(0, len(dataset.pairs), TOGETHER):
        pairs = [(pair.pair_id, pair.ref, pair.dis,
                  *((absolute(pair.ref_file), absolute(pair.dis_file)) if with_paths else ()))
                 for pair in dataset.pairs[first:first + TOGETHER]]
        hashed.update(separator + json.dumps(pairs)[1:-1].encode())
        separator = b", "
    hashed.update(b"]")
    return {"name": dataset.name, known_by: hashed.hexdigest()}


def _score_path(cfg: DictConfig, folder: str, metric: str, condition: Condition) -> Path:
    return (Path(str(cfg.results_dir)) / folder / dataset_name(cfg)
            / at_scale(metric, condition.scale_name) / f"{condition.perturbation}.csv")


def file_names(paths: Iterable[Path]) -> list[str]:
    """Return `metric/perturbation` of each score file, the names that heartbeat files use."""
    return [f"{path.parent.name}/{path.stem}" for path in paths]


def read_target(planned: PlannedFile, file: ScoreFile, dataset: Dataset, info: Mapping[str, Any], *,
                overwrite: bool) -> Target:
    """Read the scores that a score file already holds.

    Raises:
        StoreError: if the file is damaged or holds scores of another run, and `overwrite` is False.
    """
    finished = False
    try:
        stored = file.read()
        if file.is_finished():
            finished = read_sidecar(file.sidecar)["dataset"] == info["dataset"]  # False if labels changed
            file.tidy()
    except StoreError:
        if not overwrite:
            raise
        count = len(dataset.pairs)
        return Target(planned, file, np.full(count, np.nan), np.ones(count, dtype=bool), finished=False,
                      stale=True)
    scores = np.array([stored.get(pair.pair_id, np.nan) for pair in dataset.pairs])
    missing = np.array([pair.pair_id not in stored for pair in dataset.pairs])
    return Target(planned, file, scores, missing, finished, stale=False)
