"""Progress of a configuration's score files, from the results folder: needs no images, weights or torch."""

from __future__ import annotations

import functools
import itertools
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from zsiqa.results.files import digest
from zsiqa.results.pair_list import read_pairs
from zsiqa.results.score_file import ScoreFile, part_files, read_about
from zsiqa.results.scores import ScoreKey
from zsiqa.results.table import check_content, is_checked, read_finished
from zsiqa.runs.heartbeats import Entry, read_journal
from zsiqa.runs.inputs import read_dataset
from zsiqa.runs.plan import file_names, identify_images, planned_files
from zsiqa.runs.selection import part_of, select
from zsiqa.terminal import listed, plural
from zsiqa.types import DatasetError, StoreError

MOST_NAMES = 5  # references to name in a message
STATES = ("done", "running", "damaged", "failed", "partial", "missing")


@dataclass(frozen=True)
class FileProgress:
    """Progress of one score file, for the pairs that a job must score.

    Attributes:
        state: one of `STATES`.
        there: number of pairs with a score, among the job's selection and shard.
        pairs: number of all pairs of the job's selection and shard; None if not known yet.
        why: the active run, the error, or the work that is left.
    """

    key: ScoreKey
    state: str
    there: int = 0
    pairs: int | None = None
    why: str = ""

    @property
    def done(self) -> bool:
        """True if no work is left."""
        return self.state == "done"


def read_progress(cfg: DictConfig) -> list[FileProgress]:
    """Return the progress of the score files that a configuration fills.

    Raises:
        DatasetError: if the CSV file of your own pairs is not valid.
    """
    files = planned_files(cfg)
    journals = {folder: read_journal(folder) for folder in {file.path.parent.parent for file in files}}
    for entry in itertools.chain(*journals.values()):
        if not entry.files:
            _warn(entry.error)
    pairs, labels = _own_pairs(cfg)
    return [_look_at(cfg, file.path, {**pairs, **file.identity}, labels, journals[file.path.parent.parent])
            for file in files]


@functools.cache
def _warn(text: str) -> None:
    """Print a warning, once: several jobs may look at the same folder."""
    print(f"warning: {text}", file=sys.stderr)


def _own_pairs(cfg: DictConfig) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what sidecars must state about pairs and labels of your own: their CSV file may change.

    Returns:
        Part of the identity and part of the labels' description; both empty for a published data set.
    """
    if cfg.dataset.image_identity != "paths":
        return {}, {}
    dataset = read_dataset(cfg)
    labels = {"labels_sha256": digest([pair.mos for pair in dataset.pairs])}
    return {"dataset": identify_images(cfg, dataset)}, labels


def _look_at(cfg: DictConfig, path: Path, expected: Mapping[str, Any], labels: Mapping[str, Any],
             journal: Sequence[Entry]) -> FileProgress:
    """Return the progress of one score file.

    Args:
        cfg: of the job.
        path: of the CSV file.
        expected: entries that its identity must have.
        labels: entries that its description of the data set must have.
        journal: all heartbeats in the folder of the data set's scores.
    """
    key = ScoreKey(path.parts[-3], path.parts[-2], path.stem)
    there, total, lacking = 0, None, ""
    try:
        if path.is_file() or path.with_suffix(".json").exists() or part_files(path):
            about = read_about(path)
            differing = [name for name, value in expected.items() if about["identity"].get(name) != value]
            if differing:
                return FileProgress(key, "failed",
                                    why=f"there are scores of other settings: {', '.join(differing)}")
            if path.with_suffix(".json").exists():
                return _look_at_finished(cfg, path, about, labels)
            wanted = _pairs_to_score(path.parent.parent / about["pairs_file"], **part_of(cfg))
            total = len(wanted)
            scored = ScoreFile(path, about["identity"]).read()
            there = len(wanted.keys() & scored)
            lacking = _name_references([ref for pair_id, ref in wanted.items() if pair_id not in scored])
            if there == about["dataset"]["pairs"]:  # enough for a selection, but the whole must be joined
                return FileProgress(key, "partial", there, total,
                                    "all in parts; the same command joins them into one file")
            if there == total:
                return FileProgress(key, "done", total, total)
    except StoreError as error:
        return FileProgress(key, "damaged", why=_cause(str(error)))
    except DatasetError as error:
        return FileProgress(key, "failed", why=_cause(str(error)))
    entries = [entry for entry in journal if file_names([path])[0] in entry.files and (
        cfg.num_shards == 1 or list(entry.about.get("shard", ())) in ([cfg.shard, cfg.num_shards], [0, 1]))]
    active = [entry for entry in entries if entry.alive]
    if active:
        return FileProgress(key, "running", there, total, "; ".join(map(str, active)))
    if errors := [entry.error for entry in entries if entry.error]:
        return FileProgress(key, "failed", there, total, _cause(errors[-1]))
    last = min(entries, key=lambda entry: entry.age, default=None)
    stopped = f"stopped without an error message: {last}" if last else ""
    if not there:
        return FileProgress(key, "missing", there, total, stopped)
    return FileProgress(key, "partial", there, total, f"{lacking}; {stopped}" if stopped else lacking)


def _look_at_finished(cfg: DictConfig, path: Path, sidecar: Mapping[str, Any],
                      labels: Mapping[str, Any]) -> FileProgress:
    """Return the progress of a finished score file, which has all pairs that a job may select.

    Raises:
        StoreError: if it is damaged.
    """
    if is_checked(sidecar):
        check_content(path, sidecar)  # a checksum is fast: there may be 1,000 files
    else:
        read_finished(path, sidecar)
    key, total = ScoreKey(path.parts[-3], path.parts[-2], path.stem), sidecar["dataset"]["pairs"]
    listed = path.parent.parent / sidecar.get("pairs_file", "")
    if listed.is_file():
        total = len(_pairs_to_score(listed, **part_of(cfg)))
    if not labels.items() <= sidecar["dataset"].items():
        return FileProgress(key, "partial", total, total,
                            "the labels have changed; the same command updates the file")
    return FileProgress(key, "done", total, total,
                        "" if is_checked(sidecar) else "unchecked: it has no checksum")


@functools.cache
def _pairs_to_score(path: Path, **part: Any) -> Mapping[str, str]:
    """Return the references of the pairs to score, by pair_id.

    Cached, because a list of pairs never changes: its file name is its digest.
    """
    pairs = read_pairs(path)
    return {pair.pair_id: pair.ref for pair in compress(pairs, select(pairs, **part))}


def _name_references(refs: Sequence[str]) -> str:
    """Name the references of missing pairs."""
    return (f"missing: {plural(len(refs), 'pair')} of the references "
            f"{listed(list(dict.fromkeys(refs)), MOST_NAMES)}")


def _cause(text: str) -> str:
    """Return the first two lines of an error as one: the message and its first example."""
    return " ".join(line.strip() for line in text.split("\n")[:2])
