"""Agreement of our scores with the scores of the authors, pair by pair."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from zsiqa.evaluation.correlation import correlate
from zsiqa.results.score_folder import ScoreFolder
from zsiqa.results.scores import ScoreKey, Scores, align
from zsiqa.types import StoreError, did_you_mean

RTOL = 1e-3  # far above the rounding differences of devices, far below the effect of other images or code


@dataclass(frozen=True)
class Agreement:
    """Agreement of one set of scores, ours with theirs.

    Attributes:
        n: number of pairs that both have scored.
        only_ours, only_theirs: number of pairs with a usable score in one set only.
        labels_differ: number of common pairs whose labels differ.
        largest: largest absolute difference.
        worst: id of the pair with the largest difference.
        diverging: number of pairs that differ by more than the tolerance.
        first: first diverging pair, in the authors' order, with both scores; "" if there is none.
        source: name of their score file.
        srcc, krcc: rank correlations of the two sets of scores; NaN where undefined.
    """

    key: ScoreKey
    n: int
    only_ours: int
    only_theirs: int
    labels_differ: int
    largest: float
    worst: str
    diverging: int
    first: str
    source: str
    srcc: float
    krcc: float


@dataclass(frozen=True)
class Verification:
    """Agreement of all sets of scores, and the sets of scores that could not be compared."""

    agreements: list[Agreement]
    not_ours: list[ScoreKey]
    not_theirs: list[ScoreKey]
    unreadable: list[str]
    rtol: float

    @property
    def agree(self) -> bool:
        """Return whether every set of scores could be compared pair by pair, and no pair diverges."""
        return not self.unreadable and not any(one.diverging or one.only_theirs for one in self.agreements)


def verify(ours: ScoreFolder, theirs: ScoreFolder, datasets: Collection[str] | None,
           metrics: Collection[str] | None, rtol: float) -> Verification:
    """Compare all sets of scores that both folders have.

    Args:
        ours, theirs: folders of scores.
        datasets, metrics: names to compare; None for all.
        rtol: a pair diverges if its scores differ by more than this share of the authors' largest absolute
            score in the file (a tolerance relative to each score does not work for scores near 0).

    Raises:
        StoreError: if no set of scores is in both, or neither has one of the names.
    """
    for wanted, there in ((datasets, {key.dataset for folder in (ours, theirs) for key in folder.files}),
                          (metrics, {key.metric for folder in (ours, theirs) for key in folder.files})):
        if unknown := sorted(set(wanted or ()) - there):
            raise StoreError(f"nothing to compare of {', '.join(unknown)}{did_you_mean(unknown, there)}: "
                             f"neither {ours.root} nor {theirs.root} has scores of it; choose others "
                             f"with --dataset and --metric: {', '.join(sorted(there)) or 'there are none'}")

    def chosen(key: ScoreKey) -> bool:
        return (datasets is None or key.dataset in datasets) and (metrics is None or key.metric in metrics)

    our_keys = [key for key in ours.files if chosen(key)]
    their_keys = [key for key in theirs.files if chosen(key)]
    agreements, not_theirs = [], []
    unreadable: list[str] = []
    for key in our_keys:
        their_scores = theirs.load_whole(key)
        if their_scores is None:
            not_theirs.append(key)
            continue
        try:
            agreements.append(compare(ours.load(key, ours.files[key]), their_scores, rtol))
        except StoreError as error:
            unreadable.append(str(error))
    if not agreements and not unreadable:
        raise StoreError(f"nothing to compare: of the chosen sets of scores, {len(our_keys)} are in "
                         f"{ours.root} and {len(their_keys)} in {theirs.root}, none complete in both; score "
                         f"one of the paper's data sets first, or choose others with --dataset and --metric")
    if agreements and not any(one.n for one in agreements):
        raise StoreError(f"{ours.root} and {theirs.root} have no pair in common: "
                         "are these the paper's data sets?")
    return Verification(agreements, [key for key in their_keys if key not in set(our_keys)], not_theirs,
                        unreadable, rtol)


def compare(ours: Scores, theirs: Scores, rtol: float) -> Agreement:
    """Compare two sets of scores of the same pairs, in any order."""
    aligned = align(ours, theirs.pairs)
    both = np.isfinite(aligned.values) & theirs.usable
    ids, a, b = theirs.pairs.ids[both], aligned.values[both], theirs.values[both]
    difference = np.abs(a - b)
    diverging = difference > rtol * np.abs(b).max(initial=0.0)
    first = ""
    if diverging.any():
        row = int(np.argmax(diverging))
        first = f"{ids[row]}: ours {a[row]:.7g}, theirs {b[row]:.7g}"
    ranks = correlate(a, b)
    return Agreement(theirs.key, len(ids), int(ours.usable.sum()) - len(ids),
                     int(theirs.usable.sum()) - len(ids), int(np.isin(ids, aligned.other_labels).sum()),
                     float(difference.max(initial=0.0)),
                     str(ids[int(np.argmax(difference))]) if len(ids) else "", int(diverging.sum()),
                     first, theirs.path.name, ranks.srcc, ranks.krcc)
