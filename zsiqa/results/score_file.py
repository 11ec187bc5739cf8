"""Score files: the scores of one data set, metric and perturbation. All of zsiqa reads and writes them here.

In <results_dir>/scores/<dataset>/<metric>:

    <perturbation>.csv           pair_id,ref,dis,type,mos,score in the data set's order, once all are there
    <perturbation>.json          the sidecar: identity, configuration, sessions, checksums
    <perturbation>.*.part        scores of runs that have not finished the file (`zsiqa.results.part_files`)
    <perturbation>.partial.csv   the scores so far, for people; zsiqa does not read it

The *identity* contains all that decides the scores; scores of different identities are never mixed. Each run
appends to its own part, so a killed run loses only the scores that it had not flushed, and runs at the same
time never write to the same file. There are no locks: NFS breaks them. A run that finds a score for every
pair writes the CSV file, then the sidecar, then removes the parts. So a file is finished when its sidecar
exists. Parts beside a finished file have no effect. docs/score_files.md has the details.
"""

from __future__ import annotations

import glob
import hashlib
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zsiqa.results.files import digest, find_differences, remove_temporary_files, replace_file
from zsiqa.results.part_files import Part, PartWriter, join, read_part
from zsiqa.results.sidecar import REMEDY, read_sidecar, stamp, write_sidecar
from zsiqa.results.table import format_scores, read_bytes, read_finished
from zsiqa.types import ImagePair, StoreError


@dataclass
class ScoreFile:
    """One score file, finished or not.

    Attributes:
        path: of the CSV.
        identity: all that decides the scores, as nested plain data.
    """

    path: Path
    identity: Mapping[str, Any]
    _part: PartWriter | None = field(default=None, repr=False)
    _header: Mapping[str, Any] = field(default_factory=dict, repr=False)
    _confirmed: bool = field(default=False, repr=False)

    @property
    def sidecar(self) -> Path:
        """Path of the JSON file beside the CSV file."""
        return self.path.with_suffix(".json")

    def is_finished(self) -> bool:
        """Return whether the file has a sidecar."""
        return self.sidecar.exists()

    def read(self) -> dict[str, float]:
        """Read the scores by pair_id; NaN for pairs for which the metric is not defined.

        Raises:
            StoreError: if there are scores of another identity (the message lists the settings that differ),
                if a file is damaged, or if scores of a pair differ by more than rounding.
        """
        sidecar, parts = self._load()
        if sidecar:
            self._refuse_others(sidecar["identity"])
            table = read_finished(self.path, sidecar)
            return dict(zip(table["pair_id"], table["score"].tolist(), strict=True))
        return join([(part.path, part.scores) for part in parts])

    def begin(self, info: Mapping[str, Any], session: Mapping[str, Any]) -> None:
        """Prepare for appending scores.

        Args:
            info: what the sidecar will state besides identity and sessions.
            session: this run.

        Raises:
            StoreError: if there are scores of another identity.
        """
        self._check()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        remove_temporary_files(self.path.parent)
        self._header = {**info, "session": session}

    def clear(self) -> None:
        """Remove files of other identities and damaged ones; sound files of this identity stay."""
        try:
            if self.is_finished():
                self.read()
                return
        except StoreError:
            self.path.unlink(missing_ok=True)
            self.sidecar.unlink(missing_ok=True)
        for part in part_files(self.path):
            try:
                self._refuse_others(read_part(part).header.get("identity", self.identity))
            except StoreError:
                part.unlink(missing_ok=True)
        try:
            self.read()
        except StoreError:  # the parts contradict each other
            for part in part_files(self.path):
                part.unlink(missing_ok=True)
        if not part_files(self.path):  # then the CSV file has no sidecar either
            self.path.unlink(missing_ok=True)

    def append(self, pair_id: str, score: float, why: str = "") -> None:
        """Append a score to the part file; `flush` hands it to the operating system.

        Args:
            pair_id: of the pair.
            score: NaN or infinite if the metric is not defined for the pair.
            why: the reason for that.
        """
        self._open().append(pair_id, score, why)

    def flush(self) -> None:
        """Hand all appended scores to the operating system; a killed process loses none of them.

        Raises:
            StoreError: if a run with another identity began before this one.
        """
        part = self._part  # another thread may close it
        if part is not None:
            part.flush()
            if not self._confirmed:
                self._check(before=self._header["session"])
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

    def finish(self, pairs: Sequence[ImagePair], info: Mapping[str, Any]) -> bool:
        """Join all scores. Once every pair has one, write the final files and remove the parts.

        Runs that finish at the same time write the same files. Until every pair has a score, the scores so
        far are written for people, into `<perturbation>.partial.csv`.

        Args:
            pairs: of the whole data set, in its order, with today's labels.
            info: what the sidecar states besides identity and sessions.

        Returns:
            True if every pair has a score.

        Raises:
            StoreError: if another run has meanwhile written scores of another identity; the parts stay.
        """
        self.close()
        self._check()
        old, parts = self._load()
        scores = self.read() if old else join([(part.path, part.scores) for part in parts])
        partial = self.path.with_suffix(".partial.csv")
        table = format_scores(pairs, scores)
        if any(pair.pair_id not in scores for pair in pairs):
            replace_file(partial, table)
            return False
        undefined = old.get("undefined", {key: why for part in parts for key, why in part.undefined.items()})
        about = {**info, "undefined": undefined, "sessions": old.get("sessions", sort_sessions(parts))}
        if not old and self.is_finished():  # another run was faster
            return self.finish(pairs, info)
        self._publish(table, about, old)
        self.tidy()
        return True

    def tidy(self) -> None:
        """Remove what has no use beside a finished file: parts, partial scores, files of killed runs."""
        for path in [*part_files(self.path), self.path.with_suffix(".partial.csv")]:
            path.unlink(missing_ok=True)
        remove_temporary_files(self.path.parent)

    def _publish(self, table: str, about: Mapping[str, Any], old: Mapping[str, Any]) -> None:
        """Write the CSV file and the sidecar. A kill at any moment leaves a finished file or all parts."""
        new = hashlib.sha256(table.encode()).hexdigest()
        if old:  # its scores are in no part, so first the old sidecar must accept the new table, too
            present = hashlib.sha256(read_bytes(self.path)).hexdigest()
            write_sidecar(self.sidecar, {**_without_stamp(old), "csv_sha256": [present, new]})
        replace_file(self.path, table)
        write_sidecar(self.sidecar, {"identity": self.identity, **about, "csv_sha256": [new]})

    def _open(self) -> PartWriter:
        if self._part is None:
            name = f"{self.path.stem}.{digest(self.identity)[:8]}-{uuid.uuid4().hex[:12]}.part"
            path = self.path.parent / name
            self._part = PartWriter(path, stamp(path, {"identity": self.identity, **self._header}))
        return self._part

    def _load(self) -> tuple[Mapping[str, Any], list[Part]]:
        """Read the sidecar of a finished file, or else the parts of this identity."""
        if not self.is_finished():
            parts = [part for part in map(read_part, part_files(self.path))
                     if part.header.get("identity") == self.identity]
            if not self.is_finished():  # a run that finishes the file removes its parts afterwards
                return {}, parts
        return read_sidecar(self.sidecar), []

    def _check(self, before: Mapping[str, Any] | None = None) -> None:
        """Refuse scores of another identity, and scores without a sidecar.

        Args:
            before: a session; parts of other identities that began after it are not refused, because their
                runs stop.
        """
        if self.is_finished():
            self._refuse_others(read_sidecar(self.sidecar)["identity"])
            return
        parts = [part for part in map(read_part, part_files(self.path)) if part.scores]
        if self.path.exists() and not parts:
            raise without_sidecar(self.path)
        for part in parts:
            if before is None or _order(part.session) < _order(before):
                self._refuse_others(part.header["identity"])

    def _refuse_others(self, stored: Mapping[str, Any]) -> None:
        if differences := find_differences(stored, self.identity):
            listed = "".join(f"\n  {name}: stored {old!r}, now {new!r}" for name, old, new in differences)
            if any(name.endswith("revision") for name, _, _ in differences):
                listed += "\nA new revision: the same settings now give other scores (CHANGELOG.md, Scores)."
            raise StoreError(f"{self.path} holds scores of another run, which differs in:{listed}\n"
                             f"Give another protocol.folder=NAME or results_dir=DIR to keep both, or "
                             f"overwrite=true to replace it")


def part_files(path: Path) -> list[Path]:
    """List the parts of a score file, of any identity."""
    return sorted(path.parent.glob(f"{glob.escape(path.stem)}.{'?' * 8}-{'?' * 12}.part"))


def read_about(path: Path) -> dict[str, Any]:
    """Read what is stated about the scores: from the sidecar, or else from the parts.

    Args:
        path: of the CSV file.

    Returns:
        The sidecar; if the file is not finished, the entries that it will have, as far as they are known.

    Raises:
        StoreError: if a file is damaged, there is none, or parts are of different identities.
    """
    if not path.with_suffix(".json").exists():
        parts = [part for part in map(read_part, part_files(path)) if part.header]
        if parts:
            about = dict(parts[0].header)
            if "pairs_file" not in about:
                raise StoreError(f"{parts[0].path} does not name its list of pairs. {REMEDY}")
            if any(part.header["identity"] != about["identity"] for part in parts):
                raise StoreError(f"{path.parent} has parts of runs whose settings differ. {REMEDY}")
            return {**about, "sessions": sort_sessions(parts)}
        if path.is_file():
            raise without_sidecar(path)
    return read_sidecar(path.with_suffix(".json"))


def without_sidecar(path: Path) -> StoreError:
    """Build the error for a CSV file of scores without a sidecar."""
    return StoreError(f"{path} has no {path.stem}.json beside it, which says how its scores were made: put "
                      f"it back, give another results_dir=DIR to keep the file, or overwrite=true to replace "
                      f"it")


def sort_sessions(parts: Sequence[Part]) -> list[Mapping[str, Any]]:
    """List the sessions of parts, the earliest first."""
    return sorted((part.session for part in parts if part.session), key=_order)


def _without_stamp(sidecar: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in sidecar.items() if name not in ("schema", "file", "checksum")}


def _order(session: Mapping[str, Any]) -> tuple[str, str]:
    return str(session.get("started", "")), str(session.get("id", ""))
