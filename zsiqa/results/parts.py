"""Part files: what one run adds to a score file, row by row, between two notes of who it is.

    #zsiqa {"id": ..., "device": ..., ...}         the session, as the sidecar is to hold it
    pair_id,score                                  as often as there are scores
    #zsiqa {"seconds": ..., "failed": {...}}       at the end; the part of a killed run has none

Each part has one writer, ever. So there is nothing to lock, and what is in it stays true after a kill.
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
# two scores of a pair may differ by this share of the largest, as for `zsiqa audit --official`: rounding of
AGREEMENT = 1e-3
# devices and precisions stays far below, other images or other code do not


class PartWriter:
    """The part of this run. Rows may be noted in one thread and flushed in another.

    Raises:
        FileExistsError: if there is such a file.
    """

    def __init__(self, path: Path, session: Mapping[str, Any]) -> None:
        self._stream: TextIO = path.open("x", newline="", encoding="utf-8")
        self._lock = threading.RLock()  # a signal's handler may leave from within
        self._rows = csv.writer(self._stream, lineterminator="\n")
        if session:
            self._note(session)

    def append(self, pair_id: str, score: float) -> None:
        """Note a score; `flush` brings it to disk."""
        with self._lock:
            self._rows.writerow([pair_id, repr(score)])

    def flush(self) -> None:
        """Hand all noted scores to the operating system; a killed process loses none of them."""
        with self._lock:
            if not self._stream.closed:
                self._stream.flush()

    def close(self, outcome: Mapping[str, Any]) -> None:
        """Note how it ended, and close the file."""
        with self._lock:
            if outcome:
                self._note(outcome)
            self._stream.close()

    def _note(self, data: Mapping[str, Any]) -> None:
        self._stream.write(f"{NOTE}{json.dumps(data, ensure_ascii=False)}\n")


@dataclass(frozen=True)
class Part:
    """A part file as it was found.

    Attributes:
        scores: by pair_id.
        session: who wrote it; {} if nobody knows.
        failed: pairs that could not be scored, and why.
    """

    path: Path
    scores: Mapping[str, float] = field(default_factory=dict)
    session: Mapping[str, Any] = field(default_factory=dict)
    failed: Mapping[str, str] = field(default_factory=dict)


def read_part(path: Path) -> Part:
    """Read a part file. A last line without its newline was torn by a kill, and is computed again."""
    try:
        whole, _, _torn = path.read_text(encoding="utf-8", errors="replace").rpartition("\n")
    except FileNotFoundError:  # a run beside this one has just finished; its scores are in the CSV by now
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
        # a machine that lost power may leave blank blocks; computed again
        except (ValueError, TypeError, csv.Error):
            continue
    return Part(path, scores, session, session.pop("failed", {}))


def join(sources: Sequence[tuple[Path, Mapping[str, float]]]) -> dict[str, float]:
    """The scores of several files by pair_id; of a pair that is in more than one, the first file's.

    Raises:
        StoreError: if they differ by more than rounding.
    """
    scores: dict[str, float] = {}
    for _, found in reversed(sources):
        scores.update(found)
    allowed = AGREEMENT * max((abs(score) for score in scores.values() if math.isfinite(score)), default=0.0)
    for path, found in sources:
        for pair_id, score in found.items():
            if score != scores[pair_id] and not abs(score - scores[pair_id]) <= allowed:
                other = next(source for source, held in sources if pair_id in held)
                raise StoreError(f"{pair_id} has the score {scores[pair_id]!r} in {other} and {score!r} in "
                                 f"{path}, "
                                 f"more than rounding apart: other images, or other code? Remove the file "
                                 f"that is wrong and run the same command again")
    return scores
