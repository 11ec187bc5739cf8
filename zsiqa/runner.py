"""What `python run.py ...` does: compose the configuration, score what the store lacks, say what came out.

The only module that imports Hydra. torch and the models are imported once it is clear that there is something to
compute, so help, `--cfg job`, early errors and finished runs answer at once.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import hydra
import numpy as np
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, InstantiationException, MissingConfigException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from zsiqa.machine import git_commit, keep_freed_memory, pick_device, versions
from zsiqa.progress import track
from zsiqa.store import ScoreFile, digest
from zsiqa.types import Dataset, ImagePair, PairError, ZsiqaError
from zsiqa.weights import local_file, sha256

CONFIGS = Path(__file__).parent.parent / "configs"
SECONDS_BETWEEN_FLUSHES = 1.0
CHOICES = {"precision": ("fp32", "tf32", "bf16", "fp16"), "device": ("auto", "cpu", "cuda"),
           "on_error": ("stop", "skip")}

OmegaConf.register_new_resolver("stem", lambda path: Path(path).stem, replace=True)


@dataclass(frozen=True)
class CellKey:
    """Names one score file of a run."""

    representation: str
    distance: str
    perturbation: str


def main() -> None:
    """Entry of run.py. Errors that the user can mend are one message; status 1, or 130 when interrupted."""
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra hands its errors on instead of printing them with a traceback
    try:
        _job()
    except (ZsiqaError, OSError):
        sys.exit(1)  # printed where it happened
    except MissingConfigException as error:
        group = CONFIGS / Path(error.missing_cfg_file or "").parent
        names = ", ".join(sorted(file.stem for file in group.glob("*.yaml")))
        sys.exit(f"error: no {error.missing_cfg_file} in the configuration; {group.name} can be: {names}")
    except (HydraException, OmegaConfBaseException) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        print("\ninterrupted; the same command goes on from here", file=sys.stderr)
        sys.exit(130)


@hydra.main(version_base="1.3", config_path=str(CONFIGS), config_name="config")
def _job(cfg: DictConfig) -> None:
    try:
        run(cfg)
    except (ZsiqaError, OSError) as error:  # OSError: the disk is full, the results folder is read-only, ...
        print(f"error: {error}", file=sys.stderr)
        if HydraConfig.get().mode is RunMode.MULTIRUN:
            raise  # the sweep goes on with its other jobs
        sys.exit(1)


def run(cfg: DictConfig) -> None:
    """Score one backbone on one data set, under all distances, representations and perturbations asked for.

    Raises:
        ZsiqaError: for anything that the user can mend; what was scored until then is kept.
    """
    check_settings(cfg)
    dataset = read_dataset(cfg)
    weights = find_weights(cfg)
    files = score_files(cfg, dataset, weights)
    info = provenance(cfg, dataset)
    scores: dict[CellKey, np.ndarray] = {}
    complete: dict[CellKey, bool] = {}
    for key, file in files.items():
        stored = {} if cfg.overwrite else file.read()
        scores[key] = np.array([stored.get(pair.pair_id, np.nan) for pair in dataset.pairs])
        complete[key] = not cfg.overwrite and file.is_complete()
    failures: dict[str, str] = {}
    if not all(complete.values()):
        started = time.monotonic()
        before = sum(int(np.isfinite(values).sum()) for values in scores.values())
        device = "none"
        if any(np.isnan(values).any() for values in scores.values()):
            device, failures = score_missing(cfg, dataset, weights, files, scores, complete, info)
        info |= {"device": device, "seconds": round(time.monotonic() - started, 3),
                 "scores_from_earlier_runs": before, "failed": failures}
        for key, file in files.items():
            if not complete[key]:
                file.finish(dataset.pairs, scores[key].tolist(), info | {"labels": labels(cfg, key)})
    print(summary(cfg, dataset, files, scores, fresh=not all(complete.values())))
    if failures:
        listed = "".join(f"\n  {error}" for error in failures.values())
        raise ZsiqaError(f"{len(failures)} of {len(dataset.pairs)} pairs have no score under every perturbation; "
                         f"mend them and run the same command again:{listed}")


def check_settings(cfg: DictConfig) -> None:
    """Check what Hydra does not.

    Raises:
        ZsiqaError: naming the setting, what it may be and what it is.
    """
    if missing := [name for name, value in flat(OmegaConf.to_container(cfg)) if value == "???"]:
        raise ZsiqaError(f"missing on the command line: {', '.join(f'{name}=...' for name in missing)}")
    for name, choices in CHOICES.items():
        if cfg[name] not in choices:
            raise ZsiqaError(f"{name} must be one of {', '.join(choices)}, found {cfg[name]!r}")
    for name in ("overwrite", "backbone.pretrained", "dataset.higher_is_better"):
        if not isinstance(OmegaConf.select(cfg, name), bool):
            raise ZsiqaError(f"{name} must be true or false, found {OmegaConf.select(cfg, name)!r}")
    for name in ("window", "stride", "batch_tiles", "workers"):
        if not isinstance(cfg[name], int) or cfg[name] < 1:
            raise ZsiqaError(f"{name} must be a whole number of at least 1, found {cfg[name]!r}")


def plain(cfg: DictConfig) -> dict[str, Any]:
    """The configuration as nested plain data, with every interpolation resolved."""
    return cast(dict[str, Any], OmegaConf.to_container(cfg, resolve=True))


def flat(data: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted name, value) of every leaf of nested mappings."""
    if isinstance(data, Mapping):
        for key, value in data.items():
            yield from flat(value, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, data


def read_dataset(cfg: DictConfig) -> Dataset:
    """The data set of the configuration, with its labels. May raise DatasetError."""
    node = cfg.dataset
    pairs: list[ImagePair] = instantiate(node.read)
    return Dataset(node.name, node.label, tuple(pairs), node.higher_is_better, node.note)


def find_weights(cfg: DictConfig) -> Path | None:
    """The file with the backbone's weights; None for random weights. May raise WeightsError."""
    if not cfg.backbone.pretrained:
        return None
    if cfg.backbone.checkpoint is not None:
        return local_file(cfg.backbone.checkpoint)
    found: Path = instantiate(cfg.backbone.weights)
    return found


def score_files(cfg: DictConfig, dataset: Dataset, weights: Path | None) -> dict[CellKey, ScoreFile]:
    """The score files of this run, each with its identity: everything that decides its scores, and the labels."""
    settings = plain(cfg)
    shared = {
        "dataset": {"name": dataset.name, "higher_is_better": dataset.higher_is_better,
                    "pairs": digest([(pair.pair_id, pair.ref, pair.dis, pair.mos) for pair in dataset.pairs])},
        "backbone": settings["backbone"]["model"],
        "weights": {"random_seed": cfg.seed} if weights is None else {"sha256": sha256(weights)},
        **{name: settings[name] for name in ("window", "stride", "precision")},
    }
    root = Path(cfg.results_dir) / "scores" / dataset.name
    return {
        CellKey(representation, distance, perturbation): ScoreFile(
            root / f"{cfg.backbone.name}-{representation}-{distance}" / f"{perturbation}.csv",
            {**shared, "representation": representation, "distance": settings["distances"][distance]["fn"],
             "perturbation": settings["perturbations"][perturbation]})
        for representation in cfg.representations for distance in cfg.distances for perturbation in cfg.perturbations}


def score_missing(cfg: DictConfig, dataset: Dataset, weights: Path | None, files: Mapping[CellKey, ScoreFile],
                  scores: Mapping[CellKey, np.ndarray], complete: Mapping[CellKey, bool], info: Mapping[str, Any],
                  ) -> tuple[str, dict[str, str]]:
    """Compute what is still NaN in `scores`, into `scores` and part files.

    Returns:
        The device, and for every pair that failed (with on_error=skip) its error.

    Raises:
        PairError: the first failure (with on_error=stop).
    """
    import torch

    from zsiqa.scoring import Failed, Scorer

    # A perturbation takes part until its files are finished: a resumed run must form the batches of the first.
    unfinished = [key for key in files if not complete[key]]
    names = {part: list(dict.fromkeys(getattr(key, part) for key in unfinished))
             for part in ("representation", "distance", "perturbation")}
    wanted = {name: np.any([np.isnan(scores[key]) for key in unfinished if key.perturbation == name], axis=0)
              for name in names["perturbation"]}
    device, described = pick_device(cfg.device)
    if device == "cpu":
        keep_freed_memory()
    torch.manual_seed(cfg.seed)
    scorer = Scorer(
        instantiate(cfg.backbone.model, weights=weights).to(device),
        distances={name: instantiate(cfg.distances[name].fn) for name in names["distance"]},
        representations=names["representation"],
        perturbations={name: instantiate(cfg.perturbations[name]) for name in names["perturbation"]},
        window=cfg.window, stride=cfg.stride, batch_tiles=cfg.batch_tiles, workers=cfg.workers, device=device,
        precision=cfg.precision)
    for key in unfinished:  # not before the backbone stands: with wrong weights nothing is begun, nothing replaced
        if cfg.overwrite:
            files[key].clear()
        files[key].claim({**info, "labels": labels(cfg, key)})
    outcomes = scorer.score(dataset.pairs, lambda index, perturbation: bool(wanted[perturbation][index]))
    failures: dict[str, str] = {}
    flushed = time.monotonic()
    with ExitStack() as stack:
        for key in unfinished:
            stack.callback(files[key].close)
        for outcome in track(outcomes, total=sum(int(mask.sum()) for mask in wanted.values()), unit="images"):
            pair_id = dataset.pairs[outcome.index].pair_id
            if isinstance(outcome, Failed):
                if cfg.on_error == "stop":
                    raise PairError(f"{outcome.error}\nWhat was scored so far is kept. Mend the pair and run the same "
                                    f"command again, or give on_error=skip to leave such pairs out")
                failures.setdefault(pair_id, str(outcome.error))
                continue
            for (representation, distance), score in outcome.scores.items():
                key = CellKey(representation, distance, outcome.perturbation)
                if not complete[key] and np.isnan(scores[key][outcome.index]):
                    scores[key][outcome.index] = score
                    files[key].append(pair_id, score)
            if time.monotonic() - flushed >= SECONDS_BETWEEN_FLUSHES:
                for key in unfinished:
                    files[key].flush()
                flushed = time.monotonic()
    return described, failures


def provenance(cfg: DictConfig, dataset: Dataset) -> dict[str, Any]:
    """What a sidecar says beside the identity: data set, notes, configuration, versions, commit, start."""
    return {
        "dataset": {"name": dataset.name, "label": dataset.label, "higher_is_better": dataset.higher_is_better,
                    "pairs": len(dataset.pairs)},
        "notes": caveats(cfg, dataset),
        "config": plain(cfg),
        "versions": versions(),
        "git_commit": git_commit(),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def caveats(cfg: DictConfig, dataset: Dataset) -> list[str]:
    """What must stand beside every number of this run."""
    random_weights = f"RANDOM WEIGHTS (seed {cfg.seed}): these scores mean nothing"
    return [note for note in (dataset.note, "" if cfg.backbone.pretrained else random_weights) if note]


def labels(cfg: DictConfig, key: CellKey) -> dict[str, str]:
    """How tables call this metric."""
    return {"backbone": cfg.backbone.label, "representation": cfg.representations[key.representation].label,
            "distance": cfg.distances[key.distance].label}


def summary(cfg: DictConfig, dataset: Dataset, files: Mapping[CellKey, ScoreFile],
            scores: Mapping[CellKey, np.ndarray], *, fresh: bool) -> str:
    """What was scored, where it lies, and how it correlates with the labels."""
    from zsiqa.correlation import correlate

    mos = np.array([pair.mos for pair in dataset.pairs])
    root = Path(cfg.results_dir) / "scores" / dataset.name
    width = max(len(file.path.parent.name) for file in files.values())
    lines = [f"{dataset.label}, {len(dataset.pairs)} pairs, {cfg.backbone.label}: "
             f"{'scored' if fresh else 'all scores were there already'}; {len(files)} files in {root}",
             f"{'metric':{width}}  perturbation     n    PLCC    SRCC    KRCC"]
    for key, file in files.items():
        there = np.isfinite(scores[key])
        result = correlate(scores[key][there], mos[there], label_higher_is_better=dataset.higher_is_better)
        lines.append(f"{file.path.parent.name:{width}}  {key.perturbation:12} {result.n:5}  {result.plcc:6.3f}  "
                     f"{result.srcc:6.3f}  {result.krcc:6.3f}")
    return "\n".join([*lines, *caveats(cfg, dataset)])


def instantiate(node: DictConfig, **extra: Any) -> Any:
    """`hydra.utils.instantiate`, without Hydra's wrapping around errors that are meant for the user."""
    try:
        return hydra.utils.instantiate(node, **extra)
    except InstantiationException as error:
        if isinstance(error.__cause__, ZsiqaError):
            raise error.__cause__ from None
        if isinstance(error.__cause__, ValueError | RuntimeError):
            raise ZsiqaError(f"{node.get('_target_')}: {error.__cause__}") from error
        raise


