"""Resume score files: compute the scores that are missing, at first all, in one pass over the images.

Scores are written as they come, so that a killed run is resumed by the same command.
"""

from __future__ import annotations

import math
import os
import socket
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from omegaconf import DictConfig

from zsiqa.results.pair_list import write_pairs
from zsiqa.runs.background import repeating
from zsiqa.runs.conditions import build_conditions, conditions
from zsiqa.runs.heartbeats import Journal
from zsiqa.runs.inputs import check_images
from zsiqa.runs.machine import git_commit, keep_freed_memory, pick_device, versions
from zsiqa.runs.notes import describe
from zsiqa.runs.plan import FileKey, Target, file_names
from zsiqa.runs.slurm import job_name
from zsiqa.scoring.profiling import Profile, unmeasured
from zsiqa.terminal import track
from zsiqa.types import Dataset, PairError

if TYPE_CHECKING:
    from zsiqa.scoring.engine import Scorer

SECONDS_BETWEEN_FLUSHES = 0.5
Build = Callable[..., "Scorer"]  # (metrics, **arguments common to all passes) -> the engine of a pass


def resume(cfg: DictConfig, dataset: Dataset, build: Build, targets: Mapping[FileKey, Target],
           selected: np.ndarray) -> dict[str, dict[str, str]]:
    """Resume the score files of a pass, old or new, for the selected pairs.

    Returns and raises the same as `score_missing`.
    """
    unfinished = {key: target for key, target in targets.items() if not target.finished}
    if not unfinished:
        return {}
    paths = [target.file.path for target in unfinished.values()]
    info = describe(cfg, dataset)
    journal = Journal(paths[0].parent.parent, file_names(paths), (cfg.shard, cfg.num_shards))
    failures: dict[str, dict[str, str]] = {}
    if any(target.missing[selected].any() for target in unfinished.values()):
        failures = score_missing(cfg, dataset, build, unfinished, info, selected, journal)
    info["pairs_file"] = write_pairs(paths[0].parent.parent, dataset.pairs)
    finished = [target.file.finish(dataset.pairs, {**info, **target.describe(dataset)})
                for target in unfinished.values()]
    if all(finished):
        journal.remove_stopped()
    return failures


def score_missing(cfg: DictConfig, dataset: Dataset, build: Build, targets: Mapping[FileKey, Target],
                  info: dict[str, Any], selected: np.ndarray, journal: Journal) -> dict[str, dict[str, str]]:
    """Compute the missing scores of `targets`, into them and into part files.

    Args:
        targets: unfinished targets of a pass. All their conditions take part, also those without a missing
            score: a resumed run must form the same batches.
        selected: (pairs,) bool, which pairs to score; the images of the other pairs may be missing.

    Returns:
        With on_error=skip, the errors of the failed pairs, by condition and pair_id.

    Raises:
        PairError: the first failure (with on_error=stop).
    """
    if cfg.on_error == "stop":
        check_images(dataset, selected)
    with journal.at_work():
        return _score(cfg, dataset, build, targets, info, selected, journal)


def _score(cfg: DictConfig, dataset: Dataset, build: Build, targets: Mapping[FileKey, Target],
           info: dict[str, Any], selected: np.ndarray, journal: Journal) -> dict[str, dict[str, str]]:
    import torch

    from zsiqa.scoring.engine import Failed, Scored

    metrics = list(dict.fromkeys(key.metric for key in targets))
    planned = conditions(cfg)
    taking_part = {name: planned[name] for name in dict.fromkeys(key.condition for key in targets)}
    wanted = {name: selected & np.any([target.missing for key, target in targets.items()
                                       if key.condition == name], axis=0) for name in taking_part}
    device, described = pick_device(cfg.device)
    if device == "cpu":
        keep_freed_memory()
    torch.manual_seed(cfg.seed)
    synchronize = torch.cuda.synchronize if device == "cuda" else lambda: None
    measure = Profile(synchronize) if cfg.profile else unmeasured
    scorer = build(metrics, **build_conditions(cfg, taking_part), workers=pick_workers(cfg, device),
                   device=device, measure=measure)
    session: dict[str, Any] = {
        "id": uuid.uuid4().hex, "started": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "device": described, "compiled": cfg.compile, "batch_tiles": scorer.batch_tiles,
        "versions": versions(), "git_commit": git_commit(),
        "host": socket.gethostname(), "job": job_name(), "shard": [cfg.shard, cfg.num_shards]}
    # Not earlier: after an error above, no file is created or replaced.
    info["pairs_file"] = write_pairs(journal.path.parent, dataset.pairs)
    for target in targets.values():
        if target.stale:
            target.file.clear()
        target.file.begin({**info, **target.describe(dataset)}, session)
    outcomes = scorer.score(dataset.pairs, lambda index, condition: bool(wanted[condition][index]))
    failures: dict[str, dict[str, str]] = {}
    started = time.monotonic()

    def close(key: FileKey) -> None:
        session["seconds"] = round(time.monotonic() - started, 3)
        targets[key].file.close(seconds=session["seconds"], failed=failures.get(key.condition, {}))

    def keep(scored: Scored, pair_id: str) -> None:
        undefined = {} if cfg.on_error == "stop" else dict.fromkeys(scored.undefined, math.nan)
        for metric, score in (scored.scores | undefined).items():
            target = targets.get(FileKey(metric, scored.condition))
            if target is not None and target.missing[scored.index]:
                target.missing[scored.index] = False
                target.scores[scored.index] = score
                target.file.append(pair_id, score, scored.undefined.get(metric, ""))

    def flush() -> None:
        for target in targets.values():
            target.file.flush()
        journal.beat()

    with ExitStack() as stack:
        for key in targets:
            stack.callback(close, key)
        check_kept = stack.enter_context(repeating(SECONDS_BETWEEN_FLUSHES, flush))
        stack.enter_context(closing(outcomes))
        for outcome in track(outcomes, total=sum(int(mask.sum()) for mask in wanted.values()), unit="images"):
            check_kept()
            pair_id = dataset.pairs[outcome.index].pair_id
            if isinstance(outcome, Scored):
                with measure("write"):
                    keep(outcome, pair_id)
            problems = [str(outcome.error)] if isinstance(outcome, Failed) else [*outcome.undefined.values()]
            if problems and cfg.on_error == "stop":
                raise PairError(f"{problems[0]}\nThe scores computed so far are kept. Fix the pair and run "
                                "the same command again, or give on_error=skip to leave such pairs out")
            if isinstance(outcome, Failed):
                failures.setdefault(outcome.condition, {})[pair_id] = problems[0]
    if isinstance(measure, Profile):
        print(measure.report(aside=("decode", "perturb", "scale", "cut tiles")))
    return failures


def pick_workers(cfg: DictConfig, device: str) -> int:
    """Return the number of threads that load images ahead of the model."""
    return cfg.workers or (min(16, os.cpu_count() or 1) if device == "cuda" else 2)
