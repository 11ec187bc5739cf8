"""Scores of one metric at all levels of perturbations, on the pairs that it has scores of at each level."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from zsiqa.perturbations import FAMILIES, PAPER, level_of
from zsiqa.results.folder import ScoreFolder, load_whole
from zsiqa.results.scores import ORIGINAL, ScoreKey, Scores, align
from zsiqa.types import StoreError, did_you_mean

REFERENCES = "_references"  # ends the names of data sets of references perturbed against themselves
FEWEST_LEVELS = 2  # beside `original`: fewer are no curve
CURVES = tuple((family, unit) for family, units in FAMILIES.items() for unit in units)


@dataclass
class WithoutCurves:
    """Score folder without the levels of curves, and without references perturbed against themselves.

    The tables and the page compare metrics at the paper's points; `zsiqa robustness` shows the curves.

    Attributes:
        inner: the whole folder.
    """

    inner: ScoreFolder
    root: Path = field(init=False)
    files: dict[ScoreKey, Path] = field(init=False)
    strays: list[Path] = field(init=False)

    def __post_init__(self) -> None:
        self.root, self.strays = self.inner.root, self.inner.strays
        self.files = {key: path for key, path in self.inner.files.items() if not is_of_curve(key)}

    def held(self) -> list[ScoreKey]:
        """Return the keys with a score file or a misnamed copy."""
        return [key for key in self.inner.held() if not is_of_curve(key)]

    def twins(self, key: ScoreKey) -> list[Path]:
        """Return misnamed copies of the file of this key."""
        return self.inner.twins(key)

    def source_of(self, key: ScoreKey) -> str:
        """Return the name of the source of the scores of this key."""
        return self.inner.source_of(key)

    def stray_key(self, path: Path) -> ScoreKey:
        """Return the key that a stray may hold, by its name.

        Raises:
            StoreError: if the name gives no key.
        """
        return self.inner.stray_key(path)

    def load(self, key: ScoreKey, path: Path) -> Scores:
        """Load a score file.

        Raises:
            StoreError: if it is damaged.
        """
        return self.inner.load(key, path)


def is_of_curve(key: ScoreKey) -> bool:
    """Return whether scores belong to curves alone: at a level other than the paper's, or of references.

    Examples:
        >>> [is_of_curve(ScoreKey("demo", "psnr", name)) for name in ("rotate_2deg", "rotate", "original")]
        [True, False, False]
    """
    level = level_of(key.perturbation) is not None and key.perturbation not in PAPER
    return level or key.dataset.endswith(REFERENCES)


@dataclass(frozen=True, eq=False)
class Scored:
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

    The curves come in the order of `CURVES`. Those with fewer than `FEWEST_LEVELS` levels beside `original`
    are left out, and levels below 0.

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

    Raises:
        StoreError: if there are none.
    """
    names: dict[tuple[str, str], list[str]] = {}
    for key in folder.held():
        if ((not key.dataset.endswith(REFERENCES) if datasets is None else key.dataset in datasets)
                and (metrics is None or key.metric in metrics)):
            names.setdefault((key.dataset, key.metric), []).append(key.perturbation)
    found = {}
    for which, there in names.items():
        levels = [name for curve in curves_of(there).values() for name in curve.values() if name != ORIGINAL]
        if levels and ORIGINAL in there:
            found[which] = levels
    if not found:
        raise StoreError(_nothing(folder, datasets, metrics))
    return found


def _nothing(folder: ScoreFolder, datasets: Sequence[str] | None, metrics: Sequence[str] | None) -> str:
    there = {"data set": sorted({key.dataset for key in folder.held()}),
             "metric": sorted({key.metric for key in folder.held()})}
    for (kind, known), wanted in zip(there.items(), (datasets, metrics), strict=True):
        if unknown := sorted(set(wanted or ()) - set(known)):
            return (f"no scores of the {kind} {', '.join(unknown)} in {folder.root}"
                    f"{did_you_mean(unknown, known)}; there are {', '.join(known) or 'none'}")
    dataset = (datasets or there["data set"] or ["demo"])[0]
    return (f"{folder.root} holds no curve: it takes scores of `original` and of at least {FEWEST_LEVELS} "
            f"levels of a perturbation, by one metric. Make them with `zsiqa run dataset={dataset} "
            f"perturbation=curves`, and your backbone or baseline")


def load_levels(folder: ScoreFolder, dataset: str, metric: str, names: Sequence[str],
                notes: list[str]) -> Scored:
    """Load the scores of a metric at levels.

    Args:
        folder: folder of scores, or several sources.
        dataset, metric: of the scores.
        names: of the perturbations, `original` first.
        notes: list that gets a line for everything that is left out.

    Raises:
        StoreError: if `original` cannot be read, or fewer than three pairs have a score at all levels (one
            pair for perturbed references).
    """
    loaded: dict[str, Scores] = {}
    for name in names:
        key = ScoreKey(dataset, metric, name)
        scores = load_whole(folder, key)
        if scores is None:
            try:
                scores = folder.load(key, folder.files[key])
            except (StoreError, KeyError) as error:
                if name == ORIGINAL:
                    raise StoreError(f"{key} cannot be read; `zsiqa audit` says more") from error
                notes.append(f"left out: {key} cannot be read; `zsiqa audit` says more")
                continue
        loaded[name] = scores
    first = loaded[ORIGINAL]
    pairs, sign = first.pairs, 1.0 if first.higher_is_better else -1.0
    quality = sign * np.stack([align(scores, pairs).values for scores in loaded.values()])
    usable = np.isfinite(quality)
    most = usable.sum(axis=1).max()
    few = 2 * usable.sum(axis=1) < most  # a run that has just begun
    few[0] = False
    notes += [f"left out: {dataset}/{metric}/{name}: scores of {int(count)} pairs, of {int(most)} elsewhere"
              for name, count, short in zip(loaded, usable.sum(axis=1), few, strict=True) if short]
    use = usable[~few].all(axis=0)
    if use.sum() < (1 if dataset.endswith(REFERENCES) else 3):
        raise StoreError(f"only {int(use.sum())} pairs have a usable score at all levels")
    if lacking := int(usable.any(axis=0).sum() - use.sum()):
        notes.append(f"{dataset}/{metric}: {lacking} of {len(use)} pairs lack a score at one level or "
                     f"more; they are left out at all levels")
    kept = tuple(name for name, short in zip(loaded, few, strict=True) if not short)
    return Scored(kept, quality[~few][:, use], pairs.oriented_labels[use], pairs.ids[use], pairs.refs[use],
                  first.expected)

