"""What `python run.py ...` does: compose the configuration, score what the store lacks, say what came out.

A run makes a pass over the images for its backbone, and one for its baselines; either may be missing.

The only module that imports Hydra. torch and the models are imported once it is clear that there is something to
compute, so help, `--cfg job`, early errors and finished runs answer at once.
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
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
import numpy as np
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, InstantiationException, MissingConfigException, OverrideParseException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from zsiqa import CONFIGS
from zsiqa.machine import git_commit, keep_freed_memory, pick_device, versions
from zsiqa.progress import track
from zsiqa.settings import check_settings, plain
from zsiqa.store import ScoreFile, digest
from zsiqa.targets import Target, TargetKey, baseline_files, read_target, score_files
from zsiqa.types import Dataset, ImagePair, PairError, ZsiqaError
from zsiqa.weights import local_file

if TYPE_CHECKING:
    from zsiqa.scoring import Scorer

Metric = tuple[str, ...]  # as in zsiqa.scoring, which is imported late
Build = Callable[..., "Scorer"]  # (metrics, what all passes have in common) -> the engine of a pass

SECONDS_BETWEEN_FLUSHES = 0.5
OmegaConf.register_new_resolver("stem", lambda path: Path(path).stem, replace=True)


def main() -> None:
    """Entry of run.py. Errors that the user can mend are one message; status 1, or 130 when interrupted."""
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra hands its errors on instead of printing them with a traceback
    try:
        _job()
    except JobFailedError:
        sys.exit(1)  # its job has printed why
    except OverrideParseException as error:
        sys.exit(f"error: {error}\nA value with spaces or any of ,=()[]{{}} needs quotes of its own: 'name=\"...\"'")
    except MissingConfigException as error:
        group = CONFIGS / Path(error.missing_cfg_file or "").parent
        names = ", ".join(sorted(file.stem for file in group.glob("*.yaml")))
        sys.exit(f"error: no {error.missing_cfg_file} in the configuration; {group.name} can be: {names}")
    except (HydraException, OmegaConfBaseException, OSError) as error:
        sys.exit(f"error: {error}")
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
    passes: list[tuple[Build, dict[TargetKey, ScoreFile]]] = []
    if cfg.backbone.model is not None:
        weights = find_weights(cfg)
        passes.append((functools.partial(backbone_scorer, cfg, weights), score_files(cfg, dataset, weights)))
    if cfg.baselines:
        files = find_baseline_files(cfg)
        passes.append((functools.partial(baseline_scorer, cfg, files), baseline_files(cfg, dataset, files)))
    about = describe(cfg, dataset)
    targets = [{key: read_target(file, dataset, about, overwrite=cfg.overwrite) for key, file in score_files.items()}
               for _, score_files in passes]
    fresh = not all(target.complete for part in targets for target in part.values())
    failures: dict[str, str] = {}
    for (build, _), part in zip(passes, targets, strict=True):
        for errors in fill(cfg, dataset, build, part).values():
            failures = {**errors, **failures}
    print(summary(cfg, dataset, {key: target for part in targets for key, target in part.items()}, fresh=fresh))
    if failures:
        listed = "".join(f"\n  {error}" for error in failures.values())
        raise ZsiqaError(f"{len(failures)} of {len(dataset.pairs)} pairs lack a score under at least one perturbation; "
                         f"mend them and run the same command again:{listed}")


def read_dataset(cfg: DictConfig) -> Dataset:
    """The data set of the configuration, with its labels. May raise DatasetError."""
    node = cfg.dataset
    pairs: list[ImagePair] = instantiate(node.read)
    return Dataset(str(node.name), node.label, tuple(pairs), node.higher_is_better, node.note)


def find_weights(cfg: DictConfig) -> Path | None:
    """The file with the backbone's weights; None for random weights. May raise WeightsError."""
    if not cfg.backbone.pretrained:
        return None
    if cfg.backbone.checkpoint is not None:
        return local_file(str(cfg.backbone.checkpoint))
    found: Path = instantiate(cfg.backbone.weights)
    return found


def find_baseline_files(cfg: DictConfig) -> dict[str, dict[str, Path]]:
    """By baseline and argument of its model, the files with its weights. May raise WeightsError."""
    found: dict[str, dict[str, Path]] = {}
    for name, node in cfg.baselines.items():
        setting = f"baselines.{name}.checkpoint"
        found[name] = {}
        if node.checkpoint is not None:
            found[name]["weights"] = local_file(str(node.checkpoint), setting=setting)
        elif node.weights is not None:
            found[name]["weights"] = instantiate(node.weights, setting=setting)
        if node.calibration is not None:
            found[name]["calibration"] = instantiate(node.calibration)
    return found


def backbone_scorer(cfg: DictConfig, weights: Path | None, metrics: Sequence[Metric], **shared: Any) -> Scorer:
    """The engine of the backbone's pass; `shared` is what all passes have in common."""
    from zsiqa.scoring import Scorer

    distances = {name: build_distance(cfg.distances[name].fn) for name in dict.fromkeys(name for _, name in metrics)}
    return Scorer(
        instantiate(cfg.backbone.model, weights=weights).to(shared["device"]),
        distances={(representation, name): distances[name] for representation, name in metrics},
        window=cfg.window, stride=cfg.stride, batch_tiles=cfg.batch_tiles, precision=cfg.precision, **shared)


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
        window=None, least_side=(baselines[demanding].least_side, demanding), batch_tiles=cfg.batch_images, **shared)


def fill(cfg: DictConfig, dataset: Dataset, build: Build, targets: Mapping[TargetKey, Target],
         ) -> dict[str, dict[str, str]]:
    """Complete the score files of a pass; returns what `score_missing` returns. May raise PairError."""
    unfinished = {key: target for key, target in targets.items() if not target.complete}
    info = describe(cfg, dataset)
    failures: dict[str, dict[str, str]] = {}
    if any(np.isnan(target.scores).any() for target in unfinished.values()):
        failures = score_missing(cfg, dataset, build, unfinished, info)
    for key, target in unfinished.items():
        target.file.finish(dataset.pairs, target.scores.tolist(),
                         {**info, **describe_metric(cfg, dataset, key), "failed": failures.get(key.perturbation, {})})
    return failures


def score_missing(cfg: DictConfig, dataset: Dataset, build: Build, targets: Mapping[TargetKey, Target],
                  info: dict[str, Any]) -> dict[str, dict[str, str]]:
    """Compute the scores that `targets` lack, into them and into part files; add this session to `info`.

    Args:
        targets: the unfinished ones of a pass. All their perturbations take part, those without a missing score too: a
            resumed run must form the same batches.

    Returns:
        With on_error=skip, the errors of the pairs that failed, by perturbation and pair_id.

    Raises:
        PairError: the first failure (with on_error=stop).
    """
    if cfg.on_error == "stop":
        check_images(dataset)
    import torch

    from zsiqa.scoring import Failed

    metrics = list(dict.fromkeys(key.metric for key in targets))
    perturbations = list(dict.fromkeys(key.perturbation for key in targets))
    wanted = {name: np.any([np.isnan(target.scores) for key, target in targets.items() if key.perturbation == name],
                           axis=0) for name in perturbations}
    device, described = pick_device(cfg.device)
    if device == "cpu":
        keep_freed_memory()
    torch.manual_seed(cfg.seed)
    scorer = build(metrics, perturbations={name: instantiate(cfg.perturbations[name]) for name in perturbations},
                   workers=cfg.workers, device=device)
    session: dict[str, Any] = {"id": uuid.uuid4().hex, "started": datetime.now(UTC).isoformat(timespec="seconds"),
                               "device": described, "versions": versions(), "git_commit": git_commit()}
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
            for metric, score in outcome.scores.items():
                lacking = targets.get(TargetKey(metric, outcome.perturbation))
                if lacking is not None and np.isnan(lacking.scores[outcome.index]):
                    lacking.scores[outcome.index] = score
                    lacking.file.append(pair_id, score)
            if time.monotonic() - flushed >= SECONDS_BETWEEN_FLUSHES:
                for target in targets.values():
                    target.file.flush()
                flushed = time.monotonic()
    session["seconds"] = round(time.monotonic() - started, 3)
    return failures


def check_images(dataset: Dataset) -> None:
    """Check, before anything is computed, that all images are there.

    Raises:
        PairError: naming the first few pairs whose images are not.
    """
    exists = functools.cache(Path.is_file)
    missing = [(pair, path) for pair in dataset.pairs for path in (pair.ref_path, pair.dis_path) if not exists(path)]
    if missing:
        examples = "".join(f"\n  {pair.pair_id}: no file {path.absolute()}" for pair, path in missing[:5])
        raise PairError(f"{len({pair.pair_id for pair, _ in missing})} of {len(dataset.pairs)} pairs of {dataset.name} "
                        f"lack an image, e.g.{examples}\nPut the images there, or give on_error=skip to leave such "
                        f"pairs out")


def build_distance(node: DictConfig) -> Any:
    """A distance, tried out on nothing: a wrong option shows here, not in the middle of a run."""
    import torch

    distance = instantiate(node)
    probe = (torch.zeros(1, 1, 8, 8),)
    try:
        distance(probe, probe)
    except (ValueError, TypeError) as error:
        raise ZsiqaError(f"{node.get('_target_')}: {error}") from error
    return distance


def describe(cfg: DictConfig, dataset: Dataset) -> dict[str, Any]:
    """What a sidecar says beside its identity and its sessions."""
    return {
        "dataset": {"name": dataset.name, "label": dataset.label, "higher_is_better": dataset.higher_is_better,
                    "pairs": len(dataset.pairs), "labels_sha256": digest([pair.mos for pair in dataset.pairs])},
        "config": plain(cfg),
    }


def describe_metric(cfg: DictConfig, dataset: Dataset, key: TargetKey) -> dict[str, Any]:
    """What it says of the metric: how tables call it, its direction, and what must stand beside every number."""
    if key.metric[0] in cfg.baselines:
        node = cfg.baselines[key.metric[0]]
        return {"labels": {"baseline": node.label}, "score": {"higher_is_better": node.higher_is_better},
                "notes": [dataset.note] if dataset.note else []}
    representation, distance = key.metric
    return {"labels": {"backbone": cfg.backbone.label, "representation": cfg.representations[representation].label,
                       "distance": cfg.distances[distance].label},
            "score": {"higher_is_better": False}, "notes": caveats(cfg, dataset)}


def caveats(cfg: DictConfig, dataset: Dataset) -> list[str]:
    """What must stand beside every number of this run, and of its backbone."""
    random_weights = f"{cfg.backbone.label}: RANDOM WEIGHTS (seed {cfg.seed}): these scores mean nothing"
    return [note for note in (dataset.note, "" if cfg.backbone.pretrained else random_weights) if note]


def summary(cfg: DictConfig, dataset: Dataset, targets: Mapping[TargetKey, Target], *, fresh: bool) -> str:
    """What was scored, where it lies, and how it correlates with the labels."""
    from zsiqa.correlation import correlate

    mos = np.array([pair.mos for pair in dataset.pairs])
    root = Path(str(cfg.results_dir)) / "scores" / dataset.name
    width = max(len(target.file.path.parent.name) for target in targets.values())
    files = f"{len(targets)} file{'s' * (len(targets) > 1)} in {root}"
    scored = [*([cfg.backbone.label] if cfg.backbone.model is not None else []),
              *(node.label for node in cfg.baselines.values())]
    lines = [f"{dataset.label}, {len(dataset.pairs)} pairs, {', '.join(scored)}: "
             f"{'scored' if fresh else 'all scores were there already'}; {files}",
             f"{'metric':{width}}  perturbation     n    PLCC    SRCC    KRCC"]
    for key, target in targets.items():
        there = np.isfinite(target.scores)
        direction = describe_metric(cfg, dataset, key)["score"]["higher_is_better"]
        result = correlate(target.scores[there], mos[there], label_higher_is_better=dataset.higher_is_better,
                           score_higher_is_better=direction)
        lines.append(f"{target.file.path.parent.name:{width}}  {key.perturbation:12} {result.n:5}  {result.plcc:6.3f}  "
                     f"{result.srcc:6.3f}  {result.krcc:6.3f}")
    return "\n".join([*lines, *caveats(cfg, dataset)])


def instantiate(node: DictConfig, **extra: Any) -> Any:
    """`hydra.utils.instantiate`, without Hydra's wrapping around errors that are meant for the user."""
    try:
        return hydra.utils.instantiate(node, **extra)
    except InstantiationException as error:
        if isinstance(error.__cause__, ZsiqaError):
            raise error.__cause__ from None
        if isinstance(error.__cause__, ValueError | RuntimeError | TypeError):
            raise ZsiqaError(f"{node.get('_target_')}: {error.__cause__}") from error
        raise


