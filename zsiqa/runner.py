"""What `python run.py ...` does: compose the configuration, score what the store lacks, say what came out.

torch and the models are imported once it is clear that there is something to compute, so help, `--cfg job`, early
errors and finished runs answer at once.
"""

from __future__ import annotations

import functools
import os
import sys
import time
import uuid
from collections.abc import Mapping
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from itertools import compress
from pathlib import Path
from typing import Any

import hydra
import numpy as np
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from zsiqa import CONFIGS
from zsiqa.composition import explain, find_weights, instantiate
from zsiqa.machine import git_commit, keep_freed_memory, pick_device, versions
from zsiqa.progress import track
from zsiqa.selection import select
from zsiqa.settings import check_settings, plain
from zsiqa.store import digest
from zsiqa.targets import Target, TargetKey, read_target, score_files, scores_folder
from zsiqa.types import Dataset, DatasetError, Manifest, PairError, ZsiqaError

SECONDS_BETWEEN_FLUSHES = 0.5


def main() -> None:
    """Entry of run.py. Errors that the user can mend are one message; status 1, or 130 when interrupted."""
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra hands its errors on instead of printing them with a traceback
    try:
        _job()
    except JobFailedError:
        sys.exit(1)  # its job has printed why
    except (HydraException, OmegaConfBaseException, OSError) as error:
        sys.exit(f"error: {explain(error)}")
    except KeyboardInterrupt:
        print("\ninterrupted; the same command goes on from here", file=sys.stderr)
        sys.exit(130)


class JobFailedError(Exception):
    """A job of a sweep failed, and has said why. The sweep goes on with its other jobs."""


@hydra.main(version_base="1.3", config_path=str(CONFIGS), config_name="config")
def _job(cfg: DictConfig) -> None:
    try:
        run(cfg)
        return
    except (ZsiqaError, OSError) as error:  # OSError: the disk is full, the results folder is read-only, ...
        print(f"error: {error}", file=sys.stderr)
    # Outside the handler: Hydra keeps the exception, and its traceback would keep the model.
    if HydraConfig.get().mode is RunMode.MULTIRUN:
        raise JobFailedError
    sys.exit(1)


def run(cfg: DictConfig) -> None:
    """Score one backbone on one data set, under all distances, representations and perturbations asked for.

    Raises:
        ZsiqaError: for anything that the user can mend; what was scored until then is kept.
    """
    check_settings(cfg)
    dataset = read_dataset(cfg)
    weights = find_weights(cfg)
    selected = select(dataset.pairs, **{name: cfg.dataset[name] for name in ("types", "references", "limit")})
    info = describe(cfg, dataset)
    targets = {key: read_target(file, dataset, info, overwrite=cfg.overwrite)
               for key, file in score_files(cfg, dataset, weights).items()}
    unfinished = {key: target for key, target in targets.items() if not target.complete}
    failures: dict[str, dict[str, str]] = {}
    scored = any(np.isnan(target.scores[selected]).any() for target in unfinished.values())
    if scored:
        failures = score_missing(cfg, dataset, weights, unfinished, info, selected)
    for key, target in unfinished.items():
        there = int(np.isfinite(target.scores).sum())
        part = [] if there == len(dataset.pairs) else [f"{there:,} of {len(dataset.pairs):,} pairs scored"]
        target.file.finish(dataset.pairs, target.scores.tolist(),
                         {**info, "notes": info["notes"] + part, "labels": labels(cfg, key),
                          "failed": failures.get(key.perturbation, {})})
    print(summary(cfg, dataset, targets, selected, fresh=scored))
    if failures:
        first = {pair_id: error for errors in reversed(failures.values()) for pair_id, error in errors.items()}
        listed = "".join(f"\n  {error}" for error in first.values())
        raise ZsiqaError(f"{len(first)} of {selected.sum()} pairs lack a score under at least one perturbation; "
                         f"mend them and run the same command again:{listed}")


def read_dataset(cfg: DictConfig) -> Dataset:
    """The data set of the configuration, with its labels. May raise DatasetError."""
    node = cfg.dataset
    found: Manifest = instantiate(node.read)
    for warning in found.warnings:
        if node.strict:
            raise DatasetError(warning)
        print(f"warning: {warning}", file=sys.stderr)
    notes = tuple(note for note in (node.note, *found.warnings) if note)
    return Dataset(str(node.name), node.label, found.pairs, node.higher_is_better, notes)


def score_missing(cfg: DictConfig, dataset: Dataset, weights: Path | None, targets: Mapping[TargetKey, Target],
                  info: dict[str, Any], selected: np.ndarray) -> dict[str, dict[str, str]]:
    """Compute the scores that `targets` lack, into them and into part files; add this session to `info`.

    Args:
        selected: (pairs,) bool, which pairs to score; the others' images need not be there.
        targets: the unfinished ones. All their perturbations take part, those without a missing score too: a resumed
            run must form the same batches.

    Returns:
        With on_error=skip, the errors of the pairs that failed, by perturbation and pair_id.

    Raises:
        PairError: the first failure (with on_error=stop).
    """
    if cfg.on_error == "stop":
        check_images(dataset, selected)
    import torch

    from zsiqa.scoring import Failed, Scorer

    names = {part: list(dict.fromkeys(getattr(key, part) for key in targets))
             for part in ("representation", "distance", "perturbation")}
    wanted = {name: selected & np.any([np.isnan(target.scores) for key, target in targets.items()
                                       if key.perturbation == name], axis=0) for name in names["perturbation"]}
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
        precision=cfg.precision, noise_seed=cfg.seed if cfg.official_train_mode else None)
    session: dict[str, Any] = {"id": uuid.uuid4().hex, "started": datetime.now(UTC).isoformat(timespec="seconds"),
                               "device": described, "versions": versions(), "git_commit": git_commit()}
    info["sessions"] = [session]
    for key, target in targets.items():  # not earlier: where something is wrong, nothing is begun and nothing replaced
        if target.stale:
            target.file.clear()
        target.file.claim({**info, "labels": labels(cfg, key)})
    outcomes = scorer.score(dataset.pairs, lambda index, perturbation: bool(wanted[perturbation][index]))
    failures: dict[str, dict[str, str]] = {}
    started = flushed = time.monotonic()
    with ExitStack() as stack:
        stack.enter_context(closing(outcomes))
        for target in targets.values():
            stack.callback(target.file.close)
        for outcome in track(outcomes, total=sum(int(mask.sum()) for mask in wanted.values()), unit="images"):
            pair_id = dataset.pairs[outcome.index].pair_id
            if isinstance(outcome, Failed):
                if cfg.on_error == "stop":
                    raise PairError(f"{outcome.error}\nWhat was scored so far is kept. Mend the pair and run the same "
                                    f"command again, or give on_error=skip to leave such pairs out")
                failures.setdefault(outcome.perturbation, {})[pair_id] = str(outcome.error)
                continue
            for (representation, distance), score in outcome.scores.items():
                lacking = targets.get(TargetKey(representation, distance, outcome.perturbation))
                if lacking is not None and np.isnan(lacking.scores[outcome.index]):
                    lacking.scores[outcome.index] = score
                    lacking.file.append(pair_id, score)
            if time.monotonic() - flushed >= SECONDS_BETWEEN_FLUSHES:
                for target in targets.values():
                    target.file.flush()
                flushed = time.monotonic()
    session["seconds"] = round(time.monotonic() - started, 3)
    return failures


def check_images(dataset: Dataset, selected: np.ndarray) -> None:
    """Check, before anything is computed, that all images of the selected pairs are there.

    Raises:
        PairError: naming the first few pairs whose images are not.
    """
    exists = functools.cache(Path.is_file)
    missing = [(pair, path) for pair in compress(dataset.pairs, selected) for path in (pair.ref_path, pair.dis_path)
               if not exists(path)]
    if missing:
        examples = "".join(f"\n  {pair.pair_id}: no file {path.absolute()}" for pair, path in missing[:5])
        raise PairError(f"{len({pair.pair_id for pair, _ in missing})} of {selected.sum()} pairs of {dataset.name} "
                        f"lack an image, e.g.{examples}\nPut the images there, or give on_error=skip to leave such "
                        f"pairs out")


def describe(cfg: DictConfig, dataset: Dataset) -> dict[str, Any]:
    """What a sidecar says beside its identity and its sessions."""
    return {
        "dataset": {"name": dataset.name, "label": dataset.label, "higher_is_better": dataset.higher_is_better,
                    "pairs": len(dataset.pairs), "labels_sha256": digest([pair.mos for pair in dataset.pairs])},
        "notes": caveats(cfg, dataset),
        "config": plain(cfg),
    }


def caveats(cfg: DictConfig, dataset: Dataset) -> list[str]:
    """What must stand beside every number of this run."""
    random_weights = f"{cfg.backbone.label}: RANDOM WEIGHTS (seed {cfg.seed}): these scores mean nothing"
    train_mode = (f"official_train_mode=true: {cfg.backbone.label} in training mode, as the authors ran it; paths are "
                  f"dropped at random (seed {cfg.seed}): another seed, other scores")
    half = (f"precision=clip_fp16_official: {cfg.backbone.label} in half precision, as the authors ran it; cosine with "
            f"the overflow of an old PyTorch")
    notes = {**dict.fromkeys(dataset.notes, True), random_weights: not cfg.backbone.pretrained, cfg.protocol.note: True,
             train_mode: cfg.official_train_mode, half: cfg.precision == "clip_fp16_official"}
    return [note for note, applies in notes.items() if note and applies]


def labels(cfg: DictConfig, key: TargetKey) -> dict[str, str]:
    """How tables call this metric."""
    return {"backbone": cfg.backbone.label, "representation": cfg.representations[key.representation].label,
            "distance": cfg.distances[key.distance].label}


def summary(cfg: DictConfig, dataset: Dataset, targets: Mapping[TargetKey, Target], selected: np.ndarray, *,
            fresh: bool) -> str:
    """What was scored, where it lies, and how the scores of the selected pairs correlate with the labels."""
    from zsiqa.correlation import correlate

    mos = np.array([pair.mos for pair in dataset.pairs])
    width = max(len(target.file.path.parent.name) for target in targets.values())
    files = f"{len(targets)} file{'s' * (len(targets) > 1)} in {scores_folder(cfg)}"
    part = "" if selected.all() else f"{selected.sum():,} of "
    lines = [f"{dataset.label}, {part}{len(dataset.pairs):,} pairs, {cfg.backbone.label}: "
             f"{'scored' if fresh else 'all scores were there already'}; {files}",
             f"{'metric':{width}}  perturbation     n    PLCC    SRCC    KRCC"]
    for key, target in targets.items():
        there = selected & np.isfinite(target.scores)
        result = correlate(target.scores[there], mos[there], label_higher_is_better=dataset.higher_is_better)
        lines.append(f"{target.file.path.parent.name:{width}}  {key.perturbation:12} {result.n:5}  {result.plcc:6.3f}  "
                     f"{result.srcc:6.3f}  {result.krcc:6.3f}")
    return "\n".join([*lines, *caveats(cfg, dataset)])
