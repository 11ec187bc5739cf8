"""Checks of score files: damaged files, files cut short, copies, files whose pairs differ from the others."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from zsiqa.evaluation.common_labels import has_released_labels
from zsiqa.perturbations import level_of
from zsiqa.releases import published
from zsiqa.results.official import conventions, file_name, keys_sha256
from zsiqa.results.score_folder import ScoreFolder
from zsiqa.results.scores import ORIGINAL, Alignment, Pairs, ScoreKey, Scores, align
from zsiqa.types import REFERENCES, StoreError


@dataclass(frozen=True)
class FileFinding:
    """A score file and its problem; `damaged` if it was left out because of it."""

    file: str
    problem: str
    damaged: bool = False


@dataclass(frozen=True)
class FolderCheck:
    """Findings on the score files of a folder.

    Attributes:
        findings: sorted by file.
        usual: by data set, the pairs that most of its files have.
        whole: all complete sets of scores.
        unchecked: number of files without a checksum.
    """

    findings: list[FileFinding]
    usual: dict[str, Pairs]
    whole: dict[ScoreKey, Scores]
    unchecked: int


def check_files(folder: ScoreFolder) -> FolderCheck:
    """Check all score files of a folder."""
    odd = []
    read: dict[tuple[ScoreKey, Path], Scores] = {}
    contents: dict[bytes, set[Path]] = defaultdict(set)
    for own, path in [*folder.files.items(), *((None, path) for path in folder.strays)]:
        try:
            if path.is_file():  # a score file in parts has no content of its own
                contents[hashlib.sha256(path.read_bytes()).digest()].add(path)
            key = own or folder.stray_key(path)
            read[key, path] = folder.load(key, path)
        except (StoreError, OSError) as error:
            odd.append(FileFinding(path.relative_to(folder.root).as_posix(),
                                   str(error).removeprefix(f"{path}: "), damaged=True))
    usual = {}
    for dataset in sorted({scores.key.dataset for scores in read.values()}):
        seen = [scores.pairs for scores in read.values() if scores.key.dataset == dataset
                and len(scores.values) == scores.expected]
        if seen:
            same = {id(pairs): hash((*pairs.ids, *pairs.refs, pairs.labels.tobytes())) for pairs in set(seen)}
            commonest = Counter(same[id(pairs)] for pairs in seen).most_common(1)[0][0]
            usual[dataset] = next(pairs for pairs in seen if same[id(pairs)] == commonest)
    held_in_part = _held_in_part(read.values())
    for (key, path), scores in read.items():
        problems = []
        if path in folder.strays:
            copy_of = [file_name(key) for key in folder.held() if path in folder.copies(key)]
            problems.append(f"a copy of {copy_of[0]}, by its name" if copy_of
                            else "the name is that of no metric")
        if len(scores.values) < scores.expected:
            rows = f"{len(scores.values)} of {scores.expected} rows"
            if not len(scores.values):
                problems.append("a header and no rows")
            elif key.dataset in held_in_part:
                problems.append(f"a part of the data set, the same in each file: {rows}")
            else:
                problems.append(f"cut short: {rows}")
        if (not _is_of_identical_images(key) and scores.usable.any()
                and np.ptp(scores.values[scores.usable]) == 0):
            problems.append("all scores are equal")
        if unusable := int((~scores.usable).sum()):
            examples = ", ".join(scores.pairs.ids[~scores.usable][:3])
            problems.append(f"{unusable} of {len(scores.values)} scores are absent, NaN or infinite: "
                            f"{examples}")
        if key.dataset in usual:
            problems += _differences(align(scores, usual[key.dataset]))
        if problems:
            odd.append(FileFinding(path.relative_to(folder.root).as_posix(), "; ".join(problems)))
    for copies in contents.values():
        keys = [key for (key, path), scores in read.items() if path in copies and len(scores.values)]
        if len(copies) > 1 and keys and not (
                all(map(_is_of_identical_images, keys)) or _are_one_level(keys)):
            first, *others = (path.relative_to(folder.root).as_posix() for path in sorted(copies))
            odd.append(FileFinding(first, f"the same content, byte for byte, as {', '.join(others)}"))
    whole = {}
    for key in folder.held():
        held = read.get((key, folder.files[key])) if key in folder.files else None
        complete = held if held is not None and len(held.values) == held.expected else folder.load_whole(key)
        if complete is not None:
            whole[key] = complete
    return FolderCheck(sorted(odd, key=lambda finding: finding.file), usual, whole,
                       sum(not scores.checked for scores in read.values()))


def _held_in_part(files: Iterable[Scores]) -> set[str]:
    """Return the data sets that have several files, all with the same part of the pairs."""
    held: dict[str, list[frozenset[str]]] = defaultdict(list)
    for scores in files:
        is_part = len(scores.values) < scores.expected
        held[scores.key.dataset].append(frozenset(scores.pairs.ids) if is_part else frozenset())
    return {dataset for dataset, pairs in held.items()
            if len(pairs) > 1 and len(set(pairs)) == 1 and pairs[0]}


def _is_of_identical_images(key: ScoreKey) -> bool:
    """Return whether the scores are of references against themselves: a distance is 0 for all."""
    return key.dataset.endswith(REFERENCES) and key.perturbation == ORIGINAL


def _are_one_level(keys: Sequence[ScoreKey]) -> bool:
    """Return whether keys may mean the same change: 1.4 and 1.5 % of 512 pixels are 8 pixels."""
    levels = [level for key in keys if (level := level_of(key.perturbation))]
    same = {(key.dataset, key.metric) for key in keys} | {level.family for level in levels}
    return (len(levels) == len(keys) and len(same) == 2
            and sum(level.unit != "pct" for level in levels) <= 1)


def _differences(alignment: Alignment) -> list[str]:
    """Describe how the pairs of a file differ from the usual ones, in any order."""
    return [f"{len(ids)} {problem}: {', '.join(ids[:3])}" for problem, ids in {
        "pairs that the other files do not have": alignment.foreign,
        "labels differ from those of the other files": alignment.other_labels,
        "pairs have another reference than in the other files": alignment.other_refs}.items() if len(ids)]


def describe_agreement(usual: dict[str, Pairs], whole: dict[ScoreKey, Scores]) -> dict[str, str]:
    """Describe by data set how many files share pairs and labels, and if these are the released ones."""
    texts = {}
    for dataset, pairs in usual.items():
        files = [scores for key, scores in whole.items() if key.dataset == dataset]
        same = [scores for scores in files if scores.pairs is pairs or (
            np.array_equal(scores.pairs.ids, pairs.ids)
            and np.array_equal(scores.pairs.labels, pairs.labels))]
        texts[dataset] = f"{len(files)} files with a row for every pair"
        expected = conventions()["datasets"].get(dataset)
        if expected and same and file_name(same[0].key):
            released = any(keys_sha256(scores.path) == expected["keys_sha256"] for scores in same
                           if scores.path.is_file())
            texts[dataset] += (f", {len(same)} with one and the same sequence of pairs and labels, "
                               f"{'that' if released else 'which is not that'} of commit 1d8c1ce")
        if dataset in published() and "sha256" in published()[dataset]:
            as_released = has_released_labels(pairs, dataset)
            texts[dataset] += f"; the labels are {'' if as_released else 'not '}those of the release"
    return texts
