"""Part files: the rows that one run adds to a score file, between two notes about the run.

    #zsiqa {"id": ..., "device": ..., ...}         the session, as the sidecar will contain it
    pair_id,score                                  one row for each score
    #zsiqa {"seconds": ..., "failed": {...}}       at the end; the part of a killed run has none

Only one run ever writes to a part. So no lock is needed, and its content stays valid after a kill.
"""

from __future__ import annotations

import csv
import json
import math
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from zsiqa.types import StoreError

NOTE = "#zsiqa "
# Two scores of a pair may differ by this share of the largest score, as for `zsiqa audit --official`:
# rounding on other devices and in other precisions stays far below it, other images or other code do not.
AGREEMENT = 1e-3


class PartWriter:
    """Writer of the part file of this run. One thread may append rows while another flushes them.

    Raises:
        FileExistsError: if the file exists.
    """

    def __init__(self, path: Path, session: Mapping[str, Any]) -> None:
        self._stream: TextIO = path.open("x", newline="", encoding="utf-8")
        self._lock = threading.RLock()  # reentrant: a signal handler may interrupt its owner
        self._rows = csv.writer(self._stream, lineterminator="\n")
        if session:
            self._note(session)

    def append(self, pair_id: str, score: float) -> None:
        """Append a score; `flush` hands it to the operating system."""
        with self._lock:
            self._rows.writerow([pair_id, repr(score)])

    def flush(self) -> None:
        """Hand all appended scores to the operating system; a killed process loses none of them."""
        with self._lock:
            if not self._stream.closed:
                self._stream.flush()

    def close(self, outcome: Mapping[str, Any]) -> None:
        """Write how the run ended, and close the file."""
        with self._lock:
            if outcome:
                self._note(outcome)
            self._stream.close()

    def _note(self, data: Mapping[str, Any]) -> None:
        self._stream.write(f"{NOTE}{json.dumps(data, ensure_ascii=False)}\n")


@dataclass(frozen=True)
class Part:
    """Content of a part file.

    Attributes:
        scores: by pair_id.
        session: the run that wrote it; {} if unknown.
        failed: by pair_id, why pairs could not be scored.
    """

    path: Path
    scores: Mapping[str, float] = field(default_factory=dict)
    session: Mapping[str, Any] = field(default_factory=dict)
    failed: Mapping[str, str] = field(default_factory=dict)


def read_part(path: Path) -> Part:
    """Read a part file, without a last line that a kill cut off (no newline); it is computed again."""
    try:
        whole, _, _torn = path.read_text(encoding="utf-8", errors="replace").rpartition("\n")
    except FileNotFoundError:  # another run has just finished, and put its scores into the CSV file
        return Part(path)
    scores: dict[str, float] = {}
    session: dict[str, Any] = {}
    for line in whole.split("\n"):
        try:
            if line.startswith(NOTE):
                session.update(json.loads(line.removeprefix(NOTE)))
                continue
            ((pair_id, score),) = csv.reader([line])
            scores[pair_id] = float(score)
        except (ValueError, TypeError, csv.Error):
            continue  # a power failure may leave blank blocks; their scores are computed again
    return Part(path, scores, session, session.pop("failed", {}))


def join(sources: Sequence[tuple[Path, Mapping[str, float]]]) -> dict[str, float]:
    """Join the scores of several files by pair_id; for a pair in several files, the first file's score.

    Raises:
        StoreError: if scores of a pair differ by more than rounding.
    """
    scores: dict[str, float] = {}
    for _, held in reversed(sources):
        scores.update(held)
    allowed = AGREEMENT * max((abs(score) for score in scores.values() if math.isfinite(score)), default=0.0)
    for path, held in sources:
        for pair_id, score in held.items():
            if score != scores[pair_id] and not abs(score - scores[pair_id]) <= allowed:
                other = next(source for source, others in sources if pair_id in others)
                raise StoreError(f"{pair_id} has the score {scores[pair_id]!r} in {other} and {score!r} in "
                                 f"{path}, which differ by more than rounding: other images, or other code? "
                                 f"Remove the wrong file and run the same command again")
    return scores
