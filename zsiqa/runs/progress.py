"""How far the score files of a configuration are, from what lies in the results folder. No images, weights, torch."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from zsiqa.config import instantiate
from zsiqa.results.pair_list import read_pairs
from zsiqa.results.score_file import ScoreFile, digest, read_sidecar
from zsiqa.results.scores import ScoreKey
from zsiqa.runs.heartbeats import Entry, read_journal
from zsiqa.runs.plan import cell_names, identify, planned
from zsiqa.runs.selection import part_of, select
from zsiqa.types import Dataset, DatasetError, StoreError

_remembered: dict[tuple[tuple[Path, int], ...], frozenset[str]] = {}
STATES = ("done", "running", "failed", "partial", "missing")


@dataclass(frozen=True)
class Cell:
    """One score file, as far as a job is to fill it.

    Attributes:
        state: one of `STATES`.
        there, pairs: pairs with a score, and all, of the job's part and shard; None where that is not known yet.
        why: who is at work, why it failed, or what is left to do.
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
    """The score files that a configuration is to fill. May raise DatasetError, of a CSV file of one's own."""
    files = list(planned(cfg).values())
    journals = {folder: read_journal(folder) for folder in {path.parent.parent for path, _ in files}}
    pairs, labels = _of_own_pairs(cfg)
    return [_look(cfg, path, {**pairs, **decided}, labels, journals[path.parent.parent]) for path, decided in files]


def _of_own_pairs(cfg: DictConfig) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a sidecar says of pairs and labels of one's own, whose CSV file may change; of published ones, nothing."""
    if cfg.dataset.image_identity != "paths":
        return {}, {}
    dataset = Dataset(str(cfg.dataset.name), "", instantiate(cfg.dataset.read).pairs, cfg.dataset.higher_is_better)
    return {"dataset": identify(cfg, dataset)}, {"labels_sha256": digest([pair.mos for pair in dataset.pairs])}


def _look(cfg: DictConfig, path: Path, decided: Mapping[str, Any], labels: Mapping[str, Any],
          journal: Sequence[Entry]) -> Cell:
    key = ScoreKey(path.parts[-3], path.parts[-2], path.stem)
    entries = [entry for entry in journal if cell_names([path])[0] in entry.cells and (
        cfg.num_shards == 1 or list(entry.about.get("shard", ())) in ([cfg.shard, cfg.num_shards], [0, 1]))]
    there, total = 0, None
    if path.with_suffix(".json").is_file():
        try:
            sidecar = read_sidecar(path.with_suffix(".json"))
            differing = [name for name, value in decided.items() if sidecar["identity"].get(name) != value]
            if differing:
                return Cell(key, "failed", why=f"there are scores of other settings: {', '.join(differing)}")
            file = ScoreFile(path, sidecar["identity"])
            everything = int(sidecar["dataset"]["pairs"])
            whole = file.is_complete() and _is_whole(path, everything)
            known: frozenset[str] = frozenset() if whole else _known(file)
            there, total = len(known), everything
            if "pairs_file" in sidecar:
                wanted = _wanted(path.parent.parent / sidecar["pairs_file"], **part_of(cfg))
                there, total = len(wanted & known), len(wanted)
            if there == everything:  # done are parts that were asked for; of the whole, joining them is left
                return Cell(key, "partial", there, total, "all in parts; `zsiqa merge` or the same command joins them")
            if whole or there == total:
                same = labels.items() <= sidecar["dataset"].items()
                return Cell(key, "done", total, total) if same else Cell(
                    key, "partial", total, total, "the labels have changed; the same command takes them over")
        except (StoreError, DatasetError) as error:
            return Cell(key, "failed", why=_cause(str(error)))
        except (KeyError, TypeError):
            return Cell(key, "failed", why=f"{path.with_suffix('.json')} does not say of how many pairs; run it again")
    elif path.is_file():
        return Cell(key, "failed", why=f"{path} has no {path.stem}.json beside it; put it back, or move the file away")
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


def _is_whole(path: Path, pairs: int) -> bool:
    """Whether a finished file still has all its lines and scores: a glance, for there may be a thousand of them."""
    data = path.read_bytes()
    return data.endswith(b"\n") and data.count(b"\n") == pairs + 1 and b",\n" not in data


@functools.cache
def _wanted(path: Path, **part: Any) -> frozenset[str]:
    """The pairs that are to be scored; a file of pairs never changes, for its name is a digest of it."""
    pairs = read_pairs(path)
    return frozenset(pair.pair_id for pair in compress(pairs, select(pairs, **part)))


def _cause(text: str) -> str:
    """The first line, and the first example of those that it announces."""
    return " ".join(line.strip() for line in text.split("\n")[:2])
