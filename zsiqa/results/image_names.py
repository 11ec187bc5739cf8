"""Image names in other people's files, matched to the pairs of a data set."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from zsiqa.releases import published

SUFFIX = re.compile(r"\.(bmp|png|jpe?g|tiff?|webp|ppm)$", re.IGNORECASE)


class Named(NamedTuple):
    """Images of a data set, from their names.

    Attributes:
        rows: (N,) positions of the names that are images of the data set, increasing.
        ids, refs, types: (N,) pair_id, reference and distortion type of each; "" for a reference or type that
            the name does not hold.
        unknown: all other names, also those of LIVE without the folder.
    """

    rows: np.ndarray
    ids: np.ndarray
    refs: np.ndarray
    types: np.ndarray
    unknown: list[str]


def identify(names: Sequence[str], dataset: str, facts: Mapping[str, Any] | None = None) -> Named:
    """Identify images by their names.

    Args:
        names: file names, with or without folders and suffix. LIVE's need the folder: `jp2k/img1.bmp` or
            `jp2k_img1.bmp`.
        dataset: of the images.
        facts: about the data set, as in `configs/published.yaml`; by default those of the published set.
            Without facts, as for one's own set, the names themselves are the ids.

    Examples:
        >>> named = identify(["tid2013/I01_10_2.BMP", "readme"], "tid2013")
        >>> named.ids.tolist(), named.refs.tolist(), named.types.tolist(), named.unknown
        (['tid2013/i01_10_2'], ['i01'], ['10'], ['readme'])
    """
    facts = facts if facts is not None else published().get(dataset)
    if facts is None:
        empty = np.full(len(names), "", dtype=object)
        return Named(np.arange(len(names)), np.array(names, dtype=object), empty, empty, [])
    pattern, upper = re.compile(facts["image"], re.IGNORECASE), facts["case"] == "upper"
    found, unknown = [], []
    for row, name in enumerate(names):
        parts = SUFFIX.sub("", name.strip()).replace("\\", "/").split("/")
        match = pattern.fullmatch("/".join(parts[-2:])) or pattern.fullmatch(parts[-1])
        groups = {key: text.upper() if upper else text.lower()
                  for key, text in (match.groupdict(default="") if match else {}).items()}
        if match is None or ("stem" in groups and not groups["type"]):  # several folders have this name
            unknown.append(name)
            continue
        stem = match[0].upper() if upper else match[0].lower()
        if "stem" in groups:
            stem = f"{groups['type']}/{groups['stem']}"
        found.append((row, f"{dataset}/{stem}", groups.get("ref", ""), groups.get("type", "")))
    rows, ids, refs, types = (np.array(column, dtype=object) for column in
                              (zip(*found, strict=True) if found else ((), (), (), ())))
    return Named(rows.astype(int), ids, refs, types, unknown)


def convert_labels(labels: np.ndarray, facts: Mapping[str, Any]) -> np.ndarray:
    """Convert a release's labels to those of zsiqa: 100 - MOS for TID2013, and no change elsewhere.

    Labels that are converted already lie outside of the release's range and stay as they are.

    Args:
        labels: (N,) as a file has them.
        facts: about the data set.
    """
    if "minuend" not in facts or not len(labels):
        return labels
    low, high = facts["scores"]
    inside = bool(low <= labels.min() and labels.max() <= high)
    return facts["minuend"] - labels if inside else labels
