"""Complete score files: what they lack is computed in one pass over the images, and written as it comes."""

from __future__ import annotations

import functools
import os
import socket
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from itertools import compress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from omegaconf import DictConfig

from zsiqa.config import instantiate
from zsiqa.runs.background import repeating
from zsiqa.runs.describe import describe, describe_metric
from zsiqa.runs.heartbeats import Journal
from zsiqa.runs.machine import git_commit, keep_freed_memory, pick_device, versions
from zsiqa.runs.plan import Target, TargetKey, cell_names
from zsiqa.runs.slurm import job_name
from zsiqa.scoring.profiling import Profile, unmeasured
from zsiqa.terminal import track
from zsiqa.types import Dataset, PairError

if TYPE_CHECKING:
    from zsiqa.scoring.engine import Scorer

SECONDS_BETWEEN_FLUSHES = 0.5
Build = Callable[..., "Scorer"]  # (metrics, what all passes have in common) -> the engine of a pass


def fill(cfg: DictConfig, dataset: Dataset, build: Build, targets: Mapping[TargetKey, Target], selected: np.ndarray,
         ) -> dict[str, dict[str, str]]:
    """Complete the score files of a pass, as far as selected. Returns and raises what `score_missing` does."""
    unfinished = {key: target for key, target in targets.items() if not target.complete}
    if not unfinished:
        return {}
    info = describe(cfg, dataset)
    paths = [target.file.path for target in unfinished.values()]
    journal = Journal(paths[0].parent.parent, cell_names(paths), (cfg.shard, cfg.num_shards))
    failures: dict[str, dict[str, str]] = {}
    if any(np.isnan(target.scores[selected]).any() for target in unfinished.values()):
        failures = score_missing(cfg, dataset, build, unfinished, info, selected, journal)
    alone = journal.alone()  # asked before the parts are read: see ScoreFile.finish
    whole = [target.file.finish(dataset.pairs, target.scores.tolist(), view=alone and cfg.num_shards == 1,
                                info={**info, **describe_metric(cfg, dataset, key),
                                      "failed": failures.get(key.perturbation, {})})
             for key, target in unfinished.items()]
    if all(whole):
        journal.settle()
    return failures


def score_missing(cfg: DictConfig, dataset: Dataset, build: Build, targets: Mapping[TargetKey, Target],
                  info: dict[str, Any], selected: np.ndarray, journal: Journal) -> dict[str, dict[str, str]]:
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
    with journal.at_work():
        return _score(cfg, dataset, build, targets, info, selected, journal)


def _score(cfg: DictConfig, dataset: Dataset, build: Build, targets: Mapping[TargetKey, Target],
           info: dict[str, Any], selected: np.ndarray, journal: Journal) -> dict[str, dict[str, str]]:
    import torch

    from zsiqa.scoring.engine import Failed

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
                               "versions": versions(), "git_commit": git_commit(),
                               "host": socket.gethostname(), "job": job_name(), "shard": [cfg.shard, cfg.num_shards]}
    info["sessions"] = [session]
    for key, target in targets.items():  # not earlier: where something is wrong, nothing is begun and nothing replaced
        if target.stale:
            target.file.clear()
        target.file.claim({**info, **describe_metric(cfg, dataset, key)}, dataset.pairs)
    outcomes = scorer.score(dataset.pairs, lambda index, perturbation: bool(wanted[perturbation][index]))
    failures: dict[str, dict[str, str]] = {}
    started = time.monotonic()

    def close(key: TargetKey) -> None:
        session["seconds"] = round(time.monotonic() - started, 3)
        targets[key].file.close(seconds=session["seconds"], failed=failures.get(key.perturbation, {}))

    def keep() -> None:
        for target in targets.values():
            target.file.flush()
        journal.sign()

    with ExitStack() as stack:
        for key in targets:
            stack.callback(close, key)
        check_kept = stack.enter_context(repeating(SECONDS_BETWEEN_FLUSHES, keep))
        stack.enter_context(closing(outcomes))
        for outcome in track(outcomes, total=sum(int(mask.sum()) for mask in wanted.values()), unit="images"):
            check_kept()
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
    if isinstance(measure, Profile):
        print(measure.report(aside=("decode", "perturb", "cut tiles")))
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
