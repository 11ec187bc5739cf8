"""Score files: one CSV file for each data set, metric and perturbation, with a JSON sidecar on its origin.

In <results_dir>/scores/<dataset>/<metric>:

    <perturbation>.csv     pair_id,ref,dis,type,mos,score in the data set's order
    <perturbation>.json    identity, configuration, versions, times

Each run appends to its own part file beside them (`zsiqa.results.parts`), so a killed run loses only the
scores that it had not flushed, and runs at the same time never write to the same file. There are no locks:
NFS breaks them. A run that finds a score for every pair writes the complete CSV file, then removes the parts;
until then, no run removes any, and a CSV file with gaps is only a view of them. The *identity* in the sidecar
contains all that decides the scores. Scores are never added to a file with another identity, and such a file
is never replaced unless the user asks for it.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zsiqa.results.files import find_differences, replace_file, size_of
from zsiqa.results.pair_list import format_pairs
from zsiqa.results.parts import Part, PartWriter, join, read_part
from zsiqa.types import ImagePair, StoreError

COLUMNS = {"pair_id": str, "ref": str, "dis": str, "type": str, "mos": float, "score": float}
SCHEMA = 3
REMEDY = "To fix it, run its command again with overwrite=true; undamaged score files are kept"


@dataclass
class ScoreFile:
    """One score file, complete or not.

    Attributes:
        path: of the CSV.
        identity: all that decides the scores, as nested plain data.
    """

    path: Path
    identity: Mapping[str, Any]
    _part: PartWriter | None = field(default=None, repr=False)
    _session: Mapping[str, Any] = field(default_factory=dict, repr=False)
    _confirmed: bool = field(default=False, repr=False)

    @property
    def sidecar(self) -> Path:
        """Path of the JSON file beside the CSV file."""
        return self.path.with_suffix(".json")

    @property
    def _prefix(self) -> str:
        return f"{self.path.stem}.{digest(self.identity)[:8]}-"

    def parts(self) -> list[Part]:
        """Read the part files of this identity, including this run's."""
        return [read_part(path) for path in sorted(self.path.parent.glob(f"{self._prefix}*.part"))]

    def sessions(self) -> list[Mapping[str, Any]]:
        """Return the sessions of this identity in the sidecar and the part files."""
        old = read_sidecar(self.sidecar) if self.sidecar.exists() else {}
        of_sidecar = old.get("sessions", ()) if old.get("identity") == self.identity else ()
        return [*of_sidecar, *(part.session for part in self.parts())]

    def is_complete(self) -> bool:
        """Return whether the finished file exists, with a score for every pair."""
        exists = self.path.is_file() and self.sidecar.is_file()
        return exists and read_sidecar(self.sidecar).get("complete") is True

    def read(self) -> dict[str, float]:
        """Read the scores by pair_id, from the finished file and all part files.

        Raises:
            StoreError: if there are scores of another identity (the message lists the settings that differ),
                or if scores of a pair differ by more than rounding.
        """
        self._check()
        return self._join(self.parts())

    def claim(self, info: Mapping[str, Any], pairs: Sequence[ImagePair] = ()) -> None:
        """Write a sidecar for scores of this identity that are not complete yet.

        Args:
            info: content of the sidecar besides the identity. The last of its `sessions` is this run.
            pairs: of the whole data set, in its order; stored beside the scores, to join the parts later.

        Raises:
            StoreError: if there are scores of another identity.
        """
        self._check()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._session = next(iter(reversed(info.get("sessions", ()))), {})
        about = {name: value for name, value in info.items() if name != "sessions"}
        if pairs:
            about["pairs_file"], content = format_pairs(pairs)
            listed = self.path.parent.parent / about["pairs_file"]
            if not listed.exists():
                replace_file(listed, content)
        if self.sidecar.exists():  # another run of this identity may have just written it
            old = read_sidecar(self.sidecar)
            if not find_differences(old["identity"], self.identity) and all(
                    old.get(name) == about.get(name) for name in ("dataset", "pairs_file")):
                return
        replace_file(self.sidecar, self._describe(about, self.parts(), complete=False))

    def clear(self) -> None:
        """Remove files of other identities, and damaged ones. Files of this identity stay."""
        try:
            if self.sidecar.exists() and not find_differences(read_sidecar(self.sidecar)["identity"],
                                                                 self.identity):
                self.read()
                return
        except StoreError:
            pass
        for stale in (self.path, self.sidecar, *self.path.parent.glob(f"{self.path.stem}.*.part"),
                      *self.path.parent.glob(f"{self.path.stem}.*.tmp")):
            stale.unlink(missing_ok=True)

    def append(self, pair_id: str, score: float) -> None:
        """Append a score to the part file; `flush` hands it to the operating system."""
        self._open().append(pair_id, score)

    def flush(self) -> None:
        """Hand all appended scores to the operating system; a killed process loses none of them.

        Raises:
            StoreError: if a run with another identity has flushed first.
        """
        part = self._part  # another thread may close it
        if part is not None:
            part.flush()
            if not self._confirmed:
                self._check()
                self._confirmed = True

    def close(self, **outcome: Any) -> None:
        """Write how this run ended, flush and close its part file, which stays.

        Args:
            outcome: `seconds`, and `failed`: by pair_id, why pairs could not be scored.
        """
        if self._part is None and outcome.get("failed"):
            self._open()
        if self._part is not None:
            self._part.close(outcome)
            self._part = None

    def finish(self, pairs: Sequence[ImagePair], scores: Sequence[float], info: Mapping[str, Any], *,
               view: bool = True) -> bool:
        """Join all scores. Once every pair has one, write the final files and remove the parts.

        Runs that finish at the same time write the same files.

        Args:
            pairs: of the whole data set, in its order.
            scores: of each pair; NaN for pairs that this run has no score of.
            info: content of the sidecar besides the identity.
            view: write the CSV file even if pairs lack a score; their fields stay empty. Use False while
                other runs are active, as a file that they finish meanwhile would be replaced.

        Returns:
            True if every pair has a score.

        Raises:
            StoreError: if another run has meanwhile written scores of another identity; the parts stay.
        """
        self.close()
        self._check()
        parts = self.parts()  # before the sidecar, which has the sessions of parts removed since
        known = self._join(parts)
        known.update({pair.pair_id: score for pair, score in zip(pairs, map(float, scores), strict=True)
                      if not math.isnan(score)})
        complete = all(pair.pair_id in known for pair in pairs)
        if not complete and not view:
            return False
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(COLUMNS)
        for pair in pairs:
            score = repr(known[pair.pair_id]) if pair.pair_id in known else ""
            writer.writerow([pair.pair_id, pair.ref, pair.dis, pair.type, repr(pair.mos), score])
        failed = {**{key: why for part in parts for key, why in part.failed.items()},
                  **info.get("failed", {})}
        about = {**info, "failed": {key: why for key, why in failed.items() if key not in known}}
        replace_file(self.path, text.getvalue())
        replace_file(self.sidecar, self._describe(about, parts, complete=complete))
        if complete:
            for part in parts:
                part.path.unlink(missing_ok=True)
        return complete

    def _open(self) -> PartWriter:
        if self._part is None:
            self._part = PartWriter(self.path.parent / f"{self._prefix}{uuid.uuid4().hex[:12]}.part",
                                    self._session)
        return self._part

    def _join(self, parts: Iterable[Part]) -> dict[str, float]:
        """Join the scores of all parts and of the finished file.

        Raises:
            StoreError: if they differ by more than rounding.
        """
        sources: list[tuple[Path, Mapping[str, float]]] = [(part.path, part.scores) for part in parts]
        if self.path.is_file():  # read after the parts: it has the scores of parts removed since
            sources.insert(0, (self.path, {pair_id: score for pair_id, _, score in read_rows(self.path)
                                           if not math.isnan(score)}))
        return join(sources)

    def _describe(self, info: Mapping[str, Any], parts: Iterable[Part], *, complete: bool) -> str:
        """Format the sidecar: `info`, with the sessions of parts and of an older sidecar of this identity."""
        sessions: list[Mapping[str, Any]] = [part.session for part in parts if "id" in part.session]
        sessions = sorted(sessions, key=lambda session: str(session.get("started")))
        if self.sidecar.exists():
            old = read_sidecar(self.sidecar)
            if not find_differences(old["identity"], self.identity):
                sessions = [*old.get("sessions", ()), *sessions]
                info = {**{name: old[name] for name in ("pairs_file",) if name in old}, **info}
        merged: dict[str, Mapping[str, Any]] = {}
        for session in (*sessions, *info.get("sessions", ())):
            merged[session["id"]] = {**merged.get(session["id"], {}), **session}
        return json.dumps({"schema": SCHEMA, "complete": complete, "identity": self.identity, **info,
                           "sessions": list(merged.values())}, indent=2, ensure_ascii=False) + "\n"

    def _check(self) -> None:
        """Refuse scores of another identity, and scores without a sidecar."""
        if self.path.exists() and not self.sidecar.exists():
            raise StoreError(f"{self.path} has no {self.sidecar.name} beside it, which says how its scores "
                             f"were made; give another results_dir=DIR to keep it, or overwrite=true to "
                             f"replace it")
        parts = self.path.parent.glob(f"{self.path.stem}.*.part")
        if not self.path.exists() and not any(size_of(part) for part in parts):
            return
        stored = read_sidecar(self.sidecar)["identity"] if self.sidecar.exists() else self.identity
        if differences := find_differences(stored, self.identity):
            listed = "".join(f"\n  {name}: stored {old!r}, now {new!r}" for name, old, new in differences)
            if any(name.endswith("revision") for name, _, _ in differences):
                listed += "\nA new revision: the same settings now give other scores (CHANGELOG.md, Scores)."
            raise StoreError(f"{self.path} holds scores of another run, which differs in:{listed}\n"
                             f"Give another protocol.folder=NAME or results_dir=DIR to keep both, or "
                             f"overwrite=true to replace it")


def read_sidecar(path: Path) -> dict[str, Any]:
    """Read the sidecar of a score file.

    Raises:
        StoreError: if it is damaged or of another schema.
    """
    try:
        sidecar = json.loads(path.read_text(encoding="utf-8"))
        if sidecar["schema"] == SCHEMA and isinstance(sidecar["identity"], dict):
            return dict(sidecar)
        why = f"it has schema {sidecar['schema']}, this zsiqa has {SCHEMA}; scores of the two must not mix"
    except (OSError, ValueError, KeyError, TypeError) as error:
        why = f"it is damaged ({type(error).__name__}: {error})"
    raise StoreError(f"{path} does not say how the scores beside it came about: {why}. {REMEDY}")


def read_rows(path: Path) -> list[tuple[str, float, float]]:
    """Read (pair_id, mos, score) of a finished score file, in its order; NaN if a pair has no score.

    Raises:
        StoreError: if it is not a score file, or was cut off.
    """
    text = path.read_bytes().decode("utf-8", errors="replace")
    reader = csv.reader(io.StringIO(text, newline=""))
    header = tuple(next(reader, ()))
    if header != tuple(COLUMNS):
        raise StoreError(f"{path}: expected the columns {','.join(COLUMNS)}, found {','.join(header)}. "
                         f"{REMEDY}")
    if not text.endswith("\n"):
        raise StoreError(f"{path} ends in the middle of a line: something cut it off. {REMEDY}")
    try:
        return [(pair_id, float(mos), float(score or "nan"))
                for pair_id, _ref, _dis, _type, mos, score in reader]
    except ValueError as error:
        raise StoreError(f"{path} line {reader.line_num}: not a row of a score file ({error}). "
                         f"{REMEDY}") from error


def digest(data: Any) -> str:
    """Hex SHA-256 of plain data, independent of the order of keys."""
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()
