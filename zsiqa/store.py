"""Score files: one CSV a (data set, metric, perturbation), with a JSON sidecar that says how it came about.

    <results_dir>/scores/<dataset>/<metric>/<perturbation>.csv    pair_id,ref,dis,type,mos,score in the data set's order
    <results_dir>/scores/<dataset>/<metric>/<perturbation>.json   identity, configuration, versions, times

A run appends to a part file of its own beside them and moves the whole into place at the end, so a killed run
loses what it had not yet flushed, and runs side by side never write to the same file. There are no locks: NFS
breaks them. The *identity* in the sidecar holds everything that decides the scores; a file with another identity
is never added to, and never replaced unless asked.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import os
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from zsiqa.types import ImagePair, StoreError

COLUMNS = {"pair_id": str, "ref": str, "dis": str, "type": str, "mos": float, "score": float}
SCHEMA = 2


@dataclass
class ScoreFile:
    """One score file, complete or in the making.

    Attributes:
        path: of the CSV.
        identity: nested plain data; everything that decides the scores.
    """

    path: Path
    identity: Mapping[str, Any]
    _stream: TextIO | None = field(default=None, repr=False)
    _confirmed: bool = field(default=False, repr=False)

    @property
    def sidecar(self) -> Path:
        """The JSON file beside the CSV."""
        return self.path.with_suffix(".json")

    @property
    def _parts(self) -> list[Path]:
        """Part files of this identity, this run's among them."""
        return sorted(self.path.parent.glob(f"{self.path.stem}.{digest(self.identity)[:8]}-*.part"))

    def is_complete(self) -> bool:
        """Whether the finished file is here, with a score for every pair."""
        return self.path.is_file() and self.sidecar.is_file() and read_sidecar(self.sidecar).get("complete") is True

    def read(self) -> dict[str, float]:
        """Scores by pair_id, from the finished file and all part files.

        Raises:
            StoreError: if there are scores of another identity; it names the settings that differ.
        """
        self._check()
        scores: dict[str, float] = {}
        for part in self._parts:
            scores.update(_read_part(part))
        if self.path.is_file():
            scores.update({pair_id: score for pair_id, _, score in read_rows(self.path) if not math.isnan(score)})
        return scores

    def claim(self, info: Mapping[str, Any]) -> None:
        """Say in the sidecar that scores of this identity are in the making.

        Args:
            info: what the sidecar says beside the identity. Its `sessions` are added to those already there.

        Raises:
            StoreError: if there are scores of another identity.
        """
        self._check()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        _replace(self.sidecar, self._describe(info, complete=False))

    def clear(self) -> None:
        """Remove whatever is here, of any identity."""
        for stale in (self.path, self.sidecar, *self.path.parent.glob(f"{self.path.stem}.*.part"),
                      *self.path.parent.glob(f"{self.path.stem}.*.tmp")):
            stale.unlink(missing_ok=True)

    def append(self, pair_id: str, score: float) -> None:
        """Note a score; `flush` brings it to disk."""
        if self._stream is None:
            name = f"{self.path.stem}.{digest(self.identity)[:8]}-{uuid.uuid4().hex[:12]}.part"
            self._stream = (self.path.parent / name).open("x", newline="", encoding="utf-8")
        csv.writer(self._stream, lineterminator="\n").writerow([pair_id, repr(score)])

    def flush(self) -> None:
        """Hand all noted scores to the operating system; from then on, a killed process loses none of them.

        Raises:
            StoreError: if another run with another identity was faster; its first flush decides.
        """
        if self._stream is not None:
            self._stream.flush()
            if not self._confirmed:
                self._check()
                self._confirmed = True

    def close(self) -> None:
        """Flush and close the part file, which stays."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def finish(self, pairs: Sequence[ImagePair], scores: Sequence[float], info: Mapping[str, Any]) -> None:
        """Write the final CSV, then the sidecar, each in one step; then remove the part files.

        Args:
            pairs: of the whole data set, in its order.
            scores: of each pair; NaN for a pair without a score, whose field stays empty.
            info: what the sidecar says beside the identity.

        Raises:
            StoreError: if, meanwhile, another run has put scores of another identity here. The part files stay.
        """
        self.close()
        self._check()
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(COLUMNS)
        for pair, score in zip(pairs, map(float, scores), strict=True):
            text_of_score = "" if math.isnan(score) else repr(score)
            writer.writerow([pair.pair_id, pair.ref, pair.dis, pair.type, repr(pair.mos), text_of_score])
        parts = self._parts
        _replace(self.path, text.getvalue())
        _replace(self.sidecar, self._describe(info, complete=not any(map(math.isnan, scores))))
        for part in parts:
            part.unlink(missing_ok=True)

    def _describe(self, info: Mapping[str, Any], *, complete: bool) -> str:
        """The sidecar's text: `info`, with the sessions that an older sidecar of this identity names."""
        sessions = list(info.get("sessions", ()))
        if self.sidecar.exists():
            old = read_sidecar(self.sidecar)
            if not _differences(old["identity"], self.identity):
                known = {session["id"] for session in sessions}
                sessions = [one for one in old.get("sessions", ()) if one["id"] not in known] + sessions
        return json.dumps({"schema": SCHEMA, "complete": complete, "identity": self.identity, **info,
                           "sessions": sessions}, indent=2, ensure_ascii=False) + "\n"

    def _check(self) -> None:
        """Refuse scores of another identity, and scores without a sidecar."""
        if self.path.exists() and not self.sidecar.exists():
            raise StoreError(f"{self.path} has no {self.sidecar.name} beside it, so nobody knows how it came about; "
                             f"give another results_dir=DIR to keep it, or overwrite=true to replace it")
        parts = self.path.parent.glob(f"{self.path.stem}.*.part")
        if not self.path.exists() and not any(_size(part) for part in parts):
            return
        found = read_sidecar(self.sidecar)["identity"] if self.sidecar.exists() else self.identity
        if differences := _differences(found, self.identity):
            listed = "".join(f"\n  {name}: stored {old!r}, now {new!r}" for name, old, new in differences)
            raise StoreError(f"{self.path} holds scores of another run, which differs in:{listed}\n"
                             f"Give another protocol.folder=NAME or results_dir=DIR to keep both, or overwrite=true to "
                             f"replace it")


def read_sidecar(path: Path) -> dict[str, Any]:
    """A score file's sidecar.

    Raises:
        StoreError: if it is damaged or of another schema.
    """
    try:
        sidecar = json.loads(path.read_text(encoding="utf-8"))
        if sidecar["schema"] == SCHEMA and isinstance(sidecar["identity"], dict):
            return dict(sidecar)
    except (OSError, json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError):
        pass
    raise StoreError(f"{path} is no sidecar of schema {SCHEMA}; give another results_dir=DIR, or overwrite=true to "
                     f"replace it and its scores")


def read_rows(path: Path) -> list[tuple[str, float, float]]:
    """(pair_id, mos, score) of a finished score file, in its order; NaN where a pair has no score.

    Raises:
        StoreError: if it is not a score file.
    """
    with path.open(newline="", encoding="utf-8") as stream:
        reader = csv.reader(stream)
        header = tuple(next(reader, ()))
        if header != tuple(COLUMNS):
            raise StoreError(f"{path}: expected the columns {','.join(COLUMNS)}, found {','.join(header)}; remove the "
                             f"file, or give overwrite=true")
        try:
            return [(pair_id, float(mos), float(score or "nan")) for pair_id, _ref, _dis, _type, mos, score in reader]
        except ValueError as error:
            raise StoreError(f"{path} line {reader.line_num}: not a row of a score file ({error}); remove the file, or "
                             f"give overwrite=true") from error


def digest(data: Any) -> str:
    """Hex SHA-256 of plain data, independent of the order of keys."""
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()


def _read_part(path: Path) -> dict[str, float]:
    """Scores of a part file. A last line without its newline was torn by a kill, and is computed again."""
    try:
        whole, _, _torn = path.read_text(encoding="utf-8", errors="replace").rpartition("\n")
    except FileNotFoundError:  # a run beside this one has just finished; its scores are in the CSV by now
        return {}
    scores = {}
    for line in whole.split("\n"):
        try:
            ((pair_id, score),) = csv.reader([line])
            scores[pair_id] = float(score)
        except (ValueError, csv.Error):  # a machine that lost power may leave blank blocks; computed again, too
            continue
    return scores


def _size(path: Path) -> int:
    """Bytes in a file; 0 if a run beside this one has just removed it."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _differences(old: Any, new: Any, name: str = "") -> list[tuple[str, Any, Any]]:
    """(dotted name, old, new) wherever two nested mappings differ."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        return [difference for key in {**old, **new}
                for difference in _differences(old.get(key), new.get(key), f"{name}.{key}" if name else key)]
    return [] if old == new else [(name, old, new)]


def _replace(path: Path, text: str) -> None:
    """Write a file, through to the disk, so that a reader finds the old content or the new, never a part."""
    beside = path.with_name(f"{path.name}.{uuid.uuid4().hex[:12]}.tmp")
    with beside.open("x", newline="", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(beside, path)
