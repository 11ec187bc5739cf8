"""Part files: the scores that one run adds to a score file, as lines of JSON, each with a running checksum.

    {"schema": ..., "file": ..., "identity": ..., "session": {"id": ..., ...}, ...} 1f0c2ab7
    ["<pair_id>", 0.25] 88ab19c0                     a score
    ["<pair_id>", null, "<reason>"] 73d2e5b1         a pair for which the metric is not defined
    {"seconds": ..., "failed": {...}} 0a9b8c7d       at the end; the part of a killed run has none

Only one run ever writes to a part. So no lock is needed, and its content stays valid after a kill.
"""

from __future__ import annotations

import json
import math
import threading
import zlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from zsiqa.results.files import cannot_write, read_regular
from zsiqa.results.sidecar import REMEDY, check_header
from zsiqa.types import StoreError

# Two scores of a pair may differ by this share of the largest score, as for `zsiqa audit --official`:
# rounding on other devices and in other precisions stays far below it, other images or other code do not.
AGREEMENT = 1e-3


class PartWriter:
    """Writer of the part file of this run. One thread may append rows while another flushes them.

    Args:
        path: of the new file.
        header: how the scores are made, with the `session` of this run.

    Raises:
        StoreError: if the file cannot be written.
    """

    def __init__(self, path: Path, header: Mapping[str, Any]) -> None:
        self._path, self._sum = path, _first_sum(path)
        self._lock = threading.RLock()  # reentrant: a signal handler may interrupt its owner
        try:
            self._stream: TextIO = path.open("x", newline="", encoding="utf-8")
        except OSError as error:
            raise cannot_write(path, error) from error
        self._write(header)

    def append(self, pair_id: str, score: float, why: str = "") -> None:
        """Append a score; `flush` hands it to the operating system.

        Args:
            pair_id: of the pair.
            score: a score that is not finite is stored as not defined.
            why: the reason for a score that is not finite.
        """
        self._write([pair_id, score] if math.isfinite(score) else [pair_id, None, why or f"it is {score}"])

    def flush(self) -> None:
        """Hand all appended scores to the operating system; a killed process loses none of them.

        Raises:
            StoreError: if they cannot be written.
        """
        with self._lock:
            if not self._stream.closed:
                try:
                    self._stream.flush()
                except OSError as error:
                    raise cannot_write(self._path, error) from error

    def close(self, outcome: Mapping[str, Any]) -> None:
        """Write how the run ended, and close the file.

        Raises:
            StoreError: if that cannot be written.
        """
        with self._lock:
            try:
                if outcome:
                    self._write(outcome)
            finally:
                try:
                    self._stream.close()
                except OSError as error:
                    raise cannot_write(self._path, error) from error

    def _write(self, data: Any) -> None:
        line = json.dumps(data)
        with self._lock:
            self._sum = zlib.crc32(line.encode(), self._sum)
            try:
                self._stream.write(f"{line} {self._sum:08x}\n")
            except OSError as error:
                raise cannot_write(self._path, error) from error


@dataclass(frozen=True)
class Part:
    """Content of a part file.

    Attributes:
        path: of the file.
        header: how the scores are made; {} if the file is gone, or was cut off before the end of its first
            line.
        scores: by pair_id; NaN where the metric is not defined.
        undefined: by pair_id, the reason for NaN.
        session: the run that wrote it.
        failed: by pair_id, why pairs could not be scored.
    """

    path: Path
    header: Mapping[str, Any] = field(default_factory=dict)
    scores: Mapping[str, float] = field(default_factory=dict)
    undefined: Mapping[str, str] = field(default_factory=dict)
    session: Mapping[str, Any] = field(default_factory=dict)
    failed: Mapping[str, str] = field(default_factory=dict)


def read_part(path: Path) -> Part:
    """Read a part file. A last line that a kill cut off (no newline) is ignored: it is computed again.

    Raises:
        StoreError: if a line is damaged.
    """
    try:
        content = read_regular(path)
    except FileNotFoundError:  # another run has just finished, and removed it
        return Part(path)
    except OSError as error:
        raise StoreError(f"{path} cannot be read ({error.strerror})") from error
    lines = content.split(b"\n")
    torn = lines.pop()
    running = _first_sum(path)
    scores: dict[str, float] = {}
    undefined: dict[str, str] = {}
    header: dict[str, Any] = {}
    end: dict[str, Any] = {}
    for number, line in enumerate(lines, 1):
        try:
            data, running = _parse(line, running)
            if number == 1:
                header = check_header(path, data)
            elif isinstance(data, dict):
                end = data
            else:
                pair_id, score, *why = data
                scores[pair_id] = math.nan if score is None else float(score)
                undefined.update({pair_id: why[0]} if why else {})
        except ValueError as error:
            raise StoreError(f"{path} line {number} is damaged: {error}. {REMEDY}") from error
    with suppress(ValueError):  # a kill leaves less than a line; a whole line with another end is damage
        _parse(torn[:-1], running)
        raise StoreError(f"{path} does not end with a line break, so it is damaged. {REMEDY}")
    failed = end.pop("failed", {})
    return Part(path, header, scores, undefined, {**header.get("session", {}), **end}, failed)


def _parse(line: bytes, before: int) -> tuple[Any, int]:
    """Parse a line; return its data and the running checksum after it.

    Args:
        line: without its line break.
        before: the running checksum of the lines before it.

    Raises:
        ValueError: if it does not match its checksum.
    """
    text, _, checksum = line.rpartition(b" ")
    running = zlib.crc32(text, before)
    if checksum != b"%08x" % running:
        raise ValueError("it does not match its checksum, or a line before it is lost")
    return json.loads(text), running


def _first_sum(path: Path) -> int:
    """Return the checksum before the first line: that of the name, so parts of other files are refused."""
    return zlib.crc32(path.name.encode())


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
            same = score == scores[pair_id] or (math.isnan(score) and math.isnan(scores[pair_id]))
            if not same and not abs(score - scores[pair_id]) <= allowed:
                other = next(source for source, others in sources if pair_id in others)
                raise StoreError(f"{pair_id} has the score {scores[pair_id]!r} in {other} and {score!r} in "
                                 f"{path}, which differ by more than rounding: other images, or other code? "
                                 f"Remove the wrong file and run the same command again")
    return scores
