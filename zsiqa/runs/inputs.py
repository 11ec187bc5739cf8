"""Inputs of a run: data set, images and weights. All that is missing is reported at once, before any work."""

from __future__ import annotations

import functools
import re
import sys
from collections import defaultdict
from collections.abc import Mapping
from itertools import compress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from omegaconf import DictConfig

from zsiqa.config import instantiate
from zsiqa.config.names import dataset_name
from zsiqa.datasets.references import pair_references
from zsiqa.runs.plan import Pass, plan
from zsiqa.runs.selection import part_of, select
from zsiqa.types import Dataset, DatasetError, ImagePair, Manifest, PairError, WeightsError, ZsiqaError

MOST = 10  # names to list in a message


class Inputs(NamedTuple):
    """Inputs of a run: the data set; (pairs,) bool, which pairs to score; the passes with their weights."""

    dataset: Dataset
    selected: np.ndarray
    passes: list[tuple[Pass, Any]]


def find_inputs(cfg: DictConfig) -> Inputs:
    """Read the data set and find the weights; no passes if this shard has no pairs.

    Raises:
        ZsiqaError: names all that is missing. If the data set is missing, nothing is downloaded. If weights
            are missing, images are checked, too.
    """
    problems: list[ZsiqaError] = []
    dataset, selected = None, np.zeros(0, dtype=bool)
    try:
        dataset = read_dataset(cfg)
        selected = select(dataset.pairs, **part_of(cfg))
        if not selected.any():
            return Inputs(dataset, selected, [])
    except DatasetError as error:
        problems.append(error)
    passes = []
    for planned in plan(cfg):
        try:
            passes.append((planned, planned.find_weights(download=not problems)))
        except WeightsError as error:
            problems.append(error)
    if dataset is not None and not problems:
        return Inputs(dataset, selected, passes)
    if dataset is not None and selected.any() and cfg.on_error == "stop":
        try:
            check_images(dataset, selected)
        except PairError as error:
            problems.append(error)
    if len(problems) == 1:
        raise problems[0]
    raise ZsiqaError(f"{len(problems)} things are missing:"
                     + "".join(f"\n- {problem}" for problem in problems))


def read_dataset(cfg: DictConfig) -> Dataset:
    """Read the data set of the configuration, with its labels; or its references, paired with themselves.

    Raises:
        DatasetError: if the data set cannot be read, or it has a warning and `dataset.strict` is true.
    """
    node = cfg.dataset
    manifest: Manifest = instantiate(node.read)
    if node.pairs == "references":  # without labels, so without warnings about them
        return Dataset(dataset_name(cfg), f"{node.label}, references", pair_references(manifest.pairs),
                       node.higher_is_better, tuple(filter(None, [node.note])))
    for warning in manifest.warnings:
        if node.strict:
            raise DatasetError(warning)
        print(f"warning: {warning}", file=sys.stderr)
    notes = tuple(note for note in (node.note, *manifest.warnings) if note)
    return Dataset(dataset_name(cfg), node.label, manifest.pairs, node.higher_is_better, notes)


def check_images(dataset: Dataset, selected: np.ndarray) -> None:
    """Check that all images of the selected pairs exist.

    Raises:
        PairError: if images are missing; it names the first few pairs, and the references that have all.
    """
    exists = functools.cache(Path.is_file)
    pairs = list(compress(dataset.pairs, selected))
    missing = [(pair, path) for pair in pairs for path in (pair.ref_path, pair.dis_path) if not exists(path)]
    if not missing:
        return
    examples = "".join(
        f"\n  {pair.pair_id}: {'not a regular file:' if path.exists() else 'no file'} {path.absolute()}"
        for pair, path in missing[:5])
    affected = len({pair.pair_id for pair, _ in missing})
    lacking = {pair.ref for pair, _ in missing}
    whole = list(dict.fromkeys(pair.ref for pair in pairs if pair.ref not in lacking))
    part = ""
    if whole:
        names = ",".join(whole[:MOST])
        more = f" and {len(whole) - MOST} more" if len(whole) > MOST else ""
        part = (f", or score the references that have all their images, 'dataset.references=[{names}]'{more} "
                f"({len(whole)} of {len(whole) + len(lacking)})")
    raise PairError(f"{affected} of {len(pairs)} pairs of {dataset.name} lack an image, e.g.{examples}\n"
                    f"Put the images there (for a published data set, `zsiqa data check` says more){part}, "
                    f"or give on_error=skip to leave such pairs out")


def by_cause(failures: Mapping[str, str], pairs: Mapping[str, ImagePair]) -> list[str]:
    """List failures, one line for all pairs of one cause.

    Args:
        failures: messages, by pair_id.
        pairs: the pairs, by pair_id.
    """
    groups: dict[str, list[str]] = defaultdict(list)
    for pair_id, message in failures.items():
        cause = message
        for own in (pair_id, str(pairs[pair_id].ref_path), str(pairs[pair_id].dis_path)):
            cause = cause.replace(own, "")
        groups[re.sub(r"^ \([^)]+\)|\d+", "", cause)].append(message)  # without perturbation, sizes
    return [f"{first} (and {len(others):,} more pairs like this)" if others else first
            for first, *others in groups.values()]
