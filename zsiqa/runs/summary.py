"""Summary that a run prints at its end."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from omegaconf import DictConfig

from zsiqa.releases import published
from zsiqa.runs.plan import Target
from zsiqa.terminal import plural
from zsiqa.types import Dataset


def summary(cfg: DictConfig, dataset: Dataset, targets: Sequence[Target], selected: np.ndarray, *,
            fresh: bool) -> str:
    """Summarise what was scored, the folders, and the correlations of the selected pairs with the labels.

    A data set without labels has no correlations; the number of pairs with a score stands alone.

    Args:
        selected: (pairs,) bool.
        fresh: True if this run computed scores.
    """
    from zsiqa.evaluation.correlation import correlate, why_undefined

    mos = np.array([pair.mos for pair in dataset.pairs])
    width = max(len("metric"), *(len(target.file.path.parent.name) for target in targets))
    wide = max(len("perturbation"), *(len(target.file.path.stem) for target in targets))
    folders = dict.fromkeys(str(target.file.path.parent.parent) for target in targets)
    files = f"{plural(len(targets), 'file')} in {' and '.join(folders)}"
    part = "" if selected.all() else f"{selected.sum():,} of "
    scored = [*([cfg.backbone.label] if cfg.backbone.model is not None else []),
              *(node.label for node in cfg.baselines.values())]
    lines = [f"{dataset.label}, {part}{len(dataset.pairs):,} pairs, {', '.join(scored)}: "
             f"{'scored' if fresh else 'all scores were there already'}; {files}",
             f"{'metric':{width}}  {'perturbation':{wide}}     n"
             + ("    PLCC    SRCC    KRCC" if dataset.labelled else "")]
    reasons: dict[str, None] = {} if dataset.labelled else {
        "no correlations: references paired with themselves have no labels": None}
    signs: set[bool] = set()  # negative or not, of all coefficients
    for target in targets:
        scored_pairs = selected & np.isfinite(target.scores)
        scores, labels = target.scores[scored_pairs], mos[scored_pairs]
        line = f"{target.file.path.parent.name:{width}}  {target.file.path.stem:{wide}} {len(scores):5}"
        if dataset.labelled:
            result = correlate(scores if target.planned.higher_is_better else -scores,
                               labels if dataset.higher_is_better else -labels)
            signs |= {value < 0 for value in (result.plcc, result.srcc) if np.isfinite(value)}
            if reason := why_undefined(scores, labels):
                reasons[f"nan: no correlation is defined, because {reason}"] = None
            line += f"  {result.plcc:6.3f}  {result.srcc:6.3f}  {result.krcc:6.3f}"
        lines.append(line)
        if undefined := int((selected & ~target.missing & np.isnan(target.scores)).sum()):
            reasons[f"{target.file.path.parent.name}/{target.file.path.stem}: not defined for "
                    f"{plural(undefined, 'pair')}, which {'has' if undefined == 1 else 'have'} no score; "
                    f"{target.file.sidecar.name} has the reason"] = None
    if signs == {True} and dataset.name not in published():
        reasons[f"All correlations are negative: does a larger label of {dataset.name} mean a "
                f"{'worse' if dataset.higher_is_better else 'better'} image? Then give "
                f"dataset.higher_is_better={str(not dataset.higher_is_better).lower()}; "
                f"no score is computed again"] = None
    notes = dict.fromkeys([*dataset.notes, *(note for target in targets for note in target.planned.notes)])
    return "\n".join([*lines, *reasons, *notes])
