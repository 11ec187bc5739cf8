"""Scores of one metric at all levels of perturbations, on the pairs with a score at each level."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from zsiqa.evaluation.metric_notes import MetricNotes
from zsiqa.perturbations import FAMILIES, PAPER, level_of
from zsiqa.results.score_folder import FilteredFolder, ScoreFolder
from zsiqa.results.scores import ORIGINAL, ScoreKey, Scores, align
from zsiqa.types import REFERENCES, StoreError, did_you_mean

FEWEST_LEVELS = 2  # beside `original`: fewer are no curve
CURVES = tuple((family, unit) for family, units in FAMILIES.items() for unit in units)


class WithoutCurves(FilteredFolder):
    """Score folder without the levels of curves, and without references perturbed against themselves.

    The tables and the page compare metrics at the paper's points; `zsiqa robustness` shows the curves.
    """

    def keeps(self, key: ScoreKey) -> bool:
        """Return whether scores are of a data set's pairs, and not of a curve alone."""
        return not is_of_curve(key)


def is_of_curve(key: ScoreKey) -> bool:
    """Return whether scores belong to curves alone: at a level other than the paper's, or of references.

    Examples:
        >>> [is_of_curve(ScoreKey("demo", "psnr", name)) for name in ("rotate_2deg", "rotate", "original")]
        [True, False, False]
    """
    level = level_of(key.perturbation) is not None and key.perturbation not in PAPER
    return level or key.dataset.endswith(REFERENCES)


@dataclass(frozen=True, eq=False)
class LevelScores:
    """Scores of a metric at levels, on the N pairs with a usable score at all of them.

    Attributes:
        names: (L,) of the perturbations, `original` first.
        quality: (L, N) scores, negated where a larger one means a worse image.
        labels: (N,) labels, negated where a larger one means a worse image; NaN without labels.
        ids, refs: (N,) pair_id and reference of each pair.
        expected: pairs of the whole data set.
    """

    names: tuple[str, ...]
    quality: np.ndarray
    labels: np.ndarray
    ids: np.ndarray
    refs: np.ndarray
    expected: int


def curves_of(names: Sequence[str]) -> dict[tuple[str, str], dict[float, str]]:
    """Sort perturbations into curves by family and unit: names by increasing level, `original` at level 0.

    The curves come in the order of `CURVES`. Levels below 0 are left out, and then curves with fewer than
    `FEWEST_LEVELS` levels beside `original`.

    Examples:
        >>> curves_of(["original", "rotate", "rotate_0.5deg", "translate_y_3px"])
        {('rotate', 'deg'): {0.0: 'original', 0.5: 'rotate_0.5deg', 1.0: 'rotate'}}
    """
    found: dict[tuple[str, str], dict[float, str]] = {}
    for name in names:
        level = level_of(name)
        if level is not None and level.value > 0:
            found.setdefault((level.family, level.unit), {})[float(level.value)] = name
    return {curve: {0.0: ORIGINAL, **dict(sorted(found[curve].items()))}
            for curve in CURVES if len(found.get(curve, ())) >= FEWEST_LEVELS}


def find_levels(folder: ScoreFolder, datasets: Sequence[str] | None,
                metrics: Sequence[str] | None) -> dict[tuple[str, str], list[str]]:
    """Find the perturbations that are levels of a curve, by data set and metric.

    Args:
        folder: folder of scores, or several sources.
        datasets: names; None for all but those of perturbed references.
        metrics: names; None for all.

    Returns:
        Empty if there are none.
    """
    names: dict[tuple[str, str], list[str]] = {}
    for key in folder.held():
        if ((not key.dataset.endswith(REFERENCES) if datasets is None else key.dataset in datasets)
                and (metrics is None or key.metric in metrics)):
            names.setdefault((key.dataset, key.metric), []).append(key.perturbation)
    levels = {which: [name for curve in curves_of(there).values() for name in curve.values()
                      if name != ORIGINAL] for which, there in names.items() if ORIGINAL in there}
    return {which: there for which, there in levels.items() if there}


def check_names(folder: ScoreFolder, datasets: Sequence[str] | None, metrics: Sequence[str] | None) -> None:
    """Check the names of data sets and metrics whose curves are asked for.

    Raises:
        StoreError: if a folder has no scores of one, or a data set is one of perturbed references.
    """
    for name in datasets or ():
        if name.endswith(REFERENCES):
            labelled = name.removesuffix(REFERENCES)
            raise StoreError(f"{name} has no labels, so no SRCC; use --dataset {labelled}, which shows the "
                             f"response of its references, too")
    for (kind, known), wanted in zip(_known(folder).items(), (datasets, metrics), strict=True):
        if unknown := sorted(set(wanted or ()) - set(known)):
            raise StoreError(f"no scores of the {kind} {', '.join(unknown)} in {folder.root}"
                             f"{did_you_mean(unknown, known)}; there are {', '.join(known) or 'none'}")


def no_curve(folder: ScoreFolder, datasets: Sequence[str] | None) -> StoreError:
    """Return the error of a folder without a curve, with the command that makes one."""
    dataset = (datasets or _known(folder)["data set"] or ["demo"])[0]
    return StoreError(
        f"{folder.root} holds no curve: it takes scores of `original` and of at least {FEWEST_LEVELS} "
        f"levels of a perturbation, by one metric. Make them with `zsiqa run dataset={dataset} "
        f"perturbation=curves`, and your backbone or baseline")


def _known(folder: ScoreFolder) -> dict[str, list[str]]:
    keys = [key for key in folder.held() if not key.dataset.endswith(REFERENCES)]
    return {"data set": sorted({key.dataset for key in keys}), "metric": sorted({key.metric for key in keys})}


def load_levels(folder: ScoreFolder, dataset: str, metric: str, names: Sequence[str],
                notes: MetricNotes) -> LevelScores:
    """Load the scores of a metric at levels.

    Args:
        folder: folder of scores, or several sources.
        dataset, metric: of the scores.
        names: of the perturbations, `original` first.
        notes: get a line for everything that is left out, and the notes of the data set.

    Raises:
        StoreError: if `original` cannot be read, or fewer than three pairs have a score at all levels (one
            pair for perturbed references).
    """
    loaded: dict[str, Scores] = {}
    for name in names:
        try:
            loaded[name] = folder.load_fullest(ScoreKey(dataset, metric, name))
        except StoreError:
            if name == ORIGINAL:
                raise
            notes.add(dataset, f"{name} is left out: it cannot be read; `zsiqa audit` says more", metric)
    first = loaded[ORIGINAL]
    if not dataset.endswith(REFERENCES):  # the same notes; they are on labels
        for note in first.notes:
            notes.add(dataset, note)
    pairs, sign = first.pairs, 1.0 if first.higher_is_better else -1.0
    quality = sign * np.stack([align(scores, pairs).values for scores in loaded.values()])
    usable = np.isfinite(quality)
    counts = usable.sum(axis=1)
    few = 2 * counts < counts.max()  # a run that has just begun
    few[0] = False
    for name, count, short in zip(loaded, counts.tolist(), few, strict=True):
        if short:
            notes.add(dataset, f"{name} is left out: scores of {count} pairs, of {counts.max()} elsewhere",
                      metric)
    use = usable[~few].all(axis=0)
    if use.sum() < (1 if dataset.endswith(REFERENCES) else 3):
        raise StoreError(f"only {int(use.sum())} pairs have a usable score at all levels")
    if lacking := int(usable.any(axis=0).sum() - use.sum()):
        notes.add(dataset, f"{lacking} of {len(use)} pairs lack a score at one level or more; they are left "
                           f"out at all levels", metric)
    kept = tuple(name for name, short in zip(loaded, few, strict=True) if not short)
    return LevelScores(kept, quality[~few][:, use], pairs.oriented_labels[use], pairs.ids[use],
                       pairs.refs[use], first.expected)
