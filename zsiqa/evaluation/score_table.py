"""Scores of several metrics as one table, indexed by pair."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from zsiqa.results.folder import ScoreFolder, load_whole
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
    """

    metrics: list[str]
    quality: np.ndarray
    labels: np.ndarray
    refs: np.ndarray
    types: np.ndarray
    groups: np.ndarray
    expected: int


def load_table(folder: ScoreFolder, dataset: str, perturbation: str, metrics: Sequence[str] | None,
               notes: list[str]) -> ScoreTable:
    """Load the pairs for which every metric has a usable score.

    Args:
        folder: folder of scores.
        dataset, perturbation: of the scores.
        metrics: metrics to load; None for all that have a row for every pair, and usable scores for at least
            half as many pairs as the metric with the most.
        notes: list that gets a line for everything that is left out.

    Raises:
        StoreError: if there are no such scores, a metric in `metrics` is not complete or has other labels, or
            fewer than three pairs are left.
    """
    loaded = _with_usual_labels(_load(folder, dataset, perturbation, metrics, notes), notes,
                                named=metrics is not None)
    return _common(loaded if metrics else _without_few_pairs(loaded, notes), notes)


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
        scores = load_whole(folder, key)
        if scores is None:
            problem = (f"{folder.files.get(key, key)} cannot be read or has not a row for every pair; "
                       f"`zsiqa audit` says more")
            if metrics:
                raise StoreError(problem)
            notes.append(f"left out: {problem}")
            continue
        if scores.path != folder.files.get(key):
            notes.append(f"{metric}: its own file is not there or not whole; taken from {scores.path.name}")
        notes += [note for note in scores.notes if note not in notes]
        loaded.append(scores)
    if not loaded:
        raise StoreError(f"no complete scores of {dataset}/{perturbation} in {folder.root}")
    return loaded


def _with_usual_labels(loaded: Sequence[Scores], notes: list[str], *, named: bool) -> list[Scores]:
    """Keep the scores with the labels and references that most have.

    Raises:
        StoreError: if the metrics were `named` and one of them has other labels or references.
    """
    kinds = [hash((*scores.pairs.ids, *scores.pairs.refs, scores.oriented_labels.tobytes()))
             for scores in loaded]
    commonest = loaded[kinds.index(max(kinds, key=kinds.count))]
    kept = []
    for scores in loaded:
        alignment = align(scores, commonest.pairs)
        what = "references" if len(alignment.other_refs) else "labels" if len(alignment.other_labels) else ""
        if not what:
            kept.append(scores)
        elif named:
            raise StoreError(f"{scores.path} has other {what} than {commonest.path}; `zsiqa audit` says more")
        else:
            notes.append(f"left out: {scores.path} has other {what} than most; `zsiqa audit` says more")
    return kept


def _without_few_pairs(loaded: Sequence[Scores], notes: list[str]) -> list[Scores]:
    """Keep the scores with at least half as many usable pairs as the largest set.

    The pairs of the table are those that all metrics have, so a run that has just begun would leave few.
    """
    usable = [int(scores.usable.sum()) for scores in loaded]
    notes += [f"few pairs: {scores.key.metric} has scores of {count} of {scores.expected}, and is left out "
              f"(--metric keeps it in)"
              for scores, count in zip(loaded, usable, strict=True) if 2 * count < max(usable)]
    return [scores for scores, count in zip(loaded, usable, strict=True) if 2 * count >= max(usable)]


def _common(loaded: Sequence[Scores], notes: list[str]) -> ScoreTable:
    """Build the table of the pairs with a usable score by every metric, in the order of the first metric."""
    pairs: Pairs = loaded[0].pairs
    values = np.stack([align(scores, pairs).values for scores in loaded])
    for scores in loaded:
        if lacking := scores.expected - int(scores.usable.sum()):
            notes.append(f"{scores.key.metric}: {lacking} of {scores.expected} pairs have no usable score; "
                         f"they are left out for every metric")
    use = np.isfinite(values).all(0)
    if use.sum() < 3:
        raise StoreError(f"only {use.sum()} pairs have a usable score by every metric")
    signs = np.array([1.0 if scores.higher_is_better else -1.0 for scores in loaded])
    refs = pairs.refs[use]
    return ScoreTable([scores.key.metric for scores in loaded], values[:, use] * signs[:, None],
                      pairs.oriented_labels[use], refs, pairs.types[use],
                      np.unique(refs, return_inverse=True)[1], loaded[0].expected)
