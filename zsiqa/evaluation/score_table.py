"""Scores of several metrics as one table, indexed by pair."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from zsiqa.evaluation.common_labels import reconcile
from zsiqa.results.score_folder import ScoreFolder
from zsiqa.results.scores import Pairs, ScoreKey, Scores, align
from zsiqa.types import StoreError, did_you_mean


@dataclass(frozen=True, eq=False)
class ScoreTable:
    """Scores of M metrics on the same N pairs.

    Attributes:
        metrics: names of the metrics.
        quality: (M, N) scores, negated if a larger score means a worse image.
        labels: (N,) labels, negated if a larger label means a worse image.
        refs, types: (N,) names of the references; distortion types.
        groups: (N,) the reference of each pair as a number, from 0.
        expected: pairs of the whole data set.
        files: (M,) the score file of each metric.
        ids: (N,) pair_id of each pair.
    """

    metrics: list[str]
    quality: np.ndarray
    labels: np.ndarray
    refs: np.ndarray
    types: np.ndarray
    groups: np.ndarray
    expected: int
    files: list[Scores]
    ids: np.ndarray

    @functools.cached_property
    def references(self) -> tuple[str, ...]:
        """Names of the references, sorted."""
        return tuple(np.unique(self.refs))

    def of(self, rows: Sequence[int]) -> ScoreTable:
        """Return the table of some metrics, in this order."""
        return replace(self, metrics=[self.metrics[row] for row in rows], quality=self.quality[list(rows)],
                       files=[self.files[row] for row in rows])


def load_table(folder: ScoreFolder, dataset: str, perturbation: str, metrics: Sequence[str] | None,
               notes: list[str]) -> ScoreTable:
    """Load the pairs for which every metric has a usable score.

    Where sources disagree on labels, those of the release are used for all: see
    `zsiqa.evaluation.common_labels`.

    Args:
        folder: folder of scores, or several sources.
        dataset, perturbation: of the scores.
        metrics: metrics to load; None for all whose files have as many rows as the fullest one, and usable
            scores for at least half as many pairs as the metric with the most.
        notes: list that gets a line for everything that is left out.

    Raises:
        StoreError: if there are no such scores, a metric in `metrics` cannot be read or has other labels, no
            source has labels and references, or fewer than three pairs are left.
    """
    loaded = _load(folder, dataset, perturbation, metrics, notes)
    pairs, loaded = reconcile(loaded, notes, named=metrics is not None)
    return _common(loaded if metrics else _without_few_pairs(loaded, notes), pairs, notes)


def _load(folder: ScoreFolder, dataset: str, perturbation: str, metrics: Sequence[str] | None,
          notes: list[str]) -> list[Scores]:
    available = sorted({key.metric for key in folder.held() if key[::2] == (dataset, perturbation)})
    if not available:
        datasets = sorted({key.dataset for key in folder.files})
        perturbations = sorted({key.perturbation for key in folder.files if key.dataset == dataset})
        name, names = (perturbation, perturbations) if dataset in datasets else (dataset, datasets)
        raise StoreError(f"no scores of {dataset}/{perturbation} in {folder.root}"
                         f"{did_you_mean(name, names)}; it holds {', '.join(names) or 'nothing'}")
    if unknown := sorted(set(metrics or ()) - set(available)):
        raise StoreError(f"no scores of {dataset} by {', '.join(unknown)} under {perturbation}"
                         f"{did_you_mean(unknown, available)}; there are {', '.join(available)}")
    loaded = []
    for metric in dict.fromkeys(metrics or available):
        key = ScoreKey(dataset, metric, perturbation)
        try:
            scores = folder.load_fullest(key)
        except StoreError as error:
            if metrics:
                raise
            notes.append(f"left out: {error}")
            continue
        if scores.path != folder.files.get(key):
            notes.append(f"{metric}: its own file is not there or not whole; taken from {scores.path.name}")
        notes += [note for note in scores.notes if note not in notes]
        loaded.append(scores)
    rows = max((len(scores.values) for scores in loaded), default=0)
    if not rows:
        raise StoreError(f"no scores of {dataset}/{perturbation} in {folder.root} can be used; `zsiqa audit` "
                         f"says why")
    short = [scores for scores in loaded if len(scores.values) < rows and not metrics]
    notes += [f"left out: {scores.path} has {len(scores.values)} of {rows} pairs (--metric keeps it in)"
              for scores in short]
    return [scores for scores in loaded if scores not in short]


def _without_few_pairs(loaded: Sequence[Scores], notes: list[str]) -> list[Scores]:
    """Keep the scores with at least half as many usable pairs as the largest set.

    The pairs of the table are those that all metrics have, so a run that has just begun would leave few.
    """
    usable = [int(scores.usable.sum()) for scores in loaded]
    notes += [f"few pairs: {scores.key.metric} has scores of {count} of {scores.expected}, and is left out "
              f"(--metric keeps it in)"
              for scores, count in zip(loaded, usable, strict=True) if 2 * count < max(usable)]
    return [scores for scores, count in zip(loaded, usable, strict=True) if 2 * count >= max(usable)]


def _common(loaded: Sequence[Scores], pairs: Pairs, notes: list[str]) -> ScoreTable:
    """Build the table of the pairs with a usable score by every metric, in the order of `pairs`."""
    values = np.stack([align(scores, pairs).values for scores in loaded])
    for scores in loaded:
        if lacking := len(pairs.ids) - int(scores.usable.sum()):
            notes.append(f"{scores.key.metric}: {lacking} of {len(pairs.ids)} pairs have no usable score; "
                         f"they are left out for every metric")
    use = np.isfinite(values).all(0)
    if use.sum() < 3:
        raise StoreError(f"only {use.sum()} pairs have a usable score by every metric")
    signs = np.array([1.0 if scores.higher_is_better else -1.0 for scores in loaded])
    refs = pairs.refs[use]
    return ScoreTable([scores.key.metric for scores in loaded], values[:, use] * signs[:, None],
                      pairs.oriented_labels[use], refs, pairs.types[use],
                      np.unique(refs, return_inverse=True)[1], loaded[0].expected, list(loaded),
                      pairs.ids[use])
