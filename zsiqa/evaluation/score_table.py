"""Scores of several metrics as one table, indexed by pair."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from zsiqa.results.folder import ScoreFolder, load_whole
from zsiqa.results.scores import Pairs, ScoreKey, Scores, align
from zsiqa.types import StoreError


@dataclass(frozen=True, eq=False)
class ScoreTable:
    """Scores of M metrics on the same N pairs.

    Attributes:
        metrics: their names.
        quality: (M, N) scores, negated where a larger one means a worse image.
        labels: (N,) labels, likewise.
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
        folder: of scores.
        dataset, perturbation: which scores.
        metrics: which metrics; None for all that have a row for every pair, and scores of half as many as the fullest.
        notes: gets a line for whatever is left out.

    Raises:
        StoreError: if there are no such scores, a wanted metric is not whole or has other labels, or fewer than three
            pairs are left.
    """
    loaded = _agreeing(_load(folder, dataset, perturbation, metrics, notes), notes, named=metrics is not None)
    return _common(loaded if metrics else _fuller(loaded, notes), notes)


def _load(folder: ScoreFolder, dataset: str, perturbation: str, metrics: Sequence[str] | None,
          notes: list[str]) -> list[Scores]:
    there = sorted({key.metric for key in folder.held() if key[::2] == (dataset, perturbation)})
    if not there:
        datasets = sorted({key.dataset for key in folder.files})
        perturbations = sorted({key.perturbation for key in folder.files if key.dataset == dataset})
        raise StoreError(f"no scores of {dataset}/{perturbation} in {folder.root}; it holds "
                         f"{', '.join(perturbations if dataset in datasets else datasets) or 'nothing'}")
    if unknown := sorted(set(metrics or ()) - set(there)):
        raise StoreError(f"no scores of {dataset} by {', '.join(unknown)} under {perturbation}; there are "
                         f"{', '.join(there)}")
    found = []
    for metric in dict.fromkeys(metrics or there):
        key = ScoreKey(dataset, metric, perturbation)
        scores = load_whole(folder, key)
        if scores is None:
            problem = (f"{folder.files.get(key, key)} cannot be read or has not a row for every pair; `zsiqa audit` "
                       f"says more")
            if metrics:
                raise StoreError(problem)
            notes.append(f"left out: {problem}")
            continue
        if scores.path != folder.files.get(key):
            notes.append(f"{metric}: its own file is not there or not whole; taken from {scores.path.name}")
        notes += [note for note in scores.notes if note not in notes]
        found.append(scores)
    if not found:
        raise StoreError(f"no complete scores of {dataset}/{perturbation} in {folder.root}")
    return found


def _agreeing(loaded: Sequence[Scores], notes: list[str], *, named: bool) -> list[Scores]:
    """Those whose pairs have the labels and references that most have; others are an error if they were asked for."""
    kinds = [hash((*scores.pairs.ids, *scores.pairs.refs, scores.oriented_labels.tobytes())) for scores in loaded]
    commonest = loaded[kinds.index(max(kinds, key=kinds.count))]
    kept = []
    for scores in loaded:
        found = align(scores, commonest.pairs)
        what = "references" if len(found.other_refs) else "labels" if len(found.other_labels) else ""
        if not what:
            kept.append(scores)
        elif named:
            raise StoreError(f"{scores.path} has other {what} than {commonest.path}; `zsiqa audit` says more")
        else:
            notes.append(f"left out: {scores.path} has other {what} than most; `zsiqa audit` says more")
    return kept


def _fuller(loaded: Sequence[Scores], notes: list[str]) -> list[Scores]:
    """Those that have scores of half as many pairs as the fullest: a run just begun must not take the rest's pairs."""
    usable = [int(scores.usable.sum()) for scores in loaded]
    notes += [f"few pairs: {scores.key.metric} has scores of {count} of {scores.expected}, and is left out (--metric "
              f"keeps it in)"
              for scores, count in zip(loaded, usable, strict=True) if 2 * count < max(usable)]
    return [scores for scores, count in zip(loaded, usable, strict=True) if 2 * count >= max(usable)]


def _common(loaded: Sequence[Scores], notes: list[str]) -> ScoreTable:
    """All metrics on the pairs that each has a usable score for, in the order of the first."""
    pairs: Pairs = loaded[0].pairs
    values = np.stack([align(scores, pairs).values for scores in loaded])
    for scores in loaded:
        if lacking := scores.expected - int(scores.usable.sum()):
            notes.append(f"{scores.key.metric}: {lacking} of {scores.expected} pairs have no usable score; they are "
                         f"left out for every metric")
    use = np.isfinite(values).all(0)
    if use.sum() < 3:
        raise StoreError(f"only {use.sum()} pairs have a usable score by every metric")
    signs = np.array([1.0 if scores.higher_is_better else -1.0 for scores in loaded])
    refs = pairs.refs[use]
    return ScoreTable([scores.key.metric for scores in loaded], values[:, use] * signs[:, None],
                      pairs.oriented_labels[use], refs, pairs.types[use], np.unique(refs, return_inverse=True)[1],
                      loaded[0].expected)
