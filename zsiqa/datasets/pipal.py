"""PIPAL, its public training part (Gu et al., ECCV 2020): 200 references x 116 = 23,200 pairs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zsiqa.datasets.labels import Label, Labels, lines, number
from zsiqa.datasets.release import Name, Tree, build_manifest, by_name, read_labels
from zsiqa.releases import published
from zsiqa.types import DatasetError, Manifest

NAME = re.compile(r"(A[0-9]{4})_([0-9]{2})_([0-9]{2})\.bmp", re.IGNORECASE | re.ASCII)


def read(root: str | Path, facts: Mapping[str, Any] | None = None) -> Manifest:
    """Read the unpacked archives, in the order of the pairs' names.

    Args:
        root: folder with the label files `A0001.txt` ... (else `PIPAL.txt` of Waterloo or
            `meta_info_PIPALDataset.csv` of pyiqa) and the images, in folders of any name, here or below: file
            names are unique.
        facts: about the release; `published()["pipal"]` by default.

    Returns:
        Pairs with the Elo score as the label (higher = better).

    Raises:
        DatasetError: if labels are missing or wrong.
    """
    facts = facts or published()["pipal"]
    tree = Tree("pipal", root)
    paths = [path for name in tree.matching(r"a\d{4}\.txt") if (path := tree.find(name))]
    count = facts["pairs"] // facts["references"]
    labels = Labels([label for path in paths for label in parse_labels(path.read_bytes(), path.name, count)],
                    paths)
    if not paths:
        labels = read_labels(facts, tree, "Train_Label/*.txt", {})
    return build_manifest(facts, tree, labels, by_name(NAME, _name))


def parse_labels(data: bytes, file: str, count: int) -> list[Label]:
    """Parse the `count` lines of a label file, such as `A0001_00_00.bmp,1520.0648`.

    Raises:
        DatasetError: if the file is not in the expected format.
    """
    labels = []
    for where, line in lines(data, file, "pipal"):
        dis, comma, elo = line.strip().partition(",")
        if not comma or not NAME.fullmatch(dis):
            raise DatasetError(f'[pipal] {where}: expected "A0001_00_00.bmp,<Elo>", got {line!r}. Fix: '
                               f'restore the file')
        labels.append(Label(where, dis, number(elo, where, "pipal")))
    if len(labels) != count:
        raise DatasetError(f"[pipal] {file}: {len(labels)} lines, expected {count}. Fix: restore the file")
    return labels


def _name(match: re.Match[str]) -> Name:
    ref, kind, number_ = match.groups()
    ref = ref.upper()
    return Name(f"{ref}_{kind}_{number_}", f"Train_Dis/{ref}_{kind}_{number_}.bmp", f"Train_Ref/{ref}.bmp",
                kind, number_, (ref, kind, number_))
