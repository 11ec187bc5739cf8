"""Score files: one CSV a (data set, metric, perturbation), with a JSON sidecar that says how it came about.

    <results_dir>/scores/<dataset>/<metric>/<perturbation>.csv    pair_id,ref,dis,type,mos,score in the data
    set's order <results_dir>/scores/<dataset>/<metric>/<perturbation>.json   identity, configuration,
    versions, times

A run appends to a part file of its own beside them (`zsiqa.results.parts`), so a killed run loses what it had
not yet flushed, and runs side by side never write to the same file. There are no locks: NFS breaks them.
Parts are removed by whoever finds that together they have every pair, and has put the whole into place; until
then, nobody removes anything, and a CSV with gaps is but a view of them. The *identity* in the sidecar holds
everything that decides the scores; a file with another identity is never added to, and never replaced unless
asked.
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
REMEDY = "To mend it, run its command again with overwrite=true; score files that are sound are kept"


@dataclass
class ScoreFile:
    """One score file, complete or in the making.

    Attributes:
        path: of the CSV.
        identity: nested plain data; everything that decides the scores.
    """

    path: Path
    identity: Mapping[str, Any]
    _part: PartWriter | None = field(default=None, repr=False)
    _session: Mapping[str, Any] = field(default_factory=dict, repr=False)
    _confirmed: bool = field(default=False, repr=False)

    @property
    def sidecar(self) -> Path:
        """The JSON file beside the CSV."""
        return self.path.with_suffix(".json")

    @property
    def _prefix(self) -> str:
        return f"{self.path.stem}.{digest(self.identity)[:8]}-"

    def parts(self) -> list[Part]:
        """The part files of this identity, this run's among them."""
        return [read_part(path) for path in sorted(self.path.parent.glob(f"{self._prefix}*.part"))]

    def sessions(self) -> list[Mapping[str, Any]]:
        """The sessions of this identity that the sidecar and the part files name."""
        old = read_sidecar(self.sidecar) if self.sidecar.exists() else {}
        of_sidecar = old.get("sessions", ()) if old.get("identity") == self.identity else ()
        return [*of_sidecar, *(part.session for part in self.parts())]

    def is_complete(self) -> bool:
        """Return whether the finished file is there, with a score for every pair."""
        there = self.path.is_file() and self.sidecar.is_file()
        return there and read_sidecar(self.sidecar).get("complete") is True

    def read(self) -> dict[str, float]:
        """Scores by pair_id, from the finished file and all part files.

        Raises:
            StoreError: if there are scores of another identity, with the settings that differ; or if two
                parts have scores of a pair that are not the same but for rounding.
        """
        self._check()
        return self._join(self.parts())

    def claim(self, info: Mapping[str, Any], pairs: Sequence[ImagePair] = ()) -> None:
        """Say in the sidecar that scores of this identity are in the making.

        Args:
            info: what the sidecar says beside the identity. The last of its `sessions` is this run.
            pairs: of the whole data set, in its order; kept beside the scores for whoever joins them.

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
        if self.sidecar.exists():  # of this identity, as a run beside this one may have left it just now?
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
        """Note a score; `flush` brings it to disk."""
        self._open().append(pair_id, score)

    def flush(self) -> None:
        """Hand all noted scores to the operating system; from then on, a killed process loses none of them.

        Raises:
            StoreError: if another run with another identity was faster; its first flush decides.
        """
        part = self._part  # another thread may close it
        if part is not None:
            part.flush()
            if not self._confirmed:
                self._check()
                self._confirmed = True

    def close(self, **outcome: Any) -> None:
        """Note how this run ended, flush and close its part file, which stays.

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

        Runs that do so at once write the same.

        Args:
            pairs: of the whole data set, in its order.
            scores: of each pair, as far as this run knows them; NaN elsewhere.
            info: what the sidecar says beside the identity.
            view: write the CSV even if pairs lack a score, whose fields stay empty. Not while others are at
                work: what they finish meanwhile would be replaced.

        Returns:
            Whether every pair has a score.

        Raises:
            StoreError: if, meanwhile, another run has put scores of another identity here. The part files
                stay.
        """
        self.close()
        self._check()
        parts = self.parts()  # before the sidecar is read: whoever removes a part has named its session there
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
        """Scores of all parts and of the finished file. Raises StoreError where they do not agree."""
        sources: list[tuple[Path, Mapping[str, float]]] = [(part.path, part.scores) for part in parts]
        if self.path.is_file():  # read after the parts: one that is gone by now is in it
            sources.insert(0, (self.path, {pair_id: score for pair_id, _, score in read_rows(self.path)
                                           if not math.isnan(score)}))
        return join(sources)

    def _describe(self, info: Mapping[str, Any], parts: Iterable[Part], *, complete: bool) -> str:
        """Format the sidecar: `info`, and the sessions of parts and of an older sidecar."""
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
            raise StoreError(f"{self.path} has no {self.sidecar.name} beside it, so nobody knows how it came "
                             f"about; "
                             f"give another results_dir=DIR to keep it, or overwrite=true to replace it")
        parts = self.path.parent.glob(f"{self.path.stem}.*.part")
        if not self.path.exists() and not any(size_of(part) for part in parts):
            return
        found = read_sidecar(self.sidecar)["identity"] if self.sidecar.exists() else self.identity
        if differences := find_differences(found, self.identity):
            listed = "".join(f"\n  {name}: stored {old!r}, now {new!r}" for name, old, new in differences)
            if any(name.endswith("revision") for name, _, _ in differences):
                listed += "\nA new revision: the same settings now give other scores (CHANGELOG.md, Scores)."
            raise StoreError(f"{self.path} holds scores of another run, which differs in:{listed}\n"
                             f"Give another protocol.folder=NAME or results_dir=DIR to keep both, or "
                             f"overwrite=true to replace it")


def read_sidecar(path: Path) -> dict[str, Any]:
    """A score file's sidecar.

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
    """(pair_id, mos, score) of a finished score file, in its order; NaN where a pair has no score.

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
        return [(pair_id, float(mos), float(score or "nan")) for pair_id, _ref, _dis, _type, mos,
                score in reader]
    except ValueError as error:
        raise StoreError(f"{path} line {reader.line_num}: not a row of a score file ({error}). "
                         f"{REMEDY}") from error


def digest(data: Any) -> str:
    """Hex SHA-256 of plain data, independent of the order of keys."""
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()
