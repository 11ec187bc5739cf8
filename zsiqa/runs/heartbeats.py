"""Heartbeats of runs: which are active, and why others stopped.

Each run keeps a small file beside the scores:

    <results_dir>/scores/<dataset>/<id>.run    JSON: score files, host, process, SLURM job, shard, error

The modification time of the file is the heartbeat: the run updates it while it works. A run that succeeds
removes its file; a run that fails writes the error into it; the file of a killed run is no longer updated.
Heartbeats have no effect on scores.
"""

from __future__ import annotations

import json
import os
import socket
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zsiqa.results.files import parse_json, process_exists, read_regular, replace_file
from zsiqa.runs.slurm import job_name
from zsiqa.types import StoreError

SECONDS_BETWEEN_BEATS = 15.0
# Clocks of nodes and file servers differ by less, and NFS shows a change within a minute.
SECONDS_UNTIL_DEAD = 120.0


@dataclass(frozen=True)
class Entry:
    """State of a run, read from its file.

    Attributes:
        files: `metric/perturbation` of its score files.
        about: `host`, `pid`, `job`, `started`, `shard`: (index, number of shards); `error` if the run failed.
        age: seconds since its last heartbeat.
    """

    path: Path
    files: frozenset[str]
    about: Mapping[str, Any]
    age: float

    @property
    def error(self) -> str:
        """Error message of a failed run; "" if it did not fail, or could not write the error."""
        return str(self.about.get("error", ""))

    @property
    def alive(self) -> bool:
        """True if the run is active: by its heartbeat and, on this host, by its process."""
        if self.error or self.age > SECONDS_UNTIL_DEAD:
            return False
        if self.about.get("host") != socket.gethostname():
            return True
        process = self.about.get("pid")
        return not isinstance(process, int) or process_exists(process)

    def __str__(self) -> str:
        job = self.about.get("job") or f"process {self.about.get('pid')}"
        where = f"{job} on {self.about.get('host')}"
        shard, num_shards = self.about.get("shard") or (0, 1)
        return f"{where}, shard {shard} of {num_shards}" if num_shards > 1 else where


class Journal:
    """Heartbeat file of this run.

    Args:
        folder: folder of the data set's scores.
        files: `metric/perturbation` of the run's score files.
        shard: (index, number of shards).
    """

    def __init__(self, folder: Path, files: Iterable[str], shard: tuple[int, int]) -> None:
        self.path = folder / f"{uuid.uuid4().hex[:12]}.run"
        self._files, self._shard, self._last_beat = sorted(files), shard, 0.0
        self._started = time.strftime("%Y-%m-%dT%H:%M:%S%z")

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Keep the heartbeat file while the context lasts; then remove it, or write the error into it."""
        self._remove_stopped()
        self._write()
        try:
            yield
        except Exception as error:
            self.fail(error)
            raise
        except BaseException:  # interrupted, or SLURM will queue it again
            self.path.unlink(missing_ok=True)
            raise
        self.path.unlink(missing_ok=True)

    def beat(self) -> None:
        """Update the heartbeat, if the last update is at least SECONDS_BETWEEN_BEATS old."""
        if time.monotonic() - self._last_beat >= SECONDS_BETWEEN_BEATS:
            self._last_beat = time.monotonic()
            with suppress(OSError):  # not important here: failing to write scores is an error elsewhere
                os.utime(self.path)

    def fail(self, error: Exception) -> None:
        """Write the error into the heartbeat file. If the file cannot be written, do nothing."""
        with suppress(StoreError):
            self._remove_stopped()
            self._write(error=str(error) or type(error).__name__)

    def remove_stopped(self) -> None:
        """Remove the files of stopped runs of any shard. Call this when all score files are complete."""
        self._remove_stopped(of_any_shard=True)

    def _remove_stopped(self, *, of_any_shard: bool = False) -> None:
        """Remove the heartbeat files of stopped runs on the same score files and pairs."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        for entry in read_journal(self.path.parent):
            if not entry.alive and entry.files <= set(self._files) and (
                    of_any_shard or self._shard[1] == 1
                    or list(self._shard) == list(entry.about.get("shard", ()))):
                entry.path.unlink(missing_ok=True)

    def _write(self, **more: str) -> None:
        about = {"files": self._files, "host": socket.gethostname(), "pid": os.getpid(), "job": job_name(),
                 "started": self._started, "shard": list(self._shard), **more}
        replace_file(self.path, json.dumps(about))


def read_journal(folder: Path) -> Sequence[Entry]:
    """Read all heartbeat files in the folder of a data set's scores.

    A damaged one, e.g. cut off by a full disk, gives an entry without score files, whose error names it.
    """
    entries = []
    for path in sorted(folder.glob("*.run")):
        with suppress(FileNotFoundError):  # its run has just ended
            age = time.time() - path.stat().st_mtime
            try:
                about = parse_json(read_regular(path).decode("utf-8"))
                files, shard = about.pop("files"), about.get("shard", [0, 1])
                if not (isinstance(files, list) and all(isinstance(name, str) for name in files)
                        and isinstance(shard, list) and [type(number) for number in shard] == [int, int]):
                    raise ValueError("its files or its shard")
                entries.append(Entry(path, frozenset(files), about, age))
            except FileNotFoundError:
                raise
            except (OSError, ValueError, KeyError) as error:
                problem = f"{path} is damaged ({error}); it has no effect on scores; remove it"
                entries.append(Entry(path, frozenset(), {"error": problem}, age))
    return entries
