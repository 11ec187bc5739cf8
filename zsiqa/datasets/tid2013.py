"""TID2013 (Ponomarenko et al., 2015): 25 references x 24 distortion types x 5 levels = 3,000 pairs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from zsiqa.datasets.labels import Label, lines, number
from zsiqa.datasets.release import Name, Tree, build_manifest, by_name, read_labels
from zsiqa.releases import published
from zsiqa.types import DatasetError, Manifest

LABELS = "mos_with_names.txt"
NAME = re.compile(r"i([0-9]{2})_([0-9]{2})_([0-9])\.bmp", re.IGNORECASE | re.ASCII)


def read(root: str | Path, facts: Mapping[str, Any] | None = None) -> Manifest:
    """Read the unpacked archive, ordered by reference, type and level.

    Args:
        root: folder with `mos_with_names.txt` (else `TID2013.txt` of Waterloo or
            `meta_info_TID2013Dataset.csv` of pyiqa) and the images, here or below.
        facts: about the release; `published()["tid2013"]` by default.

    Returns:
        Pairs with label 100 - MOS, as the official code computes it (higher = worse).

    Raises:
        DatasetError: if labels are missing or wrong.
    """
    facts = facts or published()["tid2013"]
    tree = Tree("tid2013", root)

    def parse(data: bytes) -> list[Label]:
        labels = parse_labels(data)
        for name, take in (("mos.txt", _check_mos), ("mos_std.txt", _add_std)):
            if path := tree.find(name):
                labels = take(labels, parse_column(path.read_bytes(), name, len(labels)))
        return labels

    labels = read_labels(facts, tree, LABELS, {LABELS: parse})
    return build_manifest(facts, tree, labels, by_name(NAME, _name), lambda mos: 100.0 - mos)


def parse_labels(data: bytes) -> list[Label]:
    """Parse the lines of `mos_with_names.txt`, such as `5.51429 I01_01_1.bmp`.

    Raises:
        DatasetError: if the file is not in the expected format.
    """
    labels: list[Label] = []
    before: tuple[str, ...] = ()
    for where, line in lines(data, LABELS, "tid2013"):
        mos, _, dis = line.strip().partition(" ")
        dis = dis.strip()
        match = NAME.fullmatch(dis)
        if not match:
            raise DatasetError(f'[tid2013] {where}: expected "<mos> iRR_TT_L.bmp", got {line!r}. Fix: '
                               f'restore the file')
        if match.groups() <= before:
            raise DatasetError(f"[tid2013] {where}: {dis} is out of order (reference, type, level); mos.txt "
                               f"and mos_std.txt have this order, too. Fix: restore the file")
        before = match.groups()
        labels.append(Label(where, dis, number(mos, where, "tid2013")))
    return labels


def parse_column(data: bytes, file: str, count: int) -> list[float]:
    """Parse a file of `count` numbers, without image names.

    Raises:
        DatasetError: if the file is not in the expected format.
    """
    values = [number(line, where, "tid2013") for where, line in lines(data, file, "tid2013")]
    if len(values) != count:
        raise DatasetError(f"[tid2013] {file}: {len(values)} lines, {LABELS} has {count}. Fix: restore both "
                           f"files")
    return values


def _check_mos(labels: list[Label], values: list[float]) -> list[Label]:
    for line, (label, value) in enumerate(zip(labels, values, strict=True), start=1):
        if label.score != value:
            raise DatasetError(f"[tid2013] mos.txt line {line} is {value}, {LABELS} says {label.score}. Fix: "
                               f"restore both files")
    return labels


def _add_std(labels: list[Label], values: list[float]) -> list[Label]:
    return [replace(label, std=value) for label, value in zip(labels, values, strict=True)]


def _name(match: re.Match[str]) -> Name:
    ref, kind, level = match.groups()
    # A few names have another case than the rest in the release's label file, and also in the authors' files.
    initial = "I" if (kind, level) in {("01", "1"), ("11", "1"), ("13", "1")} else "i"
    suffix = "BMP" if (kind, level) in {("11", "1"), ("13", "1")} else "bmp"
    return Name(f"i{ref}_{kind}_{level}", f"distorted_images/{initial}{ref}_{kind}_{level}.{suffix}",
                f"reference_images/I{ref}.BMP", kind, level, match.groups())
