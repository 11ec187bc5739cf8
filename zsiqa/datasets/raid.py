"""RAID (Dauden-Oliver et al., arXiv 2412.10211): 24 references x 4 changes x 9 levels = 864 pairs.

The label is people's response by maximum likelihood difference scaling: the perceived difference from the
reference, in units of its standard deviation.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zsiqa.datasets.labels import Label, fields, number
from zsiqa.datasets.release import Name, Tree, build_manifest, by_name, read_labels
from zsiqa.releases import published
from zsiqa.types import DatasetError, Manifest

LABELS = "responses.csv"
COLUMNS = ("Reference", "Distorted", "Response")  # others follow: the curve before division, estimated MOS
NAME = re.compile(r"(rot|trans|scale|gn)_(img_[0-9]{2})_level_([0-9]{2})\.png", re.IGNORECASE | re.ASCII)
UNDISTORTED = 1  # this level is the reference itself


def read(root: str | Path, facts: Mapping[str, Any] | None = None) -> Manifest:
    """Read the responses and the images, ordered by reference, change and level.

    Level 1 is the reference itself, and its response is 0 by construction: such rows are left out, as LIVE's
    undistorted copies are.

    Args:
        root: folder with `responses.csv` of the GitHub repository and the images of the data set, here or
            below.
        facts: about the release; `published()["raid"]` by default.

    Returns:
        Pairs with people's response as the label (higher = worse).

    Raises:
        DatasetError: if labels are missing or wrong.
    """
    facts = facts or published()["raid"]
    tree = Tree("raid", root)
    labels = read_labels(facts, tree, LABELS, {LABELS: parse_responses})
    return build_manifest(facts, tree, labels, by_name(NAME, _name))


def parse_responses(data: bytes) -> list[Label]:
    """Parse the rows of `responses.csv`, without those of level 1.

    Raises:
        DatasetError: if the file is not in the expected format, or a reference differs from itself.
    """
    labels = []
    for where, row in fields(data, LABELS, "raid", COLUMNS)[1]:
        reference, distorted, response = (row[name] for name in COLUMNS)
        label = Label(where, distorted, number(response, where, "raid"), reference)
        match = NAME.fullmatch(distorted)
        if match and int(match[3]) == UNDISTORTED:
            if label.score != 0:
                raise DatasetError(f"[raid] {where}: the response of an undistorted image is {label.score}, "
                                   f"expected 0. Fix: download it again")
            continue
        labels.append(label)
    return labels


def _name(match: re.Match[str]) -> Name:
    kind, reference, level = match[1].lower(), match[2].lower(), match[3]
    stem = f"{kind}_{reference}_level_{level}"
    return Name(stem, f"imagenes_bd/{stem}.png", f"imagenes_bd/{reference}.png", kind, str(int(level)),
                (reference, kind, level))
