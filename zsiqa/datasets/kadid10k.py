"""KADID-10k (Lin, Hosu and Saupe, QoMEX 2019): 81 references x 25 types x 5 levels = 10,125 pairs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zsiqa.datasets.labels import Label, fields, number
from zsiqa.datasets.release import Name, Tree, build_manifest, by_name, read_labels
from zsiqa.releases import published
from zsiqa.types import Manifest

LABELS = "dmos.csv"
COLUMNS = ["dist_img", "ref_img", "dmos", "var"]  # `var` holds standard deviations
NAME = re.compile(r"i([0-9]{2})_([0-9]{2})_([0-9]{2})\.png", re.IGNORECASE | re.ASCII)


def read(root: str | Path, facts: Mapping[str, Any] | None = None) -> Manifest:
    """Read the unpacked archive, ordered by reference, type and level.

    Args:
        root: folder with `dmos.csv` (else `KADID-10k.txt` of Waterloo or `meta_info_KADID10kDataset.csv` of
            pyiqa) and the images, here or below.
        facts: about the release; `published()["kadid10k"]` by default.

    Returns:
        Pairs with the release's `dmos` as the label, of which 5 is best (higher = better).

    Raises:
        DatasetError: if labels are missing or wrong.
    """
    facts = facts or published()["kadid10k"]
    tree = Tree("kadid10k", root)
    labels = read_labels(facts, tree, LABELS, {LABELS: parse_labels})
    return build_manifest(facts, tree, labels, by_name(NAME, _name))


def parse_labels(data: bytes) -> list[Label]:
    """Parse the rows of `dmos.csv`.

    Raises:
        DatasetError: if the file is not in the expected format.
    """
    labels = []
    for where, row in fields(data, LABELS, "kadid10k", COLUMNS)[1]:
        dis, ref, dmos, std = (row[name] for name in COLUMNS)
        labels.append(Label(where, dis, number(dmos, where, "kadid10k"), ref, number(std, where, "kadid10k")))
    return labels


def _name(match: re.Match[str]) -> Name:
    ref, kind, level = match.groups()
    return Name(f"i{ref}_{kind}_{level}", f"images/I{ref}_{kind}_{level}.png", f"images/I{ref}.png",
                kind, level, match.groups())
