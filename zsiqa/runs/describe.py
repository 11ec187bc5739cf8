"""What a run says beside its scores: in the sidecars, and at the end on the screen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from omegaconf import DictConfig

from zsiqa.config import plain, protocol_deviations
from zsiqa.results.score_file import digest
from zsiqa.runs.plan import Target, TargetKey
from zsiqa.terminal import plural
from zsiqa.types import Dataset


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
                "notes": [note for note in (*dataset.notes, protocol_note(cfg)) if note]}
    representation, distance = key.metric
    return {"labels": {"backbone": cfg.backbone.label, "representation": cfg.representations[representation].label,
                       "distance": cfg.distances[distance].label},
            "score": {"higher_is_better": False}, "notes": [*dataset.notes, *caveats(cfg, distance)]}


def caveats(cfg: DictConfig, distance: str) -> list[str]:
    """Notes that must stand beside every score of the backbone under a distance."""
    random_weights = f"{cfg.backbone.label}: RANDOM WEIGHTS (seed {cfg.seed}): these scores mean nothing"
    train_mode = (f"official_train_mode=true: {cfg.backbone.label} in training mode, as the authors ran it, and so "
                  f"partly random (seed {cfg.seed}): another seed, other scores")
    node = cfg.distances[distance]
    steps = f"{node.get('in_half', 'all steps')} in half precision" if node.fn.get("half") else "in fp32"
    half = (f"precision=clip_fp16_official: {cfg.backbone.label} in half precision, as the authors ran it; of "
            f"{node.label}, {steps}")
    reduced = f"precision={cfg.precision}, where the paper has fp32"
    tiles = (f"window={cfg.window}, stride={cfg.stride}, where the paper has {cfg.backbone.window}, "
             f"{cfg.backbone.stride}")
    notes = {random_weights: not cfg.backbone.pretrained, protocol_note(cfg): True,
             train_mode: cfg.official_train_mode, half: cfg.precision == "clip_fp16_official",
             reduced: cfg.precision in ("tf32", "bf16", "fp16"),
             tiles: (cfg.window, cfg.stride) != (cfg.backbone.window, cfg.backbone.stride)}
    return [note for note, applies in notes.items() if note and applies]


def protocol_note(cfg: DictConfig) -> str:
    """What must be said of a protocol that is not the paper's; "" of the paper's."""
    if others := protocol_deviations(cfg):
        return f"protocol={cfg.protocol.name} but for {', '.join(others)}"
    return str(cfg.protocol.note)


def summary(cfg: DictConfig, dataset: Dataset, targets: Mapping[TargetKey, Target], selected: np.ndarray, *,
            fresh: bool) -> str:
    """What was scored, where it lies, and how the scores of the selected pairs correlate with the labels."""
    from zsiqa.evaluation.correlation import correlate, why_undefined

    mos = np.array([pair.mos for pair in dataset.pairs])
    width = max(len("metric"), *(len(target.file.path.parent.name) for target in targets.values()))
    folders = dict.fromkeys(str(target.file.path.parent.parent) for target in targets.values())
    files = f"{plural(len(targets), 'file')} in {' and '.join(folders)}"
    part = "" if selected.all() else f"{selected.sum():,} of "
    scored = [*([cfg.backbone.label] if cfg.backbone.model is not None else []),
              *(node.label for node in cfg.baselines.values())]
    lines = [f"{dataset.label}, {part}{len(dataset.pairs):,} pairs, {', '.join(scored)}: "
             f"{'scored' if fresh else 'all scores were there already'}; {files}",
             f"{'metric':{width}}  perturbation     n    PLCC    SRCC    KRCC"]
    reasons: dict[str, None] = {}
    for key, target in targets.items():
        there = selected & np.isfinite(target.scores)
        direction = describe_metric(cfg, dataset, key)["score"]["higher_is_better"]
        result = correlate(target.scores[there], mos[there], label_higher_is_better=dataset.higher_is_better,
                           score_higher_is_better=direction)
        if reason := why_undefined(target.scores[there], mos[there]):
            reasons[f"nan: no correlation is defined, because {reason}"] = None
        lines.append(f"{target.file.path.parent.name:{width}}  {key.perturbation:12} {result.n:5}  {result.plcc:6.3f}  "
                     f"{result.srcc:6.3f}  {result.krcc:6.3f}")
    notes = dict.fromkeys(note for key in targets for note in describe_metric(cfg, dataset, key)["notes"])
    return "\n".join([*lines, *reasons, *notes])
