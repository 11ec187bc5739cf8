"""Labels of several sources: one set of pairs and labels for all metrics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from zsiqa.releases import labels_sha256, published, ref_id
from zsiqa.results.scores import SAME_LABEL, Pairs, Scores, align
from zsiqa.types import StoreError


def reconcile(loaded: Sequence[Scores], notes: list[str], *, named: bool) -> tuple[Pairs, list[Scores]]:
    """Give all scores of a data set the same pairs and labels.

    Within a source, files with other labels or references than most are left out. Between sources, the labels
    of the release are used for all; if no source has them, those of the source with the most pairs, with a
    note. A source without labels or references takes them from another.

    Args:
        loaded: scores of one data set, at least one.
        notes: list that gets a line for everything that is left out or replaced.
        named: the user named the metrics, so that nothing may be left out.

    Returns:
        The pairs, and the scores in their order, NaN where a source has no score.

    Raises:
        StoreError: if no source has labels, or none has references; if the metrics were `named` and one of
            them has other labels or references.
    """
    groups: dict[str, list[Scores]] = {}
    for scores in loaded:
        groups.setdefault(scores.source, []).append(scores)
    usual = {}
    for source, group in groups.items():
        usual[source], groups[source] = _with_usual_labels(group, notes, named=named)
    chosen = _choose(list(usual.values()))
    pairs, kept = chosen.pairs, []
    dataset = chosen.key.dataset
    if (len(pairs.ids) == published().get(dataset, {}).get("pairs")  # a part has no digest
            and not has_released_labels(pairs, dataset)):
        notes.append(f"{chosen.source}: the labels of {dataset} are not those of the release (by SHA-256)")
    for source, group in groups.items():
        problem = "" if source == chosen.source else _compare(usual[source], chosen, notes)
        if problem and named:
            raise StoreError(problem)
        if problem:
            notes.append(f"left out: {problem}")
            continue
        kept += [scores if scores.pairs is pairs else
                 replace(scores, pairs=pairs, values=align(scores, pairs).values) for scores in group]
    return pairs, [scores for one in loaded for scores in kept if scores.key == one.key]


def has_released_labels(pairs: Pairs, dataset: str) -> bool:
    """Return whether the labels are those of the release, in the order of the file or by id."""
    facts = published().get(dataset, {})
    if "sha256" not in facts and "names_sha256" not in facts:
        return False
    for order in (slice(None), np.argsort(pairs.ids)):
        digest, expected = labels_sha256(pairs.ids[order], pairs.refs[order], pairs.labels[order], facts)
        if digest == expected:
            return True
    return False


def _with_usual_labels(loaded: Sequence[Scores], notes: list[str],
                       *, named: bool) -> tuple[Scores, list[Scores]]:
    """Find the commonest labels and references: return one of the scores that have them, and all of these.

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
    return commonest, kept


def _choose(sources: Sequence[Scores]) -> Scores:
    """Return the scores whose pairs and labels are used for all sources.

    Raises:
        StoreError: if none has labels and references.
    """
    labelled = [one for one in sources if np.isfinite(one.pairs.labels).all()]
    whole = [one for one in labelled if one.pairs.refs.all()]
    if not whole:
        what = "references" if labelled else "labels"
        raise StoreError(f"{sources[0].path}: its images have no {what}; add a source that has them "
                         f"with a second --scores, or a column")
    if len(sources) > 1:
        released = [one for one in whole if has_released_labels(one.pairs, one.key.dataset)]
        whole = released or sorted(whole, key=lambda one: -len(one.pairs.ids))
    return whole[0]


def _compare(scores: Scores, chosen: Scores, notes: list[str]) -> str:
    """Note what is replaced where a source's pairs differ from the chosen; return why it cannot be used."""
    dataset, own, pairs = scores.key.dataset, scores.pairs, chosen.pairs
    rows = pairs.index.get_indexer(own.index)
    known = rows >= 0
    if not known.any():
        return (f"no image of {scores.path} is among those of {chosen.path}, such as {own.ids[0]} and "
                f"{pairs.ids[0]}")
    if not known.all():
        notes.append(f"{scores.source}: {int((~known).sum())} images of {dataset} are not among those of "
                     f"{chosen.source}, such as {own.ids[~known][0]}; left out")
    facts = {"case": "lower", **published().get(dataset, {})}
    same_ref = np.array([not one or _ref(one, facts) == _ref(other, facts)
                         for one, other in zip(own.refs[known], pairs.refs[rows[known]], strict=True)])
    if not same_ref.all():
        row = int(np.flatnonzero(~same_ref)[0])
        return (f"{scores.path}: the reference of {own.ids[known][row]} is {own.refs[known][row]}, but "
                f"{pairs.refs[rows[known]][row]} in {chosen.path}")
    ours, theirs = own.oriented_labels[known], pairs.oriented_labels[rows[known]]
    differ = ~_equal_labels(ours, theirs)
    if np.isfinite(ours).all() and differ.any():
        release = "the release's" if has_released_labels(pairs, dataset) else f"those of {chosen.source}"
        correlation = np.corrcoef(ours, theirs)[0, 1]
        notes.append(f"{scores.source}: {int(differ.sum())} of {len(ours)} labels of {dataset} are not "
                     f"{release}, which are used for all (correlation {correlation:.3f})")
    return ""


def _ref(ref: str, facts: dict[str, str]) -> str:
    return ref_id(ref.replace("\\", "/").rpartition("/")[2], facts).lower()


def _equal_labels(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """Return which labels are equal, after the line that maps one set to the other: MOS may be rescaled."""
    if len(ours) < 3 or not np.isfinite(ours).all() or np.ptp(ours) == 0:
        return np.asarray(ours == theirs)
    slope, offset = np.polyfit(ours, theirs, 1)
    mapped = ours if np.abs(ours - theirs).max() <= SAME_LABEL else slope * ours + offset
    return np.asarray(np.abs(mapped - theirs) <= SAME_LABEL * max(1.0, np.abs(theirs).max()))
