"""How far the score files of a configuration are, from what lies in the results folder. No images, weights or torch."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from zsiqa.journal import Entry, read_journal
from zsiqa.pair_list import read_pairs
from zsiqa.scores import ScoreKey
from zsiqa.sharding import shard_of
from zsiqa.store import ScoreFile, read_sidecar
from zsiqa.targets import cell_names, planned
from zsiqa.types import StoreError

_remembered: dict[tuple[tuple[Path, int], ...], frozenset[str]] = {}
STATES = ("done", "running", "failed", "partial", "missing")


@dataclass(frozen=True)
class Cell:
    """One score file, as far as a job is to fill it.

    Attributes:
        state: one of `STATES`.
        there, pairs: pairs with a score, and all, of the job's shard; None where that is not known yet.
        why: who is at work, or why it failed.
    """

    key: ScoreKey
    state: str
    there: int = 0
    pairs: int | None = None
    why: str = ""

    @property
    def done(self) -> bool:
        """Whether there is nothing left to do."""
        return self.state == "done"


def look(cfg: DictConfig) -> list[Cell]:
    """The score files that a configuration is to fill."""
    files = list(planned(cfg).values())
    journals = {folder: read_journal(folder) for folder in {path.parent.parent for path, _ in files}}
    return [_look(path, decided, (cfg.shard, cfg.num_shards), journals[path.parent.parent]) for path, decided in files]


def _look(path: Path, decided: Mapping[str, Any], shard: tuple[int, int], journal: Sequence[Entry]) -> Cell:
    key = ScoreKey(path.parts[-3], path.parts[-2], path.stem)
    entries = [entry for entry in journal if cell_names([path])[0] in entry.cells
               and (shard[1] == 1 or list(entry.about.get("shard", ())) in (list(shard), [0, 1]))]
    there, total = 0, None
    if path.with_suffix(".json").is_file():
        try:
            sidecar = read_sidecar(path.with_suffix(".json"))
            differing = [name for name, value in decided.items() if sidecar["identity"].get(name) != value]
            if differing:
                return Cell(key, "failed", why=f"there are scores of other settings: {', '.join(differing)}")
            total = int(sidecar["dataset"]["pairs"])
            if sidecar.get("complete") is True and path.is_file():
                return Cell(key, "done", total, total)
            known = _known(ScoreFile(path, sidecar["identity"]))
            there = len(known)
            if shard[1] > 1 and "pairs_file" in sidecar:
                shards = _shards(path.parent.parent / sidecar["pairs_file"], shard[1])
                mine = [pair_id for pair_id, which in shards.items() if which == shard[0]]
                there, total = sum(pair_id in known for pair_id in mine), len(mine)
                if there == total:
                    return Cell(key, "done", there, total)
        except (StoreError, KeyError, TypeError) as error:
            return Cell(key, "failed", why=_cause(str(error)))
    at_work = [entry for entry in entries if entry.alive]
    if at_work:
        return Cell(key, "running", there, total, "; ".join(map(str, at_work)))
    if errors := [entry.error for entry in entries if entry.error]:
        return Cell(key, "failed", there, total, _cause(errors[-1]))
    last = min(entries, key=lambda entry: entry.age, default=None)
    return Cell(key, "partial" if there else "missing", there, total, f"stopped without a word: {last}" if last else "")


def _known(file: ScoreFile) -> frozenset[str]:
    """The pairs with a score. Shards of a job ask for the same files."""
    found = [file.path, *sorted(file.path.parent.glob(f"{file.path.stem}.*.part"))]
    state = tuple((path, path.stat().st_size) for path in found if path.exists())
    if state not in _remembered:
        _remembered[state] = frozenset(file.read())
    return _remembered[state]


@functools.cache
def _shards(path: Path, num_shards: int) -> Mapping[str, int]:
    """The shard of each pair; a file of pairs never changes, for its name is a digest of it."""
    pairs = read_pairs(path)
    return dict(zip((pair.pair_id for pair in pairs), shard_of(pairs, num_shards).tolist(), strict=True))


def _cause(text: str) -> str:
    """The first line, and the first example of those that it announces."""
    return " ".join(line.strip() for line in text.split("\n")[:2])
