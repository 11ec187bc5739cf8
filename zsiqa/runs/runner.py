"""What `python run.py ...` does: compose the configuration, score what the store lacks, say what came out.

A run makes a pass over the images for its backbone, and one for its baselines; either may be missing. torch and the
models are imported once it is clear that there is something to compute, so help, `--cfg job`, early errors and finished
runs answer at once.
"""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
import numpy as np
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

import zsiqa
from zsiqa import CONFIGS
from zsiqa.backbones.weights import find_baseline_files, find_weights
from zsiqa.config import check_settings, explain, instantiate
from zsiqa.results.score_file import ScoreFile
from zsiqa.runs.describe import describe, summary
from zsiqa.runs.fill import Build, fill
from zsiqa.runs.gpus import list_gpus
from zsiqa.runs.heartbeats import Journal
from zsiqa.runs.machine import check_code, code_digest
from zsiqa.runs.plan import TargetKey, baseline_files, cell_names, planned, read_target, score_files
from zsiqa.runs.selection import part_of, select
from zsiqa.runs.slurm import fail_at_exit, requeue_when_preempted
from zsiqa.terminal import exit_on_broken_pipe
from zsiqa.types import Dataset, DatasetError, Manifest, ZsiqaError

if TYPE_CHECKING:
    from zsiqa.scoring.engine import Scorer

# For configs/hydra/launcher.
OmegaConf.register_new_resolver("code_digest", code_digest, replace=True)
OmegaConf.register_new_resolver("count_gpus", lambda: max(1, len(list_gpus())), replace=True)
BATCH_IMAGES = {"cpu": 4, "cuda": 32}
Metric = tuple[str, ...]  # as in zsiqa.scoring.engine, which is imported late


@exit_on_broken_pipe()
def main() -> None:
    """Entry of run.py. Errors that the user can mend are one message; status 1, or 130 when interrupted."""
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra hands its errors on instead of printing them with a traceback
    # Hydra finds the sweeper beside zsiqa, and jobs elsewhere import what this process does, whatever is installed.
    root = str(Path(zsiqa.__file__).parent.parent)
    sys.path.append(root)
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    signal.signal(signal.SIGTERM, _terminated)
    try:
        _job()
    except JobFailedError:
        sys.exit(1)  # its job has printed why
    except BrokenPipeError:
        raise
    except (HydraException, OmegaConfBaseException, ZsiqaError, OSError) as error:
        sys.exit(f"error: {explain(error)}")
    except KeyboardInterrupt:
        print("\ninterrupted; the same command goes on from here", file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        if not type(error).__module__.startswith("submitit."):
            raise
        if isinstance(error.__cause__, subprocess.CalledProcessError):  # sbatch
            sys.exit(f"error: SLURM took no job: {error}")
        sys.exit(f"error: a job did not come to its end; `zsiqa status` says more, the same command goes on\n{error}")


def _terminated(*_: object) -> None:
    print("terminated; the same command goes on from here", file=sys.stderr)
    sys.exit(143)


class JobFailedError(Exception):
    """A job of a sweep failed, and has said why. The sweep goes on with its other jobs."""


@hydra.main(version_base="1.3", config_path=str(CONFIGS), config_name="config")
def _job(cfg: DictConfig) -> None:
    requeue_when_preempted()
    sweeping = HydraConfig.get().mode is RunMode.MULTIRUN
    try:
        given = HydraConfig.get().overrides.task
        sharded = isinstance(cfg.num_shards, int) and cfg.num_shards > 1
        if sharded and not any(one.startswith("shard=") for one in given):
            raise ZsiqaError(f"num_shards={cfg.num_shards}, but no shard=...: all of them are -m "
                             f"num_shards={cfg.num_shards} 'shard=range({cfg.num_shards})'")
        if cfg.backbone.model is None:
            idle = [one for one in given if one.startswith(("distance=", "representation="))]
            if idle:
                raise ZsiqaError(f"{' '.join(idle)} needs a backbone; baseline=... alone has none: add backbone=NAME")
        run(cfg)
        return
    except BrokenPipeError:
        raise
    except (ZsiqaError, OSError) as error:  # OSError: the disk is full, the results folder is read-only, ...
        print(f"error: {error}", file=sys.stderr)
        if sweeping:
            _note_failure(cfg, error)
    except Exception as error:  # a bug; or submitit gives up a job that ran out of time too often
        _note_failure(cfg, error)
        raise
    # Outside the handler: Hydra keeps the exception, and its traceback would keep the model.
    if sweeping:
        raise JobFailedError
    sys.exit(1)


def _note_failure(cfg: DictConfig, error: Exception) -> None:
    """Leave the reason where `zsiqa status` finds it, and let SLURM know."""
    fail_at_exit()
    with suppress(ZsiqaError, OmegaConfBaseException):  # whatever is wrong with the configuration has been said
        folders: dict[Path, list[Path]] = {}
        for path, _ in planned(cfg).values():
            folders.setdefault(path.parent.parent, []).append(path)
        for folder, paths in folders.items():
            Journal(folder, cell_names(paths), (cfg.shard, cfg.num_shards)).fail(error)


def run(cfg: DictConfig) -> None:
    """Score one backbone and any baselines on one data set, under everything asked for.

    Raises:
        ZsiqaError: for anything that the user can mend; what was scored until then is kept.
    """
    check_code()
    check_settings(cfg)
    dataset = read_dataset(cfg)
    selected = select(dataset.pairs, **part_of(cfg))
    if not selected.any():
        print(f"{dataset.label}, shard {cfg.shard} of {cfg.num_shards}: no pairs, so nothing to do")
        return
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
    from zsiqa.scoring.engine import Scorer

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
    from zsiqa.scoring.engine import Scorer

    baselines = {name: instantiate(cfg.baselines[name].model, **files[name]) for name, in metrics}
    demanding = max(baselines, key=lambda name: baselines[name].least_side)
    least = baselines[demanding].least_side
    reason = f"{demanding} needs sides of at least {least} pixels"
    if len(baselines) > 1:
        reason += "; without it, the others could be scored"
    return Scorer(
        Baselines(baselines).to(shared["device"]),
        distances={(name,): baseline.compare for name, baseline in baselines.items()},
        window=None, least_side=(least, reason),
        batch_tiles=cfg.batch_images or BATCH_IMAGES[shared["device"]], **shared)
