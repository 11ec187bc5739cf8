"""`zsiqa merge`: join the parts that shards and interrupted runs left, and name what is missing."""

from __future__ import annotations

import argparse
import math
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from zsiqa.runs.heartbeats import read_journal
from zsiqa.terminal import plural
from zsiqa.types import ImagePair, StoreError

MOST = 5  # references to name


def add_parser(commands: Any) -> None:
    """Add the command to those of `zsiqa`."""
    parser = commands.add_parser(
        "merge", help="join the parts of sharded or interrupted runs; name what is missing",
        description="Join part files wherever together they have every pair, and name the shards and references that "
                    "are missing elsewhere. Needs neither images nor weights. Exit status 1 if parts lack anything "
                    "or disagree, or a run failed whose files are not whole.")
    parser.add_argument("--scores", type=Path, default=Path("results/scores"), metavar="DIR",
                        help="our own store (%(default)s)")
    parser.set_defaults(command=_merge)


def _merge(options: argparse.Namespace) -> int:
    if not options.scores.is_dir() or (options.scores / "scores").is_dir():
        raise StoreError(f"no scores in {options.scores}; say where they are, as --scores results/scores")
    beginnings = sorted({path.with_name(f"{path.name.split('.')[0]}.json")
                         for path in options.scores.glob("*/*/*.part")})
    joined = problems = 0
    for sidecar in beginnings:
        try:
            missing = merge(sidecar)
        except StoreError as error:
            missing = [f"error: {error}"]
        joined += not missing
        problems += bool(missing)
        for line in missing:
            print(f"{sidecar.with_suffix('.csv')}: {line}", file=sys.stderr)
    for entry in (one for folder in options.scores.glob("*/") for one in read_journal(folder)):
        cells = ", ".join(sorted(cell for cell in entry.cells if not _is_whole(entry.path.parent / cell)))
        if cells and (entry.error or entry.alive):
            problems += bool(entry.error)
            print(f"{entry.path.parent}: {cells} ({entry}) {f'failed: {entry.error}' if entry.error else 'at work'}",
                  file=sys.stderr)
    if not beginnings:
        print(f"no part files in {options.scores}: nothing to join")
    else:
        print(f"{plural(joined, 'file')} joined, {len(beginnings) - joined} not")
    return 1 if problems else 0


def _is_whole(cell: Path) -> bool:
    """Whether the score file of this name, without its suffix, was finished."""
    from zsiqa.results.score_file import ScoreFile

    try:
        return ScoreFile(cell.with_name(f"{cell.name}.csv"), {}).is_complete()
    except StoreError:
        return False


def merge(sidecar: Path) -> list[str]:
    """Join the parts of a score file.

    Args:
        sidecar: the JSON file that the parts lie beside.

    Returns:
        What is missing; [] if the file is whole now.

    Raises:
        StoreError: if sidecar, parts or the list of pairs are damaged or do not agree.
    """
    from zsiqa.results.pair_list import read_pairs
    from zsiqa.results.score_file import ScoreFile, read_sidecar

    if not sidecar.exists():
        raise StoreError(f"{sidecar.name} is gone; run the same command again, it goes on from the parts")
    about = read_sidecar(sidecar)
    if "pairs_file" not in about:
        raise StoreError("it does not say which pairs there are, for an older zsiqa began it; run the same command "
                         "again")
    file = ScoreFile(sidecar.with_suffix(".csv"), about["identity"])
    pairs = read_pairs(sidecar.parent.parent / about["pairs_file"])
    parts = file.parts()
    shared = Counter(pair_id for part in parts for pair_id in part.scores)
    file.read()  # raises where parts do not agree
    if overlap := sum(times > 1 for times in shared.values()):
        shards = sorted({_shard_name(part.session) for part in parts if any(shared[one] > 1 for one in part.scores)})
        print(f"{file.path}: {overlap} pairs in more than one part ({', '.join(shards)}); they agree")
    info = {name: value for name, value in about.items() if name not in ("schema", "complete", "identity", "sessions")}
    if file.finish(pairs, [math.nan] * len(pairs), info, view=False):
        return []
    known = file.read()
    sessions = sorted((part.session for part in parts if "shard" in part.session),
                      key=lambda session: str(session.get("started")))
    return _name_missing([pair.pair_id not in known for pair in pairs], pairs, sessions[-1:],
                         {key: why for part in parts for key, why in part.failed.items() if key not in known})


def _name_missing(missing: Sequence[bool], pairs: Sequence[ImagePair], last: Sequence[Mapping[str, Any]],
                  failed: Mapping[str, str]) -> list[str]:
    """One line for each shard of the last sharding that lacks pairs, or one for all."""
    from zsiqa.runs.sharding import shard_of

    num_shards = last[0]["shard"][1] if last else 1
    lines = []
    for shard, which in enumerate([shard_of(pairs, num_shards) == one for one in range(num_shards)]):
        lacking = [pair for pair, absent, mine in zip(pairs, missing, which, strict=True) if absent and mine]
        if lacking:
            refs = list(dict.fromkeys(pair.ref for pair in lacking))
            name = f"shard {shard} of {num_shards}: " if num_shards > 1 else ""
            more = f" and {len(refs) - MOST} more" if len(refs) > MOST else ""
            lines.append(f"{name}{len(lacking)} of {int(which.sum())} pairs missing, of the references "
                         f"{', '.join(refs[:MOST])}{more}")
    return lines + [f"{pair_id} could not be scored: {why}" for pair_id, why in list(failed.items())[:MOST]]


def _shard_name(session: Mapping[str, Any]) -> str:
    which, number = session.get("shard", (0, 1))
    return f"shard {which} of {number}" if number > 1 else "a run without shards"
