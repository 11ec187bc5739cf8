"""What `python run.py ...` does: compose the configuration, score what the store lacks, say what came out.

A run makes a pass over the images for its backbone, and one for its baselines; either may be missing. torch and the
models are imported once it is clear that there is something to compute, so help, `--cfg job`, early errors and finished
runs answer at once.
"""

from __future__ import annotations

import functools
import os
import sys
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from itertools import compress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
import numpy as np
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from zsiqa import CONFIGS
from zsiqa.composition import explain, find_baseline_files, find_weights, instantiate
from zsiqa.description import describe, describe_metric, summary
from zsiqa.machine import git_commit, keep_freed_memory, pick_device, versions
from zsiqa.profiling import Profile, unmeasured
from zsiqa.progress import track
from zsiqa.selection import select
from zsiqa.settings import check_settings
from zsiqa.store import ScoreFile
from zsiqa.targets import Target, TargetKey, baseline_files, read_target, score_files
from zsiqa.types import Dataset, DatasetError, Manifest, PairError, ZsiqaError

if TYPE_CHECKING:
    from zsiqa.scoring import Scorer

SECONDS_BETWEEN_FLUSHES = 0.5
BATCH_IMAGES = {"cpu": 4, "cuda": 32}
Metric = tuple[str, ...]  # as in zsiqa.scoring, which is imported late
Build = Callable[..., "Scorer"]  # (metrics, what all passes have in common) -> the engine of a pass


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
        if cfg.backbone.model is None:
            idle = [given for given in HydraConfig.get().overrides.task
                    if given.startswith(("distance=", "representation="))]
            if idle:
                raise ZsiqaError(f"{' '.join(idle)} needs a backbone; baseline=... alone has none: add backbone=NAME")
        run(cfg)
        return
    except (ZsiqaError, OSError) as error:  # OSError: the disk is full, the results folder is read-only, ...
        print(f"error: {error}", file=sys.stderr)
    # Outside the handler: Hydra keeps the exception, and its traceback would keep the model.
    if HydraConfig.get().mode is RunMode.MULTIRUN:
        raise JobFailedError
    sys.exit(1)


def run(cfg: DictConfig) -> None:
    """Score one backbone and any baselines on one data set, under everything asked for.

    Raises:
        ZsiqaError: for anything that the user can mend; what was scored until then is kept.
    """
    check_settings(cfg)
    dataset = read_dataset(cfg)
    selected = select(dataset.pairs, **{name: cfg.dataset[name] for name in ("types", "references", "limit")})
    passes: list[tuple[Build, dict[TargetKey, ScoreFile]]] = []
    if cfg.backbone.model is not None:
        weights = find_weights(cfg)
        passes.append((functools.partial(backbone_scorer, cfg, weights), score_files(cfg, dataset, weights)))
    if cfg.baselines:
        files = find_baseline_files(cfg)
        passes.append((functools.partial(baseline_scorer, cfg, files), baseline_files(cfg, dataset, files)))
    about = describe(cfg, dataset)
    targets = [{key: read_target(file, dataset, about, overwrite=cfg.overwrite) for key, file in mine.items()}
               for _, mine in passes]
    fresh = any(np.isnan(target.scores[selected]).any() for part in targets for target in part.values())
    failures: dict[str, str] = {}
    for (build, _), part in zip(passes, targets, strict=True):
        for errors in fill(cfg, dataset, build, part, selected).values():
            failures = {**errors, **failures}
    print(summary(cfg, dataset, {key: target for part in targets for key, target in part.items()}, selected,
                  fresh=fresh))
    if failures:
        listed = "".join(f"\n  {error}" for error in failures.values())
        raise ZsiqaError(f"{len(failures)} of {selected.sum()} pairs lack a score under at least one perturbation; "
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


def backbone_scorer(cfg: DictConfig, weights: Path | None, metrics: Sequence[Metric], **shared: Any) -> Scorer:
    """The engine of the backbone's pass; `shared` is what all passes have in common."""
    from zsiqa.scoring import Scorer

    distances = {name: instantiate(cfg.distances[name].fn) for name in dict.fromkeys(name for _, name in metrics)}
    return Scorer(
        instantiate(cfg.backbone.model, weights=weights).to(shared["device"]),
        distances={(representation, name): distances[name] for representation, name in metrics},
        window=cfg.window, stride=cfg.stride, precision=cfg.precision, compile=cfg.compile,
        batch_tiles=cfg.batch_tiles or cfg.backbone.batch_tiles[shared["device"]],
        noise_seed=cfg.seed if cfg.official_train_mode else None, **shared)


def baseline_scorer(cfg: DictConfig, files: Mapping[str, Mapping[str, Path]], metrics: Sequence[Metric],
                    **shared: Any) -> Scorer:
    """The engine of the baselines' pass, likewise."""
    from zsiqa.baselines.baseline import Baselines
    from zsiqa.scoring import Scorer

    baselines = {name: instantiate(cfg.baselines[name].model, **files[name]) for name, in metrics}
    demanding = max(baselines, key=lambda name: baselines[name].least_side)
    return Scorer(
        Baselines(baselines).to(shared["device"]),
        distances={(name,): baseline.compare for name, baseline in baselines.items()},
        window=None, least_side=(baselines[demanding].least_side, demanding),
        batch_tiles=cfg.batch_images or BATCH_IMAGES[shared["device"]], **shared)


def fill(cfg: DictConfig, dataset: Dataset, build: Build, targets: Mapping[TargetKey, Target], selected: np.ndarray,
         ) -> dict[str, dict[str, str]]:
    """Complete the score files of a pass, as far as selected. Returns and raises what `score_missing` does."""
    unfinished = {key: target for key, target in targets.items() if not target.complete}
    info = describe(cfg, dataset)
    failures: dict[str, dict[str, str]] = {}
    if any(np.isnan(target.scores[selected]).any() for target in unfinished.values()):
        failures = score_missing(cfg, dataset, build, unfinished, info, selected)
    for key, target in unfinished.items():
        target.file.finish(dataset.pairs, target.scores.tolist(),
                         {**info, **describe_metric(cfg, dataset, key), "failed": failures.get(key.perturbation, {})})
    return failures


def score_missing(cfg: DictConfig, dataset: Dataset, build: Build, targets: Mapping[TargetKey, Target],
                  info: dict[str, Any], selected: np.ndarray) -> dict[str, dict[str, str]]:
    """Compute the scores that `targets` lack, into them and into part files; add this session to `info`.

    Args:
        targets: the unfinished ones of a pass. All their perturbations take part, those without a missing score too: a
            resumed run must form the same batches.
        selected: (pairs,) bool, which pairs to score; the others' images need not be there.

    Returns:
        With on_error=skip, the errors of the pairs that failed, by perturbation and pair_id.

    Raises:
        PairError: the first failure (with on_error=stop).
    """
    if cfg.on_error == "stop":
        check_images(dataset, selected)
    import torch

    from zsiqa.scoring import Failed

    metrics = list(dict.fromkeys(key.metric for key in targets))
    perturbations = list(dict.fromkeys(key.perturbation for key in targets))
    wanted = {name: selected & np.any([np.isnan(target.scores) for key, target in targets.items()
                                       if key.perturbation == name], axis=0) for name in perturbations}
    device, described = pick_device(cfg.device)
    if device == "cpu":
        keep_freed_memory()
    torch.manual_seed(cfg.seed)
    measure = Profile(torch.cuda.synchronize if device == "cuda" else lambda: None) if cfg.profile else unmeasured
    scorer = build(metrics, perturbations={name: instantiate(cfg.perturbations[name]) for name in perturbations},
                   workers=pick_workers(cfg, device), device=device, measure=measure)
    session: dict[str, Any] = {"id": uuid.uuid4().hex, "started": datetime.now(UTC).isoformat(timespec="seconds"),
                               "device": described, "compiled": cfg.compile, "batch_tiles": scorer.batch_tiles,
                               "versions": versions(), "git_commit": git_commit()}
    info["sessions"] = [session]
    for key, target in targets.items():  # not earlier: where something is wrong, nothing is begun and nothing replaced
        if target.stale:
            target.file.clear()
        target.file.claim({**info, **describe_metric(cfg, dataset, key)})
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
            with measure("write"):
                for metric, score in outcome.scores.items():
                    lacking = targets.get(TargetKey(metric, outcome.perturbation))
                    if lacking is not None and np.isnan(lacking.scores[outcome.index]):
                        lacking.scores[outcome.index] = score
                        lacking.file.append(pair_id, score)
                if time.monotonic() - flushed >= SECONDS_BETWEEN_FLUSHES:
                    for target in targets.values():
                        target.file.flush()
                    flushed = time.monotonic()
    if isinstance(measure, Profile):
        print(measure.report(aside=("decode", "perturb", "cut tiles")))
    session["seconds"] = round(time.monotonic() - started, 3)
    return failures


def pick_workers(cfg: DictConfig, device: str) -> int:
    """Threads that load images ahead of the model."""
    return cfg.workers or (min(16, os.cpu_count() or 1) if device == "cuda" else 2)


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
                        f"lack an image, e.g.{examples}\nPut the images there (of a published set, `zsiqa data check` "
                        f"says more), or give on_error=skip to leave such pairs out")
